//! `[registries]` of `coracle.toml`: short names, mirrors, certificates, and which registries need no valid one.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;

/// How registries are spoken to.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct Registries {
    /// `host[:port]`, addresses or CIDR ranges of registries whose certificate is not checked, and that may speak plain
    /// HTTP if they do not speak HTTPS.
    pub insecure: Vec<String>,
    /// Short image names and the full ones they stand for: `busybox = "edge:5000/library/busybox"`.
    pub aliases: BTreeMap<String, String>,
    /// For each registry the mirrors that are asked before it, in order.
    pub mirrors: BTreeMap<String, Vec<Mirror>>,
    /// For each `host[:port]` what its certificate is checked against and what it is shown.
    pub tls: BTreeMap<String, Certificates>,
}

/// A place that has copies of a registry's images. It is read from only.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Mirror {
    /// `host[:port]`, with the folder its copies are in, if there is one.
    pub location: String,
    /// As [`Registries::insecure`], for this mirror.
    #[serde(default)]
    pub insecure: bool,
    /// What it is asked for.
    #[serde(default)]
    pub pull_from: MirrorUse,
}

/// What a mirror is asked for. One that is not trusted to know the newest image of a tag is still good for digests,
/// which are verified.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum MirrorUse {
    /// Everything.
    #[default]
    All,
    /// Manifests named by their digest, and blobs.
    DigestOnly,
    /// Manifests named by a tag, and the blobs of these.
    TagOnly,
}

/// PEM files for one registry.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Certificates {
    /// CAs to trust beside the public ones.
    pub ca: Option<PathBuf>,
    /// What we show to a registry that wants to know its clients.
    pub client_cert: Option<PathBuf>,
    /// The private key of `client-cert`.
    pub client_key: Option<PathBuf>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_read() {
        let text = r#"
            insecure = ["edge:5000", "10.0.0.0/8"]
            aliases = { busybox = "edge:5000/library/busybox" }
            [mirrors]
            "docker.io" = [{ location = "mirror:5000/hub", insecure = true, pull-from = "digest-only" },
                           { location = "other" }]
            [tls]
            "edge:5000" = { ca = "/ca.crt", client-cert = "/me.cert", client-key = "/me.key" }
        "#;
        let registries: Registries = toml::from_str(text).unwrap();
        assert_eq!(registries.aliases["busybox"], "edge:5000/library/busybox");
        let mirrors = &registries.mirrors["docker.io"];
        assert_eq!((mirrors[0].insecure, mirrors[0].pull_from), (true, MirrorUse::DigestOnly));
        assert_eq!((mirrors[1].insecure, mirrors[1].pull_from), (false, MirrorUse::All));
        assert_eq!(registries.tls["edge:5000"].client_key.as_deref(), Some("/me.key".as_ref()));
    }

    #[test]
    fn a_mistyped_key_is_named() {
        for text in ["[mirrors]\nx = [{ location = 'a', insecur = true }]", "[tls]\nx = { cert = '/a' }"] {
            assert!(toml::from_str::<Registries>(text).unwrap_err().to_string().contains("unknown field"), "{text}");
        }
    }
}

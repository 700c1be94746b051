//! What a policy demands of an image: one entry of its lists.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::Error;
use super::identity::Identity;
use super::json::{Fields, Json, Malformed};
use super::key::PublicKey;

/// Largest file with a key; one of 8192 bits has 1.5 KiB.
const MAX_KEY_FILE: u64 = 64 << 10;

/// What is said of a policy that wants GPG signatures. An OpenPGP implementation (rPGP 0.21) would bring more than a
/// hundred crates and 2.2 MiB of program.
const NO_OPENPGP: &str =
    "OpenPGP signatures (signedBy), which coracle cannot verify: use sigstoreSigned, or accept the image explicitly";
/// What is said of a policy that wants short-lived certificates.
const NO_CERTIFICATES: &str = "certificates (sigstoreSigned with fulcio or pki), which coracle cannot verify: use a key, or accept the image explicitly";
/// What is said of a policy that wants entries in a transparency log.
const NO_REKOR: &str =
    "entries in a log (sigstoreSigned with a Rekor key), which coracle cannot verify: use a key without it";
/// What is said of a requirement that nobody implements, containers-image included.
const NO_BASE_LAYERS: &str = "signed base layers (signedBaseLayer), which nobody can verify";

/// The ways to give keys, of which there must be exactly one.
const KEYS: &str = "Expected exactly one of keyPath, keyPaths, keyData and keyDatas (or fulcio or pki)";

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Requirement {
    /// Nothing.
    Accept,
    /// The impossible.
    Reject,
    /// A signature with one of these keys, for an image of this identity.
    Sigstore {
        /// Any one of them will do.
        keys: Keys,
        /// See [`Identity`].
        identity: Identity,
    },
    /// Something that cannot be checked here, so nothing fulfils it.
    Unsupported(&'static str),
}

/// Where the keys are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Keys {
    /// In files, read when they are needed.
    Files(Vec<PathBuf>),
    /// In the policy.
    Inline(Vec<Vec<u8>>),
}

impl Requirement {
    /// Reads a list of them. An empty one would demand nothing, which has a name of its own.
    pub(super) fn parse_list(value: Json, place: &str) -> Result<Vec<Requirement>, Malformed> {
        let list = value.list(place)?;
        if list.is_empty() {
            return Err(Malformed::new(place, "The list is empty: write insecureAcceptAnything if that is meant"));
        }
        let entries = list.into_iter().enumerate();
        entries.map(|(number, entry)| Requirement::parse(entry, &format!("{place}[{number}]"))).collect()
    }

    fn parse(value: Json, place: &str) -> Result<Requirement, Malformed> {
        let mut fields = value.fields(place)?;
        let requirement = match fields.text("type")?.as_str() {
            "insecureAcceptAnything" => Requirement::Accept,
            "reject" => Requirement::Reject,
            "signedBy" => signed_by(&mut fields)?,
            "sigstoreSigned" => sigstore_signed(&mut fields)?,
            "signedBaseLayer" => {
                let place = fields.place("baseLayerIdentity");
                Identity::parse(fields.required("baseLayerIdentity")?, &place)?;
                Requirement::Unsupported(NO_BASE_LAYERS)
            }
            other => return Err(Malformed::new(&fields.place("type"), format!("{other:?} is not known"))),
        };
        fields.end()?;
        Ok(requirement)
    }
}

fn signed_by(fields: &mut Fields) -> Result<Requirement, Malformed> {
    let kind = fields.text("keyType")?;
    if !["GPGKeys", "signedByGPGKeys", "X509Certificates", "signedByX509CAs"].contains(&kind.as_str()) {
        return Err(Malformed::new(&fields.place("keyType"), format!("{kind:?} is not known")));
    }
    identity(fields)?;
    match keys(fields, &["keyPath", "keyPaths", "keyData"])? {
        Some(_) => Ok(Requirement::Unsupported(NO_OPENPGP)),
        None => Err(Malformed::new(&fields.place("keyPath"), "Expected exactly one of keyPath, keyPaths and keyData")),
    }
}

fn sigstore_signed(fields: &mut Fields) -> Result<Requirement, Malformed> {
    let identity = identity(fields)?;
    let keys = keys(fields, &["keyPath", "keyPaths", "keyData", "keyDatas"])?;
    let mut certificates = 0;
    for name in ["fulcio", "pki"] {
        if let Some(value) = fields.take(name) {
            value.fields(&fields.place(name))?;
            certificates += 1;
        }
    }
    let rekor = ["rekorPublicKeyPath", "rekorPublicKeyPaths", "rekorPublicKeyData", "rekorPublicKeyDatas"];
    let rekor = rekor.into_iter().filter_map(|name| fields.take(name)).count();
    match (keys, certificates) {
        (Some(keys), 0) if rekor == 0 => Ok(Requirement::Sigstore { keys, identity }),
        (Some(_), 0) => Ok(Requirement::Unsupported(NO_REKOR)),
        (None, 1) => Ok(Requirement::Unsupported(NO_CERTIFICATES)),
        _ => Err(Malformed::new(&fields.place("keyPath"), KEYS)),
    }
}

fn identity(fields: &mut Fields) -> Result<Identity, Malformed> {
    let place = fields.place("signedIdentity");
    fields.take("signedIdentity").map_or(Ok(Identity::RepositoryDigestOrExact), |value| Identity::parse(value, &place))
}

/// The keys under whichever of `names` there is; an error if there are two.
fn keys(fields: &mut Fields, names: &[&str]) -> Result<Option<Keys>, Malformed> {
    let mut found = None;
    for name in names {
        let Some(value) = fields.take(name) else { continue };
        let place = fields.place(name);
        let values = if name.ends_with('s') { value.list(&place)? } else { vec![value] };
        if values.is_empty() {
            return Err(Malformed::new(&place, "The list is empty"));
        }
        let texts = values.into_iter().map(|value| value.text(&place)).collect::<Result<Vec<_>, _>>()?;
        let keys = if name.starts_with("keyPath") { files(texts, &place)? } else { inline(&texts, &place)? };
        if found.replace(keys).is_some() {
            return Err(Malformed::new(&place, KEYS));
        }
    }
    Ok(found)
}

fn files(paths: Vec<String>, place: &str) -> Result<Keys, Malformed> {
    match paths.iter().find(|path| !path.starts_with('/')) {
        Some(path) => Err(Malformed::new(place, format!("{path:?} is not an absolute path"))),
        None => Ok(Keys::Files(paths.into_iter().map(PathBuf::from).collect())),
    }
}

fn inline(texts: &[String], place: &str) -> Result<Keys, Malformed> {
    let decoded = texts.iter().map(|text| STANDARD.decode(text)).collect::<Result<_, _>>();
    decoded.map(Keys::Inline).map_err(|error| Malformed::new(place, format!("It is not base64: {error}")))
}

impl Keys {
    /// Reads all of them. One that cannot be read is an error even if others can.
    pub(super) fn load(&self) -> Result<Vec<PublicKey>, Error> {
        match self {
            Keys::Files(paths) => paths.iter().map(|path| load_file(path)).collect(),
            Keys::Inline(texts) => texts.iter().map(|pem| PublicKey::from_pem(pem).map_err(Error::InlineKey)).collect(),
        }
    }
}

fn load_file(path: &Path) -> Result<PublicKey, Error> {
    let mut pem = Vec::new();
    let file = File::open(path).map(|file| file.take(MAX_KEY_FILE));
    file.and_then(|mut file| file.read_to_end(&mut pem))
        .map_err(|source| Error::ReadKey { path: path.to_owned(), source })?;
    PublicKey::from_pem(&pem).map_err(|source| Error::Key { path: path.to_owned(), source })
}

//! Image names: what people write, and what it stands for.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use crate::Digest;

/// The registry a name without one stands for.
const DEFAULT_DOMAIN: &str = "docker.io";
/// An older name of [`DEFAULT_DOMAIN`], still found in scripts and credential files.
const LEGACY_DOMAIN: &str = "index.docker.io";
/// The host that answers for [`DEFAULT_DOMAIN`]: the one registry whose name is not its address.
const DEFAULT_ENDPOINT: &str = "registry-1.docker.io";
/// Where names of one component live on [`DEFAULT_DOMAIN`].
const OFFICIAL: &str = "library/";
/// The tag a name without tag and digest stands for.
const DEFAULT_TAG: &str = "latest";
/// Longest registry and repository together (the distribution project's reference grammar).
const MAX_NAME: usize = 255;
/// Longest tag (distribution specification, "Pulling manifests").
const MAX_TAG: usize = 128;

/// Why a text is not an image name.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Error {
    /// Nothing there.
    #[error("The image name is empty")]
    Empty,
    /// A whole id could be a repository; that it is one is never meant.
    #[error("{0} is an image id, not a name that could be pulled")]
    Id(String),
    /// See [`MAX_NAME`].
    #[error("The image name is {0} bytes long, more than the {MAX_NAME} registries take")]
    TooLong(usize),
    /// The part before the first slash.
    #[error("{0:?} is not a registry: expected host or host:port")]
    Registry(String),
    /// The path on the registry.
    #[error("{0:?} is not a repository: lower-case letters and digits, with single . _ or - between them, and slashes")]
    Repository(String),
    /// After the colon.
    #[error("{0:?} is not a tag: up to {MAX_TAG} letters, digits, _ . or -, and not . or - first")]
    Tag(String),
    /// After the @.
    #[error("The digest of the image name is wrong")]
    Digest(#[source] crate::digest::Error),
}

/// A full reference: registry, repository, and a tag or a digest or both.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Reference {
    domain: String,
    repository: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

impl Reference {
    /// Reads a name as people write it, short names that stand for others included. A transport in front, as Podman
    /// and Buildah have it, is taken for granted.
    pub fn resolve(text: &str, aliases: &BTreeMap<String, String>) -> Result<Reference, Error> {
        let text = text.strip_prefix("docker://").unwrap_or(text);
        resolve_alias(text, aliases).as_deref().unwrap_or(text).parse()
    }

    /// The registry, as in the name: `docker.io`, `localhost:5000`.
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// The host, with port if there is one, that is to be spoken to.
    pub fn endpoint(&self) -> &str {
        endpoint(&self.domain)
    }

    /// The path on the registry: `library/busybox`.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The tag; a name without tag and digest has `latest`.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest.
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// What a registry is asked for: the digest, which says everything, or else the tag.
    pub fn target(&self) -> &str {
        self.digest.as_ref().map_or_else(|| self.tag.as_deref().unwrap_or(DEFAULT_TAG), Digest::as_str)
    }

    /// Registry and repository: `docker.io/library/busybox`.
    pub fn name(&self) -> String {
        format!("{}/{}", self.domain, self.repository)
    }

    /// The name an image is kept by: the full one, without the tag if there is a digest.
    pub fn stored(&self) -> String {
        match &self.digest {
            Some(digest) => format!("{}@{digest}", self.name()),
            None => self.full(),
        }
    }

    /// Everything: `docker.io/library/busybox:latest`.
    pub fn full(&self) -> String {
        self.name() + &self.suffix()
    }

    /// As Docker's users write and read it: `busybox:latest`.
    pub fn familiar(&self) -> String {
        self.familiar_name() + &self.suffix()
    }

    /// [`Reference::familiar`] without tag and digest: `busybox`.
    pub fn familiar_name(&self) -> String {
        let short = self.repository.strip_prefix(OFFICIAL).filter(|short| !short.contains('/'));
        let short = short.unwrap_or(&self.repository);
        // Shortened, some would be read as the name of another repository, on a registry called as their first part.
        let ambiguous = short.split_once('/').is_some_and(|(first, _)| is_domain(first));
        if self.domain == DEFAULT_DOMAIN && !ambiguous { short.to_owned() } else { self.name() }
    }

    fn suffix(&self) -> String {
        let tag = self.tag.iter().map(|tag| format!(":{tag}"));
        tag.chain(self.digest.iter().map(|digest| format!("@{digest}"))).collect()
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.familiar())
    }
}

/// The full name that a short one stands for, with its own tag and digest if it has any. A name that begins with a
/// registry is none that could stand for another.
pub fn resolve_alias(text: &str, aliases: &BTreeMap<String, String>) -> Option<String> {
    let end = text.find('@').unwrap_or(text.len());
    let (name, digest) = text.split_at(end);
    let end = name.rfind(':').unwrap_or(name.len());
    let (name, tag) = name.split_at(end);
    if name.split_once('/').is_some_and(|(first, _)| is_domain(first)) {
        return None;
    }
    let full = aliases.get(name)?;
    if tag.is_empty() && digest.is_empty() {
        return Some(full.clone());
    }
    // What the alias itself picks gives way.
    let full = full.split('@').next().unwrap_or_default();
    let bare = match full.rsplit_once(':') {
        Some((bare, tag)) if !tag.contains('/') => bare,
        _ => full,
    };
    Some(format!("{bare}{tag}{digest}"))
}

/// The registry that a text means, which may be written as a URL: `docker.io`, `host:5000`, `https://host/v2/`.
pub fn registry(text: &str) -> Result<String, Error> {
    let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")).unwrap_or(text);
    let host = normalise_domain(host.split('/').next().unwrap_or_default());
    check_domain(host).map(|()| host.to_owned())
}

/// The host, with port if there is one, that answers for a registry.
pub(crate) fn endpoint(domain: &str) -> &str {
    if domain == DEFAULT_DOMAIN { DEFAULT_ENDPOINT } else { domain }
}

/// The registry a text in a credential file or a name stands for, older spellings included.
pub(crate) fn normalise_domain(domain: &str) -> &str {
    if domain == LEGACY_DOMAIN || domain == DEFAULT_ENDPOINT { DEFAULT_DOMAIN } else { domain }
}

impl FromStr for Reference {
    type Err = Error;

    /// Reads a name as Docker does: `busybox`, `host:5000/a/b:tag`, `a/b@sha256:...`.
    fn from_str(text: &str) -> Result<Reference, Error> {
        if text.is_empty() {
            return Err(Error::Empty);
        }
        if text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(Error::Id(text.to_owned()));
        }
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest.parse().map_err(Error::Digest)?)),
            None => (text, None),
        };
        let (domain, rest) = match rest.split_once('/') {
            Some((first, rest)) if is_domain(first) => (normalise_domain(first), rest),
            _ => (DEFAULT_DOMAIN, rest),
        };
        let (repository, tag) = match rest.split_once(':') {
            Some((repository, tag)) => (repository, Some(tag)),
            None => (rest, None),
        };
        check_domain(domain)?;
        if repository.is_empty() || !repository.split('/').all(is_component) {
            return Err(Error::Repository(repository.to_owned()));
        }
        if let Some(tag) = tag
            && !is_tag(tag)
        {
            return Err(Error::Tag(tag.to_owned()));
        }
        let official = domain == DEFAULT_DOMAIN && !repository.contains('/');
        let repository = if official { format!("{OFFICIAL}{repository}") } else { repository.to_owned() };
        let length = domain.len().saturating_add(repository.len()).saturating_add(1);
        if length > MAX_NAME {
            return Err(Error::TooLong(length));
        }
        let default = digest.is_none().then_some(DEFAULT_TAG);
        Ok(Reference { domain: domain.to_owned(), repository, tag: tag.or(default).map(str::to_owned), digest })
    }
}

/// Whether the part before the first slash names a registry rather than the first folder of a repository.
fn is_domain(first: &str) -> bool {
    first == "localhost" || first.contains(['.', ':']) || first.bytes().any(|byte| byte.is_ascii_uppercase())
}

fn check_domain(domain: &str) -> Result<(), Error> {
    let wrong = || Error::Registry(domain.to_owned());
    let (host, port) = match domain.strip_prefix('[') {
        Some(rest) => {
            let (address, port) = rest.split_once(']').ok_or_else(wrong)?;
            address.parse::<std::net::Ipv6Addr>().map_err(|_| wrong())?;
            ("", port.strip_prefix(':').or((!port.is_empty()).then_some("")))
        }
        None => match domain.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (domain, None),
        },
    };
    let label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    let host = domain.starts_with('[') || host.split('.').all(label);
    let port = port.is_none_or(|port| port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok());
    if host && port { Ok(()) } else { Err(wrong()) }
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`
fn is_component(component: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let separators = component.split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit()).filter(|s| !s.is_empty());
    component.bytes().next().is_some_and(plain)
        && component.bytes().next_back().is_some_and(plain)
        && separators.into_iter().all(|s| matches!(s, "." | "_" | "__") || s.bytes().all(|byte| byte == b'-'))
}

pub(crate) fn is_tag(tag: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    tag.len() <= MAX_TAG
        && tag.bytes().next().is_some_and(word)
        && tag.bytes().all(|byte| word(byte) || matches!(byte, b'.' | b'-'))
}

#[cfg(test)]
#[path = "name_test.rs"]
mod tests;

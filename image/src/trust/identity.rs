//! Which image a signature may be for: the `signedIdentity` rules of containers-policy.json(5).

use super::json::{Json, Malformed};
use crate::Reference;

/// How the name in a signature must relate to the name of the image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Identity {
    /// The same name, with the same tag or digest.
    Exact,
    /// The same name and tag; for an image named by its digest any tag of the same repository.
    RepositoryDigestOrExact,
    /// The same repository.
    Repository,
    /// This name, with this tag or digest, whatever the image is called.
    ExactReference(Reference),
    /// This repository, whatever the image is called.
    ExactRepository(String),
    /// As [`Identity::RepositoryDigestOrExact`], after the image's name was rewritten.
    Remap {
        /// What the image's name must begin with to be rewritten.
        prefix: String,
        /// What is put in its place.
        signed_prefix: String,
    },
}

impl Identity {
    /// Reads the rule at `place`.
    pub(super) fn parse(value: Json, place: &str) -> Result<Identity, Malformed> {
        let mut fields = value.fields(place)?;
        let identity = match fields.text("type")?.as_str() {
            "matchExact" => Identity::Exact,
            "matchRepoDigestOrExact" => Identity::RepositoryDigestOrExact,
            "matchRepository" => Identity::Repository,
            "exactReference" => {
                let place = fields.place("dockerReference");
                let text = fields.text("dockerReference")?;
                let name = Name::parse(&text).map_err(|error| Malformed::new(&place, error.to_string()))?;
                if name.bare {
                    return Err(Malformed::new(&place, format!("{text:?} has neither a tag nor a digest")));
                }
                Identity::ExactReference(name.reference)
            }
            "exactRepository" => {
                let place = fields.place("dockerRepository");
                let name = Name::parse(&fields.text("dockerRepository")?);
                let name = name.map_err(|error| Malformed::new(&place, error.to_string()))?;
                Identity::ExactRepository(name.reference.name())
            }
            "remapIdentity" => {
                let mut prefix = |name| {
                    let prefix = fields.text(name)?;
                    let wrong = || Malformed::new(&fields.place(name), format!("{prefix:?} {NOT_A_PREFIX}"));
                    if is_prefix(&prefix) { Ok(prefix) } else { Err(wrong()) }
                };
                Identity::Remap { prefix: prefix("prefix")?, signed_prefix: prefix("signedPrefix")? }
            }
            other => return Err(Malformed::new(&fields.place("type"), format!("{other:?} is not known"))),
        };
        fields.end()?;
        Ok(identity)
    }

    /// Whether a signature for `signed` is one for `image`.
    pub(super) fn accepts(&self, image: &Reference, signed: &str) -> bool {
        let Ok(Name { reference: signed, bare }) = Name::parse(signed) else { return false };
        match self {
            Identity::Exact => !bare && signed.full() == image.stored(),
            Identity::RepositoryDigestOrExact => !bare && is_same_or_pinned(image, &signed),
            Identity::Repository => signed.name() == image.name(),
            Identity::ExactReference(wanted) => !bare && signed == *wanted,
            Identity::ExactRepository(wanted) => signed.name() == *wanted,
            Identity::Remap { prefix, signed_prefix } => {
                !bare && remap(image, prefix, signed_prefix).is_some_and(|image| is_same_or_pinned(&image, &signed))
            }
        }
    }
}

const NOT_A_PREFIX: &str = "is not the beginning of a full name: expected host[:port], or that and a path, without tag";

/// The digest of an image that is named by its digest was checked already, and the signature has a digest of its own:
/// then the tag says nothing more.
fn is_same_or_pinned(image: &Reference, signed: &Reference) -> bool {
    if image.digest().is_some() { signed.name() == image.name() } else { signed.full() == image.stored() }
}

/// `image` with another beginning; as it is if it does not begin with `prefix`; nothing if that makes no name.
fn remap(image: &Reference, prefix: &str, signed_prefix: &str) -> Option<Reference> {
    let full = image.stored();
    let rest = match image.name().strip_prefix(prefix) {
        Some(rest) if rest.is_empty() || rest.starts_with('/') => full.strip_prefix(prefix)?,
        _ => return Some(image.clone()),
    };
    let remapped = format!("{signed_prefix}{rest}");
    remapped.parse::<Reference>().ok().filter(|reference| reference.full() == remapped)
}

/// Whether `text` is a registry, or the beginning of a repository's full name, cut at a slash.
pub(super) fn is_prefix(text: &str) -> bool {
    // Two more parts, so that the first of Docker's own registry needs no `library`.
    let longer = format!("{text}/x/y");
    longer.parse::<Reference>().is_ok_and(|reference| reference.name() == longer)
}

/// Whether `text` is a name without tag and digest.
pub(super) fn is_bare(text: &str) -> bool {
    Name::parse(text).is_ok_and(|name| name.bare)
}

/// A name, and whether it came without tag and digest: then the tag it has is only a default.
struct Name {
    reference: Reference,
    bare: bool,
}

impl Name {
    fn parse(text: &str) -> Result<Name, crate::name::Error> {
        let reference: Reference = text.parse()?;
        let last = text.rsplit('/').next().unwrap_or_default();
        Ok(Name { reference, bare: !last.contains([':', '@']) })
    }
}

#[cfg(test)]
#[path = "identity_test.rs"]
mod tests;

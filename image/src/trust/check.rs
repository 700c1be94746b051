//! Whether an image fulfils what a policy demands of it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::identity::{self, Identity};
use super::key::PublicKey;
use super::payload::{COSIGN, Payload};
use super::policy::Rule;
use super::requirement::Requirement;
use super::source::{Attachment, SignatureSource};
use super::{Error, Policy};
use crate::digest::Hashing;
use crate::{Digest, Reference};

/// How many bad signatures are spoken about.
const MAX_REASONS: usize = 3;
/// Longest name out of a signature that is repeated in a message, in characters.
const MAX_QUOTED: usize = 200;

/// What most people stumble over.
const BARE: &str = " (cosign names no tag, which only matchRepository, exactRepository and the like accept)";

/// A document that a signature may be for.
#[derive(Clone, Copy, Debug)]
pub struct Signed<'a> {
    /// As the registry was asked for it, or as computed.
    pub digest: &'a Digest,
    /// The document.
    pub bytes: &'a [u8],
}

impl Policy {
    /// Whether the image that `reference` names may come in; `manifest` is its manifest, and `source` has its
    /// signatures.
    pub fn check(
        &self,
        reference: &Reference,
        digest: &Digest,
        manifest: &[u8],
        source: &dyn SignatureSource,
    ) -> Result<(), Error> {
        self.check_any(reference, &[Signed { digest, bytes: manifest }], source)
    }

    /// As [`Policy::check`], for an image that was chosen from an index: `documents` are what the name stands for and
    /// what was chosen. Each requirement must be fulfilled by a signature of one of them. cosign signs the index
    /// unless told otherwise, and containers-image looks only at what was chosen; the one binds the other by digest.
    pub fn check_any(
        &self,
        reference: &Reference,
        documents: &[Signed<'_>],
        source: &dyn SignatureSource,
    ) -> Result<(), Error> {
        let image = reference.familiar();
        for document in documents {
            matches(document, document.digest).map_err(|source| Error::Manifest { image: image.clone(), source })?;
        }
        all(&self.rule_for(reference), &image, Some(reference), documents, source)
    }
}

/// Refuses what no signature could save.
pub(super) fn hopeless(rule: &Rule<'_>, image: &str) -> Result<(), Error> {
    let (image, name) = (image.to_owned(), rule.name.clone());
    match rule.requirements.iter().find(|one| matches!(one, Requirement::Reject | Requirement::Unsupported(_))) {
        Some(Requirement::Unsupported(what)) => Err(Error::Unsupported { image, rule: name, what }),
        Some(_) => Err(Error::Rejected { image, rule: name }),
        None => Ok(()),
    }
}

/// Checks every requirement of `rule`. An image without a `reference` has no name that a signature could be for.
pub(super) fn all(
    rule: &Rule<'_>,
    image: &str,
    reference: Option<&Reference>,
    documents: &[Signed<'_>],
    source: &dyn SignatureSource,
) -> Result<(), Error> {
    hopeless(rule, image)?;
    let mut signatures: Option<Vec<(Signed<'_>, Vec<Attachment>)>> = None;
    for requirement in rule.requirements {
        let Requirement::Sigstore { keys, identity } = requirement else { continue };
        let wanted = Wanted { keys: keys.load()?, identity, reference };
        let signatures = match &mut signatures {
            Some(signatures) => signatures,
            none => none.insert(collect(image, documents, source)?),
        };
        wanted.check(rule, image, signatures)?;
    }
    Ok(())
}

fn collect<'a>(
    image: &str,
    documents: &[Signed<'a>],
    source: &dyn SignatureSource,
) -> Result<Vec<(Signed<'a>, Vec<Attachment>)>, Error> {
    let mut all: Vec<(Signed<'a>, Vec<Attachment>)> = Vec::new();
    for document in documents {
        if all.iter().all(|(known, _)| known.digest != document.digest) {
            let found = source.cosign(document.digest);
            all.push((*document, found.map_err(|source| Error::Source { image: image.to_owned(), source })?));
        }
    }
    Ok(all)
}

/// One requirement, made ready.
struct Wanted<'a> {
    keys: Vec<PublicKey>,
    identity: &'a Identity,
    reference: Option<&'a Reference>,
}

impl Wanted<'_> {
    /// One good signature is enough, however many bad ones there are.
    fn check(&self, rule: &Rule<'_>, image: &str, all: &[(Signed<'_>, Vec<Attachment>)]) -> Result<(), Error> {
        let (image, rule) = (image.to_owned(), rule.name.clone());
        let (mut count, mut reasons) = (0_usize, Vec::new());
        for (document, attachment) in
            all.iter().flat_map(|(document, list)| list.iter().map(move |one| (document, one)))
        {
            match self.accepts(document, attachment) {
                Ok(()) => return Ok(()),
                Err(reason) if reasons.len() < MAX_REASONS => reasons.push(reason),
                Err(_) => {}
            }
            count = count.saturating_add(1);
        }
        match count {
            0 => Err(Error::Unsigned { image, rule }),
            _ => Err(Error::Unaccepted { image, rule, count, reasons: reasons.join("; ") }),
        }
    }

    /// Nothing in the statement is looked at before the signature is known to be good.
    fn accepts(&self, document: &Signed<'_>, attachment: &Attachment) -> Result<(), String> {
        if attachment.signature.is_empty() {
            return Err("the attachment has no signature in it".to_owned());
        }
        let signature = STANDARD.decode(&attachment.signature).map_err(|_| "the signature is not base64".to_owned())?;
        if !self.keys.iter().any(|key| key.verifies(&attachment.payload, &signature)) {
            return Err("it was not made with a key of the policy".to_owned());
        }
        let payload = Payload::parse(&attachment.payload, COSIGN).map_err(|error| error.to_string())?;
        matches(document, &payload.digest).map_err(|_| format!("it is for another image, {}", payload.digest))?;
        if self.reference.is_some_and(|reference| self.identity.accepts(reference, &payload.reference)) {
            return Ok(());
        }
        let signed: String = payload.reference.chars().take(MAX_QUOTED).collect();
        let hint = if identity::is_bare(&payload.reference) { BARE } else { "" };
        Err(format!("it is for the name {signed:?}, which the policy does not accept for this image{hint}"))
    }
}

/// Whether `document` has this digest.
fn matches(document: &Signed<'_>, digest: &Digest) -> Result<(), crate::digest::Error> {
    let mut hashing = Hashing::new(document.bytes, digest.algorithm(), None);
    // Reading from memory does not fail; if it did the digest would be another one.
    let _ = hashing.drain();
    hashing.verify(digest).map(|_| ())
}

//! Where signatures come from: attachments in the image's own repository, as cosign puts them.

use crate::manifest::{Descriptor, Document};
use crate::registry::{self, Client};
use crate::{Digest, Reference, manifest};

/// Most signatures of one manifest that are looked at; containers-image has the same limit.
pub const MAX_SIGNATURES: usize = 128;
/// Largest statement of a signature, in bytes; containers-image has the same limit. They have about 300.
pub const MAX_SIGNATURE: u64 = 4 << 20;
/// Largest statements of one manifest's signatures together, in bytes: they are all held in memory.
pub const MAX_SIGNATURES_BYTES: u64 = 16 << 20;

/// The media type of a signature in a manifest of signatures.
const SIMPLE_SIGNING: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
/// Where the signature itself is.
const SIGNATURE: &str = "dev.cosignproject.cosign/signature";

/// A signature nobody has verified yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attachment {
    /// What is signed: see [`super::payload::Payload`].
    pub payload: Vec<u8>,
    /// The signature of these bytes, in base64; empty if there is none.
    pub signature: String,
}

/// Why signatures could not be had.
pub type SourceError = Box<dyn std::error::Error + Send + Sync>;

/// Something that has the signatures of manifests.
pub trait SignatureSource {
    /// The cosign signatures of the manifest or index of this digest; none is not an error.
    fn cosign(&self, digest: &Digest) -> Result<Vec<Attachment>, SourceError>;
}

/// For images that come without.
pub struct NoSignatures;

impl SignatureSource for NoSignatures {
    fn cosign(&self, _: &Digest) -> Result<Vec<Attachment>, SourceError> {
        Ok(Vec::new())
    }
}

/// The repository of an image: the signatures of the manifest `sha256:HEX` are the layers of the artifact with the tag
/// `sha256-HEX.sig`.
pub struct RegistrySignatures<'a> {
    client: &'a Client,
    repository: String,
}

/// Why an artifact with signatures cannot be used.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("The artifact with the signatures, {tag}, cannot be read")]
    Manifest { tag: String, source: manifest::Error },
    #[error("The artifact with the signatures, {tag}, is an index")]
    Index { tag: String },
    #[error("There are {0} signatures, more than the {MAX_SIGNATURES} that are looked at")]
    TooMany(usize),
    #[error("The signatures have {0} bytes, more than is allowed")]
    TooLarge(u64),
}

impl<'a> RegistrySignatures<'a> {
    /// `client` is one for the repository of `reference`.
    pub fn new(client: &'a Client, reference: &Reference) -> RegistrySignatures<'a> {
        RegistrySignatures { client, repository: reference.name() }
    }
}

impl SignatureSource for RegistrySignatures<'_> {
    fn cosign(&self, digest: &Digest) -> Result<Vec<Attachment>, SourceError> {
        let tag = format!("{}:{}-{}.sig", self.repository, digest.algorithm().name(), digest.hex());
        // A SHA-512 makes no tag: it would be too long. Then there can be no signature either.
        let Ok(reference) = tag.parse::<Reference>() else { return Ok(Vec::new()) };
        let (bytes, kind) = match self.client.manifest(&reference) {
            Err(registry::Error::NotFound { .. }) => return Ok(Vec::new()),
            answer => answer?,
        };
        let tag = reference.familiar();
        let document = Document::parse(&bytes, kind.as_deref());
        let layers = match document.map_err(|source| Error::Manifest { tag: tag.clone(), source })? {
            Document::Manifest(manifest) => manifest.layers,
            Document::Index(_) => return Err(Error::Index { tag }.into()),
        };
        let layers: Vec<Descriptor> = layers.into_iter().filter(|layer| layer.media_type == SIMPLE_SIGNING).collect();
        check_sizes(&layers)?;
        layers.iter().map(|layer| self.attachment(layer)).collect()
    }
}

impl RegistrySignatures<'_> {
    fn attachment(&self, layer: &Descriptor) -> Result<Attachment, SourceError> {
        let payload = layer.read(self.client.blob(layer)?)?;
        Ok(Attachment { payload, signature: layer.annotations.get(SIGNATURE).cloned().unwrap_or_default() })
    }
}

fn check_sizes(layers: &[Descriptor]) -> Result<(), Error> {
    if layers.len() > MAX_SIGNATURES {
        return Err(Error::TooMany(layers.len()));
    }
    let largest = layers.iter().map(|layer| layer.size).max().unwrap_or_default();
    let all = layers.iter().fold(0_u64, |sum, layer| sum.saturating_add(layer.size));
    if largest > MAX_SIGNATURE || all > MAX_SIGNATURES_BYTES { Err(Error::TooLarge(all)) } else { Ok(()) }
}

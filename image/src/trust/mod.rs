//! Which images may come in: signature policies as containers-policy.json(5) has them, and cosign's signatures.
//!
//! A policy never passes in silence: what it demands and cannot be checked here refuses the image.

mod check;
mod identity;
mod json;
pub mod key;
pub mod payload;
mod policy;
mod requirement;
mod scope;
mod source;

use std::path::PathBuf;

pub use check::Signed;
pub use json::Malformed;
pub use policy::{DEFAULT_PATH, Policy};
pub use scope::Transport;
pub use source::{
    Attachment, MAX_SIGNATURE, MAX_SIGNATURES, MAX_SIGNATURES_BYTES, NoSignatures, RegistrySignatures, SignatureSource,
    SourceError,
};

/// Why an image is not trusted.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The policy is there, but what it demands is not known: nothing may come in.
    #[error("Cannot read the signature policy {path}, so no image is accepted")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// See `policy::MAX_BYTES`.
    #[error("The signature policy {0} is larger than 1 MiB, so no image is accepted; it is probably not a policy")]
    TooLarge(PathBuf),
    /// It is not JSON, or not a policy.
    #[error("The signature policy {path} is wrong, so no image is accepted")]
    Policy {
        /// The file.
        path: PathBuf,
        /// Why.
        source: Malformed,
    },
    /// A requirement of type `reject`.
    #[error("The signature policy rejects {image}: its rule for {rule} says so")]
    Rejected {
        /// The image.
        image: String,
        /// The part of the policy.
        rule: String,
    },
    /// A requirement that cannot be checked.
    #[error("The image {image} is refused: the signature policy's rule for {rule} asks for {what}")]
    Unsupported {
        /// The image.
        image: String,
        /// The part of the policy.
        rule: String,
        /// What it asks for.
        what: &'static str,
    },
    /// No signature at all.
    #[error("The signature policy's rule for {rule} asks for a signature, and {image} has none")]
    Unsigned {
        /// The image.
        image: String,
        /// The part of the policy.
        rule: String,
    },
    /// No good one.
    #[error("The signature policy's rule for {rule} accepts no signature of {image} ({count} found): {reasons}")]
    Unaccepted {
        /// The image.
        image: String,
        /// The part of the policy.
        rule: String,
        /// How many there are.
        count: usize,
        /// What is wrong with the first few.
        reasons: String,
    },
    /// They may be there, but it cannot be told.
    #[error("Cannot get the signatures of {image}")]
    Source {
        /// The image.
        image: String,
        /// Why.
        source: SourceError,
    },
    /// A key of the policy.
    #[error("Cannot read the key {path} that the signature policy names")]
    ReadKey {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A key of the policy.
    #[error("The key {path} that the signature policy names cannot be used")]
    Key {
        /// The file.
        path: PathBuf,
        /// Why.
        source: key::Error,
    },
    /// A key of the policy.
    #[error("The key in the signature policy cannot be used")]
    InlineKey(#[source] key::Error),
    /// The document is not the one that was asked about.
    #[error("The manifest of {image} is damaged")]
    Manifest {
        /// The image.
        image: String,
        /// Why.
        source: crate::digest::Error,
    },
}

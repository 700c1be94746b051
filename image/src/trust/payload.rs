//! What a signature says: the "simple signing" document (containers-signature(5)), which cosign writes too.

use super::json::{Json, Malformed};
use crate::Digest;

/// The statement of a signature: an image of this digest may be called this.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payload {
    /// Of the manifest.
    pub digest: Digest,
    /// As the signer wrote it. Whether it names the image is for the policy to say.
    pub reference: String,
}

/// The `critical.type` of cosign's signatures.
pub const COSIGN: &str = "cosign container image signature";

impl Payload {
    /// Reads a statement of type `kind`. Every field there may be is known: a further one is an error.
    pub fn parse(bytes: &[u8], kind: &str) -> Result<Payload, Malformed> {
        let mut fields = Json::parse("signature", bytes)?.fields("signature")?;
        let mut critical = fields.required("critical")?.fields(&fields.place("critical"))?;
        let optional = fields.required("optional")?;
        check_optional(optional, &fields.place("optional"))?;
        fields.end()?;
        let found = critical.text("type")?;
        if found != kind {
            return Err(Malformed::new(&critical.place("type"), format!("Expected {kind:?}, found {found:?}")));
        }
        let mut image = critical.required("image")?.fields(&critical.place("image"))?;
        let mut identity = critical.required("identity")?.fields(&critical.place("identity"))?;
        critical.end()?;
        let digest = image.text("docker-manifest-digest")?;
        let place = image.place("docker-manifest-digest");
        image.end()?;
        let digest = digest.parse().map_err(|error: crate::digest::Error| Malformed::new(&place, error.to_string()))?;
        let reference = identity.text("docker-reference")?;
        identity.end()?;
        Ok(Payload { digest, reference })
    }
}

/// Nothing in it matters, but it must be what it should be. cosign writes null if it has nothing to say.
fn check_optional(value: Json, place: &str) -> Result<(), Malformed> {
    if value == Json::Null {
        return Ok(());
    }
    let mut fields = value.fields(place)?;
    if let Some(creator) = fields.take("creator") {
        creator.text(&fields.place("creator"))?;
    }
    match fields.take("timestamp") {
        None => Ok(()),
        Some(Json::Number(seconds)) if seconds.fract() == 0.0 => Ok(()),
        Some(_) => Err(Malformed::new(&fields.place("timestamp"), "Expected a whole number")),
    }
}

#[cfg(test)]
#[path = "payload_test.rs"]
mod tests;

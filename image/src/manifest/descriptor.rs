//! Descriptors, and the two documents made of them (OCI image specification: descriptor.md, manifest.md,
//! image-index.md).

use std::collections::BTreeMap;
use std::io::Read;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{media, nullable};
use crate::digest::Hashing;
use crate::{Digest, Platform};

/// What some content is, how long it is and what its digest is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// Media type.
    #[serde(default, deserialize_with = "nullable")]
    pub media_type: String,
    /// Of the content.
    pub digest: Digest,
    /// Of the content, in bytes.
    pub size: u64,
    /// In an index: what the image runs on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    /// Free notes.
    #[serde(default, deserialize_with = "nullable", skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Everything else, kept so that a rewritten document loses nothing.
    #[serde(flatten)]
    pub other: BTreeMap<String, Value>,
}

impl Descriptor {
    /// One without platform and annotations.
    pub fn new(media_type: &str, digest: Digest, size: u64) -> Descriptor {
        Descriptor {
            media_type: media_type.to_owned(),
            digest,
            size,
            platform: None,
            annotations: BTreeMap::new(),
            other: BTreeMap::new(),
        }
    }

    /// In a list of referrers: what kind of thing it is.
    pub fn artifact_type(&self) -> Option<&str> {
        self.other.get("artifactType").and_then(Value::as_str)
    }

    /// Whether its content is for its maker alone to distribute (OCI image specification, layer.md,
    /// "Non-Distributable Layers"; Docker calls such layers foreign).
    pub(crate) fn is_foreign(&self) -> bool {
        self.media_type.contains(".nondistributable.") || self.media_type.contains(".rootfs.foreign.")
    }

    /// Notes by which index of several platforms this manifest came, if by one.
    pub(crate) fn with_index(mut self, index: Option<&Digest>) -> Descriptor {
        self.annotations.extend(index.map(|digest| (crate::store::INDEX.to_owned(), digest.to_string())));
        self
    }

    /// Reads a small document and makes sure that it is the one described.
    pub(crate) fn read(&self, input: impl Read) -> Result<Vec<u8>, Box<dyn std::error::Error + Send + Sync>> {
        let mut hashing = Hashing::new(input, self.digest.algorithm(), Some(self.size));
        let mut bytes = Vec::new();
        hashing.read_to_end(&mut bytes)?;
        hashing.verify(&self.digest)?;
        Ok(bytes)
    }
}

/// An image: its config and its layers, lowest first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// Always 2.
    pub schema_version: u64,
    /// Media type of this document.
    #[serde(default, deserialize_with = "nullable", skip_serializing_if = "String::is_empty")]
    pub media_type: String,
    /// The image config.
    pub config: Descriptor,
    /// The layers, lowest first.
    #[serde(default, deserialize_with = "nullable")]
    pub layers: Vec<Descriptor>,
    /// Everything else.
    #[serde(flatten)]
    pub other: BTreeMap<String, Value>,
}

impl Manifest {
    /// An OCI manifest.
    pub fn new(config: Descriptor, layers: Vec<Descriptor>) -> Manifest {
        Manifest { schema_version: 2, media_type: media::MANIFEST.to_owned(), config, layers, other: BTreeMap::new() }
    }

    /// The descriptor of this manifest; `kind` is what its sender called it.
    pub(crate) fn entry(&self, kind: Option<&str>, digest: Digest, size: u64) -> Descriptor {
        let known = |kind: &&str| [media::MANIFEST, media::DOCKER_MANIFEST].contains(kind);
        let own = Some(self.media_type.as_str()).filter(known);
        Descriptor::new(own.or(kind.filter(known)).unwrap_or(media::MANIFEST), digest, size)
    }
}

/// Several images, or several names for images.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Index {
    /// Always 2.
    pub schema_version: u64,
    /// Media type of this document.
    #[serde(default, deserialize_with = "nullable", skip_serializing_if = "String::is_empty")]
    pub media_type: String,
    /// The entries.
    #[serde(default, deserialize_with = "nullable")]
    pub manifests: Vec<Descriptor>,
    /// Everything else.
    #[serde(flatten)]
    pub other: BTreeMap<String, Value>,
}

impl Index {
    /// Reads one that is no image.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Index> {
        serde_json::from_slice(bytes).ok().filter(|index: &Index| index.schema_version == 2)
    }
}

impl Default for Index {
    fn default() -> Index {
        let media_type = media::INDEX.to_owned();
        Index { schema_version: 2, media_type, manifests: Vec::new(), other: BTreeMap::new() }
    }
}

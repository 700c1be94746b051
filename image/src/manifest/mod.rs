//! The documents that describe an image: OCI index, manifest and config, and Docker's schema 2 of the same.
//!
//! Both families have the same fields, so there is one set of structures. They read what is needed and ignore what
//! is not; `null` stands for an absent value, since there are registries full of it.

mod descriptor;
mod image_config;

use serde::{Deserialize, Deserializer};

pub use descriptor::{Descriptor, Index, Manifest};
pub use image_config::{Container, History, ImageConfig, RootFs};

/// Largest manifest or index: 4 MiB, as registries and other clients have it (distribution specification, "Pushing
/// Manifests").
pub const MAX_MANIFEST: u64 = 4 << 20;
/// Largest image config, the same limit as other clients have.
pub const MAX_CONFIG: u64 = 4 << 20;

/// Media types this crate reads or writes.
pub mod media {
    /// OCI manifest.
    pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
    /// OCI index.
    pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
    /// OCI image config.
    pub const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
    /// Uncompressed OCI layer.
    pub const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
    /// Docker manifest, schema 2.
    pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
    /// Docker manifest list.
    pub const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
    /// Docker image config.
    pub const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
    /// All that a registry may answer a request for a manifest with.
    pub const ACCEPT: [&str; 4] = [MANIFEST, INDEX, DOCKER_MANIFEST, DOCKER_LIST];
}

/// Why a document was not taken.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// See [`MAX_MANIFEST`] and [`MAX_CONFIG`].
    #[error("The {what} is larger than the 4 MiB allowed")]
    TooLarge {
        /// `manifest` or `config`.
        what: &'static str,
    },
    /// Not JSON, or a field has the wrong type.
    #[error("The {what} is malformed")]
    Json {
        /// `manifest`, `index` or `config`.
        what: &'static str,
        /// Where and why.
        source: serde_json::Error,
    },
    /// One text that could be read as two things is a trick (CVE-2021-41190).
    #[error("The manifest is ambiguous: it is an image and an index at once")]
    Ambiguous,
    /// The format that Docker gave up in 2017.
    #[error("The image is in Docker's schema 1, which is no longer supported: push it again with a current client")]
    SchemaOne,
    /// Neither layers nor manifests, or another `schemaVersion`.
    #[error("The document is neither an image manifest nor an index")]
    Unknown,
    /// Something else that registries store as if it were an image.
    #[error("This is not a container image but an artifact of type {0}")]
    Artifact(String),
    /// Layers that need a key.
    #[error("The image is encrypted ({0}), which is not supported")]
    Encrypted(String),
    /// The config's list of layers is not that of the manifest.
    #[error("The image is malformed: {layers} layers in its manifest, {diff_ids} in its config")]
    Layers {
        /// In the manifest.
        layers: usize,
        /// In the config.
        diff_ids: usize,
    },
    /// More layers than can be stacked.
    #[error("The image has {0} layers, more than the {MAX_LAYERS} that can be stacked")]
    TooManyLayers(usize),
}

/// Most layers of an image: Linux overlays at most 500 (`OVL_MAX_STACK`); Docker stops at 127.
pub const MAX_LAYERS: usize = 500;

/// A manifest or an index.
#[derive(Clone, Debug)]
pub enum Document {
    /// One image.
    Manifest(Manifest),
    /// Several, one per platform.
    Index(Index),
}

/// Just enough of a document to tell what it is.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Shape {
    #[serde(default, deserialize_with = "nullable")]
    schema_version: u64,
    #[serde(default, deserialize_with = "nullable")]
    media_type: String,
    #[serde(default)]
    layers: Option<serde::de::IgnoredAny>,
    #[serde(default)]
    config: Option<serde::de::IgnoredAny>,
    #[serde(default)]
    manifests: Option<serde::de::IgnoredAny>,
    #[serde(default, rename = "fsLayers")]
    fs_layers: Option<serde::de::IgnoredAny>,
}

impl Document {
    /// Reads a document; `content_type` is what the sender calls it, if it says.
    pub fn parse(bytes: &[u8], content_type: Option<&str>) -> Result<Document, Error> {
        if bytes.len() as u64 > MAX_MANIFEST {
            return Err(Error::TooLarge { what: "manifest" });
        }
        let shape: Shape = parse("manifest", bytes)?;
        if shape.schema_version == 1 || shape.fs_layers.is_some() {
            return Err(Error::SchemaOne);
        }
        let image = shape.layers.is_some() || shape.config.is_some();
        let index = shape.manifests.is_some();
        let named = [Some(shape.media_type.as_str()), content_type];
        let called = |names: [&str; 2]| named.iter().flatten().any(|name| names.contains(name));
        let called_image = called([media::MANIFEST, media::DOCKER_MANIFEST]);
        let called_index = called([media::INDEX, media::DOCKER_LIST]);
        match (image, index) {
            (true, true) => Err(Error::Ambiguous),
            (true, false) if called_index => Err(Error::Ambiguous),
            (false, true) if called_image => Err(Error::Ambiguous),
            _ if shape.schema_version != 2 => Err(Error::Unknown),
            (true, false) => Ok(Document::Manifest(parse("manifest", bytes)?)),
            (false, true) => Ok(Document::Index(parse("index", bytes)?)),
            (false, false) => Err(Error::Unknown),
        }
    }
}

impl Manifest {
    /// Whether this is an image that can be run: not an artifact, not encrypted, not too deep.
    pub fn check(&self) -> Result<(), Error> {
        if ![media::CONFIG, media::DOCKER_CONFIG].contains(&self.config.media_type.as_str()) {
            return Err(Error::Artifact(self.config.media_type.clone()));
        }
        if self.layers.len() > MAX_LAYERS {
            return Err(Error::TooManyLayers(self.layers.len()));
        }
        match self.layers.iter().find(|layer| layer.media_type.contains("+encrypted")) {
            Some(layer) => Err(Error::Encrypted(layer.media_type.clone())),
            None => Ok(()),
        }
    }

    /// Whether `config` belongs to this manifest: as many layers in the one as in the other.
    pub fn check_config(&self, config: &ImageConfig) -> Result<(), Error> {
        let (layers, diff_ids) = (self.layers.len(), config.rootfs.diff_ids.len());
        if layers == diff_ids { Ok(()) } else { Err(Error::Layers { layers, diff_ids }) }
    }
}

fn parse<'a, T: Deserialize<'a>>(what: &'static str, bytes: &'a [u8]) -> Result<T, Error> {
    let object = bytes.trim_ascii_start().first() == Some(&b'{');
    // Serde would also read the fields of a structure from an array, by their order.
    let parsed =
        if object { serde_json::from_slice(bytes) } else { Err(serde::de::Error::custom("It is no JSON object")) };
    parsed.map_err(|source| Error::Json { what, source })
}

/// Reads `null` as the default value.
pub(crate) fn nullable<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(input: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(input)?.unwrap_or_default())
}

#[cfg(test)]
#[path = "manifest_test.rs"]
mod tests;

//! The image config: what to run in an image, for whom it is, and what its layers are (OCI image specification,
//! config.md).

use std::collections::BTreeMap;

use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};

use super::{Error, MAX_CONFIG, nullable, parse};
use crate::{Digest, Platform};

/// The parts of an image config that are used here. Its exact bytes are kept in the store.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct ImageConfig {
    /// When it was made, RFC 3339, as the maker wrote it.
    pub created: Option<String>,
    /// `amd64`, `arm64`.
    #[serde(deserialize_with = "nullable")]
    pub architecture: String,
    /// `linux`.
    #[serde(deserialize_with = "nullable")]
    pub os: String,
    /// `v8`.
    #[serde(deserialize_with = "nullable")]
    pub variant: String,
    /// What to run and how.
    #[serde(rename = "config", deserialize_with = "nullable")]
    pub container: Container,
    /// The layers.
    #[serde(deserialize_with = "nullable")]
    pub rootfs: RootFs,
    /// How it was made, oldest first.
    #[serde(deserialize_with = "nullable")]
    pub history: Vec<History>,
}

/// How a container of the image is started unless the user says otherwise.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Container {
    /// `user[:group]`, by name or number; empty means root.
    #[serde(deserialize_with = "nullable")]
    pub user: String,
    /// `80/tcp`.
    #[serde(deserialize_with = "keys")]
    pub exposed_ports: Vec<String>,
    /// `NAME=VALUE`.
    #[serde(deserialize_with = "nullable")]
    pub env: Vec<String>,
    /// Program and first arguments.
    #[serde(deserialize_with = "words")]
    pub entrypoint: Vec<String>,
    /// Further arguments, or program and arguments when there is no entrypoint.
    #[serde(deserialize_with = "words")]
    pub cmd: Vec<String>,
    /// Paths that are to be volumes.
    #[serde(deserialize_with = "keys")]
    pub volumes: Vec<String>,
    /// Absolute; empty means `/`.
    #[serde(deserialize_with = "nullable")]
    pub working_dir: String,
    /// Free notes.
    #[serde(deserialize_with = "nullable")]
    pub labels: BTreeMap<String, String>,
    /// `SIGTERM` or a number; empty means SIGTERM.
    #[serde(deserialize_with = "nullable")]
    pub stop_signal: String,
}

/// The layers of an image.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct RootFs {
    /// Digests of the uncompressed layers, lowest first.
    #[serde(deserialize_with = "nullable")]
    pub diff_ids: Vec<Digest>,
}

/// One step in the making of an image.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct History {
    /// RFC 3339.
    pub created: Option<String>,
    /// The command.
    #[serde(deserialize_with = "nullable")]
    pub created_by: String,
    /// A remark.
    #[serde(deserialize_with = "nullable")]
    pub comment: String,
    /// Whether the step made no layer.
    #[serde(deserialize_with = "nullable")]
    pub empty_layer: bool,
}

impl ImageConfig {
    /// Reads a config.
    pub fn parse(bytes: &[u8]) -> Result<ImageConfig, Error> {
        if bytes.len() as u64 > MAX_CONFIG {
            return Err(Error::TooLarge { what: "config" });
        }
        parse("config", bytes)
    }

    /// What the image runs on, as far as it says.
    pub fn platform(&self) -> Platform {
        let (os, architecture, variant) = (self.os.clone(), self.architecture.clone(), self.variant.clone());
        Platform { os, architecture, variant }
    }
}

/// The keys of a map whose values say nothing: Go's way to write a set.
fn keys<'de, D: Deserializer<'de>>(input: D) -> Result<Vec<String>, D::Error> {
    let map: Option<BTreeMap<String, IgnoredAny>> = Option::deserialize(input)?;
    Ok(map.unwrap_or_default().into_keys().collect())
}

/// A list of words; old images have a single word instead.
fn words<'de, D: Deserializer<'de>>(input: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Words {
        List(Vec<String>),
        One(String),
    }
    Ok(match Option::deserialize(input)? {
        None => Vec::new(),
        Some(Words::List(words)) => words,
        Some(Words::One(word)) => vec![word],
    })
}

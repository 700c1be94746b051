//! Platforms: which of the images an index offers is the one to run here.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::manifest::{Descriptor, nullable};

/// A platform as the OCI image specification writes it (image-index.md, "platform").
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Platform {
    /// `linux`.
    #[serde(default, deserialize_with = "nullable")]
    pub os: String,
    /// `amd64`, `arm64`, as Go names them.
    #[serde(default, deserialize_with = "nullable")]
    pub architecture: String,
    /// `v8`.
    #[serde(default, deserialize_with = "nullable", skip_serializing_if = "String::is_empty")]
    pub variant: String,
}

/// A text that is no platform.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0:?} is not a platform: write os/architecture or os/architecture/variant, for example linux/arm64/v8")]
pub struct Error(String);

impl Platform {
    /// What runs on this host. A microVM has the host's own architecture.
    pub fn host() -> Platform {
        let architecture = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        };
        Platform { os: "linux".into(), architecture: architecture.into(), variant: String::new() }
    }

    /// Whether an image that says it is for `self` can stand for `wanted`; less is better. Fields that an image
    /// leaves out do not speak against it.
    fn distance(&self, wanted: &Platform) -> Option<usize> {
        let other = |mine: &str, wanted: &str| !mine.is_empty() && mine != wanted;
        if other(&self.os, &wanted.os) || other(&self.architecture, &wanted.architecture) {
            return None;
        }
        wanted.variants().iter().position(|variant| *variant == self.variant)
    }

    /// Whether an image that says it is for `self` can stand for `wanted`.
    pub fn suits(&self, wanted: &Platform) -> bool {
        self.distance(wanted).is_some()
    }

    /// The variants that do, best first. Without a wanted variant the oldest that every machine of the architecture
    /// has is taken, and an image that names none.
    fn variants(&self) -> Vec<&str> {
        match (self.architecture.as_str(), self.variant.as_str()) {
            ("amd64", "") => vec!["", "v1"],
            ("amd64", variant) => vec![variant, "", "v1"],
            ("arm64", "" | "v8") => vec!["v8", ""],
            ("arm64", variant) => vec![variant, "v8", ""],
            ("arm", "" | "v7") => vec!["v7", "v6", "v5", ""],
            ("arm", "v8") => vec!["v8", "v7", "v6", "v5", ""],
            ("arm", "v6") => vec!["v6", "v5", ""],
            ("arm", "v5") => vec!["v5", ""],
            (_, "") => vec![""],
            (_, variant) => vec![variant, ""],
        }
    }

    /// Whether both mean the same machines: a variant that is left out is the one that is usual.
    pub fn is_same(&self, other: &Platform) -> bool {
        self.os == other.os && self.architecture == other.architecture && self.usual() == other.usual()
    }

    fn usual(&self) -> &str {
        match (self.architecture.as_str(), self.variant.as_str()) {
            ("amd64", "") => "v1",
            ("arm64", "") => "v8",
            ("arm", "") => "v7",
            (_, variant) => variant,
        }
    }

    /// Attestations stand in indexes under a platform that no image has.
    fn is_unknown(&self) -> bool {
        self.os == "unknown" || self.architecture == "unknown"
    }
}

/// The entry of an index that suits `wanted` best; the first of equals. An entry that says nothing of its platform
/// is taken when no other suits; its config will tell.
pub fn choose<'a>(entries: &'a [Descriptor], wanted: &Platform) -> Option<&'a Descriptor> {
    let distance = |entry: &Descriptor| match &entry.platform {
        Some(platform) => platform.distance(wanted),
        None => Some(usize::MAX),
    };
    entries
        .iter()
        .filter_map(|entry| Some((distance(entry)?, entry)))
        .min_by_key(|(distance, _)| *distance)
        .map(|e| e.1)
}

/// The platforms an index offers, for an error message.
pub fn offered(entries: &[Descriptor]) -> String {
    let platforms = entries.iter().filter_map(|entry| entry.platform.as_ref());
    let mut names: Vec<String> = platforms.filter(|p| !p.is_unknown()).map(Platform::to_string).collect();
    names.dedup();
    if names.is_empty() { "none at all".into() } else { names.join(", ") }
}

impl fmt::Display for Platform {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.os, self.architecture)?;
        if self.variant.is_empty() { Ok(()) } else { write!(formatter, "/{}", self.variant) }
    }
}

impl FromStr for Platform {
    type Err = Error;

    fn from_str(text: &str) -> Result<Platform, Error> {
        let wrong = || Error(text.to_owned());
        let word =
            |part: &&str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
        let parts: Vec<&str> = text.split('/').collect();
        if !parts.iter().all(word) {
            return Err(wrong());
        }
        let (os, architecture, variant) = match parts.as_slice() {
            [os, architecture] => (*os, *architecture, ""),
            [os, architecture, variant] => (*os, *architecture, *variant),
            _ => return Err(wrong()),
        };
        let (architecture, variant) = match (architecture.to_ascii_lowercase().as_str(), variant) {
            ("x86_64" | "x86-64", variant) => ("amd64".to_owned(), variant),
            ("aarch64", variant) => ("arm64".to_owned(), variant),
            (other, variant) => (other.to_owned(), variant),
        };
        Ok(Platform { os: os.to_ascii_lowercase(), architecture, variant: variant.to_owned() })
    }
}

#[cfg(test)]
#[path = "platform_test.rs"]
mod tests;

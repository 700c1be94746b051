//! `coracle.toml`: everything is optional, and an unknown key is an error rather than ignored in silence.

mod registries;

use std::path::{Path, PathBuf};

use serde::Deserialize;

pub use registries::{Certificates, Mirror, MirrorUse, Registries};

/// Where the file is looked for when none is named.
pub const DEFAULT_PATH: &str = "/etc/coracle/coracle.toml";
/// Largest file accepted; one written by hand is far smaller.
const MAX_BYTES: u64 = 1 << 20;

/// The whole file.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct File {
    /// Persistent folder, see [`crate::Folders`].
    pub root: Option<PathBuf>,
    /// Run-time folder, see [`crate::Folders`].
    pub run: Option<PathBuf>,
    /// `[registries]`
    pub registries: Registries,
    /// `[trust]`
    pub trust: crate::Trust,
}

/// Why a file was not taken.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It could not be read.
    #[error("Cannot read the configuration file {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// See `MAX_BYTES`.
    #[error("The configuration file {0} is larger than 1 MiB; it is probably not a coracle.toml")]
    TooLarge(PathBuf),
    /// It is not TOML, or holds a key or value that does not exist.
    #[error("The configuration file {path} is wrong")]
    Parse {
        /// The file.
        path: PathBuf,
        /// Line, column and reason.
        source: toml::de::Error,
    },
}

impl File {
    /// Reads `path`, or the default file if `path` is `None`; then, and only then, an absent file is an empty one.
    pub fn read(path: Option<&Path>) -> Result<File, Error> {
        let named = path.is_some();
        let path = path.unwrap_or(Path::new(DEFAULT_PATH));
        let fail = |source| Error::Read { path: path.to_owned(), source };
        match std::fs::metadata(path) {
            Err(error) if !named && error.kind() == std::io::ErrorKind::NotFound => return Ok(File::default()),
            Err(error) => return Err(fail(error)),
            Ok(metadata) if metadata.len() > MAX_BYTES => return Err(Error::TooLarge(path.to_owned())),
            Ok(_) => {}
        }
        let text = std::fs::read_to_string(path).map_err(fail)?;
        toml::from_str(&text).map_err(|source| Error::Parse { path: path.to_owned(), source })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_keys_are_read() {
        let file: File = toml::from_str("root = '/data'\n[registries]\ninsecure = ['edge:5000']").unwrap();
        assert_eq!(file.root.as_deref(), Some(Path::new("/data")));
        assert_eq!(file.registries.insecure, ["edge:5000"]);
    }

    #[test]
    fn an_unknown_key_is_named() {
        let error = toml::from_str::<File>("rooot = '/data'").unwrap_err();
        assert!(error.to_string().contains("rooot"), "{error}");
    }
}

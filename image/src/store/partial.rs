//! The beginnings of blobs whose download broke off, so that a later process goes on where it ended.
//!
//! They are in `partial/`, named by digest, locked while a process is at one. What is in them is not believed: a power
//! cut may have left anything. Whoever goes on with one hashes it from its start, and begins anew if it is wrong.

use std::path::PathBuf;

use super::{Error, Store, Temp};
use crate::Digest;

impl Store {
    /// The beginning of the blob of `digest`, or an empty file to write it to. `None` if another process is at it.
    pub(crate) fn partial_blob(&self, digest: &Digest) -> Result<Option<Temp>, Error> {
        let name = format!("{}-{}", digest.algorithm().name(), digest.hex());
        let path = self.partial_folder().join(name);
        Temp::resume(path.clone()).map_err(Error::file("open", &path))
    }

    pub(super) fn partial_folder(&self) -> PathBuf {
        self.folders.root().join("partial")
    }
}

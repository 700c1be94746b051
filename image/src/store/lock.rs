//! One lock for all processes: shared to read the index, exclusive to change it.
//!
//! It is held for milliseconds: downloads run without it and take it only to put their files in place.

use std::fs::File;
use std::os::unix::fs::OpenOptionsExt;

use super::{Error, Store};

/// As long as this lives no image is removed and none is added.
pub struct Hold {
    _file: File,
}

impl Store {
    /// Keeps all images where they are. For whoever must find an image and note that it uses it in one step; changing
    /// the store while holding this would wait for ever.
    pub fn hold(&self) -> Result<Hold, Error> {
        self.lock(|file| file.lock_shared())
    }

    pub(super) fn lock_exclusive(&self) -> Result<Hold, Error> {
        self.lock(|file| file.lock())
    }

    fn lock(&self, take: impl Fn(&File) -> std::io::Result<()>) -> Result<Hold, Error> {
        let path = self.folders.root().join("lock");
        let options = File::options().read(true).write(true).create(true).truncate(false).mode(0o600).to_owned();
        let file = options.open(&path).map_err(Error::file("open", &path))?;
        loop {
            match take(&file) {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                other => return other.map(|()| Hold { _file: file }).map_err(Error::file("lock", &path)),
            }
        }
    }
}

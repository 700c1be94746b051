//! What stands in the store and belongs to no image: parts of downloads that broke off, files of processes that died.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::references::remove_file;
use super::{Error, Store};

/// How long the part of a download that broke off is kept: whoever has not come back to it in a week does not want it.
const PARTIAL_LIFE: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// A file that somebody may be writing.
#[derive(Clone, Debug)]
pub(super) struct Leftover {
    pub(super) path: PathBuf,
    pub(super) bytes: u64,
    modified: SystemTime,
    /// Whether nobody holds its lock.
    pub(super) abandoned: bool,
}

impl Store {
    /// The beginnings of blobs whose download broke off.
    pub(super) fn partials(&self) -> Result<Vec<Leftover>, Error> {
        list(&self.partial_folder())
    }

    pub(super) fn temporaries(&self) -> Result<Vec<Leftover>, Error> {
        list(&self.temporary())
    }

    /// Removes the beginnings of blobs that nobody is fetching; returns the bytes that are free now.
    pub fn prune_partials(&self) -> Result<u64, Error> {
        self.remove_partials(|_| true)
    }

    /// Removes those that nobody has come back to in a long time.
    pub(super) fn remove_old_partials(&self) -> Result<(), Error> {
        let now = SystemTime::now();
        let old = |partial: &Leftover| now.duration_since(partial.modified).is_ok_and(|age| age > PARTIAL_LIFE);
        self.remove_partials(old).map(drop)
    }

    fn remove_partials(&self, wanted: impl Fn(&Leftover) -> bool) -> Result<u64, Error> {
        let mut bytes: u64 = 0;
        for partial in self.partials()?.iter().filter(|partial| wanted(partial)) {
            bytes = bytes.saturating_add(remove_abandoned(&partial.path)?);
        }
        Ok(bytes)
    }
}

/// Removes a file unless somebody holds its lock; returns how many bytes it had.
pub(super) fn remove_abandoned(path: &Path) -> Result<u64, Error> {
    let Ok(file) = File::open(path) else { return Ok(0) };
    // The lock is held until the name is gone: whoever opens the file meanwhile sees that it has none.
    if file.try_lock().is_err() { Ok(0) } else { remove_file(path) }
}

/// The files of a folder, by name; none if there is no such folder.
fn list(folder: &Path) -> Result<Vec<Leftover>, Error> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        result => result.map_err(Error::file("read folder", folder))?,
    };
    let mut leftovers = Vec::new();
    for entry in entries {
        let path = entry.map_err(Error::file("read folder", folder))?.path();
        // Its writer may finish at any moment.
        let (Ok(file), Ok(metadata)) = (File::open(&path), path.symlink_metadata()) else { continue };
        let modified = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
        let abandoned = metadata.is_file() && file.try_lock_shared().is_ok();
        leftovers.push(Leftover { path, bytes: metadata.len(), modified, abandoned });
    }
    leftovers.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(leftovers)
}

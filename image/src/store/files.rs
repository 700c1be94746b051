//! Files that appear whole or not at all.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// A file that is locked while it is written, and removed unless it is put in its place or kept for later.
pub(crate) struct Temp {
    path: PathBuf,
    file: File,
    end: End,
}

/// What becomes of the file when its writer lets go of it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Removed,
    /// It stays where it is, unless it is empty.
    Kept,
    /// It has its final name.
    Placed,
}

impl Temp {
    /// Creates a file that no other process takes for abandoned.
    pub(crate) fn create(folder: &Path) -> io::Result<Temp> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        loop {
            let name = format!("{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
            let path = folder.join(name);
            let options = File::options().read(true).write(true).create_new(true).mode(0o600).to_owned();
            let file = match options.open(&path) {
                Ok(file) => file,
                // Left by a dead process of the same number, or made by a live one in another PID namespace.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                Err(error) => return Err(error),
            };
            // Between creating and locking, a sweeper may have taken the file for abandoned: then it has the lock, or
            // the file has no name any more.
            if file.try_lock().is_ok() && file.metadata()?.nlink() > 0 {
                return Ok(Temp { path, file, end: End::Removed });
            }
        }
    }

    /// To write to and read from.
    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// Writes all of `bytes` and makes them durable.
    pub(crate) fn fill(&self, bytes: &[u8]) -> io::Result<()> {
        (&self.file).write_all(bytes)?;
        self.file.sync_all()
    }

    /// Gives the file, whose content must be durable already, its final name, replacing what has it. The caller syncs
    /// the folder.
    pub(crate) fn persist(mut self, path: &Path) -> io::Result<()> {
        fs::rename(&self.path, path)?;
        self.end = End::Placed;
        Ok(())
    }

    /// Opens a file that stays if nobody says otherwise, so that a later process can go on with it. `None` if another
    /// one is at it.
    pub(crate) fn resume(path: PathBuf) -> io::Result<Option<Temp>> {
        let options = File::options().read(true).write(true).create(true).truncate(false).mode(0o600).to_owned();
        let file = options.open(&path)?;
        if file.try_lock().is_err() {
            return Ok(None);
        }
        // Between opening and locking, another process may have put the file in its place, or removed it.
        let (own, named) = (file.metadata()?, fs::symlink_metadata(&path));
        let same = named.is_ok_and(|named| named.ino() == own.ino() && named.dev() == own.dev());
        Ok(same.then_some(Temp { path, file, end: End::Kept }))
    }

    /// Has the file removed although it was to be kept.
    pub(crate) fn discard(&mut self) {
        self.end = End::Removed;
    }
}

impl Drop for Temp {
    fn drop(&mut self) {
        let empty = || self.file.metadata().is_ok_and(|metadata| metadata.len() == 0);
        let removed = match self.end {
            End::Removed => true,
            End::Kept => empty(),
            End::Placed => false,
        };
        if removed && let Err(error) = fs::remove_file(&self.path) {
            log::warn!("Cannot remove {}: {error}", self.path.display());
        }
    }
}

/// Removes the files that nobody holds the lock of.
pub(crate) fn sweep(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let Ok(file) = File::open(&path) else { continue };
        if file.try_lock().is_ok() {
            log::info!("Removing {}, which a process left that is gone", path.display());
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
    }
    Ok(())
}

/// Creates a folder and its parents. Only root may look inside: images hold set-user-id programs.
pub(crate) fn create_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Makes the entries of the folder that `path` is in durable.
pub(crate) fn sync_parent(path: &Path) -> io::Result<()> {
    // The parent of a relative path of one part is the empty path.
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    sync(parent.unwrap_or(Path::new(".")))
}

/// Makes the entries of a folder durable.
pub(crate) fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Reads a file of at most `limit` bytes.
pub(crate) fn read_limited(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("It is larger than {limit} bytes")));
    }
    Ok(bytes)
}

//! At the end, everything the container wrote must be with the host: its caches end with the guest.

use std::os::fd::OwnedFd;

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::{Mode, fstat};
use nix::unistd::{sync, syncfs};

use crate::kernel_log;

/// File systems that the container may have written to.
#[derive(Debug, Default)]
pub struct Written {
    folders: Vec<OwnedFd>,
    paths: Vec<OwnedFd>,
}

impl Written {
    /// Adds the file system of an open folder.
    pub fn add(&mut self, folder: OwnedFd) {
        self.folders.push(folder);
    }

    /// Adds the file system of a folder that is only known by its path (`O_PATH`): opening it, which asks the host,
    /// waits until the end.
    pub fn add_later(&mut self, path: OwnedFd) {
        self.paths.push(path);
    }

    #[cfg(test)]
    pub(crate) fn count(&self) -> usize {
        self.folders.len() + self.paths.len()
    }

    /// Hands all data and times not yet written to the host, and waits until it has them.
    ///
    /// Nothing is unmounted: with every process gone, the file systems flushed and the machine about to go, that would
    /// only make the guest forget, one request at a time, what the host forgets at once.
    pub fn flush(&self) {
        if block_devices_exist() {
            // File systems the container mounted from a disk, or from a file of its root, come first.
            sync();
        }
        let mut done = Vec::with_capacity(self.folders.len());
        for folder in &self.folders {
            report(flush_once(folder, &mut done));
        }
        for path in &self.paths {
            report(flush_path(path, &mut done));
        }
    }
}

/// Flushes the file system of `folder` unless its device number is among `done`.
fn flush_once(folder: &OwnedFd, done: &mut Vec<u64>) -> Result<(), Errno> {
    let device = fstat(folder)?.st_dev;
    if !done.contains(&device) {
        syncfs(folder)?;
        done.push(device);
    }
    Ok(())
}

fn flush_path(path: &OwnedFd, done: &mut Vec<u64>) -> Result<(), Errno> {
    if done.contains(&fstat(path)?.st_dev) {
        return Ok(());
    }
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    flush_once(&openat(path, ".", flags, Mode::empty())?, done)
}

/// The container has ended, so its kernel log is the only place left to say that something of it is lost.
fn report(result: Result<(), Errno>) {
    if let Err(error) = result {
        kernel_log::write(&format!("Cannot flush a file system; what was written last may be lost: {error}"));
    }
}

/// Whether there is any; `true` if that cannot be told.
fn block_devices_exist() -> bool {
    std::fs::read_dir("/sys/block").map_or(true, |mut entries| entries.next().is_some())
}

#[cfg(test)]
#[path = "flush_test.rs"]
mod tests;

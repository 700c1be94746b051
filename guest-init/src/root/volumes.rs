//! Volumes: taken from the folder the host shares, mounted where the container wants them.

use std::os::fd::{AsFd, OwnedFd};

use config::wire::{Mount, SHARES_TAG};
use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::mount::{MntFlags, umount2};
use nix::sys::stat::{Mode, SFlag, fstat};

use super::flush::Written;
use super::resolve::{self, Kind, is};
use super::tree;

/// Where the shared folder is mounted while volumes are taken from it.
const SHARES: &str = "/shares";

/// What can go wrong with a volume.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The shared folder as a whole.
    #[error("Mount the shared folder")]
    Shares(#[source] super::Error),
    /// An operation on the shared folder.
    #[error("{0} {SHARES}")]
    Folder(&'static str, #[source] Errno),
    /// The host names an entry that cannot be one.
    #[error("{0:?} is not the name of a volume")]
    Name(String),
    /// One volume.
    #[error("{operation} the volume for {target:?}")]
    Volume {
        /// What was tried.
        operation: &'static str,
        /// Its path in the container.
        target: String,
        /// The kernel's answer.
        #[source]
        source: Errno,
    },
    /// Its place in the container.
    #[error("Find the place of a volume")]
    Target(#[source] resolve::Error),
}

/// Something to be mounted in the container: a detached mount and its place.
#[derive(Debug)]
pub struct Volume {
    tree: OwnedFd,
    kind: Kind,
    target: String,
    read_only: bool,
}

impl Volume {
    /// Takes what is at `source`, to be mounted at `target`.
    pub fn take(source: &str, target: &str, read_only: bool) -> Result<Volume, Error> {
        let failed = |operation| move |source| Error::Volume { operation, target: target.to_owned(), source };
        let tree = tree::take(source).map_err(failed("Take"))?;
        let status = fstat(&tree).map_err(failed("Look at"))?;
        let kind = if is(&status, SFlag::S_IFDIR) { Kind::Folder } else { Kind::File };
        Ok(Volume { tree, kind, target: target.to_owned(), read_only })
    }
}

/// Takes every volume out of the folder the host shares, while that can still be reached.
pub fn take(mounts: &[Mount], written: &mut Written) -> Result<Vec<Volume>, Error> {
    if mounts.is_empty() {
        return Ok(Vec::new());
    }
    super::mount_share(SHARES_TAG, SHARES).map_err(Error::Shares)?;
    let volumes = take_from(SHARES, mounts)?;
    let folder = open(SHARES, OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty());
    written.add(folder.map_err(|error| Error::Folder("Open", error))?);
    // Only the path goes away; what was taken keeps the file system.
    umount2(SHARES, MntFlags::MNT_DETACH).map_err(|error| Error::Folder("Unmount", error))?;
    Ok(volumes)
}

fn take_from(folder: &str, mounts: &[Mount]) -> Result<Vec<Volume>, Error> {
    let mut volumes = Vec::with_capacity(mounts.len());
    for mount in mounts {
        if mount.source.is_empty() || mount.source.starts_with('.') || mount.source.contains('/') {
            return Err(Error::Name(mount.source.clone()));
        }
        volumes.push(Volume::take(&format!("{folder}/{}", mount.source), &mount.target, mount.read_only)?);
    }
    Ok(volumes)
}

/// Mounts `volumes`, in their order, at their places inside `root`; those that can be written to are noted in `written`.
pub fn attach(root: &OwnedFd, volumes: Vec<Volume>, written: &mut Written) -> Result<(), Error> {
    for volume in volumes {
        let place = resolve::target(root.as_fd(), &volume.target, volume.kind).map_err(Error::Target)?;
        let failed = |operation| {
            let target = volume.target.clone();
            move |source| Error::Volume { operation, target, source }
        };
        if volume.read_only {
            tree::set_read_only(volume.tree.as_fd()).map_err(failed("Make read-only"))?;
        }
        tree::put(volume.tree.as_fd(), place.as_fd()).map_err(failed("Mount"))?;
        if volume.kind == Kind::Folder && !volume.read_only {
            written.add_later(volume.tree);
        }
    }
    Ok(())
}

#[cfg(test)]
#[path = "volumes_test.rs"]
mod tests;

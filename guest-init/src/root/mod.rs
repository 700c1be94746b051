//! The container's root: mounting it, entering it, and everything that is mounted in it.
//!
//! The order matters. What comes from outside (volumes, the container's own files) is taken as detached mounts while
//! the initramfs is still the root; then the root is entered, so that every later path is resolved inside it by the
//! kernel itself; then the kernel's file systems are mounted, and over them what was taken before.

pub mod flush;
pub mod kernel_mounts;
pub mod own_files;
pub mod resolve;
pub mod tree;
pub mod volumes;

use std::os::fd::OwnedFd;

use config::wire::ROOT_TAG;
use nix::errno::Errno;
use nix::fcntl::{OFlag, open as open_file};
use nix::mount::{MsFlags, mount as mount_at};
use nix::sys::stat::Mode;
use nix::unistd::{chdir, chroot, mkdir};

/// Where the root is mounted before it becomes the root.
const NEW_ROOT: &str = "/newroot";
/// File system type of a folder shared by the VMM.
const VIRTIO_FS: &str = "virtiofs";

/// What can go wrong with the root.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The initramfs cannot hold a mount point.
    #[error("Create the mount point {0}")]
    MountPoint(&'static str, #[source] Errno),
    /// The VMM has no such device, or its file system server refused.
    #[error("Mount the virtio-fs device tagged {tag:?} on {target}")]
    Mount {
        /// Tag of the device.
        tag: &'static str,
        /// Where it was to be mounted.
        target: &'static str,
        /// The kernel's answer.
        #[source]
        source: Errno,
    },
    /// A step on the way into the new root.
    #[error("{0}")]
    Enter(&'static str, #[source] Errno),
}

/// Mounts the container's root file system beside the initramfs.
pub fn mount() -> Result<(), Error> {
    mount_share(ROOT_TAG, NEW_ROOT)
}

/// Makes the mounted root file system this process's root, and that of all it starts.
///
/// `pivot_root` refuses to work on an initramfs, so the new root is moved over the old one instead. The initramfs stays
/// underneath, out of reach; it holds nothing but this program, whose pages are in use anyway.
pub fn enter() -> Result<(), Error> {
    chdir(NEW_ROOT).map_err(|error| Error::Enter("Enter the mounted root", error))?;
    mount_at(Some("."), "/", None::<&str>, MsFlags::MS_MOVE, None::<&str>)
        .map_err(|error| Error::Enter("Move the mounted root to /", error))?;
    chroot(".").map_err(|error| Error::Enter("Change the root", error))
}

/// The root as a descriptor: what targets are resolved in, and what is flushed at the end.
pub fn open() -> Result<OwnedFd, Errno> {
    open_file("/", OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())
}

/// Mounts the virtio-fs device tagged `tag` on `target`, a folder of the initramfs.
fn mount_share(tag: &'static str, target: &'static str) -> Result<(), Error> {
    match mkdir(target, Mode::from_bits_truncate(0o755)) {
        Ok(()) | Err(Errno::EEXIST) => {}
        Err(error) => return Err(Error::MountPoint(target, error)),
    }
    mount_at(Some(tag), target, Some(VIRTIO_FS), MsFlags::empty(), None::<&str>).map_err(|source| Error::Mount {
        tag,
        target,
        source,
    })
}

#[cfg(test)]
#[path = "mod_test.rs"]
mod tests;

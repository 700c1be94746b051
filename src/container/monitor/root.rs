//! The container's root file system: mounted, opened, and taken out of sight again.

use std::os::fd::OwnedFd;

use anyhow::{Context, Result};
use config::Folders;
use image::Digest;
use image::rootfs::{self, Durability, Writable};
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;

use crate::container::catalogue;
use crate::container::record::Record;

/// Mounts the root file system of `record` and opens it.
///
/// The mount is detached as soon as it is open: from then on it is in nobody's way, and the kernel takes it away with
/// the last descriptor, whatever ends the processes that hold one. The layers below it stay, for all containers.
pub(super) fn open_mounted(folders: &Folders, record: &Record) -> Result<OwnedFd> {
    let layers: Result<Vec<Digest>, _> = record.layers.iter().map(|layer| layer.parse()).collect();
    let layers = layers.context("The container's record names a layer that cannot be")?;
    let (upper, work) = catalogue::writable(&catalogue::folder(folders, &record.id));
    let durability = if record.remove { Durability::Discarded } else { Durability::Kept };
    let writable = Writable { upper: &upper, work: &work, durability };
    let target = catalogue::mount_point(folders, &record.id);
    let tried = "Cannot mount the container's root";
    let mounted = rootfs::mount_as(folders, &layers, &writable, &target).context(tried)?;
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let root = open(&target, flags, Mode::empty()).context(tried)?;
    mounted.unmount().context(tried)?;
    Ok(root)
}

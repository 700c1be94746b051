//! The operations, on descriptors of the host's files.

mod attributes;
mod create;
mod entries;
mod files;
mod folders;
mod lookup;
pub(crate) mod xattr;

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::OFlag;

use super::Cache;
use super::abi::{ATTR_SUBMOUNT, Out, init};
use super::nodes::Node;
use super::server::Server;
use super::sys::{self, Stat};

/// How long names and attributes that nobody else changes are believed: for as long as the guest lives.
const FOREVER: Duration = Duration::from_secs(100 * 365 * 86400);
/// How long those that the host may change are believed. Long enough that a walk through thousands of files does not ask
/// for the same folders again with each of them; short enough that whoever changes a file on the host and then starts
/// something in the guest finds the change there.
const SHARED: Duration = Duration::from_millis(50);

impl Server {
    /// How long the guest may believe names and attributes of an export.
    fn validity(&self, export: usize) -> Result<Duration, Errno> {
        Ok(match self.export(export)?.cache {
            Cache::Exclusive => FOREVER,
            Cache::Shared => SHARED,
        })
    }

    /// The node `id`, which is to be changed: `EROFS` where nothing may.
    fn writable(&self, id: u64) -> Result<Arc<Node>, Errno> {
        let node = self.host_node(id)?;
        if self.export(node.export())?.read_only { Err(Errno::EROFS) } else { Ok(node) }
    }

    /// The folder `id`, in which an entry is to be changed.
    fn writable_folder(&self, id: u64) -> Result<Arc<Node>, Errno> {
        let node = self.writable(id)?;
        if node.is_folder() { Ok(node) } else { Err(Errno::ENOTDIR) }
    }

    /// The node `id`, which is one of the host's. The folder of exports is not: what is left to do with it changes it.
    fn host_node(&self, id: u64) -> Result<Arc<Node>, Errno> {
        if self.folder_at(id).is_some() { Err(Errno::EROFS) } else { self.nodes.get(id) }
    }

    /// Opens a node again to do with it what `O_PATH` does not allow. Only regular files and folders are: to open a
    /// pipe would wait for a writer, and a device node is one of the host's devices.
    fn reopen(&self, node: &Node, flags: OFlag) -> Result<OwnedFd, Errno> {
        if !node.is_file() && !node.is_folder() {
            return Err(Errno::EACCES);
        }
        // Reading on behalf of the guest does not count as access where the guest's own view is all there is: each
        // would cost a write to the disk. Elsewhere the host's mount options decide. It is only allowed to the owner.
        let quiet = self.export(node.export())?.cache == Cache::Exclusive;
        let flags = flags | OFlag::O_NONBLOCK;
        match self.proc.reopen(&node.fd, if quiet { flags | OFlag::O_NOATIME } else { flags }) {
            Err(Errno::EPERM) if quiet => self.proc.reopen(&node.fd, flags),
            result => result,
        }
    }

    /// Takes setuid and setgid away, as a change by somebody without privilege does.
    fn drop_privileges(&self, fd: impl AsFd) -> Result<(), Errno> {
        let stat = sys::stat(&fd)?;
        if stat.has_privileges() { self.proc.chmod(fd, stat.mode_without_privileges()) } else { Ok(()) }
    }

    /// Appends a `fuse_attr`.
    fn put_attributes(&self, out: &mut Out, node: &Node, stat: &Stat, flags: u32) -> Result<(), Errno> {
        let inode = self.export(node.export())?.inode(stat.device, stat.inode);
        put_attributes(out, inode, stat, flags);
        Ok(())
    }

    /// The attribute flag of the root of another file system, for a guest that knows it.
    fn submount_flag(&self, is_submount: bool) -> u32 {
        if is_submount && self.agreed(init::SUBMOUNTS) { ATTR_SUBMOUNT } else { 0 }
    }

    /// Appends a `fuse_entry_out` for `node`, found in `parent`.
    fn put_entry(&self, out: &mut Out, parent: &Node, node: &Node, stat: &Stat) -> Result<(), Errno> {
        let valid = self.validity(node.export())?;
        put_entry_head(out, node.id, valid, valid);
        self.put_attributes(out, node, stat, self.submount_flag(parent.crosses_into(node)))
    }
}

/// Appends what a `fuse_entry_out` has before its attributes.
fn put_entry_head(out: &mut Out, node: u64, entry_valid: Duration, attributes_valid: Duration) {
    const GENERATION: u64 = 0;
    out.u64(node).u64(GENERATION);
    out.u64(entry_valid.as_secs()).u64(attributes_valid.as_secs());
    out.u32(entry_valid.subsec_nanos()).u32(attributes_valid.subsec_nanos());
}

/// Appends a `fuse_attr`.
fn put_attributes(out: &mut Out, inode: u64, stat: &Stat, flags: u32) {
    out.u64(inode).u64(stat.size).u64(stat.blocks);
    for time in [stat.accessed, stat.modified, stat.changed] {
        out.u64(time.seconds as u64);
    }
    for time in [stat.accessed, stat.modified, stat.changed] {
        out.u32(time.nanoseconds);
    }
    out.u32(stat.mode).u32(stat.links).u32(stat.uid).u32(stat.gid).u32(encode_device(stat.rdev));
    out.u32(stat.block_size).u32(flags);
}

/// A device number as the wire has it (`new_encode_dev` of Linux): 12 bits of major, 20 bits of minor number.
fn encode_device([major, minor]: [u32; 2]) -> u32 {
    minor & 0xff | (major & 0xfff) << 8 | (minor & 0xfff00) << 12
}

/// The inverse of [`encode_device`].
fn decode_device(device: u32) -> libc::dev_t {
    libc::makedev(device >> 8 & 0xfff, device & 0xff | device >> 12 & 0xfff00)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn device_numbers_survive_the_wire() {
        for (major, minor) in [(1, 3), (8, 0), (259, 1), (0xfff, 0xfffff), (0, 0)] {
            assert_eq!(decode_device(encode_device([major, minor])), libc::makedev(major, minor));
        }
    }
}

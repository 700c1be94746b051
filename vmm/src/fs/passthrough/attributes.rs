//! GETATTR, SETATTR, STATX, STATFS, SYNCFS, READLINK.

use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::statfs::fstatfs;
use nix::unistd::{ftruncate, syncfs};

use super::super::abi::{GetattrIn, MOST_NAME, Out, ROOT_ID, SetattrIn, StatxIn, setattr};
use super::super::nodes::Node;
use super::super::server::{Reply, Request, Server};
use super::super::sys::{self, Stat, Time};
use super::{FOREVER, put_attributes};

/// Block size of a file system that has no blocks.
const PAGE: u32 = 4096;
/// Fields of STATX that the folder of exports has (`STATX_BASIC_STATS`).
const BASIC_FIELDS: u32 = 0x07ff;

impl Server {
    pub(crate) fn getattr(&self, mut request: Request<'_>) -> Result<Reply, Errno> {
        GetattrIn::parse(&mut request.body)?;
        self.attributes_reply(request.header.node)
    }

    fn attributes_reply(&self, id: u64) -> Result<Reply, Errno> {
        let mut out = Out::default();
        if let Some(folder) = self.folder_at(id) {
            out.u64(FOREVER.as_secs()).u32(0).u32(0);
            put_attributes(&mut out, ROOT_ID, &folder.attributes(), 0);
        } else {
            let node = self.nodes.get(id)?;
            let valid = self.validity(node.export())?;
            out.u64(valid.as_secs()).u32(valid.subsec_nanos()).u32(0);
            self.put_attributes(&mut out, &node, &sys::stat(&node.fd)?, 0)?;
        }
        Ok(Reply::Body(out))
    }

    pub(crate) fn statx(&self, mut request: Request<'_>) -> Result<Reply, Errno> {
        StatxIn::parse(&mut request.body)?;
        let id = request.header.node;
        let (valid, inode, stat) = if let Some(folder) = self.folder_at(id) {
            (FOREVER, ROOT_ID, folder.attributes())
        } else {
            let node = self.nodes.get(id)?;
            let stat = sys::stat(&node.fd)?;
            let inode = self.export(node.export())?.inode(stat.device, stat.inode);
            (self.validity(node.export())?, inode, stat)
        };
        let mut out = Out::default();
        out.u64(valid.as_secs()).u32(valid.subsec_nanos()).u32(0).zeros(16);
        put_statx(&mut out, inode, &stat);
        Ok(Reply::Body(out))
    }

    pub(crate) fn setattr(&self, mut request: Request<'_>) -> Result<Reply, Errno> {
        let input = SetattrIn::parse(&mut request.body)?;
        let id = request.header.node;
        let node = self.writable(id)?;
        let has = |flag| input.valid & flag != 0;
        // Everything is checked before anything is changed.
        let size = if has(setattr::SIZE) { Some(size_of_file(&node, input.size)?) } else { None };
        let times = [
            time(has(setattr::ATIME), has(setattr::ATIME_NOW), input.atime, input.atime_ns)?,
            time(has(setattr::MTIME), has(setattr::MTIME_NOW), input.mtime, input.mtime_ns)?,
        ];
        if has(setattr::UID) || has(setattr::GID) {
            // u32::MAX leaves it as it is. The host's kernel takes setuid and setgid away from a file.
            let uid = if has(setattr::UID) { input.uid } else { u32::MAX };
            let gid = if has(setattr::GID) { input.gid } else { u32::MAX };
            sys::chown(&node.fd, uid, gid)?;
        }
        if let Some(size) = size {
            if has(setattr::KILL_SUIDGID) {
                self.drop_privileges(&node.fd)?;
            }
            self.truncate(&node, has(setattr::FH).then_some(input.fh), size)?;
        }
        if has(setattr::MODE) {
            self.proc.chmod(&node.fd, input.mode)?;
        }
        // Last, because the others change them. The time of the change itself is always the host's: there is no way
        // to set it.
        if has(setattr::ATIME) || has(setattr::MTIME) {
            sys::set_times(&node.fd, &times)?;
        }
        self.attributes_reply(id)
    }

    /// Sets the size of a file, through the handle if it was opened for writing.
    fn truncate(&self, node: &Node, handle: Option<u64>, size: i64) -> Result<(), Errno> {
        if let Some(handle) = handle {
            let file = self.files.get(handle, node.id)?;
            match ftruncate(&file.fd, size) {
                Err(Errno::EINVAL | Errno::EBADF) => {}
                result => return result,
            }
        }
        ftruncate(self.reopen(node, OFlag::O_WRONLY)?, size)
    }

    pub(crate) fn statfs(&self, request: Request<'_>) -> Result<Reply, Errno> {
        let mut out = Out::default();
        if self.folder_at(request.header.node).is_some() {
            out.zeros(40).u32(PAGE).u32(MOST_NAME as u32).u32(PAGE).zeros(28);
            return Ok(Reply::Body(out));
        }
        let stat = fstatfs(&self.nodes.get(request.header.node)?.fd)?;
        out.u64(stat.blocks()).u64(stat.blocks_free()).u64(stat.blocks_available());
        out.u64(stat.files()).u64(stat.files_free());
        let (block, name) = (stat.block_size() as u32, stat.maximum_name_length() as u32);
        // Linux has the fragment size equal to the block size nearly everywhere, and all counts in blocks.
        out.u32(block).u32(name).u32(block).zeros(28);
        Ok(Reply::Body(out))
    }

    /// Writes the host's file system out. It is asked once per file system the guest sees, for its root.
    pub(crate) fn syncfs(&self, request: Request<'_>) -> Result<Reply, Errno> {
        if self.folder_at(request.header.node).is_some() {
            // Exported folders are file systems of their own and are asked for; exported files are in this one.
            for export in &self.exports {
                let root = self.nodes.get(export.root)?;
                if root.is_file() && !export.read_only {
                    syncfs(self.reopen(&root, OFlag::O_RDONLY)?)?;
                }
            }
            return Ok(Reply::EMPTY);
        }
        let node = self.nodes.get(request.header.node)?;
        if !self.export(node.export())?.read_only {
            syncfs(self.reopen(&node, OFlag::O_RDONLY)?)?;
        }
        Ok(Reply::EMPTY)
    }

    pub(crate) fn readlink(&self, request: Request<'_>) -> Result<Reply, Errno> {
        let node = self.host_node(request.header.node)?;
        if node.kind != libc::S_IFLNK {
            return Err(Errno::EINVAL);
        }
        let target = nix::fcntl::readlinkat(node.fd.as_fd(), c"")?;
        let mut out = Out(std::os::unix::ffi::OsStringExt::into_vec(target));
        out.0.truncate(request.room);
        Ok(Reply::Body(out))
    }
}

impl super::super::tree::Folder {
    /// Those of a read-only folder that belongs to root and never changed.
    fn attributes(&self) -> Stat {
        let mode = libc::S_IFDIR | 0o555;
        let links = self.entries.len().saturating_add(2) as u32;
        Stat { mask: BASIC_FIELDS, inode: ROOT_ID, mode, links, block_size: PAGE, ..Stat::default() }
    }
}

/// The size a file is to have.
fn size_of_file(node: &Node, size: u64) -> Result<i64, Errno> {
    match node.kind {
        libc::S_IFREG => i64::try_from(size).map_err(|_| Errno::EFBIG),
        libc::S_IFDIR => Err(Errno::EISDIR),
        _ => Err(Errno::EINVAL),
    }
}

/// One of the times for `utimensat`.
fn time(is_set: bool, is_now: bool, seconds: u64, nanoseconds: u32) -> Result<libc::timespec, Errno> {
    let (tv_sec, tv_nsec) = match (is_set, is_now) {
        (false, _) => (0, libc::UTIME_OMIT),
        (true, true) => (0, libc::UTIME_NOW),
        // Two values above this have the meanings above.
        (true, false) if nanoseconds > 999_999_999 => return Err(Errno::EINVAL),
        // Signed: there were files before 1970.
        (true, false) => (seconds as i64, i64::from(nanoseconds)),
    };
    Ok(libc::timespec { tv_sec, tv_nsec })
}

/// Appends a `fuse_statx`.
fn put_statx(out: &mut Out, inode: u64, stat: &Stat) {
    out.u32(stat.mask).u32(stat.block_size).u64(stat.attributes).u32(stat.links).u32(stat.uid).u32(stat.gid);
    out.u16(stat.mode as u16).u16(0).u64(inode).u64(stat.size).u64(stat.blocks).u64(stat.attributes_mask);
    for Time { seconds, nanoseconds, .. } in [stat.accessed, stat.born, stat.changed, stat.modified] {
        out.u64(seconds as u64).u32(nanoseconds).u32(0);
    }
    // The guest has device numbers of its own for the file system.
    out.u32(stat.rdev[0]).u32(stat.rdev[1]).u32(0).u32(0).zeros(112);
}

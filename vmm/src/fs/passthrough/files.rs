//! OPEN, READ, WRITE, FLUSH, FSYNC, RELEASE, FALLOCATE, LSEEK, COPY_FILE_RANGE: what is inside regular files.

use std::sync::Arc;

use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, OFlag, fallocate};
use nix::unistd::{Whence, fdatasync, fsync, lseek};

use super::super::Cache;
use super::super::abi::{
    self, CopyFileRangeIn, FallocateIn, FlushIn, FsyncIn, IN_HEADER, LseekIn, OUT_HEADER, OpenIn, Out, ReadIn,
    ReleaseIn, WRITE_IN, WriteIn, init,
};
use super::super::handles::OpenFile;
use super::super::nodes::Node;
use super::super::server::{Reply, Request, Server};
use super::super::sys;
use crate::virtio::buffers;

/// Most bytes of one COPY_FILE_RANGE, so that it holds other requests up for no more than some ten milliseconds. The
/// guest's caller goes on where it ended.
const MOST_COPIED: u64 = 64 << 20;

/// How a file is opened on the host.
pub(super) struct Access {
    flags: OFlag,
    pub(super) truncates: bool,
}

impl Access {
    /// The flags to create a file with.
    pub(super) fn for_new(&self) -> OFlag {
        self.flags
    }
}

impl Server {
    /// What the guest's `open` flags mean here. Other flags stay in the guest: O_DIRECT would impose the host's alignment
    /// on guest memory, O_SYNC is followed by an FSYNC, and O_APPEND comes with each WRITE.
    pub(super) fn access(&self, flags: u32, export: usize) -> Result<Access, Errno> {
        let truncates = flags & libc::O_TRUNC as u32 != 0;
        let flags = match flags as i32 & libc::O_ACCMODE {
            libc::O_RDONLY => OFlag::O_RDONLY,
            // To write a part of a page back, the guest first reads the page.
            libc::O_WRONLY if self.agreed(init::WRITEBACK_CACHE) => OFlag::O_RDWR,
            libc::O_WRONLY => OFlag::O_WRONLY,
            libc::O_RDWR => OFlag::O_RDWR,
            _ => return Err(Errno::EINVAL),
        };
        if (flags != OFlag::O_RDONLY || truncates) && self.export(export)?.read_only {
            return Err(Errno::EROFS);
        }
        Ok(Access { flags, truncates })
    }

    pub(crate) fn open(&self, mut request: Request<'_>) -> Result<Reply, Errno> {
        let input = OpenIn::parse(&mut request.body)?;
        let node = self.host_node(request.header.node)?;
        let access = self.access(input.flags, node.export())?;
        let (handle, flags) = self.open_node(&node, &access, input.open_flags)?;
        let mut out = Out::default();
        out.u64(handle).u32(flags).u32(0);
        Ok(Reply::Body(out))
    }

    /// Opens a regular file; returns the handle, and flags for the guest.
    pub(super) fn open_node(&self, node: &Node, access: &Access, open_flags: u32) -> Result<(u64, u32), Errno> {
        match node.kind {
            libc::S_IFREG => {}
            libc::S_IFDIR => return Err(Errno::EISDIR),
            libc::S_IFLNK => return Err(Errno::ELOOP),
            // The guest's kernel opens its own pipes, sockets and devices.
            _ => return Err(Errno::ENXIO),
        }
        let permit = self.budget.take()?;
        let truncate = if access.truncates { OFlag::O_TRUNC } else { OFlag::empty() };
        let fd = self.reopen(node, access.flags | truncate)?;
        if access.truncates && open_flags & abi::OPEN_KILL_SUIDGID != 0 {
            self.drop_privileges(&fd)?;
        }
        let handle = self.files.add(OpenFile { node: node.id, fd: permit.hold(fd) });
        Ok((handle, self.opened_flags(node.export())?))
    }

    /// Whether what the guest has cached of a file is valid when it opens it. The host's changes are found at the latest
    /// then.
    pub(super) fn opened_flags(&self, export: usize) -> Result<u32, Errno> {
        Ok(match self.export(export)?.cache {
            Cache::Exclusive => abi::OPENED_KEEP_CACHE,
            Cache::Shared => 0,
        })
    }

    pub(crate) fn read(&self, mut request: Request<'_>) -> Result<Reply, Errno> {
        let input = ReadIn::parse(&mut request.body)?;
        let file = self.files.get(input.fh, request.header.node)?;
        let size = request.room.min(input.size as usize);
        let memory = buffers::part(request.reply, OUT_HEADER, size);
        sys::read_at(&file.fd, &memory, input.offset).map(Reply::InPlace)
    }

    pub(crate) fn write(&self, mut request: Request<'_>) -> Result<Reply, Errno> {
        const DATA: usize = IN_HEADER + WRITE_IN;
        let input = WriteIn::parse(&mut request.body)?;
        let size = input.size as usize;
        let file = self.files.get(input.fh, request.header.node)?;
        if (request.header.length as usize).checked_sub(DATA).is_none_or(|sent| sent < size) {
            return Err(Errno::EINVAL);
        }
        if input.write_flags & abi::WRITE_KILL_SUIDGID != 0 {
            self.drop_privileges(&file.fd)?;
        }
        // Where the host appends to the same file, only it knows the end. Pages that are written back have their place,
        // whatever handle they come through; and a guest that caches writes decides on all of them itself.
        let appends = input.flags & libc::O_APPEND as u32 != 0
            && input.write_flags & abi::WRITE_CACHE == 0
            && !self.agreed(init::WRITEBACK_CACHE);
        let memory = buffers::part(request.parts, DATA, size);
        let written = sys::write_at(&file.fd, &memory, input.offset, appends)?;
        let mut out = Out::default();
        out.u32(written as u32).u32(0);
        Ok(Reply::Body(out))
    }

    /// A descriptor of the file was closed. On a local disk that means nothing, and the guest need not tell us; on a
    /// network file system it is where errors of earlier writes come out.
    pub(crate) fn flush(&self, mut request: Request<'_>) -> Result<Reply, Errno> {
        let input = FlushIn::parse(&mut request.body)?;
        if self.is_exclusive() {
            return Err(Errno::ENOSYS);
        }
        let file = self.files.get(input.fh, request.header.node)?;
        nix::unistd::close(nix::unistd::dup(&file.fd)?)?;
        Ok(Reply::EMPTY)
    }

    pub(crate) fn fsync(&self, mut request: Request<'_>) -> Result<Reply, Errno> {
        let input = FsyncIn::parse(&mut request.body)?;
        let file = self.files.get(input.fh, request.header.node)?;
        let data_only = input.flags & abi::FSYNC_FDATASYNC != 0;
        let result = if data_only { fdatasync(&file.fd) } else { fsync(&file.fd) };
        result?;
        Ok(Reply::EMPTY)
    }

    pub(crate) fn release(&self, mut request: Request<'_>) -> Result<Reply, Errno> {
        let input = ReleaseIn::parse(&mut request.body)?;
        self.files.remove(input.fh, request.header.node)?;
        Ok(Reply::EMPTY)
    }

    pub(crate) fn fallocate(&self, mut request: Request<'_>) -> Result<Reply, Errno> {
        const KNOWN: i32 = libc::FALLOC_FL_KEEP_SIZE | libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_ZERO_RANGE;
        let input = FallocateIn::parse(&mut request.body)?;
        let mode = input.mode as i32;
        if mode & !KNOWN != 0 {
            return Err(Errno::EOPNOTSUPP);
        }
        let file = self.files.get(input.fh, request.header.node)?;
        let (offset, length) = (file_offset(input.offset)?, file_offset(input.length)?);
        fallocate(&file.fd, FallocateFlags::from_bits_truncate(mode), offset, length)?;
        self.drop_privileges_for(&request, &file)?;
        Ok(Reply::EMPTY)
    }

    /// Where data or holes begin.
    pub(crate) fn lseek(&self, mut request: Request<'_>) -> Result<Reply, Errno> {
        let input = LseekIn::parse(&mut request.body)?;
        // The guest may hold data that it has not written back, of which we know nothing, and it does not do so before
        // it asks. Refused, its kernel takes the whole file for data: slower to copy, but never wrong.
        if self.agreed(init::WRITEBACK_CACHE) {
            return Err(Errno::ENOSYS);
        }
        let whence = match input.whence as i32 {
            libc::SEEK_DATA => Whence::SeekData,
            libc::SEEK_HOLE => Whence::SeekHole,
            // The guest's kernel does these alone.
            _ => return Err(Errno::EINVAL),
        };
        let file = self.files.get(input.fh, request.header.node)?;
        let found = lseek(&file.fd, file_offset(input.offset)?, whence)?;
        let mut out = Out::default();
        out.u64(found as u64);
        Ok(Reply::Body(out))
    }

    pub(crate) fn copy_file_range(&self, mut request: Request<'_>) -> Result<Reply, Errno> {
        let input = CopyFileRangeIn::parse(&mut request.body)?;
        if input.flags != 0 {
            return Err(Errno::EINVAL);
        }
        let from = self.files.get(input.fh_in, request.header.node)?;
        let to = self.files.get(input.fh_out, input.node_out)?;
        let (offset_in, offset_out) = (file_offset(input.offset_in)?, file_offset(input.offset_out)?);
        let length = input.length.min(MOST_COPIED) as usize;
        let copied = sys::copy_range(&from.fd, offset_in, &to.fd, offset_out, length)?;
        self.drop_privileges_for(&request, &to)?;
        let mut out = Out::default();
        out.u32(copied as u32).u32(0);
        Ok(Reply::Body(out))
    }

    /// Takes setuid and setgid away after a change for which the guest's kernel does not tell us whether it should be
    /// done: unless the change is root's.
    fn drop_privileges_for(&self, request: &Request<'_>, file: &Arc<OpenFile>) -> Result<(), Errno> {
        if request.header.uid == 0 { Ok(()) } else { self.drop_privileges(&file.fd) }
    }
}

fn file_offset(offset: u64) -> Result<i64, Errno> {
    i64::try_from(offset).map_err(|_| Errno::EINVAL)
}

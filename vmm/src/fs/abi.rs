//! The FUSE wire format (`include/uapi/linux/fuse.h`), read from and written to byte slices, little-endian.

use std::ffi::CStr;

use nix::errno::Errno;

/// Protocol version we speak; 7.39 brought the last operation we know (STATX).
pub(crate) const VERSION: (u32, u32) = (7, 39);
/// Node id of the root.
pub(crate) const ROOT_ID: u64 = 1;
/// Bytes of `fuse_in_header`.
pub(crate) const IN_HEADER: usize = 40;
/// Bytes of `fuse_out_header`.
pub(crate) const OUT_HEADER: usize = 16;
/// Bytes of `fuse_write_in`; what is to be written follows.
pub(crate) const WRITE_IN: usize = 40;
/// Longest name of a directory entry, as in every Linux file system (`NAME_MAX`).
pub(crate) const MOST_NAME: usize = 255;

/// Operation numbers.
#[rustfmt::skip]
pub(crate) mod opcode {
    pub(crate) const LOOKUP: u32 = 1;
    pub(crate) const FORGET: u32 = 2;
    pub(crate) const GETATTR: u32 = 3;
    pub(crate) const SETATTR: u32 = 4;
    pub(crate) const READLINK: u32 = 5;
    pub(crate) const SYMLINK: u32 = 6;
    pub(crate) const MKNOD: u32 = 8;
    pub(crate) const MKDIR: u32 = 9;
    pub(crate) const UNLINK: u32 = 10;
    pub(crate) const RMDIR: u32 = 11;
    pub(crate) const RENAME: u32 = 12;
    pub(crate) const LINK: u32 = 13;
    pub(crate) const OPEN: u32 = 14;
    pub(crate) const READ: u32 = 15;
    pub(crate) const WRITE: u32 = 16;
    pub(crate) const STATFS: u32 = 17;
    pub(crate) const RELEASE: u32 = 18;
    pub(crate) const FSYNC: u32 = 20;
    pub(crate) const SETXATTR: u32 = 21;
    pub(crate) const GETXATTR: u32 = 22;
    pub(crate) const LISTXATTR: u32 = 23;
    pub(crate) const REMOVEXATTR: u32 = 24;
    pub(crate) const FLUSH: u32 = 25;
    pub(crate) const INIT: u32 = 26;
    pub(crate) const OPENDIR: u32 = 27;
    pub(crate) const READDIR: u32 = 28;
    pub(crate) const RELEASEDIR: u32 = 29;
    pub(crate) const FSYNCDIR: u32 = 30;
    pub(crate) const GETLK: u32 = 31;
    pub(crate) const SETLK: u32 = 32;
    pub(crate) const SETLKW: u32 = 33;
    pub(crate) const ACCESS: u32 = 34;
    pub(crate) const CREATE: u32 = 35;
    pub(crate) const INTERRUPT: u32 = 36;
    pub(crate) const BMAP: u32 = 37;
    pub(crate) const DESTROY: u32 = 38;
    pub(crate) const IOCTL: u32 = 39;
    pub(crate) const POLL: u32 = 40;
    pub(crate) const NOTIFY_REPLY: u32 = 41;
    pub(crate) const BATCH_FORGET: u32 = 42;
    pub(crate) const FALLOCATE: u32 = 43;
    pub(crate) const READDIRPLUS: u32 = 44;
    pub(crate) const RENAME2: u32 = 45;
    pub(crate) const LSEEK: u32 = 46;
    pub(crate) const COPY_FILE_RANGE: u32 = 47;
    pub(crate) const SETUPMAPPING: u32 = 48;
    pub(crate) const REMOVEMAPPING: u32 = 49;
    pub(crate) const SYNCFS: u32 = 50;
    pub(crate) const TMPFILE: u32 = 51;
    pub(crate) const STATX: u32 = 52;
}

/// Flags of INIT; those above 31 travel in `flags2`.
#[rustfmt::skip]
pub(crate) mod init {
    pub(crate) const ASYNC_READ: u64 = 1 << 0;
    pub(crate) const ATOMIC_O_TRUNC: u64 = 1 << 3;
    pub(crate) const BIG_WRITES: u64 = 1 << 5;
    pub(crate) const DONT_MASK: u64 = 1 << 6;
    pub(crate) const AUTO_INVAL_DATA: u64 = 1 << 12;
    pub(crate) const DO_READDIRPLUS: u64 = 1 << 13;
    pub(crate) const READDIRPLUS_AUTO: u64 = 1 << 14;
    pub(crate) const ASYNC_DIO: u64 = 1 << 15;
    pub(crate) const WRITEBACK_CACHE: u64 = 1 << 16;
    pub(crate) const PARALLEL_DIROPS: u64 = 1 << 18;
    pub(crate) const POSIX_ACL: u64 = 1 << 20;
    pub(crate) const MAX_PAGES: u64 = 1 << 22;
    pub(crate) const CACHE_SYMLINKS: u64 = 1 << 23;
    pub(crate) const SUBMOUNTS: u64 = 1 << 27;
    pub(crate) const HANDLE_KILLPRIV_V2: u64 = 1 << 28;
    pub(crate) const SETXATTR_EXT: u64 = 1 << 29;
    pub(crate) const INIT_EXT: u64 = 1 << 30;
}

/// Which fields of SETATTR count.
#[rustfmt::skip]
pub(crate) mod setattr {
    pub(crate) const MODE: u32 = 1 << 0;
    pub(crate) const UID: u32 = 1 << 1;
    pub(crate) const GID: u32 = 1 << 2;
    pub(crate) const SIZE: u32 = 1 << 3;
    pub(crate) const ATIME: u32 = 1 << 4;
    pub(crate) const MTIME: u32 = 1 << 5;
    pub(crate) const FH: u32 = 1 << 6;
    pub(crate) const ATIME_NOW: u32 = 1 << 7;
    pub(crate) const MTIME_NOW: u32 = 1 << 8;
    pub(crate) const KILL_SUIDGID: u32 = 1 << 11;
}

/// Answer to OPEN: the guest's pages of the file stay valid.
pub(crate) const OPENED_KEEP_CACHE: u32 = 1 << 1;
/// Answer to OPENDIR: the guest may keep the entries.
pub(crate) const OPENED_CACHE_DIR: u32 = 1 << 3;
/// OPEN and CREATE: truncation takes setuid and setgid away.
pub(crate) const OPEN_KILL_SUIDGID: u32 = 1 << 0;
/// WRITE: from the page cache, through some handle of the file.
pub(crate) const WRITE_CACHE: u32 = 1 << 0;
/// WRITE: takes setuid and setgid away.
pub(crate) const WRITE_KILL_SUIDGID: u32 = 1 << 2;
/// FSYNC: data only.
pub(crate) const FSYNC_FDATASYNC: u32 = 1 << 0;
/// SETXATTR: an access control list takes setgid away.
pub(crate) const SETXATTR_ACL_KILL_SGID: u32 = 1 << 0;
/// Attribute flag: the folder is the root of a file system of its own.
pub(crate) const ATTR_SUBMOUNT: u32 = 1 << 0;

/// The fixed part of a request as the guest wrote it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct InHeader {
    pub(crate) length: u32,
    pub(crate) opcode: u32,
    pub(crate) unique: u64,
    pub(crate) node: u64,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

impl InHeader {
    pub(crate) fn parse(bytes: &[u8; IN_HEADER]) -> Result<InHeader, Errno> {
        let mut body = Body::new(bytes);
        Ok(InHeader {
            length: body.u32()?,
            opcode: body.u32()?,
            unique: body.u64()?,
            node: body.u64()?,
            uid: body.u32()?,
            gid: body.u32()?,
        })
    }
}

/// What is left to read of a request's body. Everything that does not fit is `EINVAL`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Body<'a> {
    bytes: &'a [u8],
}

impl<'a> Body<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Body<'a> {
        Body { bytes }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Errno> {
        let (array, rest) = self.bytes.split_first_chunk().ok_or(Errno::EINVAL)?;
        self.bytes = rest;
        Ok(*array)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Errno> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, Errno> {
        self.array().map(u64::from_le_bytes)
    }

    pub(crate) fn bytes(&mut self, length: usize) -> Result<&'a [u8], Errno> {
        let (bytes, rest) = self.bytes.split_at_checked(length).ok_or(Errno::EINVAL)?;
        self.bytes = rest;
        Ok(bytes)
    }

    /// A string that ends with a zero byte.
    pub(crate) fn string(&mut self) -> Result<&'a CStr, Errno> {
        let string = CStr::from_bytes_until_nul(self.bytes).map_err(|_| Errno::EINVAL)?;
        self.bytes(string.count_bytes().saturating_add(1))?;
        Ok(string)
    }

    /// The name of one directory entry: it can lead nowhere but to a direct child.
    pub(crate) fn name(&mut self) -> Result<&'a CStr, Errno> {
        let name = self.string()?;
        check_name(name.to_bytes())?;
        Ok(name)
    }

    /// Nothing may be left.
    pub(crate) fn end(self) -> Result<(), Errno> {
        if self.bytes.is_empty() { Ok(()) } else { Err(Errno::EINVAL) }
    }
}

/// Whether `name` can be the name of a directory entry.
pub(crate) fn check_name(name: &[u8]) -> Result<(), Errno> {
    match name {
        b"" | b"." | b".." => Err(Errno::EINVAL),
        _ if name.contains(&b'/') || name.contains(&0) => Err(Errno::EINVAL),
        _ if name.len() > MOST_NAME => Err(Errno::ENAMETOOLONG),
        _ => Ok(()),
    }
}

/// Structures of requests: `NAME { field: type }` in wire order, each with a `parse`.
macro_rules! requests {
    ($($name:ident { $($field:ident: $kind:ident),* $(,)? })*) => {$(
        #[derive(Clone, Copy, Debug)]
        pub(crate) struct $name { $(pub(crate) $field: $kind),* }

        impl $name {
            pub(crate) fn parse(body: &mut Body<'_>) -> Result<$name, Errno> {
                Ok($name { $($field: body.$kind()?),* })
            }
        }
    )*};
}

requests! {
    GetattrIn { _flags: u32, _dummy: u32, _fh: u64 }
    StatxIn { _flags: u32, _reserved: u32, _fh: u64, _sx_flags: u32, _sx_mask: u32 }
    SetattrIn {
        valid: u32, _padding: u32, fh: u64, size: u64, _lock_owner: u64, atime: u64, mtime: u64, _ctime: u64,
        atime_ns: u32, mtime_ns: u32, _ctime_ns: u32, mode: u32, _unused4: u32, uid: u32, gid: u32, _unused5: u32,
    }
    MknodIn { mode: u32, rdev: u32, umask: u32, _padding: u32 }
    MkdirIn { mode: u32, umask: u32 }
    RenameIn { new_folder: u64 }
    Rename2In { new_folder: u64, flags: u32, _padding: u32 }
    LinkIn { old_node: u64 }
    OpenIn { flags: u32, open_flags: u32 }
    CreateIn { flags: u32, mode: u32, umask: u32, open_flags: u32 }
    ReadIn { fh: u64, offset: u64, size: u32, _read_flags: u32, _lock_owner: u64, _flags: u32, _padding: u32 }
    WriteIn { fh: u64, offset: u64, size: u32, write_flags: u32, _lock_owner: u64, flags: u32, _padding: u32 }
    ReleaseIn { fh: u64, _flags: u32, _release_flags: u32, _lock_owner: u64 }
    FlushIn { fh: u64, _unused: u32, _padding: u32, _lock_owner: u64 }
    FsyncIn { fh: u64, flags: u32, _padding: u32 }
    GetxattrIn { size: u32, _padding: u32 }
    ForgetIn { lookups: u64 }
    BatchForgetIn { count: u32, _dummy: u32 }
    ForgetOne { node: u64, lookups: u64 }
    FallocateIn { fh: u64, offset: u64, length: u64, mode: u32, _padding: u32 }
    LseekIn { fh: u64, offset: u64, whence: u32, _padding: u32 }
    CopyFileRangeIn {
        fh_in: u64, offset_in: u64, node_out: u64, fh_out: u64, offset_out: u64, length: u64, flags: u64,
    }
}

/// The body of a reply under construction.
#[derive(Clone, Debug, Default)]
pub(crate) struct Out(pub(crate) Vec<u8>);

impl Out {
    pub(crate) fn u16(&mut self, value: u16) -> &mut Out {
        self.bytes(&value.to_le_bytes())
    }

    pub(crate) fn u32(&mut self, value: u32) -> &mut Out {
        self.bytes(&value.to_le_bytes())
    }

    pub(crate) fn u64(&mut self, value: u64) -> &mut Out {
        self.bytes(&value.to_le_bytes())
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> &mut Out {
        self.0.extend_from_slice(bytes);
        self
    }

    pub(crate) fn zeros(&mut self, count: usize) -> &mut Out {
        self.0.resize(self.0.len().saturating_add(count), 0);
        self
    }
}

/// Bytes of the body of the reply to `opcode`, where that is fixed.
pub(crate) fn reply_length(opcode: u32) -> usize {
    match opcode {
        opcode::LOOKUP | opcode::SYMLINK | opcode::MKNOD | opcode::MKDIR | opcode::LINK => ENTRY,
        opcode::CREATE | opcode::TMPFILE => ENTRY + OPENED,
        opcode::GETATTR | opcode::SETATTR => 16 + ATTR,
        opcode::STATX => 288,
        opcode::OPEN | opcode::OPENDIR => OPENED,
        opcode::WRITE | opcode::COPY_FILE_RANGE | opcode::LSEEK => 8,
        opcode::STATFS => 80,
        opcode::INIT => 64,
        _ => 0,
    }
}

/// Bytes of `fuse_attr`.
pub(crate) const ATTR: usize = 88;
/// Bytes of `fuse_entry_out`.
pub(crate) const ENTRY: usize = 40 + ATTR;
/// Bytes of `fuse_open_out`.
const OPENED: usize = 16;
/// Bytes of `fuse_dirent` before its name.
const DIRENT: usize = 24;

/// Bytes that a `fuse_dirent` with a name of `name` bytes takes.
pub(crate) fn dirent_length(name: usize) -> usize {
    (DIRENT + name).next_multiple_of(8)
}

/// Appends a `fuse_dirent`; `offset` is where the next one is found.
pub(crate) fn put_dirent(out: &mut Out, inode: u64, offset: u64, kind: u32, name: &[u8]) {
    out.u64(inode).u64(offset).u32(name.len() as u32).u32(kind).bytes(name);
    out.zeros(dirent_length(name.len()) - DIRENT - name.len());
}

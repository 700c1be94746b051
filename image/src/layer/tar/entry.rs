//! One entry of a tar stream, as its headers together describe it.

use std::collections::BTreeMap;

use super::Error;
use super::header::Header;
use super::pax::{Records, Sparse};
use super::sparse::Region;

/// Largest user or group id: the next one means "none" to chown(2).
pub(super) const MAX_ID: u32 = u32::MAX - 1;

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::layer) enum Kind {
    File,
    /// Another name of an earlier entry.
    Link,
    Symlink,
    Character,
    Block,
    Directory,
    Fifo,
}

/// A time since 1970.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Time {
    /// Whole seconds; negative before 1970.
    pub seconds: i64,
    /// Nanoseconds after them.
    pub nanoseconds: u32,
}

/// One entry; what a kind of entry does not have is empty.
#[derive(Debug)]
pub(in crate::layer) struct Entry {
    pub(in crate::layer) name: Vec<u8>,
    pub(in crate::layer) kind: Kind,
    /// Target of a link or symbolic link.
    pub(in crate::layer) link: Vec<u8>,
    /// Permission bits, set-user-id and so on included.
    pub(in crate::layer) mode: u16,
    pub(in crate::layer) uid: u32,
    pub(in crate::layer) gid: u32,
    pub(in crate::layer) mtime: Time,
    /// Size of a file in bytes, holes included.
    pub(in crate::layer) size: u64,
    /// Which pieces of a sparse file are stored, in order.
    pub(in crate::layer) sparse: Option<Vec<Region>>,
    /// Major and minor number of a device.
    pub(in crate::layer) device: (u32, u32),
    /// Extended attributes by their names.
    pub(in crate::layer) xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    /// How the records say that a file is sparse; the reader makes `sparse` of it.
    pub(super) sparse_by: Option<Sparse>,
}

impl Kind {
    /// What the header says. Before POSIX, a folder was a file whose name ends with a slash.
    pub(super) fn of(header: &Header, name: &[u8]) -> Result<Kind, Error> {
        Ok(match header.kind() {
            b'0' | 0 if name.ends_with(b"/") => Kind::Directory,
            // '7' is a contiguous file, which is a file to all who do not know better (POSIX).
            b'0' | 0 | b'7' | b'S' => Kind::File,
            b'1' => Kind::Link,
            b'2' => Kind::Symlink,
            b'3' => Kind::Character,
            b'4' => Kind::Block,
            b'5' => Kind::Directory,
            b'6' => Kind::Fifo,
            kind => return Err(Error::Kind { kind }),
        })
    }
}

impl Entry {
    /// Puts together everything but the size: a record of the entry's own goes before a global one, and that before
    /// the header.
    pub(super) fn new(
        kind: Kind,
        name: Vec<u8>,
        header: &Header,
        local: Records,
        globals: &Records,
        long_link: Option<Vec<u8>>,
    ) -> Result<Entry, Error> {
        let uid = first(local.uid()?, globals.uid()?, || header.uid())?;
        let gid = first(local.gid()?, globals.gid()?, || header.gid())?;
        let mtime = first(local.mtime()?, globals.mtime()?, || Ok(Time { seconds: header.mtime()?, nanoseconds: 0 }))?;
        Ok(Entry {
            name,
            kind,
            link: local.link().map(<[u8]>::to_vec).or(long_link).unwrap_or_else(|| header.link()),
            mode: header.mode()?,
            uid: id("uid", uid)?,
            gid: id("gid", gid)?,
            mtime,
            size: 0,
            sparse: None,
            device: if matches!(kind, Kind::Character | Kind::Block) { header.device()? } else { (0, 0) },
            sparse_by: if kind == Kind::File { local.sparse()? } else { None },
            xattrs: local.into_xattrs()?,
        })
    }
}

fn first<T>(local: Option<T>, global: Option<T>, header: impl Fn() -> Result<T, Error>) -> Result<T, Error> {
    match local.or(global) {
        Some(value) => Ok(value),
        None => header(),
    }
}

fn id(field: &'static str, value: i64) -> Result<u32, Error> {
    u32::try_from(value).ok().filter(|id| *id <= MAX_ID).ok_or(Error::Id { field, value })
}

//! OPENDIR, READDIR, READDIRPLUS, FSYNCDIR, RELEASEDIR.
//!
//! Entries are read from the host in the order and by the offsets that its file system gives them, and nothing is kept
//! between two requests but the position: a guest that opens many folders takes no memory of ours with them.

use std::ffi::CStr;
use std::sync::{Mutex, PoisonError};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::unistd::{Whence, fsync, lseek};

use super::super::Cache;
use super::super::abi::{self, ENTRY, FsyncIn, OpenIn, Out, ROOT_ID, ReadIn, ReleaseIn, dirent_length, put_dirent};
use super::super::handles::OpenFolder;
use super::super::nodes::Node;
use super::super::server::{Reply, Request, Server};
use super::super::sys;
use super::super::tree::Folder;

/// Handle of the folder of exports: nothing needs to be kept open for it.
const NO_HANDLE: u64 = 0;
/// Most bytes read from the host at once.
const MOST_BUFFER: usize = 32 << 10;
/// Least, so that the longest entry fits (280 bytes).
const LEAST_BUFFER: usize = 512;
/// Type of a directory entry that is a folder (`DT_DIR`).
const FOLDER_TYPE: u32 = 4;

impl Server {
    pub(crate) fn opendir(&self, mut request: Request<'_>) -> Result<Reply, Errno> {
        OpenIn::parse(&mut request.body)?;
        let mut out = Out::default();
        if self.folder_at(request.header.node).is_some() {
            out.u64(NO_HANDLE).u32(abi::OPENED_KEEP_CACHE | abi::OPENED_CACHE_DIR).u32(0);
            return Ok(Reply::Body(out));
        }
        let node = self.nodes.get(request.header.node)?;
        if !node.is_folder() {
            return Err(Errno::ENOTDIR);
        }
        let permit = self.budget.take()?;
        let fd = permit.hold(self.reopen(&node, OFlag::O_RDONLY | OFlag::O_DIRECTORY)?);
        let flags = match self.export(node.export())?.cache {
            Cache::Exclusive => abi::OPENED_KEEP_CACHE | abi::OPENED_CACHE_DIR,
            Cache::Shared => 0,
        };
        let handle = self.folders.add(OpenFolder { node, cursor: Mutex::new((fd, Some(0))) });
        out.u64(handle).u32(flags).u32(0);
        Ok(Reply::Body(out))
    }

    /// Entries from an offset on, as many as there is room for; with `plus`, each also looked up.
    pub(crate) fn readdir(&self, mut request: Request<'_>, plus: bool) -> Result<Reply, Errno> {
        let input = ReadIn::parse(&mut request.body)?;
        let listing = Listing { server: self, out: Out::default(), room: request.room.min(input.size as usize), plus };
        if let Some(folder) = self.folder_at(request.header.node) {
            return listing.of_exports(folder, input.offset);
        }
        let folder = self.folders.get(input.fh, request.header.node)?;
        listing.of_host(&folder, input.offset)
    }

    pub(crate) fn fsyncdir(&self, mut request: Request<'_>) -> Result<Reply, Errno> {
        let input = FsyncIn::parse(&mut request.body)?;
        if self.folder_at(request.header.node).is_none() {
            let folder = self.folders.get(input.fh, request.header.node)?;
            fsync(&folder.cursor.lock().unwrap_or_else(PoisonError::into_inner).0)?;
        }
        Ok(Reply::EMPTY)
    }

    pub(crate) fn releasedir(&self, mut request: Request<'_>) -> Result<Reply, Errno> {
        let input = ReleaseIn::parse(&mut request.body)?;
        if self.folder_at(request.header.node).is_none() {
            self.folders.remove(input.fh, request.header.node)?;
        }
        Ok(Reply::EMPTY)
    }
}

/// The reply to READDIR or READDIRPLUS under construction.
struct Listing<'a> {
    server: &'a Server,
    out: Out,
    room: usize,
    plus: bool,
}

impl Listing<'_> {
    fn of_host(mut self, folder: &OpenFolder, offset: u64) -> Result<Reply, Errno> {
        let mut cursor = folder.cursor.lock().unwrap_or_else(PoisonError::into_inner);
        let (fd, position) = &mut *cursor;
        // Not known again until all that was read is used.
        if position.take() != Some(offset) {
            lseek(&*fd, i64::try_from(offset).map_err(|_| Errno::EINVAL)?, Whence::SeekSet)?;
        }
        // About as many entries as there is room for: what does not fit is read again next time.
        let per_entry = if self.plus { 5 } else { 1 };
        let mut buffer = vec![0; (self.room / per_entry).clamp(LEAST_BUFFER, MOST_BUFFER)];
        let mut next = offset;
        loop {
            let bytes = match sys::read_entries(&*fd, &mut buffer) {
                Err(error) if self.out.0.is_empty() => return Err(error),
                other => other.unwrap_or(0),
            };
            for entry in (Entries { bytes: buffer.get(..bytes).unwrap_or_default() }) {
                if !self.put_host_entry(&folder.node, &entry)? {
                    return Ok(Reply::Body(self.out));
                }
                next = entry.offset;
            }
            let is_nearly_full = self.out.0.len() > self.room / 8 * 7;
            if bytes == 0 || is_nearly_full {
                *position = Some(next);
                return Ok(Reply::Body(self.out));
            }
        }
    }

    /// Appends an entry; `false` if there is no room.
    fn put_host_entry(&mut self, folder: &Node, entry: &Entry<'_>) -> Result<bool, Errno> {
        let name = entry.name.to_bytes();
        if !self.has_room(name)? {
            return Ok(false);
        }
        let export = self.server.export(folder.export())?;
        let is_dots = matches!(name, b"." | b"..");
        // What is above an export is not the guest's to know.
        let inode = if name == b".." && folder.id == export.root { folder.key.inode() } else { entry.inode };
        let mut inode = export.inode(folder.device(), inode);
        if self.plus {
            let is_name_alone = is_dots || self.server.budget.is_scarce();
            match if is_name_alone { Err(Errno::ENFILE) } else { self.server.find(folder, entry.name) } {
                Ok((node, stat)) => {
                    self.server.put_entry(&mut self.out, folder, &node, &stat)?;
                    inode = export.inode(stat.device, stat.inode);
                }
                // Gone since, or descriptors are scarce. Whoever needs more looks it up.
                Err(_) => {
                    self.out.zeros(ENTRY);
                }
            }
        }
        put_dirent(&mut self.out, inode, entry.offset, entry.kind.into(), name);
        Ok(true)
    }

    fn of_exports(mut self, folder: &Folder, offset: u64) -> Result<Reply, Errno> {
        let dots = [(c".", None), (c"..", None)];
        let exports = folder.entries.iter().map(|(name, id)| (name.as_c_str(), Some(*id)));
        let skip = usize::try_from(offset).map_err(|_| Errno::EINVAL)?;
        for (index, (name, id)) in dots.into_iter().chain(exports).enumerate().skip(skip) {
            if !self.has_room(name.to_bytes())? {
                break;
            }
            let (mut inode, mut kind) = (ROOT_ID, FOLDER_TYPE);
            match id {
                Some(id) => {
                    let node = self.server.nodes.get(id)?;
                    (inode, kind) = (node.key.inode(), node.kind >> 12);
                    if self.plus {
                        self.server.put_root_entry(&mut self.out, id)?;
                    }
                }
                None if self.plus => {
                    self.out.zeros(ENTRY);
                }
                None => {}
            }
            put_dirent(&mut self.out, inode, index as u64 + 1, kind, name.to_bytes());
        }
        Ok(Reply::Body(self.out))
    }

    /// Whether an entry of this name fits. `EINVAL` if it is the first and does not: an empty reply would mean the end.
    fn has_room(&self, name: &[u8]) -> Result<bool, Errno> {
        let length = dirent_length(name.len()) + if self.plus { ENTRY } else { 0 };
        match self.room.checked_sub(self.out.0.len()) {
            Some(left) if left >= length => Ok(true),
            _ if self.out.0.is_empty() => Err(Errno::EINVAL),
            _ => Ok(false),
        }
    }
}

/// An entry as the host's kernel gives it (`linux_dirent64`).
struct Entry<'a> {
    inode: u64,
    /// Where the next one is found.
    offset: u64,
    kind: u8,
    name: &'a CStr,
}

/// The entries in a buffer that the host's kernel filled.
struct Entries<'a> {
    bytes: &'a [u8],
}

impl<'a> Iterator for Entries<'a> {
    type Item = Entry<'a>;

    fn next(&mut self) -> Option<Entry<'a>> {
        let (inode, rest) = self.bytes.split_first_chunk()?;
        let (offset, rest) = rest.split_first_chunk()?;
        let (length, rest) = rest.split_first_chunk()?;
        let (kind, name) = rest.split_first()?;
        self.bytes = self.bytes.get(u16::from_ne_bytes(*length).into()..)?;
        Some(Entry {
            inode: u64::from_ne_bytes(*inode),
            offset: u64::from_ne_bytes(*offset),
            kind: *kind,
            name: CStr::from_bytes_until_nul(name).ok()?,
        })
    }
}

//! Reader of the EROFS images that the writer beside it makes: no mount, no kernel, and no trust in the file.
//!
//! Images of other makers are mostly refused: whatever the writer does not use is taken for damage.

use std::cmp::Ordering;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use super::directory::{self, Entry};
use super::format::{BLOCK, EXTENDED_INODE, INLINE, PLAIN, SLOT, Superblock, WRITER};
use crate::layer::tar::Time;
use crate::layer::xattr::{self, Xattrs};

/// Longest target of a symbolic link in bytes (Linux, `PATH_MAX` without its NUL).
const MAX_TARGET: u64 = 4095;

/// Why an image cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The disk.
    #[error("Cannot read the layer's file at byte {at}")]
    Read {
        /// Offset in the file.
        at: u64,
        /// Why.
        source: io::Error,
    },
    /// The file is not as it was written.
    #[error("The layer's file is damaged at byte {at}: {what}; remove the image and pull it again")]
    Damaged {
        /// Offset in the file.
        at: u64,
        /// What does not hold there.
        what: &'static str,
    },
}

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// A regular file.
    File,
    /// A folder.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A character device, with its number as Linux writes it into 32 bits.
    Character(u32),
    /// A block device, with its number as Linux writes it into 32 bits.
    Block(u32),
    /// A named pipe.
    Fifo,
}

/// A file, folder or other thing of an image.
#[derive(Clone, Debug)]
pub struct Inode {
    /// Its number; two names with the same one are hard links.
    pub number: u64,
    /// What it is.
    pub kind: FileKind,
    /// Permission bits, set-user-id and so on included.
    pub mode: u16,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Time of the last change of the content.
    pub mtime: Time,
    /// Bytes of content.
    pub size: u64,
    /// How many names it has; a folder counts itself and the folders in it.
    pub links: u32,
    /// Offset in the file.
    pub(super) at: u64,
    /// How long its extended attributes are.
    xattrs: usize,
    /// Where the blocks of its content begin.
    pub(super) blocks_at: u64,
    /// How much of its content is behind the inode.
    pub(super) tail: u64,
}

impl Inode {
    /// Whether it is what overlayfs takes for a whiteout.
    pub fn is_whiteout(&self) -> bool {
        self.kind == FileKind::Character(0)
    }

    /// Whether it is a folder.
    pub fn is_directory(&self) -> bool {
        self.kind == FileKind::Directory
    }

    /// Where the end of its content is, behind the inode.
    fn tail_at(&self) -> u64 {
        self.at + (EXTENDED_INODE + self.xattrs) as u64
    }
}

/// A name in a folder, and what has it.
pub type Named = (Box<[u8]>, Inode);

/// An image of one layer.
#[derive(Debug)]
pub struct Reader {
    file: File,
    pub(super) superblock: Superblock,
    /// Size of the file in bytes.
    pub(super) size: u64,
}

impl Reader {
    /// Takes a file with an image in it.
    pub fn open(file: File) -> Result<Reader, Error> {
        let size = file.metadata().map_err(|source| Error::Read { at: 0, source })?.len();
        let mut first = [0; BLOCK];
        file.read_exact_at(&mut first, 0).map_err(|source| match source.kind() {
            io::ErrorKind::UnexpectedEof => Error::Damaged { at: size, what: "the file is too short" },
            _ => Error::Read { at: 0, source },
        })?;
        let superblock = Superblock::decode(&first).map_err(|(at, what)| Error::Damaged { at, what })?;
        if u64::from(superblock.blocks) * BLOCK as u64 != size {
            return Err(Error::Damaged { at: size, what: "the file does not have the length that it says it has" });
        }
        Ok(Reader { file, superblock, size })
    }

    /// Whether this version of the program writes the same bytes for the same tar.
    pub fn is_current(&self) -> bool {
        self.superblock.writer == WRITER
    }

    /// The root folder.
    pub fn root(&self) -> Result<Inode, Error> {
        let root = self.inode(u64::from(self.superblock.root))?;
        if root.is_directory() { Ok(root) } else { Err(Error::Damaged { at: root.at, what: "the root is no folder" }) }
    }

    /// The inode of this number.
    pub(super) fn inode(&self, number: u64) -> Result<Inode, Error> {
        let start = u64::from(self.superblock.inode_block) * BLOCK as u64;
        let at = number.checked_mul(SLOT as u64).and_then(|offset| offset.checked_add(start));
        let at = at.ok_or(Error::Damaged { at: start, what: "an inode is beyond the end" })?;
        let bytes: [u8; EXTENDED_INODE] = self.array(at)?;
        let damaged = |what| Error::Damaged { at, what };
        let format = u16::from_le_bytes(field(&bytes, 0));
        let xattrs = match u16::from_le_bytes(field(&bytes, 2)) {
            0 => 0,
            units => xattr::HEADER + (usize::from(units) - 1) * 4,
        };
        let mode = u16::from_le_bytes(field(&bytes, 4));
        let size = u64::from_le_bytes(field(&bytes, 8));
        let address = u32::from_le_bytes(field(&bytes, 16));
        let kind = match mode >> 12 {
            0o01 => FileKind::Fifo,
            0o02 => FileKind::Character(address),
            0o04 => FileKind::Directory,
            0o06 => FileKind::Block(address),
            0o10 => FileKind::File,
            0o12 => FileKind::Symlink,
            _ => return Err(damaged("an inode is of no kind that a layer has")),
        };
        let nanoseconds = u32::from_le_bytes(field(&bytes, 40));
        if nanoseconds >= 1_000_000_000 {
            return Err(damaged("an inode has more than a second of nanoseconds"));
        }
        let tail = match format {
            PLAIN => 0,
            INLINE => size % BLOCK as u64,
            _ => return Err(damaged("an inode has an unknown format")),
        };
        let has_content = matches!(kind, FileKind::File | FileKind::Directory | FileKind::Symlink);
        if !has_content && size > 0 {
            return Err(damaged("an inode has content where none can be"));
        }
        let inode = Inode {
            number,
            kind,
            mode: mode & 0o7777,
            uid: u32::from_le_bytes(field(&bytes, 24)),
            gid: u32::from_le_bytes(field(&bytes, 28)),
            mtime: Time { seconds: i64::from_le_bytes(field(&bytes, 32)), nanoseconds },
            size,
            links: u32::from_le_bytes(field(&bytes, 44)),
            at,
            xattrs,
            blocks_at: u64::from(address) * BLOCK as u64,
            tail,
        };
        // Offsets cannot overflow: the inode was read, so `at` is in the file.
        if inode.tail_at() + tail > self.size || (tail > 0 && inode.tail_at() % BLOCK as u64 + tail > BLOCK as u64) {
            return Err(damaged("what is behind an inode is out of its place"));
        }
        if has_content && size > tail && inode.blocks_at.checked_add(size - tail).is_none_or(|end| end > self.size) {
            return Err(damaged("the content of an inode is beyond the end"));
        }
        Ok(inode)
    }

    /// Reads content of a file from this offset on. Returns how many bytes were read, less than asked for only at the
    /// end of the file.
    pub fn read_at(&self, inode: &Inode, buffer: &mut [u8], offset: u64) -> Result<usize, Error> {
        let left = usize::try_from(inode.size.saturating_sub(offset)).unwrap_or(usize::MAX);
        let wanted = left.min(buffer.len());
        let in_blocks = inode.size - inode.tail;
        let from_blocks = usize::try_from(in_blocks.saturating_sub(offset)).unwrap_or(usize::MAX).min(wanted);
        let (blocks, tail) = buffer.get_mut(..wanted).unwrap_or_default().split_at_mut(from_blocks);
        if !blocks.is_empty() {
            self.fill(inode.blocks_at + offset, blocks)?;
        }
        if !tail.is_empty() {
            self.fill(inode.tail_at() + offset.saturating_sub(in_blocks), tail)?;
        }
        Ok(wanted)
    }

    /// Target of a symbolic link.
    pub fn target(&self, link: &Inode) -> Result<Vec<u8>, Error> {
        if link.kind != FileKind::Symlink || link.size == 0 || link.size > MAX_TARGET {
            return Err(Error::Damaged { at: link.at, what: "a symbolic link has no valid target" });
        }
        let mut target = vec![0; link.size as usize];
        self.read_at(link, &mut target, 0)?;
        if target.contains(&0) {
            return Err(Error::Damaged { at: link.at, what: "a symbolic link has no valid target" });
        }
        Ok(target)
    }

    /// The extended attributes of a file, by their full names.
    pub fn xattrs(&self, inode: &Inode) -> Result<Xattrs, Error> {
        let mut bytes = vec![0; inode.xattrs];
        let at = inode.at + EXTENDED_INODE as u64;
        self.fill(at, &mut bytes)?;
        xattr::decode(&bytes).ok_or(Error::Damaged { at, what: "the extended attributes make no sense" })
    }

    /// The number of what has this name in a folder, and its kind as the folder has it.
    pub(super) fn lookup(&self, folder: &Inode, name: &[u8]) -> Result<Option<(u64, u8)>, Error> {
        let (mut low, mut high) = (0, folder.size.div_ceil(BLOCK as u64));
        let mut buffer = [0; BLOCK];
        while low < high {
            let middle = low + (high - low) / 2;
            let entries = self.entries(folder, middle, &mut buffer)?;
            let first = entries.first().map_or(Ordering::Equal, |entry| name.cmp(entry.name));
            let last = entries.last().map_or(Ordering::Equal, |entry| name.cmp(entry.name));
            match (first, last) {
                (Ordering::Less, _) => high = middle,
                (_, Ordering::Greater) => low = middle + 1,
                _ => {
                    let found = entries.binary_search_by(|entry| entry.name.cmp(name)).ok();
                    return Ok(found.and_then(|at| entries.get(at)).map(|entry| (entry.inode, entry.kind)));
                }
            }
        }
        Ok(None)
    }

    /// What has this name in a folder.
    pub fn child(&self, folder: &Inode, name: &[u8]) -> Result<Option<Inode>, Error> {
        self.lookup(folder, name)?.map(|(number, _)| self.inode(number)).transpose()
    }

    /// The names in a folder in the order of their bytes, without "." and "..", and what has them.
    pub fn list(&self, folder: &Inode) -> Result<Vec<Named>, Error> {
        let mut list = Vec::new();
        let mut buffer = [0; BLOCK];
        for block in 0..folder.size.div_ceil(BLOCK as u64) {
            for entry in self.entries(folder, block, &mut buffer)? {
                if entry.name != b"." && entry.name != b".." {
                    list.push((entry.name.into(), self.inode(entry.inode)?));
                }
            }
        }
        Ok(list)
    }

    /// The entries in one block of a folder; at least one.
    pub(super) fn entries<'a>(
        &self,
        folder: &Inode,
        block: u64,
        buffer: &'a mut [u8; BLOCK],
    ) -> Result<Vec<Entry<'a>>, Error> {
        let offset = block.saturating_mul(BLOCK as u64);
        let read = self.read_at(folder, buffer, offset)?;
        let damaged = Error::Damaged { at: folder.at, what: "a folder's names make no sense" };
        let entries = directory::decode(buffer.get(..read).unwrap_or_default()).ok_or(damaged)?;
        Ok(entries)
    }

    /// Reads a whole piece of the file.
    pub(super) fn fill(&self, at: u64, buffer: &mut [u8]) -> Result<(), Error> {
        self.file.read_exact_at(buffer, at).map_err(|source| match source.kind() {
            io::ErrorKind::UnexpectedEof => Error::Damaged { at, what: "the file ends too early" },
            _ => Error::Read { at, source },
        })
    }

    fn array<const N: usize>(&self, at: u64) -> Result<[u8; N], Error> {
        let mut bytes = [0; N];
        if at.checked_add(N as u64).is_none_or(|end| end > self.size) {
            return Err(Error::Damaged { at, what: "an inode is beyond the end" });
        }
        self.fill(at, &mut bytes).map(|()| bytes)
    }
}

/// So many bytes at this offset; zeros beyond the end.
pub(super) fn field<const N: usize>(bytes: &[u8], offset: usize) -> [u8; N] {
    bytes.get(offset..).and_then(|bytes| bytes.first_chunk()).copied().unwrap_or([0; N])
}

//! The on-disk structures of EROFS: superblock, inode and directory entry (Linux, fs/erofs/erofs_fs.h).

use super::checksum::crc32c;
use super::layout::Place;
use super::reader::{FileKind, field};
use crate::layer::tree::{Data, Inode, Node, Special};
use crate::layer::xattr;

/// Block size in bytes: the page size of the machines it is for.
pub(super) const BLOCK: usize = 4096;
const BLOCK_BITS: u8 = 12;
/// Where the superblock begins.
const SUPERBLOCK: usize = 1024;
const MAGIC: u32 = 0xe0f5_e1e2;
/// Compatible features: the superblock has a checksum, times of inodes are those of modification.
const FEATURES: u32 = 0x1 | 0x2;

/// Volume name of what is written here. The number is raised whenever the same tar gives other bytes than before.
pub(super) const WRITER: [u8; 16] = *b"coracle layer 1\0";

/// Inodes are numbered by the unit they are aligned to.
pub(super) const SLOT: usize = 32;
/// Size of an inode with room for 32-bit owners and a time of its own.
pub(super) const EXTENDED_INODE: usize = 64;
/// Format field of such an inode: extended, data in blocks of its own.
pub(super) const PLAIN: u16 = 1;
/// The same, the last piece of the data behind the inode.
pub(super) const INLINE: u16 = 1 | (2 << 1);

/// Size of a directory entry without its name.
pub(super) const ENTRY: usize = 12;

/// What the superblock says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Superblock {
    /// Number of the root's inode.
    pub(super) root: u16,
    /// How many inodes there are.
    pub(super) inodes: u64,
    /// How many blocks there are.
    pub(super) blocks: u32,
    /// Block from which inodes are numbered.
    pub(super) inode_block: u32,
    pub(super) uuid: [u8; 16],
    /// Volume name: by which version of this program it was written.
    pub(super) writer: [u8; 16],
}

impl Superblock {
    /// The first block of the image.
    pub(super) fn encode(&self) -> [u8; BLOCK] {
        let mut block = [0; BLOCK];
        put(&mut block, SUPERBLOCK, &MAGIC.to_le_bytes());
        put(&mut block, SUPERBLOCK + 8, &FEATURES.to_le_bytes());
        put(&mut block, SUPERBLOCK + 12, &[BLOCK_BITS]);
        put(&mut block, SUPERBLOCK + 14, &self.root.to_le_bytes());
        put(&mut block, SUPERBLOCK + 16, &self.inodes.to_le_bytes());
        put(&mut block, SUPERBLOCK + 36, &self.blocks.to_le_bytes());
        put(&mut block, SUPERBLOCK + 40, &self.inode_block.to_le_bytes());
        put(&mut block, SUPERBLOCK + 48, &self.uuid);
        put(&mut block, SUPERBLOCK + 64, &self.writer);
        let checksum = crc32c(block.get(SUPERBLOCK..).unwrap_or_default());
        put(&mut block, SUPERBLOCK + 4, &checksum.to_le_bytes());
        block
    }

    /// Reads the first block of an image. An error says where what is wrong.
    pub(super) fn decode(block: &[u8; BLOCK]) -> Result<Superblock, (u64, &'static str)> {
        let superblock = Superblock {
            root: u16::from_le_bytes(field(block, SUPERBLOCK + 14)),
            inodes: u64::from_le_bytes(field(block, SUPERBLOCK + 16)),
            blocks: u32::from_le_bytes(field(block, SUPERBLOCK + 36)),
            inode_block: u32::from_le_bytes(field(block, SUPERBLOCK + 40)),
            uuid: field(block, SUPERBLOCK + 48),
            writer: field(block, SUPERBLOCK + 64),
        };
        let expected = superblock.encode();
        if field(block, SUPERBLOCK) != MAGIC.to_le_bytes() {
            return Err((SUPERBLOCK as u64, "this is no EROFS image"));
        }
        match expected.iter().zip(block).position(|(expected, found)| expected != found) {
            None => Ok(superblock),
            Some(at) => Err((at as u64, "the superblock is not as it was written")),
        }
    }
}

/// An inode, to be followed by its extended attributes and then the last piece of its data if that is inline.
pub(super) fn inode(inode: &Inode, place: &Place) -> [u8; EXTENDED_INODE] {
    let attributes = &inode.attributes;
    let units = match xattr::size(&attributes.xattrs) {
        0 => 0,
        size => (size - 12) / 4 + 1,
    };
    let address = match inode.node {
        Node::Special(Special::Character(number) | Special::Block(number)) => number,
        Node::File(Data::Blocks { first, .. }) => first,
        _ => place.first_block(),
    };
    let mut bytes = [0; EXTENDED_INODE];
    put(&mut bytes, 0, &(if place.tail() > 0 { INLINE } else { PLAIN }).to_le_bytes());
    put(&mut bytes, 2, &(units as u16).to_le_bytes());
    put(&mut bytes, 4, &(attributes.mode | mode(&inode.node)).to_le_bytes());
    put(&mut bytes, 8, &place.size().to_le_bytes());
    put(&mut bytes, 16, &address.to_le_bytes());
    put(&mut bytes, 20, &place.serial().to_le_bytes());
    put(&mut bytes, 24, &attributes.uid.to_le_bytes());
    put(&mut bytes, 28, &attributes.gid.to_le_bytes());
    put(&mut bytes, 32, &attributes.mtime.seconds.to_le_bytes());
    put(&mut bytes, 40, &attributes.mtime.nanoseconds.to_le_bytes());
    put(&mut bytes, 44, &place.links().to_le_bytes());
    bytes
}

/// The kind of a file as the upper bits of its mode. Symbolic links have all permissions, whatever the tar says, as
/// Linux has it.
fn mode(node: &Node) -> u16 {
    match node {
        Node::Directory(_) => 0o040_000,
        Node::File(_) | Node::Pending { .. } => 0o100_000,
        Node::Symlink(_) => 0o120_777,
        Node::Special(Special::Character(_)) => 0o020_000,
        Node::Special(Special::Block(_)) => 0o060_000,
        Node::Special(Special::Fifo) => 0o010_000,
    }
}

/// The kind of a file as a directory entry has it.
pub(super) fn kind(node: &Node) -> u8 {
    kind_number(match node {
        Node::File(_) | Node::Pending { .. } => FileKind::File,
        Node::Directory(_) => FileKind::Directory,
        Node::Special(Special::Character(number)) => FileKind::Character(*number),
        Node::Special(Special::Block(number)) => FileKind::Block(*number),
        Node::Special(Special::Fifo) => FileKind::Fifo,
        Node::Symlink(_) => FileKind::Symlink,
    })
}

/// The same by what the reader says.
pub(super) fn kind_number(kind: FileKind) -> u8 {
    match kind {
        FileKind::File => 1,
        FileKind::Directory => 2,
        FileKind::Character(_) => 3,
        FileKind::Block(_) => 4,
        FileKind::Fifo => 5,
        FileKind::Symlink => 7,
    }
}

fn put(bytes: &mut [u8], offset: usize, value: &[u8]) {
    bytes.iter_mut().skip(offset).zip(value).for_each(|(to, from)| *to = *from);
}

//! What is in the tree of a layer: inodes, by number, since a file can have several names.

use std::collections::{BTreeMap, BTreeSet};

use super::Error;
use crate::layer::erofs::Piece;
use crate::layer::stack::Found;
use crate::layer::tar::Time;
use crate::layer::xattr::Xattrs;

/// Longest target of a symbolic link in bytes (Linux, `PATH_MAX` without its NUL).
pub(super) const MAX_TARGET: usize = 4095;
/// Largest numbers of a device in the 32 bits of EROFS (Linux, `new_encode_dev`).
const MAX_MAJOR: u32 = (1 << 12) - 1;
const MAX_MINOR: u32 = (1 << 20) - 1;

/// Number of an inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::layer) struct Index(pub(in crate::layer) u32);

/// The root folder's.
pub(in crate::layer) const ROOT: Index = Index(0);

/// What every file has.
#[derive(Debug)]
pub(in crate::layer) struct Attributes {
    /// Permission bits, set-user-id and so on included.
    pub(in crate::layer) mode: u16,
    pub(in crate::layer) uid: u32,
    pub(in crate::layer) gid: u32,
    pub(in crate::layer) mtime: Time,
    pub(in crate::layer) xattrs: Xattrs,
}

/// A file, folder or other thing with its attributes.
#[derive(Debug)]
pub(in crate::layer) struct Inode {
    pub(in crate::layer) attributes: Attributes,
    pub(in crate::layer) node: Node,
}

/// What a file is.
#[derive(Debug)]
pub(in crate::layer) enum Node {
    Directory(Directory),
    File(Data),
    Symlink(Box<[u8]>),
    Special(Special),
    /// A hard link whose target has not come yet; none are left in a finished tree.
    Pending {
        /// Its target as the tar has it.
        target: Box<[u8]>,
        /// Name of the entry that it is.
        entry: Box<[u8]>,
    },
}

/// A folder.
#[derive(Debug, Default)]
pub(in crate::layer) struct Directory {
    /// Sorted by the bytes of the names, as EROFS needs them.
    pub(in crate::layer) entries: BTreeMap<Box<[u8]>, Index>,
    /// Names of lower layers that are hidden.
    pub(super) whiteouts: BTreeSet<Box<[u8]>>,
    /// Whether all names of lower layers are hidden.
    pub(super) opaque: bool,
    /// Whether the tar has no entry for it, so that its attributes are those of the folder below.
    pub(super) implied: bool,
    /// Whether they are hidden already because a folder above is opaque.
    pub(super) inside_opaque: bool,
}

/// Where the data of a file is.
#[derive(Debug)]
pub(in crate::layer) enum Data {
    /// Set aside, to be written with the inode.
    Aside(Piece),
    /// In the image already.
    Blocks {
        /// Number of the first block.
        first: u32,
        /// Size of the file in bytes.
        size: u64,
    },
    /// In a layer below, still to be copied.
    Below(Box<Found>),
}

/// What has neither data nor names in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::layer) enum Special {
    /// With its number as EROFS has it.
    Character(u32),
    /// With its number as EROFS has it.
    Block(u32),
    Fifo,
}

impl Attributes {
    /// Those of a folder that the tar does not have, though it has something in it.
    pub(super) fn implied() -> Attributes {
        Attributes { mode: 0o755, uid: 0, gid: 0, mtime: Time::default(), xattrs: Xattrs::new() }
    }
}

impl Inode {
    /// What overlayfs takes for a whiteout.
    pub(super) fn whiteout() -> Inode {
        Inode {
            attributes: Attributes { mode: 0, ..Attributes::implied() },
            node: Node::Special(Special::Character(0)),
        }
    }

    /// The folder that it is, if it is one.
    pub(in crate::layer) fn directory(&self) -> Option<&Directory> {
        match &self.node {
            Node::Directory(directory) => Some(directory),
            _ => None,
        }
    }

    pub(super) fn directory_mut(&mut self) -> Option<&mut Directory> {
        match &mut self.node {
            Node::Directory(directory) => Some(directory),
            _ => None,
        }
    }
}

impl Node {
    /// A symbolic link.
    pub(in crate::layer) fn symlink(target: &[u8]) -> Result<Node, Error> {
        if target.is_empty() || target.len() > MAX_TARGET || target.contains(&0) {
            return Err(Error::Symlink);
        }
        Ok(Node::Symlink(target.into()))
    }

    /// What it counts towards the limit of metadata. What is set aside is not in memory.
    pub(super) fn cost(&self) -> u64 {
        match self {
            Node::Symlink(target) => target.len() as u64,
            _ => 0,
        }
    }
}

impl Special {
    /// A character device.
    pub(in crate::layer) fn character(device: (u32, u32)) -> Result<Special, Error> {
        match number(device)? {
            0 => Err(Error::WhiteoutDevice),
            number => Ok(Special::Character(number)),
        }
    }

    /// A block device.
    pub(in crate::layer) fn block(device: (u32, u32)) -> Result<Special, Error> {
        number(device).map(Special::Block)
    }
}

/// The number of a device as Linux writes it into 32 bits (`new_encode_dev`).
fn number((major, minor): (u32, u32)) -> Result<u32, Error> {
    if major > MAX_MAJOR || minor > MAX_MINOR {
        return Err(Error::Device { major, minor });
    }
    Ok((minor & 0xff) | (major << 8) | ((minor & !0xff) << 12))
}

//! Where everything behind the data of files goes: decided for the whole tree before any of it is written.

use super::Error;
use super::directory::{self, Entry};
use super::format::{self, BLOCK, EXTENDED_INODE, SLOT};
use crate::layer::tree::{Data, Directory, Finished, Index, Inode, Node, ROOT};
use crate::layer::xattr;

/// First slot in use: no inode may have the number 0, which readdir takes for a deleted entry.
const FIRST_OFFSET: u64 = EXTENDED_INODE as u64;

/// Where an inode and its data are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    index: Index,
    parent: Index,
    /// Position in the order of inodes, from 1.
    serial: u32,
    links: u32,
    /// From the block that inodes are numbered from.
    offset: u64,
    size: u64,
    /// How much of the data is behind the inode.
    tail: usize,
    first_block: u32,
}

/// The places of all inodes that have a name.
pub(super) struct Layout<'a> {
    tree: &'a Finished,
    /// By the number of the inode in the tree.
    places: Vec<Option<Place>>,
    /// In the order in which they are written.
    order: Vec<Index>,
    inode_block: u32,
}

impl<'a> Layout<'a> {
    /// Decides, with `block` being the first free one.
    pub(super) fn of(tree: &'a Finished, block: u32) -> Result<Layout<'a>, Error> {
        let mut layout = Layout { tree, places: vec![None; tree.len()], order: Vec::new(), inode_block: block };
        layout.find_order();
        layout.measure()?;
        layout.place_inodes();
        Ok(layout)
    }

    /// How many inodes are written.
    pub(super) fn len(&self) -> u64 {
        self.order.len() as u64
    }

    /// The root's inode number. It is the first inode, so its number is small.
    pub(super) fn root(&self) -> u16 {
        self.number(ROOT) as u16
    }

    /// The block from which inodes are numbered.
    pub(super) fn inode_block(&self) -> u32 {
        self.inode_block
    }

    /// All inodes in the order in which they are written.
    pub(super) fn places<'b>(&'b self, tree: &'b Finished) -> impl Iterator<Item = (&'b Inode, &'b Place)> {
        self.order.iter().filter_map(move |index| Some((tree.inode(*index)?, self.place(*index)?)))
    }

    /// The content of what has some and has it not in the image already.
    pub(super) fn content(&self, inode: &'a Inode, place: &Place) -> std::borrow::Cow<'a, [u8]> {
        match &inode.node {
            Node::Directory(directory) => {
                let entries: Vec<Entry<'_>> = listing(directory, place)
                    .into_iter()
                    .map(|(name, index)| Entry { name, inode: self.number(index), kind: self.kind(index) })
                    .collect();
                directory::encode(&entries).into()
            }
            Node::Symlink(target) => (&**target).into(),
            Node::File(Data::Aside(_) | Data::Blocks { .. } | Data::Below(_))
            | Node::Special(_)
            | Node::Pending { .. } => (&[][..]).into(),
        }
    }

    fn place(&self, index: Index) -> Option<&Place> {
        self.places.get(index.0 as usize)?.as_ref()
    }

    /// Number of an inode on disk.
    fn number(&self, index: Index) -> u64 {
        self.place(index).map_or(0, |place| place.offset / SLOT as u64)
    }

    fn kind(&self, index: Index) -> u8 {
        self.tree.inode(index).map_or(0, |inode| format::kind(&inode.node))
    }

    /// Walks the tree from the root, finds who has a name, and how many.
    fn find_order(&mut self) {
        self.visit(ROOT, ROOT);
        let mut folders = vec![ROOT];
        while let Some(folder) = folders.pop() {
            let Some(directory) = self.tree.inode(folder).and_then(Inode::directory) else {
                continue;
            };
            let first = folders.len();
            for child in directory.entries.values() {
                self.visit(*child, folder);
                if self.tree.inode(*child).is_some_and(|inode| inode.directory().is_some()) {
                    folders.push(*child);
                }
            }
            // The first one is to come next.
            let inner = folders.len() - first;
            if let Some(inner_folders) = folders.get_mut(first..) {
                inner_folders.reverse();
            }
            self.add_links(folder, inner as u32);
        }
    }

    /// Counts one more name of an inode. A folder counts for itself in it.
    fn visit(&mut self, index: Index, parent: Index) {
        let links = 1 + u32::from(self.tree.inode(index).is_some_and(|inode| inode.directory().is_some()));
        match self.places.get_mut(index.0 as usize) {
            Some(place @ None) => {
                self.order.push(index);
                let serial = self.order.len() as u32;
                *place = Some(Place { index, parent, serial, links, offset: 0, size: 0, tail: 0, first_block: 0 });
            }
            _ => self.add_links(index, 1),
        }
    }

    fn add_links(&mut self, index: Index, links: u32) {
        if let Some(Some(place)) = self.places.get_mut(index.0 as usize) {
            place.links = place.links.saturating_add(links);
        }
    }

    /// Finds the size of each inode's data, how much of it is inline, and the blocks for what is not.
    fn measure(&mut self) -> Result<(), Error> {
        for index in &self.order {
            let Some((inode, Some(place))) = self.tree.inode(*index).zip(self.places.get_mut(index.0 as usize)) else {
                continue;
            };
            let (size, in_image) = match &inode.node {
                Node::Directory(directory) => {
                    (directory::size(listing(directory, place).iter().map(|(name, _)| name.len())), false)
                }
                Node::File(Data::Aside(piece)) => (u64::from(piece.size), false),
                Node::File(Data::Blocks { size, .. }) => (*size, true),
                Node::File(Data::Below(_)) => (0, true),
                Node::Symlink(target) => (target.len() as u64, false),
                Node::Special(_) | Node::Pending { .. } => (0, true),
            };
            place.size = size;
            if in_image {
                continue;
            }
            let tail = (size % BLOCK as u64) as usize;
            if EXTENDED_INODE + xattr::size(&inode.attributes.xattrs) + tail <= BLOCK {
                place.tail = tail;
            }
            place.first_block = self.inode_block;
            self.inode_block = self.inode_block.checked_add(place.blocks()).ok_or(Error::Blocks)?;
        }
        Ok(())
    }

    /// Gives each inode its offset. The inode itself and its inline data must not cross a block boundary.
    fn place_inodes(&mut self) {
        let mut next = FIRST_OFFSET;
        for index in &self.order {
            let Some((inode, Some(place))) = self.tree.inode(*index).zip(self.places.get_mut(index.0 as usize)) else {
                continue;
            };
            let head = (EXTENDED_INODE + xattr::size(&inode.attributes.xattrs)) as u64;
            let tail = place.tail as u64;
            let block = BLOCK as u64;
            let crosses = |start: u64, length: u64| length > 0 && start % block + length > block;
            if crosses(next, EXTENDED_INODE as u64) || crosses(next + head, tail) {
                next = next.next_multiple_of(block);
            }
            place.offset = next;
            next = (next + head + tail).next_multiple_of(SLOT as u64);
        }
    }
}

impl Place {
    /// Position in the order of inodes, from 1.
    pub(super) fn serial(&self) -> u32 {
        self.serial
    }

    /// How many names lead here.
    pub(super) fn links(&self) -> u32 {
        self.links
    }

    /// Where the inode is, from the block that inodes are numbered from.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// Size of the data in bytes.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// How much of the data is behind the inode.
    pub(super) fn tail(&self) -> usize {
        self.tail
    }

    /// The first block of the data if it is not in the image already.
    pub(super) fn first_block(&self) -> u32 {
        self.first_block
    }

    /// How many blocks the data takes that is not behind the inode.
    pub(super) fn blocks(&self) -> u32 {
        (self.size - self.tail as u64).div_ceil(BLOCK as u64) as u32
    }
}

/// All names of a folder in the order of their bytes: "." and ".." are not always the first ones.
fn listing<'a>(directory: &'a Directory, place: &Place) -> Vec<(&'a [u8], Index)> {
    let mut names: Vec<(&[u8], Index)> = vec![(b".", place.index), (b"..", place.parent)];
    names.extend(directory.entries.iter().map(|(name, index)| (&**name, *index)));
    names.sort();
    names
}

//! The tree of one layer in memory: entries are put in as the tar brings them, the last one of a name counts.
//!
//! As extracting would do it: a folder over a folder keeps what is in it and takes the new attributes; anything else
//! replaces what was there, and is never written through a link. Folders on the way to a name are made if the tar
//! does not have them, as the folder below is, or else 0755, root, 1970. A symbolic link on the way is followed inside
//! the image, as containerd and umoci do, `..` never leading above its root. One of a layer below counts as long as
//! nothing that was read before it hides it.

mod base;
mod error;
mod node;
mod resolve;

use super::{path, xattr};

pub use self::base::Base;
pub(super) use self::error::Error;
pub(super) use self::node::{Attributes, Data, Directory, Index, Inode, Node, ROOT, Special};
use self::resolve::Target;

/// What one inode counts towards the limit of metadata, beside its names, about as much as it takes in memory.
const INODE_COST: u64 = 128;

/// The tree of a layer that is being read.
pub(super) struct Tree<'a> {
    base: Base<'a>,
    /// Whether it turned out that the result depends on layers that are not known.
    depends: bool,
    /// Whether folders were made that the tar had no entry for.
    has_implied: bool,
    /// Steps on the way to entries so far.
    steps: u64,
    inodes: Vec<Inode>,
    /// Hard links to names that were not there yet.
    pending: Vec<Pending>,
    entries: u64,
    max_entries: u64,
    metadata: u64,
    max_metadata: u64,
}

/// A hard link to a name that was not there yet; its inode is a placeholder.
struct Pending {
    folder: Index,
    name: Box<[u8]>,
    inode: Index,
}

impl<'a> Tree<'a> {
    /// A tree of nothing but a root over these layers, with an end to what may be put into it.
    pub(super) fn new(base: Base<'a>, max_entries: u64, max_metadata: u64) -> Tree<'a> {
        let root = Node::Directory(Directory { implied: true, ..Directory::default() });
        Tree {
            base,
            depends: false,
            has_implied: false,
            steps: 0,
            inodes: vec![Inode { attributes: Attributes::implied(), node: root }],
            pending: Vec::new(),
            entries: 0,
            max_entries,
            metadata: 0,
            max_metadata,
        }
    }

    /// Whether it has turned out that the result depends on layers that are not known.
    pub(super) fn depends(&self) -> bool {
        self.depends
    }

    /// Puts in a folder.
    pub(super) fn directory(&mut self, path: &[&[u8]], attributes: Attributes) -> Result<(), Error> {
        let Some((name, parents)) = path.split_last() else {
            return self.set_attributes(ROOT, attributes);
        };
        let parent = self.folder(parents)?;
        match self.child(parent, name) {
            Some(old) if self.is_folder(old) => self.set_attributes(old, attributes),
            _ => {
                self.charge_xattrs(&attributes)?;
                let node = Node::Directory(Directory::default());
                self.add(parent, name, Inode { attributes, node }).map(|_| ())
            }
        }
    }

    /// Puts in anything but a folder or a hard link.
    pub(super) fn insert(&mut self, path: &[&[u8]], attributes: Attributes, node: Node) -> Result<(), Error> {
        let (name, parents) = path.split_last().ok_or(Error::Root)?;
        let parent = self.folder(parents)?;
        self.charge_xattrs(&attributes)?;
        self.charge(node.cost())?;
        self.add(parent, name, Inode { attributes, node }).map(|_| ())
    }

    /// Puts in another name for what `target`, as the tar has it, names: now, or at the end if it is not there yet.
    pub(super) fn link(&mut self, path: &[&[u8]], target: &[u8], entry: &[u8]) -> Result<(), Error> {
        let target_path = path::clean(target)?;
        let (name, parents) = path.split_last().ok_or(Error::Root)?;
        let parent = self.folder(parents)?;
        match self.find(&target_path)? {
            Target::Here(inode) if !matches!(self.node(inode), Some(Node::Pending { .. })) => {
                self.count()?;
                self.charge(name.len() as u64)?;
                self.enter(parent, name, inode);
                return Ok(());
            }
            Target::Folder => return Err(Error::LinkFolder { target: path::printable(target) }),
            Target::Here(_) | Target::Below { .. } | Target::Nothing => {}
        }
        self.charge((target.len() + entry.len() + name.len()) as u64)?;
        let node = Node::Pending { target: target.into(), entry: entry.into() };
        let inode = self.add(parent, name, Inode { attributes: Attributes::implied(), node })?;
        self.pending.push(Pending { folder: parent, name: (*name).into(), inode });
        Ok(())
    }

    /// Hides `name` of lower layers in a folder.
    pub(super) fn whiteout(&mut self, folder: &[&[u8]], name: &[u8]) -> Result<(), Error> {
        let folder = self.folder(folder)?;
        self.count()?;
        self.charge(name.len() as u64)?;
        if let Some(directory) = self.directory_mut(folder) {
            directory.whiteouts.insert(name.into());
        }
        Ok(())
    }

    /// Hides everything of lower layers in a folder.
    pub(super) fn opaque(&mut self, folder: &[&[u8]]) -> Result<(), Error> {
        let folder = self.folder(folder)?;
        if let Some(directory) = self.directory_mut(folder) {
            directory.opaque = true;
        }
        Ok(())
    }

    /// Resolves what could not be resolved before the end. An error comes with the name of its entry.
    pub(super) fn finish(mut self) -> Result<Finished, (Box<[u8]>, Error)> {
        if self.depends {
            return Ok(Finished { inodes: Vec::new(), depends: true });
        }
        self.resolve_links()?;
        self.inherit().map_err(|error| ((*b"/").into(), error))?;
        self.place_whiteouts();
        Ok(Finished { inodes: self.inodes, depends: self.depends })
    }

    /// Turns whiteouts into devices. A whiteout hides only what lower layers have: a name that this layer has too
    /// stays, and a folder of that name becomes opaque. Inside an opaque folder there is nothing to hide, and
    /// overlayfs would list the devices.
    fn place_whiteouts(&mut self) {
        let mut device = None;
        // A folder comes before the folders in it.
        for number in 0..self.inodes.len() {
            let folder = Index(number as u32);
            let Some(directory) = self.directory_mut(folder) else {
                continue;
            };
            let whiteouts = std::mem::take(&mut directory.whiteouts);
            if directory.opaque || directory.inside_opaque {
                let inside: Vec<Index> = directory.entries.values().copied().collect();
                for child in inside {
                    if let Some(directory) = self.directory_mut(child) {
                        directory.inside_opaque = true;
                    }
                }
                continue;
            }
            for name in whiteouts {
                match self.child(folder, &name) {
                    None => {
                        let device = *device.get_or_insert_with(|| self.push(Inode::whiteout()));
                        self.enter(folder, &name, device);
                    }
                    Some(child) => {
                        if let Some(hiding) = self.directory_mut(child) {
                            hiding.opaque = true;
                        }
                    }
                }
            }
        }
        for inode in &mut self.inodes {
            let Some(directory) = inode.directory() else {
                continue;
            };
            if directory.opaque {
                xattr::set_opaque(&mut inode.attributes.xattrs);
            } else if device.is_some_and(|device| directory.entries.values().any(|child| *child == device)) {
                xattr::set_origin(&mut inode.attributes.xattrs);
            }
        }
    }

    fn set_attributes(&mut self, folder: Index, attributes: Attributes) -> Result<(), Error> {
        self.count()?;
        self.charge_xattrs(&attributes)?;
        if let Some(inode) = self.inodes.get_mut(folder.0 as usize) {
            inode.attributes = attributes;
            if let Some(directory) = inode.directory_mut() {
                directory.implied = false;
            }
        }
        Ok(())
    }

    /// Makes a new inode and gives it a name, in place of whatever had it.
    fn add(&mut self, folder: Index, name: &[u8], inode: Inode) -> Result<Index, Error> {
        self.count()?;
        self.charge(INODE_COST + name.len() as u64)?;
        let index = self.push(inode);
        self.enter(folder, name, index);
        Ok(index)
    }

    fn push(&mut self, inode: Inode) -> Index {
        // The limit of entries is far below what 32 bits hold; see `count`.
        let index = Index(self.inodes.len() as u32);
        self.inodes.push(inode);
        index
    }

    fn enter(&mut self, folder: Index, name: &[u8], inode: Index) {
        if let Some(directory) = self.directory_mut(folder) {
            directory.entries.insert(name.into(), inode);
        }
    }

    fn child(&self, folder: Index, name: &[u8]) -> Option<Index> {
        match self.node(folder)? {
            Node::Directory(directory) => directory.entries.get(name).copied(),
            _ => None,
        }
    }

    fn node(&self, index: Index) -> Option<&Node> {
        self.inodes.get(index.0 as usize).map(|inode| &inode.node)
    }

    fn is_folder(&self, index: Index) -> bool {
        matches!(self.node(index), Some(Node::Directory(_)))
    }

    fn directory_mut(&mut self, index: Index) -> Option<&mut Directory> {
        self.inodes.get_mut(index.0 as usize).and_then(Inode::directory_mut)
    }

    /// Counts one more entry. Inodes are numbered with 32 bits, so that is a limit too.
    fn count(&mut self) -> Result<(), Error> {
        let limit = self.max_entries.min(u64::from(u32::MAX - 2));
        self.entries = self.entries.saturating_add(1);
        if self.entries > limit { Err(Error::TooMany { limit }) } else { Ok(()) }
    }

    fn charge(&mut self, bytes: u64) -> Result<(), Error> {
        self.metadata = self.metadata.saturating_add(bytes);
        if self.metadata > self.max_metadata { Err(Error::TooMuch { limit: self.max_metadata }) } else { Ok(()) }
    }

    fn charge_xattrs(&mut self, attributes: &Attributes) -> Result<(), Error> {
        let sum = attributes.xattrs.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>();
        self.charge(sum as u64)
    }
}

/// The tree of a layer that was read as a whole: no link is open, whiteouts are devices.
pub(super) struct Finished {
    inodes: Vec<Inode>,
    /// Whether it depends on layers that are not known, and so is not what it should be.
    pub(super) depends: bool,
}

impl Finished {
    /// How many inodes there are, those included that have no name any more.
    pub(super) fn len(&self) -> usize {
        self.inodes.len()
    }

    /// The inode of this number.
    pub(super) fn inode(&self, index: Index) -> Option<&Inode> {
        self.inodes.get(index.0 as usize)
    }

    /// All inodes.
    pub(super) fn inodes_mut(&mut self) -> impl Iterator<Item = &mut Inode> {
        self.inodes.iter_mut()
    }
}

#[cfg(test)]
#[path = "tree_test.rs"]
mod tests;

//! What a tree takes from the layers below it.

use super::{Data, Error, Index, Inode, Node, ROOT, Special, Tree};
use crate::layer::erofs::reader::FileKind;
use crate::layer::stack::{Child, Folder, Found, Stack};

/// What is below a layer.
#[derive(Clone, Copy, Debug)]
pub enum Base<'a> {
    /// Nothing: it is the lowest one.
    Nothing,
    /// That is not known yet.
    Unknown,
    /// These layers.
    Layers(&'a Stack),
}

impl<'a> Base<'a> {
    pub(super) fn stack(self) -> Option<&'a Stack> {
        match self {
            Base::Layers(stack) => Some(stack),
            Base::Nothing | Base::Unknown => None,
        }
    }

    pub(super) fn is_unknown(self) -> bool {
        matches!(self, Base::Unknown)
    }

    /// What was found below as an inode of a tree; the data of a file is still to be copied. `None` for a folder.
    pub(super) fn inode(self, found: Found) -> Result<Option<Inode>, Error> {
        let Some(stack) = self.stack() else { return Ok(None) };
        let attributes = stack.attributes(&found)?;
        let node = match found.inode.kind {
            FileKind::File => Node::File(Data::Below(Box::new(found))),
            FileKind::Symlink => Node::symlink(&stack.target(&found)?)?,
            FileKind::Character(number) => Node::Special(Special::Character(number)),
            FileKind::Block(number) => Node::Special(Special::Block(number)),
            FileKind::Fifo => Node::Special(Special::Fifo),
            FileKind::Directory => return Ok(None),
        };
        Ok(Some(Inode { attributes, node }))
    }
}

impl Tree<'_> {
    /// Gives folders that the tar does not list what the folders below have, and hides what is below an opaque root:
    /// overlayfs does not look for that mark at a root, so each name there gets a whiteout of its own.
    pub(super) fn inherit(&mut self) -> Result<(), Error> {
        let opaque_root = self.directory_mut(ROOT).is_some_and(|root| root.opaque);
        self.depends |= self.base.is_unknown() && opaque_root;
        let Some((stack, root)) = self.base.stack().and_then(|stack| Some((stack, stack.root()?))) else {
            return Ok(());
        };
        self.take_attributes(stack, ROOT, root)?;
        if opaque_root {
            for name in stack.names(root)? {
                self.count()?;
                self.charge(name.len() as u64)?;
                if let Some(root) = self.directory_mut(ROOT) {
                    root.whiteouts.insert(name);
                }
            }
            if let Some(root) = self.directory_mut(ROOT) {
                root.opaque = false;
            }
        }
        let mut folders = if self.has_implied { vec![(ROOT, root.clone())] } else { Vec::new() };
        while let Some((folder, below)) = folders.pop() {
            for (child, below) in self.seen_below(stack, folder, &below)? {
                self.take_attributes(stack, child, &below)?;
                folders.push((child, below));
            }
        }
        Ok(())
    }

    /// The folders in one that are merged with others below.
    fn seen_below(&self, stack: &Stack, folder: Index, below: &Folder) -> Result<Vec<(Index, Folder)>, Error> {
        let mut merged = Vec::new();
        let directory = self.inodes.get(folder.0 as usize).and_then(Inode::directory);
        let Some(directory) = directory.filter(|directory| !directory.opaque) else { return Ok(merged) };
        for (name, child) in &directory.entries {
            if self.is_folder(*child)
                && !directory.whiteouts.contains(name)
                && let Some(Child::Folder(below)) = stack.child(below, name)?
            {
                merged.push((*child, below));
            }
        }
        Ok(merged)
    }

    fn take_attributes(&mut self, stack: &Stack, folder: Index, below: &Folder) -> Result<(), Error> {
        let implied = self.directory_mut(folder).is_some_and(|directory| std::mem::take(&mut directory.implied));
        let Some(top) = below.top().filter(|_| implied) else { return Ok(()) };
        let attributes = stack.attributes(top)?;
        self.charge_xattrs(&attributes)?;
        if let Some(inode) = self.inodes.get_mut(folder.0 as usize) {
            inode.attributes = attributes;
        }
        Ok(())
    }
}

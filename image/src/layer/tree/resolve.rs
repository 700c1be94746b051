//! Finding the way in the tree: folders for new entries, and what hard links link to.

use super::{Attributes, Directory, Error, Index, Inode, Node, Pending, ROOT, Tree};
use crate::layer::path;

/// How many parts of paths, symbolic links followed, or how many hard links, lead to one entry at most: as many as
/// the longest path has without any link.
const MAX_STEPS: usize = 4096;

impl Tree {
    /// The folder of this path. What is missing of it is made, and symbolic links are followed inside the layer.
    pub(super) fn folder(&mut self, path: &[&[u8]]) -> Result<Index, Error> {
        let mut current = ROOT;
        for part in path {
            current = match self.child(current, part) {
                None => self.implied(current, part)?,
                Some(child) if self.is_folder(child) => child,
                Some(_) => return self.folder_through_links(path),
            };
        }
        Ok(current)
    }

    /// The same with all that symbolic links need.
    fn folder_through_links(&mut self, path: &[&[u8]]) -> Result<Index, Error> {
        let mut left: Vec<Box<[u8]>> = path.iter().rev().map(|part| (*part).into()).collect();
        let mut way: Vec<Index> = Vec::new();
        let mut steps = 0;
        while let Some(part) = left.pop() {
            steps += 1;
            if steps > MAX_STEPS || left.len() > MAX_STEPS {
                return Err(Error::Loop);
            }
            if *part == *b".." {
                way.pop();
                continue;
            }
            let current = way.last().copied().unwrap_or(ROOT);
            let Some(child) = self.child(current, &part) else {
                way.push(self.implied(current, &part)?);
                continue;
            };
            match self.node(child) {
                Some(Node::Directory(_)) => way.push(child),
                Some(Node::Symlink(target)) => {
                    left.extend(path::parts(target).rev().map(Box::from));
                    if target.starts_with(b"/") {
                        way.clear();
                    }
                }
                _ => return Err(Error::Parent { parent: path::printable(&part) }),
            }
        }
        Ok(way.last().copied().unwrap_or(ROOT))
    }

    /// Makes a folder that the tar has no entry for.
    fn implied(&mut self, folder: Index, name: &[u8]) -> Result<Index, Error> {
        path::check(name)?;
        let node = Node::Directory(Directory::default());
        self.add(folder, name, Inode { attributes: Attributes::implied(), node })
    }

    /// What has this path, no link followed.
    pub(super) fn find(&self, path: &[&[u8]]) -> Option<Index> {
        path.iter().try_fold(ROOT, |folder, part| self.child(folder, part))
    }

    /// Lets hard links that came before their targets share their inodes.
    pub(super) fn resolve_links(&mut self) -> Result<(), (Box<[u8]>, Error)> {
        for Pending { folder, name, inode } in std::mem::take(&mut self.pending) {
            // A later entry may have taken the name.
            if self.child(folder, &name) == Some(inode) {
                let target = self.link_target(inode)?;
                self.enter(folder, &name, target);
            }
        }
        Ok(())
    }

    /// What a hard link leads to in the end; it may lead to others that came before their targets.
    fn link_target(&self, link: Index) -> Result<Index, (Box<[u8]>, Error)> {
        let Some(Node::Pending { target, entry }) = self.node(link) else {
            return Ok(link);
        };
        let target = || path::printable(target);
        let mut current = link;
        for _ in 0..MAX_STEPS {
            current = match self.node(current) {
                Some(Node::Pending { target: next, .. }) => path::clean(next)
                    .ok()
                    .and_then(|path| self.find(&path))
                    .ok_or_else(|| (entry.clone(), Error::LinkTarget { target: target() }))?,
                Some(Node::Directory(_)) => return Err((entry.clone(), Error::LinkFolder { target: target() })),
                _ => return Ok(current),
            };
        }
        Err((entry.clone(), Error::Loop))
    }
}

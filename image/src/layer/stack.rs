//! The layers below one that is being read, merged as overlayfs merges them, without mounting anything.
//!
//! As Documentation/filesystems/overlayfs.rst has it: the topmost layer that has a name decides; folders merge with
//! those below until an opaque one; a whiteout or anything that is no folder hides what is below.

use std::fs::File;

use super::erofs::reader::{self, FileKind, Inode, Reader};
use super::xattr::{self, Xattrs};
use super::{path, tree};

/// How many parts of paths, symbolic links followed, lead to one file at most.
const MAX_STEPS: usize = 4096;

/// Why something cannot be looked up.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A layer's file.
    #[error("Cannot read layer {layer} of those below, counted from 1")]
    Layer {
        /// Position, the lowest being 1.
        layer: usize,
        /// Why.
        source: reader::Error,
    },
    /// Symbolic links lead in a circle.
    #[error("The symbolic links on the way to {path} lead in a circle, or too far")]
    Loop {
        /// What was looked for.
        path: String,
    },
}

/// The layers of an image, or the lower ones of them.
#[derive(Debug)]
pub struct Stack {
    /// Lowest first.
    layers: Vec<Reader>,
    /// `None` if there are no layers.
    root: Option<Folder>,
}

/// An inode in one of the layers.
#[derive(Clone, Debug)]
pub struct Found {
    /// Position of the layer, the lowest being 0.
    layer: usize,
    /// The inode.
    pub inode: Inode,
}

/// A folder of the merged tree: what the layers have of it, topmost first, never empty.
#[derive(Clone, Debug)]
pub(super) struct Folder(Vec<Found>);

/// What has a name in the merged tree.
#[derive(Clone, Debug)]
pub(super) enum Child {
    Folder(Folder),
    Other(Found),
}

impl Stack {
    /// Takes the EROFS files of layers, lowest first.
    pub fn open(files: Vec<File>) -> Result<Stack, Error> {
        let open = |(at, file)| Reader::open(file).map_err(|source| Error::Layer { layer: at + 1, source });
        let layers: Vec<Reader> = files.into_iter().enumerate().map(open).collect::<Result<_, _>>()?;
        // Overlayfs merges the roots of all layers, whatever marks they have.
        let mut roots = Vec::with_capacity(layers.len());
        for (layer, reader) in layers.iter().enumerate().rev() {
            let inode = reader.root().map_err(|source| Error::Layer { layer: layer + 1, source })?;
            roots.push(Found { layer, inode });
        }
        let root = (!roots.is_empty()).then_some(Folder(roots));
        Ok(Stack { layers, root })
    }

    /// What has this path in the merged tree. Symbolic links on the way are followed inside it, the last part is not;
    /// `..` never leads above the root. An empty path is the root; `None` also if there are no layers.
    pub fn find(&self, path: &[u8]) -> Result<Option<Found>, Error> {
        let mut left: Vec<Box<[u8]>> = path::parts(path).rev().map(Box::from).collect();
        let mut way: Vec<Folder> = self.root.iter().cloned().collect();
        let mut steps = 0;
        while let Some(part) = left.pop() {
            steps += 1;
            if steps > MAX_STEPS || left.len() > MAX_STEPS {
                return Err(Error::Loop { path: path::printable(path) });
            }
            if *part == *b".." {
                way.truncate(way.len().saturating_sub(1).max(1));
                continue;
            }
            let Some(folder) = way.last() else { break };
            match self.child(folder, &part)? {
                Some(Child::Folder(folder)) => way.push(folder),
                Some(Child::Other(found)) if left.is_empty() => return Ok(Some(found)),
                Some(Child::Other(found)) if found.inode.kind == FileKind::Symlink => {
                    let target = self.target(&found)?;
                    if target.starts_with(b"/") {
                        way.truncate(1);
                    }
                    left.extend(path::parts(&target).rev().map(Box::from));
                }
                _ => return Ok(None),
            }
        }
        Ok(way.pop().and_then(Folder::into_top))
    }

    /// Reads content of a file from this offset on. Returns how many bytes were read, less than asked for only at the
    /// end of the file.
    pub fn read_at(&self, file: &Found, buffer: &mut [u8], offset: u64) -> Result<usize, Error> {
        self.at(file, |reader| reader.read_at(&file.inode, buffer, offset)).map(Option::unwrap_or_default)
    }

    /// Target of a symbolic link.
    pub fn target(&self, link: &Found) -> Result<Vec<u8>, Error> {
        self.at(link, |reader| reader.target(&link.inode)).map(Option::unwrap_or_default)
    }

    /// What a file has, extended attributes included but for the records of overlayfs.
    pub(super) fn attributes(&self, of: &Found) -> Result<tree::Attributes, Error> {
        let Inode { mode, uid, gid, mtime, .. } = of.inode;
        let xattrs = xattr::without_records(self.xattrs(of)?);
        Ok(tree::Attributes { mode, uid, gid, mtime, xattrs })
    }

    /// The root of the merged tree.
    pub(super) fn root(&self) -> Option<&Folder> {
        self.root.as_ref()
    }

    /// What has this name in a folder of the merged tree.
    pub(super) fn child(&self, folder: &Folder, name: &[u8]) -> Result<Option<Child>, Error> {
        let mut folders = Vec::new();
        for above in &folder.0 {
            let inode = self.at(above, |reader| reader.child(&above.inode, name))?.flatten();
            let Some(inode) = inode else { continue };
            let found = Found { layer: above.layer, inode };
            if !found.inode.is_directory() {
                if folders.is_empty() && !found.inode.is_whiteout() {
                    return Ok(Some(Child::Other(found)));
                }
                break;
            }
            let opaque = xattr::is_opaque(&self.xattrs(&found)?);
            folders.push(found);
            if opaque {
                break;
            }
        }
        Ok((!folders.is_empty()).then_some(Child::Folder(Folder(folders))))
    }

    /// All names in a folder of the merged tree, in the order of their bytes.
    pub(super) fn names(&self, folder: &Folder) -> Result<Vec<Box<[u8]>>, Error> {
        let mut names = std::collections::BTreeMap::new();
        for part in &folder.0 {
            for (name, inode) in self.at(part, |reader| reader.list(&part.inode))?.unwrap_or_default() {
                names.entry(name).or_insert(!inode.is_whiteout());
            }
        }
        Ok(names.into_iter().filter_map(|(name, shown)| shown.then_some(name)).collect())
    }

    /// The extended attributes of a file, by their full names; the records of overlayfs too.
    pub fn xattrs(&self, of: &Found) -> Result<Xattrs, Error> {
        self.at(of, |reader| reader.xattrs(&of.inode)).map(Option::unwrap_or_default)
    }

    /// Asks the layer that this is from; it is always there.
    fn at<T>(&self, found: &Found, ask: impl FnOnce(&Reader) -> Result<T, reader::Error>) -> Result<Option<T>, Error> {
        let reader = self.layers.get(found.layer);
        reader.map(ask).transpose().map_err(|source| Error::Layer { layer: found.layer + 1, source })
    }
}

impl Child {
    pub(super) fn into_folder(self) -> Option<Folder> {
        match self {
            Child::Folder(folder) => Some(folder),
            Child::Other(_) => None,
        }
    }
}

impl Folder {
    /// The part of it whose attributes count.
    pub(super) fn top(&self) -> Option<&Found> {
        self.0.first()
    }

    fn into_top(self) -> Option<Found> {
        self.0.into_iter().next()
    }
}

#[cfg(test)]
#[path = "stack_test.rs"]
mod tests;

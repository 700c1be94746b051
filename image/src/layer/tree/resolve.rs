//! Finding the way in the tree: folders for new entries, and what hard links link to.

use std::collections::BTreeMap;

use super::{Attributes, Directory, Error, Index, Inode, Node, Pending, ROOT, Tree};
use crate::layer::erofs::reader::FileKind;
use crate::layer::path;
use crate::layer::stack::{Child, Folder, Found};

/// How many parts of paths, symbolic links followed, or how many hard links, lead to one entry at most: as many as
/// the longest path has without any link.
const MAX_STEPS: usize = 4096;
/// How many such parts all entries of a layer may take together. A step takes about 100 ns; those of the largest
/// layers known take some ten million.
const MAX_WORK: u64 = 1 << 28;
/// How many steps in memory one in the layers below takes as much time as.
const BELOW_COST: u64 = 32;

/// A folder on the way from the root.
struct Place {
    name: Box<[u8]>,
    /// If this layer has it.
    folder: Option<Index>,
    /// What the layers below have of it; `None` if that was not asked yet.
    below: Option<Option<Folder>>,
}

/// What one part of a path is.
enum Step {
    /// A folder; without a number one of the layers below only.
    Folder(Option<Index>),
    /// Anything else in this layer.
    Here(Index),
    /// Anything else below.
    Below(Found),
    Nothing,
}

/// An error with the name of its entry.
type Named = (Box<[u8]>, Error);

impl Tree<'_> {
    /// The folder of this path. What is missing of it is made, and symbolic links are followed, those of this layer
    /// and those that can be seen of the layers below.
    pub(super) fn folder(&mut self, path: &[&[u8]]) -> Result<Index, Error> {
        let mut current = ROOT;
        for part in path {
            current = match self.child(current, part) {
                Some(child) if self.is_folder(child) => child,
                _ => return self.folder_through_links(path),
            };
        }
        Ok(current)
    }

    /// The same with all that symbolic links and missing folders need.
    fn folder_through_links(&mut self, path: &[&[u8]]) -> Result<Index, Error> {
        let way = self.walk(path, |part, step| match step {
            Step::Here(_) => Err(Error::Parent { parent: path::printable(part) }),
            // What is below and no folder is hidden by the new one.
            _ => Ok(true),
        })?;
        let mut current = ROOT;
        let mut hidden = false;
        for Place { name, folder, .. } in way.unwrap_or_default() {
            hidden = hidden || self.hides(current, &name);
            current = match folder.or_else(|| self.child(current, &name)) {
                Some(folder) => folder,
                None => self.implied(current, &name, hidden)?,
            };
        }
        Ok(current)
    }

    /// Follows a path, and symbolic links on it, from folder to folder. When a part is no folder, `pass` fails, takes it
    /// for a folder to be, or ends the walk without a result.
    fn walk(
        &mut self,
        path: &[&[u8]],
        mut pass: impl FnMut(&[u8], &Step) -> Result<bool, Error>,
    ) -> Result<Option<Vec<Place>>, Error> {
        let mut left: Vec<Box<[u8]>> = path.iter().rev().map(|part| (*part).into()).collect();
        let mut way: Vec<Place> = Vec::new();
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
            let step = self.step(&mut way, &part)?;
            if let Some(target) = self.symlink(&step)? {
                left.extend(path::parts(&target).rev().map(Box::from));
                if target.starts_with(b"/") {
                    way.clear();
                }
                continue;
            }
            let place = match step {
                Step::Folder(folder) => Place { name: part, folder, below: None },
                other => {
                    if !pass(&part, &other)? {
                        return Ok(None);
                    }
                    path::check(&part)?;
                    Place { name: part, folder: None, below: Some(None) }
                }
            };
            way.push(place);
        }
        Ok(Some(way))
    }

    /// What has this name in the last folder of a way.
    fn step(&mut self, way: &mut [Place], name: &[u8]) -> Result<Step, Error> {
        self.work(1)?;
        let folder = way.last().map_or(Some(ROOT), |place| place.folder);
        if let Some(child) = folder.and_then(|folder| self.child(folder, name)) {
            return Ok(if self.is_folder(child) { Step::Folder(Some(child)) } else { Step::Here(child) });
        }
        Ok(match self.below(way, name)? {
            None => Step::Nothing,
            Some(Child::Folder(_)) => Step::Folder(None),
            Some(Child::Other(found)) => Step::Below(found),
        })
    }

    /// What of the layers below can be seen under this name in the last folder of a way.
    fn below(&mut self, way: &mut [Place], name: &[u8]) -> Result<Option<Child>, Error> {
        let Some(stack) = self.base.stack() else { return Ok(None) };
        let mut above = stack.root();
        let mut above_here = Some(ROOT);
        for place in way {
            if place.below.is_none() {
                place.below = Some(match above {
                    Some(folder) if !above_here.is_some_and(|above| self.hides(above, &place.name)) => {
                        self.work(BELOW_COST)?;
                        stack.child(folder, &place.name)?.and_then(Child::into_folder)
                    }
                    _ => None,
                });
            }
            above = place.below.as_ref().and_then(Option::as_ref);
            above_here = place.folder;
        }
        match above {
            Some(folder) if !above_here.is_some_and(|above| self.hides(above, name)) => {
                self.work(BELOW_COST)?;
                Ok(stack.child(folder, name)?)
            }
            _ => Ok(None),
        }
    }

    /// Where a symbolic link leads, if it is one.
    fn symlink(&self, step: &Step) -> Result<Option<Vec<u8>>, Error> {
        match step {
            Step::Here(index) => match self.node(*index) {
                Some(Node::Symlink(target)) => Ok(Some(target.to_vec())),
                _ => Ok(None),
            },
            Step::Below(found) if found.inode.kind == FileKind::Symlink => match self.base.stack() {
                Some(stack) => Ok(Some(stack.target(found)?)),
                None => Ok(None),
            },
            _ => Ok(None),
        }
    }

    /// Whether, as far as it was read, this layer hides what layers below have of this name in a folder.
    fn hides(&self, folder: Index, name: &[u8]) -> bool {
        let directory = self.inodes.get(folder.0 as usize).and_then(Inode::directory);
        directory.is_some_and(|directory| directory.opaque || directory.whiteouts.contains(name))
    }

    /// Makes a folder that the tar has no entry for; `hidden` is whether nothing below can be seen there.
    fn implied(&mut self, folder: Index, name: &[u8], hidden: bool) -> Result<Index, Error> {
        self.depends |= self.base.is_unknown() && !hidden;
        self.has_implied = true;
        let node = Node::Directory(Directory { implied: true, ..Directory::default() });
        self.add(folder, name, Inode { attributes: Attributes::implied(), node })
    }

    fn work(&mut self, steps: u64) -> Result<(), Error> {
        self.steps = self.steps.saturating_add(steps);
        if self.steps > MAX_WORK { Err(Error::Loop) } else { Ok(()) }
    }

    /// What a hard link to this path shares its inode with. Symbolic links are followed, but for the last part.
    pub(super) fn find(&mut self, path: &[&[u8]]) -> Result<Target, Error> {
        let Some((name, parents)) = path.split_last() else { return Ok(Target::Folder) };
        let Some(mut way) = self.walk(parents, |_, _| Ok(false))? else { return Ok(Target::Nothing) };
        Ok(match self.step(&mut way, name)? {
            Step::Folder(_) => Target::Folder,
            Step::Here(index) => Target::Here(index),
            Step::Nothing => Target::Nothing,
            Step::Below(found) => {
                let folder = way.into_iter().map(|place| place.name).collect();
                Target::Below { folder, found }
            }
        })
    }

    /// Lets hard links that came before their targets, or link to what is below, share inodes with them.
    pub(super) fn resolve_links(&mut self) -> Result<(), Named> {
        let mut resolved = BTreeMap::new();
        for Pending { folder, name, inode } in std::mem::take(&mut self.pending) {
            // A later entry may have taken the name.
            if self.child(folder, &name) == Some(inode)
                && let Some(target) = self.link_target(inode, &mut resolved)?
            {
                self.enter(folder, &name, target);
            }
        }
        Ok(())
    }

    /// What a hard link leads to in the end; it may lead to others that came before their targets. `resolved` is what
    /// was found out about those, so that none is followed twice. `None` if it is not known what is below.
    fn link_target(&mut self, link: Index, resolved: &mut BTreeMap<Index, Index>) -> Result<Option<Index>, Named> {
        let mut followed = Vec::new();
        let mut current = link;
        let end = loop {
            let Some(Node::Pending { target, entry }) = self.node(current) else { break current };
            if let Some(end) = resolved.get(&current) {
                break *end;
            }
            let (target, entry) = (target.clone(), entry.clone());
            followed.push(current);
            if followed.len() > MAX_STEPS {
                return Err((entry, Error::Loop));
            }
            match self.take_target(&target) {
                Ok(Some(next)) => current = next,
                Ok(None) => return Ok(None),
                Err(error) => return Err((entry, error)),
            }
        };
        resolved.extend(followed.into_iter().map(|link| (link, end)));
        Ok(Some(end))
    }

    /// The inode that a hard link to `target` gets. One of a layer below is taken into this one, under its own name.
    fn take_target(&mut self, target: &[u8]) -> Result<Option<Index>, Error> {
        let path = path::clean(target)?;
        match self.find(&path)? {
            Target::Here(index) => Ok(Some(index)),
            Target::Folder => Err(Error::LinkFolder { target: path::printable(target) }),
            Target::Nothing if self.base.is_unknown() => {
                self.depends = true;
                Ok(None)
            }
            Target::Nothing => Err(Error::LinkTarget { target: path::printable(target) }),
            Target::Below { folder, found } => {
                let Some(inode) = self.base.inode(found)? else { return Ok(None) };
                let folder: Vec<&[u8]> = folder.iter().map(|name| &**name).collect();
                let folder = self.folder(&folder)?;
                let name = path.last().copied().unwrap_or_default();
                self.charge_xattrs(&inode.attributes)?;
                self.charge(inode.node.cost())?;
                self.add(folder, name, inode).map(Some)
            }
        }
    }
}

/// What has the path that a hard link links to.
pub(super) enum Target {
    Here(Index),
    Folder,
    Nothing,
    /// In the layers below; with the folder that it is in, all links on the way followed.
    Below {
        folder: Vec<Box<[u8]>>,
        found: Found,
    },
}

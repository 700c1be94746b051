//! Checks a whole image: that its structure is the one the writer makes, and its content what was written.

use std::collections::{HashMap, HashSet};
use std::fs::File;

use super::directory;
use super::fingerprint::Fingerprint;
use super::format::{self, BLOCK};
use super::reader::{Error, FileKind, Inode, Named, Reader};

/// How much is read at once.
const BUFFER: usize = 1 << 20;

/// Checks the whole of the image in `file`: the superblock and its checksum, every inode, name and attribute, and by
/// the fingerprint every bit of it.
pub fn verify(file: File) -> Result<(), Error> {
    Reader::open(file)?.verify()
}

impl Reader {
    /// See [`verify`].
    pub fn verify(&self) -> Result<(), Error> {
        // First, since most damage is no damage to the structure.
        self.check_content()?;
        self.walk(&mut |_, _| {})
    }

    /// Shows every file with its path, which has no slash at its start; the root comes first and has an empty one.
    /// All that is on the way is checked: an error ends the walk, and no damage makes it endless.
    pub fn walk(&self, visit: &mut dyn FnMut(&[u8], &Inode)) -> Result<(), Error> {
        let root = self.root()?;
        visit(b"", &root);
        self.check(&root)?;
        let mut walk = Walk { links: HashMap::from([(root.number, (1, root.clone()))]), folders: HashSet::new() };
        walk.folders.insert(root.number);
        let mut folders = vec![(Vec::new(), root.clone(), root.number)];
        while let Some((path, folder, parent)) = folders.pop() {
            for (name, inode) in self.checked_list(&folder, parent)? {
                let mut path = path.clone();
                if !path.is_empty() {
                    path.push(b'/');
                }
                path.extend_from_slice(&name);
                visit(&path, &inode);
                if walk.enters(self, &inode, folder.number)? {
                    folders.push((path, inode, folder.number));
                }
            }
        }
        walk.finish(self)
    }

    /// The names in a folder and what has them, after a check of the folder.
    fn checked_list(&self, folder: &Inode, parent: u64) -> Result<Vec<Named>, Error> {
        let damaged = |what| Error::Damaged { at: folder.at, what };
        let mut list = Vec::new();
        let mut buffer = [0; BLOCK];
        let (mut last, mut sizes): (Box<[u8]>, Vec<usize>) = (Box::default(), Vec::new());
        let mut dots = 0;
        for block in 0..folder.size.div_ceil(BLOCK as u64) {
            for entry in self.entries(folder, block, &mut buffer)? {
                if *entry.name <= *last {
                    return Err(damaged("the names in a folder are not in order"));
                }
                last = entry.name.into();
                sizes.push(entry.name.len());
                let expected = match entry.name {
                    b"." => Some(folder.number),
                    b".." => Some(parent),
                    _ => None,
                };
                if let Some(expected) = expected {
                    dots += 1;
                    if entry.inode != expected || entry.kind != format::kind_number(FileKind::Directory) {
                        return Err(damaged("a folder does not know where it is"));
                    }
                    continue;
                }
                let inode = self.inode(entry.inode)?;
                if format::kind_number(inode.kind) != entry.kind {
                    return Err(damaged("a folder takes something for what it is not"));
                }
                list.push((entry.name.into(), inode));
            }
        }
        if dots != 2 || directory::size(sizes) != folder.size {
            return Err(damaged("a folder has not the size of its names"));
        }
        Ok(list)
    }

    /// Checks what only this inode has.
    fn check(&self, inode: &Inode) -> Result<(), Error> {
        let damaged = |what| Error::Damaged { at: inode.at, what };
        self.xattrs(inode)?;
        if inode.kind == FileKind::Symlink {
            self.target(inode)?;
        }
        let has_blocks = matches!(inode.kind, FileKind::File | FileKind::Directory | FileKind::Symlink);
        if has_blocks && inode.size > inode.tail && inode.blocks_at < BLOCK as u64 {
            return Err(damaged("the content of an inode is where the superblock is"));
        }
        if inode.number == 0 || inode.at % BLOCK as u64 + format::EXTENDED_INODE as u64 > BLOCK as u64 {
            return Err(damaged("an inode is out of its place"));
        }
        Ok(())
    }

    /// Compares the content with the fingerprint that was taken when it was written.
    fn check_content(&self) -> Result<(), Error> {
        let mut fingerprint = Fingerprint::default();
        let mut buffer = vec![0; BUFFER];
        let mut at = BLOCK as u64;
        while at < self.size {
            let length = usize::try_from(self.size - at).unwrap_or(BUFFER).min(BUFFER);
            let piece = buffer.get_mut(..length).unwrap_or_default();
            self.fill(at, piece)?;
            fingerprint.add(at / BLOCK as u64, piece);
            at += length as u64;
        }
        if fingerprint.uuid(self.superblock.blocks) == self.superblock.uuid {
            Ok(())
        } else {
            Err(Error::Damaged { at: 0, what: "its content is not what was written" })
        }
    }
}

/// What was seen on the way through an image.
struct Walk {
    /// How many names of each inode were seen, by its number.
    links: HashMap<u64, (u32, Inode)>,
    folders: HashSet<u64>,
}

impl Walk {
    /// Notes one more name of an inode. Returns whether there is something in it to go through.
    fn enters(&mut self, reader: &Reader, inode: &Inode, folder: u64) -> Result<bool, Error> {
        if !self.links.contains_key(&inode.number) {
            reader.check(inode)?;
        }
        let (names, _) = self.links.entry(inode.number).or_insert_with(|| (0, inode.clone()));
        *names = names.saturating_add(1);
        if !inode.is_directory() {
            return Ok(false);
        }
        if !self.folders.insert(inode.number) {
            return Err(Error::Damaged { at: inode.at, what: "a folder is in two places" });
        }
        if let Some((names, _)) = self.links.get_mut(&folder) {
            *names = names.saturating_add(1);
        }
        Ok(true)
    }

    /// Checks the counts.
    fn finish(self, reader: &Reader) -> Result<(), Error> {
        if self.links.len() as u64 != reader.superblock.inodes {
            return Err(Error::Damaged { at: 0, what: "the image does not have as many inodes as it says" });
        }
        for (names, inode) in self.links.into_values() {
            if inode.links != names.saturating_add(u32::from(inode.is_directory())) {
                return Err(Error::Damaged { at: inode.at, what: "an inode does not have as many names as it says" });
            }
        }
        Ok(())
    }
}

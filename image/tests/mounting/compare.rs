//! Compares a mounted layer with what GNU tar unpacks from the same archive.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use super::{Mounted, xattrs};

/// Unpacks `tar` both ways and finds no difference. Returns how many files there were.
pub fn assert_equals_gnu_tar(tar: &[u8]) -> usize {
    let unpacked = unpack(tar);
    let layer = Mounted::layer(tar);
    let (ours, theirs) = (describe(&layer.path()), describe(unpacked.path()));
    for (path, theirs) in &theirs {
        assert_eq!(ours.get(path), Some(theirs), "{}", path.display());
    }
    assert_eq!(ours.len(), theirs.len());
    ours.len()
}

fn unpack(tar: &[u8]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let options = [
        "--xattrs",
        "--xattrs-include=*",
        "--numeric-owner",
        "--same-owner",
        "--warning=no-timestamp",
        "--delay-directory-restore",
        "-xpf",
        "-",
    ];
    let mut child =
        Command::new("tar").args(options).arg("-C").arg(folder.path()).stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(tar).unwrap();
    assert!(child.wait().unwrap().success());
    folder
}

/// Everything that can be seen of a file.
#[derive(Debug, PartialEq)]
struct Seen {
    mode: u32,
    owner: (u32, u32),
    mtime: (i64, i64),
    /// Device number of a device.
    device: u64,
    size: u64,
    /// The first path with the same inode, and how many there are.
    links: (PathBuf, u64),
    target: Option<PathBuf>,
    xattrs: BTreeMap<String, Vec<u8>>,
    content: Option<Content>,
}

/// A file's content; equal ones are not printed.
#[derive(PartialEq)]
struct Content(Vec<u8>);

impl std::fmt::Debug for Content {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} bytes", self.0.len())
    }
}

fn describe(root: &Path) -> BTreeMap<PathBuf, Seen> {
    let mut paths = vec![root.to_path_buf()];
    let mut next = 0;
    while let Some(path) = paths.get(next).cloned() {
        next += 1;
        if fs::symlink_metadata(&path).unwrap().is_dir() {
            paths.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
    }
    paths.sort();
    let (mut seen, mut first) = (BTreeMap::new(), BTreeMap::new());
    for path in paths {
        let stat = fs::symlink_metadata(&path).unwrap();
        let name = path.strip_prefix(root).unwrap().to_path_buf();
        // Whatever a file system counts for a folder.
        let (size, links) = if stat.is_dir() { (0, 0) } else { (stat.size(), stat.nlink()) };
        let first = first.entry(stat.ino()).or_insert_with(|| name.clone()).clone();
        let one = Seen {
            mode: stat.mode(),
            owner: (stat.uid(), stat.gid()),
            mtime: (stat.mtime(), stat.mtime_nsec()),
            device: stat.rdev(),
            size,
            links: (first, links),
            target: stat.is_symlink().then(|| fs::read_link(&path).unwrap()),
            xattrs: xattrs(&path),
            content: stat.is_file().then(|| Content(fs::read(&path).unwrap())),
        };
        seen.insert(name, one);
    }
    seen
}

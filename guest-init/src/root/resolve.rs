//! Finds, or creates, the place inside a root where something is to be mounted.
//!
//! The image decides what is on the way: whatever symbolic links it holds, the place found is inside the root.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat, openat2, readlinkat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, mkdirat};

/// Symbolic links followed before it is called a loop, as the kernel's own limit (`MAXSYMLINKS`).
const MAX_LINKS: u32 = 40;

/// What is to be mounted, and so what the target has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Needs a folder.
    Folder,
    /// Needs anything but a folder.
    File,
}

/// Why there is no such place.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nothing can be mounted over the root itself.
    #[error("{0:?} is the root itself")]
    Root(String),
    /// A folder over a file, or a file over a folder.
    #[error("{target:?} is there, and is {found}")]
    Kind {
        /// The path asked for.
        target: String,
        /// What is there.
        found: &'static str,
    },
    /// The file system refused.
    #[error("Open or create {target:?} in the container")]
    System {
        /// The path asked for.
        target: String,
        /// The kernel's answer.
        #[source]
        source: Errno,
    },
}

/// The place called `target` inside `root`, created if it is not there.
pub fn target(root: BorrowedFd, target: &str, kind: Kind) -> Result<OwnedFd, Error> {
    let system = |source| Error::System { target: target.to_owned(), source };
    let found = match existing(root, target) {
        Err(Errno::ENOENT) => create(root, target, kind),
        other => other,
    };
    let found = found.map_err(system)?;
    let status = fstat(&found).map_err(system)?;
    if same(&status, &fstat(root).map_err(system)?) {
        return Err(Error::Root(target.to_owned()));
    }
    match (kind, is(&status, SFlag::S_IFDIR)) {
        (Kind::Folder, false) => Err(Error::Kind { target: target.to_owned(), found: "not a folder" }),
        (Kind::File, true) => Err(Error::Kind { target: target.to_owned(), found: "a folder" }),
        _ => Ok(found),
    }
}

fn existing(root: BorrowedFd, path: &str) -> Result<OwnedFd, Errno> {
    let how = OpenHow::new()
        .flags(OFlag::O_PATH | OFlag::O_CLOEXEC)
        .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    openat2(root, path, how)
}

/// Walks `path` name by name, never following a link blindly, and creates what is missing: also where a symbolic link
/// points to nothing, which `existing` cannot tell from a missing folder.
fn create(root: BorrowedFd, path: &str, kind: Kind) -> Result<OwnedFd, Errno> {
    let mut rest = names_backwards(OsStr::new(path));
    let mut trail: Vec<OwnedFd> = Vec::new();
    let mut links = 0;
    while let Some(name) = rest.pop() {
        let here = trail.last().map_or(root, AsFd::as_fd);
        if name == ".." {
            // Above the root is the root.
            trail.pop();
            continue;
        }
        let found = match look(here, &name) {
            Err(Errno::ENOENT) => make(here, &name, if rest.is_empty() { kind } else { Kind::Folder }),
            other => other,
        }?;
        let status = fstat(&found)?;
        if is(&status, SFlag::S_IFLNK) {
            links += 1;
            if links > MAX_LINKS {
                return Err(Errno::ELOOP);
            }
            let text = readlinkat(&found, "")?;
            if text.as_bytes().starts_with(b"/") {
                trail.clear();
            }
            rest.append(&mut names_backwards(&text));
        } else if is(&status, SFlag::S_IFDIR) {
            trail.push(found);
        } else if rest.is_empty() {
            return Ok(found);
        } else {
            return Err(Errno::ENOTDIR);
        }
    }
    match trail.pop() {
        Some(found) => Ok(found),
        None => root.try_clone_to_owned().map_err(|_| Errno::EMFILE),
    }
}

/// The names in `path` that lead anywhere, the last one first.
fn names_backwards(path: &OsStr) -> Vec<OsString> {
    use std::path::Component;
    let name = |component| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some(OsString::from("..")),
        Component::CurDir | Component::RootDir | Component::Prefix(_) => None,
    };
    Path::new(path).components().rev().filter_map(name).collect()
}

fn look(folder: BorrowedFd, name: &OsStr) -> Result<OwnedFd, Errno> {
    openat(folder, name, OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC, Mode::empty())
}

fn make(folder: BorrowedFd, name: &OsStr, kind: Kind) -> Result<OwnedFd, Errno> {
    match kind {
        Kind::Folder => mkdirat(folder, name, Mode::from_bits_truncate(0o755))?,
        Kind::File => {
            let flags = OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_WRONLY | OFlag::O_CLOEXEC;
            drop(openat(folder, name, flags, Mode::from_bits_truncate(0o644))?);
        }
    }
    look(folder, name)
}

/// Whether `status` is that of a file of type `kind`.
pub(crate) fn is(status: &FileStat, kind: SFlag) -> bool {
    status.st_mode & SFlag::S_IFMT.bits() == kind.bits()
}

fn same(one: &FileStat, other: &FileStat) -> bool {
    (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino)
}

#[cfg(test)]
#[path = "resolve_test.rs"]
mod tests;

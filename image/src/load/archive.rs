//! An archive whose files can be read in any order, from several threads: a tar file, or a folder.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;

use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};

use super::Error;
use super::tar_index::{Member, TarIndex};

/// Files by name.
pub(super) enum Archive {
    Tar { file: File, index: TarIndex },
    Folder(OwnedFd),
}

impl Archive {
    pub(super) fn tar(file: File) -> Result<Archive, Error> {
        let index = TarIndex::read(&file)?;
        Ok(Archive::Tar { file, index })
    }

    pub(super) fn folder(folder: OwnedFd) -> Archive {
        Archive::Folder(folder)
    }

    /// Whether there is a file of this name.
    pub(super) fn has(&self, name: &str) -> bool {
        self.open(name).is_ok()
    }

    /// The file of this name.
    pub(super) fn open(&self, name: &str) -> Result<Part, Error> {
        match self {
            Archive::Tar { file, index } => {
                let member = index.find(name).ok_or_else(|| Error::Missing(name.to_owned()))?;
                let fail = |source| Error::Read { name: name.to_owned(), source };
                Ok(Part::new(file.try_clone().map_err(fail)?, member))
            }
            Archive::Folder(folder) => {
                let fail = |source: io::Error| match source.kind() {
                    io::ErrorKind::NotFound => Error::Missing(name.to_owned()),
                    _ => Error::Read { name: name.to_owned(), source },
                };
                // Never out of the folder, and never blocked by a pipe.
                let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK;
                let how = OpenHow::new().flags(flags).resolve(ResolveFlag::RESOLVE_BENEATH);
                let file = File::from(openat2(folder, name, how).map_err(|errno| fail(errno.into()))?);
                let metadata = file.metadata().map_err(fail)?;
                if !metadata.is_file() {
                    return Err(fail(io::Error::other("It is not a regular file")));
                }
                Ok(Part::new(file, Member { offset: 0, size: metadata.len() }))
            }
        }
    }

    /// A whole small file of at most `limit` bytes.
    pub(super) fn read(&self, name: &str, limit: u64) -> Result<Vec<u8>, Error> {
        let mut part = self.open(name)?;
        let fail = |source| Error::Read { name: name.to_owned(), source };
        if part.size() > limit {
            return Err(fail(io::Error::other(format!("It is larger than {limit} bytes"))));
        }
        let mut bytes = Vec::new();
        part.read_to_end(&mut bytes).map_err(fail)?;
        Ok(bytes)
    }
}

/// A file of an archive.
pub(super) struct Part {
    file: File,
    position: u64,
    end: u64,
    size: u64,
}

impl Part {
    fn new(file: File, Member { offset, size }: Member) -> Part {
        Part { file, position: offset, end: offset.saturating_add(size), size }
    }

    pub(super) fn size(&self) -> u64 {
        self.size
    }
}

impl Read for Part {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.end.saturating_sub(self.position);
        let most = usize::try_from(left).map_or(buffer.len(), |left| left.min(buffer.len()));
        let read = self.file.read_at(buffer.get_mut(..most).unwrap_or_default(), self.position)?;
        self.position = self.position.saturating_add(read as u64);
        Ok(read)
    }
}

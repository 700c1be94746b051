//! The bytes of one layer as they come in: hashed, copied to the blob's file, counted; and what went wrong with them.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;

use super::{BoxError, Bytes, Stop};
use crate::digest::Hashing;
use crate::{Digest, Progress};

/// Said to a decompressor, which says only that something failed; what failed is in [`Input::failure`].
const FAILED: &str = "The layer's source failed";

/// What ended the input before its time.
pub(super) enum Failure {
    Source(io::Error),
    Output(io::Error),
    Stopped,
}

/// Copies what is read to a file, and remembers what failed.
pub(super) struct Input<'a, 'b> {
    pub(super) hashing: Hashing<Bytes<'a>>,
    /// The file, and how much of it is there already.
    pub(super) output: Option<(&'b File, u64)>,
    pub(super) position: u64,
    pub(super) failure: Option<Failure>,
    pub(super) label: &'b Digest,
    pub(super) progress: &'b dyn Progress,
    pub(super) stop: &'b Stop,
}

impl Input<'_, '_> {
    fn fail(&mut self, failure: Failure) -> io::Error {
        self.failure.get_or_insert(failure);
        io::Error::other(FAILED)
    }

    /// Writes what stands at the current position, but for what is there.
    fn copy(&self, bytes: &[u8]) -> io::Result<()> {
        let Some((file, there)) = self.output else { return Ok(()) };
        let known = usize::try_from(there.saturating_sub(self.position)).unwrap_or(usize::MAX);
        let fresh = bytes.get(known.min(bytes.len())..).unwrap_or_default();
        file.write_all_at(fresh, self.position.max(there))
    }
}

impl Read for Input<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.failure.is_some() {
            return Err(io::Error::other(FAILED));
        }
        if self.stop.reason().is_some() {
            return Err(self.fail(Failure::Stopped));
        }
        let read = match self.hashing.read(buffer) {
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Err(error),
            Err(error) => return Err(self.fail(Failure::Source(error))),
        };
        if let Err(error) = self.copy(buffer.get(..read).unwrap_or_default()) {
            return Err(self.fail(Failure::Output(error)));
        }
        self.position = self.position.saturating_add(read as u64);
        self.progress.advance(self.label, read as u64);
        Ok(read)
    }
}

/// A file from its start to `end`, whatever others do with its position; then what `open` gives for the rest, asked for
/// when it is needed.
pub(super) struct Resumed<'a, 'b> {
    pub(super) file: &'b File,
    pub(super) position: u64,
    pub(super) end: u64,
    pub(super) rest: Rest<'a, 'b>,
}

pub(super) enum Rest<'a, 'b> {
    /// Not needed yet.
    Closed(&'b (dyn Fn() -> Result<Bytes<'a>, BoxError> + Sync)),
    Open(Bytes<'a>),
    /// The file is all there is.
    Nothing,
}

impl Read for Resumed<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.position < self.end {
            let left = usize::try_from(self.end - self.position).unwrap_or(usize::MAX).min(buffer.len());
            let read = self.file.read_at(buffer.get_mut(..left).unwrap_or_default(), self.position)?;
            if read == 0 && left > 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.position = self.position.saturating_add(read as u64);
            return Ok(read);
        }
        if let Rest::Closed(open) = self.rest {
            self.rest = Rest::Open(open().map_err(io::Error::other)?);
        }
        match &mut self.rest {
            Rest::Open(rest) => rest.read(buffer),
            _ => Ok(0),
        }
    }
}

#[cfg(test)]
#[path = "input_test.rs"]
mod tests;

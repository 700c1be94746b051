//! The image file: written from front to back in large pieces, holes left out, a fingerprint taken on the way.

use std::fs::File;
use std::os::unix::fs::FileExt;

use super::Error;
use super::fingerprint::{self, Fingerprint};
use super::format::BLOCK;

/// Write size: large enough that system calls do not count, whatever the files' sizes are.
const BUFFER: usize = 1 << 20;
/// Shortest hole worth a piece of its own; shorter ones are written as zeros.
const MIN_HOLE: u64 = BUFFER as u64;

/// Zeros to write from.
static ZEROS: [u8; BLOCK] = [0; BLOCK];

/// The file from its second block on; the first one is written last.
pub(super) struct Output<'a> {
    file: &'a File,
    buffer: Vec<u8>,
    /// Where in the file the buffer will be: on a block boundary.
    start: u64,
    fingerprint: Fingerprint,
}

impl<'a> Output<'a> {
    pub(super) fn new(file: &'a File) -> Output<'a> {
        let buffer = Vec::with_capacity(BUFFER);
        Output { file, buffer, start: BLOCK as u64, fingerprint: Fingerprint::default() }
    }

    /// Offset of the next byte.
    pub(super) fn position(&self) -> u64 {
        self.start + self.buffer.len() as u64
    }

    /// Number of the block that begins here; the position is on a block boundary.
    pub(super) fn block(&self) -> Result<u32, Error> {
        u32::try_from(self.position() / BLOCK as u64).map_err(|_| Error::Blocks)
    }

    pub(super) fn write(&mut self, mut data: &[u8]) -> Result<(), Error> {
        while !data.is_empty() {
            let room = BUFFER - self.buffer.len();
            let (now, later) = data.split_at(data.len().min(room));
            self.buffer.extend_from_slice(now);
            data = later;
            if self.buffer.len() == BUFFER {
                self.flush()?;
            }
        }
        Ok(())
    }

    /// Leaves so many zeros.
    pub(super) fn hole(&mut self, length: u64) -> Result<(), Error> {
        let end = self.position().checked_add(length).ok_or(Error::Blocks)?;
        if length >= MIN_HOLE {
            self.align(BLOCK)?;
            self.flush()?;
            self.start = end / BLOCK as u64 * BLOCK as u64;
        }
        self.zeros_until(end)
    }

    /// Writes zeros up to this offset.
    pub(super) fn zeros_until(&mut self, end: u64) -> Result<(), Error> {
        let mut left = end.saturating_sub(self.position());
        while left > 0 {
            let piece = ZEROS.get(..usize::try_from(left).unwrap_or(BLOCK)).unwrap_or(&ZEROS);
            self.write(piece)?;
            left -= piece.len() as u64;
        }
        Ok(())
    }

    /// Writes zeros up to the next multiple of `unit`.
    pub(super) fn align(&mut self, unit: usize) -> Result<(), Error> {
        self.zeros_until(self.position().next_multiple_of(unit as u64))
    }

    /// Writes the first block, which `first` makes from the fingerprint of all others. The position is on a block
    /// boundary, and whatever is behind it is cut off. Returns the size of the file.
    pub(super) fn finish(mut self, first: impl FnOnce([u8; 16]) -> [u8; BLOCK]) -> Result<u64, Error> {
        self.flush()?;
        let uuid = self.fingerprint.uuid(self.block()?);
        self.file.write_all_at(&first(uuid), 0).map_err(Error::Write)?;
        self.file.set_len(self.start).map_err(Error::Write)?;
        Ok(self.start)
    }

    /// Writes what is in the buffer, which ends on a block boundary. Where it is all zeros a hole is left; the end of an
    /// image, where the inodes are, never is.
    fn flush(&mut self) -> Result<(), Error> {
        if !fingerprint::is_zero(&self.buffer) {
            self.file.write_all_at(&self.buffer, self.start).map_err(Error::Write)?;
            self.fingerprint.add(self.start / BLOCK as u64, &self.buffer);
        }
        self.start += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }
}

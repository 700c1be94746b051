//! The image file: written from front to back in large pieces, holes left out, a fingerprint taken on the way.

use std::fs::File;
use std::os::unix::fs::FileExt;

use super::Error;
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
    /// Where in the file the buffer will be.
    start: u64,
    fingerprint: Fingerprint,
}

impl<'a> Output<'a> {
    pub(super) fn new(file: &'a File) -> Output<'a> {
        let buffer = Vec::with_capacity(BUFFER);
        Output { file, buffer, start: BLOCK as u64, fingerprint: Fingerprint::new() }
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
        if length < MIN_HOLE {
            return self.zeros_until(self.position() + length);
        }
        self.flush()?;
        self.fingerprint.add(&length.to_le_bytes());
        self.start = self.start.checked_add(length).ok_or(Error::Blocks)?;
        Ok(())
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

    /// Writes the first block, which `first` makes from the fingerprint of all others. Returns the size of the file.
    pub(super) fn finish(mut self, first: impl FnOnce([u8; 16]) -> [u8; BLOCK]) -> Result<u64, Error> {
        self.flush()?;
        self.file.write_all_at(&first(self.fingerprint.uuid()), 0).map_err(Error::Write)?;
        Ok(self.start)
    }

    fn flush(&mut self) -> Result<(), Error> {
        self.file.write_all_at(&self.buffer, self.start).map_err(Error::Write)?;
        self.fingerprint.add(&self.buffer);
        self.start += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }
}

/// A fast 128-bit hash: overlayfs tells layers apart by UUID, so different images need different ones. It is no
/// protection against anybody; whoever makes two images with the same one gets less stable inode numbers.
struct Fingerprint {
    lanes: [u64; 2],
}

impl Fingerprint {
    fn new() -> Fingerprint {
        // Any two odd-looking constants do; these are fractional digits of the square roots of 2 and 3.
        Fingerprint { lanes: [0x6a09_e667_f3bc_c908, 0xbb67_ae85_84ca_a73b] }
    }

    fn add(&mut self, bytes: &[u8]) {
        let [mut first, mut second] = self.lanes;
        let (words, rest) = bytes.as_chunks::<8>();
        let mut last = [0; 8];
        last.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
        let last = (!rest.is_empty()).then_some(&last);
        for word in words.iter().chain(last) {
            let word = u64::from_le_bytes(*word);
            first = (first ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
            second = (second.rotate_left(23) ^ word).wrapping_mul(0xc2b2_ae3d_27d4_eb4f);
        }
        self.lanes = [first, second];
    }

    /// As a UUID of version 8, which has no meaning but its maker's (RFC 9562).
    fn uuid(&self) -> [u8; 16] {
        let [first, second] = self.lanes;
        let mut bits = (u128::from(first) << 64) | u128::from(second ^ first.rotate_left(32));
        bits = (bits & !(0xf << 76)) | (0x8 << 76);
        bits = (bits & !(0x3 << 62)) | (0x2 << 62);
        bits.to_be_bytes()
    }
}

//! Buffered input of a tar stream, which counts what it reads and ends at a limit.

use std::io::{ErrorKind, Read};

use super::{BLOCK, Error};

/// Read size: system calls and virtual calls do not count, and it stays in a second-level cache.
const BUFFER: usize = 256 << 10;

/// One block of a tar stream.
pub(super) type Block = [u8; BLOCK as usize];

/// The stream; what is lent is read and gone.
pub(super) struct Input<'a> {
    source: &'a mut dyn Read,
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
    /// Bytes lent so far.
    position: u64,
    limit: u64,
}

impl<'a> Input<'a> {
    pub(super) fn new(source: &'a mut dyn Read, limit: u64) -> Input<'a> {
        Input { source, buffer: vec![0; BUFFER].into(), start: 0, end: 0, position: 0, limit }
    }

    /// How many bytes were lent.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// Lends what comes next, at most `most` bytes; empty only at the end of the stream, or if `most` is 0.
    pub(super) fn lend(&mut self, most: u64) -> Result<&[u8], Error> {
        if most == 0 {
            return Ok(&[]);
        }
        if self.start == self.end {
            self.fill()?;
        }
        let available = self.buffer.get(self.start..self.end).unwrap_or_default();
        let piece = available.get(..usize::try_from(most).unwrap_or(usize::MAX)).unwrap_or(available);
        self.start += piece.len();
        self.position += piece.len() as u64;
        if self.position > self.limit {
            return Err(Error::TooLarge { limit: self.limit });
        }
        Ok(piece)
    }

    /// Passes over so many bytes.
    pub(super) fn skip(&mut self, mut count: u64) -> Result<(), Error> {
        while count > 0 {
            match self.lend(count)?.len() {
                0 => return Err(Error::Cut { missing: count }),
                lent => count -= lent as u64,
            }
        }
        Ok(())
    }

    /// Reads one whole block; `None` at the end of the stream.
    pub(super) fn block(&mut self) -> Result<Option<Block>, Error> {
        let mut block = [0; BLOCK as usize];
        let mut filled = 0;
        while let Some(rest) = block.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            let piece = self.lend(rest.len() as u64)?;
            if piece.is_empty() {
                return if filled == 0 { Ok(None) } else { Err(Error::Cut { missing: rest.len() as u64 }) };
            }
            rest.iter_mut().zip(piece).for_each(|(to, from)| *to = *from);
            filled += piece.len();
        }
        Ok(Some(block))
    }

    /// Refuses early what could only end at the limit.
    pub(super) fn expect(&self, count: u64) -> Result<(), Error> {
        match self.position.checked_add(count) {
            Some(end) if end <= self.limit => Ok(()),
            _ => Err(Error::TooLarge { limit: self.limit }),
        }
    }

    fn fill(&mut self) -> Result<(), Error> {
        (self.start, self.end) = (0, 0);
        loop {
            match self.source.read(&mut self.buffer) {
                Ok(read) => self.end = read.min(self.buffer.len()),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(Error::Read(error)),
            }
            return Ok(());
        }
    }
}

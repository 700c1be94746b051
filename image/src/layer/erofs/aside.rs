//! Data of small files, kept aside until the inodes are written that it goes behind: in memory while it is little, and
//! then in the image file itself, far behind the end of any image. The file is cut to its size when it is complete.

use std::fs::File;
use std::os::unix::fs::FileExt;

use super::Error;

/// What is held in memory: most layers have no more data in small files.
const MEMORY: usize = 8 << 20;
/// Written at once when there is more.
const BUFFER: usize = 256 << 10;
/// Where it is put: behind all that the largest layer allowed can have, and within what file systems with blocks of
/// 4 KiB can address. Nothing between is ever allocated.
const START: u64 = 1 << 40;

/// Where in the data set aside something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::layer) struct Piece {
    pub(in crate::layer) offset: u64,
    /// Bytes.
    pub(in crate::layer) size: u32,
}

/// The data that is set aside.
pub(super) struct Aside<'a> {
    file: &'a File,
    memory: Vec<u8>,
    buffer: Vec<u8>,
    /// Bytes in the file.
    written: u64,
}

impl<'a> Aside<'a> {
    pub(super) fn new(file: &'a File) -> Aside<'a> {
        Aside { file, memory: Vec::new(), buffer: Vec::new(), written: 0 }
    }

    /// Keeps the data of one file, less than a block.
    pub(super) fn put(&mut self, data: &[u8]) -> Result<Piece, Error> {
        let size = u32::try_from(data.len()).map_err(|_| Error::Blocks)?;
        if self.written == 0 && self.buffer.is_empty() && self.memory.len() + data.len() <= MEMORY {
            let offset = self.memory.len() as u64;
            self.memory.extend_from_slice(data);
            return Ok(Piece { offset, size });
        }
        if self.buffer.len() + data.len() > BUFFER {
            self.flush()?;
        }
        let offset = START + self.written + self.buffer.len() as u64;
        self.buffer.extend_from_slice(data);
        Ok(Piece { offset, size })
    }

    /// Nothing more will be set aside.
    pub(super) fn flush(&mut self) -> Result<(), Error> {
        self.file.write_all_at(&self.buffer, START + self.written).map_err(Error::Write)?;
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    /// Puts the data of a piece into `data`.
    pub(super) fn get(&self, piece: Piece, data: &mut Vec<u8>) -> Result<(), Error> {
        data.clear();
        let size = piece.size as usize;
        if piece.offset >= START {
            data.resize(size, 0);
            return self.file.read_exact_at(data, piece.offset).map_err(Error::Write);
        }
        let start = usize::try_from(piece.offset).unwrap_or(usize::MAX);
        let kept = self.memory.get(start..start.saturating_add(size)).unwrap_or_default();
        data.extend_from_slice(kept);
        Ok(())
    }
}

//! Writer of EROFS images: uncompressed, 4096-byte blocks, as Linux reads them since 5.4 (fs/erofs/erofs_fs.h,
//! Documentation/filesystems/erofs.rst).
//!
//! The image is, in this order: the superblock, written last; the data of files, in the order of the tar, each from a
//! block boundary on so that it can be mapped; the blocks of folders and symbolic links too large to be with their
//! inode; inodes, all those of one folder together, with extended attributes and whatever small data fits behind them.
//!
//! Nothing in it depends on when or where it was made; its UUID is a fingerprint of its content.

mod aside;
mod checksum;
mod directory;
mod fingerprint;
mod format;
mod layout;
mod output;
pub(super) mod reader;
mod verify;

use std::fs::File;
use std::io;

use self::aside::Aside;
pub(super) use self::aside::Piece;
use self::format::{BLOCK, EXTENDED_INODE, Superblock, WRITER};
use self::layout::Layout;
use self::output::Output;
pub use self::verify::verify;
use super::tree::{Data, Finished, Node};
use super::xattr::{self, Xattrs};

/// Why an image cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file system refused.
    #[error("Cannot write to the image file: is the disk full?")]
    Write(#[source] io::Error),
    /// More than allowed.
    #[error("The image would have more than the {limit} bytes allowed")]
    TooLarge {
        /// The limit in bytes.
        limit: u64,
    },
    /// More than the format can address.
    #[error("The image would have more blocks than EROFS can number")]
    Blocks,
}

/// An image that is being written.
pub(super) struct Writer<'a> {
    output: Output<'a>,
    aside: Aside<'a>,
    limit: u64,
}

impl<'a> Writer<'a> {
    /// Will write to `file`, which is empty.
    pub(super) fn new(file: &'a File, limit: u64) -> Writer<'a> {
        Writer { output: Output::new(file), aside: Aside::new(file), limit }
    }

    /// Begins the data of a file.
    pub(super) fn file(&mut self, size: u64, xattrs: &Xattrs) -> Result<FileWriter<'_, 'a>, Error> {
        if self.output.position().checked_add(size).is_none_or(|end| end > self.limit) {
            return Err(Error::TooLarge { limit: self.limit });
        }
        let inode = (EXTENDED_INODE + xattr::size(xattrs)) as u64;
        let sink = if inode.saturating_add(size) <= BLOCK as u64 {
            Sink::Aside(Vec::with_capacity(size as usize))
        } else {
            Sink::Blocks { first: self.output.block()? }
        };
        Ok(FileWriter { output: &mut self.output, aside: &mut self.aside, sink, size, written: 0 })
    }

    /// Writes everything else. Returns the size of the image in bytes.
    pub(super) fn finish(mut self, tree: &Finished) -> Result<u64, Error> {
        let layout = Layout::of(tree, self.output.block()?)?;
        for (inode, place) in layout.places(tree) {
            if matches!(inode.node, Node::Directory(_) | Node::Symlink(_)) && place.blocks() > 0 {
                let content = layout.content(inode, place);
                let whole = content.len() - place.tail();
                self.output.write(content.get(..whole).unwrap_or(&content))?;
                self.output.align(BLOCK)?;
            }
        }
        self.aside.flush()?;
        let inodes_start = self.output.position();
        let mut data = Vec::new();
        for (inode, place) in layout.places(tree) {
            self.output.zeros_until(inodes_start + place.offset())?;
            self.output.write(&format::inode(inode, place))?;
            self.output.write(&xattr::encode(&inode.attributes.xattrs))?;
            if let Node::File(Data::Aside(piece)) = &inode.node {
                self.aside.get(*piece, &mut data)?;
                self.output.write(&data)?;
            } else if place.tail() > 0 {
                let content = layout.content(inode, place);
                self.output.write(content.get(content.len() - place.tail()..).unwrap_or_default())?;
            }
        }
        self.output.align(BLOCK)?;
        let superblock = Superblock {
            root: layout.root(),
            inodes: layout.len(),
            blocks: self.output.block()?,
            inode_block: layout.inode_block(),
            uuid: [0; 16],
            writer: WRITER,
        };
        self.output.finish(|uuid| Superblock { uuid, ..superblock }.encode())
    }
}

/// Takes the data of one file.
pub(super) struct FileWriter<'a, 'b> {
    output: &'a mut Output<'b>,
    aside: &'a mut Aside<'b>,
    sink: Sink,
    size: u64,
    written: u64,
}

enum Sink {
    Aside(Vec<u8>),
    Blocks { first: u32 },
}

impl FileWriter<'_, '_> {
    /// Adds data.
    pub(super) fn write(&mut self, data: &[u8]) -> Result<(), Error> {
        self.written = self.written.saturating_add(data.len() as u64);
        match &mut self.sink {
            Sink::Aside(memory) => memory.extend_from_slice(data),
            Sink::Blocks { .. } => self.output.write(data)?,
        }
        Ok(())
    }

    /// Leaves zeros up to this offset in the file.
    pub(super) fn hole_until(&mut self, offset: u64) -> Result<(), Error> {
        let length = offset.saturating_sub(self.written);
        self.written = self.written.saturating_add(length);
        match &mut self.sink {
            Sink::Aside(memory) => memory.resize(memory.len() + length as usize, 0),
            Sink::Blocks { .. } => self.output.hole(length)?,
        }
        Ok(())
    }

    /// Ends the file, with zeros up to its size.
    pub(super) fn finish(mut self) -> Result<Data, Error> {
        self.hole_until(self.size)?;
        Ok(match self.sink {
            Sink::Aside(data) => Data::Aside(self.aside.put(&data)?),
            Sink::Blocks { first } => {
                self.output.align(BLOCK)?;
                Data::Blocks { first, size: self.size }
            }
        })
    }
}

#[cfg(test)]
#[path = "erofs_test.rs"]
mod tests;

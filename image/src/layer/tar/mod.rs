//! Reader of tar streams: yields what each entry is and lends its data, touching nothing but memory.
//!
//! Understood are POSIX.1-1988 ustar, POSIX.1-2001 pax (local and global extended headers), and GNU tar's long names,
//! binary numbers and sparse files, as the GNU tar manual ("Tar Internals") describes them.

mod entry;
mod header;
mod input;
mod number;
mod pax;
mod sparse;

use std::io::{self, Read};

use self::input::Input;

pub use self::entry::Time;
pub(super) use self::entry::{Entry, Kind};
pub(crate) use self::header::Header;
pub(crate) use self::pax::Records;
pub(super) use self::sparse::Region;

/// The unit of everything in a tar stream.
const BLOCK: u64 = 512;
/// Longest extended header or long name. Some 15 extended attributes of the largest size fit; Go's reader, through
/// which most images have passed, has the same limit.
const MAX_EXTENSION: u64 = 1 << 20;

/// What is wrong with a tar stream.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The source of the stream failed.
    #[error("Cannot read the stream")]
    Read(#[source] io::Error),
    /// The stream ends in the middle of something.
    #[error("The stream ends {missing} bytes too early")]
    Cut {
        /// How many bytes should have followed.
        missing: u64,
    },
    /// More data than allowed.
    #[error("The layer has more than the {limit} bytes allowed")]
    TooLarge {
        /// The limit in bytes.
        limit: u64,
    },
    /// The header does not add up.
    #[error("The header's checksum is wrong: this is no tar stream, or a damaged one")]
    Checksum,
    /// A field that must hold a number does not.
    #[error("The header's field {field} holds no valid number")]
    Number {
        /// Name of the field.
        field: &'static str,
    },
    /// A user or group that Linux cannot have.
    #[error("The {field} is {value}, Linux has none beyond {}", entry::MAX_ID)]
    Id {
        /// `uid` or `gid`.
        field: &'static str,
        /// What the entry has.
        value: i64,
    },
    /// A type of entry no layer has.
    #[error("Entries of type {:?} are not supported in a layer", char::from(*kind))]
    Kind {
        /// The type flag.
        kind: u8,
    },
    /// A name that says folder, and a size that says file: readers differ in what follows.
    #[error("The name ends with a slash, as a folder's, but {size} bytes of data follow")]
    Folder {
        /// Size of the data in bytes.
        size: u64,
    },
    /// An extended header or long name is beyond the limit.
    #[error("An extended header has {size} bytes, more than the {MAX_EXTENSION} allowed")]
    LongExtension {
        /// Its size in bytes.
        size: u64,
    },
    /// A damaged extended header.
    #[error("A pax record is malformed")]
    Record,
    /// A record with a value that means nothing.
    #[error("Pax record {key} has no valid value")]
    Value {
        /// The record.
        key: String,
    },
    /// A global header that would give every entry the same name or size.
    #[error("A global pax header sets {key}, which only one entry can have")]
    Global {
        /// The record.
        key: String,
    },
    /// Extended headers with no entry after them.
    #[error("The stream ends after an extended header, without the entry it describes")]
    NoEntry,
    /// A single zero block that is not the end.
    #[error("A block of zeros is in the middle of the stream")]
    ZeroBlock,
    /// The map of a sparse file makes no sense.
    #[error("The map of the sparse file is malformed")]
    SparseMap,
    /// The map of a sparse file is beyond the limit.
    #[error("The sparse file has more than {} pieces", sparse::MAX_REGIONS)]
    SparseLong,
}

/// Reads one tar stream from its beginning.
pub(super) struct Reader<'a> {
    input: Input<'a>,
    globals: Records,
    /// Bytes of the current entry's data that were not yet lent.
    left: u64,
    /// Bytes that fill up its last block.
    padding: u64,
    /// Name of the current entry, as far as it is known.
    name: Vec<u8>,
}

impl<'a> Reader<'a> {
    /// Will read `source`, and refuse to read more than `limit` bytes.
    pub(super) fn new(source: &'a mut dyn Read, limit: u64) -> Reader<'a> {
        let input = Input::new(source, limit);
        Reader { input, globals: Records::default(), left: 0, padding: 0, name: Vec::new() }
    }

    /// Goes to the next entry, past the data of the current one. `None` is the end of the archive: two blocks of
    /// zeros, or, as other readers allow it too, the end of the stream where an entry would begin.
    pub(super) fn next(&mut self) -> Result<Option<Entry>, Error> {
        self.input.skip(self.left.saturating_add(self.padding))?;
        (self.left, self.padding) = (0, 0);
        self.name.clear();
        let mut local = Records::default();
        let mut extended = false;
        let (mut long_name, mut long_link) = (None, None);
        loop {
            let Some(header) = self.header()? else {
                return if extended { Err(Error::NoEntry) } else { Ok(None) };
            };
            match header.kind() {
                b'L' => long_name = Some(self.text(&header)?),
                b'K' => long_link = Some(self.text(&header)?),
                b'x' => local = Records::read(&self.extension(&header)?)?,
                b'g' => {
                    let data = self.extension(&header)?;
                    self.globals.read_global(&data)?;
                    continue;
                }
                _ => {
                    self.name = local.path().map(<[u8]>::to_vec).or(long_name).unwrap_or_else(|| header.name());
                    return self.entry(&header, local, long_link).map(Some);
                }
            }
            extended = true;
        }
    }

    /// The next piece of the current entry's data, at least one byte. It is an error to ask for more than there is.
    pub(super) fn data(&mut self) -> Result<&[u8], Error> {
        let piece = self.input.lend(self.left)?;
        if piece.is_empty() {
            return Err(Error::Cut { missing: self.left });
        }
        self.left = self.left.saturating_sub(piece.len() as u64);
        Ok(piece)
    }

    /// Reads what follows the end of the archive. Returns how many bytes the whole stream had.
    pub(super) fn drain(&mut self) -> Result<u64, Error> {
        while !self.input.lend(u64::MAX)?.is_empty() {}
        Ok(self.input.position())
    }

    /// The current entry's name for an error message, or where it begins if that is not known.
    pub(super) fn place(&self) -> String {
        if self.name.is_empty() {
            format!("before byte {}", self.input.position())
        } else {
            super::path::printable(&self.name)
        }
    }

    /// Reads the next header, or finds the end.
    fn header(&mut self) -> Result<Option<Header>, Error> {
        let Some(block) = self.input.block()? else {
            return Ok(None);
        };
        if block.iter().any(|byte| *byte != 0) {
            return Header::new(block).map(Some);
        }
        match self.input.block()? {
            Some(block) if block.iter().any(|byte| *byte != 0) => Err(Error::ZeroBlock),
            _ => Ok(None),
        }
    }

    /// Reads the data of an extension as a whole.
    fn extension(&mut self, header: &Header) -> Result<Vec<u8>, Error> {
        let size = header.size()?;
        if size > MAX_EXTENSION {
            return Err(Error::LongExtension { size });
        }
        let mut data = Vec::new();
        while (data.len() as u64) < size {
            let missing = size.saturating_sub(data.len() as u64);
            match self.input.lend(missing)? {
                [] => return Err(Error::Cut { missing }),
                piece => data.extend_from_slice(piece),
            }
        }
        self.input.skip(padding(size))?;
        Ok(data)
    }

    /// Reads a long name, which a NUL ends.
    fn text(&mut self, header: &Header) -> Result<Vec<u8>, Error> {
        let mut text = self.extension(header)?;
        if let Some(end) = text.iter().position(|byte| *byte == 0) {
            text.truncate(end);
        }
        Ok(text)
    }

    /// Puts together what the headers say.
    fn entry(&mut self, header: &Header, local: Records, long_link: Option<Vec<u8>>) -> Result<Entry, Error> {
        let kind = Kind::of(header, &self.name)?;
        // The extended header's size goes before the header's, or two readers would see two different archives.
        let stored = match local.size()? {
            Some(size) => size,
            None => header.size()?,
        };
        let stored = match kind {
            Kind::File => stored,
            Kind::Directory if stored > 0 && header.kind() != b'5' => return Err(Error::Folder { size: stored }),
            // Whatever the size field says here, no reader that images were made for takes data from it.
            _ => 0,
        };
        self.input.expect(stored)?;
        (self.left, self.padding) = (stored, padding(stored));
        let mut entry = Entry::new(kind, self.name.clone(), header, local, &self.globals, long_link)?;
        entry.size = stored;
        let map = match entry.sparse_by.take() {
            None if header.is_sparse() && kind == Kind::File => {
                Some(sparse::old_gnu(header, || self.input.block()?.ok_or(Error::Cut { missing: BLOCK }))?)
            }
            None => None,
            Some(pax::Sparse::Listed { size, map }) => Some((size, map)),
            Some(pax::Sparse::InData { size }) => Some((size, sparse::in_data(&mut self.input, &mut self.left)?)),
        };
        if let Some((size, map)) = map {
            sparse::check(&map, size, self.left)?;
            entry.size = size;
            entry.sparse = Some(map);
        }
        Ok(entry)
    }
}

/// How many bytes fill up the last block of so many.
fn padding(size: u64) -> u64 {
    (BLOCK - size % BLOCK) % BLOCK
}

#[cfg(test)]
#[path = "tar_test.rs"]
mod tests;

//! Extended headers of POSIX.1-2001 (pax): records of the form `LENGTH KEY=VALUE\n`, for one entry or for all.

use std::collections::BTreeMap;

use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD};

use super::sparse::{self, Region};
use super::{Error, Time, number};

/// Records whose value is the file's own, so that a global header cannot have them.
const LOCAL_ONLY: [&[u8]; 3] = [b"path", b"linkpath", b"size"];
/// All records about sparse files; neither can a global header have these.
const SPARSE: &[u8] = b"GNU.sparse.";
/// Extended attributes as star, GNU tar and Go write them: the value as it is.
const SCHILY: &[u8] = b"SCHILY.xattr.";
/// Extended attributes as libarchive writes them: the name URL-encoded, the value in base64.
const LIBARCHIVE: &[u8] = b"LIBARCHIVE.xattr.";

/// Where the map of a sparse file is, and how large the file is when expanded.
#[derive(Debug)]
pub(super) enum Sparse {
    /// Formats 0.0 and 0.1: it was in the records.
    Listed { size: u64, map: Vec<Region> },
    /// Format 1.0: in front of the data.
    InData { size: u64 },
}

/// The records of extended headers; later ones go before earlier ones.
#[derive(Debug, Default)]
pub(crate) struct Records {
    values: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Format 0.0 repeats two records; these are their values in order.
    pieces: Vec<u64>,
}

impl Records {
    /// Reads the header of one entry. An empty value is as good as no record.
    pub(crate) fn read(mut data: &[u8]) -> Result<Records, Error> {
        let mut records = Records::default();
        while let Some((key, value, rest)) = split(data)? {
            data = rest;
            if key == b"GNU.sparse.offset" || key == b"GNU.sparse.numbytes" {
                if records.pieces.len() >= 2 * sparse::MAX_REGIONS {
                    return Err(Error::SparseLong);
                }
                records.pieces.push(number::decimal(value).ok_or(Error::SparseMap)?);
            } else {
                records.values.insert(key.to_vec(), value.to_vec());
            }
        }
        Ok(records)
    }

    /// Adds the records of a global header. Of these only owner and time can count: every other one is dropped, so
    /// that any number of global headers takes no memory.
    pub(super) fn read_global(&mut self, mut data: &[u8]) -> Result<(), Error> {
        while let Some((key, value, rest)) = split(data)? {
            data = rest;
            if LOCAL_ONLY.contains(&key) || key.starts_with(SPARSE) {
                return Err(Error::Global { key: key.escape_ascii().to_string() });
            }
            if matches!(key, b"uid" | b"gid" | b"mtime") {
                self.values.insert(key.to_vec(), value.to_vec());
            }
        }
        Ok(())
    }

    pub(crate) fn path(&self) -> Option<&[u8]> {
        // Formats 0.1 and 1.0 of sparse files put a made-up name into `path`.
        self.value(b"GNU.sparse.name").or_else(|| self.value(b"path"))
    }

    pub(crate) fn link(&self) -> Option<&[u8]> {
        self.value(b"linkpath")
    }

    pub(crate) fn size(&self) -> Result<Option<u64>, Error> {
        self.parse(b"size", number::decimal)
    }

    pub(super) fn uid(&self) -> Result<Option<i64>, Error> {
        self.parse(b"uid", number::signed)
    }

    pub(super) fn gid(&self) -> Result<Option<i64>, Error> {
        self.parse(b"gid", number::signed)
    }

    pub(super) fn mtime(&self) -> Result<Option<Time>, Error> {
        self.parse(b"mtime", |value| number::seconds(value).map(|(seconds, nanoseconds)| Time { seconds, nanoseconds }))
    }

    /// What the records say about a sparse file, if it is one.
    pub(super) fn sparse(&self) -> Result<Option<Sparse>, Error> {
        let real_size = self.parse(b"GNU.sparse.realsize", number::decimal)?;
        if self.parse(b"GNU.sparse.major", number::decimal)? == Some(1) {
            return Ok(Some(Sparse::InData { size: real_size.ok_or(Error::SparseMap)? }));
        }
        let size = self.parse(b"GNU.sparse.size", number::decimal)?.or(real_size);
        let listed = match self.value(b"GNU.sparse.map") {
            Some(list) => sparse::listed(list.split(|byte| *byte == b',').map(number::decimal))?,
            None if self.pieces.is_empty() => Vec::new(),
            None => sparse::listed(self.pieces.iter().copied().map(Some))?,
        };
        match size {
            None if listed.is_empty() => Ok(None),
            None => Err(Error::SparseMap),
            Some(size) => Ok(Some(Sparse::Listed { size, map: listed })),
        }
    }

    /// The extended attributes; where both notations give one, the plain one counts.
    pub(super) fn into_xattrs(self) -> Result<BTreeMap<Vec<u8>, Vec<u8>>, Error> {
        let mut xattrs = BTreeMap::new();
        for (key, value) in &self.values {
            if let Some(name) = key.strip_prefix(LIBARCHIVE) {
                let decoded = url_decode(name).zip(base64_decode(value));
                let (name, value) = decoded.ok_or_else(|| Error::Value { key: key.escape_ascii().to_string() })?;
                xattrs.insert(name, value);
            }
        }
        for (mut key, value) in self.values {
            if key.starts_with(SCHILY) {
                xattrs.insert(key.split_off(SCHILY.len()), value);
            }
        }
        Ok(xattrs)
    }

    /// A record that is there and not empty.
    fn value(&self, key: &[u8]) -> Option<&[u8]> {
        self.values.get(key).map(Vec::as_slice).filter(|value| !value.is_empty())
    }

    fn parse<T>(&self, key: &[u8], read: impl Fn(&[u8]) -> Option<T>) -> Result<Option<T>, Error> {
        let Some(value) = self.value(key) else {
            return Ok(None);
        };
        read(value).map(Some).ok_or_else(|| Error::Value { key: key.escape_ascii().to_string() })
    }
}

/// A record's key and value, and what follows it.
type Split<'a> = (&'a [u8], &'a [u8], &'a [u8]);

/// Splits off the first record.
fn split(data: &[u8]) -> Result<Option<Split<'_>>, Error> {
    if data.is_empty() {
        return Ok(None);
    }
    let read = || {
        let blank = data.iter().position(|byte| *byte == b' ')?;
        let length = usize::try_from(number::decimal(data.get(..blank)?)?).ok()?;
        let (record, rest) = data.split_at_checked(length)?;
        let record = record.get(blank + 1..)?.strip_suffix(b"\n")?;
        let equals = record.iter().position(|byte| *byte == b'=').filter(|position| *position > 0)?;
        Some((record.get(..equals)?, record.get(equals + 1..)?, rest))
    };
    read().map(Some).ok_or(Error::Record)
}

fn base64_decode(value: &[u8]) -> Option<Vec<u8>> {
    BASE64_STANDARD_NO_PAD.decode(value).or_else(|_| BASE64_STANDARD.decode(value)).ok()
}

fn url_decode(name: &[u8]) -> Option<Vec<u8>> {
    let mut decoded = Vec::with_capacity(name.len());
    let mut bytes = name.iter();
    while let Some(byte) = bytes.next() {
        if *byte != b'%' {
            decoded.push(*byte);
            continue;
        }
        let high = char::from(*bytes.next()?).to_digit(16)?;
        let low = char::from(*bytes.next()?).to_digit(16)?;
        decoded.push(u8::try_from(high * 16 + low).ok()?);
    }
    Some(decoded)
}

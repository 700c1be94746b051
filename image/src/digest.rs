//! Digests of content, and readers that compute and verify them while the bytes stream past.

use std::fmt;
use std::io::{self, Read};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256, Sha512};

/// Bytes moved at once when a reader is only drained.
const DRAIN_BYTES: usize = 64 << 10;

/// What is wrong with a digest, or with content that was to have one.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Error {
    /// Not `algorithm:hex` with a known algorithm and the right number of lower-case hexadecimal digits.
    #[error("{0:?} is not a digest: expected sha256: and 64, or sha512: and 128 lower-case hexadecimal digits")]
    Malformed(String),
    /// The content is another one.
    #[error("The content is corrupt: its digest is {actual}, not {expected}")]
    Mismatch {
        /// As announced.
        expected: Digest,
        /// As computed.
        actual: Digest,
    },
    /// The content goes on after its announced size. Nothing was read beyond that.
    #[error("The content is longer than the {0} bytes announced")]
    TooLong(u64),
    /// The content ended before its announced size.
    #[error("The content is cut: {actual} of {expected} bytes")]
    TooShort {
        /// Bytes announced.
        expected: u64,
        /// Bytes received.
        actual: u64,
    },
}

/// The algorithms the OCI image specification registers (descriptor.md, "Registered algorithms") that are in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// What everybody uses.
    Sha256,
    /// Allowed, rare.
    Sha512,
}

impl Algorithm {
    /// The name before the colon, also the name of the folder below `blobs/`.
    pub fn name(self) -> &'static str {
        match self {
            Algorithm::Sha256 => "sha256",
            Algorithm::Sha512 => "sha512",
        }
    }

    fn hex_digits(self) -> usize {
        match self {
            Algorithm::Sha256 => 64,
            Algorithm::Sha512 => 128,
        }
    }

    fn hasher(self) -> Hasher {
        match self {
            Algorithm::Sha256 => Hasher::Sha256(Sha256::new()),
            Algorithm::Sha512 => Hasher::Sha512(Box::new(Sha512::new())),
        }
    }
}

/// A digest that is known to be well formed, so that its text may stand in a path or a URL.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest(Box<str>);

impl Digest {
    /// The SHA-256 of `bytes`.
    pub fn of(bytes: &[u8]) -> Digest {
        let mut hasher = Algorithm::Sha256.hasher();
        hasher.update(bytes);
        hasher.finish()
    }

    /// `algorithm:hex`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The algorithm.
    pub fn algorithm(&self) -> Algorithm {
        if self.0.starts_with("sha512:") { Algorithm::Sha512 } else { Algorithm::Sha256 }
    }

    /// The hexadecimal digits. Their number tells the algorithm, so they alone are unique too.
    pub fn hex(&self) -> &str {
        self.0.split_once(':').map_or("", |(_, hex)| hex)
    }

    /// The first twelve hexadecimal digits, as people write ids.
    pub fn short(&self) -> &str {
        self.hex().get(..12).unwrap_or_default()
    }
}

impl FromStr for Digest {
    type Err = Error;

    fn from_str(text: &str) -> Result<Digest, Error> {
        let wrong = || Error::Malformed(text.chars().take(200).collect());
        let (algorithm, hex) = text.split_once(':').ok_or_else(wrong)?;
        let algorithm = match algorithm {
            "sha256" => Algorithm::Sha256,
            "sha512" => Algorithm::Sha512,
            _ => return Err(wrong()),
        };
        if hex.len() != algorithm.hex_digits() || !hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(wrong());
        }
        Ok(Digest(text.into()))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Digest, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

enum Hasher {
    Sha256(Sha256),
    Sha512(Box<Sha512>),
}

impl Hasher {
    fn update(&mut self, bytes: &[u8]) {
        match self {
            Hasher::Sha256(hasher) => hasher.update(bytes),
            Hasher::Sha512(hasher) => hasher.update(bytes),
        }
    }

    fn finish(self) -> Digest {
        match self {
            Hasher::Sha256(hasher) => from_bytes(Algorithm::Sha256, &hasher.finalize()),
            Hasher::Sha512(hasher) => from_bytes(Algorithm::Sha512, &hasher.finalize()),
        }
    }
}

fn from_bytes(algorithm: Algorithm, bytes: &[u8]) -> Digest {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(8 + algorithm.hex_digits());
    text.push_str(algorithm.name());
    text.push(':');
    for byte in bytes {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    Digest(text.into())
}

/// A reader that hashes and counts what passes through it, and fails as soon as there is more than announced.
pub struct Hashing<R> {
    inner: R,
    hasher: Hasher,
    count: u64,
    size: Option<u64>,
}

impl<R: Read> Hashing<R> {
    /// `size` is the announced number of bytes, if there is one.
    pub fn new(inner: R, algorithm: Algorithm, size: Option<u64>) -> Hashing<R> {
        Hashing { inner, hasher: algorithm.hasher(), count: 0, size }
    }

    /// Reads whatever is left, so that the digest is that of the whole.
    pub fn drain(&mut self) -> io::Result<()> {
        let mut buffer = vec![0; DRAIN_BYTES];
        loop {
            match self.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// The digest and the number of bytes that passed.
    pub fn finish(self) -> (Digest, u64) {
        (self.hasher.finish(), self.count)
    }

    /// Checks what passed against what was announced.
    pub fn verify(self, expected: &Digest) -> Result<u64, Error> {
        if let Some(size) = self.size
            && self.count < size
        {
            return Err(Error::TooShort { expected: size, actual: self.count });
        }
        let (actual, count) = self.finish();
        if actual == *expected { Ok(count) } else { Err(Error::Mismatch { expected: expected.clone(), actual }) }
    }
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        // One byte past the announced end is asked for: it must not come.
        let left = self.size.map_or(u64::MAX, |size| size.saturating_sub(self.count));
        let window = usize::try_from(left.saturating_add(1)).map_or(buffer.len(), |most| most.min(buffer.len()));
        let window = buffer.get_mut(..window).unwrap_or_default();
        let read = self.inner.read(window)?;
        if read as u64 > left {
            let size = self.size.unwrap_or_default();
            return Err(io::Error::new(io::ErrorKind::InvalidData, Error::TooLong(size)));
        }
        self.hasher.update(window.get(..read).unwrap_or_default());
        self.count = self.count.saturating_add(read as u64);
        Ok(read)
    }
}

#[cfg(test)]
#[path = "digest_test.rs"]
mod tests;

//! The 512-byte header of a tar entry: its fields, read but not yet believed.

use super::input::Block;
use super::{Error, number};

/// A header with a valid checksum.
pub(crate) struct Header {
    block: Block,
}

impl Header {
    /// Takes a block as a header if its checksum holds. Some old writers summed signed bytes, as other readers allow.
    pub(crate) fn new(block: Block) -> Result<Header, Error> {
        let header = Header { block };
        let stored = header.number("checksum", 148, 8)?;
        let (mut unsigned, mut signed) = (0i64, 0i64);
        for (offset, byte) in block.iter().enumerate() {
            let byte = if (148..156).contains(&offset) { b' ' } else { *byte };
            unsigned += i64::from(byte);
            signed += i64::from(byte.cast_signed());
        }
        if stored == unsigned || stored == signed { Ok(header) } else { Err(Error::Checksum) }
    }

    /// The type flag.
    pub(crate) fn kind(&self) -> u8 {
        self.block[156]
    }

    /// Whether this is GNU tar's own header of a sparse file.
    pub(super) fn is_sparse(&self) -> bool {
        self.kind() == b'S'
    }

    /// The name; ustar has its beginning in a field of its own.
    pub(crate) fn name(&self) -> Vec<u8> {
        let name = self.text(0, 100);
        match self.text(345, 155) {
            prefix if self.is_ustar() && !prefix.is_empty() => [prefix, b"/", name].concat(),
            _ => name.to_vec(),
        }
    }

    /// Target of a link.
    pub(crate) fn link(&self) -> Vec<u8> {
        self.text(157, 100).to_vec()
    }

    /// Permission bits, set-user-id and so on included; other bits are not for a header to say.
    pub(super) fn mode(&self) -> Result<u16, Error> {
        Ok((self.number("mode", 100, 8)? & 0o7777) as u16)
    }

    pub(super) fn uid(&self) -> Result<i64, Error> {
        self.number("uid", 108, 8)
    }

    pub(super) fn gid(&self) -> Result<i64, Error> {
        self.number("gid", 116, 8)
    }

    pub(crate) fn size(&self) -> Result<u64, Error> {
        u64::try_from(self.number("size", 124, 12)?).map_err(|_| Error::Number { field: "size" })
    }

    /// Whole seconds since 1970.
    pub(super) fn mtime(&self) -> Result<i64, Error> {
        self.number("mtime", 136, 12)
    }

    /// Major and minor number of a device.
    pub(super) fn device(&self) -> Result<(u32, u32), Error> {
        let number = |field, offset| u32::try_from(self.number(field, offset, 8)?).map_err(|_| Error::Number { field });
        Ok((number("devmajor", 329)?, number("devminor", 337)?))
    }

    /// Field of GNU tar's sparse header: size of the file when expanded.
    pub(super) fn real_size(&self) -> Result<u64, Error> {
        u64::try_from(self.number("realsize", 483, 12)?).map_err(|_| Error::Number { field: "realsize" })
    }

    /// The first pieces of GNU tar's sparse map, and whether more follow in a block of their own.
    pub(super) fn sparse_map(&self) -> (&[u8], bool) {
        (self.bytes(386, 96), self.block[482] != 0)
    }

    /// POSIX: the magic number is followed by a NUL. GNU's is not, and it uses the field of the prefix otherwise.
    fn is_ustar(&self) -> bool {
        self.bytes(257, 6) == b"ustar\0"
    }

    fn bytes(&self, offset: usize, length: usize) -> &[u8] {
        self.block.get(offset..offset + length).unwrap_or_default()
    }

    fn text(&self, offset: usize, length: usize) -> &[u8] {
        let bytes = self.bytes(offset, length);
        bytes.split(|byte| *byte == 0).next().unwrap_or_default()
    }

    fn number(&self, field: &'static str, offset: usize, length: usize) -> Result<i64, Error> {
        number::field(self.bytes(offset, length)).ok_or(Error::Number { field })
    }
}

//! Writing tar files: plain regular files of no particular owner and time, so that the same content gives the same
//! bytes. Read by everything that reads POSIX.1-1988 tar files, and GNU's numbers for what is larger than 8 GiB.

use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;

use super::{Error, Target};

/// The unit of everything in a tar file.
const BLOCK: usize = 512;
/// What ends a tar file: two blocks of zeros.
const END: [u8; 2 * BLOCK] = [0; 2 * BLOCK];
/// Longest name without an extension.
const MAX_NAME: usize = 100;
/// Largest size that eleven octal digits hold.
const MAX_OCTAL: u64 = (1 << 33) - 1;
/// Moved at once.
const BUFFER: usize = 256 << 10;

/// Writes one tar file.
pub(super) struct Writer<'a> {
    target: Target<'a>,
    position: u64,
}

impl<'a> Writer<'a> {
    pub(super) fn new(target: Target<'a>) -> Writer<'a> {
        Writer { target, position: 0 }
    }

    /// Whether files can be written whose size is not known beforehand.
    pub(super) fn can_go_back(&self) -> bool {
        matches!(self.target, Target::File(_))
    }

    /// Writes a file of `size` bytes.
    pub(super) fn file(&mut self, name: &str, size: u64, content: &mut dyn Read) -> Result<(), Error> {
        self.header(name, size).map_err(Error::Write)?;
        let copied = self.copy(name, content)?;
        if copied != size {
            let source = io::Error::other(format!("It has {copied} bytes, not the {size} announced"));
            return Err(Error::Read { name: name.to_owned(), source });
        }
        self.pad(size).map_err(Error::Write)
    }

    /// Writes a file of as many bytes as come, if [`Writer::can_go_back`]; returns how many.
    pub(super) fn file_of_any_size(&mut self, name: &str, content: &mut dyn Read) -> Result<u64, Error> {
        self.header(name, 0).map_err(Error::Write)?;
        let at = self.position.saturating_sub(BLOCK as u64);
        let size = self.copy(name, content)?;
        if let Target::File(file) = &self.target {
            file.write_all_at(&header(short(name), size, b'0'), at).map_err(Error::Write)?;
        }
        self.pad(size).map_err(Error::Write)?;
        Ok(size)
    }

    /// Writes the end.
    pub(super) fn finish(mut self) -> Result<(), Error> {
        self.write(&END).map_err(Error::Write)?;
        match self.target {
            Target::File(_) => Ok(()),
            Target::Stream(stream) => stream.flush().map_err(Error::Write),
        }
    }

    fn header(&mut self, name: &str, size: u64) -> io::Result<()> {
        if name.len() > MAX_NAME {
            // A pax record says its own length (POSIX.1-2001, pax, "pax Extended Header").
            let rest = format!(" path={name}\n");
            let digits = (rest.len() + 1..).find(|length| length - rest.len() >= length.to_string().len());
            let record = format!("{}{rest}", digits.unwrap_or_default());
            let length = record.len() as u64;
            self.write(&header(&format!("PaxHeaders/{}", short(name)), length, b'x'))?;
            self.write(record.as_bytes())?;
            self.pad(length)?;
        }
        self.write(&header(short(name), size, b'0'))
    }

    fn copy(&mut self, name: &str, content: &mut dyn Read) -> Result<u64, Error> {
        let mut buffer = vec![0; BUFFER];
        let mut copied: u64 = 0;
        loop {
            let read = match content.read(&mut buffer) {
                Ok(0) => return Ok(copied),
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(source) => return Err(Error::Read { name: name.to_owned(), source }),
            };
            self.write(buffer.get(..read).unwrap_or_default()).map_err(Error::Write)?;
            copied = copied.saturating_add(read as u64);
        }
    }

    fn pad(&mut self, size: u64) -> io::Result<()> {
        let over = usize::try_from(size % BLOCK as u64).unwrap_or_default();
        if over == 0 { Ok(()) } else { self.write(END.get(over..BLOCK).unwrap_or_default()) }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.target {
            Target::File(file) => file.write_all_at(bytes, self.position)?,
            Target::Stream(stream) => stream.write_all(bytes)?,
        }
        self.position = self.position.saturating_add(bytes.len() as u64);
        Ok(())
    }
}

/// As much of a name as a header holds; the rest is in the extension before it.
fn short(name: &str) -> &str {
    name.get(..MAX_NAME.min(name.len())).unwrap_or_default()
}

fn header(name: &str, size: u64, kind: u8) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    put(&mut block, 0, short(name).as_bytes());
    put(&mut block, 100, b"0000644\0");
    put(&mut block, 108, b"0000000\0");
    put(&mut block, 116, b"0000000\0");
    if size <= MAX_OCTAL {
        put(&mut block, 124, format!("{size:011o}\0").as_bytes());
    } else {
        put(&mut block, 124, &[0x80, 0, 0, 0]);
        put(&mut block, 128, &size.to_be_bytes());
    }
    put(&mut block, 136, b"00000000000\0");
    put(&mut block, 148, b"        ");
    put(&mut block, 156, &[kind]);
    put(&mut block, 257, b"ustar\x0000");
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    put(&mut block, 148, format!("{sum:06o}\0 ").as_bytes());
    block
}

fn put(block: &mut [u8; BLOCK], at: usize, bytes: &[u8]) {
    for (place, byte) in block.iter_mut().skip(at).zip(bytes) {
        *place = *byte;
    }
}

#[cfg(test)]
#[path = "tar_test.rs"]
mod tests;

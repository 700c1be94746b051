//! Where the files of a tar archive are: the headers are read once, the content stays where it is.
//!
//! Read as POSIX.1-2001 pax and GNU tar write it. Names are only ever looked up in the table made here; none of them
//! reaches the file system.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use super::Error;

/// The unit of everything in a tar file.
const BLOCK: u64 = 512;
/// Longest extension record (long names, pax); a path has 4 KiB at most.
const MAX_EXTENSION: u64 = 64 << 10;
/// Longest name kept: those in image archives have about a hundred bytes, others are not looked for.
const MAX_NAME: usize = 1024;
/// Most entries: an archive of a hundred images has a few thousand.
const MAX_ENTRIES: usize = 1 << 16;
/// How many links may lead from one to the next.
const MAX_LINKS: u32 = 8;

enum Entry {
    File(Member),
    /// Name in the archive that it stands for.
    Link(String),
}

/// Where the content of a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Member {
    pub(super) offset: u64,
    pub(super) size: u64,
}

/// All files of an archive by their names.
pub(super) struct TarIndex {
    entries: HashMap<String, Entry>,
}

/// What extension records say of the next entry.
#[derive(Default)]
struct Extensions {
    name: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
}

impl TarIndex {
    /// Reads the headers of `file`.
    pub(super) fn read(file: &File) -> Result<TarIndex, Error> {
        let fail = |source| Error::Read { name: "a header".into(), source };
        let length = file.metadata().map_err(fail)?.len();
        let mut entries = HashMap::new();
        let mut extensions = Extensions::default();
        let (mut offset, mut count) = (0u64, 0usize);
        loop {
            let mut header = [0; BLOCK as usize];
            match file.read_exact_at(&mut header, offset) {
                // Some writers leave the end mark out.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof && count > 0 => break,
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Err(Error::NotAnArchive),
                other => other.map_err(fail)?,
            }
            if header.iter().all(|byte| *byte == 0) && count > 0 {
                break;
            }
            let damaged = || Error::Damaged(format!("the header at byte {offset} is not one of a tar file"));
            if !checksum_fits(&header) {
                return Err(if count == 0 { Error::NotAnArchive } else { damaged() });
            }
            count += 1;
            if count > MAX_ENTRIES {
                return Err(Error::Damaged(format!("it has more than {MAX_ENTRIES} entries")));
            }
            let kind = field(&header, 156, 1).first().copied().unwrap_or_default();
            let stated = number(field(&header, 124, 12)).ok_or_else(damaged)?;
            let extension = matches!(kind, b'L' | b'K' | b'x' | b'g');
            let size = if extension { stated } else { extensions.size.unwrap_or(stated) };
            // Links and folders have no content, whatever they say.
            let size = if matches!(kind, b'1'..=b'6') { 0 } else { size };
            let content = offset.saturating_add(BLOCK);
            let end = content.checked_add(size).filter(|end| *end <= length);
            let end = end.ok_or_else(|| Error::Damaged("it is cut off in the middle of a file".into()))?;
            if extension {
                if size > MAX_EXTENSION {
                    return Err(Error::Damaged(format!("an extended header of {size} bytes")));
                }
                let mut data = vec![0; usize::try_from(size).unwrap_or_default()];
                file.read_exact_at(&mut data, content).map_err(fail)?;
                match kind {
                    b'L' => extensions.name = Some(until_zero(&data).to_vec()),
                    b'K' => extensions.link = Some(until_zero(&data).to_vec()),
                    b'x' => extensions.read_pax(&data).ok_or_else(damaged)?,
                    _ => {}
                }
            } else {
                let Extensions { name, link, .. } = std::mem::take(&mut extensions);
                let name = name.unwrap_or_else(|| header_name(&header));
                let link = link.unwrap_or_else(|| until_zero(field(&header, 157, 100)).to_vec());
                if let Some(name) = resolve("", &name) {
                    let folder = name.rsplit_once('/').map_or("", |(folder, _)| folder);
                    let entry = match kind {
                        0 | b'0' | b'7' => Some(Entry::File(Member { offset: content, size })),
                        b'1' => resolve("", &link).map(Entry::Link),
                        b'2' if !link.starts_with(b"/") => resolve(folder, &link).map(Entry::Link),
                        _ => None,
                    };
                    entry.and_then(|entry| entries.insert(name, entry));
                }
            }
            // The end is within the file, so rounding up cannot overflow.
            offset = end.next_multiple_of(BLOCK);
        }
        Ok(TarIndex { entries })
    }

    /// The file of this name, by way of links if need be.
    pub(super) fn find(&self, name: &str) -> Option<Member> {
        let mut name = resolve("", name.as_bytes())?;
        for _ in 0..=MAX_LINKS {
            match self.entries.get(&name)? {
                Entry::File(member) => return Some(*member),
                Entry::Link(target) => name.clone_from(target),
            }
        }
        None
    }
}

impl Extensions {
    /// Records are `LENGTH KEY=VALUE\n`, the length that of the whole record.
    fn read_pax(&mut self, mut data: &[u8]) -> Option<()> {
        while !data.is_empty() {
            let space = data.iter().position(|byte| *byte == b' ')?;
            let length: usize = std::str::from_utf8(data.get(..space)?).ok()?.parse().ok()?;
            let record = data.get(space.checked_add(1)?..length)?.strip_suffix(b"\n")?;
            data = data.get(length..)?;
            let equals = record.iter().position(|byte| *byte == b'=')?;
            let (key, value) = (record.get(..equals)?, record.get(equals.checked_add(1)?..)?);
            match key {
                b"path" => self.name = Some(value.to_vec()),
                b"linkpath" => self.link = Some(value.to_vec()),
                b"size" => self.size = Some(std::str::from_utf8(value).ok()?.parse().ok()?),
                _ => {}
            }
        }
        Some(())
    }
}

/// The plain name of `path` seen from `folder`, without `.`, `..` and empty parts; `None` if it leaves the archive, is
/// too long or is not text.
fn resolve(folder: &str, path: &[u8]) -> Option<String> {
    let path = std::str::from_utf8(path).ok()?;
    if path.len() > MAX_NAME {
        return None;
    }
    let mut parts: Vec<&str> = Vec::new();
    for part in folder.split('/').chain(path.split('/')) {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    let name = parts.join("/");
    (name.len() <= MAX_NAME).then_some(name)
}

fn field(header: &[u8], start: usize, length: usize) -> &[u8] {
    header.get(start..start.saturating_add(length)).unwrap_or_default()
}

fn until_zero(bytes: &[u8]) -> &[u8] {
    bytes.split(|byte| *byte == 0).next().unwrap_or_default()
}

fn header_name(header: &[u8]) -> Vec<u8> {
    let name = until_zero(field(header, 0, 100));
    let prefix = until_zero(field(header, 345, 155));
    // GNU's old magic has other things where POSIX has the prefix.
    if field(header, 257, 6) != b"ustar\0" || prefix.is_empty() {
        return name.to_vec();
    }
    [prefix, b"/", name].concat()
}

/// Octal, or GNU's base 256 for what is too large for it.
fn number(bytes: &[u8]) -> Option<u64> {
    match bytes.split_first() {
        Some((0x80, rest)) => rest.iter().try_fold(0u64, |sum, byte| sum.checked_mul(256)?.checked_add((*byte).into())),
        _ => {
            let digits = until_zero(bytes).trim_ascii();
            let digit = |sum: u64, byte: &u8| sum.checked_mul(8)?.checked_add(char::from(*byte).to_digit(8)?.into());
            digits.iter().try_fold(0u64, digit)
        }
    }
}

/// The sum of all bytes, those of the checksum itself taken as spaces.
fn checksum_fits(header: &[u8]) -> bool {
    let byte = |(at, byte): (usize, &u8)| if (148..156).contains(&at) { 32 } else { u64::from(*byte) };
    let sum: u64 = header.iter().enumerate().map(byte).sum();
    number(field(header, 148, 8)) == Some(sum)
}

#[cfg(test)]
#[path = "tar_index_test.rs"]
mod tests;

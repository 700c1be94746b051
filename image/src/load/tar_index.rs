//! Where the files of a tar archive are: the headers are read once, the content stays where it is.
//!
//! Read as POSIX.1-2001 pax and GNU tar write it. Names are only ever looked up in the table made here; none of them
//! reaches the file system.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use super::Error;
use crate::layer::tar::{Header, Records};

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
    pax: Records,
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
            let header = Header::new(header).map_err(|_| if count == 0 { Error::NotAnArchive } else { damaged() })?;
            count += 1;
            if count > MAX_ENTRIES {
                return Err(Error::Damaged(format!("it has more than {MAX_ENTRIES} entries")));
            }
            let kind = header.kind();
            let stated = header.size().map_err(|_| damaged())?;
            let extension = matches!(kind, b'L' | b'K' | b'x' | b'g');
            let overridden = extensions.pax.size().map_err(|_| damaged())?.filter(|_| !extension);
            let size = overridden.unwrap_or(stated);
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
                    b'x' => {
                        extensions.pax = Records::read(&data).map_err(|_| damaged())?;
                        extensions.pax.size().map_err(|_| damaged())?;
                    }
                    _ => {}
                }
            } else {
                let Extensions { name, link, pax } = std::mem::take(&mut extensions);
                let name = pax.path().map(<[u8]>::to_vec).or(name).unwrap_or_else(|| header.name());
                let link = pax.link().map(<[u8]>::to_vec).or(link).unwrap_or_else(|| header.link());
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

fn until_zero(bytes: &[u8]) -> &[u8] {
    bytes.split(|byte| *byte == 0).next().unwrap_or_default()
}

#[cfg(test)]
#[path = "tar_index_test.rs"]
mod tests;

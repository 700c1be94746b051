//! The image's `/etc/passwd` and `/etc/group` (passwd(5), group(5)): read with a limit, parsed with forgiveness.
//!
//! A line that does not parse is passed over, as C libraries do.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;

/// Longest file read, in bytes: some hundred thousand accounts, and no more memory than a small guest can spare.
const LONGEST: u64 = 16 << 20;

/// Why a file cannot be read; one that is absent counts as empty.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file system refused.
    #[error("Read {0}")]
    Read(&'static str, #[source] io::Error),
    /// A device or a pipe might never end.
    #[error("{0} is not a regular file")]
    NotAFile(&'static str),
    /// See [`LONGEST`].
    #[error("{0} is longer than {LONGEST} bytes")]
    TooLong(&'static str),
}

/// An account, as far as it matters here.
#[derive(Debug, PartialEq, Eq)]
pub struct Account<'a> {
    /// Its name.
    pub name: &'a [u8],
    /// Its number.
    pub uid: u32,
    /// Its first group.
    pub gid: u32,
    /// Its home.
    pub home: &'a [u8],
}

/// A group, as far as it matters here.
#[derive(Debug, PartialEq, Eq)]
pub struct Group<'a> {
    /// Its name.
    pub name: &'a [u8],
    /// Its number.
    pub gid: u32,
    members: &'a [u8],
}

impl Group<'_> {
    /// Whether the account called `name` is listed as a member.
    pub fn has_member(&self, name: &[u8]) -> bool {
        self.members.split(|&byte| byte == b',').any(|member| member.trim_ascii() == name)
    }
}

/// The content of `path`.
pub fn read(path: &'static str) -> Result<Vec<u8>, Error> {
    // Without O_NONBLOCK, opening a pipe that nobody writes to would wait for ever.
    let mut file = match File::options().read(true).custom_flags(libc::O_NONBLOCK).open(path) {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(Vec::new());
        }
        other => other.map_err(|error| Error::Read(path, error))?,
    };
    let status = file.metadata().map_err(|error| Error::Read(path, error))?;
    if !status.is_file() {
        return Err(Error::NotAFile(path));
    }
    if status.len() > LONGEST {
        return Err(Error::TooLong(path));
    }
    let mut content = Vec::with_capacity(usize::try_from(status.len()).unwrap_or(0));
    (&mut file).take(LONGEST).read_to_end(&mut content).map_err(|error| Error::Read(path, error))?;
    Ok(content)
}

/// The accounts in a `passwd` file.
pub fn accounts(passwd: &[u8]) -> impl Iterator<Item = Account<'_>> {
    lines(passwd).filter_map(|line| {
        let mut fields = line.split(|&byte| byte == b':');
        let name = fields.next()?;
        let uid = number(fields.nth(1)?)?;
        let gid = number(fields.next()?)?;
        Some(Account { name, uid, gid, home: fields.nth(1).unwrap_or_default() })
    })
}

/// The groups in a `group` file.
pub fn groups(group: &[u8]) -> impl Iterator<Item = Group<'_>> {
    lines(group).filter_map(|line| {
        let mut fields = line.split(|&byte| byte == b':');
        let name = fields.next()?;
        let gid = number(fields.nth(1)?)?;
        Some(Group { name, gid, members: fields.next().unwrap_or_default() })
    })
}

/// A user or group number; the largest of 32 bits means "no change" to Linux (setresuid(2)) and so names nobody.
pub fn number(text: &[u8]) -> Option<u32> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok().filter(|&number| number != u32::MAX)
}

/// The lines that name something: neither empty nor a comment.
fn lines(content: &[u8]) -> impl Iterator<Item = &[u8]> {
    let lines = content.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii);
    lines.filter(|line| !matches!(line.first(), None | Some(b'#' | b':')))
}

#[cfg(test)]
#[path = "accounts_test.rs"]
mod tests;

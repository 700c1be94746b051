//! Names of tar entries: cleaned, and checked for what no path in a layer can be.

/// Longest name of one file in bytes (Linux, `NAME_MAX`; EROFS has the same).
const MAX_NAME: usize = 255;
/// Longest path in bytes (Linux, `PATH_MAX` without its NUL).
const MAX_PATH: usize = 4095;
/// How much of a name is worth printing.
const MAX_PRINTED: usize = 256;

/// A name that no entry of a layer can have.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Error {
    /// `..` somewhere in it.
    #[error("The name leads through \"..\", which may lead out of the layer")]
    Parent,
    /// A NUL byte.
    #[error("The name contains a NUL byte")]
    Nul,
    /// One of its parts is too long.
    #[error("A part of the name has {0} bytes, Linux allows {MAX_NAME}")]
    Name(usize),
    /// It is too long.
    #[error("The name has {0} bytes, Linux allows {MAX_PATH}")]
    Path(usize),
}

/// Splits a name into its parts. A leading `/`, `.` and empty parts and a trailing `/` mean nothing; no parts at all
/// are the layer's root.
pub(super) fn clean(name: &[u8]) -> Result<Vec<&[u8]>, Error> {
    if name.len() > MAX_PATH {
        return Err(Error::Path(name.len()));
    }
    if name.contains(&0) {
        return Err(Error::Nul);
    }
    parts(name)
        .map(|part| match part {
            b".." => Err(Error::Parent),
            _ => check(part).map(|()| part),
        })
        .collect()
}

/// Whether one part of a path can be the name of a file.
pub(super) fn check(part: &[u8]) -> Result<(), Error> {
    if part.len() > MAX_NAME { Err(Error::Name(part.len())) } else { Ok(()) }
}

/// The parts of a path that mean something, unchecked.
pub(super) fn parts(path: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    path.split(|byte| *byte == b'/').filter(|part| !part.is_empty() && *part != b".")
}

/// A name for a message, whatever its bytes are.
pub(super) fn printable(name: &[u8]) -> String {
    let shown = name.get(..MAX_PRINTED).unwrap_or(name);
    let mut text = format!("\"{}\"", shown.escape_ascii());
    if shown.len() < name.len() {
        text.push_str("...");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slashes_and_dots_mean_nothing() {
        assert_eq!(clean(b"/./a//b/./c/"), Ok(vec![&b"a"[..], b"b", b"c"]));
        assert_eq!(clean(b"./"), Ok(vec![]));
        assert_eq!(clean(b""), Ok(vec![]));
        assert_eq!(clean(b"..a/.b/..."), Ok(vec![&b"..a"[..], b".b", b"..."]));
    }

    #[test]
    fn what_leads_out_or_cannot_be_is_refused() {
        assert_eq!(clean(b"a/../b"), Err(Error::Parent));
        assert_eq!(clean(b"/.."), Err(Error::Parent));
        assert_eq!(clean(b"a\0b"), Err(Error::Nul));
        assert_eq!(clean(&[b'a'; 256]), Err(Error::Name(256)));
        assert_eq!(clean(&[b'a'; 255]), Ok(vec![&[b'a'; 255][..]]));
        assert_eq!(clean(&b"a/".repeat(2048)), Err(Error::Path(4096)));
    }

    #[test]
    fn any_bytes_can_be_printed() {
        assert_eq!(printable(b"a\xff\n"), r#""a\xff\n""#);
        assert_eq!(printable(&[b'a'; 1000]).len(), MAX_PRINTED + 5);
    }
}

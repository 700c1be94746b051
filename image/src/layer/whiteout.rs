//! Whiteouts: names by which a layer hides files of lower layers (OCI image specification, layer.md, "Whiteouts").
//!
//! `.wh.NAME` hides NAME and becomes what overlayfs takes for it, a character device 0:0 called NAME. `.wh..wh..opq`
//! hides all that lower layers have in its folder, wherever in the tar it stands, and becomes the extended attribute
//! `trusted.overlay.opaque` of that folder. All other `.wh..wh.*` are AUFS's own records and mean nothing.

const PREFIX: &[u8] = b".wh.";
const RECORD_PREFIX: &[u8] = b".wh..wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";

/// A name that begins as a whiteout does and is none.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Error {
    /// `.wh.`, `.wh..`, `.wh...`.
    #[error("A whiteout must name what it hides")]
    Nameless,
    /// `.wh.a/b`.
    #[error("A whiteout is no folder: nothing can be in it")]
    Inside,
}

/// What an entry of a tar is, by its name.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Meaning<'a> {
    /// A file, folder and so on.
    Entry,
    /// In this folder, this name of lower layers is hidden.
    Whiteout(&'a [&'a [u8]], &'a [u8]),
    /// In this folder, all of lower layers is hidden.
    Opaque(&'a [&'a [u8]]),
    /// Nothing.
    Ignored,
}

/// What the entry with this cleaned name is. Its type does not matter: AUFS made whiteouts as hard links.
pub(super) fn meaning<'a>(path: &'a [&'a [u8]]) -> Result<Meaning<'a>, Error> {
    let Some((name, folder)) = path.split_last() else {
        return Ok(Meaning::Entry);
    };
    if let Some(inside) = folder.iter().find(|part| part.starts_with(PREFIX)) {
        return if inside.starts_with(RECORD_PREFIX) { Ok(Meaning::Ignored) } else { Err(Error::Inside) };
    }
    if *name == OPAQUE {
        return Ok(Meaning::Opaque(folder));
    }
    if name.starts_with(RECORD_PREFIX) {
        return Ok(Meaning::Ignored);
    }
    match name.strip_prefix(PREFIX) {
        None => Ok(Meaning::Entry),
        Some(b"" | b"." | b"..") => Err(Error::Nameless),
        Some(hidden) => Ok(Meaning::Whiteout(folder, hidden)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check<const N: usize>(path: [&'static str; N], expected: &Result<Meaning<'_>, Error>) {
        let path = path.map(str::as_bytes);
        assert_eq!(&meaning(&path), expected);
    }

    #[test]
    fn each_name_means_what_the_specification_says() {
        check([], &Ok(Meaning::Entry));
        check(["a", "b.wh.c"], &Ok(Meaning::Entry));
        check(["a", ".wh.b"], &Ok(Meaning::Whiteout(&[b"a"], b"b")));
        check([".wh.b"], &Ok(Meaning::Whiteout(&[], b"b")));
        check([".wh..b"], &Ok(Meaning::Whiteout(&[], b".b")));
        check(["a", ".wh..wh..opq"], &Ok(Meaning::Opaque(&[b"a"])));
        check([".wh..wh.aufs"], &Ok(Meaning::Ignored));
        check([".wh..wh.plnk", "12.34"], &Ok(Meaning::Ignored));
    }

    #[test]
    fn a_whiteout_of_nothing_or_of_the_folder_itself_is_refused() {
        check(["a", ".wh."], &Err(Error::Nameless));
        check(["a", ".wh.."], &Err(Error::Nameless));
        check(["a", ".wh..."], &Err(Error::Nameless));
        check(["a", ".wh.b", "c"], &Err(Error::Inside));
    }
}

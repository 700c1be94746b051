//! Extended attributes: which of a tar's are taken into a layer, under which name, and how EROFS numbers their prefixes.

use std::collections::BTreeMap;

/// Longest name (Linux, `XATTR_NAME_MAX`).
const MAX_NAME: usize = 255;
/// Longest value EROFS can hold: its length field has 16 bits. Linux itself allows one byte more.
const MAX_VALUE: usize = 65_535;
/// Most that all attributes of a file take: EROFS counts them in units of 4 bytes with 16 bits. 256 bytes are kept
/// free for the marks of overlayfs.
const MAX_TOTAL: usize = 4 * 65_535 - 256;
/// Size of what EROFS puts in front of a file's attributes, and in front of each one (erofs_fs.h).
pub(super) const HEADER: usize = 12;
const ENTRY_HEADER: usize = 4;
/// What overlayfs keeps its own records under. In an image they are data, not records, and must be escaped
/// (Documentation/filesystems/overlayfs.rst, "Nesting overlayfs mounts").
const OVERLAY: &[u8] = b"trusted.overlay.";
/// The record by which overlayfs knows an opaque folder.
const OPAQUE: &[u8] = b"trusted.overlay.opaque";
/// The record by which it knows that a folder was copied from a lower layer.
const ORIGIN: &[u8] = b"trusted.overlay.origin";

/// Prefixes as EROFS numbers them (erofs_fs.h, "Name indexes"). The two of access control lists are whole names.
const PREFIXES: [(&[u8], u8); 5] = [
    (b"user.", 1),
    (b"system.posix_acl_access", 2),
    (b"system.posix_acl_default", 3),
    (b"trusted.", 4),
    (b"security.", 6),
];

/// Extended attributes by their full names.
pub(super) type Xattrs = BTreeMap<Box<[u8]>, Box<[u8]>>;

/// An attribute that Linux or EROFS cannot hold.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Error {
    /// Too long a name.
    #[error("The name of an extended attribute has {0} bytes, Linux allows {MAX_NAME}")]
    Name(usize),
    /// Too long a value.
    #[error("Extended attribute {name} has {length} bytes, EROFS can hold {MAX_VALUE}")]
    Value {
        /// Name of the attribute.
        name: String,
        /// Its length in bytes.
        length: usize,
    },
    /// Too long all together.
    #[error("The extended attributes take {0} bytes, EROFS can hold {MAX_TOTAL}")]
    Total(usize),
}

/// Takes over what a tar entry has. Left out are attributes that Linux has no place for (those of other systems) and
/// `security.selinux`, which belongs to the machine that made the image.
pub(super) fn import(from: BTreeMap<Vec<u8>, Vec<u8>>) -> Result<Xattrs, Error> {
    let mut xattrs = Xattrs::new();
    for (name, value) in from {
        if name == b"security.selinux" || index(&name).is_none() {
            continue;
        }
        let name = match name.strip_prefix(OVERLAY) {
            Some(rest) => [OVERLAY, b"overlay.", rest].concat(),
            None => name,
        };
        if name.len() > MAX_NAME {
            return Err(Error::Name(name.len()));
        }
        if value.len() > MAX_VALUE {
            return Err(Error::Value { name: super::path::printable(&name), length: value.len() });
        }
        xattrs.insert(name.into(), value.into());
    }
    match size(&xattrs) {
        total if total > MAX_TOTAL => Err(Error::Total(total)),
        _ => Ok(xattrs),
    }
}

/// How many bytes attributes take behind an inode.
pub(super) fn size(xattrs: &Xattrs) -> usize {
    if xattrs.is_empty() {
        return 0;
    }
    let mut sum = HEADER;
    for (name, value) in xattrs {
        let name = index(name).map_or(0, |(_, rest)| rest.len());
        sum += (ENTRY_HEADER + name + value.len()).next_multiple_of(4);
    }
    sum
}

/// Writes attributes as EROFS has them behind an inode.
pub(super) fn encode(xattrs: &Xattrs) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(size(xattrs));
    if xattrs.is_empty() {
        return bytes;
    }
    // No filter of names, no shared attributes.
    bytes.resize(HEADER, 0);
    for (name, value) in xattrs {
        let Some((index, rest)) = index(name) else {
            continue;
        };
        // Both fit: `import` has seen to it.
        bytes.extend([rest.len() as u8, index]);
        bytes.extend((value.len() as u16).to_le_bytes());
        bytes.extend_from_slice(rest);
        bytes.extend_from_slice(value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
    }
    bytes
}

/// Reads what `encode` wrote. `None` if it is something else.
pub(super) fn decode(bytes: &[u8]) -> Option<Xattrs> {
    let mut xattrs = Xattrs::new();
    let Some(mut left) = bytes.get(HEADER..) else {
        return bytes.is_empty().then_some(xattrs);
    };
    while let Some((head, rest)) = left.split_first_chunk::<ENTRY_HEADER>() {
        let [name_length, prefix, low, high] = *head;
        let (name, value) = rest.split_at_checked(usize::from(name_length))?;
        let value = value.get(..usize::from(u16::from_le_bytes([low, high])))?;
        let (prefix, _) = PREFIXES.iter().find(|(_, index)| *index == prefix)?;
        let full = [prefix, name].concat();
        if full.len() > MAX_NAME || full.contains(&0) || index(&full).is_none() {
            return None;
        }
        xattrs.insert(full.into(), value.into());
        left = left.get((ENTRY_HEADER + name.len() + value.len()).next_multiple_of(4)..)?;
    }
    // Every name once, nothing left over: the same attributes have the same bytes.
    (encode(&xattrs) == bytes).then_some(xattrs)
}

/// Leaves out what overlayfs keeps its own records under; escaped ones are data.
pub(super) fn without_records(mut xattrs: Xattrs) -> Xattrs {
    xattrs.retain(|name, _| !name.starts_with(OVERLAY) || name.starts_with(b"trusted.overlay.overlay."));
    xattrs
}

/// Whether a folder with these attributes is opaque.
pub(super) fn is_opaque(xattrs: &Xattrs) -> bool {
    xattrs.get(OPAQUE).is_some_and(|value| **value == *b"y")
}

/// Marks the folder that has these attributes as opaque.
pub(super) fn set_opaque(xattrs: &mut Xattrs) {
    xattrs.insert(OPAQUE.into(), (*b"y").into());
}

/// Marks the folder that has these attributes as one with whiteouts in it. Overlayfs looks for whiteouts only where
/// it merges folders or finds this mark; in a folder that no lower layer has it would list them as files. Empty means
/// that the origin is not known.
pub(super) fn set_origin(xattrs: &mut Xattrs) {
    xattrs.insert(ORIGIN.into(), Box::default());
}

/// EROFS's number for the prefix of an attribute, and the rest of its name; `None` if Linux has no such attribute.
pub(super) fn index(name: &[u8]) -> Option<(u8, &[u8])> {
    PREFIXES.iter().find_map(|(prefix, index)| {
        let rest = name.strip_prefix(*prefix)?;
        (prefix.ends_with(b".") != rest.is_empty()).then_some((*index, rest))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(from: &[&str]) -> Vec<String> {
        let from = from.iter().map(|name| (name.as_bytes().to_vec(), b"v".to_vec())).collect();
        import(from).unwrap().keys().map(|name| String::from_utf8(name.to_vec()).unwrap()).collect()
    }

    #[test]
    fn labels_and_attributes_of_other_systems_stay_out() {
        assert_eq!(
            names(&["security.selinux", "com.apple.quarantine", "system.nfs4_acl", "user.", "user.a"]),
            ["user.a"]
        );
    }

    #[test]
    fn records_of_overlayfs_become_data() {
        assert_eq!(
            names(&["trusted.overlay.opaque", "trusted.other"]),
            ["trusted.other", "trusted.overlay.overlay.opaque"]
        );
    }

    #[test]
    fn prefixes_have_their_numbers() {
        assert_eq!(index(b"security.capability"), Some((6, &b"capability"[..])));
        assert_eq!(index(b"system.posix_acl_default"), Some((3, &b""[..])));
        assert_eq!(index(b"system.posix_acl_access.x"), None);
    }

    #[test]
    fn what_cannot_be_held_is_refused() {
        let long = [&b"user."[..], &[b'a'; 251]].concat();
        assert_eq!(import([(long, vec![])].into()), Err(Error::Name(256)));
        let value = import([(b"user.a".to_vec(), vec![0; 65_536])].into());
        assert_eq!(value, Err(Error::Value { name: "\"user.a\"".into(), length: 65_536 }));
        let many = (b'a'..=b'e').map(|last| (vec![b'u', b's', b'e', b'r', b'.', last], vec![0; 60_000])).collect();
        assert_eq!(import(many), Err(Error::Total(12 + 5 * (4 + 1 + 60_000 + 3))));
    }

    #[test]
    fn the_size_is_that_of_what_is_encoded() {
        let from = [("user.a", 1), ("system.posix_acl_access", 28), ("security.capability", 20), ("trusted.", 0)];
        let from = from.iter().map(|(name, length)| (name.as_bytes().to_vec(), vec![7; *length])).collect();
        let xattrs = import(from).unwrap();
        assert_eq!(encode(&xattrs).len(), size(&xattrs));
        assert_eq!(decode(&encode(&xattrs)), Some(xattrs.clone()));
        assert_eq!(size(&xattrs), 12 + 8 + 32 + 36);
        assert_eq!(size(&Xattrs::new()), 0);
        assert_eq!(decode(&[]), Some(Xattrs::new()));
    }

    #[test]
    fn what_is_not_as_encoded_is_refused() {
        let whole = encode(&import([(b"user.a".to_vec(), b"value".to_vec())].into()).unwrap());
        for cut in 1..whole.len() {
            assert_eq!(decode(&whole[..cut]), None, "cut to {cut}");
        }
        for (at, byte) in [(0, 1), (HEADER, 200), (HEADER + 1, 9), (HEADER + 2, 200), (whole.len() - 1, 1)] {
            let mut damaged = whole.clone();
            damaged[at] = byte;
            assert_eq!(decode(&damaged), None, "byte {at}");
        }
    }

    #[test]
    fn records_of_overlayfs_are_left_out_and_their_escaped_form_is_not() {
        let from = ["trusted.overlay.opaque", "trusted.overlay.overlay.opaque", "user.a"];
        let from: Xattrs = from.iter().map(|name| (name.as_bytes().into(), (*b"y").into())).collect();
        assert!(is_opaque(&from));
        let names: Vec<Box<[u8]>> = without_records(from).into_keys().collect();
        assert_eq!(names, [(*b"trusted.overlay.overlay.opaque").into(), Box::<[u8]>::from(*b"user.a")]);
    }
}

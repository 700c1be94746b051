//! Makes tar streams for tests: sound ones, and with a little force any other kind.

#![allow(dead_code, missing_docs, unreachable_pub, clippy::unwrap_used)]

/// One entry to be; the fields say what goes into the header.
#[derive(Clone)]
pub struct Entry {
    pub name: Vec<u8>,
    pub kind: u8,
    pub mode: u32,
    pub uid: u64,
    pub gid: u64,
    pub mtime: i64,
    pub link: Vec<u8>,
    pub device: (u32, u32),
    pub data: Vec<u8>,
    /// What the header says in place of the size of the data.
    pub size_field: Option<[u8; 12]>,
    pub pax: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Entry {
    pub fn new(kind: u8, name: impl AsRef<[u8]>) -> Entry {
        Entry {
            name: name.as_ref().to_vec(),
            kind,
            mode: 0o644,
            uid: 0,
            gid: 0,
            mtime: 1_700_000_000,
            link: Vec::new(),
            device: (0, 0),
            data: Vec::new(),
            size_field: None,
            pax: Vec::new(),
        }
    }

    pub fn file(name: impl AsRef<[u8]>, data: impl AsRef<[u8]>) -> Entry {
        Entry { data: data.as_ref().to_vec(), ..Entry::new(b'0', name) }
    }

    pub fn directory(name: impl AsRef<[u8]>) -> Entry {
        Entry { mode: 0o755, ..Entry::new(b'5', name) }
    }

    pub fn symlink(name: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Entry {
        Entry { mode: 0o777, link: target.as_ref().to_vec(), ..Entry::new(b'2', name) }
    }

    pub fn link(name: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Entry {
        Entry { link: target.as_ref().to_vec(), ..Entry::new(b'1', name) }
    }

    pub fn device(kind: u8, name: impl AsRef<[u8]>, major: u32, minor: u32) -> Entry {
        Entry { device: (major, minor), ..Entry::new(kind, name) }
    }

    pub fn mode(self, mode: u32) -> Entry {
        Entry { mode, ..self }
    }

    pub fn owner(self, uid: u64, gid: u64) -> Entry {
        Entry { uid, gid, ..self }
    }

    pub fn mtime(self, mtime: i64) -> Entry {
        Entry { mtime, ..self }
    }

    pub fn pax(mut self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Entry {
        self.pax.push((key.as_ref().to_vec(), value.as_ref().to_vec()));
        self
    }

    pub fn xattr(self, name: &str, value: impl AsRef<[u8]>) -> Entry {
        self.pax(format!("SCHILY.xattr.{name}"), value)
    }

    pub fn size_field(self, field: [u8; 12]) -> Entry {
        Entry { size_field: Some(field), ..self }
    }

    /// The blocks of the entry, extended headers first. Names that do not fit go into a pax record.
    pub fn blocks(&self) -> Vec<u8> {
        let mut records = self.pax.clone();
        for (key, value) in [("path", &self.name), ("linkpath", &self.link)] {
            if value.len() > 100 {
                records.push((key.into(), value.clone()));
            }
        }
        let mut blocks = Vec::new();
        if !records.is_empty() {
            let data = records.iter().flat_map(|(key, value)| record(key, value)).collect();
            blocks.extend(Entry { data, ..Entry::new(b'x', "pax") }.blocks());
        }
        blocks.extend(self.header());
        blocks.extend(&self.data);
        blocks.resize(blocks.len().next_multiple_of(512), 0);
        blocks
    }

    pub fn header(&self) -> [u8; 512] {
        let mut block = [0; 512];
        let mut put = |offset: usize, value: &[u8]| block[offset..offset + value.len()].copy_from_slice(value);
        put(0, &self.name[..self.name.len().min(100)]);
        put(100, format!("{:07o}\0", self.mode).as_bytes());
        put(108, &number::<8>(self.uid as i128));
        put(116, &number::<8>(self.gid as i128));
        put(124, &self.size_field.unwrap_or_else(|| number(self.data.len() as i128)));
        put(136, &number::<12>(self.mtime as i128));
        put(156, &[self.kind]);
        put(157, &self.link[..self.link.len().min(100)]);
        put(257, b"ustar\x0000");
        put(329, &number::<8>(self.device.0 as i128));
        put(337, &number::<8>(self.device.1 as i128));
        checksum(&mut block);
        block
    }
}

/// Octal if it fits, otherwise binary as GNU tar writes it.
fn number<const N: usize>(value: i128) -> [u8; N] {
    let octal = format!("{value:0width$o}\0", width = N - 1);
    if value >= 0 && octal.len() == N {
        return octal.as_bytes().try_into().unwrap();
    }
    let bytes = value.to_be_bytes();
    let mut field: [u8; N] = bytes[bytes.len() - N..].try_into().unwrap();
    field[0] |= 0x80;
    field
}

/// Sets the checksum of a header.
pub fn checksum(block: &mut [u8; 512]) {
    block[148..156].fill(b' ');
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

/// One pax record.
pub fn record(key: &[u8], value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let mut length = rest;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    [length.to_string().as_bytes(), b" ", key, b"=", value, b"\n"].concat()
}

/// A whole archive.
pub fn tar(entries: impl IntoIterator<Item = Entry>) -> Vec<u8> {
    let mut bytes: Vec<u8> = entries.into_iter().flat_map(|entry| entry.blocks()).collect();
    bytes.resize(bytes.len() + 1024, 0);
    bytes
}

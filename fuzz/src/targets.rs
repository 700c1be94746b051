//! The targets: plain functions of bytes that panic when something is wrong, and the bytes to begin with.
//!
//! libFuzzer runs them (`fuzz_targets/`), and so does a test of the image library with a mutator of its own.

#[path = "../../image/tests/tar_builder/mod.rs"]
mod tar_builder;

use std::fs::File;
use std::io::{self, Cursor, Read};
use std::os::unix::fs::FileExt;

use coracle_image::layer::{Base, FileKind, Limits, Reader, Stack, Summary, decompress, verify, write};
use coracle_image::manifest::{Document, ImageConfig};
use coracle_image::{Digest, Platform, Reference};
use tar_builder::{Entry, checksum, record, tar as archive};

/// Small, so that inputs which reach them are found.
const LIMITS: Limits = Limits { bytes: 4 << 20, entries: 2000, metadata: 1 << 20 };
/// Block size of EROFS images.
const BLOCK: usize = 4096;

/// A target, its name, and the inputs to begin with.
pub struct Target {
    /// As in `fuzz_targets/`.
    pub name: &'static str,
    /// Runs it.
    pub run: fn(&[u8]),
    /// Makes inputs that go deep.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// All of them.
pub const ALL: [Target; 6] = [
    Target { name: "name", run: name, seeds: names },
    Target { name: "manifest", run: manifest, seeds: manifests },
    Target { name: "tar", run: tar, seeds: tars },
    Target { name: "compression", run: compression, seeds: compressed },
    Target { name: "tree", run: tree, seeds: trees },
    Target { name: "erofs", run: erofs, seeds: images },
];

/// Names of images and digests: what is understood means the same when it is written out.
pub fn name(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(reference) = text.parse::<Reference>() {
        let written = reference.to_string();
        assert_eq!(written.parse::<Reference>().ok(), Some(reference), "{text:?} becomes {written:?}");
    }
    if let Ok(digest) = text.parse::<Digest>() {
        assert!(digest.hex().bytes().all(|byte| byte.is_ascii_hexdigit()), "a digest is used as a file name");
    }
    let _ = text.parse::<Platform>();
}

fn names() -> Vec<Vec<u8>> {
    let digest = Digest::of(b"");
    let names = ["busybox", "a.b:5000/c/d__e:tag", "localhost/x@sha256:", "[::1]:5000/a:b", "linux/arm64/v8"];
    let mut seeds: Vec<Vec<u8>> = names.iter().map(|name| name.as_bytes().to_vec()).collect();
    seeds.push(digest.to_string().into_bytes());
    seeds.push(format!("docker.io/library/busybox:latest@{digest}").into_bytes());
    seeds
}

/// Manifests, indexes and configs.
pub fn manifest(data: &[u8]) {
    for content_type in [None, Some("application/vnd.oci.image.index.v1+json")] {
        let _ = Document::parse(data, content_type);
    }
    if let Ok(config) = ImageConfig::parse(data) {
        let _ = config.platform();
    }
}

fn manifests() -> Vec<Vec<u8>> {
    let digest = Digest::of(b"");
    let descriptor =
        format!(r#"{{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"{digest}","size":9}}"#);
    [
        format!(r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{descriptor},"layers":[{descriptor}]}}"#),
        format!(r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{descriptor}]}}"#),
        format!(r#"{{"os":"linux","architecture":"amd64","config":{{"Cmd":"x","Env":["A=b"],"ExposedPorts":{{"1/tcp":{{}}}}}},"rootfs":{{"type":"layers","diff_ids":["{digest}"]}},"history":[{{"empty_layer":true}}]}}"#),
    ]
    .map(String::into_bytes)
    .into()
}

fn temp() -> File {
    tempfile::tempfile_in("/dev/shm").or_else(|_| tempfile::tempfile()).expect("a temporary file")
}

/// Writes a layer; what was written must be sound.
fn written(mut tar: &mut dyn Read, base: Base<'_>) -> Option<(File, Summary)> {
    let file = temp();
    let summary = write(&mut tar, &file, &LIMITS, base).ok()?;
    if !summary.depends {
        let length = file.metadata().expect("its length").len();
        assert_eq!(length, summary.image_bytes);
        assert!(length <= LIMITS.bytes + 3 * LIMITS.metadata, "{length} bytes");
        verify(file.try_clone().expect("the file again")).expect("what was written is sound");
    }
    Some((file, summary))
}

/// Tar streams. The checksums of headers are made good, unless the first byte is odd: nothing else would come far.
pub fn tar(data: &[u8]) {
    let Some((first, bytes)) = data.split_first() else { return };
    let mut bytes = bytes.to_vec();
    if first % 2 == 0 {
        for block in bytes.as_chunks_mut::<512>().0 {
            if block[257..262] == *b"ustar" {
                checksum(block);
            }
        }
    }
    written(&mut &*bytes, Base::Nothing);
    written(&mut &*bytes, Base::Unknown);
}

fn tars() -> Vec<Vec<u8>> {
    let global = Entry { data: record(b"uid", b"5"), ..Entry::new(b'g', "g") };
    let long = Entry { data: b"long-name\0".to_vec(), ..Entry::new(b'L', "") };
    let mut sparse = Entry::file("old", "abcd");
    sparse.kind = b'S';
    let mut old = sparse.header();
    for (at, value) in [(386, 512), (398, 2), (410, 2048), (422, 2), (483, 3000)] {
        old[at..at + 12].copy_from_slice(format!("{value:011o}\0").as_bytes());
    }
    checksum(&mut old);
    let mut front = b"2\n512\n2\n2048\n2\n".to_vec();
    front.resize(512, 0);
    front.extend(b"abcd");
    let seeds = [
        archive([Entry::file("a", "text").xattr("user.a", "b").pax("mtime", "-1.5"), Entry::link("b", "a")]),
        archive([global, long, Entry::file("x", "y"), Entry::symlink("l", "x"), Entry::file("l/z", "")]),
        [&old[..], b"abcd", &[0; 508]].concat(),
        archive([Entry::file("s", "abcd").pax("GNU.sparse.size", "3000").pax("GNU.sparse.map", "512,2,2048,2")]),
        archive([Entry::file("s", front).pax("GNU.sparse.major", "1").pax("GNU.sparse.realsize", "3000")]),
        archive([Entry::file("d/.wh.a", ""), Entry::file("d/.wh..wh..opq", ""), Entry::device(b'3', "c", 1, 3)]),
        archive([
            Entry::file("a", "x").pax("LIBARCHIVE.xattr.user.%61", "AAE="),
            Entry::file("n", "").owner(1 << 31, 1 << 30),
        ]),
    ];
    seeds.into_iter().map(|seed| [&[0], &seed[..]].concat()).collect()
}

/// What a layer may be compressed with.
pub fn compression(data: &[u8]) {
    let Ok(plain) = decompress(Box::new(Cursor::new(data))) else { return };
    let _ = io::copy(&mut plain.take(4 << 20), &mut io::sink());
}

fn compressed() -> Vec<Vec<u8>> {
    // The same few bytes as gzip (stored and with fixed codes), as zstd, and a skippable frame.
    let stored = b"\x1f\x8b\x08\0\0\0\0\0\0\xff\x01\x02\0\xfd\xffab\x6d\x48\x83\x9e\x02\0\0\0".to_vec();
    let fixed = b"\x1f\x8b\x08\0\0\0\0\0\0\xffKL\x02\0\x6d\x48\x83\x9e\x02\0\0\0".to_vec();
    let zstd = b"\x28\xb5\x2f\xfd\x20\x02\x11\0\0ab".to_vec();
    let skippable = b"\x50\x2a\x4d\x18\x02\0\0\0xx".to_vec();
    let named = [&b"\x1f\x8b\x08\x1e\0\0\0\0\0\xff\x01\0xname\0comment\0\0\0"[..], &fixed[10..]].concat();
    vec![
        [&stored[..], &fixed].concat(),
        [&skippable[..], &zstd, &skippable, &zstd].concat(),
        [&fixed[..], b"garbage"].concat(),
        named,
        zstd,
    ]
}

/// Trees of files, made of the bytes: three bytes an entry, in two layers. Whatever comes out must be sound, and agree
/// with what it was made of.
pub fn tree(data: &[u8]) {
    let entries: Vec<Entry> = data.as_chunks::<3>().0.iter().take(200).map(entry).collect();
    let (lower, upper) = entries.split_at(entries.len() / 2);
    let (lower, upper) = (archive(lower.iter().cloned()), archive(upper.iter().cloned()));
    let Some((below, _)) = written(&mut &*lower, Base::Nothing) else { return };
    let alone = written(&mut &*upper, Base::Unknown);
    let stack = Stack::open(vec![below.try_clone().expect("the file again")]).expect("a sound layer");
    let Some((above, summary)) = written(&mut &*upper, Base::Layers(&stack)) else { return };
    assert!(!summary.depends);
    let (_, unknown) = alone.expect("what is right over one layer can be right");
    assert_eq!(unknown.entries, summary.entries);
    let both = Stack::open(vec![below, above.try_clone().expect("the file again")]).expect("sound layers");
    let reader = Reader::open(above).expect("a sound layer");
    let check = &mut |path: &[u8], inode: &coracle_image::layer::Inode| {
        let found = both.find(path).expect("a sound layer").map(|found| found.inode);
        if inode.is_whiteout() {
            assert!(found.is_none(), "{} is hidden", path.escape_ascii());
        } else {
            let found = found.expect("the upper layer's file is seen");
            assert_eq!((found.number, found.kind, found.size), (inode.number, inode.kind, inode.size));
        }
    };
    reader.walk(check).expect("a sound layer");
}

/// One entry: what it is, where, and something about it.
fn entry([what, place, detail]: &[u8; 3]) -> Entry {
    let name = |byte: u8| {
        let parts = ["a", "b", "c", "d"];
        let pick = |shift: u8| parts[usize::from(byte >> shift & 3)];
        match byte >> 6 {
            0 => pick(0).to_owned(),
            1 => format!("{}/{}", pick(0), pick(2)),
            2 => format!("{}/{}/{}", pick(0), pick(2), pick(4)),
            _ => format!("/{}/../{}", pick(0), pick(2)),
        }
    };
    let path = name(place & 0xbf);
    let entry = match what % 12 {
        0 | 1 => Entry::file(path, vec![*detail; usize::from(*detail) * 40]),
        2 | 3 => Entry::directory(path),
        4 => Entry::symlink(path, name(*detail)),
        5 | 6 => Entry::link(path, name(*detail & 0xbf)),
        7 => Entry::file(hidden(&path), ""),
        8 => Entry::file(format!("{path}/.wh..wh..opq"), ""),
        9 => Entry::device(b'3', path, 1, u32::from(*detail)),
        10 => Entry::new(b'6', path),
        _ => Entry::file(path, "").pax("GNU.sparse.size", format!("{}", u32::from(*detail) << 12)),
    };
    match what / 12 % 4 {
        1 => entry.xattr("user.a", vec![7; usize::from(*detail) * 16]),
        2 => entry.owner(u64::from(*detail), 1).xattr("trusted.overlay.opaque", "y"),
        _ => entry,
    }
}

fn hidden(path: &str) -> String {
    match path.rsplit_once('/') {
        Some((folder, name)) => format!("{folder}/.wh.{name}"),
        None => format!(".wh.{path}"),
    }
}

fn trees() -> Vec<Vec<u8>> {
    vec![
        vec![2, 0, 0, 0, 0x44, 3, 5, 1, 0x44, 5, 2, 0x44, 8, 0, 0, 0, 0x48, 200],
        vec![4, 0, 1, 2, 1, 0, 0, 0x41, 9, 0, 0x45, 9, 7, 0x41, 0, 5, 0x82, 0x45],
        (0..150).map(|byte| (byte * 37 % 251) as u8).collect(),
    ]
}

/// Arbitrary bytes as an EROFS image behind a valid superblock: no panic, no endless loop.
pub fn erofs(data: &[u8]) {
    let Some(([root, first, blocks, rest @ ..], body)) = data.split_first_chunk::<4>() else { return };
    let mut image = vec![0; BLOCK];
    image.extend(body);
    image.resize(image.len().next_multiple_of(BLOCK), 0);
    let [_] = rest;
    let total = (image.len() / BLOCK) as u32 + u32::from(*blocks == 0xff);
    superblock(&mut image, u16::from(*root), u32::from(*first), total);
    let file = temp();
    file.write_all_at(&image, 0).expect("room for an image");
    assert!(verify(file.try_clone().expect("the file again")).is_err(), "the fingerprint is not right");
    let Ok(reader) = Reader::open(file) else { return };
    let mut files = 0;
    let _ = reader.walk(&mut |_, inode| {
        files += 1;
        assert!(files < 100_000, "endless");
        let _ = reader.read_at(inode, &mut [0; 5000], 3);
        let _ = reader.xattrs(inode);
        let _ = reader.child(inode, b"a");
        let _ = reader.list(inode);
        if inode.kind == FileKind::Symlink {
            let _ = reader.target(inode);
        }
    });
    let stack = temp();
    stack.write_all_at(&image, 0).expect("room for an image");
    let Ok(stack) = Stack::open(vec![stack]) else { return };
    for path in [&b"a"[..], b"a/b/c", b"d/../e", b""] {
        let _ = stack.find(path);
    }
    let upper = archive([Entry::file("a/b/c", "x"), Entry::link("h", "a/b"), Entry::file(".wh..wh..opq", "")]);
    let _ = write(&mut &*upper, &temp(), &LIMITS, Base::Layers(&stack));
}

/// Fills in a superblock as the writer would.
fn superblock(image: &mut [u8], root: u16, inode_block: u32, blocks: u32) {
    let mut put = |at: usize, value: &[u8]| image[1024 + at..1024 + at + value.len()].copy_from_slice(value);
    put(0, &0xe0f5_e1e2u32.to_le_bytes());
    put(8, &3u32.to_le_bytes());
    put(12, &[12]);
    put(14, &root.to_le_bytes());
    put(16, &3u64.to_le_bytes());
    put(36, &blocks.to_le_bytes());
    put(40, &inode_block.to_le_bytes());
    let sum = image[1024..BLOCK].iter().fold(!0u32, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| if sum & 1 == 0 { sum >> 1 } else { (sum >> 1) ^ 0x82f6_3b78 })
    });
    image[1028..1032].copy_from_slice(&sum.to_le_bytes());
}

fn images() -> Vec<Vec<u8>> {
    let tars = [
        archive([Entry::file("a/b/c", "x"), Entry::symlink("d", "a/b"), Entry::link("e", "a/b/c")]),
        archive([
            Entry::file("a", vec![7; 5000]).xattr("user.a", "b"),
            Entry::directory("b"),
            Entry::file(".wh.c", ""),
        ]),
        archive((0..300).map(|number| Entry::file(format!("a/{number}"), ""))),
    ];
    let image = |tar: Vec<u8>| {
        let file = temp();
        let summary = write(&mut &*tar, &file, &LIMITS, Base::Nothing).expect("a sound layer");
        let mut image = vec![0; summary.image_bytes as usize];
        file.read_exact_at(&mut image, 0).expect("what was written");
        let [root, first] = [image[1024 + 14], image[1024 + 40]];
        [&[root, first, 0, 0], &image[BLOCK..]].concat()
    };
    tars.into_iter().map(image).collect()
}

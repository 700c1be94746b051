//! What is easily got wrong in a layer, trap by trap: a tar goes in, and the files of the EROFS image are looked at.

#![allow(clippy::unwrap_used)]

mod tar_builder;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Cursor, Read, Write};

use coracle_image::layer::{Base, Error, FileKind, Found, Limits, Stack, decompress, verify, write};
use tar_builder::{Entry, record, tar};

fn temp() -> File {
    tempfile::tempfile_in("/dev/shm").or_else(|_| tempfile::tempfile()).unwrap()
}

fn written(tar: &mut dyn Read, base: Base<'_>) -> Result<File, Error> {
    let file = temp();
    write(tar, &file, &Limits::default(), base)?;
    verify(file.try_clone().unwrap()).unwrap();
    Ok(file)
}

/// The merged tree of these layers, lowest first.
struct Image(Stack);

impl Image {
    fn of<const N: usize>(layers: [Vec<Entry>; N]) -> Image {
        let mut files: Vec<File> = Vec::new();
        for entries in layers {
            let below = Stack::open(files.iter().map(|file| file.try_clone().unwrap()).collect()).unwrap();
            files.push(written(&mut &*tar(entries), Base::Layers(&below)).unwrap());
        }
        Image(Stack::open(files).unwrap())
    }

    fn find(&self, path: impl AsRef<[u8]>) -> Option<Found> {
        self.0.find(path.as_ref()).unwrap()
    }

    fn kind(&self, path: &str) -> Option<FileKind> {
        self.find(path).map(|found| found.inode.kind)
    }

    fn number(&self, path: &str) -> u64 {
        self.find(path).unwrap().inode.number
    }

    fn read(&self, path: impl AsRef<[u8]>) -> String {
        let found = self.find(path).unwrap();
        let mut content = vec![0; found.inode.size as usize];
        assert_eq!(self.0.read_at(&found, &mut content, 0).unwrap(), content.len());
        String::from_utf8(content).unwrap()
    }

    fn xattrs(&self, path: &str) -> BTreeMap<String, Vec<u8>> {
        let xattrs = self.0.xattrs(&self.find(path).unwrap()).unwrap();
        xattrs.into_iter().map(|(name, value)| (String::from_utf8(name.into()).unwrap(), value.into())).collect()
    }
}

fn one(entries: Vec<Entry>) -> Image {
    Image::of([entries])
}

/// The error of a layer that is refused, with all that it was caused by.
fn refused(entries: Vec<Entry>) -> String {
    let error: Box<dyn std::error::Error> = written(&mut &*tar(entries), Base::Nothing).unwrap_err().into();
    let sources = std::iter::successors(error.source(), |error| error.source());
    sources.fold(error.to_string(), |text, source| format!("{text}: {source}"))
}

fn file(name: impl AsRef<[u8]>, data: impl AsRef<[u8]>) -> Entry {
    Entry::file(name, data)
}

#[test]
fn a_whiteout_hides_only_lower_layers_wherever_in_the_tar_it_stands() {
    for upper in [[file("a", "2"), file(".wh.a", "")], [file(".wh.a", ""), file("a", "2")]] {
        assert_eq!(Image::of([vec![file("a", "1")], upper.to_vec()]).read("a"), "2");
    }
    assert_eq!(Image::of([vec![file("a", "1")], vec![file(".wh.a", "")]]).kind("a"), None);
}

#[test]
fn an_opaque_mark_counts_first_wherever_in_the_tar_it_stands() {
    let lower = || vec![file("d/old", "1")];
    for upper in [[file("d/new", "2"), file("d/.wh..wh..opq", "")], [file("d/.wh..wh..opq", ""), file("d/new", "2")]] {
        let image = Image::of([lower(), upper.to_vec()]);
        assert_eq!((image.kind("d/old"), image.read("d/new")), (None, "2".into()));
    }
}

#[test]
fn a_bare_whiteout_is_refused() {
    for name in [".wh.", "a/.wh.", "a/.wh..", "a/.wh..."] {
        assert!(refused(vec![file(name, "")]).contains("A whiteout must name what it hides"), "{name}");
    }
}

#[test]
fn a_whiteout_of_what_never_existed_is_legal() {
    let image = Image::of([vec![file("a", "1")], vec![file(".wh.never", ""), file("never/.wh.was", "")]]);
    assert_eq!((image.kind("never/was"), image.read("a")), (None, "1".into()));
}

#[test]
fn a_whiteout_inside_an_opaque_folder_leaves_no_device_to_be_listed() {
    let upper = vec![file("d/.wh..wh..opq", ""), file("d/.wh.a", ""), file("d/e/.wh.b", ""), file("d/new", "")];
    let image = Image::of([vec![file("d/a", "1"), file("d/e/b", "1")], upper.clone()]);
    assert_eq!((image.kind("d/a"), image.kind("d/e/b")), (None, None));
    let mut devices = 0;
    let reader = coracle_image::layer::Reader::open(written(&mut &*tar(upper), Base::Nothing).unwrap()).unwrap();
    reader.walk(&mut |_, inode| devices += u32::from(inode.is_whiteout())).unwrap();
    assert_eq!(devices, 0);
}

#[test]
fn a_whiteout_makes_its_folder_appear() {
    let image = Image::of([vec![], vec![file("a/b/.wh.c", "")]]);
    assert_eq!(image.kind("a/b"), Some(FileKind::Directory));
}

#[test]
fn of_two_entries_with_one_name_the_last_counts_even_if_it_is_of_another_kind() {
    let kinds: [fn() -> Entry; 4] =
        [|| file("x", "f"), || Entry::directory("x"), || Entry::symlink("x", "to"), || Entry::new(b'6', "x")];
    for first in kinds {
        for second in kinds {
            let expected = one(vec![second()]).kind("x");
            assert_eq!(one(vec![first(), second()]).kind("x"), expected);
        }
    }
    assert_eq!(one(vec![file("d/a", ""), file("d", "f")]).read("d"), "f");
}

#[test]
fn a_folder_over_a_folder_keeps_what_is_in_it_and_takes_the_new_attributes() {
    let image = one(vec![Entry::directory("d"), file("d/a", "x"), Entry::directory("d/").mode(0o700).owner(7, 8)]);
    let folder = image.find("d").unwrap().inode;
    assert_eq!((image.read("d/a"), folder.mode, folder.uid, folder.gid), ("x".into(), 0o700, 7, 8));
}

#[test]
fn nothing_is_written_through_a_symbolic_or_hard_link() {
    let image = one(vec![
        file("target", "old"),
        Entry::symlink("s", "target"),
        Entry::link("h", "target"),
        file("s", "1"),
        file("h", "2"),
    ]);
    assert_eq!((image.read("target"), image.read("s"), image.read("h")), ("old".into(), "1".into(), "2".into()));
}

#[test]
fn records_of_overlayfs_in_an_image_are_escaped() {
    let image = one(vec![file("a", "").xattr("trusted.overlay.redirect", "/etc").xattr("trusted.overlay.opaque", "y")]);
    let names: Vec<String> = image.xattrs("a").into_keys().collect();
    assert_eq!(names, ["trusted.overlay.overlay.opaque", "trusted.overlay.overlay.redirect"]);
}

#[test]
fn a_hard_link_may_come_before_its_target_and_lead_to_any_kind_but_a_folder() {
    let image = one(vec![
        Entry::link("early", "file"),
        file("file", "x"),
        Entry::symlink("symlink", "to"),
        Entry::link("to-symlink", "symlink"),
        Entry::device(b'4', "device", 8, 1),
        Entry::link("to-device", "device"),
    ]);
    for (one, other) in [("early", "file"), ("to-symlink", "symlink"), ("to-device", "device")] {
        assert_eq!(image.number(one), image.number(other));
        assert_eq!(image.find(one).unwrap().inode.links, 2);
    }
    assert!(refused(vec![Entry::directory("d"), Entry::link("a", "d")]).contains("which is a folder"));
}

#[test]
fn a_hard_link_into_a_lower_layer_shares_an_inode_with_its_target() {
    let image = Image::of([vec![file("d/a", "x").mode(0o600)], vec![Entry::link("b", "d/a"), Entry::link("c", "./b")]]);
    let target = image.find("d/a").unwrap().inode;
    assert_eq!((target.links, target.mode), (3, 0o600));
    assert_eq!((image.number("b"), image.number("c"), image.read("c")), (target.number, target.number, "x".into()));
}

#[test]
fn a_layer_that_replaces_one_of_two_hard_links_leaves_the_other() {
    let image = Image::of([vec![file("a", "1"), Entry::link("b", "a")], vec![file("a", "1").mode(0o600)]]);
    assert_eq!((image.find("a").unwrap().inode.mode, image.find("b").unwrap().inode.mode), (0o600, 0o644));
}

#[test]
fn folders_that_the_tar_leaves_out_are_those_of_the_layer_below() {
    let image = Image::of([vec![Entry::directory("tmp").mode(0o1777).owner(3, 4)], vec![file("tmp/a/b", "x")]]);
    let (tmp, new) = (image.find("tmp").unwrap().inode, image.find("tmp/a").unwrap().inode);
    assert_eq!((tmp.mode, tmp.uid, tmp.gid), (0o1777, 3, 4));
    assert_eq!((new.mode, new.uid, new.gid), (0o755, 0, 0));
}

#[test]
fn dots_and_slashes_around_a_name_mean_nothing() {
    for name in ["./a/b", "/a/b", "//a//b", "a/./b", "././a/b"] {
        assert_eq!(one(vec![file(name, "x")]).read("a/b"), "x", "{name}");
    }
    assert_eq!(one(vec![Entry::directory("a/b//")]).kind("a/b"), Some(FileKind::Directory));
    assert_eq!(one(vec![Entry::new(0, "old-style/")]).kind("old-style"), Some(FileKind::Directory));
}

#[test]
fn names_that_lead_out_are_refused() {
    for name in ["..", "../a", "a/../../b", "/../a", "a/.."] {
        assert!(refused(vec![file(name, "x")]).contains("may lead out of the layer"), "{name}");
        assert!(refused(vec![file("x", ""), Entry::link("l", name)]).contains("may lead out of the layer"), "{name}");
    }
}

#[test]
fn an_empty_name_is_the_root_and_only_a_folder_can_be_it() {
    for name in ["", "/", ".", "./", "/."] {
        assert_eq!(one(vec![Entry::directory(name).mode(0o711)]).find("").unwrap().inode.mode, 0o711);
        for entry in
            [Entry::new(b'0', name), Entry::symlink(name, "/etc"), Entry::link(name, "a"), Entry::new(b'6', name)]
        {
            // A file whose name ends with a slash has always been a folder.
            if entry.kind != b'0' || !name.ends_with('/') {
                assert!(refused(vec![file("a", ""), entry]).contains("replace the root"), "{name:?}");
            }
        }
    }
}

#[test]
fn the_root_entry_carries_attributes_and_none_means_the_usual_ones() {
    let root = one(vec![Entry::directory("/.").mode(0o1750).owner(5, 6).mtime(7)]).find("").unwrap().inode;
    assert_eq!((root.mode, root.uid, root.gid, root.mtime.seconds), (0o1750, 5, 6, 7));
    let root = one(vec![file("a", "")]).find("").unwrap().inode;
    assert_eq!((root.mode, root.uid, root.gid), (0o755, 0, 0));
}

#[test]
fn names_are_bytes() {
    assert_eq!(one(vec![file(b"\xff\xfe/\x01\n", "x")]).read(b"\xff\xfe/\x01\n"), "x");
}

#[test]
fn names_may_be_as_long_as_linux_allows_and_no_longer() {
    let name = "n".repeat(255);
    assert_eq!(one(vec![file(&name, "x")]).read(&name), "x");
    assert!(refused(vec![file("n".repeat(256), "x")]).contains("Linux allows 255"));
    let path = format!("{}{}", "d/".repeat(2000), "n".repeat(95));
    assert_eq!(one(vec![file(&path, "x")]).read(&path), "x");
    assert!(refused(vec![file(format!("{path}/n"), "x")]).contains("Linux allows 4095"));
}

#[test]
fn devices_and_pipes_keep_their_numbers_and_a_whiteout_is_no_device_of_an_image() {
    let image = one(vec![
        Entry::device(b'3', "c", 4095, 1_048_575),
        Entry::device(b'4', "b", 0, 0),
        Entry::new(b'6', "p").mode(0o600),
    ]);
    assert_eq!(image.kind("c"), Some(FileKind::Character(0xffff_ffff)));
    assert_eq!((image.kind("b"), image.kind("p")), (Some(FileKind::Block(0)), Some(FileKind::Fifo)));
    assert!(refused(vec![Entry::device(b'3', "w", 0, 0)]).contains("overlayfs takes for a whiteout"));
    assert!(refused(vec![Entry::device(b'3', "w", 4096, 0)]).contains("beyond what Linux can number"));
}

#[test]
fn capabilities_lists_and_user_attributes_stay_as_they_are_and_labels_stay_out() {
    let version_2 = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0].to_vec();
    let version_3 = [&[1, 0, 0, 3][..], &version_2[4..], &1000u32.to_le_bytes()].concat();
    let list = vec![2, 0, 0, 0, 1, 0, 6, 0, 255, 255, 255, 255];
    let image = one(vec![
        file("2", "").mode(0o6755).owner(9, 9).xattr("security.capability", &version_2),
        file("3", "").xattr("security.capability", &version_3),
        Entry::directory("d").xattr("system.posix_acl_access", &list).xattr("system.posix_acl_default", &list),
        file("u", "").xattr("user.a=b", "c=d\n").xattr("security.selinux", "u:r:t:s0").xattr("com.apple.x", "y"),
        file("l", "").pax("LIBARCHIVE.xattr.user.%61%3d", "AAE="),
    ]);
    assert_eq!(
        (image.xattrs("2"), image.find("2").unwrap().inode.mode),
        ([("security.capability".into(), version_2)].into(), 0o6755)
    );
    assert_eq!(image.xattrs("3"), [("security.capability".into(), version_3)].into());
    let lists = [("system.posix_acl_access".into(), list.clone()), ("system.posix_acl_default".into(), list)];
    assert_eq!(image.xattrs("d"), lists.into());
    assert_eq!(image.xattrs("u").into_keys().collect::<Vec<_>>(), ["user.a"], "a pax key ends at its first `=`");
    assert_eq!(image.xattrs("l"), [("user.a=".into(), vec![0, 1])].into());
}

/// "ab", zeros, "cd", zeros: 3000 bytes.
fn expanded() -> String {
    let mut content = vec![0; 3000];
    content[512..514].copy_from_slice(b"ab");
    content[2048..2050].copy_from_slice(b"cd");
    String::from_utf8(content).unwrap()
}

#[test]
fn sparse_files_are_expanded_in_all_four_notations() {
    let content = expanded();
    let mut old = file("s", "abcd");
    old.kind = b'S';
    let mut header = old.header();
    header[257..265].copy_from_slice(b"ustar  \0");
    for (at, value) in [(386, 512), (398, 2), (410, 2048), (422, 2), (483, 3000)] {
        header[at..at + 12].copy_from_slice(format!("{value:011o}\0").as_bytes());
    }
    tar_builder::checksum(&mut header);
    let mut bytes = header.to_vec();
    bytes.extend(b"abcd");
    bytes.resize(2048, 0);
    let written_old = written(&mut &*bytes, Base::Nothing).unwrap();
    assert_eq!(Image(Stack::open(vec![written_old]).unwrap()).read("s"), content, "GNU's own header");

    let mut pieces = file("s", "abcd").pax("GNU.sparse.size", "3000").pax("GNU.sparse.numblocks", "2");
    for (offset, length) in [("512", "2"), ("2048", "2")] {
        pieces = pieces.pax("GNU.sparse.offset", offset).pax("GNU.sparse.numbytes", length);
    }
    assert_eq!(one(vec![pieces]).read("s"), content, "pax 0.0");

    let map = file("GNUSparseFile.1/s", "abcd")
        .pax("GNU.sparse.name", "s")
        .pax("GNU.sparse.size", "3000")
        .pax("GNU.sparse.map", "512,2,2048,2");
    assert_eq!(one(vec![map]).read("s"), content, "pax 0.1");

    let mut data = b"2\n512\n2\n2048\n2\n".to_vec();
    data.resize(512, 0);
    data.extend(b"abcd");
    let front = file("GNUSparseFile.1/s", data)
        .pax("GNU.sparse.name", "s")
        .pax("GNU.sparse.major", "1")
        .pax("GNU.sparse.minor", "0")
        .pax("GNU.sparse.realsize", "3000");
    let image = one(vec![front, file("next", "n")]);
    assert_eq!((image.read("s"), image.read("next")), (content, "n".into()), "pax 1.0");
}

#[test]
fn global_records_count_until_an_entry_has_its_own() {
    let global =
        |key: &str, value: &str| Entry { data: record(key.as_bytes(), value.as_bytes()), ..Entry::new(b'g', "g") };
    let image = one(vec![
        global("uid", "3000000"),
        file("a", ""),
        file("b", "").pax("uid", "5"),
        global("uid", "7"),
        file("c", ""),
    ]);
    let uid = |name| image.find(name).unwrap().inode.uid;
    assert_eq!((uid("a"), uid("b"), uid("c")), (3_000_000, 5, 7));
    assert!(refused(vec![global("path", "x"), file("a", "")]).contains("only one entry can have"));
}

#[test]
fn a_pax_record_overrides_every_field_and_the_size_above_all() {
    let inner = file("smuggled", "x").blocks();
    let entry = file("short", &inner)
        .size_field(*b"00000000000\0")
        .pax("size", inner.len().to_string())
        .pax("path", "long")
        .pax("gid", "4294967294")
        .pax("mtime", "5.75");
    let image = one(vec![entry, Entry::symlink("s", "no").pax("linkpath", "yes")]);
    let long = image.find("long").unwrap().inode;
    assert_eq!(
        (long.size, long.gid, long.mtime.seconds, long.mtime.nanoseconds),
        (inner.len() as u64, u32::MAX - 1, 5, 750_000_000)
    );
    assert_eq!((image.kind("smuggled"), image.kind("short")), (None, None), "what is data stays data");
    assert_eq!(image.0.target(&image.find("s").unwrap()).unwrap(), b"yes");
}

#[test]
fn large_ids_are_kept_and_those_no_user_has_are_refused() {
    for id in [718_322_462, 1_516_583_083, 369_884_941, 2_097_152, 4_294_967_294] {
        let inode = one(vec![file("a", "").owner(id, id)]).find("a").unwrap().inode;
        assert_eq!((u64::from(inode.uid), u64::from(inode.gid)), (id, id));
    }
    assert!(refused(vec![file("a", "").pax("uid", "4294967295")]).contains("Linux has none beyond"));
}

#[test]
fn times_may_lie_before_1970_and_are_cut_not_rounded() {
    let time = |entry: Entry| one(vec![entry]).find("a").unwrap().inode.mtime;
    assert_eq!(time(file("a", "").mtime(-86_400)).seconds, -86_400);
    let cut = time(file("a", "").pax("mtime", "1.9999999999"));
    assert_eq!((cut.seconds, cut.nanoseconds), (1, 999_999_999));
    let before = time(file("a", "").pax("mtime", "-1.25"));
    assert_eq!((before.seconds, before.nanoseconds), (-2, 750_000_000));
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn a_layer_may_be_compressed_in_many_pieces() {
    let plain = tar([file("a", "x".repeat(3000))]);
    let (first, second) = plain.split_at(700);
    let zstd = |bytes: &[u8]| zstd::encode_all(bytes, 1).unwrap();
    let skippable = b"\x50\x2a\x4d\x18\x04\0\0\0abcd".to_vec();
    let layers = [
        plain.clone(),
        gzip(&plain),
        [gzip(first), gzip(b""), gzip(second)].concat(),
        [gzip(&plain), vec![0; 700]].concat(),
        [gzip(&plain), b"garbage".to_vec()].concat(),
        zstd(&plain),
        [skippable.clone(), zstd(first), skippable.clone(), zstd(second), skippable].concat(),
    ];
    for (number, layer) in layers.into_iter().enumerate() {
        let mut tar = decompress(Box::new(Cursor::new(layer))).unwrap();
        let image = Image(Stack::open(vec![written(&mut tar, Base::Nothing).unwrap()]).unwrap());
        assert_eq!(image.read("a").len(), 3000, "layer {number}");
    }
}

#[test]
fn a_layer_of_nothing_is_an_empty_root() {
    for bytes in [vec![], vec![0; 512], vec![0; 1024], vec![0; 10_240], gzip(&[]), gzip(&[0; 1024])] {
        let mut tar = decompress(Box::new(Cursor::new(bytes))).unwrap();
        let image = Image(Stack::open(vec![written(&mut tar, Base::Nothing).unwrap()]).unwrap());
        assert_eq!(image.kind(""), Some(FileKind::Directory));
    }
}

/// Gives its bytes in pieces of changing size.
struct Pieces<'a>(&'a [u8], usize);

impl Read for Pieces<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.1 = self.1 * 5 % 7919 + 1;
        let length = buffer.len().min(self.1);
        self.0.read(&mut buffer[..length])
    }
}

#[test]
fn the_same_tar_gives_the_same_bytes_however_it_is_read() {
    let zeros = Entry::file("zeros", vec![0; 3 << 20]);
    let sparse = file("s", "abcd").pax("GNU.sparse.size", "9000000").pax("GNU.sparse.map", "5000000,4");
    let many = (0..500).map(|number| file(format!("d/{number}"), "x".repeat(number * 50)));
    let bytes = tar(many.chain([zeros, sparse]));
    let image = |input: &mut dyn Read| {
        let mut content = Vec::new();
        let mut file = written(input, Base::Nothing).unwrap();
        io::Seek::rewind(&mut file).unwrap();
        file.read_to_end(&mut content).unwrap();
        content
    };
    let whole = image(&mut &*bytes);
    for seed in [1, 2, 512] {
        assert!(image(&mut Pieces(&bytes, seed)) == whole, "seed {seed}");
    }
    assert!(image(&mut coracle_image::layer::decompress(Box::new(Cursor::new(gzip(&bytes)))).unwrap()) == whole);
}

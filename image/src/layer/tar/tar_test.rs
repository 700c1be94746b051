//! Tests of the tar reader: what it understands, and what it refuses.

use proptest::prelude::*;

use super::super::tar_builder::{self as build, record, tar};
use super::*;

/// Reads all entries, each with its data.
fn read(bytes: &[u8]) -> Result<Vec<(Entry, Vec<u8>)>, Error> {
    read_with(bytes, 1 << 30)
}

fn read_with(mut bytes: &[u8], limit: u64) -> Result<Vec<(Entry, Vec<u8>)>, Error> {
    let length = bytes.len() as u64;
    let mut reader = Reader::new(&mut bytes, limit);
    let mut entries = Vec::new();
    while let Some(entry) = reader.next()? {
        let mut data = Vec::new();
        while reader.left > 0 {
            data.extend_from_slice(reader.data()?);
        }
        entries.push((entry, data));
    }
    assert_eq!(reader.drain()?, length);
    Ok(entries)
}

fn one(entry: build::Entry) -> Result<Entry, Error> {
    read(&tar([entry])).map(|mut entries| entries.remove(0).0)
}

fn file() -> build::Entry {
    build::Entry::file("file", "data")
}

#[test]
fn entries_come_with_their_data() {
    let bytes = tar([file(), build::Entry::directory("folder/"), build::Entry::file("empty", ""), file()]);
    let entries = read(&bytes).unwrap();
    let seen: Vec<(&[u8], Kind, &[u8])> = entries.iter().map(|(e, data)| (&*e.name, e.kind, &**data)).collect();
    let expected: [(&[u8], Kind, &[u8]); 4] = [
        (b"file", Kind::File, b"data"),
        (b"folder/", Kind::Directory, b""),
        (b"empty", Kind::File, b""),
        (b"file", Kind::File, b"data"),
    ];
    assert_eq!(seen, expected);
}

#[test]
fn the_end_is_two_zero_blocks_or_the_end_of_the_stream() {
    let blocks = file().blocks();
    for end in [0, 512, 1024, 10_240] {
        assert_eq!(read(&[&blocks[..], &vec![0; end]].concat()).unwrap().len(), 1);
    }
    assert_eq!(read(&[&blocks[..], &[0; 1024], b"whatever follows"].concat()).unwrap().len(), 1);
    assert!(matches!(read(&[&blocks[..], &[0; 512], &blocks].concat()), Err(Error::ZeroBlock)));
    assert!(read(b"").unwrap().is_empty());
}

#[test]
fn what_is_no_tar_is_refused() {
    assert!(matches!(read(&[b'x'; 512]), Err(Error::Checksum | Error::Number { field: "checksum" })));
    assert!(matches!(read(b"short"), Err(Error::Cut { missing: 507 })));
    let mut damaged = tar([file()]);
    damaged[0] ^= 1;
    assert!(matches!(read(&damaged), Err(Error::Checksum)));
}

#[test]
fn a_cut_stream_is_an_error_wherever_it_is_cut() {
    let whole = build::Entry::file("file", [1; 1000]).xattr("user.a", "b").blocks();
    for cut in (1..whole.len()).filter(|cut| *cut != 0) {
        let error = read(&whole[..cut]).unwrap_err();
        assert!(matches!(error, Error::Cut { .. } | Error::NoEntry), "cut at {cut}: {error}");
    }
}

#[test]
fn sizes_that_lie_are_refused() {
    let with = |field: [u8; 12]| one(file().size_field(field));
    let binary = |value: i128| <[u8; 12]>::try_from(&value.to_be_bytes()[4..]).unwrap();
    let mut huge = binary(i128::from(u64::MAX));
    huge[0] = 0x80;
    assert!(matches!(with(huge), Err(Error::Number { field: "size" })));
    assert!(matches!(with(binary(-1)), Err(Error::Number { field: "size" })));
    assert!(matches!(with(*b"000000ten000"), Err(Error::Number { field: "size" })));
    assert!(matches!(with(*b"77777777777\0"), Err(Error::TooLarge { .. })));
    assert!(matches!(with(*b"00000100000\0"), Err(Error::Cut { .. })));
    assert!(matches!(one(file().pax("size", u64::MAX.to_string())), Err(Error::TooLarge { .. })));
    assert!(matches!(one(file().pax("size", "-1")), Err(Error::Value { key }) if key == "size"));
}

#[test]
fn the_size_of_a_pax_record_goes_before_the_header() {
    let inner = file().blocks();
    let outer = build::Entry::file("outer", &inner).size_field(*b"00000000000\0").pax("size", inner.len().to_string());
    let entries = read(&tar([outer])).unwrap();
    assert_eq!(entries.len(), 1, "the data must not be taken for an entry");
    assert_eq!(entries[0].1, inner);
}

#[test]
fn only_files_have_data() {
    for kind in [b'1', b'2', b'3', b'4', b'5', b'6'] {
        let mut entry = build::Entry::new(kind, "name").size_field(*b"00000001000\0");
        entry.link = b"target".to_vec();
        assert_eq!(read(&tar([entry, file()])).unwrap().len(), 2);
    }
}

#[test]
fn a_file_with_a_slash_at_the_end_is_a_folder() {
    assert_eq!(one(build::Entry::new(0, "old/")).unwrap().kind, Kind::Directory);
    assert!(matches!(one(build::Entry::file("old/", "x")), Err(Error::Folder { size: 1 })));
}

#[test]
fn types_no_layer_has_are_refused() {
    for kind in [b'M', b'V', b'D', b'Z', 0xff] {
        assert!(matches!(one(build::Entry::new(kind, "x")), Err(Error::Kind { kind: found }) if found == kind));
    }
}

#[test]
fn long_names_come_as_gnu_or_pax_headers_or_in_two_fields() {
    let name = "n".repeat(300);
    let gnu =
        |kind, text: &str| build::Entry { data: [text.as_bytes(), b"\0"].concat(), ..build::Entry::new(kind, "") };
    let entries = read(&tar([gnu(b'L', &name), gnu(b'K', "target"), build::Entry::symlink("short", "no")])).unwrap();
    assert_eq!((&*entries[0].0.name, &*entries[0].0.link), (name.as_bytes(), &b"target"[..]));

    let pax = one(build::Entry::symlink(&name, &name)).unwrap();
    assert_eq!((&*pax.name, &*pax.link), (name.as_bytes(), name.as_bytes()));

    let mut header = file().header();
    header[345..351].copy_from_slice(b"prefix");
    build::checksum(&mut header);
    assert_eq!(read(&[&header[..], &[0; 512]].concat()).unwrap()[0].0.name, b"prefix/file");
    // GNU tar has something else where POSIX has the prefix.
    header[257..265].copy_from_slice(b"ustar  \0");
    build::checksum(&mut header);
    assert_eq!(read(&[&header[..], &[0; 512]].concat()).unwrap()[0].0.name, b"file");
}

#[test]
fn owners_and_times_may_be_binary_or_pax() {
    let entry = one(file().owner(4_294_967_294, 3_000_000).mtime(-77)).unwrap();
    assert_eq!((entry.uid, entry.gid, entry.mtime.seconds), (4_294_967_294, 3_000_000, -77));
    let entry = one(file().owner(1, 2).pax("uid", "9").pax("gid", "").pax("mtime", "1.5")).unwrap();
    assert_eq!((entry.uid, entry.gid), (9, 2), "an empty record is none");
    assert_eq!(entry.mtime, Time { seconds: 1, nanoseconds: 500_000_000 });
    for id in ["4294967295", "4294967296", "-2"] {
        assert!(matches!(one(file().pax("uid", id)), Err(Error::Id { field: "uid", .. })));
    }
    assert!(matches!(one(file().pax("mtime", "now")), Err(Error::Value { .. })));
}

#[test]
fn global_records_count_for_all_entries_but_never_name_or_size_them() {
    let global = |key: &str, value: &str| build::Entry {
        data: record(key.as_bytes(), value.as_bytes()),
        ..build::Entry::new(b'g', "global")
    };
    let entries = read(&tar([global("uid", "5"), global("comment", "x"), file(), file().pax("uid", "6")])).unwrap();
    assert_eq!((entries[0].0.uid, entries[1].0.uid), (5, 6));
    for key in ["path", "linkpath", "size", "GNU.sparse.size"] {
        assert!(matches!(read(&tar([global(key, "5"), file()])), Err(Error::Global { key: found }) if found == key));
    }
}

#[test]
fn extended_attributes_come_in_two_notations() {
    let entry = file()
        .xattr("user.a", [0, 1, b'\n', b'='])
        .pax("LIBARCHIVE.xattr.user.a", "bm90IHRoaXM=")
        .pax("LIBARCHIVE.xattr.user.%c3%A9", "eHk");
    let xattrs = one(entry).unwrap().xattrs;
    let expected = [(b"user.a".to_vec(), vec![0, 1, b'\n', b'=']), ("user.é".as_bytes().to_vec(), b"xy".to_vec())];
    assert_eq!(xattrs, expected.into());
    for (key, value) in [("user.%4", "eHk"), ("user.a", "?")] {
        assert!(matches!(one(file().pax(format!("LIBARCHIVE.xattr.{key}"), value)), Err(Error::Value { .. })));
    }
}

#[test]
fn malformed_records_are_refused() {
    for data in
        ["x", "5 a=b", "6 a=b", "7 a=b\n", "0 a=b\n", "4 =\n", "5 a\n\n", "99999999999999999999 a=b\n", " a=b\n"]
    {
        let entry = build::Entry { data: data.into(), ..build::Entry::new(b'x', "pax") };
        assert!(matches!(read(&tar([entry, file()])), Err(Error::Record)), "{data:?}");
    }
}

#[test]
fn extensions_beyond_a_mebibyte_are_refused_before_they_are_read() {
    for kind in [b'x', b'g', b'L', b'K'] {
        let header = build::Entry::new(kind, "bomb").size_field(*b"00004000001\0").header();
        assert!(matches!(read(&header), Err(Error::LongExtension { size: 1_048_577 })));
    }
}

#[test]
fn extended_headers_without_an_entry_are_refused() {
    let header = build::Entry { data: record(b"path", b"x"), ..build::Entry::new(b'x', "pax") };
    assert!(matches!(read(&tar([header])), Err(Error::NoEntry)));
}

#[test]
fn no_more_than_the_limit_is_read() {
    let bytes = tar([build::Entry::file("large", vec![0; 100_000])]);
    assert_eq!(read_with(&bytes, bytes.len() as u64).unwrap().len(), 1);
    assert!(matches!(read_with(&bytes, bytes.len() as u64 - 1), Err(Error::TooLarge { .. })));
    assert!(
        matches!(read_with(&bytes[..1024], 50_000), Err(Error::TooLarge { limit: 50_000 })),
        "before the data comes"
    );
}

#[test]
fn sparse_maps_tell_where_the_data_goes() {
    let region = |offset, length| Region { offset, length };
    let listed = build::Entry::file("GNUSparseFile.0/a", "abcd")
        .pax("GNU.sparse.name", "a")
        .pax("GNU.sparse.size", "100")
        .pax("GNU.sparse.map", "10,3,50,1,100,0");
    let entry = one(listed).unwrap();
    assert_eq!((&*entry.name, entry.size), (&b"a"[..], 100));
    assert_eq!(entry.sparse, Some(vec![region(10, 3), region(50, 1), region(100, 0)]));

    let mut stored = b"2\n10\n3\n50\n1\n".to_vec();
    stored.resize(512, 0);
    stored.extend(b"abcd");
    let in_data = build::Entry::file("x", stored)
        .pax("GNU.sparse.major", "1")
        .pax("GNU.sparse.minor", "0")
        .pax("GNU.sparse.realsize", "100");
    let entries = read(&tar([in_data, file()])).unwrap();
    assert_eq!(entries[0].0.sparse, Some(vec![region(10, 3), region(50, 1)]));
    assert_eq!((&*entries[0].1, entries.len()), (&b"abcd"[..], 2));
}

#[test]
fn sparse_maps_that_make_no_sense_are_refused() {
    for map in ["10,3,12,1", "50,1,10,3", "98,4", "10,5", "10", "a,b", "10,18446744073709551615"] {
        let entry = build::Entry::file("x", "abcd").pax("GNU.sparse.size", "100").pax("GNU.sparse.map", map);
        assert!(matches!(one(entry), Err(Error::SparseMap)), "{map}");
    }
    for data in ["", "1\n", "99999999999999999999999\n", "1\n0\n4", "x\n"] {
        let entry = build::Entry::file("x", data).pax("GNU.sparse.major", "1").pax("GNU.sparse.realsize", "4");
        assert!(matches!(one(entry), Err(Error::SparseMap)), "{data}");
    }
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..3000)) {
        let _ = read(&bytes);
    }

    #[test]
    fn no_header_makes_it_panic(
        kind in prop::sample::select(b"\x000123456712LKxgSSSxx".to_vec()),
        fields in proptest::collection::vec((prop::sample::select(vec![0usize, 100, 124, 136, 156, 257, 345, 386, 482, 483]), any::<[u8; 12]>()), 0..4),
        data in "[0-9]{1,2} (GNU\\.sparse\\.(major|map|size|realsize|offset|numbytes)|size|path|mtime|SCHILY.xattr.user.a)=[0-9,.-]{0,9}\n",
        rest in proptest::collection::vec(any::<u8>(), 0..2000),
    ) {
        let mut header = build::Entry { data: data.clone().into_bytes(), ..build::Entry::new(kind, "name") }.header();
        for (offset, bytes) in fields {
            header[offset..offset + 12].copy_from_slice(&bytes);
        }
        build::checksum(&mut header);
        let mut bytes = header.to_vec();
        bytes.extend(data.as_bytes());
        bytes.resize(1024, 0);
        bytes.extend(file().pax("size", "3").blocks());
        bytes.extend(rest);
        let _ = read(&bytes);
    }
}

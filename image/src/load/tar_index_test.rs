//! Names of every tar dialect are found; hostile headers are errors.

use std::io::Write;

use super::*;

fn header(name: &[u8], kind: u8, size: u64, link: &[u8]) -> Vec<u8> {
    let mut header = vec![0; 512];
    header[..name.len()].copy_from_slice(name);
    header[124..136].copy_from_slice(format!("{size:011o}\0").as_bytes());
    header[156] = kind;
    header[157..157 + link.len()].copy_from_slice(link);
    header[257..263].copy_from_slice(b"ustar\0");
    seal(header)
}

fn seal(mut header: Vec<u8>) -> Vec<u8> {
    header[148..156].fill(b' ');
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    header
}

fn with_data(header: Vec<u8>, data: &[u8]) -> Vec<u8> {
    let mut bytes = [header, data.to_vec()].concat();
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes
}

fn pax(key: &str, value: &str) -> Vec<u8> {
    let bare = key.len() + value.len() + 3;
    let length = (bare..).find(|length| length - bare == length.to_string().len()).unwrap();
    let record = format!("{length} {key}={value}\n");
    with_data(header(b"pax", b'x', record.len() as u64, b""), record.as_bytes())
}

fn index(parts: &[Vec<u8>]) -> Result<TarIndex, Error> {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&parts.concat()).unwrap();
    TarIndex::read(&file)
}

#[test]
fn plain_prefixed_gnu_and_pax_names_are_found() {
    let mut prefixed = header(b"tail", b'0', 0, b"");
    prefixed[345..349].copy_from_slice(b"head");
    let long = "d/".repeat(100) + "f";
    let gnu = with_data(header(b"././@LongLink", b'L', long.len() as u64 + 1, b""), format!("{long}\0").as_bytes());
    let parts = [
        with_data(header(b"./a", 0, 1, b""), b"A"),
        seal(prefixed),
        gnu,
        with_data(header(b"cut", b'0', 2, b""), b"BB"),
        pax("path", "x/y"),
        with_data(header(b"ignored", b'0', 3, b""), b"CCC"),
        vec![0; 1024],
    ];
    let index = index(&parts).unwrap();
    assert_eq!(index.find("a"), Some(Member { offset: 512, size: 1 }));
    assert_eq!(index.find("head/tail").unwrap().size, 0);
    assert_eq!(index.find(&long).unwrap().size, 2);
    assert_eq!(index.find("./x//y").unwrap().size, 3);
    assert_eq!(index.find("ignored"), None);
}

#[test]
fn the_pax_size_counts_so_that_no_entry_hides_in_another() {
    let inner = header(b"hidden", b'0', 0, b"");
    let parts = [pax("size", "512"), with_data(header(b"outer", b'0', 0, b""), &inner), header(b"next", b'0', 0, b"")];
    let index = index(&parts).unwrap();
    assert_eq!(index.find("hidden"), None);
    assert!(index.find("outer").is_some() && index.find("next").is_some());
}

#[test]
fn links_are_followed_inside_and_never_for_ever() {
    let parts = [
        header(b"a/link", b'2', 0, b"../b/file"),
        with_data(header(b"b/file", b'0', 1, b""), b"x"),
        header(b"hard", b'1', 0, b"b/file"),
        header(b"out", b'2', 0, b"../../b/file"),
        header(b"absolute", b'2', 0, b"/b/file"),
        header(b"one", b'2', 0, b"two"),
        header(b"two", b'2', 0, b"one"),
    ];
    let index = index(&parts).unwrap();
    assert_eq!(index.find("a/link"), index.find("b/file"));
    assert_eq!(index.find("hard"), index.find("b/file"));
    for name in ["out", "absolute", "one", "two", "b", "../b/file"] {
        assert_eq!(index.find(name), None, "{name}");
    }
}

#[test]
fn hostile_sizes_are_errors() {
    let mut huge = header(b"f", b'0', 0, b"");
    huge[124..136].copy_from_slice(&[0x80, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
    assert!(matches!(index(&[seal(huge)]), Err(Error::Damaged(_))));
    assert!(matches!(index(&[header(b"f", b'0', 513, b""), vec![0; 512]]), Err(Error::Damaged(_))));
    assert!(matches!(index(&[pax("size", "99999999999999999999")]), Err(Error::Damaged(_))));
    assert!(matches!(index(&[with_data(header(b"f", b'x', 4, b""), b"9 a=")]), Err(Error::Damaged(_))));
    let long = vec![b'a'; 65 << 10];
    assert!(matches!(index(&[with_data(header(b"f", b'L', long.len() as u64, b""), &long)]), Err(Error::Damaged(_))));
}

#[test]
fn what_is_not_a_tar_file_is_told_from_a_damaged_one() {
    assert!(matches!(index(&[]), Err(Error::NotAnArchive)));
    assert!(matches!(index(&[vec![0; 1024]]), Err(Error::NotAnArchive)));
    assert!(matches!(index(&[b"hello".to_vec()]), Err(Error::NotAnArchive)));
    assert!(matches!(index(&[header(b"f", b'0', 0, b""), vec![1; 512]]), Err(Error::Damaged(_))));
}

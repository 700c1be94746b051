//! Tests of the image as a file; integration tests mount it.

use std::os::unix::fs::FileExt;

use proptest::prelude::*;

use super::super::tar_builder::{Entry, checksum, tar};
use super::super::{Base, Error, Limits, Summary, write};
use super::format::BLOCK;
use super::{reader, verify};

fn image(bytes: &[u8], limits: Limits) -> Result<(Vec<u8>, Summary), Error> {
    let file = tempfile::tempfile_in("/dev/shm").or_else(|_| tempfile::tempfile()).unwrap();
    let summary = write(&mut &*bytes, &file, &limits, Base::Nothing)?;
    let mut image = vec![0; summary.image_bytes as usize];
    file.read_exact_at(&mut image, 0).unwrap();
    assert_eq!(file.metadata().unwrap().len(), summary.image_bytes);
    Ok((image, summary))
}

fn sample(first: &str) -> Vec<u8> {
    tar([
        Entry::file("a", first).xattr("user.a", "b"),
        Entry::file("large", [7; 10_000]),
        Entry::directory("folder"),
        Entry::link("folder/a", "a"),
        Entry::file(".wh.gone", ""),
    ])
}

#[test]
fn the_same_tar_gives_the_same_bytes() {
    let first = image(&sample("text"), Limits::default()).unwrap();
    assert_eq!(first, image(&sample("text"), Limits::default()).unwrap());
    assert_eq!(first.1.entries, 5);
    assert_eq!(first.1.tar_bytes, sample("text").len() as u64);
    assert_eq!(first.1.image_bytes % BLOCK as u64, 0);
}

#[test]
fn different_content_gives_a_different_uuid() {
    let uuid = |text| image(&sample(text), Limits::default()).unwrap().0[1024 + 48..1024 + 64].to_vec();
    assert_ne!(uuid("text"), uuid("tex?"));
    assert_eq!((uuid("text")[6] >> 4, uuid("text")[8] >> 6), (8, 2), "version and variant");
}

#[test]
fn large_files_begin_on_a_block_boundary() {
    let (image, _) = image(&sample("text"), Limits::default()).unwrap();
    assert_eq!(image[BLOCK..BLOCK + 10_000], [7; 10_000]);
}

#[test]
fn an_empty_tar_is_an_empty_root() {
    for bytes in [&[][..], &[0; 1024]] {
        assert_eq!(image(bytes, Limits::default()).unwrap().1.image_bytes, 2 * BLOCK as u64);
    }
}

#[test]
fn limits_hold_and_the_error_names_the_entry() {
    let bytes = sample("text");
    let fails = |limits| image(&bytes, limits).unwrap_err().to_string();
    let default = Limits::default();
    assert_eq!(fails(Limits { bytes: 9_000, ..default }), "Cannot read tar entry \"large\"");
    assert_eq!(fails(Limits { entries: 3, ..default }), "Cannot take tar entry \"folder/a\" into the layer");
    assert_eq!(fails(Limits { metadata: 400, ..default }), "Cannot take tar entry \"folder\" into the layer");
}

#[test]
fn a_sparse_file_cannot_be_larger_than_the_limit() {
    let sparse = |size: &str| {
        tar([Entry::file("s", "").pax("GNU.sparse.size", size).pax("GNU.sparse.map", format!("{size},0"))])
    };
    let limits = Limits { bytes: 10 << 20, ..Limits::default() };
    assert_eq!(image(&sparse("8388608"), limits).unwrap().1.image_bytes, (8 << 20) + 2 * BLOCK as u64);
    for size in ["10485760", "18446744073709551615"] {
        assert!(matches!(image(&sparse(size), limits), Err(Error::Data { .. })));
    }
}

#[test]
fn names_that_lead_out_are_refused_by_name() {
    for (name, shown) in [("a/../../b", "\"a/../../b\""), (".wh...", "\".wh...\"")] {
        let error = image(&tar([Entry::file(name, "x")]), Limits::default()).unwrap_err();
        assert_eq!(error.to_string(), format!("Cannot take tar entry {shown} into the layer"));
    }
    let error = image(&tar([Entry::file("x", "").pax("path", "a\0b")]), Limits::default()).unwrap_err();
    assert_eq!(error.to_string(), "Cannot take tar entry \"a\\x00b\" into the layer");
}

#[test]
fn an_open_hard_link_is_named_at_the_end() {
    let error = image(&tar([Entry::link("a", "lower/b"), Entry::file("c", "")]), Limits::default()).unwrap_err();
    assert_eq!(error.to_string(), "Cannot take tar entry \"a\" into the layer");
}

#[test]
fn a_full_disk_is_an_error() {
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let error = write(&mut &*sample("text"), &full, &Limits::default(), Base::Nothing).unwrap_err();
    assert!(matches!(error, Error::Image(super::Error::Write(_))));
}

/// A file with this in it.
fn file_of(bytes: &[u8]) -> std::fs::File {
    let file = tempfile::tempfile_in("/dev/shm").or_else(|_| tempfile::tempfile()).unwrap();
    file.write_all_at(bytes, 0).unwrap();
    file
}

#[test]
fn what_was_written_is_found_sound() {
    let many = (0..3000).map(|number| Entry::file(format!("many/{number}"), number.to_string()));
    let sparse = Entry::file("s", "").pax("GNU.sparse.size", "8388608").pax("GNU.sparse.map", "8388608,0");
    let zeros = Entry::file("zeros", vec![0; 5_000_000]);
    let devices = [Entry::device(b'3', "c", 1, 3), Entry::device(b'4', "b", 8, 1), Entry::new(b'6', "p")];
    let links = [Entry::symlink("l", "t".repeat(4095)), Entry::link("hard", "zeros"), Entry::link("soft", "l")];
    let folder = Entry::directory("empty").xattr("user.large", vec![7; 60_000]).xattr("user.empty", "");
    let bytes = tar(many.chain([sparse, zeros, folder]).chain(devices).chain(links));
    for bytes in [bytes, sample("text"), tar([])] {
        let (bytes, summary) = image(&bytes, Limits::default()).unwrap();
        verify(file_of(&bytes)).unwrap();
        assert_eq!(summary.image_bytes, bytes.len() as u64);
    }
}

#[test]
fn zeros_that_fill_a_buffer_are_left_out_and_read_back() {
    let file = tempfile::tempfile_in("/dev/shm").or_else(|_| tempfile::tempfile()).unwrap();
    let entries =
        [Entry::file("a", "x".repeat(5000)), Entry::file("zeros", vec![0; 20 << 20]), Entry::file("b", [1; 5000])];
    write(&mut &*tar(entries), &file, &Limits::default(), Base::Nothing).unwrap();
    assert!(std::os::unix::fs::MetadataExt::blocks(&file.metadata().unwrap()) < (4 << 20) / 512);
    verify(file).unwrap();
}

#[test]
fn a_walk_shows_every_file_with_its_path() {
    let (bytes, _) = image(&sample("text"), Limits::default()).unwrap();
    let mut paths = Vec::new();
    let mut note = |path: &[u8], inode: &reader::Inode| paths.push((path.escape_ascii().to_string(), inode.kind));
    reader::Reader::open(file_of(&bytes)).unwrap().walk(&mut note).unwrap();
    paths.sort_by(|one, other| one.0.cmp(&other.0));
    let paths: Vec<&str> = paths.iter().map(|(path, _)| &**path).collect();
    assert_eq!(paths, ["", "a", "folder", "folder/a", "gone", "large"]);
}

#[test]
fn every_flipped_bit_is_found() {
    let (mut bytes, _) = image(&sample("text"), Limits::default()).unwrap();
    for at in 0..bytes.len() {
        // All of the parts that are not file data, and some of that.
        if at % 61 == 0 || !(BLOCK..3 * BLOCK).contains(&at) {
            bytes[at] ^= 1 << (at % 8);
            let damaged = verify(file_of(&bytes));
            assert!(matches!(damaged, Err(reader::Error::Damaged { .. })), "byte {at}");
            bytes[at] ^= 1 << (at % 8);
        }
    }
    for length in [0, 1, 1023, BLOCK, bytes.len() - 1, bytes.len() - BLOCK] {
        assert!(verify(file_of(&bytes[..length])).is_err(), "cut to {length}");
    }
    assert!(verify(file_of(&[&bytes[..], &[0; BLOCK]].concat())).is_err());
}

proptest! {
    #[test]
    fn no_damage_to_an_image_makes_reading_it_panic_or_endless(
        damage in proptest::collection::vec((0usize..30_000, any::<u8>()), 1..6),
    ) {
        let (mut bytes, _) = image(&sample("text"), Limits::default()).unwrap();
        let length = bytes.len() - BLOCK;
        for (offset, byte) in damage {
            bytes[BLOCK + offset % length] = byte;
        }
        let reader = reader::Reader::open(file_of(&bytes)).unwrap();
        let _ = reader.walk(&mut |_, inode| {
            let _ = reader.read_at(inode, &mut [0; 5000], 3);
            let _ = reader.child(inode, b"a");
            let _ = reader.list(inode);
        });
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn no_damage_to_a_tar_makes_it_panic(damage in proptest::collection::vec((0usize..20_000, any::<u8>()), 1..4)) {
        let mut bytes = sample("text");
        let length = bytes.len();
        for (offset, byte) in damage {
            bytes[offset % length] = byte;
            // Most damage would end at the checksum of a header.
            let header = offset % length / 512 * 512;
            let block: &mut [u8; 512] = (&mut bytes[header..header + 512]).try_into().unwrap();
            if block[257..262] == *b"ustar" {
                checksum(block);
            }
        }
        if let Ok((image, summary)) = image(&bytes, Limits { bytes: 1 << 20, ..Limits::default() }) {
            prop_assert_eq!(image.len() as u64, summary.image_bytes);
        }
    }
}

#[test]
fn many_small_files_are_packed_however_much_they_are_together() {
    // More than is held in memory, so that some of it is put behind the image for a while.
    let content =
        |number: u32| -> Vec<u8> { (0..3000).map(|at: u32| (at.wrapping_mul(number + 1) >> 3) as u8).collect() };
    let count = 4000;
    let bytes = tar((0..count).map(|number| Entry::file(format!("{number}").as_str(), content(number))));
    let file = tempfile::tempfile_in("/dev/shm").or_else(|_| tempfile::tempfile()).unwrap();
    let summary = write(&mut bytes.as_slice(), &file, &Limits::default(), Base::Nothing).unwrap();
    assert_eq!(file.metadata().unwrap().len(), summary.image_bytes, "nothing is left behind the image");
    assert!(summary.image_bytes < 4300 * u64::from(count), "a block for each with its inode");
    verify(file.try_clone().unwrap()).unwrap();
    let reader = reader::Reader::open(file).unwrap();
    let root = reader.root().unwrap();
    for number in [0, 1, 2500, 2796, 2797, count - 1] {
        let inode = reader.child(&root, number.to_string().as_bytes()).unwrap().unwrap();
        let mut data = vec![0; 3000];
        assert_eq!(reader.read_at(&inode, &mut data, 0).unwrap(), 3000);
        assert!(data == content(number), "{number}");
    }
}

//! Tests of decompression: every way a layer may be compressed, and damaged.

use std::io::{Cursor, ErrorKind, Write};

use flate2::Compression;
use flate2::write::GzEncoder;

use super::*;

fn gzip(data: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

fn zstd(data: &[u8]) -> Vec<u8> {
    zstd::encode_all(data, 1).unwrap()
}

/// What comes out, and whether all of the input was read.
fn plain(input: &[u8]) -> io::Result<(Vec<u8>, bool)> {
    struct Counting<'a>(Cursor<&'a [u8]>, &'a std::sync::atomic::AtomicBool);
    impl Read for Counting<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            // One byte at a time is the hardest way to be read.
            let read = self.0.read(&mut buffer[..1])?;
            self.1.store(read == 0, std::sync::atomic::Ordering::Relaxed);
            Ok(read)
        }
    }
    let ended = std::sync::atomic::AtomicBool::new(false);
    let mut output = Vec::new();
    decompress(Box::new(Counting(Cursor::new(input), &ended))).unwrap().read_to_end(&mut output)?;
    Ok((output, ended.into_inner()))
}

#[test]
fn plain_data_stays_as_it_is() {
    for data in [&b""[..], b"a", b"\x1f", b"a longer text"] {
        assert_eq!(plain(data).unwrap(), (data.to_vec(), true));
    }
}

#[test]
fn gzip_may_have_several_members_empty_ones_too() {
    let data = [gzip(b"one "), gzip(b""), gzip(b"two")].concat();
    assert_eq!(plain(&data).unwrap(), (b"one two".to_vec(), true));
}

#[test]
fn what_follows_the_last_gzip_member_is_read_and_ignored() {
    for rest in [&[0; 1000][..], b"garbage", b"\x1f garbage"] {
        assert_eq!(plain(&[&gzip(b"one"), rest].concat()).unwrap(), (b"one".to_vec(), true));
    }
}

#[test]
fn zstd_may_have_several_frames_and_skippable_ones() {
    let skippable = b"\x53\x2a\x4d\x18\x03\0\0\0abc".to_vec();
    let data = [skippable.clone(), zstd(b"one "), skippable.clone(), zstd(b"two"), skippable].concat();
    assert_eq!(plain(&data).unwrap(), (b"one two".to_vec(), true));
}

#[test]
fn cut_input_is_an_error() {
    let text: Vec<u8> = (0..10_000u32).flat_map(u32::to_le_bytes).collect();
    for whole in [gzip(&text), zstd(&text), [gzip(b"one"), gzip(&text)].concat()] {
        for cut in [8, whole.len() / 2, whole.len() - 9, whole.len() - 1] {
            assert_eq!(plain(&whole[..cut]).unwrap_err().kind(), ErrorKind::UnexpectedEof, "cut to {cut}");
        }
    }
}

#[test]
fn damaged_input_is_an_error() {
    let text: Vec<u8> = (0..10_000u32).flat_map(u32::to_le_bytes).collect();
    let mut damaged = gzip(&text);
    let last = damaged.len() - 6;
    damaged[last] ^= 1;
    plain(&damaged).unwrap_err();
    plain(&[&zstd(b"one")[..], b"garbage"].concat()).unwrap_err();
}

#[test]
fn a_zstd_window_beyond_the_limit_is_refused() {
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
    encoder.window_log(28).unwrap();
    encoder.write_all(&[7; 1000]).unwrap();
    plain(&encoder.finish().unwrap()).unwrap_err();
}

#[test]
fn other_compressions_are_named() {
    for (data, name) in [(&b"BZh91AY&SY"[..], "bzip2"), (b"\xfd7zXZ\0\0\x04", "xz")] {
        let error = decompress(Box::new(Cursor::new(data))).err().unwrap();
        assert!(matches!(error, Error::Compression(found) if found == name));
    }
}

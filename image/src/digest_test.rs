//! Digests are strict; the reader stops where the announced content ends.

use super::*;

const EMPTY: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

#[test]
fn the_digest_of_nothing_is_the_known_one() {
    assert_eq!(Digest::of(b"").as_str(), EMPTY);
}

#[test]
fn only_well_formed_digests_parse() {
    assert_eq!(EMPTY.parse::<Digest>().unwrap().hex(), &EMPTY[7..]);
    let long = format!("sha512:{}", "0".repeat(128));
    assert_eq!(long.parse::<Digest>().unwrap().algorithm(), Algorithm::Sha512);
    let upper = EMPTY.replace('e', "E");
    let cut = &EMPTY[..EMPTY.len() - 1];
    for text in ["", "sha256", "sha256:", "sha256:../../../../etc/passwd", "md5:0", &upper, cut, &format!("{EMPTY}0")] {
        assert!(text.parse::<Digest>().is_err(), "{text:?} was taken for a digest");
    }
}

#[test]
fn a_whole_stream_verifies() {
    let mut reader = Hashing::new(&b"hello"[..], Algorithm::Sha256, Some(5));
    reader.drain().unwrap();
    assert_eq!(reader.verify(&Digest::of(b"hello")), Ok(5));
}

#[test]
fn another_content_is_named_in_the_error() {
    let mut reader = Hashing::new(&b"hellO"[..], Algorithm::Sha256, Some(5));
    reader.drain().unwrap();
    assert!(matches!(reader.verify(&Digest::of(b"hello")), Err(Error::Mismatch { .. })));
}

#[test]
fn a_cut_stream_is_told_from_a_wrong_one() {
    let mut reader = Hashing::new(&b"hell"[..], Algorithm::Sha256, Some(5));
    reader.drain().unwrap();
    assert_eq!(reader.verify(&Digest::of(b"hello")), Err(Error::TooShort { expected: 5, actual: 4 }));
}

#[test]
fn an_endless_stream_is_stopped_one_byte_past_its_size() {
    struct Endless(u64);
    impl Read for Endless {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            buffer.fill(0);
            self.0 += buffer.len() as u64;
            Ok(buffer.len())
        }
    }
    let mut endless = Endless(0);
    let error = Hashing::new(&mut endless, Algorithm::Sha256, Some(100_000)).drain().unwrap_err();
    assert_eq!(error.downcast::<Error>().unwrap(), Error::TooLong(100_000));
    assert_eq!(endless.0, 100_001);
}

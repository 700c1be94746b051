use std::io::Write;

use super::*;
use crate::digest::Algorithm;
use crate::ingest::{Error, Reason};
use crate::progress::Silent;

fn file(content: &[u8]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(content).unwrap();
    file
}

fn content(file: &File) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(file.metadata().unwrap().len()).unwrap()];
    file.read_exact_at(&mut bytes, 0).unwrap();
    bytes
}

#[test]
fn a_beginning_is_read_from_the_file_and_the_rest_from_where_it_ends() {
    let file = file(b"0123456");
    let open = || Ok(Box::new(&b"789"[..]) as Bytes<'_>);
    let mut resumed = Resumed { file: &file, position: 0, end: 7, rest: Rest::Closed(&open) };
    let mut bytes = Vec::new();
    resumed.read_to_end(&mut bytes).unwrap();
    assert_eq!(bytes, b"0123456789");
}

#[test]
fn the_rest_is_asked_for_only_when_it_is_needed() {
    let file = file(b"abc");
    let open = || Err("No network".into());
    let mut resumed = Resumed { file: &file, position: 0, end: 3, rest: Rest::Closed(&open) };
    let mut bytes = [0; 3];
    resumed.read_exact(&mut bytes).unwrap();
    assert_eq!(&bytes, b"abc");
    assert_eq!(resumed.read(&mut bytes).unwrap_err().to_string(), "No network");
}

#[test]
fn only_what_is_missing_is_written_to_the_file() {
    let file = file(b"XXXX");
    let (label, stop) = (Digest::of(b""), Stop::default());
    let source: Bytes<'_> = Box::new(&b"0123456789"[..]);
    let mut input = Input {
        hashing: Hashing::new(source, Algorithm::Sha256, None),
        output: Some((&file, 4)),
        position: 0,
        failure: None,
        label: &label,
        progress: &Silent,
        stop: &stop,
    };
    // Reads end before, at and behind the seam.
    for length in [3, 1, 2, 4] {
        input.read_exact(&mut vec![0; length]).unwrap();
    }
    assert_eq!(content(&file), b"XXXX456789");
}

#[test]
fn a_layer_stops_when_another_has_failed_and_remembers_why() {
    let (label, stop) = (Digest::of(b""), Stop::default());
    stop.because(&Error::Fetch { layer: label.clone(), source: "gone".into() });
    let source: Bytes<'_> = Box::new(&b"0123456789"[..]);
    let mut input = Input {
        hashing: Hashing::new(source, Algorithm::Sha256, None),
        output: None,
        position: 0,
        failure: None,
        label: &label,
        progress: &Silent,
        stop: &stop,
    };
    assert!(input.read(&mut [0; 4]).is_err());
    assert!(matches!(input.failure, Some(Failure::Stopped)));
    assert!(matches!(stop.reason(), Some(Reason::Source)));
    stop.because(&Error::Decompress { layer: label.clone(), source: io::ErrorKind::InvalidData.into() });
    assert!(matches!(stop.reason(), Some(Reason::Image)), "a broken image is the stronger reason");
}

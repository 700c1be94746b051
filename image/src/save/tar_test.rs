//! Tar files that other programs read.

use std::io;
use std::process::{Command, Stdio};

use super::*;

fn written(files: &[(&str, &[u8])], go_back: bool) -> Vec<u8> {
    let mut stream = Vec::new();
    let file = tempfile::tempfile().unwrap();
    let target = if go_back { Target::File(&file) } else { Target::Stream(&mut stream) };
    let mut writer = Writer::new(target);
    for (name, content) in files {
        if go_back {
            assert!(writer.can_go_back());
            assert_eq!(writer.file_of_any_size(name, &mut &**content).unwrap(), content.len() as u64);
        } else {
            writer.file(name, content.len() as u64, &mut &**content).unwrap();
        }
    }
    writer.finish().unwrap();
    if go_back {
        let length = file.metadata().unwrap().len();
        stream.resize(usize::try_from(length).unwrap(), 0);
        file.read_exact_at(&mut stream, 0).unwrap();
    }
    stream
}

#[test]
fn tar_lists_what_was_written_whether_sizes_were_known_or_not() {
    let long = format!("blobs/sha512/{}", "a".repeat(128));
    let files: [(&str, &[u8]); 4] = [("a", b"one"), ("b/empty", b""), (&long, &[7; 512]), ("c", &[8; 1000])];
    let bytes = written(&files, false);
    assert!(bytes == written(&files, true));
    let mut tar = Command::new("tar").args(["-tvf", "-"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    tar.stdin.take().unwrap().write_all(&bytes).unwrap();
    let listing = tar.wait_with_output().unwrap();
    assert!(listing.status.success());
    let listing = String::from_utf8(listing.stdout).unwrap();
    let seen: Vec<(&str, &str)> = listing
        .lines()
        .map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            (words[2], words[5])
        })
        .collect();
    assert_eq!(seen, [("3", "a"), ("0", "b/empty"), ("512", long.as_str()), ("1000", "c")]);
}

#[test]
fn a_size_beyond_octal_is_in_base_256() {
    let block = header("big", 20 << 30, b'0');
    assert_eq!(block[124..136], [0x80, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0]);
}

#[test]
fn content_of_another_size_than_announced_is_an_error() {
    let mut sink = io::sink();
    let mut writer = Writer::new(Target::Stream(&mut sink));
    assert!(writer.file("a", 4, &mut &b"one"[..]).is_err());
}

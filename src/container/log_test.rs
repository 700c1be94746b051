//! Lines go in as bytes and come out as they were.

use super::*;

fn entries(path: &Path) -> Vec<Entry> {
    let mut reader = Reader::open(path).unwrap().unwrap();
    std::iter::from_fn(|| reader.next().unwrap()).collect()
}

fn written(chunks: &[(Stream, &[u8])]) -> Vec<(String, String)> {
    let folder = tempfile::tempdir().unwrap();
    let path = path(folder.path());
    let mut writer = Writer::new(path.clone(), Limits::default());
    for (stream, bytes) in chunks {
        writer.write(*stream, bytes).unwrap();
    }
    writer.finish().unwrap();
    entries(&path).into_iter().map(|entry| (entry.stream, entry.log)).collect()
}

fn texts(entries: &[(String, String)]) -> Vec<&str> {
    entries.iter().map(|(_, text)| text.as_str()).collect()
}

#[test]
fn lines_are_split_at_newlines_wherever_the_chunks_end() {
    let entries = written(&[
        (Stream::Stdout, b"one\ntw"),
        (Stream::Stderr, b"bad\n"),
        (Stream::Stdout, b"o\n\nend"),
        (Stream::Terminal, b"ed"),
    ]);
    assert_eq!(entries[1], ("stderr".to_owned(), "bad\n".to_owned()));
    assert_eq!(texts(&entries), ["one\n", "bad\n", "two\n", "\n", "ended"]);
}

#[test]
fn a_long_line_comes_in_pieces_of_16_kib() {
    let line = [vec![b'x'; 2 * PIECE + 3], b"\n".to_vec()].concat();
    let entries = written(&[(Stream::Stdout, &line)]);
    assert_eq!(texts(&entries).iter().map(|text| text.len()).collect::<Vec<_>>(), [PIECE, PIECE, 4]);
    assert_eq!(texts(&entries).concat().as_bytes(), line);
}

#[test]
fn a_piece_does_not_cut_a_character() {
    let line = format!("x{}", "ä".repeat(PIECE));
    let entries = written(&[(Stream::Stdout, line.as_bytes())]);
    assert_eq!(texts(&entries).concat(), line);
}

#[test]
fn what_is_no_text_is_marked_and_what_json_cannot_hold_is_escaped() {
    let entries = written(&[(Stream::Stdout, b"a\xff\"\\\t\x01\n")]);
    assert_eq!(texts(&entries), ["a\u{fffd}\"\\\t\u{1}\n"]);
}

#[test]
fn an_entry_is_what_docker_writes() {
    let folder = tempfile::tempdir().unwrap();
    let path = path(folder.path());
    Writer::new(path.clone(), Limits::default()).write(Stream::Stdout, b"hello\n").unwrap();
    let text = std::fs::read_to_string(path).unwrap();
    let time = text.strip_prefix(r#"{"log":"hello\n","stream":"stdout","time":""#).unwrap();
    let time = time.strip_suffix("\"}\n").unwrap();
    assert_eq!(time.len(), "2024-05-06T07:08:09.123456789Z".len(), "{time}");
}

#[test]
fn a_container_that_says_nothing_has_no_log() {
    let folder = tempfile::tempdir().unwrap();
    let path = path(folder.path());
    Writer::new(path.clone(), Limits::default()).finish().unwrap();
    assert!(Reader::open(&path).unwrap().is_none());
}

#[test]
fn the_last_lines_are_lines_and_not_pieces() {
    let folder = tempfile::tempdir().unwrap();
    let path = path(folder.path());
    let mut writer = Writer::new(path.clone(), Limits::default());
    writer.write(Stream::Stdout, b"one\ntwo\n").unwrap();
    writer.write(Stream::Stdout, &vec![b'x'; PIECE]).unwrap();
    writer.write(Stream::Stdout, b"y\n").unwrap();
    let last = |count| -> Vec<usize> {
        let entries = Reader::open(&path).unwrap().unwrap().last(count, |_| true).unwrap();
        entries.iter().map(|entry| entry.log.len()).collect()
    };
    assert_eq!(last(0), [0usize; 0]);
    assert_eq!(last(1), [PIECE, 2]);
    assert_eq!(last(2), [4, PIECE, 2]);
    assert_eq!(last(9), [4, 4, PIECE, 2]);
}

#[test]
fn a_reader_goes_on_when_the_log_grows_and_passes_over_what_was_cut() {
    let folder = tempfile::tempdir().unwrap();
    let path = path(folder.path());
    std::fs::write(&path, "{\"log\":\"cut\n").unwrap();
    let mut writer = Writer::new(path.clone(), Limits::default());
    writer.write(Stream::Stdout, b"one\n").unwrap();
    let mut reader = Reader::open(&path).unwrap().unwrap();
    assert_eq!(reader.next().unwrap().unwrap().log, "one\n");
    assert!(reader.next().unwrap().is_none());
    writer.write(Stream::Stdout, b"two\n").unwrap();
    assert_eq!(reader.next().unwrap().unwrap().log, "two\n");
}

/// An entry of a hundred bytes or so.
fn line(number: usize) -> Vec<u8> {
    format!("{number:060}\n").into_bytes()
}

#[test]
fn a_log_does_not_become_longer_than_it_may() {
    let folder = tempfile::tempdir().unwrap();
    let path = path(folder.path());
    let mut writer = Writer::new(path.clone(), Limits { size: 1000, files: 3 });
    for number in 0..100 {
        writer.write(Stream::Stdout, &line(number)).unwrap();
        // Another run of the container goes on where this one ended.
        if number % 10 == 0 {
            writer = Writer::new(path.clone(), Limits { size: 1000, files: 3 });
        }
    }
    let files: Vec<u64> = fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().metadata().unwrap().len()).collect();
    assert_eq!(files.len(), 3);
    assert!(files.iter().all(|length| (1..=1000).contains(length)), "{files:?}");
    let kept: Vec<usize> = entries(&path).iter().map(|entry| entry.log.trim_end().parse().unwrap()).collect();
    let first = *kept.first().unwrap();
    assert!((80..95).contains(&first), "{first}");
    assert_eq!(kept, (first..100).collect::<Vec<_>>());
}

#[test]
fn one_file_is_enough() {
    let folder = tempfile::tempdir().unwrap();
    let path = path(folder.path());
    let mut writer = Writer::new(path.clone(), Limits { size: 1, files: 1 });
    writer.write(Stream::Stdout, b"one\n").unwrap();
    writer.write(Stream::Stdout, b"two\n").unwrap();
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    assert_eq!(entries(&path).iter().map(|entry| entry.log.as_str()).collect::<Vec<_>>(), ["two\n"]);
}

#[test]
fn a_reader_that_keeps_up_misses_nothing_when_the_log_is_put_aside() {
    let folder = tempfile::tempdir().unwrap();
    let path = path(folder.path());
    let mut writer = Writer::new(path.clone(), Limits { size: 250, files: 2 });
    writer.write(Stream::Stdout, &line(0)).unwrap();
    let mut reader = Reader::open(&path).unwrap().unwrap();
    for number in 1..50 {
        writer.write(Stream::Stdout, &line(number)).unwrap();
        let entry = reader.next().unwrap().unwrap();
        assert_eq!(entry.log.as_bytes(), line(number - 1));
    }
    assert_eq!(reader.next().unwrap().unwrap().log.as_bytes(), line(49));
    assert!(reader.next().unwrap().is_none());
}

#[test]
fn a_reader_that_is_left_behind_goes_on_with_the_oldest_there_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = path(folder.path());
    let mut writer = Writer::new(path.clone(), Limits { size: 1, files: 3 });
    writer.write(Stream::Stdout, &line(0)).unwrap();
    let mut reader = Reader::open(&path).unwrap().unwrap();
    for number in 1..10 {
        writer.write(Stream::Stdout, &line(number)).unwrap();
    }
    let read: Vec<String> = std::iter::from_fn(|| reader.next().unwrap()).map(|entry| entry.log).collect();
    let expected: Vec<String> = [0, 7, 8, 9].map(|number| String::from_utf8(line(number)).unwrap()).into();
    assert_eq!(read, expected);
}

#[test]
fn a_line_that_a_power_cut_left_unfinished_costs_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let path = path(folder.path());
    fs::write(&path, "{\"log\":\"cut").unwrap();
    Writer::new(path.clone(), Limits::default()).write(Stream::Stdout, b"one\n").unwrap();
    assert_eq!(entries(&path).iter().map(|entry| entry.log.as_str()).collect::<Vec<_>>(), ["one\n"]);
}

#[test]
fn what_comes_at_once_is_divided_between_files() {
    let folder = tempfile::tempdir().unwrap();
    let path = path(folder.path());
    let burst: Vec<u8> = (0..100).flat_map(line).collect();
    Writer::new(path.clone(), Limits { size: 1000, files: 200 }).write(Stream::Stdout, &burst).unwrap();
    let lengths: Vec<u64> =
        fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().metadata().unwrap().len()).collect();
    assert!(lengths.len() > 1 && lengths.iter().all(|length| *length <= 1000), "{lengths:?}");
    assert_eq!(entries(&path).iter().flat_map(|entry| entry.log.bytes()).collect::<Vec<_>>(), burst);
}

#[test]
fn a_reader_beside_a_writer_that_puts_aside_all_the_time_misses_nothing() {
    const LINES: usize = 3000;
    let folder = tempfile::tempdir().unwrap();
    let path = path(folder.path());
    let writer = std::thread::spawn({
        let path = path.clone();
        move || {
            let mut writer = Writer::new(path, Limits { size: 400, files: 100_000 });
            (0..LINES).for_each(|number| writer.write(Stream::Stdout, &line(number)).unwrap());
        }
    });
    let mut reader = None;
    let mut expected = 0;
    while expected < LINES {
        let over = writer.is_finished();
        if reader.is_none() {
            reader = Reader::open(&path).unwrap();
        }
        let Some(entry) = reader.as_mut().and_then(|reader| reader.next().unwrap()) else {
            assert!(!over, "the end was reached after {expected} lines");
            std::thread::yield_now();
            continue;
        };
        assert_eq!(entry.log.as_bytes(), line(expected));
        expected += 1;
    }
    writer.join().unwrap();
}

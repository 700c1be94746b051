//! Tests of reading ahead: everything arrives, and whoever stops first stops the other.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::*;

/// Gives so many bytes in pieces of all sizes, then what `end` says.
struct Source<'a> {
    left: usize,
    given: &'a AtomicUsize,
    dropped: &'a AtomicBool,
    end: fn() -> io::Result<usize>,
}

impl Read for Source<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let given = self.given.load(Ordering::Relaxed);
        if self.left == 0 {
            return (self.end)();
        }
        if given % 5 == 1 {
            self.given.fetch_add(1, Ordering::Relaxed);
            self.left -= 1;
            buffer[0] = byte(given);
            return Ok(1);
        }
        let count = buffer.len().min(self.left).min(given % 70_000 + 1);
        for (offset, place) in buffer[..count].iter_mut().enumerate() {
            *place = byte(given + offset);
        }
        self.given.fetch_add(count, Ordering::Relaxed);
        self.left -= count;
        Ok(count)
    }
}

impl Drop for Source<'_> {
    fn drop(&mut self) {
        self.dropped.store(true, Ordering::Relaxed);
    }
}

fn byte(offset: usize) -> u8 {
    (offset * 31 + offset / 256) as u8
}

/// Runs `work` over a source of so many bytes; returns its result and how much of the source was read.
fn run<T>(length: usize, end: fn() -> io::Result<usize>, work: impl FnOnce(&mut dyn Read) -> T) -> (T, usize) {
    let (given, dropped) = (AtomicUsize::new(0), AtomicBool::new(false));
    let source = Source { left: length, given: &given, dropped: &dropped, end };
    let result = pipelined(Box::new(source), work);
    assert!(dropped.into_inner(), "the source is gone when it is over");
    (result, given.into_inner())
}

fn read_all(reader: &mut dyn Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    reader.read_to_end(&mut bytes).map(|_| bytes)
}

#[test]
fn everything_arrives_in_order() {
    for length in [0, 1, BUFFER - 1, BUFFER, BUFFER + 1, 7 * BUFFER + 5, 3_000_000] {
        let (bytes, given) = run(length, || Ok(0), read_all);
        assert_eq!(given, length);
        assert!(bytes.unwrap().into_iter().eq((0..length).map(byte)));
    }
}

#[test]
fn the_end_stays_the_end() {
    run(
        10,
        || Ok(0),
        |reader| {
            assert_eq!(read_all(reader).unwrap().len(), 10);
            assert_eq!(reader.read(&mut [0; 9]).unwrap(), 0);
            assert_eq!(reader.read(&mut [0; 9]).unwrap(), 0);
        },
    );
}

#[test]
fn an_error_comes_after_what_was_read_before_it() {
    let fail = || Err(io::Error::new(ErrorKind::UnexpectedEof, "cut"));
    for length in [0, 5, BUFFER, 2 * BUFFER + 1] {
        run(length, fail, |reader| {
            let mut bytes = vec![0; length];
            reader.read_exact(&mut bytes).unwrap();
            assert!(bytes.into_iter().eq((0..length).map(byte)));
            assert_eq!(reader.read(&mut [0]).unwrap_err().kind(), ErrorKind::UnexpectedEof);
        });
    }
}

#[test]
fn who_stops_reading_stops_the_source() {
    for wanted in [0, 1, BUFFER + 1] {
        let (_, given) = run(usize::MAX, || Ok(0), |reader| reader.read_exact(&mut vec![0; wanted]).unwrap());
        assert!(given <= wanted + (BUFFERS + 1) * BUFFER, "no more memory than said: {given}");
    }
}

#[test]
fn a_panic_of_the_source_comes_out() {
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        run(BUFFER + 3, || panic!("source"), |reader| assert!(read_all(reader).is_err()));
    }));
    assert_eq!(*panicked.unwrap_err().downcast::<&str>().unwrap(), "source");
}

#[test]
fn a_panic_of_the_work_comes_out_and_ends_the_source() {
    let panicked = catch_unwind(AssertUnwindSafe(|| run(usize::MAX, || Ok(0), |_| panic!("work"))));
    assert_eq!(*panicked.unwrap_err().downcast::<&str>().unwrap(), "work");
}

#[test]
fn interruptions_are_nothing() {
    struct Interrupted(bool);
    impl Read for Interrupted {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            self.0 = !self.0;
            if self.0 { Err(ErrorKind::Interrupted.into()) } else { Ok(0) }
        }
    }
    assert!(pipelined(Box::new(Interrupted(false)), read_all).unwrap().is_empty());
}

//! A blob on its way in: a reader that goes on where it stopped when the connection breaks.

use std::io::{self, Read};
use std::sync::Arc;

use ureq::BodyReader;

use super::ranges::{self, Ranges, Stop};
use super::whence::{Span, Whence};
use super::{Error, State};
use crate::manifest::Descriptor;

/// Progress after which earlier failures are forgotten: a slow link may break often, a hostile registry must not
/// keep us for ever.
const FORGIVEN_AFTER: u64 = 1 << 20;

/// The bytes of a blob. They are not verified here: whoever reads them hashes them.
pub struct Blob {
    whence: Arc<Whence>,
    /// Which of the places that have it is read from.
    place: usize,
    position: u64,
    stream: Stream,
    failures: Failures,
}

pub(super) enum Stream {
    /// One answer; `None` when the last one broke.
    One(Option<BodyReader<'static>>),
    /// Many at once.
    Many(Ranges),
}

/// Counts what went wrong lately.
#[derive(Default)]
pub(super) struct Failures {
    count: u32,
    position: u64,
}

impl Failures {
    pub(super) fn since(position: u64) -> Failures {
        Failures { count: 0, position }
    }

    /// Notes a failure at `position`; how many there were, those forgiven left out.
    pub(super) fn note(&mut self, position: u64) -> u32 {
        if position.saturating_sub(self.position) >= FORGIVEN_AFTER {
            self.count = 0;
        }
        self.position = position;
        self.count = self.count.saturating_add(1);
        self.count
    }
}

impl Blob {
    pub(super) fn open(state: Arc<State>, descriptor: &Descriptor, offset: u64) -> Result<Blob, Error> {
        let whence = Arc::new(Whence::new(state, descriptor));
        let failures = Failures::since(offset);
        let mut blob = Blob { whence, place: 0, position: offset, stream: Stream::One(None), failures };
        if offset == 0 || offset < descriptor.size {
            blob.stream = blob.open_any()?;
        }
        Ok(blob)
    }

    /// Opens the rest at the current place, or at one of those after it.
    fn open_any(&mut self) -> Result<Stream, Error> {
        loop {
            let left = self.whence.size.saturating_sub(self.position);
            let result = if left >= ranges::WORTH_IT {
                Ranges::open(&self.whence, self.place, self.position)
            } else {
                self.open_one()
            };
            match result {
                Err(error) if self.whence.has(self.place + 1) => {
                    log::info!("{} gave no {}: {error}", self.whence.place(self.place), self.whence.what());
                    self.place += 1;
                }
                result => return result,
            }
        }
    }

    fn open_one(&self) -> Result<Stream, Error> {
        let body = self.whence.open(self.place, Span { from: self.position, to: None })?;
        Ok(Stream::One(Some(body)))
    }

    fn reopen(&mut self) -> io::Result<()> {
        self.stream = match self.open_one() {
            Ok(stream) => stream,
            // A failure counts at the next turn, which finds no body.
            Err(Error::Broken { .. }) => Stream::One(None),
            Err(error) => {
                let next = self.whence.has(self.place + 1);
                self.place += usize::from(next);
                if next { self.open_any() } else { Err(error) }.map_err(io::Error::other)?
            }
        };
        Ok(())
    }

    fn broken(&mut self, failure: io::Error) -> io::Result<()> {
        self.stream = Stream::One(None);
        let count = self.failures.note(self.position);
        match self.whence.state.http.retry().pause(count) {
            Some(pause) => {
                let (what, size) = (self.whence.what(), self.whence.size);
                log::warn!("The {what} broke off at {} of {size} bytes: {failure}", self.position);
                std::thread::sleep(pause);
                self.reopen()
            }
            None if self.whence.has(self.place + 1) => {
                self.place += 1;
                self.failures = Failures::since(self.position);
                self.stream = self.open_any().map_err(io::Error::other)?;
                Ok(())
            }
            None => Err(failure),
        }
    }
}

impl Read for Blob {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let result = match &mut self.stream {
                Stream::One(body) => body.as_mut().map_or(Ok(0), |body| body.read(buffer)),
                Stream::Many(ranges) => match ranges.read(buffer) {
                    Ok(read) => Ok(read),
                    Err(Stop::NoRanges) => {
                        self.reopen()?;
                        continue;
                    }
                    Err(Stop::Failed(error)) if self.whence.has(self.place + 1) => {
                        log::info!("{} failed: {error}", self.whence.place(self.place));
                        self.place += 1;
                        self.stream = self.open_any().map_err(io::Error::other)?;
                        continue;
                    }
                    Err(Stop::Failed(error)) => return Err(error),
                },
            };
            let failure = match result {
                Ok(0) if self.position < self.whence.size && !buffer.is_empty() => io::ErrorKind::UnexpectedEof.into(),
                Ok(read) => {
                    self.position = self.position.saturating_add(read as u64);
                    return Ok(read);
                }
                // All that was announced has come; how the connection ends after that does not matter.
                Err(_) if self.position == self.whence.size => return Ok(0),
                Err(error) => error,
            };
            self.broken(failure)?;
        }
    }
}

//! A large blob on its way in by several requests at once, each for a piece of it, delivered in order.
//!
//! One connection seldom fills a link: each has its own congestion window, and many registries limit each. The memory
//! is bounded: pieces that are being fetched or wait for their turn are at most [`WINDOW`].

use std::collections::VecDeque;
use std::io::{self, Read};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::Error;
use super::blob::{Failures, Stream};
use super::http::Answer;
use super::whence::{Span, Whence};

/// Bytes left from which on several requests are worth their overhead.
pub(super) const WORTH_IT: u64 = 32 << 20;
/// Bytes of one request: long enough that its round trip does not count.
const PIECE: u64 = 4 << 20;
/// Requests at once for one blob. Several blobs come in at once too, and registries do not like more than a handful.
const WORKERS: usize = 3;
/// Most pieces in memory: those being fetched, and one that is being read.
const WINDOW: u64 = WORKERS as u64 + 1;
/// Bytes that are handed over at once: as much as the connection below reads, so that slow links deliver steadily too.
const CHUNK: usize = 128 << 10;

/// Why there is no more to come this way.
#[derive(Debug)]
pub(super) enum Stop {
    /// The registry suddenly knows no ranges.
    NoRanges,
    Failed(io::Error),
}

/// The reading end. Its threads end when it is dropped.
pub(super) struct Ranges {
    shared: Arc<Shared>,
    chunk: Vec<u8>,
    used: usize,
}

struct Shared {
    whence: Arc<Whence>,
    place: usize,
    /// Of the first piece in the blob.
    offset: u64,
    state: Mutex<State>,
    /// Told to the reader.
    filled: Condvar,
    /// Told to the threads.
    room: Condvar,
}

#[derive(Default)]
struct State {
    /// The pieces from the one that is being read to the last one begun.
    pieces: VecDeque<Piece>,
    /// Number of the first of them.
    first: u64,
    stop: Option<Stop>,
    /// Nobody reads any more.
    abandoned: bool,
    /// Buffers to be used again.
    spare: Vec<Vec<u8>>,
}

#[derive(Default)]
struct Piece {
    chunks: VecDeque<Vec<u8>>,
    complete: bool,
}

impl Ranges {
    /// Asks for the first piece, and begins with the others if the registry knows ranges.
    pub(super) fn open(whence: &Arc<Whence>, place: usize, offset: u64) -> Result<Stream, Error> {
        let span = Span { from: offset, to: Some(offset.saturating_add(PIECE)) };
        let answer = match whence.ask(place, span) {
            Ok(answer) => answer,
            // It counts as the first failure of a single stream.
            Err(Error::Broken { .. }) => return Ok(Stream::One(None)),
            Err(error) => return Err(error),
        };
        if answer.status() != 206 {
            let mut body = answer.response.into_body().into_reader();
            return match io::copy(&mut body.by_ref().take(offset), &mut io::sink()) {
                Ok(skipped) if skipped == offset => Ok(Stream::One(Some(body))),
                _ => Ok(Stream::One(None)),
            };
        }
        let shared = Arc::new(Shared {
            whence: whence.clone(),
            place,
            offset,
            state: Mutex::new(State { pieces: VecDeque::from([Piece::default()]), ..State::default() }),
            filled: Condvar::new(),
            room: Condvar::new(),
        });
        let spawn = |answer: Option<Answer>| {
            let shared = shared.clone();
            thread::Builder::new().name("blob".to_owned()).spawn(move || shared.work(answer))
        };
        // The first has the first piece, and could do all alone.
        if spawn(Some(answer)).is_err() {
            return Ok(Stream::One(None));
        }
        for _ in 1..WORKERS {
            let _ = spawn(None);
        }
        Ok(Stream::Many(Ranges { shared, chunk: Vec::new(), used: 0 }))
    }

    pub(super) fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Stop> {
        if self.used == self.chunk.len() {
            let empty = std::mem::take(&mut self.chunk);
            self.chunk = self.shared.take(empty)?;
            self.used = 0;
        }
        let rest = self.chunk.get(self.used..).unwrap_or_default();
        let length = rest.len().min(buffer.len());
        if let (Some(to), Some(from)) = (buffer.get_mut(..length), rest.get(..length)) {
            to.copy_from_slice(from);
        }
        self.used = self.used.saturating_add(length);
        Ok(length)
    }
}

impl Drop for Ranges {
    fn drop(&mut self) {
        self.shared.lock().abandoned = true;
        self.shared.room.notify_all();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where a piece begins and ends in the blob; `None` after the last.
    fn span(&self, piece: u64) -> Option<(u64, u64)> {
        let from = self.offset.checked_add(piece.checked_mul(PIECE)?)?;
        (from < self.whence.size).then(|| (from, from.saturating_add(PIECE).min(self.whence.size)))
    }

    /// The next bytes in order, waited for; none at the end.
    fn take(&self, empty: Vec<u8>) -> Result<Vec<u8>, Stop> {
        let mut state = self.lock();
        if empty.capacity() > 0 {
            state.spare.push(empty);
        }
        loop {
            if self.span(state.first).is_none() {
                return Ok(Vec::new());
            }
            let front = state.pieces.front_mut();
            match front.map(|piece| (piece.chunks.pop_front(), piece.complete)) {
                Some((Some(chunk), _)) => return Ok(chunk),
                Some((None, true)) => {
                    state.pieces.pop_front();
                    state.first = state.first.saturating_add(1);
                    self.room.notify_all();
                    continue;
                }
                Some((None, false)) | None => {}
            }
            if state.abandoned {
                // Whoever asks again after the end gets the same again.
                let again = || Stop::Failed(io::ErrorKind::UnexpectedEof.into());
                return Err(state.stop.take().unwrap_or_else(again));
            }
            state = self.filled.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// A thread's whole life. Whoever has the answer to the first piece begins with that.
    fn work(&self, mut answer: Option<Answer>) {
        loop {
            let piece = if answer.is_some() { Some(0) } else { self.next() };
            let Some(piece) = piece else { return };
            if let Err(stop) = self.fetch(piece, answer.take()) {
                let mut state = self.lock();
                state.stop.get_or_insert(stop);
                state.abandoned = true;
                self.filled.notify_all();
                self.room.notify_all();
                return;
            }
        }
    }

    /// Takes the next piece, when there is room for one; `None` if there is nothing more to do.
    fn next(&self) -> Option<u64> {
        let mut state = self.lock();
        loop {
            let next = state.first.saturating_add(state.pieces.len() as u64);
            if state.abandoned || self.span(next).is_none() {
                return None;
            }
            if next < state.first.saturating_add(WINDOW) {
                state.pieces.push_back(Piece::default());
                return Some(next);
            }
            state = self.room.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Fetches a piece, and goes on where it broke off.
    fn fetch(&self, piece: u64, mut answer: Option<Answer>) -> Result<(), Stop> {
        let Some((mut position, end)) = self.span(piece) else { return Ok(()) };
        let mut failures = Failures::since(position);
        loop {
            let asked = match answer.take() {
                Some(answer) => Ok(answer),
                None => self.whence.ask(self.place, Span { from: position, to: Some(end) }),
            };
            let failure = match asked {
                Ok(answer) if answer.status() == 206 => match self.copy(piece, &mut position, end, answer) {
                    Ok(()) => return Ok(()),
                    Err(error) => error,
                },
                Ok(_) => return Err(Stop::NoRanges),
                Err(Error::Broken { source, .. }) => source,
                Err(error) => return Err(Stop::Failed(io::Error::other(error))),
            };
            let count = failures.note(position);
            let Some(pause) = self.whence.state.http.retry().pause(count) else { return Err(Stop::Failed(failure)) };
            log::warn!("The {} broke off at {position}: {failure}", self.whence.what());
            self.pause(pause);
            if self.lock().abandoned {
                return Ok(());
            }
        }
    }

    /// Hands over the bytes of a piece as they come, from `position` on.
    fn copy(&self, piece: u64, position: &mut u64, end: u64, answer: Answer) -> io::Result<()> {
        let mut body = answer.response.into_body().into_reader();
        while *position < end {
            let mut chunk = self.lock().spare.pop().unwrap_or_default();
            let wanted = usize::try_from(end.saturating_sub(*position)).map_or(CHUNK, |left| left.min(CHUNK));
            chunk.resize(wanted, 0);
            // Half a buffer would take as much memory as a full one.
            let (read, result) = fill(&mut body, &mut chunk);
            chunk.truncate(read);
            *position = position.saturating_add(read as u64);
            if !self.hand_over(piece, chunk, *position == end) {
                return Ok(());
            }
            result?;
        }
        // The end of the answer is seen, so that its connection can be used again. More than asked for is not read.
        let _ = body.read(&mut [0]);
        Ok(())
    }

    /// Whether there is still somebody who wants it.
    fn hand_over(&self, piece: u64, chunk: Vec<u8>, complete: bool) -> bool {
        let mut state = self.lock();
        let place = piece.checked_sub(state.first).and_then(|place| usize::try_from(place).ok());
        if let Some(piece) = place.and_then(|place| state.pieces.get_mut(place)) {
            piece.chunks.push_back(chunk);
            piece.complete = complete;
        }
        self.filled.notify_all();
        !state.abandoned
    }

    /// Waits, but not for somebody who is gone.
    fn pause(&self, pause: Duration) {
        let deadline = Instant::now() + pause;
        let mut state = self.lock();
        while !state.abandoned {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            state = self.room.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// Reads until `buffer` is full; how much came, and why it was not more.
fn fill(input: &mut impl Read, buffer: &mut [u8]) -> (usize, io::Result<()>) {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match input.read(rest) {
            Ok(0) => return (filled, Err(io::ErrorKind::UnexpectedEof.into())),
            Ok(read) => filled = filled.saturating_add(read),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return (filled, Err(error)),
        }
    }
    (filled, Ok(()))
}

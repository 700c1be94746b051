//! Carries bytes one way, from a pipe or a terminal to the host or back, as fast as the slower side takes them.
//!
//! No more is read while something waits to be written: a reader who is slow makes the writer wait, as a pipe would,
//! and no stream needs more memory than one read.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::rc::Rc;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags};
use nix::sys::socket::{Shutdown, shutdown};
use nix::unistd::{read, write};

/// Bytes carried at once: what a pipe holds by default (pipe(7)).
pub const CHUNK: usize = 64 << 10;

/// Which way the bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Output.
    ToHost,
    /// Input.
    ToProcess,
}

/// One direction of one stream.
#[derive(Debug)]
pub struct Relay {
    direction: Direction,
    input: Rc<OwnedFd>,
    output: Rc<OwnedFd>,
    pending: Vec<u8>,
    done: bool,
}

impl Relay {
    /// A relay from `input` to `output`, the latter non-blocking.
    pub fn new(direction: Direction, input: Rc<OwnedFd>, output: Rc<OwnedFd>) -> Relay {
        Relay { direction, input, output, pending: Vec::new(), done: false }
    }

    /// Which way its bytes go.
    pub fn direction(&self) -> Direction {
        self.direction
    }

    /// Whether nothing will come any more, or nobody takes it. Dropping the relay then tells the other side.
    pub fn is_done(&self) -> bool {
        self.done
    }

    /// Adds what it waits for to `set`, either one or two entries.
    pub fn wait_for<'a>(&'a self, set: &mut Vec<PollFd<'a>>) {
        if self.pending.is_empty() {
            set.push(PollFd::new(self.input.as_fd(), PollFlags::POLLIN));
            // Errors are always reported: a reader who is gone ends the relay even when nothing is to be written.
            set.push(PollFd::new(self.output.as_fd(), PollFlags::empty()));
        } else {
            set.push(PollFd::new(self.output.as_fd(), PollFlags::POLLOUT));
        }
    }

    /// Takes what came of its entries from `events`, and carries what can be carried without waiting.
    ///
    /// `buffer` is working space that all relays share.
    pub fn advance(&mut self, events: &mut impl Iterator<Item = PollFlags>, buffer: &mut [u8]) {
        let mut next = || events.next().unwrap_or(PollFlags::empty());
        if !self.pending.is_empty() {
            if !next().is_empty() {
                let pending = std::mem::take(&mut self.pending);
                self.hand_over(&pending);
            }
            return;
        }
        let (input, output) = (next(), next());
        if !output.is_empty() {
            self.done = true;
        } else if !input.is_empty() {
            self.carry(buffer);
        }
    }

    fn carry(&mut self, buffer: &mut [u8]) {
        match read(&self.input, buffer) {
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            // A terminal nobody has open any more, or a connection that broke, ends like a pipe.
            Ok(0) | Err(_) => self.end(),
            Ok(length) => self.hand_over(buffer.get(..length).unwrap_or_default()),
        }
    }

    /// Writes `bytes`, and keeps what is not taken for later.
    fn hand_over(&mut self, bytes: &[u8]) {
        match write(&self.output, bytes) {
            Ok(length) => self.pending.extend_from_slice(bytes.get(length..).unwrap_or_default()),
            Err(Errno::EAGAIN | Errno::EINTR) => self.pending.extend_from_slice(bytes),
            Err(_) => self.done = true,
        }
    }

    fn end(&mut self) {
        self.done = true;
        if self.direction == Direction::ToHost {
            // The connection may carry input as well, so only this direction of it ends. A host that has closed it
            // already needs no telling.
            let _ = shutdown(self.output.as_raw_fd(), Shutdown::Write);
        }
    }
}

#[cfg(test)]
#[path = "relay_test.rs"]
mod tests;

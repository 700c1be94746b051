//! What a container reads: from everybody who is attached to the guest.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, Shutdown, recv, send, shutdown};

/// Most bytes that are here at one time.
const BUFFER: usize = 64 << 10;

/// The container's standard input, or what is typed into its terminal.
#[derive(Debug, Default)]
pub(super) struct Input {
    target: Option<OwnedFd>,
    /// The guest has closed it, or was told its end.
    closed: bool,
    /// Everything has been said, and the guest is to be told.
    ended: bool,
    buffer: Vec<u8>,
    sent: usize,
    length: usize,
    writers: Vec<OwnedFd>,
    /// See [`Record::stdin_once`](crate::container::record::Record::stdin_once).
    once: bool,
}

impl Input {
    /// An input that ends with its first writer if `once`.
    pub(super) fn new(once: bool) -> Input {
        Input { once, ..Input::default() }
    }

    /// The guest has connected it.
    pub(super) fn connected(&mut self, target: OwnedFd) {
        if !self.closed {
            self.target = Some(target);
            self.finish();
        }
    }

    /// Somebody is about to write.
    pub(super) fn attach(&mut self, writer: OwnedFd) {
        if !self.closed {
            self.writers.push(writer);
        }
    }

    /// The descriptors to read next; none while the guest has to catch up.
    pub(super) fn readable(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let open = self.target.is_some() && !self.is_busy();
        self.writers.iter().filter(move |_| open).map(AsFd::as_fd)
    }

    /// The descriptor to write to, if there is something to write.
    pub(super) fn writable(&self) -> Option<BorrowedFd<'_>> {
        if self.is_busy() { self.target.as_ref().map(AsFd::as_fd) } else { None }
    }

    /// Reads from each writer in turn and passes on.
    pub(super) fn fill(&mut self) {
        for number in (0..self.writers.len()).rev() {
            let Some(writer) = self.writers.get(number).filter(|_| self.target.is_some() && !self.is_busy()) else {
                return;
            };
            self.buffer.resize(BUFFER, 0);
            match recv(writer.as_raw_fd(), &mut self.buffer, MsgFlags::MSG_DONTWAIT) {
                Err(Errno::EAGAIN | Errno::EINTR) => {}
                Ok(0) | Err(_) => {
                    drop(self.writers.swap_remove(number));
                    self.ended |= self.once;
                    self.finish();
                }
                Ok(count) => {
                    (self.sent, self.length) = (0, count);
                    self.drain();
                }
            }
        }
    }

    /// Passes on what is here, as far as the guest takes it.
    pub(super) fn drain(&mut self) {
        let Some(target) = &self.target else { return };
        while let Some(rest) = self.buffer.get(self.sent..self.length).filter(|rest| !rest.is_empty()) {
            match send(target.as_raw_fd(), rest, MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL) {
                Ok(count) => self.sent = self.sent.saturating_add(count),
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return,
                Err(_) => return self.close(),
            }
        }
        self.finish();
    }

    /// Nobody reads any more; writers see their sockets closed.
    pub(super) fn close(&mut self) {
        self.closed = true;
        (self.sent, self.length) = (0, 0);
        self.target = None;
        self.writers.clear();
    }

    /// Tells the guest the end when there is nothing left before it.
    fn finish(&mut self) {
        if let Some(target) = self.target.as_ref().filter(|_| self.ended && !self.is_busy()) {
            let _ = shutdown(target.as_raw_fd(), Shutdown::Write);
            self.close();
        }
    }

    fn is_busy(&self) -> bool {
        self.sent < self.length
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{Read, Write};

    use super::*;
    use crate::container::packet::stream_pair;

    #[test]
    fn what_was_written_before_the_guest_is_up_arrives_with_its_end() {
        let (user, writer) = stream_pair().unwrap();
        let mut input = Input::new(true);
        input.attach(writer);
        File::from(user).write_all(b"hello").unwrap();
        assert_eq!(input.readable().count(), 0);
        let (target, guest) = stream_pair().unwrap();
        input.connected(target);
        input.fill();
        input.fill();
        let mut text = String::new();
        File::from(guest).read_to_string(&mut text).unwrap();
        assert_eq!(text, "hello");
    }

    #[test]
    fn an_input_that_is_kept_open_survives_its_writers() {
        let (target, guest) = stream_pair().unwrap();
        let mut input = Input::new(false);
        input.connected(target);
        for text in ["one", "two"] {
            let (user, writer) = stream_pair().unwrap();
            input.attach(writer);
            File::from(user).write_all(text.as_bytes()).unwrap();
            input.fill();
            input.fill();
        }
        let mut text = [0; 6];
        File::from(guest).read_exact(&mut text).unwrap();
        assert_eq!(&text, b"onetwo");
        assert!(input.target.is_some());
    }

    #[test]
    fn a_guest_that_does_not_read_holds_up_the_writer() {
        let (target, guest) = stream_pair().unwrap();
        let (user, writer) = stream_pair().unwrap();
        let mut input = Input::new(true);
        input.connected(target);
        input.attach(writer);
        let mut written = 0;
        while input.writable().is_none() {
            written += send(user.as_raw_fd(), &[b'x'; 8192], MsgFlags::MSG_DONTWAIT).unwrap_or(0) as u64;
            input.fill();
        }
        drop(user);
        let reading = std::thread::spawn(move || std::io::copy(&mut File::from(guest), &mut std::io::sink()).unwrap());
        while !input.closed {
            input.drain();
            input.fill();
        }
        assert_eq!(reading.join().unwrap(), written);
    }

    #[test]
    fn a_guest_that_closed_its_input_closes_the_writers() {
        let (target, guest) = stream_pair().unwrap();
        let (user, writer) = stream_pair().unwrap();
        let mut input = Input::new(true);
        input.connected(target);
        input.attach(writer);
        drop(guest);
        send(user.as_raw_fd(), b"x", MsgFlags::empty()).unwrap();
        input.fill();
        assert_eq!(send(user.as_raw_fd(), b"x", MsgFlags::MSG_NOSIGNAL), Err(Errno::EPIPE));
    }
}

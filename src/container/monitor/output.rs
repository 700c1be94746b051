//! What a container writes: from the guest to the log and to everybody who is attached.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use config::wire::Stream;
use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, recv, send};

use crate::container::log;

/// Most bytes of a stream that are here at one time. Who is attached and does not read holds up the container's
/// writing, and nothing piles up.
const BUFFER: usize = 64 << 10;

/// One output stream of the container.
#[derive(Debug)]
pub(super) struct Output {
    stream: Stream,
    source: Option<OwnedFd>,
    /// What was read last; some readers may not have all of it yet.
    buffer: Vec<u8>,
    length: usize,
    readers: Vec<Reader>,
}

#[derive(Debug)]
struct Reader {
    socket: OwnedFd,
    sent: usize,
}

impl Output {
    /// The stream, before the guest has connected it.
    pub(super) fn new(stream: Stream) -> Output {
        Output { stream, source: None, buffer: Vec::new(), length: 0, readers: Vec::new() }
    }

    /// The stream's name.
    pub(super) fn stream(&self) -> Stream {
        self.stream
    }

    /// The guest has connected the stream.
    pub(super) fn connected(&mut self, source: OwnedFd) {
        self.source = Some(source);
    }

    /// Somebody wants to read from now on.
    pub(super) fn attach(&mut self, socket: OwnedFd) {
        self.readers.push(Reader { socket, sent: self.length });
    }

    /// Lets go of those who do not read what is here: they hold up the container no more, and do not get the rest.
    pub(super) fn let_go(&mut self) {
        self.readers.retain(|reader| reader.sent >= self.length);
    }

    /// The descriptor to read next, unless a reader has to catch up first.
    pub(super) fn readable(&self) -> Option<BorrowedFd<'_>> {
        if self.is_busy() { None } else { self.source.as_ref().map(AsFd::as_fd) }
    }

    /// The readers who have to catch up.
    pub(super) fn writable(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.readers.iter().filter(|reader| reader.sent < self.length).map(|reader| reader.socket.as_fd())
    }

    /// Whether all that was written has been read and passed on.
    pub(super) fn is_finished(&self) -> bool {
        self.source.is_none() && !self.is_busy()
    }

    /// Reads from the guest and passes on.
    pub(super) fn fill(&mut self, log: &mut log::Writer) {
        let Some(source) = &self.source else { return };
        if self.is_busy() {
            return;
        }
        self.buffer.resize(BUFFER, 0);
        match recv(source.as_raw_fd(), &mut self.buffer, MsgFlags::MSG_DONTWAIT) {
            Err(Errno::EAGAIN | Errno::EINTR) => return,
            Ok(0) | Err(_) => {
                self.source = None;
                return;
            }
            Ok(count) => self.length = count,
        }
        // A log that cannot be written, because the disk is full, must not end the container.
        let _ = log.write(self.stream, self.buffer.get(..self.length).unwrap_or_default());
        for reader in &mut self.readers {
            reader.sent = 0;
        }
        self.drain();
    }

    /// Passes on what is here, as far as the readers take it.
    pub(super) fn drain(&mut self) {
        let bytes = self.buffer.get(..self.length).unwrap_or_default();
        self.readers.retain_mut(|reader| reader.take(bytes));
    }

    /// Whether a reader has to catch up.
    pub(super) fn is_busy(&self) -> bool {
        self.readers.iter().any(|reader| reader.sent < self.length)
    }
}

impl Reader {
    /// Sends as much of `bytes` as the reader takes now; `false` if it has gone away.
    fn take(&mut self, bytes: &[u8]) -> bool {
        while let Some(rest) = bytes.get(self.sent..).filter(|rest| !rest.is_empty()) {
            match send(self.socket.as_raw_fd(), rest, MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL) {
                Ok(count) => self.sent = self.sent.saturating_add(count),
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return true,
                Err(_) => return false,
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{Read, Write};

    use super::*;
    use crate::container::packet::stream_pair;

    fn no_log() -> log::Writer {
        log::Writer::new("/nonexistent/log".into(), log::Limits::default())
    }

    #[test]
    fn everybody_who_is_attached_gets_everything() {
        let (guest, source) = stream_pair().unwrap();
        let (one, first) = stream_pair().unwrap();
        let (other, second) = stream_pair().unwrap();
        let mut output = Output::new(Stream::Stdout);
        output.attach(one);
        output.connected(source);
        output.attach(other);
        File::from(guest).write_all(b"hello").unwrap();
        output.fill(&mut no_log());
        output.fill(&mut no_log());
        assert!(output.is_finished());
        drop(output);
        for reader in [first, second] {
            let mut text = String::new();
            File::from(reader).read_to_string(&mut text).unwrap();
            assert_eq!(text, "hello");
        }
    }

    #[test]
    fn a_reader_who_does_not_read_holds_up_the_stream() {
        let (guest, source) = stream_pair().unwrap();
        let (one, reader) = stream_pair().unwrap();
        let mut output = Output::new(Stream::Stdout);
        output.attach(one);
        output.connected(source);
        let mut written: u64 = 0;
        let mut fill =
            || send(guest.as_raw_fd(), &[b'x'; 8192], MsgFlags::MSG_DONTWAIT).map(|count| written += count as u64);
        while output.readable().is_some() {
            let _ = fill();
            output.fill(&mut no_log());
        }
        assert_eq!(output.writable().count(), 1);
        drop(guest);
        let reading = std::thread::spawn(move || std::io::copy(&mut File::from(reader), &mut std::io::sink()).unwrap());
        while !output.is_finished() {
            output.drain();
            output.fill(&mut no_log());
        }
        drop(output);
        assert_eq!(reading.join().unwrap(), written);
    }

    #[test]
    fn a_reader_who_does_not_read_can_be_let_go() {
        let (guest, source) = stream_pair().unwrap();
        let (one, _reader) = stream_pair().unwrap();
        let mut output = Output::new(Stream::Stdout);
        output.attach(one);
        output.connected(source);
        let fill = || send(guest.as_raw_fd(), &[b'x'; 8192], MsgFlags::MSG_DONTWAIT);
        while output.readable().is_some() {
            let _ = fill();
            output.fill(&mut no_log());
        }
        output.let_go();
        assert!(output.readable().is_some());
    }

    #[test]
    fn a_reader_who_has_gone_away_holds_up_nothing() {
        let (guest, source) = stream_pair().unwrap();
        let (one, reader) = stream_pair().unwrap();
        let mut output = Output::new(Stream::Stderr);
        output.attach(one);
        output.connected(source);
        drop(reader);
        File::from(guest).write_all(b"hello").unwrap();
        output.fill(&mut no_log());
        assert!(output.readable().is_some());
        output.fill(&mut no_log());
        assert!(output.is_finished());
    }
}

//! One direction of one stream: what comes in here goes out there, and a slow end holds up the other.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::poll::PollFlags;
use nix::sys::socket::{MsgFlags, recv, send};
use nix::sys::stat::{SFlag, fstat};
use nix::unistd::{read, write};

/// Most bytes that are here at one time.
const BUFFER: usize = 64 << 10;
/// What a pipe or a terminal that is ready takes without making us wait (`PIPE_BUF`): our own descriptors are shared
/// with other processes, so they cannot be made non-blocking.
const WITHOUT_WAITING: usize = 4096;

/// A relay between a descriptor that is not ours alone and a socket that is.
#[derive(Debug)]
pub(super) struct Pump<'a> {
    outside: BorrowedFd<'a>,
    socket: OwnedFd,
    inwards: bool,
    /// Whether writing to `outside` never waits for somebody who reads.
    is_file: bool,
    buffer: Vec<u8>,
    sent: usize,
    length: usize,
}

impl<'a> Pump<'a> {
    /// From one of our own descriptors into a socket.
    pub(super) fn into_socket(outside: BorrowedFd<'a>, socket: OwnedFd) -> Pump<'a> {
        Pump { outside, socket, inwards: true, is_file: false, buffer: Vec::new(), sent: 0, length: 0 }
    }

    /// From a socket to one of our own descriptors.
    pub(super) fn from_socket(socket: OwnedFd, outside: BorrowedFd<'a>) -> Pump<'a> {
        let is_file = fstat(outside).is_ok_and(|status| status.st_mode & SFlag::S_IFMT.bits() == libc::S_IFREG);
        Pump { outside, socket, inwards: false, is_file, buffer: Vec::new(), sent: 0, length: 0 }
    }

    /// What to wait for before the next [`turn`](Pump::turn).
    pub(super) fn interest(&self) -> (BorrowedFd<'_>, PollFlags) {
        let reading = self.is_empty();
        let fd = if reading == self.inwards { self.outside } else { self.socket.as_fd() };
        (fd, if reading { PollFlags::POLLIN } else { PollFlags::POLLOUT })
    }

    /// Does what [`interest`](Pump::interest) waited for; `false` at the end of the stream. Errors are those of the
    /// descriptor written to.
    pub(super) fn turn(&mut self) -> Result<bool, Errno> {
        if !self.is_empty() {
            return self.write().map(|()| true);
        }
        if !self.read() {
            return Ok(false);
        }
        if self.inwards || self.is_file {
            self.write()?;
        }
        Ok(true)
    }

    /// Reads; `false` if nothing more will come, be it that a terminal was hung up or a peer died.
    fn read(&mut self) -> bool {
        self.buffer.resize(BUFFER, 0);
        let result = if self.inwards {
            read(self.outside, &mut self.buffer)
        } else {
            recv(self.socket.as_raw_fd(), &mut self.buffer, MsgFlags::MSG_DONTWAIT)
        };
        match result {
            Err(Errno::EAGAIN | Errno::EINTR) => true,
            Ok(0) | Err(_) => false,
            Ok(count) => {
                (self.sent, self.length) = (0, count);
                true
            }
        }
    }

    /// Writes what the other end takes without making us wait.
    fn write(&mut self) -> Result<(), Errno> {
        let rest = self.buffer.get(self.sent..self.length).unwrap_or_default();
        let result = if self.inwards {
            send(self.socket.as_raw_fd(), rest, MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL)
        } else if self.is_file {
            write(self.outside, rest)
        } else {
            write(self.outside, rest.get(..WITHOUT_WAITING).unwrap_or(rest))
        };
        match result {
            Ok(count) => self.sent = self.sent.saturating_add(count),
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn is_empty(&self) -> bool {
        self.sent >= self.length
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{Read, Write};

    use nix::poll::{PollFd, PollTimeout, poll};

    use super::*;
    use crate::container::packet::stream_pair;

    #[test]
    fn what_comes_in_goes_out_and_ends() {
        let (input, mut writer) = std::io::pipe().unwrap();
        let (here, there) = stream_pair().unwrap();
        writer.write_all(b"hello").unwrap();
        drop(writer);
        let mut pump = Pump::into_socket(input.as_fd(), here);
        while pump.turn().unwrap() {}
        drop(pump);
        let (mut reader, output) = std::io::pipe().unwrap();
        let mut pump = Pump::from_socket(there, output.as_fd());
        while pump.turn().unwrap() {}
        drop(pump);
        drop(output);
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(text, "hello");
    }

    #[test]
    fn a_pipe_that_nobody_reads_is_filled_and_then_waited_for() {
        let (here, there) = stream_pair().unwrap();
        let (reader, output) = std::io::pipe().unwrap();
        let writing = std::thread::spawn(move || File::from(here).write_all(&vec![b'x'; 1 << 20]).unwrap());
        let mut pump = Pump::from_socket(there, output.as_fd());
        let mut turns = 0;
        loop {
            let (fd, flags) = pump.interest();
            let wait = if flags == PollFlags::POLLOUT { PollTimeout::ZERO } else { PollTimeout::NONE };
            if poll(&mut [PollFd::new(fd, flags)], wait).unwrap() == 0 {
                break;
            }
            assert!(pump.turn().unwrap());
            turns += 1;
        }
        assert!(turns >= 16, "a pipe takes 64 KiB, this one took {turns} pieces");
        let reading = std::thread::spawn(move || std::io::copy(&mut { reader }, &mut std::io::sink()).unwrap());
        while pump.turn().unwrap() {}
        drop(pump);
        drop(output);
        writing.join().unwrap();
        assert_eq!(reading.join().unwrap(), 1 << 20);
    }

    #[test]
    fn a_reader_who_has_gone_away_is_reported() {
        let (here, there) = stream_pair().unwrap();
        let (reader, output) = std::io::pipe().unwrap();
        drop(reader);
        File::from(here).write_all(b"x").unwrap();
        let mut pump = Pump::from_socket(there, output.as_fd());
        assert_eq!(pump.turn(), Ok(true));
        assert_eq!(pump.turn(), Err(Errno::EPIPE));
    }
}

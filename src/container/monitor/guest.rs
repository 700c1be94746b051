//! The monitor's end of the control connection with guest-init.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use anyhow::{Context, Result, ensure};
use config::wire::{self, MAX_TO_GUEST, MAX_TO_HOST, Start, ToGuest, ToHost};
use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, recv, send};

/// Bytes received at once; most messages are much shorter.
const CHUNK: usize = 4096;
/// Bytes of a frame before its message.
const HEADER: usize = 4;
/// Most bytes that wait for a guest which does not read: one longest message, and signals.
const MAX_OUTGOING: usize = MAX_TO_GUEST + (64 << 10);

/// The control connection, from before the guest is up until it has said its last.
#[derive(Debug, Default)]
pub(super) struct Guest {
    socket: Option<OwnedFd>,
    gone: bool,
    received: Vec<u8>,
    outgoing: Vec<u8>,
    /// Frames for after the start.
    early: Vec<u8>,
    started: bool,
}

impl Guest {
    /// The guest has connected; a second connection is none of guest-init's and is dropped.
    pub(super) fn connected(&mut self, socket: OwnedFd) {
        if self.socket.is_none() && !self.gone {
            self.socket = Some(socket);
        }
    }

    /// The connection, if there is one, and whether something is to be sent over it.
    pub(super) fn interest(&self) -> Option<(BorrowedFd<'_>, bool)> {
        self.socket.as_ref().map(|socket| (socket.as_fd(), !self.outgoing.is_empty()))
    }

    /// Sends the message that makes the guest a container, and whatever was to be sent after it.
    pub(super) fn start(&mut self, start: Box<Start>) -> Result<()> {
        ensure!(!self.started, "The guest said twice that it is ready");
        self.started = true;
        let mut frame = encode(&ToGuest::Start(start))?;
        frame.append(&mut self.early);
        ensure!(
            frame.len() <= MAX_OUTGOING,
            "Arguments and environment together are {} bytes, more than the 4 MiB a guest takes",
            frame.len()
        );
        self.outgoing.append(&mut frame);
        self.write()
    }

    /// Sends a message, or keeps it until the container has been started.
    pub(super) fn send(&mut self, message: &ToGuest) -> Result<()> {
        let frame = encode(message)?;
        let queue = if self.started { &mut self.outgoing } else { &mut self.early };
        ensure!(queue.len().saturating_add(frame.len()) <= MAX_OUTGOING, "The guest takes no messages");
        queue.extend_from_slice(&frame);
        if self.started { self.write() } else { Ok(()) }
    }

    /// Sends what is waiting, as far as that goes without waiting.
    pub(super) fn write(&mut self) -> Result<()> {
        let Some(socket) = &self.socket else { return Ok(()) };
        while !self.outgoing.is_empty() {
            match send(socket.as_raw_fd(), &self.outgoing, MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL) {
                Ok(sent) => drop(self.outgoing.drain(..sent)),
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => break,
                // A guest that is gone is noticed elsewhere.
                Err(_) => self.outgoing.clear(),
            }
        }
        Ok(())
    }

    /// Receives what there is; the messages that are complete.
    pub(super) fn read(&mut self) -> Result<Vec<ToHost>> {
        let Some(socket) = self.socket.as_ref() else { return Ok(Vec::new()) };
        let mut bytes = [0; CHUNK];
        // Bounded, so that a guest that never stops talking does not keep us from everybody else.
        for _ in 0..=MAX_TO_HOST / CHUNK {
            match recv(socket.as_raw_fd(), &mut bytes, MsgFlags::MSG_DONTWAIT) {
                Err(Errno::EAGAIN | Errno::EINTR) => break,
                Ok(0) | Err(_) => {
                    self.close();
                    break;
                }
                Ok(count) => self.received.extend_from_slice(bytes.get(..count).unwrap_or_default()),
            }
        }
        decode(&mut self.received).context("The guest broke the protocol")
    }

    /// Hangs up, which tells guest-init that its last message has arrived.
    pub(super) fn close(&mut self) {
        self.socket = None;
        self.gone = true;
        self.outgoing.clear();
    }
}

fn encode(message: &ToGuest) -> Result<Vec<u8>> {
    let mut frame = Vec::new();
    wire::send(&mut frame, message).context("Cannot encode a message to the guest")?;
    Ok(frame)
}

/// Takes the complete messages out of `received`.
fn decode(received: &mut Vec<u8>) -> io::Result<Vec<ToHost>> {
    let mut messages = Vec::new();
    while let Some(header) = received.first_chunk::<HEADER>() {
        let length = u32::from_le_bytes(*header) as usize;
        if length <= MAX_TO_HOST && received.len() < HEADER + length {
            break;
        }
        let mut rest = received.as_slice();
        messages.extend(wire::receive(&mut rest, MAX_TO_HOST)?);
        let used = received.len() - rest.len();
        received.drain(..used);
    }
    Ok(messages)
}

#[cfg(test)]
mod tests {
    use config::wire::ExitStatus;

    use super::super::super::packet::stream_pair;
    use super::*;

    #[test]
    fn what_is_sent_early_comes_after_the_start() {
        let (here, there) = stream_pair().unwrap();
        let mut guest = Guest::default();
        let signal = ToGuest::Signal { process: 0, signal: 15 };
        guest.send(&signal).unwrap();
        guest.connected(here);
        guest.start(Box::default()).unwrap();
        let mut there = std::fs::File::from(there);
        assert_eq!(wire::receive(&mut there, MAX_TO_GUEST).unwrap(), Some(ToGuest::Start(Box::default())));
        assert_eq!(wire::receive(&mut there, MAX_TO_GUEST).unwrap(), Some(signal));
        assert!(guest.start(Box::default()).is_err());
    }

    #[test]
    fn messages_are_put_together_from_any_pieces() {
        let mut bytes = Vec::new();
        wire::send(&mut bytes, &ToHost::Ready { uptime_us: 1 }).unwrap();
        wire::send(&mut bytes, &ToHost::Exited { process: 0, status: ExitStatus::Code(7) }).unwrap();
        let mut received = Vec::new();
        let mut messages = Vec::new();
        for byte in bytes {
            received.push(byte);
            messages.extend(decode(&mut received).unwrap());
        }
        assert_eq!(messages.len(), 2);
        assert!(received.is_empty());
    }

    #[test]
    fn a_guest_that_announces_too_much_is_refused_at_once() {
        let mut received = u32::MAX.to_le_bytes().to_vec();
        assert!(decode(&mut received).is_err());
    }

    #[test]
    fn a_guest_that_takes_nothing_does_not_fill_memory() {
        let mut guest = Guest::default();
        let signal = ToGuest::Signal { process: 0, signal: 15 };
        let refused = (0..10_000_000).any(|_| guest.send(&signal).is_err());
        assert!(refused);
        assert!(guest.early.len() <= MAX_OUTGOING);
    }
}

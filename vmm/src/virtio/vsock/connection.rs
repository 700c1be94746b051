//! One connection between a guest's program and a stream socket of the host, and the credit each side has.

use std::collections::VecDeque;
use std::io;
use std::num::Wrapping;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;

use vm_memory::VolatileSlice;

use super::packet::{SHUTDOWN_BOTH, SHUTDOWN_RECEIVE, SHUTDOWN_SEND};
use crate::virtio::buffers;

/// Room for data of the guest that the host has not taken: what Linux gives a vsock socket by default.
pub(super) const BUFFER: u32 = 256 << 10;
/// The guest is told of free room in steps of this size, so that a packet is not answered by a packet each time.
const CREDIT_STEP: u32 = BUFFER / 4;

/// Why a connection is at its end.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Broken {
    /// The guest sent more than it was told there was room for.
    Overrun,
    /// The host's end of the stream is gone.
    Gone,
}

/// What reading the host's end gave.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Read {
    /// So many bytes, more than none.
    Bytes(usize),
    /// Nothing now; the stream tells when there is something again.
    Empty,
    /// The host will send no more.
    End,
}

/// A connection.
pub(super) struct Connection {
    pub(super) stream: UnixStream,
    /// Guest data that the stream has not taken yet, at most [`BUFFER`] bytes.
    pending: VecDeque<u8>,
    /// Bytes of the guest that the stream has taken.
    forwarded: Wrapping<u32>,
    /// What the guest was last told of `forwarded`.
    told: Wrapping<u32>,
    /// Bytes sent to the guest.
    sent: Wrapping<u32>,
    /// What the guest last said of its own room and how much of it is used.
    guest_buffer: u32,
    guest_forwarded: Wrapping<u32>,
    /// Directions that the guest has shut.
    pub(super) guest_shutdown: u32,
    /// Directions that the guest has been told are shut on this side.
    pub(super) host_shutdown: u32,
    /// The stream may have something to read.
    pub(super) readable: bool,
    /// It stands in the list of connections that want to send.
    pub(super) queued: bool,
}

impl Connection {
    pub(super) fn new(stream: UnixStream) -> Connection {
        Connection {
            stream,
            pending: VecDeque::new(),
            forwarded: Wrapping(0),
            told: Wrapping(0),
            sent: Wrapping(0),
            guest_buffer: 0,
            guest_forwarded: Wrapping(0),
            guest_shutdown: 0,
            host_shutdown: 0,
            readable: false,
            queued: false,
        }
    }

    /// Takes what the guest's packet says of its room.
    pub(super) fn credit(&mut self, buffer: u32, forwarded: u32) {
        self.guest_buffer = buffer;
        self.guest_forwarded = Wrapping(forwarded);
    }

    /// How many bytes the guest has room for.
    pub(super) fn room(&self) -> usize {
        self.guest_buffer.saturating_sub((self.sent - self.guest_forwarded).0) as usize
    }

    /// Takes data of the guest: to the stream at once if nothing waits before it, else into the buffer.
    pub(super) fn send(&mut self, data: &[VolatileSlice<'_>]) -> Result<(), Broken> {
        let length = buffers::length(data);
        if self.pending.len() + length > BUFFER as usize {
            return Err(Broken::Overrun);
        }
        if self.host_shutdown & SHUTDOWN_RECEIVE != 0 {
            self.count(length);
            return Ok(());
        }
        let mut done = 0;
        if self.pending.is_empty() {
            done = self.write(&buffers::vectors(data))?;
        }
        let rest = buffers::part(data, done, length);
        let mut bytes = vec![0; length - done];
        buffers::read(&rest, &mut bytes);
        self.pending.extend(bytes);
        Ok(())
    }

    /// Writes what waits; `Ok` also if the stream takes no more now.
    pub(super) fn flush(&mut self) -> Result<(), Broken> {
        while !self.pending.is_empty() {
            let (front, _) = self.pending.as_slices();
            let vector = libc::iovec { iov_base: front.as_ptr().cast_mut().cast(), iov_len: front.len() };
            let done = self.write(&[vector])?;
            if done == 0 {
                break;
            }
            self.pending.drain(..done);
        }
        if self.pending.is_empty() && self.guest_shutdown & SHUTDOWN_SEND != 0 {
            // Fails only if the other end is gone, and then nobody waits for the end of data.
            let _ = self.stream.shutdown(std::net::Shutdown::Write);
        }
        Ok(())
    }

    /// Writes to the stream; zero if it takes nothing now.
    fn write(&mut self, vectors: &[libc::iovec]) -> Result<usize, Broken> {
        // SAFETY: an all-zero msghdr is a valid empty one.
        let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
        message.msg_iov = vectors.as_ptr().cast_mut();
        message.msg_iovlen = vectors.len().min(libc::UIO_MAXIOV as usize) as _;
        // SAFETY: the vectors point to memory that is ours, or the guest's, for the whole call.
        let done = unsafe { libc::sendmsg(self.stream.as_raw_fd(), &raw const message, libc::MSG_NOSIGNAL) };
        let Ok(done) = usize::try_from(done) else {
            return match io::Error::last_os_error().kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Ok(0),
                _ => Err(Broken::Gone),
            };
        };
        self.count(done);
        Ok(done)
    }

    fn count(&mut self, bytes: usize) {
        self.forwarded += Wrapping(bytes as u32);
    }

    /// Reads from the stream into guest memory, not empty.
    pub(super) fn receive(&mut self, into: &[VolatileSlice<'_>]) -> Read {
        let vectors = buffers::vectors(into);
        let count = vectors.len().min(libc::UIO_MAXIOV as usize) as libc::c_int;
        // SAFETY: the vectors point into guest memory, which is mapped for as long as the slices live.
        let done = unsafe { libc::readv(self.stream.as_raw_fd(), vectors.as_ptr(), count) };
        match usize::try_from(done) {
            Ok(0) => Read::End,
            Ok(done) => {
                self.sent += Wrapping(done as u32);
                Read::Bytes(done)
            }
            Err(_) if io::Error::last_os_error().kind() == io::ErrorKind::WouldBlock => Read::Empty,
            // A signal: the stream is still readable, but reading again is as good later.
            Err(_) if io::Error::last_os_error().kind() == io::ErrorKind::Interrupted => Read::Bytes(0),
            Err(_) => Read::End,
        }
    }

    /// The value for the next packet's header; the guest has then been told.
    pub(super) fn tell(&mut self) -> u32 {
        self.told = self.forwarded;
        self.forwarded.0
    }

    /// Whether the guest should be told of room that has become free.
    pub(super) fn owes_credit(&self) -> bool {
        (self.forwarded - self.told).0 >= CREDIT_STEP
    }

    /// Whether both sides are done with it: what the guest sent has been passed on, and nobody will send more.
    pub(super) fn is_over(&self) -> bool {
        let guest_is_done = self.guest_shutdown == SHUTDOWN_BOTH && self.pending.is_empty();
        let both_sent_all = self.guest_shutdown & SHUTDOWN_SEND != 0
            && self.host_shutdown & SHUTDOWN_SEND != 0
            && self.pending.is_empty();
        guest_is_done || both_sent_all || self.host_shutdown == SHUTDOWN_BOTH
    }
}

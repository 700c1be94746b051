//! Who speaks to a monitor: the command line that started it, and whoever connects to its control socket.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{SockFlag, accept4};

use crate::container::control::{Reply, Request};
use crate::container::packet;

/// Most clients at one time; each costs a descriptor.
const MOST: usize = 256;

/// All clients.
#[derive(Debug)]
pub(super) struct Clients {
    listener: Option<OwnedFd>,
    connected: Vec<OwnedFd>,
}

impl Clients {
    /// The first client, and whoever comes to `listener`.
    pub(super) fn new(first: OwnedFd, listener: OwnedFd) -> Clients {
        Clients { listener: Some(listener), connected: vec![first] }
    }

    /// The first client, and nobody else.
    pub(super) fn alone(first: OwnedFd) -> Clients {
        Clients { listener: None, connected: vec![first] }
    }

    /// Becomes readable when there is somebody to [`accept`](Clients::accept).
    pub(super) fn listener(&self) -> Option<BorrowedFd<'_>> {
        self.listener.as_ref().map(AsFd::as_fd)
    }

    /// The sockets of those who are connected, which become readable when there is something to
    /// [`hear`](Clients::hear).
    pub(super) fn sockets(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.connected.iter().map(AsFd::as_fd)
    }

    /// Lets one in.
    pub(super) fn accept(&mut self) {
        let Some(listener) = &self.listener else { return };
        let Ok(fd) = accept4(listener.as_raw_fd(), SockFlag::SOCK_CLOEXEC) else { return };
        // SAFETY: the kernel has just made this descriptor for us, and nobody else knows of it.
        let client = unsafe { OwnedFd::from_raw_fd(fd) };
        if self.connected.len() < MOST {
            self.connected.push(client);
        }
    }

    /// Hears the client at place `number` of [`sockets`](Clients::sockets). `Err` when it has gone away, or speaks
    /// another language: it is then to be let go with [`leave`](Clients::leave).
    pub(super) fn hear(&self, number: usize) -> Result<Option<Request>, Errno> {
        let client = self.connected.get(number).ok_or(Errno::EBADF)?;
        match packet::receive(client.as_fd()) {
            Ok(Some(packet)) => Ok(Some(packet.message)),
            Ok(None) => Err(Errno::EPIPE),
            Err(error) => Err(Errno::from_raw(error.raw_os_error().unwrap_or(libc::EPROTO))),
        }
    }

    /// Answers one client.
    pub(super) fn answer(&self, number: usize, reply: &Reply) {
        if let Some(client) = self.connected.get(number) {
            // One that does not listen is not waited for.
            let _ = packet::send(client.as_fd(), reply, &[]);
        }
    }

    /// Lets go of those at these places, highest first.
    pub(super) fn leave(&mut self, numbers: impl DoubleEndedIterator<Item = usize>) {
        for number in numbers.rev() {
            if number < self.connected.len() {
                drop(self.connected.swap_remove(number));
            }
        }
    }

    /// Tells everybody.
    pub(super) fn tell(&self, reply: &Reply) {
        for number in 0..self.connected.len() {
            self.answer(number, reply);
        }
    }
}

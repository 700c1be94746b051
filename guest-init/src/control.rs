//! The control connection: what the host wants, and what it is told.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use config::wire::{self, CONTROL_PORT, MAX_TO_GUEST, Start, ToGuest, ToHost};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::socket::{Shutdown, shutdown};
use nix::time::ClockId;

use crate::vsock;

/// How often it is looked whether the last message is out, in milliseconds; a host that hangs up is noticed at once.
const DELIVERY_STEP: u8 = 1;
/// How many such steps a host that neither reads nor hangs up is given: two seconds.
const DELIVERY_STEPS: u32 = 2000;

/// What can go wrong between guest-init and its host.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The host's VMM does not listen, or has no vsock.
    #[error("Connect to vsock port {CONTROL_PORT} of the host")]
    Connect(#[source] Errno),
    /// The kernel does not tell its own age.
    #[error("Read the boot clock")]
    Clock(#[source] Errno),
    /// The connection broke while sending.
    #[error("Send a message")]
    Send(#[source] io::Error),
    /// The connection broke while receiving, or brought what is no message.
    #[error("Receive a message")]
    Receive(#[source] io::Error),
    /// The host closed the connection before it said what to start.
    #[error("The host closed the connection")]
    Closed,
    /// Something else came before [`ToGuest::Start`].
    #[error("The host's first message is not the one that starts the container")]
    NotStart,
}

/// The control connection.
#[derive(Debug)]
pub struct Control {
    socket: File,
}

impl Control {
    /// Connects to the host.
    pub fn connect() -> Result<Control, Error> {
        vsock::connect_to(CONTROL_PORT).map(Control::over).map_err(Error::Connect)
    }

    /// A control connection over any connected, blocking socket.
    pub fn over(socket: OwnedFd) -> Control {
        Control { socket: socket.into() }
    }

    /// Says that the guest is up, and how long that took the kernel.
    pub fn ready(&mut self) -> Result<(), Error> {
        let uptime = ClockId::CLOCK_BOOTTIME.now().map_err(Error::Clock)?;
        let microseconds = uptime.tv_sec().saturating_mul(1_000_000).saturating_add(uptime.tv_nsec() / 1000);
        self.send(&ToHost::Ready { uptime_us: u64::try_from(microseconds).unwrap_or(0) })
    }

    /// Waits for the message that says what this guest is to become.
    pub fn receive_start(&mut self) -> Result<Box<Start>, Error> {
        match self.receive()? {
            Some(ToGuest::Start(start)) => Ok(start),
            Some(_) => Err(Error::NotStart),
            None => Err(Error::Closed),
        }
    }

    /// Waits for the next message; `None` when the host has hung up.
    pub fn receive(&mut self) -> Result<Option<ToGuest>, Error> {
        wire::receive(&mut self.socket, MAX_TO_GUEST).map_err(Error::Receive)
    }

    /// Sends one message.
    pub fn send(&mut self, message: &ToHost) -> Result<(), Error> {
        wire::send(&mut self.socket, message).map_err(Error::Send)
    }

    /// Sends the last message, and returns when the host has it: then the machine may be switched off.
    ///
    /// A kernel hands packets to the device in the background, so that a message written is not yet a message sent.
    pub fn finish(&mut self, message: &ToHost) -> Result<(), Error> {
        self.send(message)?;
        // A host that has hung up already has what it wants.
        let _ = shutdown(self.socket.as_raw_fd(), Shutdown::Write);
        for _ in 0..DELIVERY_STEPS {
            if vsock::all_taken(self.socket.as_fd()) || self.hung_up_within(DELIVERY_STEP) {
                break;
            }
        }
        Ok(())
    }

    /// Whether the host hangs up within so many milliseconds; what it still has to say comes too late.
    fn hung_up_within(&mut self, milliseconds: u8) -> bool {
        let mut ready = [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)];
        let readable = matches!(poll(&mut ready, milliseconds), Ok(count) if count > 0);
        readable && !matches!(self.receive(), Ok(Some(_)))
    }
}

impl AsFd for Control {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

#[cfg(test)]
#[path = "control_test.rs"]
mod tests;

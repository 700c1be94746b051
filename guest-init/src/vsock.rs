//! Connections to the host over vsock.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use config::wire::HOST_CID;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, VsockAddr, connect, getsockopt, socket, sockopt};

/// Connects to `port` of the host and waits until the host has accepted.
pub fn connect_to(port: u32) -> Result<OwnedFd, Errno> {
    let socket = socket(AddressFamily::Vsock, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    connect(socket.as_raw_fd(), &VsockAddr::new(HOST_CID, port))?;
    Ok(socket)
}

/// A connection under way, so that several can be, and other work be done meanwhile.
#[derive(Debug)]
pub struct Connecting(OwnedFd);

impl Connecting {
    /// Begins to connect to `port` of the host.
    pub fn start(port: u32) -> Result<Connecting, Errno> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let socket = socket(AddressFamily::Vsock, SockType::Stream, flags, None)?;
        match connect(socket.as_raw_fd(), &VsockAddr::new(HOST_CID, port)) {
            Ok(()) | Err(Errno::EINPROGRESS) => Ok(Connecting(socket)),
            Err(error) => Err(error),
        }
    }

    /// Takes over a non-blocking socket whose `connect` was called.
    pub fn from_socket(socket: OwnedFd) -> Connecting {
        Connecting(socket)
    }

    /// Waits until the host has accepted; the socket is non-blocking.
    pub fn finish(self) -> Result<OwnedFd, Errno> {
        let mut ready = [PollFd::new(self.0.as_fd(), PollFlags::POLLOUT)];
        while poll(&mut ready, PollTimeout::NONE) == Err(Errno::EINTR) {}
        match getsockopt(&self.0, sockopt::SocketError)? {
            0 => Ok(self.0),
            error => Err(Errno::from_raw(error)),
        }
    }
}

nix::ioctl_read_bad!(
    /// Bytes written to a socket that its device has not taken yet (`SIOCOUTQ`, for vsock since Linux 6.12).
    ioctl_outgoing,
    libc::TIOCOUTQ,
    libc::c_int
);

/// Whether everything written to `socket` has been taken by its device; `false` also where the kernel cannot say.
pub fn all_taken(socket: BorrowedFd) -> bool {
    let mut bytes = 0;
    // SAFETY: `bytes` is a valid integer for the kernel to fill, and outlives the call.
    let answer = unsafe { ioctl_outgoing(socket.as_raw_fd(), &raw mut bytes) };
    answer.is_ok() && bytes == 0
}

#[cfg(test)]
#[path = "vsock_test.rs"]
mod tests;

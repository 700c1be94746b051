//! Hands a connection of the guest to the process that serves it: one packet, one descriptor.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::UnixStream;

use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};

/// Opens a stream for the guest's connection to host port `port`, sends one end over `broker`, and returns the other,
/// not blocking. Never waits: a server that does not keep up is one that does not answer.
pub(super) fn connect(broker: impl AsFd, port: u32) -> io::Result<UnixStream> {
    let (own, other) = UnixStream::pair()?;
    own.set_nonblocking(true)?;
    let descriptors = [other.as_raw_fd()];
    let port = port.to_le_bytes();
    sendmsg::<()>(
        broker.as_fd().as_raw_fd(),
        &[IoSlice::new(&port)],
        &[ControlMessage::ScmRights(&descriptors)],
        MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL,
        None,
    )?;
    Ok(own)
}

//! Messages between our own processes on one host: a packet each, with the descriptors that go with it.

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::cmsg_space;
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, recvmsg, sendmsg, socketpair,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Longest message: paths and a few numbers.
const MAX_MESSAGE: usize = 64 << 10;
/// Most descriptors with one message (`SCM_MAX_FD` of Linux).
const MAX_FDS: usize = 253;

/// What was received.
pub(crate) struct Packet<T> {
    /// The message.
    pub(crate) message: T,
    /// What came with it, in the order in which it was sent.
    pub(crate) fds: Vec<OwnedFd>,
}

/// Two connected sockets that keep packets apart.
pub(crate) fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)?)
}

/// Two connected sockets that carry bytes.
pub(crate) fn stream_pair() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(socketpair(AddressFamily::Unix, SockType::Stream, None, SockFlag::SOCK_CLOEXEC)?)
}

/// Sends `message` and copies of `fds`, without waiting: a peer that takes nothing gets `WouldBlock`.
pub(crate) fn send<T: Serialize>(socket: BorrowedFd, message: &T, fds: &[BorrowedFd]) -> io::Result<()> {
    let body = postcard::to_allocvec(message).map_err(io::Error::other)?;
    let fds: Vec<RawFd> = fds.iter().map(AsRawFd::as_raw_fd).collect();
    let rights = [ControlMessage::ScmRights(&fds)];
    let control = if fds.is_empty() { &[][..] } else { &rights[..] };
    let flags = MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT;
    loop {
        match sendmsg::<()>(socket.as_raw_fd(), &[IoSlice::new(&body)], control, flags, None) {
            Err(Errno::EINTR) => {}
            result => return Ok(result.map(drop)?),
        }
    }
}

/// Waits for a message; `None` when the peer has hung up.
pub(crate) fn receive<T: DeserializeOwned>(socket: BorrowedFd) -> io::Result<Option<Packet<T>>> {
    let mut body = vec![0; MAX_MESSAGE];
    let (length, fds) = receive_bytes(socket, &mut body, MsgFlags::empty())?;
    if length == 0 {
        return Ok(None);
    }
    let body = body.get(..length).unwrap_or_default();
    let message = postcard::from_bytes(body).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    Ok(Some(Packet { message, fds }))
}

/// Receives one packet as it is into `body`; a length of 0 means that the peer has hung up.
pub(crate) fn receive_bytes(socket: BorrowedFd, body: &mut [u8], flags: MsgFlags) -> io::Result<(usize, Vec<OwnedFd>)> {
    let mut space = cmsg_space!([RawFd; MAX_FDS]);
    let mut parts = [IoSliceMut::new(body)];
    let flags = flags | MsgFlags::MSG_CMSG_CLOEXEC;
    let message = loop {
        match recvmsg::<()>(socket.as_raw_fd(), &mut parts, Some(&mut space), flags) {
            Err(Errno::EINTR) => {}
            // A peer that closed with something of ours unread.
            Err(Errno::ECONNRESET) => return Ok((0, Vec::new())),
            result => break result?,
        }
    };
    let mut fds = Vec::new();
    for control in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(received) = control {
            // SAFETY: the kernel has just made these descriptors for us, and nobody else knows of them.
            fds.extend(received.into_iter().map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }));
        }
    }
    if message.flags.intersects(MsgFlags::MSG_TRUNC | MsgFlags::MSG_CTRUNC) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "A packet that is longer than any of ours"));
    }
    Ok((message.bytes, fds))
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{Read, Write};
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn a_message_arrives_with_its_descriptors() {
        let (here, there) = pair().unwrap();
        let (one, other) = stream_pair().unwrap();
        send(here.as_fd(), &("boat", 7), &[other.as_fd()]).unwrap();
        drop((other, here));
        let Packet { message, fds } = receive::<(String, i32)>(there.as_fd()).unwrap().unwrap();
        assert_eq!(message, ("boat".to_owned(), 7));
        File::from(fds.into_iter().next().unwrap()).write_all(b"hello").unwrap();
        let mut text = String::new();
        File::from(one).read_to_string(&mut text).unwrap();
        assert_eq!(text, "hello");
        assert!(receive::<()>(there.as_fd()).unwrap().is_none());
    }

    #[test]
    fn a_peer_that_reads_nothing_stops_nobody() {
        let (here, _there) = pair().unwrap();
        let error = (0..100_000).find_map(|_| send(here.as_fd(), &[0u8; 1000].to_vec(), &[]).err()).unwrap();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn garbage_is_an_error() {
        let (here, there) = pair().unwrap();
        nix::unistd::write(&here, &[0xff; 3]).unwrap();
        assert!(receive::<String>(there.as_fd()).is_err());
    }
}

use super::*;
use std::io::Write;
use std::net::{SocketAddrV4, TcpListener};
use std::os::unix::net::UnixStream;

use nix::sys::socket::SockaddrIn;

fn begin_tcp(address: SocketAddrV4) -> Connecting {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket(AddressFamily::Inet, SockType::Stream, flags, None).unwrap();
    let begun = connect(socket.as_raw_fd(), &SockaddrIn::from(address));
    assert!(matches!(begun, Ok(()) | Err(Errno::EINPROGRESS | Errno::ECONNREFUSED)), "{begun:?}");
    Connecting::from_socket(socket)
}

fn local(listener: &TcpListener) -> SocketAddrV4 {
    SocketAddrV4::new([127, 0, 0, 1].into(), listener.local_addr().unwrap().port())
}

#[test]
fn a_connection_under_way_finishes_when_it_is_accepted() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    assert!(begin_tcp(local(&listener)).finish().is_ok());
}

#[test]
fn a_refused_connection_says_so() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = local(&listener);
    drop(listener);
    assert_eq!(begin_tcp(address).finish().unwrap_err(), Errno::ECONNREFUSED);
}

#[test]
fn bytes_nobody_took_yet_are_seen() {
    let (mut here, there) = UnixStream::pair().unwrap();
    assert!(all_taken(here.as_fd()));
    here.write_all(b"x").unwrap();
    assert!(!all_taken(here.as_fd()));
    drop(there);
}

use super::*;
use std::cell::RefCell;
use std::os::unix::net::UnixStream;

use nix::sys::stat::{SFlag, fstat};

/// Connections to a host that is a list of sockets.
fn connections(process: &Process) -> (Connections, Vec<(Stream, UnixStream)>) {
    let host = RefCell::new(Vec::new());
    let connect = |stream| {
        let (guest, other) = UnixStream::pair().unwrap();
        guest.set_nonblocking(true).unwrap();
        host.borrow_mut().push((stream, other));
        Ok(Connecting::from_socket(guest.into()))
    };
    let connections = Connections::start(process, connect).unwrap();
    (connections, host.into_inner())
}

fn opened(process: &Process, owner: u32) -> (Stdio, Vec<Stream>) {
    let (connections, host) = connections(process);
    let stdio = Stdio::open(connections, process.terminal, Uid::from_raw(owner)).unwrap();
    (stdio, host.into_iter().map(|(stream, _)| stream).collect())
}

fn kinds(stdio: &Stdio) -> Vec<SFlag> {
    let kind = |fd| SFlag::from_bits_truncate(fstat(fd).unwrap().st_mode & SFlag::S_IFMT.bits());
    stdio.child.iter().map(kind).collect()
}

#[test]
fn without_input_a_process_reads_from_null() {
    let (stdio, streams) = opened(&Process::default(), 0);
    assert_eq!(streams, [Stream::Stdout, Stream::Stderr]);
    assert_eq!(kinds(&stdio), [SFlag::S_IFCHR, SFlag::S_IFIFO, SFlag::S_IFIFO]);
    assert_eq!(fstat(&stdio.child[0]).unwrap().st_rdev, nix::sys::stat::makedev(1, 3));
    assert!(stdio.terminal.is_none());
}

#[test]
fn with_input_every_stream_is_a_pipe_of_its_own() {
    let (stdio, streams) = opened(&Process { stdin: true, ..Process::default() }, 0);
    assert_eq!(streams, [Stream::Stdin, Stream::Stdout, Stream::Stderr]);
    assert_eq!(kinds(&stdio), [SFlag::S_IFIFO; 3]);
    let inodes = stdio.child.each_ref().map(|fd| fstat(fd).unwrap().st_ino);
    assert!(inodes[0] != inodes[1] && inodes[1] != inodes[2] && inodes[0] != inodes[2]);
    let directions: Vec<_> = stdio.relays.iter().map(Relay::direction).collect();
    assert_eq!(directions, [Direction::ToProcess, Direction::ToHost, Direction::ToHost]);
}

#[test]
fn pipes_belong_to_the_user_who_may_open_them_again() {
    let (stdio, _) = opened(&Process { stdin: true, ..Process::default() }, 1234);
    assert!(stdio.child.iter().all(|fd| fstat(fd).unwrap().st_uid == 1234));
}

#[test]
fn the_processs_own_ends_block_as_programs_expect() {
    let (stdio, _) = opened(&Process { stdin: true, ..Process::default() }, 0);
    for fd in &stdio.child {
        let flags = OFlag::from_bits_retain(fcntl(fd, FcntlArg::F_GETFL).unwrap());
        assert!(!flags.contains(OFlag::O_NONBLOCK));
    }
}

#[test]
fn a_terminal_is_all_three_streams_over_one_connection() {
    let terminal = Some(TerminalSize { rows: 24, columns: 80 });
    let (stdio, streams) = opened(&Process { terminal, stdin: true, ..Process::default() }, 0);
    assert_eq!(streams, [Stream::Terminal]);
    assert_eq!(stdio.relays.len(), 2);
    let devices = stdio.child.each_ref().map(|fd| fstat(fd).unwrap().st_rdev);
    assert!(devices[0] == devices[1] && devices[1] == devices[2]);
}

#[test]
fn a_host_that_refuses_is_named_with_its_stream() {
    let error = Connections::start(&Process::default(), |_| Err(Errno::ECONNRESET)).unwrap_err();
    assert_eq!(error.to_string(), "Connect Stdout to the host");
}

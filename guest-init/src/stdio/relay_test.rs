use super::*;
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::thread;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollTimeout, poll};
use nix::unistd::pipe2;

fn pipe() -> (OwnedFd, OwnedFd) {
    pipe2(OFlag::O_CLOEXEC).unwrap()
}

fn non_blocking(fd: impl AsFd) {
    fcntl(fd, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
}

/// A process's output: the pipe it writes to, the relay, and the host's end of the connection.
fn output_relay() -> (File, Relay, UnixStream) {
    let (reading, writing) = pipe();
    let (guest, host) = UnixStream::pair().unwrap();
    non_blocking(&guest);
    let relay = Relay::new(Direction::ToHost, Rc::new(reading), Rc::new(guest.into()));
    (writing.into(), relay, host)
}

/// A process's input: the host's end of the connection, the relay, and the pipe the process reads from.
fn input_relay() -> (UnixStream, Relay, File) {
    let (reading, writing) = pipe();
    let (guest, host) = UnixStream::pair().unwrap();
    non_blocking(&writing);
    let relay = Relay::new(Direction::ToProcess, Rc::new(guest.into()), Rc::new(writing));
    (host, relay, reading.into())
}

/// Lets the relay work once, waiting at most so long; `false` if nothing happened.
fn turn(relay: &mut Relay, wait: PollTimeout) -> bool {
    let mut set = Vec::new();
    relay.wait_for(&mut set);
    let happened = poll(&mut set, wait).unwrap() > 0;
    let events: Vec<_> = set.iter().map(|entry| entry.revents().unwrap()).collect();
    let mut events = events.into_iter();
    relay.advance(&mut events, &mut vec![0; CHUNK]);
    assert_eq!(events.next(), None);
    happened
}

fn run_to_the_end(mut relay: Relay) {
    while !relay.is_done() {
        turn(&mut relay, PollTimeout::NONE);
    }
}

/// Ten megabytes in which every byte value stands at every kind of place.
fn content() -> Vec<u8> {
    let mut state = 1u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..10 << 20).map(|_| next()).collect()
}

#[test]
fn ten_megabytes_of_output_arrive_unchanged_and_then_end() {
    let (mut process, relay, mut host) = output_relay();
    let writer = thread::spawn(move || process.write_all(&content()).unwrap());
    let reader = thread::spawn(move || {
        let mut arrived = Vec::new();
        host.read_to_end(&mut arrived).unwrap();
        arrived
    });
    run_to_the_end(relay);
    writer.join().unwrap();
    assert!(reader.join().unwrap() == content());
}

#[test]
fn ten_megabytes_of_input_arrive_unchanged_and_then_end() {
    let (mut host, relay, mut process) = input_relay();
    let writer = thread::spawn(move || host.write_all(&content()).unwrap());
    let reader = thread::spawn(move || {
        let mut arrived = Vec::new();
        process.read_to_end(&mut arrived).unwrap();
        arrived
    });
    run_to_the_end(relay);
    writer.join().unwrap();
    assert!(reader.join().unwrap() == content());
}

#[test]
fn a_host_that_does_not_read_makes_the_process_wait() {
    let (mut process, mut relay, mut host) = output_relay();
    non_blocking(&process);
    let chunk = [7; 4096];
    let mut written = 0;
    // Write until nothing moves any more: neither the process nor the relay.
    loop {
        let taken = process.write(&chunk).unwrap_or(0);
        written += taken;
        if !turn(&mut relay, PollTimeout::ZERO) && taken == 0 {
            break;
        }
    }
    assert!(relay.pending.len() <= CHUNK);
    assert!(!turn(&mut relay, PollTimeout::ZERO), "the relay would be busy while it waits");
    drop(process);
    assert!(!turn(&mut relay, PollTimeout::ZERO), "the relay would be busy when the process is gone");
    // Once the host reads, all of it comes.
    let reader = thread::spawn(move || {
        let mut arrived = Vec::new();
        host.read_to_end(&mut arrived).unwrap();
        arrived.len()
    });
    run_to_the_end(relay);
    assert_eq!(reader.join().unwrap(), written);
}

#[test]
fn a_process_that_does_not_read_makes_the_host_wait() {
    let (host, mut relay, _process) = input_relay();
    non_blocking(&host);
    loop {
        let taken = (&host).write(&[7; 4096]).unwrap_or(0);
        if !turn(&mut relay, PollTimeout::ZERO) && taken == 0 {
            break;
        }
    }
    assert!(!relay.pending.is_empty() && relay.pending.len() <= CHUNK);
    assert!(!relay.is_done());
}

#[test]
fn the_end_of_input_reaches_the_process_and_output_goes_on() {
    let (host, mut relay, mut process) = input_relay();
    (&host).write_all(b"last words").unwrap();
    host.shutdown(std::net::Shutdown::Write).unwrap();
    while !relay.is_done() {
        turn(&mut relay, PollTimeout::NONE);
    }
    drop(relay);
    let mut text = String::new();
    process.read_to_string(&mut text).unwrap();
    assert_eq!(text, "last words");
}

#[test]
fn the_end_of_output_is_a_half_close_that_leaves_input_open() {
    let (reading, writing) = pipe();
    let (guest, mut host) = UnixStream::pair().unwrap();
    non_blocking(&guest);
    let guest: Rc<OwnedFd> = Rc::new(guest.into());
    let mut relay = Relay::new(Direction::ToHost, Rc::new(reading), Rc::clone(&guest));
    drop(writing);
    turn(&mut relay, PollTimeout::NONE);
    assert!(relay.is_done());
    assert_eq!(host.read(&mut [0; 8]).unwrap(), 0);
    host.write_all(b"still heard").unwrap();
    let mut text = [0; 11];
    assert_eq!(read(&guest, &mut text).unwrap(), 11);
}

#[test]
fn a_host_that_hangs_up_ends_the_output_even_while_nothing_is_written() {
    let (mut process, mut relay, host) = output_relay();
    drop(host);
    turn(&mut relay, PollTimeout::NONE);
    assert!(relay.is_done());
    drop(relay);
    assert_eq!(process.write(b"x").unwrap_err().kind(), std::io::ErrorKind::BrokenPipe);
}

#[test]
fn a_host_that_hangs_up_unread_ends_the_output() {
    let (mut process, mut relay, host) = output_relay();
    // More than fits on the way, so that something is waiting to be written.
    non_blocking(&process);
    while relay.pending.is_empty() {
        let _ = process.write(&[7; 4096]);
        turn(&mut relay, PollTimeout::ZERO);
    }
    drop(host);
    turn(&mut relay, PollTimeout::NONE);
    assert!(relay.is_done());
}

#[test]
fn a_process_that_closes_its_input_lets_go_of_the_host() {
    let (mut host, mut relay, process) = input_relay();
    drop(process);
    turn(&mut relay, PollTimeout::NONE);
    assert!(relay.is_done());
    drop(relay);
    assert_eq!(host.read(&mut [0; 8]).unwrap(), 0);
}

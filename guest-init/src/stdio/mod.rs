//! The standard streams of a process: each a connection to the host on one side, and a pipe or a terminal on the other.
//!
//! Never the connection itself: a program may open `/dev/stdout`, which a socket does not allow.

pub mod relay;
pub mod terminal;

use std::os::fd::OwnedFd;
use std::rc::Rc;

use config::wire::{Process, Stream, TerminalSize};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl, open};
use nix::sys::stat::Mode;
use nix::unistd::{Uid, fchown, pipe2};

use crate::vsock::Connecting;
use relay::{Direction, Relay};
use terminal::Terminal;

/// What can go wrong with the standard streams.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The host does not take the connection.
    #[error("Connect {0:?} to the host")]
    Connect(Stream, #[source] Errno),
    /// A pipe.
    #[error("{0}")]
    Pipe(&'static str, #[source] Errno),
    /// A terminal.
    #[error("Open a terminal")]
    Terminal(#[source] terminal::Error),
}

/// The connections a process needs, under way while the container is being prepared.
#[derive(Debug)]
pub struct Connections(Vec<(Stream, Connecting)>);

impl Connections {
    /// Begins to connect what `process` needs, each by `connect`.
    pub fn start(
        process: &Process,
        connect: impl Fn(Stream) -> Result<Connecting, Errno>,
    ) -> Result<Connections, Error> {
        let streams: &[Stream] = match process {
            Process { terminal: Some(_), .. } => &[Stream::Terminal],
            Process { stdin: true, .. } => &[Stream::Stdin, Stream::Stdout, Stream::Stderr],
            Process { stdin: false, .. } => &[Stream::Stdout, Stream::Stderr],
        };
        let connect = |&stream: &Stream| match connect(stream) {
            Ok(connecting) => Ok((stream, connecting)),
            Err(error) => Err(Error::Connect(stream, error)),
        };
        streams.iter().map(connect).collect::<Result<_, _>>().map(Connections)
    }
}

/// The standard streams of one process.
#[derive(Debug)]
pub struct Stdio {
    /// The process's own ends, for descriptors 0, 1 and 2.
    pub child: [OwnedFd; 3],
    /// What carries them to and from the host.
    pub relays: Vec<Relay>,
    /// The terminal, if they are one.
    pub terminal: Option<Terminal>,
}

impl Stdio {
    /// Waits for `connections` and joins them to pipes, or to a terminal of `size`, that belong to `owner`.
    pub fn open(connections: Connections, size: Option<TerminalSize>, owner: Uid) -> Result<Stdio, Error> {
        let mut connected = Vec::with_capacity(connections.0.len());
        for (stream, connecting) in connections.0 {
            connected.push((stream, connecting.finish().map_err(|error| Error::Connect(stream, error))?));
        }
        match size {
            Some(size) => on_terminal(connected, size, owner),
            None => on_pipes(connected, owner),
        }
    }
}

fn on_pipes(connected: Vec<(Stream, OwnedFd)>, owner: Uid) -> Result<Stdio, Error> {
    let (mut input, mut output, mut error) = (None, None, None);
    let mut relays = Vec::with_capacity(connected.len());
    for (stream, socket) in connected {
        let (reading, writing) = pipe(owner)?;
        if stream == Stream::Stdin {
            // Only what guest-init writes to must never block it.
            fcntl(&writing, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))
                .map_err(|error| Error::Pipe("Set up a pipe", error))?;
            relays.push(Relay::new(Direction::ToProcess, Rc::new(socket), Rc::new(writing)));
            input = Some(reading);
        } else {
            relays.push(Relay::new(Direction::ToHost, Rc::new(reading), Rc::new(socket)));
            *(if stream == Stream::Stdout { &mut output } else { &mut error }) = Some(writing);
        }
    }
    let or_null = |end: Option<OwnedFd>| end.map_or_else(null, Ok);
    Ok(Stdio { child: [or_null(input)?, or_null(output)?, or_null(error)?], relays, terminal: None })
}

fn on_terminal(connected: Vec<(Stream, OwnedFd)>, size: TerminalSize, owner: Uid) -> Result<Stdio, Error> {
    let (terminal, slave) = Terminal::open(size, owner).map_err(Error::Terminal)?;
    let mut relays = Vec::with_capacity(2);
    for (_, socket) in connected {
        let socket = Rc::new(socket);
        relays.push(Relay::new(Direction::ToProcess, Rc::clone(&socket), terminal.master()));
        relays.push(Relay::new(Direction::ToHost, terminal.master(), socket));
    }
    let copy = || slave.try_clone().map_err(|_| Error::Pipe("Copy a descriptor", Errno::EMFILE));
    Ok(Stdio { child: [copy()?, copy()?, slave], relays, terminal: Some(terminal) })
}

/// A pipe that its user may open again by way of `/dev/stdout` and its like.
fn pipe(owner: Uid) -> Result<(OwnedFd, OwnedFd), Error> {
    let ends = pipe2(OFlag::O_CLOEXEC).map_err(|error| Error::Pipe("Create a pipe", error))?;
    if !owner.is_root() {
        fchown(&ends.0, Some(owner), None).map_err(|error| Error::Pipe("Give a pipe to its user", error))?;
    }
    Ok(ends)
}

fn null() -> Result<OwnedFd, Error> {
    open("/dev/null", OFlag::O_RDWR | OFlag::O_CLOEXEC, Mode::empty())
        .map_err(|error| Error::Pipe("Open /dev/null", error))
}

#[cfg(test)]
#[path = "mod_test.rs"]
mod tests;

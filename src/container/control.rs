//! What the processes of one container say to each other, a packet each (see [`super::packet`]).

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use config::Folders;
use config::wire::TerminalSize;
use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::socket::{AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, connect, listen, socket};
use nix::sys::stat::Mode;
use serde::{Deserialize, Serialize};

use super::packet;

/// Clients that may wait to be let in.
const BACKLOG: i32 = 16;

/// The first packet a monitor gets, on its standard input. With it come the container's lock and then the streams
/// that are named here. The socket stays: it is the first client's.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Begin {
    /// See [`Folders::root`].
    pub(crate) root: PathBuf,
    /// See [`Folders::run`].
    pub(crate) run: PathBuf,
    /// The streams of the first client.
    pub(crate) streams: Streams,
}

/// Which stream sockets come with a message, in this order.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Streams {
    /// What is written to it is the container's standard input, or typed into its terminal.
    pub(crate) stdin: bool,
    /// The container's standard output, or its terminal's.
    pub(crate) stdout: bool,
    /// The container's standard error.
    pub(crate) stderr: bool,
}

/// From a client to the monitor.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) enum Request {
    /// Send the container's process this Linux signal; answered with [`Reply::Done`].
    Signal(i32),
    /// Send the stop signal, and after so many seconds SIGKILL; answered with [`Reply::Done`].
    Stop {
        /// Seconds.
        grace: u64,
    },
    /// The client's terminal has this size now; not answered.
    Resize(TerminalSize),
}

/// From the monitor to a client. [`Reply::Started`], [`Reply::Failed`] and [`Reply::Exited`] go to every client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Reply {
    /// The request has been carried out.
    Done,
    /// The container's process runs.
    Started,
    /// It never ran, and everything is cleaned up.
    Failed {
        /// 125, 126 or 127.
        code: u8,
        /// What was tried and why it failed.
        error: String,
    },
    /// The container is over, and everything is cleaned up.
    Exited {
        /// The exit code.
        code: u8,
        /// What went wrong, if it was not the process itself.
        error: String,
    },
}

/// From the monitor to the VMM. With it come the kernel, the broker's socket, the file for the kernel's messages, an
/// empty folder, the root, and the volumes.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Machine {
    /// Name of the container.
    pub(crate) name: String,
    /// Guest memory in bytes.
    pub(crate) memory: u64,
    /// Processors.
    pub(crate) vcpus: u8,
    /// The volumes: name of the entry, and whether it may only be read.
    pub(crate) volumes: Vec<(String, bool)>,
}

/// From the VMM to the monitor, once. The VMM then stays, to deliver what its guest wrote last, until it is killed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Outcome {
    /// The guest said it was finished.
    Shutdown,
    /// The guest ended in some other way; what happened, as a sentence.
    Broken(String),
    /// There never was a guest; why.
    Failed(String),
}

/// A connection to a container's monitor.
pub(crate) struct Client {
    socket: OwnedFd,
}

impl Client {
    /// Takes over a connection that is there.
    pub(crate) fn new(socket: OwnedFd) -> Client {
        Client { socket }
    }

    /// Connects to the monitor of container `id`; `None` if there is none.
    pub(crate) fn connect(folders: &Folders, id: &str) -> Result<Option<Client>> {
        let tried = "Cannot speak to the container's monitor";
        let socket = new_socket().context(tried)?;
        let result = in_folder(&folders.container_run(id), |address| connect(socket.as_raw_fd(), address));
        match result {
            Ok(()) => Ok(Some(Client { socket })),
            Err(Errno::ENOENT | Errno::ECONNREFUSED) => Ok(None),
            Err(error) => Err(error).context(tried),
        }
    }

    /// Asks for something and waits until it is done; `false` if the container ended meanwhile.
    pub(crate) fn ask(&self, request: &Request) -> Result<bool> {
        match packet::send(self.socket.as_fd(), request, &[]) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(false),
            result => result.context("Cannot ask the container's monitor")?,
        }
        loop {
            match self.reply()? {
                Some(Reply::Done) => return Ok(true),
                Some(Reply::Started) => {}
                Some(Reply::Exited { .. } | Reply::Failed { .. }) | None => return Ok(false),
            }
        }
    }

    /// Waits for the end; the exit code, or `None` if the monitor died with its container.
    pub(crate) fn end(&self) -> Result<Option<u8>> {
        loop {
            match self.reply()? {
                Some(Reply::Exited { code, .. } | Reply::Failed { code, .. }) => return Ok(Some(code)),
                Some(Reply::Started | Reply::Done) => {}
                None => return Ok(None),
            }
        }
    }

    /// Asks for something whose answer comes among the others. A monitor that is gone is noticed there too.
    pub(crate) fn tell(&self, request: &Request) -> Result<()> {
        match packet::send(self.socket.as_fd(), request, &[]) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            result => result.context("Cannot ask the container's monitor"),
        }
    }

    /// Waits for the next reply; `None` when the monitor has gone away.
    pub(crate) fn reply(&self) -> Result<Option<Reply>> {
        let packet = packet::receive(self.socket.as_fd()).context("Cannot hear the container's monitor")?;
        Ok(packet.map(|packet| packet.message))
    }
}

impl AsFd for Client {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Makes the socket at which the monitor whose run-time folder is `folder` can be reached.
pub(crate) fn listener(folder: &Path) -> Result<OwnedFd> {
    let tried = "Cannot make the container's control socket";
    let socket = new_socket().context(tried)?;
    in_folder(folder, |address| bind(socket.as_raw_fd(), address)).context(tried)?;
    listen(&socket, Backlog::new(BACKLOG)?).context(tried)?;
    Ok(socket)
}

/// Asks the monitor of a container that must be running.
pub(crate) fn running(folders: &Folders, id: &str, name: &str) -> Result<Client> {
    match Client::connect(folders, id)? {
        Some(client) => Ok(client),
        None => bail!(not_running(name)),
    }
}

/// What is said of a container that would have to run.
pub(crate) fn not_running(name: &str) -> anyhow::Error {
    anyhow!("The container {name} is not running")
}

fn new_socket() -> nix::Result<OwnedFd> {
    socket(AddressFamily::Unix, SockType::SeqPacket, SockFlag::SOCK_CLOEXEC, None)
}

/// Runs `action` with the address of `sock` in `folder`. The path goes through /proc, because a socket's address has
/// room for 108 bytes only and a folder's path may be longer.
fn in_folder(folder: &Path, action: impl FnOnce(&UnixAddr) -> nix::Result<()>) -> nix::Result<()> {
    let folder = open(folder, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?;
    let path = format!("/proc/self/fd/{}/sock", folder.as_raw_fd());
    action(&UnixAddr::new(path.as_str())?)
}

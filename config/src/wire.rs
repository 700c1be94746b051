//! The wire between the host and guest-init: what travels over vsock, and how it is framed.
//!
//! guest-init connects to [`CONTROL_PORT`] on the host, says [`ToHost::Ready`] and waits for
//! [`ToGuest::Start`]. Each stream of each process is a vsock connection of its own, opened by the guest to
//! [`stream_port`], so that a reader who is slow on one stream holds up no other.

use std::io::{self, Read, Write};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// vsock context id of the host (virtio specification 1.2, section 5.10.4).
pub const HOST_CID: u32 = 2;
/// vsock context id of every guest: a microVM has a vsock of its own, so they need not differ.
pub const GUEST_CID: u32 = 3;
/// Host port of the control connection.
pub const CONTROL_PORT: u32 = 1024;
/// First of the host ports of process streams; see [`stream_port`].
const STREAM_PORTS: u32 = 4096;
/// Number of the container's own first process; further ones are `exec`s.
pub const MAIN_PROCESS: u32 = 0;

/// I/O port that guest-init writes to when everything is done.
pub const POWER_PORT: u16 = 0x600;
/// Value for [`POWER_PORT`]: the guest is finished, end the virtual machine.
pub const POWER_OFF: u8 = 0x5a;

/// virtio-fs tag of the container's root file system, which has one writer and is cached without limit.
pub const ROOT_TAG: &str = "root";
/// virtio-fs tag of the folder of volumes shared with the host, one entry per [`Mount`].
pub const SHARES_TAG: &str = "shares";

/// Longest message the guest accepts: arguments and environment may together be large (Linux allows 2 MiB of them
/// by default, `ARG_MAX`).
pub const MAX_TO_GUEST: usize = 4 << 20;
/// Longest message the host accepts from a guest; the guest is not trusted, and none of its messages is long.
pub const MAX_TO_HOST: usize = 64 << 10;

/// A standard stream of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[repr(u8)]
pub enum Stream {
    /// Host to guest.
    Stdin = 0,
    /// Guest to host.
    Stdout = 1,
    /// Guest to host.
    Stderr = 2,
    /// Both ways: the terminal of a process that has one, instead of the other three.
    Terminal = 3,
}

/// The host port a guest connects to for `stream` of process number `process`.
///
/// ```
/// # use coracle_config::wire::*;
/// assert_eq!(parse_stream_port(stream_port(7, Stream::Stderr)), Some((7, Stream::Stderr)));
/// assert_eq!(parse_stream_port(CONTROL_PORT), None);
/// ```
pub fn stream_port(process: u32, stream: Stream) -> u32 {
    STREAM_PORTS.saturating_add(process.saturating_mul(4)).saturating_add(stream as u32)
}

/// The inverse of [`stream_port`]; `None` for any other port.
pub fn parse_stream_port(port: u32) -> Option<(u32, Stream)> {
    let offset = port.checked_sub(STREAM_PORTS)?;
    let stream = match offset % 4 {
        0 => Stream::Stdin,
        1 => Stream::Stdout,
        2 => Stream::Stderr,
        _ => Stream::Terminal,
    };
    Some((offset / 4, stream))
}

/// From the host to guest-init.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ToGuest {
    /// The first message: what this guest is to become.
    Start(Box<Start>),
    /// Send `signal` (a Linux signal number) to a process.
    Signal {
        /// Number of the process.
        process: u32,
        /// Linux signal number.
        signal: i32,
    },
    /// The user's terminal changed its size.
    Resize {
        /// Number of the process.
        process: u32,
        /// The new size.
        size: TerminalSize,
    },
}

/// From guest-init to the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ToHost {
    /// The guest is up and waits for [`ToGuest::Start`].
    Ready {
        /// Microseconds since the guest's kernel started (CLOCK_BOOTTIME).
        uptime_us: u64,
    },
    /// The process runs.
    Started {
        /// Number of the process.
        process: u32,
    },
    /// The process could not be started; nothing of it runs.
    NotStarted {
        /// Number of the process.
        process: u32,
        /// Why.
        error: StartError,
    },
    /// The process has ended and all it wrote has been sent.
    Exited {
        /// Number of the process.
        process: u32,
        /// How it ended.
        status: ExitStatus,
    },
}

/// What a guest is to become.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Start {
    /// Host name of the container.
    pub hostname: String,
    /// Nanoseconds since 1970 on the host's clock when this was sent.
    pub realtime_ns: u64,
    /// Volumes, in the order in which they are mounted.
    pub mounts: Vec<Mount>,
    /// The container's process, number [`MAIN_PROCESS`].
    pub process: Process,
}

/// One volume.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// Name of the entry in the share tagged [`SHARES_TAG`].
    pub source: String,
    /// Absolute path in the container; created if absent, symbolic links resolved inside the container's root.
    pub target: String,
    /// Also mounted read-only in the guest, so that programs see it; the host enforces it in any case.
    pub read_only: bool,
}

/// A process to start in the container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// Program and arguments; the program is looked up in the PATH of `environment` if it has no slash.
    pub arguments: Vec<String>,
    /// `NAME=VALUE` each.
    pub environment: Vec<String>,
    /// Absolute; created if absent; empty means `/`.
    pub working_directory: String,
    /// `user[:group]`, by name or number, as the image's own files know them; empty means root.
    pub user: String,
    /// The size of its terminal, if it is to have one.
    pub terminal: Option<TerminalSize>,
    /// Whether standard input is connected; otherwise it is `/dev/null`.
    pub stdin: bool,
}

/// Size of a terminal in characters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TerminalSize {
    /// Lines.
    pub rows: u16,
    /// Characters per line.
    pub columns: u16,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ExitStatus {
    /// It exited with this code.
    Code(u8),
    /// It was ended by this signal.
    Signal(u8),
}

impl ExitStatus {
    /// The exit code as a shell and Docker report it: 128+n for signal n.
    ///
    /// ```
    /// # use coracle_config::wire::ExitStatus;
    /// assert_eq!(ExitStatus::Signal(15).code(), 143);
    /// ```
    pub fn code(self) -> u8 {
        match self {
            ExitStatus::Code(code) => code,
            ExitStatus::Signal(signal) => 128u8.saturating_add(signal),
        }
    }
}

/// Why a process was not started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StartError {
    /// Decides the exit code.
    pub kind: StartErrorKind,
    /// What was tried and why it failed, for the user.
    pub message: String,
}

/// Classes of [`StartError`], as Docker's exit codes tell them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum StartErrorKind {
    /// The command was not found: 127.
    NotFound,
    /// The command is there and cannot be executed: 126.
    NotExecutable,
    /// Anything else (user, working directory, mounts): 125.
    Setup,
}

impl StartErrorKind {
    /// The exit code that stands for this failure.
    pub fn code(self) -> u8 {
        match self {
            StartErrorKind::NotFound => 127,
            StartErrorKind::NotExecutable => 126,
            StartErrorKind::Setup => 125,
        }
    }
}

/// Sends one message: its length as 32 bits little-endian, then its postcard encoding, in one write.
pub fn send<T: Serialize>(output: &mut impl Write, message: &T) -> io::Result<()> {
    let body = postcard::to_allocvec(message).map_err(io::Error::other)?;
    let length = u32::try_from(body.len()).map_err(io::Error::other)?;
    let mut frame = Vec::with_capacity(body.len() + 4);
    frame.extend_from_slice(&length.to_le_bytes());
    frame.extend_from_slice(&body);
    output.write_all(&frame)
}

/// Receives one message of at most `limit` bytes; `None` at a clean end of the stream.
///
/// Errors: `InvalidData` for a message that is too long or does not decode, `UnexpectedEof` for one that is cut.
pub fn receive<T: DeserializeOwned>(input: &mut impl Read, limit: usize) -> io::Result<Option<T>> {
    let mut length = [0; 4];
    let first = loop {
        match input.read(&mut length[..1]) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => break other?,
        }
    };
    if first == 0 {
        return Ok(None);
    }
    input.read_exact(&mut length[1..])?;
    let length = u32::from_le_bytes(length) as usize;
    if length > limit {
        let message = format!("A message of {length} bytes, more than the {limit} allowed");
        return Err(io::Error::new(io::ErrorKind::InvalidData, message));
    }
    let mut body = vec![0; length];
    input.read_exact(&mut body)?;
    postcard::from_bytes(&body)
        .map(Some)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, format!("A message that does not decode: {error}")))
}

#[cfg(test)]
#[path = "wire_test.rs"]
mod tests;

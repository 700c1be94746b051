//! The monitor: the small process that keeps one container, from its root file system to its exit code.
//!
//! It is started by the command line and outlives it. It holds the container's lock for as long as it lives; if it is
//! killed, the kernel ends the VMM, and with the VMM goes the mount of the root file system.

mod alarms;
mod clients;
mod guest;
mod input;
mod output;
mod relay;
mod root;
mod vmm;

use std::os::fd::{AsFd, OwnedFd};

use anyhow::{Context, Result, bail};
use config::wire::Stream;
use config::{Folders, stages};
use nix::sys::prctl;
use nix::sys::signal::{SigHandler, SigSet, SigmaskHow, Signal, signal, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use self::clients::Clients;
use self::input::Input;
use self::output::Output;
use self::relay::{End, Relay};
use self::vmm::Vmm;
use super::control::{self, Begin, Reply, Streams};
use super::lock::Lock;
use super::record::{Record, State};
use super::{catalogue, log, packet, volumes};

pub(crate) use self::vmm::messages;

/// What the command line sent with the first packet.
struct First {
    folders: Folders,
    socket: OwnedFd,
    stdin: Option<OwnedFd>,
    stdout: Option<OwnedFd>,
    stderr: Option<OwnedFd>,
}

/// Everything the monitor of container `id` does.
pub(crate) fn main(id: &str) -> Result<()> {
    stages::mark("monitor-start");
    let signals = detach().context("Cannot become a monitor")?;
    let (first, lock) = begin()?;
    let folders = first.folders.clone();
    let folder = catalogue::folder(&folders, id);
    let Some(record) = Record::read(&folder)? else { bail!("There is no record in {}", folder.display()) };
    let (mut end, state, clients) = match keep(&record, first, signals) {
        Kept::Ended(end, state, clients) => (end, state, clients),
        Kept::Impossible(error, socket) => {
            let end = End { started: false, code: crate::cli::FAILED, error: format!("{error:#}") };
            (end, State::created(), Clients::alone(socket))
        }
    };
    if !end.error.is_empty() {
        end.error.push_str(&catalogue::last_words(&folders, id));
    }
    let cleaned = clean(&folders, &folder, &record, &end, state, lock);
    stages::mark("cleaned");
    clients.tell(&last_word(end));
    cleaned
}

/// How far a container came.
enum Kept {
    /// Its guest ended.
    Ended(End, State, Clients),
    /// There was no guest. The first client is to be told why.
    Impossible(anyhow::Error, OwnedFd),
}

/// The container's life, from the mount of its root to the end of its guest.
fn keep(record: &Record, first: First, signals: SignalFd) -> Kept {
    let First { folders, socket, stdin, stdout, stderr } = first;
    let prepare = || -> Result<_> {
        let root = root::open_mounted(&folders, record)?;
        stages::mark("rootfs-mounted");
        let listener = control::listener(&folders.container_run(&record.id))?;
        let (vmm, broker) = Vmm::start(&folders, record, root)?;
        stages::mark("vmm-spawned");
        Ok((listener, vmm, broker))
    };
    let (listener, vmm, broker) = match prepare() {
        Ok(prepared) => prepared,
        Err(error) => return Kept::Impossible(error, socket),
    };
    let mut input = Input::new(record.stdin_once);
    stdin.into_iter().for_each(|stdin| input.attach(stdin));
    let main = if record.process.terminal.is_some() { Stream::Terminal } else { Stream::Stdout };
    let mut outputs = [Output::new(main), Output::new(Stream::Stderr)];
    for (output, reader) in outputs.iter_mut().zip([stdout, stderr]) {
        reader.into_iter().for_each(|reader| output.attach(reader));
    }
    let folder = catalogue::folder(&folders, &record.id);
    let log = log::Writer::new(log::path(&folder), record.log);
    let mut state = State::created();
    let pid = vmm.id();
    let mut on_start = || {
        state = State::running(pid);
        record.write_state(&folder, &state)
    };
    let clients = Clients::new(socket, listener);
    let relay = Relay { record, vmm, broker, clients, signals, input, outputs, log };
    let (end, clients) = relay.run(&mut on_start);
    Kept::Ended(end, state, clients)
}

/// Records the end, or removes the container, and everything in the run-time folder with it.
fn clean(
    folders: &Folders,
    folder: &std::path::Path,
    record: &Record,
    end: &End,
    state: State,
    lock: Lock,
) -> Result<()> {
    if record.remove {
        catalogue::remove_locked(folders, record, lock)?;
        return volumes::remove_anonymous(folders, &record.volumes);
    }
    let state = state.exited(end.code, end.error.clone());
    record.write_state(folder, &state)?;
    catalogue::remove_run_folder(folders, &record.id);
    drop(lock);
    Ok(())
}

fn last_word(end: End) -> Reply {
    let End { started, code, error } = end;
    if started { Reply::Exited { code, error } } else { Reply::Failed { code, error } }
}

/// Leaves the session and the terminal of the command line, so that neither its end nor a key pressed there reaches
/// the monitor. SIGTERM, from a host that shuts down, is received in order.
fn detach() -> Result<SignalFd> {
    // Not a session leader yet: the command line started us in its own session.
    nix::unistd::setsid()?;
    prctl::set_name(c"coracle")?;
    for ignored in [Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGPIPE] {
        // SAFETY: no handler is installed, the signal is merely ignored.
        unsafe { signal(ignored, SigHandler::SigIgn) }?;
    }
    let mut mask = SigSet::empty();
    mask.add(Signal::SIGTERM);
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&mask), None)?;
    std::env::set_current_dir("/")?;
    Ok(SignalFd::with_flags(&mask, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?)
}

/// Receives the first packet.
fn begin() -> Result<(First, Lock)> {
    let socket = std::io::stdin().as_fd().try_clone_to_owned()?;
    let packet = packet::receive::<Begin>(socket.as_fd()).context("Cannot hear the command line")?;
    let Some(packet::Packet { message, fds }) = packet else { bail!("The command line is gone") };
    let Begin { root, run, streams: Streams { stdin, stdout, stderr } } = message;
    let mut fds = fds.into_iter();
    let mut next = |wanted: bool| if wanted { fds.next() } else { None };
    let lock = next(true).context("The command line sent no lock")?;
    let folders = Folders::new(Some(root), Some(run));
    let (stdin, stdout, stderr) = (next(stdin), next(stdout), next(stderr));
    Ok((First { folders, socket, stdin, stdout, stderr }, Lock::received(lock)))
}

//! Between `fork` and `execve`: the child becomes what the process is to be, and reports what prevents it.
//!
//! The child allocates nothing and touches only what was prepared for it. It reports through a pipe that closes when
//! its program starts, so that the parent knows exactly what happened.

use std::convert::Infallible;
use std::ffi::{CStr, CString};
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsRawFd, OwnedFd};
use std::ptr;

use config::wire::StartError;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, SigmaskHow, Signal, sigaction, sigprocmask};
use nix::sys::stat::{Mode, umask};
use nix::sys::wait::waitpid;
use nix::unistd::{
    AccessFlags, ForkResult, Pid, access, chdir, dup2_stderr, dup2_stdin, dup2_stdout, fork, mkdir, pipe2, setgid,
    setgroups, setsid, setuid, write,
};

use super::program::{Command, ExecFailure};
use super::user::Identity;
use crate::step::setup_error;

/// Open files a process may have: as many as `select` can handle, until it asks for more; what a service gets
/// from most systems.
const OPEN_FILES: (libc::rlim_t, libc::rlim_t) = (1024, 524_288);
/// What a process that has not said otherwise takes away from the modes of files it creates.
const MASK: libc::mode_t = 0o022;
/// Longest name of a file or folder (`NAME_MAX`).
const LONGEST_NAME: usize = 255;
/// Bytes of a report: stage, error number, number of the candidate.
const REPORT: usize = 9;

nix::ioctl_write_int_bad!(
    /// Makes a terminal the controlling terminal of this session.
    ioctl_set_controlling_terminal,
    libc::TIOCSCTTY
);

/// How far the child came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Stage {
    Session,
    Terminal,
    Streams,
    Signals,
    Limits,
    Directory,
    Groups,
    Group,
    User,
    Interpreter,
    Exec,
}

const STAGES: [Stage; 11] = [
    Stage::Session,
    Stage::Terminal,
    Stage::Streams,
    Stage::Signals,
    Stage::Limits,
    Stage::Directory,
    Stage::Groups,
    Stage::Group,
    Stage::User,
    Stage::Interpreter,
    Stage::Exec,
];

/// Why a child does not run its program.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// There is not even a child.
    #[error("{0}")]
    Start(&'static str, #[source] Errno),
    /// The child could not become what it was to be.
    #[error("{0}")]
    Setup(&'static str, #[source] Errno),
    /// The working directory is not there and cannot be created, or is no directory.
    #[error("Enter the working directory {0:?}")]
    Directory(CString, #[source] Errno),
    /// The program was not executed.
    #[error("Execute the program")]
    Exec(ExecFailure),
}

impl Failure {
    /// The failure as the host is told of it.
    pub fn explain(self, command: &Command) -> StartError {
        match self {
            Failure::Exec(failure) => failure.explain(command),
            other => setup_error("Cannot start the process", &other),
        }
    }
}

/// Starts a child that runs `command` as `identity`, in a session of its own, with `stdio` as its standard streams, the
/// first of which is its terminal if `has_terminal`.
pub fn start(command: &Command, identity: &Identity, stdio: &[OwnedFd; 3], has_terminal: bool) -> Result<Pid, Failure> {
    let arguments = pointers(&command.arguments);
    let environment = pointers(&command.environment);
    let (reading, writing) = pipe2(OFlag::O_CLOEXEC).map_err(|error| Failure::Start("Create a pipe", error))?;
    // SAFETY: the child allocates nothing and takes no lock until it executes a program or exits.
    let child = match unsafe { fork() }.map_err(|error| Failure::Start("Fork", error))? {
        ForkResult::Parent { child } => child,
        ForkResult::Child => {
            let Err(report) = become_process(command, identity, stdio, has_terminal)
                .and_then(|()| execute(&command.candidates, &arguments, &environment));
            let _ = write(&writing, &report.encode());
            // SAFETY: _exit takes an integer and ends this process without running anything of the parent's.
            unsafe { libc::_exit(127) }
        }
    };
    drop(writing);
    let mut bytes = Vec::with_capacity(REPORT);
    if let Err(error) = File::from(reading).take(REPORT as u64).read_to_end(&mut bytes) {
        let errno = error.raw_os_error().map_or(Errno::EIO, Errno::from_raw);
        return Err(Failure::Start("Read the child's report", errno));
    }
    match Report::decode(&bytes) {
        None => Ok(child),
        Some(report) => {
            let _ = waitpid(child, None);
            Err(report.failure(command))
        }
    }
}

/// What a child says before it gives up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Report {
    stage: Stage,
    error: Errno,
    candidate: u32,
}

impl Report {
    fn encode(self) -> [u8; REPORT] {
        let mut bytes = [0; REPORT];
        bytes[0] = self.stage as u8;
        bytes[1..5].copy_from_slice(&(self.error as i32).to_le_bytes());
        bytes[5..].copy_from_slice(&self.candidate.to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Report> {
        let (&stage, rest) = bytes.split_first()?;
        let (&error, rest) = rest.split_first_chunk()?;
        let &candidate = rest.first_chunk()?;
        Some(Report {
            stage: *STAGES.get(usize::from(stage))?,
            error: Errno::from_raw(i32::from_le_bytes(error)),
            candidate: u32::from_le_bytes(candidate),
        })
    }

    fn failure(self, command: &Command) -> Failure {
        let candidate = self.candidate as usize;
        let what = match self.stage {
            Stage::Session => "Start a session",
            Stage::Terminal => "Take control of the terminal",
            Stage::Streams => "Connect the standard streams",
            Stage::Signals => "Reset signals",
            Stage::Limits => "Set resource limits",
            Stage::Groups => "Set supplementary groups",
            Stage::Group => "Set the group",
            Stage::User => "Set the user",
            Stage::Directory => return Failure::Directory(command.directory.clone(), self.error),
            Stage::Interpreter => return Failure::Exec(ExecFailure::NoInterpreter(candidate)),
            Stage::Exec if self.error == Errno::ENOENT => return Failure::Exec(ExecFailure::NotFound),
            Stage::Exec => return Failure::Exec(ExecFailure::Refused(candidate, self.error)),
        };
        Failure::Setup(what, self.error)
    }
}

/// Everything that makes the child the process it is to be, its program excepted.
fn become_process(
    command: &Command,
    identity: &Identity,
    stdio: &[OwnedFd; 3],
    has_terminal: bool,
) -> Result<(), Report> {
    let at = |stage| move |error| Report { stage, error, candidate: 0 };
    setsid().map_err(at(Stage::Session))?;
    if has_terminal {
        // SAFETY: the descriptor is open and the argument is an integer.
        unsafe { ioctl_set_controlling_terminal(stdio[0].as_raw_fd(), 0) }.map_err(at(Stage::Terminal))?;
    }
    dup2_stdin(&stdio[0]).map_err(at(Stage::Streams))?;
    dup2_stdout(&stdio[1]).map_err(at(Stage::Streams))?;
    dup2_stderr(&stdio[2]).map_err(at(Stage::Streams))?;
    reset_signals().map_err(at(Stage::Signals))?;
    limit_open_files().map_err(at(Stage::Limits))?;
    umask(Mode::from_bits_truncate(MASK));
    enter_directory(&command.directory).map_err(at(Stage::Directory))?;
    setgroups(&identity.groups).map_err(at(Stage::Groups))?;
    setgid(identity.gid).map_err(at(Stage::Group))?;
    setuid(identity.uid).map_err(at(Stage::User))
}

/// PID 1 blocks signals and, like Rust programs, may ignore SIGPIPE; a program expects neither.
fn reset_signals() -> Result<(), Errno> {
    let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
    // SAFETY: the default action is no function of this program.
    unsafe { sigaction(Signal::SIGPIPE, &default) }?;
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None)
}

/// Where root may not raise limits, the hard one stays what it is.
fn limit_open_files() -> Result<(), Errno> {
    let (soft, hard) = OPEN_FILES;
    match setrlimit(Resource::RLIMIT_NOFILE, soft, hard) {
        Err(Errno::EPERM) => {
            let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
            setrlimit(Resource::RLIMIT_NOFILE, soft.min(hard), hard)
        }
        other => other,
    }
}

/// Enters the working directory, as root, creating what is missing of it.
fn enter_directory(path: &CStr) -> Result<(), Errno> {
    match chdir(path) {
        Err(Errno::ENOENT) => {}
        other => return other,
    }
    chdir(c"/")?;
    for name in path.to_bytes().split(|&byte| byte == b'/').filter(|name| !name.is_empty()) {
        let mut terminated = [0; LONGEST_NAME + 1];
        terminated.get_mut(..name.len()).ok_or(Errno::ENAMETOOLONG)?.copy_from_slice(name);
        let name = CStr::from_bytes_until_nul(&terminated).map_err(|_| Errno::ENAMETOOLONG)?;
        match mkdir(name, Mode::from_bits_truncate(0o755)) {
            Ok(()) | Err(Errno::EEXIST) => chdir(name)?,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Executes the first of `candidates` that can be, as `execvp` does, but never by way of a shell.
fn execute(
    candidates: &[CString],
    arguments: &[*const libc::c_char],
    environment: &[*const libc::c_char],
) -> Result<Infallible, Report> {
    let mut refused = None;
    for (number, path) in (0..).zip(candidates) {
        // SAFETY: `path` is terminated; both lists end with null and point to strings that live in `Command`.
        unsafe { libc::execve(path.as_ptr(), arguments.as_ptr(), environment.as_ptr()) };
        let report = |stage, error| Report { stage, error, candidate: number };
        match Errno::last() {
            Errno::ENOENT if access(path.as_c_str(), AccessFlags::F_OK).is_ok() => {
                return Err(report(Stage::Interpreter, Errno::ENOENT));
            }
            Errno::ENOENT | Errno::ENOTDIR => {}
            Errno::EACCES => {
                refused.get_or_insert(report(Stage::Exec, Errno::EACCES));
            }
            error => return Err(report(Stage::Exec, error)),
        }
    }
    Err(refused.unwrap_or(Report { stage: Stage::Exec, error: Errno::ENOENT, candidate: 0 }))
}

/// `strings` as C has them: pointers, the last one null.
fn pointers(strings: &[CString]) -> Vec<*const libc::c_char> {
    strings.iter().map(|string| string.as_ptr()).chain([ptr::null()]).collect()
}

#[cfg(test)]
#[path = "child_test.rs"]
mod tests;

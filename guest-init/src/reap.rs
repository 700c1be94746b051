//! The end of processes: PID 1 is told of every one, its own child or an orphan's.

use std::os::fd::{AsFd, BorrowedFd};

use config::wire::ExitStatus;
use nix::errno::Errno;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::{Pid, getpid};

/// Tells when processes have ended.
#[derive(Debug)]
pub struct Children {
    signals: SignalFd,
}

/// What has become of the processes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reaped {
    /// How the process asked for ended, if it did.
    pub status: Option<ExitStatus>,
    /// Whether no process is left at all.
    pub none_left: bool,
}

impl Children {
    /// Begins to watch. Called before the first process is started, so that no end is missed.
    pub fn watch() -> Result<Children, Errno> {
        let mut mask = SigSet::empty();
        mask.add(Signal::SIGCHLD);
        let signals = SignalFd::with_flags(&mask, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
        // A reader who is gone shows as an error of `write`; nobody need be killed for it.
        mask.add(Signal::SIGPIPE);
        mask.thread_block()?;
        Ok(Children { signals })
    }

    /// Collects every process that has ended, and reports on `pid`.
    pub fn reap(&self, pid: Pid) -> Result<Reaped, Errno> {
        // Many ends may be behind one signal, so the signal itself says nothing.
        while self.signals.read_signal()?.is_some() {}
        let mut reaped = Reaped::default();
        loop {
            let mut status = 0;
            // SAFETY: `status` is a valid integer for the kernel to fill, and outlives the call.
            let answer = unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG) };
            match Errno::result(answer) {
                Ok(0) => return Ok(reaped),
                Ok(ended) if ended == pid.as_raw() => reaped.status = Some(exit_status(status)),
                Ok(_) | Err(Errno::EINTR) => {}
                Err(Errno::ECHILD) => return Ok(Reaped { none_left: true, ..reaped }),
                Err(error) => return Err(error),
            }
        }
    }
}

impl AsFd for Children {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.signals.as_fd()
    }
}

/// What `status` (wait(2)) means. Real-time signals, which have no name, count like all others.
fn exit_status(status: libc::c_int) -> ExitStatus {
    let byte = |value: libc::c_int| u8::try_from(value).unwrap_or(u8::MAX);
    if libc::WIFSIGNALED(status) {
        ExitStatus::Signal(byte(libc::WTERMSIG(status)))
    } else {
        ExitStatus::Code(byte(libc::WEXITSTATUS(status)))
    }
}

/// Sends `signal` to `pid`. A process that has ended, or a number that is no signal, is nobody's fault.
pub fn signal(pid: Pid, signal: i32) {
    // SAFETY: kill takes two integers and touches no memory.
    unsafe { libc::kill(pid.as_raw(), signal) };
}

/// Ends every process but this one, which must be PID 1: anywhere else this would end the whole system.
pub fn kill_all() {
    if getpid().as_raw() == 1 {
        signal(Pid::from_raw(-1), libc::SIGKILL);
    }
}

#[cfg(test)]
#[path = "reap_test.rs"]
mod tests;

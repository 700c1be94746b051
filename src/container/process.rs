//! Our own further processes: the same binary, told by its first argument what it is.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use config::stages;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// The binary itself, even if the file has been replaced since.
const SELF: &str = "/proc/self/exe";
/// The process that keeps one container.
pub(crate) const MONITOR: &str = "monitor";
/// The process that is one microVM.
pub(crate) const MICROVM: &str = "microvm";

/// Starts `coracle VERB NAME ID`, so that `ps` shows whose it is. `socket` becomes its standard input; what it says
/// goes to `messages`.
pub(crate) fn spawn(verb: &str, name: &str, id: &str, socket: OwnedFd, messages: File) -> io::Result<Child> {
    let mut command = Command::new(SELF);
    command.arg0("coracle").args([verb, name, id]).env_clear();
    if let Some(stages) = std::env::var_os(stages::VARIABLE) {
        command.env(stages::VARIABLE, stages);
    }
    command.stdin(Stdio::from(socket)).stdout(Stdio::null()).stderr(Stdio::from(messages)).spawn()
}

/// How long a process that was killed may take to end, in milliseconds: KVM takes large machines apart slowly.
const LONGEST_END: u16 = 10_000;

/// Waits until the microVM of container `id`, which was process `pid` and is being killed, has ended. 0 is none.
pub(crate) fn await_end(pid: u32, id: &str) -> io::Result<()> {
    if pid == 0 {
        return Ok(());
    }
    // SAFETY: the system call takes two integers and returns a new descriptor, or -1.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    let Some(fd) = i32::try_from(fd).ok().filter(|fd| *fd >= 0) else {
        let error = io::Error::last_os_error();
        return if error.raw_os_error() == Some(libc::ESRCH) { Ok(()) } else { Err(error) };
    };
    // SAFETY: the descriptor was just made, and nobody else has it.
    let process = unsafe { OwnedFd::from_raw_fd(fd) };
    // The number may be another's by now. One that has ended and is still to be reaped has no command line.
    let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    if !words.split(|byte| *byte == 0).any(|word| word == id.as_bytes()) {
        return Ok(());
    }
    match poll(&mut [PollFd::new(process.as_fd(), PollFlags::POLLIN)], PollTimeout::from(LONGEST_END))? {
        0 => Err(io::ErrorKind::TimedOut.into()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn an_end_is_waited_for_and_a_number_that_is_anothers_is_not() {
        let mut child = Command::new("sleep").arg("1000").spawn().unwrap();
        await_end(0, "1000").unwrap();
        await_end(child.id(), "other").unwrap();
        let pid = child.id();
        let waiting = std::thread::spawn(move || await_end(pid, "1000"));
        child.kill().unwrap();
        waiting.join().unwrap().unwrap();
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&child.wait().unwrap()), Some(libc::SIGKILL));
        await_end(pid, "1000").unwrap();
    }
}

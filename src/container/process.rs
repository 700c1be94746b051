//! Our own further processes: the same binary, told by its first argument what it is.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use config::stages;

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

//! A process of the container: as whom it runs, with what environment, and how it is started.

pub mod accounts;
pub mod child;
pub mod environment;
pub mod program;
pub mod user;

use std::ffi::CString;
use std::os::fd::OwnedFd;

use config::wire::{Process, StartError, StartErrorKind};
use nix::unistd::Pid;

use crate::step::setup_error;
use program::Command;
use user::Identity;

/// Where it is looked up who is who.
const PASSWD: &str = "/etc/passwd";
/// Where it is looked up which groups there are.
const GROUP: &str = "/etc/group";

/// What cannot be handed to a new process.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// C strings end at a zero byte.
    #[error("{0:?} holds a zero byte")]
    Zero(String),
    /// There is nothing to run.
    #[error("No command is given")]
    NoCommand,
    /// A relative path would depend on where guest-init happens to be.
    #[error("The working directory {0:?} is not an absolute path")]
    RelativeDirectory(String),
}

/// Resolves the user of `process` from the container's own files.
pub fn identity(process: &Process) -> Result<Identity, StartError> {
    let passwd = accounts::read(PASSWD).map_err(|error| setup_error("Cannot find the user", &error))?;
    let group = accounts::read(GROUP).map_err(|error| setup_error("Cannot find the group", &error))?;
    user::resolve(&process.user, &passwd, &group).map_err(|error| setup_error("Cannot find the user", &error))
}

/// Starts `process` as `identity` with `stdio` as its standard streams; when this returns, its program runs.
pub fn start(process: &Process, identity: &Identity, stdio: &[OwnedFd; 3]) -> Result<Pid, StartError> {
    let setup = |error: Error| setup_error("Cannot prepare the process", &error);
    let command = command(process, identity).map_err(setup)?;
    match child::start(&command, identity, stdio, process.terminal.is_some()) {
        Ok(pid) => Ok(pid),
        Err(failure) => Err(failure.explain(&command)),
    }
}

fn command(process: &Process, identity: &Identity) -> Result<Command, Error> {
    let name = process.arguments.first().ok_or(Error::NoCommand)?;
    let directory = match process.working_directory.as_str() {
        "" => "/",
        path if path.starts_with('/') => path,
        path => return Err(Error::RelativeDirectory(path.to_owned())),
    };
    Ok(Command {
        candidates: terminated_all(program::candidates(name, environment::search_path(&process.environment)))?,
        arguments: terminated_all(process.arguments.iter().cloned())?,
        environment: terminated_all(environment::complete(&process.environment, &identity.home))?,
        directory: terminated(directory.to_owned())?,
    })
}

fn terminated_all(texts: impl IntoIterator<Item = String>) -> Result<Vec<CString>, Error> {
    texts.into_iter().map(terminated).collect()
}

fn terminated(text: String) -> Result<CString, Error> {
    CString::new(text).map_err(|error| Error::Zero(String::from_utf8_lossy(&error.into_vec()).into_owned()))
}

/// The failure to execute something, in the words Docker's users know.
fn execution_error(kind: StartErrorKind, program: &str, why: &str) -> StartError {
    StartError { kind, message: format!("exec: {program:?}: {why}") }
}

#[cfg(test)]
#[path = "mod_test.rs"]
mod tests;

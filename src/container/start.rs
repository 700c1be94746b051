//! From a request to a running container: join it with the image's config, record it, start its monitor.

use std::collections::BTreeMap;
use std::fs;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::time::SystemTime;

use anyhow::{Context, Result, bail, ensure};
use config::wire::{Process, TerminalSize};
use config::{Folders, stages};
use image::Image;

use super::catalogue::{self, Reservation};
use super::control::{Begin, Client, Streams};
use super::lock::Lock;
use super::log::Limits;
use super::record::{Record, State};
use super::volume::Volume;
use super::{environment, id, monitor, packet, process, signal};

/// Longest host name Linux takes (`__NEW_UTS_LEN`).
const MAX_HOSTNAME: usize = 64;

/// What the user asks for.
#[derive(Debug)]
pub(crate) struct Request {
    /// `--name`
    pub(crate) name: Option<String>,
    /// The image as the user wrote it.
    pub(crate) image: String,
    /// What stands after the image.
    pub(crate) command: Vec<String>,
    /// `--entrypoint`
    pub(crate) entrypoint: Option<String>,
    /// `NAME=VALUE` each.
    pub(crate) environment: Vec<String>,
    /// `-w`
    pub(crate) working_directory: Option<String>,
    /// `-u`
    pub(crate) user: Option<String>,
    /// `--hostname`
    pub(crate) hostname: Option<String>,
    /// `-v`, resolved.
    pub(crate) volumes: Vec<Volume>,
    /// Bytes.
    pub(crate) memory: u64,
    /// Processors.
    pub(crate) vcpus: u8,
    /// `--kernel`
    pub(crate) kernel: Option<PathBuf>,
    /// The size of its terminal, if it is to have one.
    pub(crate) terminal: Option<TerminalSize>,
    /// Whether standard input is connected.
    pub(crate) stdin: bool,
    /// Whether nobody is attached from the start.
    pub(crate) detached: bool,
    /// `--rm`
    pub(crate) remove: bool,
    /// `--label`
    pub(crate) labels: BTreeMap<String, String>,
    /// `--log-opt`
    pub(crate) log: Limits,
}

/// The streams of whoever starts a container: our ends of them.
#[derive(Debug, Default)]
pub(crate) struct Local {
    /// To write what the container reads.
    pub(crate) stdin: Option<OwnedFd>,
    /// To read what it writes, or what its terminal shows.
    pub(crate) stdout: Option<OwnedFd>,
    /// To read what it writes to standard error.
    pub(crate) stderr: Option<OwnedFd>,
}

/// A container whose monitor has been started.
pub(crate) struct Launched {
    /// As it was asked for.
    pub(crate) record: Record,
    /// The connection to its monitor.
    pub(crate) client: Client,
    /// Its streams; none if nobody is attached.
    pub(crate) streams: Local,
}

/// Which of its streams whoever starts a container wants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Attach {
    /// To write what it reads.
    pub(crate) stdin: bool,
    /// To read what it writes.
    pub(crate) output: bool,
}

impl Attach {
    fn streams(self, process: &Process) -> Streams {
        Streams {
            stdin: self.stdin && process.stdin,
            stdout: self.output,
            stderr: self.output && process.terminal.is_none(),
        }
    }
}

/// Records the container and starts its monitor. If this fails, nothing of the container is left.
pub(crate) fn launch(folders: &Folders, request: Request, image: &Image) -> Result<Launched> {
    let reservation = Reservation::make(folders, request.name.as_deref())?;
    let attach = Attach { stdin: !request.detached, output: !request.detached };
    let record = join(request, image, &reservation.id, &reservation.name)?;
    let lock = reservation.record(&record)?;
    stages::mark("recorded");
    match begin(folders, &record, lock.as_fd(), attach.streams(&record.process)) {
        Ok((client, streams)) => Ok(Launched { record, client, streams }),
        Err(error) => {
            catalogue::remove_locked(folders, &record, lock)?;
            Err(error)
        }
    }
}

/// Records the container and does not start it. If this fails, nothing of the container is left.
pub(crate) fn create(folders: &Folders, request: Request, image: &Image) -> Result<Record> {
    let reservation = Reservation::make(folders, request.name.as_deref())?;
    let record = join(request, image, &reservation.id, &reservation.name)?;
    let lock = reservation.record(&record)?;
    match record.write_state(&catalogue::folder(folders, &record.id), &State::created()) {
        Ok(()) => {
            catalogue::rest(folders, &record.id, lock);
            Ok(record)
        }
        Err(error) => {
            catalogue::remove_locked(folders, &record, lock)?;
            Err(error)
        }
    }
}

/// Starts the monitor of a container that is there and does not run; `None` if it runs. If this fails, the container is
/// as it was.
pub(crate) fn again(folders: &Folders, id: &str, attach: Attach) -> Result<Option<Launched>> {
    let Some(lock) = Lock::take(folders, id).context("Cannot take the container's lock")? else {
        return Ok(None);
    };
    let folder = catalogue::folder(folders, id);
    let Some(record) = Record::read(&folder)? else {
        catalogue::rest(folders, id, lock);
        bail!("No such container: {}", id::short(id));
    };
    let attempt = || {
        if record.remove {
            // It is not to stay, however its monitor ends.
            Record::remove_state(&folder)?;
        }
        begin(folders, &record, lock.as_fd(), attach.streams(&record.process))
    };
    match attempt() {
        Ok((client, streams)) => Ok(Some(Launched { record, client, streams })),
        Err(error) => {
            if record.remove {
                record.write_state(&folder, &State::created())?;
            }
            catalogue::rest(folders, id, lock);
            Err(error)
        }
    }
}

fn begin(folders: &Folders, record: &Record, lock: BorrowedFd, wanted: Streams) -> Result<(Client, Local)> {
    let messages = monitor::messages(folders, &record.id)?;
    let pair = |wanted: bool| wanted.then(packet::stream_pair).transpose().context("Cannot make a socket");
    let (stdin, stdout, stderr) = (pair(wanted.stdin)?, pair(wanted.stdout)?, pair(wanted.stderr)?);
    let (socket, socket_of_monitor) = packet::pair().context("Cannot make a socket")?;
    // Not waited for: it outlives us, or the kernel sees to it when we end.
    process::spawn(process::MONITOR, &record.name, &record.id, socket_of_monitor, messages)
        .context("Cannot start the container's monitor")?;
    let message = Begin { root: folders.root().to_owned(), run: folders.run().to_owned(), streams: wanted };
    let mut fds = vec![lock];
    fds.extend([&stdin, &stdout, &stderr].into_iter().flatten().map(|(_, theirs)| theirs.as_fd()));
    packet::send(socket.as_fd(), &message, &fds).context("Cannot tell the container's monitor what to do")?;
    let ours = |pair: Option<(OwnedFd, OwnedFd)>| pair.map(|(ours, _)| ours);
    Ok((Client::new(socket), Local { stdin: ours(stdin), stdout: ours(stdout), stderr: ours(stderr) }))
}

/// The container as it will be.
fn join(request: Request, image: &Image, id: &str, name: &str) -> Result<Record> {
    let config = &image.config.container;
    let hostname = request.hostname.unwrap_or_else(|| id::short(id).to_owned());
    check_hostname(&hostname)?;
    let (arguments, entrypoint) = arguments(request.entrypoint, request.command, &config.entrypoint, &config.cmd);
    ensure!(
        arguments.first().is_some_and(|program| !program.is_empty()),
        "No command was given, and the image {} has none",
        request.image
    );
    let mut variables = environment::defaults(&hostname, request.terminal.is_some());
    for variable in config.env.iter().cloned().chain(request.environment) {
        environment::set(&mut variables, variable);
    }
    let working_directory = request.working_directory.unwrap_or_else(|| config.working_dir.clone());
    ensure!(
        working_directory.is_empty() || working_directory.starts_with('/'),
        "The working directory {working_directory:?} is not an absolute path"
    );
    let stop_signal = match config.stop_signal.as_str() {
        "" => libc::SIGTERM,
        text => signal::parse(text).context("The image's stop signal is wrong")?,
    };
    let kernel = request
        .kernel
        .map(|path| fs::canonicalize(&path).with_context(|| format!("The kernel {} cannot be used", path.display())));
    Ok(Record {
        id: id.to_owned(),
        name: name.to_owned(),
        image: request.image,
        image_id: image.id.to_string(),
        layers: image.layers.iter().map(ToString::to_string).collect(),
        created: SystemTime::now(),
        hostname,
        process: Process {
            arguments,
            environment: variables,
            working_directory,
            user: request.user.unwrap_or_else(|| config.user.clone()),
            terminal: request.terminal,
            stdin: request.stdin,
        },
        stdin_once: request.stdin && !request.detached,
        volumes: request.volumes,
        memory: request.memory,
        vcpus: request.vcpus,
        kernel: kernel.transpose()?,
        stop_signal,
        remove: request.remove,
        labels: config.labels.clone().into_iter().chain(request.labels).collect(),
        entrypoint,
        log: request.log,
    })
}

/// Program and arguments, and how many of them are the entrypoint, by Docker's rules: another entrypoint makes the image's command void, an empty one
/// removes the image's entrypoint, and a command replaces the image's.
fn arguments(
    entrypoint: Option<String>,
    command: Vec<String>,
    image_entrypoint: &[String],
    image_command: &[String],
) -> (Vec<String>, usize) {
    let command = if command.is_empty() && entrypoint.is_none() { image_command.to_vec() } else { command };
    let mut arguments = match entrypoint {
        None => image_entrypoint.to_vec(),
        Some(empty) if empty.is_empty() => Vec::new(),
        Some(program) => vec![program],
    };
    let length = arguments.len();
    arguments.extend(command);
    (arguments, length)
}

fn check_hostname(name: &str) -> Result<()> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    let good = (1..=MAX_HOSTNAME).contains(&name.len()) && name.bytes().all(allowed) && !name.starts_with(['-', '.']);
    ensure!(good, "{name:?} is not a host name: write up to {MAX_HOSTNAME} letters, digits, - or .");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn command_and_entrypoint_are_joined_as_docker_joins_them() {
        let joined = |entrypoint: Option<&str>, command: &str| {
            arguments(entrypoint.map(str::to_owned), words(command), &words("entry -x"), &words("serve all"))
                .0
                .join(" ")
        };
        assert_eq!(joined(None, ""), "entry -x serve all");
        assert_eq!(joined(None, "other"), "entry -x other");
        assert_eq!(joined(Some("/bin/sh"), ""), "/bin/sh");
        assert_eq!(joined(Some("/bin/sh"), "-c true"), "/bin/sh -c true");
        assert_eq!(joined(Some(""), "ls -l"), "ls -l");
        assert_eq!(joined(Some(""), ""), "");
    }

    #[test]
    fn host_names_are_checked() {
        for name in ["boat", "boat-1.example.org", "a_b"] {
            check_hostname(name).unwrap();
        }
        for name in ["", "-boat", "a b", "boät", &"x".repeat(65)] {
            assert!(check_hostname(name).is_err(), "{name:?}");
        }
    }
}

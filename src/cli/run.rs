//! `coracle run`: a container, from a request to its exit code; and what `create` and `start` share with it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail, ensure};
use config::size;
use image::store::Hold;
use image::{Image, Platform, Reference, Store};
use nix::sys::signalfd::SignalFd;
use vmm::layout::{LEAST_MEMORY, MOST_VCPUS};

use super::registry::RegistryArguments;
use super::{Context, mounts, pull, ui};
use crate::container::attach::{self, Ended};
use crate::container::control::Reply;
use crate::container::log::Limits;
use crate::container::record::Record;
use crate::container::start::{self, Launched, Request};
use crate::container::{catalogue, environment, terminal, volumes};
use crate::embedded;

/// Exit code of an input device that is no terminal, as Docker has it.
const NOT_A_TERMINAL: u8 = 1;

/// Run a command in a new container
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Run in the background and print the container's id
    #[arg(short, long)]
    detach: bool,
    #[command(flatten)]
    container: Flags,
}

/// What a container is to be.
#[derive(Debug, clap::Args)]
pub(super) struct Flags {
    /// Remove the container when it ends
    #[arg(long)]
    rm: bool,
    /// Connect standard input
    #[arg(short, long)]
    interactive: bool,
    /// Give the container a terminal
    #[arg(short, long)]
    tty: bool,
    /// Memory, for example 256m or 2g
    #[arg(short, long, value_name = "SIZE", default_value = "512m")]
    memory: String,
    /// Number of processors; a fraction is rounded up
    #[arg(long, value_name = "NUMBER", default_value = "1")]
    cpus: String,
    /// Set an environment variable; without a value, take our own
    #[arg(short, long = "env", value_name = "NAME[=VALUE]")]
    env: Vec<String>,
    /// Read environment variables from a file
    #[arg(long, value_name = "FILE")]
    env_file: Vec<PathBuf>,
    /// Working directory in the container
    #[arg(short, long, value_name = "DIR")]
    workdir: Option<String>,
    /// User, and group if wanted, by name or number
    #[arg(short, long, value_name = "USER[:GROUP]")]
    user: Option<String>,
    /// Show a folder or file of the host, or a named volume, in the container
    #[arg(short, long, value_name = "[SOURCE:]TARGET[:ro]")]
    volume: Vec<String>,
    /// The same in other words: type=bind|volume,source=SOURCE,target=TARGET[,readonly]
    #[arg(long, value_name = "MOUNT")]
    mount: Vec<String>,
    /// Show also what these containers are shown
    #[arg(long, value_name = "CONTAINER[:ro]")]
    volumes_from: Vec<String>,
    /// Program to run instead of the image's entrypoint
    #[arg(long, value_name = "PROGRAM")]
    entrypoint: Option<String>,
    /// Name of the container
    #[arg(long)]
    name: Option<String>,
    /// Host name of the container
    #[arg(long, value_name = "NAME")]
    hostname: Option<String>,
    /// A note on the container
    #[arg(short, long, value_name = "KEY[=VALUE]")]
    label: Vec<String>,
    /// How long the log may become: max-size=SIZE, max-file=NUMBER [default: 10 MB, 3 files]
    #[arg(long, value_name = "KEY=VALUE")]
    log_opt: Vec<String>,
    /// Boot this kernel (an ELF vmlinux) instead of the embedded one
    #[arg(long, value_name = "FILE")]
    kernel: Option<PathBuf>,
    /// When to pull the image
    #[arg(long, value_name = "WHEN", default_value = "missing")]
    pull: pull::When,
    /// The image, then the command and its arguments
    #[arg(required = true, trailing_var_arg = true, value_names = ["IMAGE", "COMMAND"], num_args = 1..)]
    words: Vec<String>,
}

pub(super) fn run(context: &Context, arguments: Arguments) -> Result<u8> {
    let Arguments { detach, container: flags } = arguments;
    let raw = flags.tty && flags.interactive && !detach;
    if raw && !terminal::is_on_stdin() {
        return Ok(no_terminal());
    }
    let (prepared, signals) =
        (prepare(context, flags, detach)?, if detach { None } else { Some(attach::hold_signals()?) });
    let has_terminal = prepared.request.terminal.is_some();
    let launched = start::launch(&context.folders, prepared.request, &prepared.image)?;
    // From now on its record says that the container needs the image and the volumes.
    drop(prepared.holds);
    match signals {
        None => wait_for_start(context, launched),
        Some(signals) => foreground(context, launched, &signals, has_terminal, raw),
    }
}

/// All that a container is made of.
pub(super) struct Prepared {
    pub(super) request: Request,
    pub(super) image: Image,
    /// Keep image and volumes until a record says that they are needed.
    pub(super) holds: (Hold, volumes::Hold),
}

/// Checks everything that can be checked, and gets the image.
pub(super) fn prepare(context: &Context, flags: Flags, detached: bool) -> Result<Prepared> {
    let pull_when = flags.pull;
    let volumes = mounts::parse(&flags.volume, &flags.mount)?;
    let others = mounts::of_others(&context.folders, &flags.volumes_from)?;
    let mut request = request(flags, detached)?;
    check_host(context, request.kernel.is_none())?;
    let store = context.store()?;
    let (image, hold) = image(context, &store, &request.image, pull_when)?;
    // Named volumes are made here, when all else is well.
    let volume_hold = volumes::Hold::take(&context.folders)?;
    request.volumes = mounts::resolve(&context.folders, volumes, others)?;
    Ok(Prepared { request, image, holds: (hold, volume_hold) })
}

/// Whether this host can run a container, the embedded kernel unpacked if that is the one.
pub(super) fn check_host(context: &Context, embedded_kernel: bool) -> Result<()> {
    vmm::host::check().context("This host cannot run a container")?;
    if embedded_kernel {
        embedded::kernel(&context.folders)?;
    }
    Ok(())
}

/// Says that there is no terminal for the container's.
pub(super) fn no_terminal() -> u8 {
    ui::say("the input device is not a TTY");
    NOT_A_TERMINAL
}

/// Checks everything that can be checked before anything is made.
fn request(arguments: Flags, detached: bool) -> Result<Request> {
    let mut words = arguments.words.into_iter();
    let image = words.next().context("No image was named")?;
    let lookup: environment::Lookup = &|name| std::env::var_os(name);
    let mut variables = Vec::new();
    for path in &arguments.env_file {
        variables.extend(environment::read_file(path, lookup)?);
    }
    for text in &arguments.env {
        variables.extend(environment::parse(text, lookup)?);
    }
    Ok(Request {
        name: arguments.name,
        image,
        command: words.collect(),
        entrypoint: arguments.entrypoint,
        environment: variables,
        working_directory: arguments.workdir,
        user: arguments.user,
        hostname: arguments.hostname,
        memory: memory(&arguments.memory)?,
        vcpus: processors(&arguments.cpus)?,
        kernel: arguments.kernel,
        terminal: arguments.tty.then(terminal::size),
        stdin: arguments.interactive,
        detached,
        remove: arguments.rm,
        labels: labels(&arguments.label)?,
        log: log_limits(&arguments.log_opt)?,
        volumes: Vec::new(),
    })
}

/// Reads `KEY=VALUE`, or `KEY` alone, whose value is empty; the last of one key counts.
pub(super) fn labels(texts: &[String]) -> Result<BTreeMap<String, String>> {
    let split = |text: &String| {
        let (key, value) = text.split_once('=').unwrap_or((text, ""));
        ensure!(!key.is_empty(), "{text:?} is not a label: write KEY=VALUE, or KEY alone");
        Ok((key.to_owned(), value.to_owned()))
    };
    texts.iter().map(split).collect()
}

/// Reads `--log-opt`, of what Docker's json-file driver knows.
fn log_limits(texts: &[String]) -> Result<Limits> {
    let mut limits = Limits::default();
    for text in texts {
        let wrong = || format!("The log option {text:?} is wrong");
        match text.split_once('=') {
            Some(("max-size", value)) => limits.size = size::parse(value).with_context(wrong)?,
            Some(("max-file", value)) => limits.files = value.parse().with_context(wrong)?,
            _ => bail!("{}: max-size=SIZE and max-file=NUMBER are known", wrong()),
        }
    }
    ensure!(limits.size > 0 && limits.files > 0, "A log has at least one file, and that at least one byte (--log-opt)");
    Ok(limits)
}

fn memory(text: &str) -> Result<u64> {
    let bytes = size::parse(text).context("The memory (-m) is wrong")?;
    ensure!(
        bytes >= LEAST_MEMORY,
        "A memory of {text} is too little: a microVM needs at least {} MiB (-m {0}m)",
        LEAST_MEMORY >> 20
    );
    Ok(bytes)
}

/// Reads `--cpus`: `1.5` is two whole processors.
fn processors(text: &str) -> Result<u8> {
    let wrong = || format!("{text:?} is not a number of processors: write a number from 1 to {MOST_VCPUS}");
    let number: f64 = text.parse().with_context(wrong)?;
    ensure!(number > 0.0 && number <= f64::from(MOST_VCPUS), wrong());
    Ok(number.ceil() as u8)
}

/// The image, pulled if `when` says so. As long as the hold lives nobody removes it.
fn image(context: &Context, store: &Store, name: &str, when: pull::When) -> Result<(Image, Hold)> {
    let host = Platform::host();
    let find = |name: &str| -> Result<Option<(Image, Hold)>> {
        let tried = || format!("Cannot look for the image {name}");
        let hold = store.hold().with_context(tried)?;
        Ok(store.find_platform(name, &host).with_context(tried)?.map(|image| (image, hold)))
    };
    if when != pull::When::Always
        && let Some(found) = find(name)?
    {
        return Ok(found);
    }
    ensure!(
        when != pull::When::Never,
        "The image {name} is not on this host, and --pull never forbids to fetch it; see coracle images"
    );
    if when == pull::When::Missing {
        ui::say(&format!("The image {name} is not on this host; pulling it"));
    }
    let reference = Reference::resolve(name, &context.file.registries.aliases)?;
    let pulled = pull::pull(context, store, &reference, None, &RegistryArguments::default(), false)?;
    find(pulled.id.as_str())?.with_context(|| format!("The image {name} was removed again meanwhile: try again"))
}

/// `-d`: prints the id as soon as the process runs.
fn wait_for_start(context: &Context, launched: Launched) -> Result<u8> {
    let id = launched.record.id.clone();
    let code = until_started(context, launched)?;
    if code == 0 {
        ui::line(&id)?;
    }
    Ok(code)
}

/// Waits until the process runs; 0, or the exit code of a container that could not be started, which has been said.
pub(super) fn until_started(context: &Context, launched: Launched) -> Result<u8> {
    let Launched { record, client, .. } = launched;
    loop {
        match client.reply()? {
            Some(Reply::Started | Reply::Exited { .. }) => return Ok(0),
            Some(Reply::Failed { code, error }) => return Ok(failed(&record.name, code, &error)),
            Some(Reply::Done) => {}
            None => return Ok(monitor_gone(context, &record)),
        }
    }
}

/// The container's streams and signals are ours, until it ends; its exit code.
pub(super) fn foreground(
    context: &Context,
    launched: Launched,
    signals: &SignalFd,
    has_terminal: bool,
    raw: bool,
) -> Result<u8> {
    let Launched { record, client, streams } = launched;
    let raw = raw.then(terminal::Raw::enter).transpose().context("Cannot make the terminal raw")?;
    let ended = attach::run(&client, streams, signals, has_terminal);
    drop(raw);
    Ok(match ended? {
        Ended::Reply(Reply::Failed { code, error }) => failed(&record.name, code, &error),
        Ended::Reply(Reply::Exited { code, error }) => {
            if !error.is_empty() {
                ui::say(&format!("The container {} ended: {error}", record.name));
            }
            code
        }
        Ended::Told(signal) => 128u8.saturating_add(signal as u8),
        Ended::MonitorGone | Ended::Reply(_) => monitor_gone(context, &record),
    })
}

fn failed(name: &str, code: u8, error: &str) -> u8 {
    if code != catalogue::KILLED || !error.is_empty() {
        ui::say(&format!("Cannot start the container {name}: {error}"));
    }
    code
}

fn monitor_gone(context: &Context, record: &Record) -> u8 {
    let last_words = catalogue::last_words(&context.folders, &record.id);
    ui::say(&format!("The monitor of container {} died, and the container with it{last_words}", record.name));
    catalogue::KILLED
}

#[cfg(test)]
#[path = "run_test.rs"]
mod tests;

//! `coracle logs`: what a container wrote, or what its kernel said.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::path::Path;
use std::time::SystemTime;

use anyhow::{Context as _, Result};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};

use super::{Context, filter, ui};
use crate::container::catalogue;
use crate::container::control::{Client, Reply};
use crate::container::log::{self, Entry, Reader};

/// Print what a container wrote
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Go on until the container ends
    #[arg(short, long, conflicts_with = "kernel")]
    follow: bool,
    /// Only the last lines, or all
    #[arg(short = 'n', long, value_name = "NUMBER", default_value = "all")]
    tail: Tail,
    /// Only what was written from then on: how long ago (10m), a date, or 2026-01-31T10:00:00Z
    #[arg(long, value_name = "TIME", value_parser = filter::until, conflicts_with = "kernel")]
    since: Option<SystemTime>,
    /// Only what was written until then
    #[arg(long, value_name = "TIME", value_parser = filter::until, conflicts_with = "kernel")]
    until: Option<SystemTime>,
    /// Put the time in front of each line
    #[arg(short, long)]
    timestamps: bool,
    /// Print the messages of the container's own kernel instead
    #[arg(long)]
    kernel: bool,
    /// The container
    container: String,
}

#[derive(Clone, Copy, Debug)]
enum Tail {
    All,
    Last(usize),
}

impl std::str::FromStr for Tail {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Tail, Self::Err> {
        match text {
            "all" => Ok(Tail::All),
            _ => text.parse().map(Tail::Last).map_err(|_| "write a number of lines, or all"),
        }
    }
}

pub(super) fn run(context: &Context, arguments: &Arguments) -> Result<u8> {
    let container = catalogue::find(&context.folders, &arguments.container)?;
    let folder = catalogue::folder(&context.folders, &container.record.id);
    if arguments.kernel {
        return copy_kernel_log(&catalogue::kernel_log(&folder), arguments.tail);
    }
    // Before the first look at the log, so that what is written until the end is not missed.
    let client = if arguments.follow { Client::connect(&context.folders, &container.record.id)? } else { None };
    let changes = client.as_ref().map(|_| watch(&folder)).transpose()?;
    let path = log::path(&folder);
    let tried = || format!("Cannot read the log {}", path.display());
    let mut log = Reader::open(&path).with_context(tried)?;
    let wanted = |entry: &Entry| arguments.wants(entry);
    if let (Tail::Last(count), Some(log)) = (arguments.tail, &mut log) {
        print(log.last(count, wanted).with_context(tried)?, arguments.timestamps)?;
    }
    let mut over = client.is_none();
    loop {
        if log.is_none() {
            log = Reader::open(&path).with_context(tried)?;
        }
        while let Some(entry) = log.as_mut().map_or(Ok(None), Reader::next).with_context(tried)? {
            print(Some(entry).filter(wanted), arguments.timestamps)?;
        }
        if over {
            return Ok(0);
        }
        over = match (&client, &changes) {
            (Some(client), Some(changes)) => wait(client, changes, arguments.until)?,
            _ => true,
        };
    }
}

impl Arguments {
    fn wants(&self, entry: &Entry) -> bool {
        if self.since.is_none() && self.until.is_none() {
            return true;
        }
        let time = humantime::parse_rfc3339(&entry.time);
        time.is_ok_and(|time| {
            self.since.is_none_or(|since| time >= since) && self.until.is_none_or(|until| time <= until)
        })
    }
}

/// Tells of everything that changes in a container's folder.
fn watch(folder: &Path) -> Result<Inotify> {
    let flags = AddWatchFlags::IN_MODIFY | AddWatchFlags::IN_CREATE | AddWatchFlags::IN_MOVED_TO;
    let start = || {
        let changes = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
        changes.add_watch(folder, flags).map(|_| changes)
    };
    start().with_context(|| format!("Cannot watch {}", folder.display()))
}

/// Waits until something has changed; whether the container has ended, or the time to follow it is up.
fn wait(client: &Client, changes: &Inotify, until: Option<SystemTime>) -> Result<bool> {
    let left = until.map(|until| until.duration_since(SystemTime::now()).unwrap_or_default());
    let timeout = left.map_or(PollTimeout::NONE, |left| PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX));
    let mut fds = [PollFd::new(client.as_fd(), PollFlags::POLLIN), PollFd::new(changes.as_fd(), PollFlags::POLLIN)];
    poll(&mut fds, timeout).context("Cannot wait for the container")?;
    let [ended, changed] = fds.map(|fd| fd.any().unwrap_or(true));
    if changed {
        // What they were does not matter.
        let _ = changes.read_events();
    }
    if ended && !matches!(client.reply(), Ok(Some(Reply::Started | Reply::Done))) {
        return Ok(true);
    }
    Ok(left.is_some_and(|left| left.is_zero()))
}

fn print(entries: impl IntoIterator<Item = Entry>, timestamps: bool) -> Result<()> {
    for Entry { log, stream, time } in entries {
        let text = if timestamps { format!("{time} {log}") } else { log };
        if stream == "stderr" { ui::error_data(text.as_bytes())? } else { ui::data(text.as_bytes())? }
    }
    Ok(())
}

/// The kernel's log is limited in size, so it fits into memory.
fn copy_kernel_log(path: &Path, tail: Tail) -> Result<u8> {
    let tried = || format!("Cannot read the kernel's log {}", path.display());
    let mut bytes = Vec::new();
    match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        result => result.and_then(|mut file| file.read_to_end(&mut bytes)).with_context(tried)?,
    };
    let lines: VecDeque<&[u8]> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
    let skipped = match tail {
        Tail::All => 0,
        Tail::Last(count) => lines.len().saturating_sub(count),
    };
    for line in lines.into_iter().skip(skipped) {
        ui::data(line)?;
    }
    Ok(0)
}

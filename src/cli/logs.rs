//! `coracle logs`: what a container wrote, or what its kernel said.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::path::Path;

use anyhow::{Context as _, Result};
use nix::poll::{PollFd, PollFlags, poll};

use super::{Context, ui};
use crate::container::catalogue;
use crate::container::control::{Client, Reply};
use crate::container::log::{self, Entry, Reader};

/// Milliseconds between two looks at a log that is followed.
const LOOK: u16 = 100;

/// Print what a container wrote
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Go on until the container ends
    #[arg(short, long, conflicts_with = "kernel")]
    follow: bool,
    /// Only the last lines, or all
    #[arg(short = 'n', long, value_name = "NUMBER", default_value = "all")]
    tail: Tail,
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
    let path = log::path(&folder);
    let tried = || format!("Cannot read the log {}", path.display());
    let mut log = Reader::open(&path).with_context(tried)?;
    if let (Tail::Last(count), Some(log)) = (arguments.tail, &mut log) {
        print(log.last(count).with_context(tried)?, arguments.timestamps)?;
    }
    let mut over = client.is_none();
    loop {
        if log.is_none() {
            log = Reader::open(&path).with_context(tried)?;
        }
        while let Some(entry) = log.as_mut().map_or(Ok(None), Reader::next).with_context(tried)? {
            print([entry], arguments.timestamps)?;
        }
        if over {
            return Ok(0);
        }
        over = client.as_ref().is_none_or(|client| has_ended(client).unwrap_or(true));
    }
}

/// Waits a moment; whether the container has ended.
fn has_ended(client: &Client) -> Result<bool> {
    let mut fds = [PollFd::new(client.as_fd(), PollFlags::POLLIN)];
    if poll(&mut fds, LOOK)? == 0 {
        return Ok(false);
    }
    Ok(!matches!(client.reply()?, Some(Reply::Started | Reply::Done)))
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

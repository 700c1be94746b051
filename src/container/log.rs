//! A container's log: what it wrote, line by line, in Docker's json-file format.
//!
//! `{"log":"text\n","stream":"stdout","time":"2024-05-06T07:08:09.123456789Z"}`; a line that is longer than 16 KiB
//! comes in pieces, of which only the last ends in a newline.
//!
//! A log that becomes too long is put aside under the next free number, `log.7`, and begun anew; the lowest numbers are
//! removed. A number is never given twice while its file is there, so that readers always know what comes next.

mod reader;

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use config::wire::Stream;
use serde::{Deserialize, Serialize};

pub(crate) use reader::Reader;

/// Longest piece of a line, as Docker has it.
const PIECE: usize = 16 << 10;
/// Longest entry: every byte of a piece can take six in JSON, and the rest is short.
const MAX_ENTRY: u64 = (PIECE as u64) * 6 + 256;

/// How long a log may become.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Limits {
    /// Bytes of one file, unless a single line is longer.
    pub(crate) size: u64,
    /// Files, the one that is written to included.
    pub(crate) files: u32,
}

impl Default for Limits {
    /// A container that talks without end must not fill the disk.
    fn default() -> Limits {
        Limits { size: 10_000_000, files: 3 }
    }
}

/// One entry.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    /// The text, newline included.
    pub(crate) log: String,
    /// `stdout` or `stderr`.
    pub(crate) stream: String,
    /// RFC 3339 with nanoseconds.
    pub(crate) time: String,
}

/// The log in a container's `folder`.
pub(crate) fn path(folder: &Path) -> PathBuf {
    folder.join("log")
}

/// Writes a log. The file is made with the first line: many containers never say anything.
#[derive(Debug)]
pub(crate) struct Writer {
    path: PathBuf,
    limits: Limits,
    /// The file, and its length.
    file: Option<(File, u64)>,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

impl Writer {
    /// Appends to `path`.
    pub(crate) fn new(path: PathBuf, limits: Limits) -> Writer {
        Writer { path, limits, file: None, stdout: Vec::new(), stderr: Vec::new() }
    }

    /// Takes what the container wrote; lines are written when they are complete.
    ///
    /// Errors are the disk's. They must not end the container, so the caller may ignore them.
    pub(crate) fn write(&mut self, stream: Stream, bytes: &[u8]) -> io::Result<()> {
        let time = now();
        let mut entries = Vec::new();
        let pending = self.pending(stream);
        let mut rest = bytes;
        while !rest.is_empty() {
            let room = PIECE.saturating_sub(pending.len());
            let window = rest.get(..room).unwrap_or(rest);
            let (taken, complete) = match window.iter().position(|byte| *byte == b'\n') {
                Some(newline) => (newline + 1, true),
                None => (window.len(), window.len() == room),
            };
            let (line, after) = rest.split_at(taken);
            rest = after;
            pending.extend_from_slice(line);
            if complete {
                let kept = if pending.ends_with(b"\n") { pending.len() } else { whole_characters(pending) };
                append(&mut entries, stream, pending.get(..kept).unwrap_or_default(), &time)?;
                pending.drain(..kept);
            }
        }
        self.flush(&entries)
    }

    /// Writes what is left of unfinished lines.
    pub(crate) fn finish(&mut self) -> io::Result<()> {
        let mut entries = Vec::new();
        for stream in [Stream::Stdout, Stream::Stderr] {
            let pending = std::mem::take(self.pending(stream));
            if !pending.is_empty() {
                append(&mut entries, stream, &pending, &now())?;
            }
        }
        self.flush(&entries)
    }

    fn pending(&mut self, stream: Stream) -> &mut Vec<u8> {
        if stream == Stream::Stderr { &mut self.stderr } else { &mut self.stdout }
    }

    fn flush(&mut self, entries: &[u8]) -> io::Result<()> {
        let mut rest = entries;
        while !rest.is_empty() {
            // After a failure it is opened again, and looked at.
            let (mut file, length) = match self.file.take() {
                Some(open) => open,
                None => open(&self.path)?,
            };
            let room = usize::try_from(self.limits.size.saturating_sub(length)).unwrap_or(usize::MAX);
            let fitting = match whole_lines(rest, room) {
                0 if length > 0 => {
                    put_aside(&self.path, self.limits.files)?;
                    continue;
                }
                0 => first_line(rest),
                fitting => fitting,
            };
            let (now, later) = rest.split_at(fitting);
            file.write_all(now)?;
            self.file = Some((file, length.saturating_add(now.len() as u64)));
            rest = later;
        }
        Ok(())
    }
}

/// Length of the whole lines at the beginning of `bytes` that take no more than `room`.
fn whole_lines(bytes: &[u8], room: usize) -> usize {
    let window = bytes.get(..room).unwrap_or(bytes);
    window.iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline.saturating_add(1))
}

/// Length of the first line of `bytes`.
fn first_line(bytes: &[u8]) -> usize {
    bytes.iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |newline| newline.saturating_add(1))
}

/// Opens a log to write more, and tells its length. A line that a power cut left unfinished is ended.
fn open(path: &Path) -> io::Result<(File, u64)> {
    let mut file = File::options().read(true).append(true).create(true).open(path)?;
    let mut length = file.metadata()?.len();
    if length > 0 {
        let mut last = [0];
        file.seek(SeekFrom::End(-1))?;
        file.read_exact(&mut last)?;
        if last != *b"\n" {
            file.write_all(b"\n")?;
            length = length.saturating_add(1);
        }
    }
    Ok((file, length))
}

/// Gives the log the next number, and removes the oldest ones, so that with the one to come there are `files`.
fn put_aside(path: &Path, files: u32) -> io::Result<()> {
    let older = numbered(path)?;
    let number = older.last().map_or(1, |(number, _)| number.saturating_add(1));
    let kept = usize::try_from(files.saturating_sub(1)).unwrap_or(usize::MAX);
    fs::rename(path, with_number(path, number))?;
    let all = older.into_iter().map(|(_, path)| path).chain([with_number(path, number)]);
    let all: Vec<PathBuf> = all.collect();
    all.iter().take(all.len().saturating_sub(kept)).try_for_each(fs::remove_file)
}

fn with_number(path: &Path, number: u64) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    name.into()
}

/// The parts of a log that were put aside, oldest first.
fn numbered(path: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name().and_then(|name| name.to_str())) else {
        return Ok(Vec::new());
    };
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let number =
            entry.file_name().to_str().and_then(|found| found.strip_prefix(name)?.strip_prefix('.')?.parse().ok());
        found.extend(number.map(|number: u64| (number, entry.path())));
    }
    found.sort_unstable();
    Ok(found)
}

fn append(entries: &mut Vec<u8>, stream: Stream, text: &[u8], time: &str) -> io::Result<()> {
    let stream = if stream == Stream::Stderr { "stderr" } else { "stdout" };
    let log = String::from_utf8_lossy(text);
    serde_json::to_writer(&mut *entries, &Borrowed { log: &log, stream, time })?;
    entries.push(b'\n');
    Ok(())
}

/// [`Entry`] as it is written.
#[derive(Serialize)]
struct Borrowed<'a> {
    log: &'a str,
    stream: &'a str,
    time: &'a str,
}

fn now() -> String {
    humantime::format_rfc3339_nanos(SystemTime::now()).to_string()
}

/// Length of `bytes` without the first bytes of a character that is not complete; never 0.
fn whole_characters(bytes: &[u8]) -> usize {
    match std::str::from_utf8(bytes) {
        Err(error) if error.error_len().is_none() && error.valid_up_to() > 0 => error.valid_up_to(),
        _ => bytes.len(),
    }
}

#[cfg(test)]
#[path = "log_test.rs"]
mod tests;

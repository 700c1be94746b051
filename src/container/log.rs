//! A container's log: what it wrote, line by line, in Docker's json-file format.
//!
//! `{"log":"text\n","stream":"stdout","time":"2024-05-06T07:08:09.123456789Z"}`; a line that is longer than 16 KiB
//! comes in pieces, of which only the last ends in a newline.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use config::wire::Stream;
use serde::{Deserialize, Serialize};

/// Longest piece of a line, as Docker has it.
const PIECE: usize = 16 << 10;
/// Longest entry: every byte of a piece can take six in JSON, and the rest is short.
const MAX_ENTRY: u64 = (PIECE as u64) * 6 + 256;

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
    file: Option<File>,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

impl Writer {
    /// Appends to `path`.
    pub(crate) fn new(path: PathBuf) -> Writer {
        Writer { path, file: None, stdout: Vec::new(), stderr: Vec::new() }
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
        if entries.is_empty() {
            return Ok(());
        }
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(File::options().append(true).create(true).open(&self.path)?),
        };
        file.write_all(entries)
    }
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

/// Reads a log's entries in order. It may grow meanwhile: after `None`, more may come.
pub(crate) struct Reader {
    file: BufReader<File>,
    line: Vec<u8>,
}

impl Reader {
    /// Opens `path`; `None` if nothing was ever written.
    pub(crate) fn open(path: &Path) -> io::Result<Option<Reader>> {
        match File::open(path) {
            Ok(file) => Ok(Some(Reader { file: BufReader::new(file), line: Vec::new() })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The next entry that is complete and readable. Others (a line that power cut off) are passed over.
    pub(crate) fn next(&mut self) -> io::Result<Option<Entry>> {
        loop {
            let room = MAX_ENTRY.saturating_sub(self.line.len() as u64);
            let read = io::Read::take(&mut self.file, room).read_until(b'\n', &mut self.line)?;
            if !self.line.ends_with(b"\n") && (self.line.len() as u64) < MAX_ENTRY {
                if read == 0 {
                    return Ok(None);
                }
                continue;
            }
            let entry = serde_json::from_slice(&self.line);
            self.line.clear();
            if let Ok(entry) = entry {
                return Ok(Some(entry));
            }
        }
    }

    /// Goes on to the last `count` lines and returns them.
    pub(crate) fn last(&mut self, count: usize) -> io::Result<VecDeque<Entry>> {
        let mut entries = VecDeque::new();
        let mut lines = 0;
        while let Some(entry) = self.next()? {
            lines += usize::from(entry.log.ends_with('\n'));
            entries.push_back(entry);
            while lines > count || (count == 0 && !entries.is_empty()) {
                lines -= usize::from(entries.pop_front().is_some_and(|entry| entry.log.ends_with('\n')));
            }
        }
        Ok(entries)
    }
}

#[cfg(test)]
#[path = "log_test.rs"]
mod tests;

//! Reads a log, from its oldest part to its end, and goes on when it grows or is put aside meanwhile.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::{Entry, MAX_ENTRY, numbered};

/// Reads a log's entries in order. It may grow meanwhile: after `None`, more may come.
pub(crate) struct Reader {
    path: PathBuf,
    file: BufReader<File>,
    line: Vec<u8>,
    /// The file was put aside, so that no more is written to it.
    aside: bool,
}

impl Reader {
    /// Opens the log at `path`; `None` if nothing was ever written.
    pub(crate) fn open(path: &Path) -> io::Result<Option<Reader>> {
        loop {
            let older = match numbered(path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                result => result?,
            };
            let oldest = older.into_iter().next();
            let aside = oldest.is_some();
            let oldest = oldest.map_or_else(|| path.to_owned(), |(_, oldest)| oldest);
            match File::open(&oldest) {
                // Put aside between the two calls.
                Ok(_) if !aside && !numbered(path)?.is_empty() => {}
                Ok(file) => {
                    let (file, line) = (BufReader::new(file), Vec::new());
                    return Ok(Some(Reader { path: path.to_owned(), file, line, aside }));
                }
                // Removed between the two calls, because the log grows fast.
                Err(error) if error.kind() == io::ErrorKind::NotFound && aside => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                Err(error) => return Err(error),
            }
        }
    }

    /// The next entry that is complete and readable. Others (a line that power cut off) are passed over.
    pub(crate) fn next(&mut self) -> io::Result<Option<Entry>> {
        loop {
            let room = MAX_ENTRY.saturating_sub(self.line.len() as u64);
            let read = io::Read::take(&mut self.file, room).read_until(b'\n', &mut self.line)?;
            if !self.line.ends_with(b"\n") && (self.line.len() as u64) < MAX_ENTRY {
                if read == 0 && !self.go_on()? {
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

    /// At the end of a file: whether there is more to read.
    fn go_on(&mut self) -> io::Result<bool> {
        let ours = self.file.get_ref().metadata()?;
        let is_ours = |path: &Path| fs::metadata(path).is_ok_and(|found| found.ino() == ours.ino());
        if !self.aside {
            // What was written before it was put aside is read first.
            self.aside = !is_ours(&self.path);
            return Ok(self.aside);
        }
        let next = || -> io::Result<Option<PathBuf>> {
            let older = numbered(&self.path)?;
            let after = older.iter().position(|(_, path)| is_ours(path)).map_or(0, |place| place.saturating_add(1));
            Ok(older.into_iter().nth(after).map(|(_, path)| path))
        };
        loop {
            let found = next()?;
            match File::open(found.as_ref().unwrap_or(&self.path)) {
                // Put aside between the two calls.
                Ok(_) if found.is_none() && next()?.is_some() => {}
                Ok(file) => {
                    self.aside = found.is_some();
                    self.file = BufReader::new(file);
                    self.line.clear();
                    return Ok(true);
                }
                // Removed between the two calls, because the log grows fast.
                Err(error) if error.kind() == io::ErrorKind::NotFound && found.is_some() => {}
                // Put aside, and not begun anew yet.
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
                Err(error) => return Err(error),
            }
        }
    }

    /// Goes on to the last `count` lines of those that `wanted` wants, and returns them.
    pub(crate) fn last(&mut self, count: usize, wanted: impl Fn(&Entry) -> bool) -> io::Result<VecDeque<Entry>> {
        let mut entries = VecDeque::new();
        let mut lines = 0;
        while let Some(entry) = self.next()? {
            if !wanted(&entry) {
                continue;
            }
            lines += usize::from(entry.log.ends_with('\n'));
            entries.push_back(entry);
            while lines > count || (count == 0 && !entries.is_empty()) {
                lines -= usize::from(entries.pop_front().is_some_and(|entry| entry.log.ends_with('\n')));
            }
        }
        Ok(entries)
    }
}

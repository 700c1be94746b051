//! The kernel's own messages: kept up to a limit, and watched for its last words.

use std::fs::File;
use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};

/// Most bytes kept of one guest's messages: a boot is about 20 KiB, and a guest must not fill the host's disk.
const LIMIT: usize = 1 << 20;
/// Longest line that is looked at for a panic.
const LINE: usize = 512;
/// How Linux begins to say that it gives up.
const PANIC: &str = "Kernel panic - not syncing: ";

/// A console that several devices write to.
#[derive(Clone)]
pub(crate) struct Console(Arc<Mutex<Sink>>);

struct Sink {
    file: Option<File>,
    written: usize,
    line: Vec<u8>,
    panic: Option<String>,
}

impl Console {
    /// Messages are appended to `file`, if there is one.
    pub(crate) fn new(file: Option<File>) -> Console {
        Console(Arc::new(Mutex::new(Sink { file, written: 0, line: Vec::new(), panic: None })))
    }

    /// Takes what the guest wrote.
    pub(crate) fn write(&self, bytes: &[u8]) {
        let mut sink = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        sink.keep(bytes);
        sink.watch(bytes);
    }

    /// What the kernel said when it gave up, if it did.
    pub(crate) fn panic(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).panic.clone()
    }
}

impl Sink {
    fn keep(&mut self, bytes: &[u8]) {
        let Some(file) = &mut self.file else { return };
        let kept = &bytes[..bytes.len().min(LIMIT - self.written)];
        self.written += kept.len();
        // A full disk must not end the guest.
        let _ = file.write_all(kept);
        if self.written == LIMIT {
            let _ = file.write_all(b"\n[coracle: further kernel messages are not kept]\n");
            self.file = None;
        }
    }

    fn watch(&mut self, bytes: &[u8]) {
        for byte in bytes {
            if *byte == b'\n' {
                self.end_line();
            } else if self.line.len() < LINE {
                self.line.push(*byte);
            }
        }
    }

    fn end_line(&mut self) {
        let line = String::from_utf8_lossy(&self.line);
        if let (None, Some((_, words))) = (&self.panic, line.split_once(PANIC)) {
            self.panic = Some(words.trim_end().to_owned());
        }
        self.line.clear();
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Seek};

    use super::*;

    #[test]
    fn last_words_are_found_across_writes() {
        let console = Console::new(None);
        console.write(b"[    0.1] Kernel panic - not syn");
        assert_eq!(console.panic(), None);
        console.write(b"cing: no init\r\n[ 0.2] Kernel panic - not syncing: again\n");
        assert_eq!(console.panic().as_deref(), Some("no init"));
    }

    #[test]
    fn a_chatty_guest_fills_no_disk() {
        let mut file = tempfile::tempfile().unwrap();
        let console = Console::new(Some(file.try_clone().unwrap()));
        for _ in 0..100 {
            console.write(&vec![b'x'; 65536]);
        }
        let mut text = String::new();
        file.rewind().unwrap();
        file.read_to_string(&mut text).unwrap();
        assert!(text.len() < LIMIT + 100, "{}", text.len());
        assert!(text.ends_with("not kept]\n"));
    }
}

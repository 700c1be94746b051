//! Reading ahead: a source that costs a lot to read, such as a decompressor, works on a thread of its own while what it
//! gave is being worked on.

use std::io::{self, ErrorKind, Read};
use std::panic::resume_unwind;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::thread;

/// Size of one buffer: large enough that handing it over does not count, small enough for a second-level cache.
const BUFFER: usize = 256 << 10;
/// How many buffers there are. One is being filled and one being read; the others even out the two speeds.
const BUFFERS: usize = 5;
/// Stack of the thread: its buffers are elsewhere, a TLS connection may be at the other end.
const STACK: usize = 512 << 10;

/// Runs `work` on a reader that gives what `source` gives, read ahead by another thread. An error or panic of the source
/// comes out here, the error at the place where it occurred. When `work` ends before its input does, the source is not
/// read any further than it has been; when this returns the thread is over and `source` dropped.
///
/// About 1.3 MB of memory are used, whatever the source does.
pub fn pipelined<T>(source: Box<dyn Read + Send + '_>, work: impl FnOnce(&mut dyn Read) -> T) -> T {
    let source = Mutex::new(Some(source));
    let take = || source.lock().unwrap_or_else(PoisonError::into_inner).take();
    let (full_sender, full) = sync_channel(BUFFERS);
    let (empty, empty_receiver) = channel();
    for _ in 0..BUFFERS {
        // Cannot fail: the receiver is here.
        let _ = empty.send(Vec::new());
    }
    thread::scope(|scope| {
        let ahead = move || take().map(|mut source| read_ahead(&mut source, &empty_receiver, &full_sender));
        let Ok(thread) = thread::Builder::new().stack_size(STACK).spawn_scoped(scope, ahead) else {
            // No more threads: then without.
            let mut source = take();
            return work(source.as_mut().map_or(&mut io::empty(), |source| source));
        };
        let result = work(&mut Ahead { full, empty, buffer: Vec::new(), used: 0, over: false });
        // `Ahead` is dropped: if the thread waits it learns that nobody reads any more.
        match thread.join() {
            Ok(_) => result,
            Err(panic) => resume_unwind(panic),
        }
    })
}

/// Fills one buffer after the other until the source ends or nobody wants more.
fn read_ahead(source: &mut dyn Read, empty: &Receiver<Vec<u8>>, full: &SyncSender<io::Result<Vec<u8>>>) {
    while let Ok(mut buffer) = empty.recv() {
        buffer.resize(BUFFER, 0);
        let mut filled = 0;
        let mut end = None;
        while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match source.read(rest) {
                Ok(0) => end = Some(Ok(Vec::new())),
                Ok(read) => filled += read.min(rest.len()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => end = Some(Err(error)),
            }
            if end.is_some() {
                break;
            }
        }
        buffer.truncate(filled);
        let over = (filled > 0 && full.send(Ok(buffer)).is_err()) || end.is_some();
        if let Some(end) = end {
            // An empty buffer is the end; nobody may be there any more.
            let _ = full.send(end);
        }
        if over {
            return;
        }
    }
}

/// The reading end.
struct Ahead {
    full: Receiver<io::Result<Vec<u8>>>,
    empty: Sender<Vec<u8>>,
    buffer: Vec<u8>,
    used: usize,
    over: bool,
}

impl Read for Ahead {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if into.is_empty() {
            return Ok(0);
        }
        if self.used == self.buffer.len() && !self.over {
            // Nobody may want it any more.
            let _ = self.empty.send(std::mem::take(&mut self.buffer));
            self.used = 0;
            let next =
                self.full.recv().unwrap_or_else(|_| Err(io::Error::other("The thread that reads ahead has ended")));
            self.over = next.as_ref().map_or(true, Vec::is_empty);
            self.buffer = next?;
        }
        let ready = self.buffer.get(self.used..).unwrap_or_default();
        let read = ready.len().min(into.len());
        if let Some((into, ready)) = into.get_mut(..read).zip(ready.get(..read)) {
            into.copy_from_slice(ready);
        }
        self.used += read;
        Ok(read)
    }
}

#[cfg(test)]
#[path = "pipeline_test.rs"]
mod tests;

//! A disk that remembers every write and every flush: one file, served over FUSE (Linux, include/uapi/linux/fuse.h) to a
//! loop device, so that a real file system of the kernel stands on it.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread;

use nix::mount::{MntFlags, MsFlags, mount, umount2};

/// What happened to the disk, in order.
#[derive(Clone)]
pub(crate) enum Event {
    Write {
        offset: usize,
        data: Arc<[u8]>,
    },
    /// What was written before is safe.
    Flush,
    /// Something that the test wants to know the place of.
    Mark(String),
}

/// Its content and its past.
#[derive(Default)]
pub(crate) struct State {
    content: Vec<u8>,
    pub(crate) log: Vec<Event>,
}

/// A disk, mounted as a file.
pub(crate) struct Disk {
    pub(crate) path: PathBuf,
    pub(crate) state: Arc<Mutex<State>>,
}

/// Room for the largest request: a write of 1 MiB and its headers.
const REQUEST: usize = (1 << 20) + 4096;
const MAX_WRITE: u32 = 1 << 20;
const HEADER: usize = 40;

impl Disk {
    /// A disk with this content; `path` is to be its file.
    pub(crate) fn new(path: &Path, content: Vec<u8>) -> Disk {
        File::create(path).unwrap();
        let fuse = File::options().read(true).write(true).open("/dev/fuse").expect("/dev/fuse is needed");
        let options = format!("fd={},rootmode=100000,user_id=0,group_id=0", fuse.as_raw_fd());
        mount(Some("disk"), path, Some("fuse"), MsFlags::empty(), Some(options.as_str())).unwrap();
        let state = Arc::new(Mutex::new(State { content, log: Vec::new() }));
        let served = state.clone();
        // It ends when the kernel has let go of the file, which may be a moment after the test has.
        thread::spawn(move || serve(fuse, &served));
        Disk { path: path.to_owned(), state }
    }

    /// Notes that something has happened in the test.
    pub(crate) fn mark(&self, text: String) {
        self.state.lock().unwrap().log.push(Event::Mark(text));
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = umount2(&self.path, MntFlags::MNT_DETACH);
    }
}

fn serve(mut fuse: File, state: &Mutex<State>) {
    let mut request = vec![0; REQUEST];
    loop {
        let length = match fuse.read(&mut request) {
            Ok(length) => length,
            Err(error) if error.raw_os_error() == Some(libc::ENODEV) => return,
            Err(error) if matches!(error.raw_os_error(), Some(libc::EINTR | libc::ENOENT | libc::EAGAIN)) => continue,
            Err(error) => panic!("{error}"),
        };
        let request = &request[..length];
        let (opcode, unique) = (u32_at(request, 4), u64_at(request, 8));
        let Some((error, body)) = answer(opcode, &request[HEADER..], &mut state.lock().unwrap()) else { continue };
        let mut reply = Vec::with_capacity(16 + body.len());
        reply.extend(u32::try_from(16 + body.len()).unwrap().to_le_bytes());
        reply.extend((-error).to_le_bytes());
        reply.extend(unique.to_le_bytes());
        reply.extend(body);
        // A request that was interrupted wants no answer any more.
        let _ = fuse.write_all(&reply);
    }
}

/// The answer to a request: an errno or 0, and a body. None for requests that want none.
fn answer(opcode: u32, body: &[u8], state: &mut State) -> Option<(i32, Vec<u8>)> {
    let range = |size: usize| (u64_at(body, 8) as usize, size);
    Some(match opcode {
        // FORGET, BATCH_FORGET, INTERRUPT
        2 | 42 | 36 => return None,
        // INIT: version 7.31, big writes, requests of many pages
        26 => {
            let mut out = vec![0; 64];
            put(&mut out, 0, 7);
            put(&mut out, 4, 31);
            put(&mut out, 8, 1 << 17);
            put(&mut out, 12, 1 << 5 | 1 << 22);
            put(&mut out, 16, 64 | 48 << 16);
            put(&mut out, 20, MAX_WRITE);
            put(&mut out, 24, 1);
            put(&mut out, 28, MAX_WRITE / 4096);
            (0, out)
        }
        // GETATTR, SETATTR: a regular file of this size
        3 | 4 => {
            let mut out = vec![0; 104];
            put(&mut out, 0, 3600);
            put(&mut out, 16, 1);
            out[24..32].copy_from_slice(&(state.content.len() as u64).to_le_bytes());
            put(&mut out, 16 + 60, 0o100_600);
            put(&mut out, 16 + 64, 1);
            put(&mut out, 16 + 80, 4096);
            (0, out)
        }
        // OPEN
        14 => (0, vec![0; 16]),
        // READ
        15 => {
            let (offset, size) = range(u32_at(body, 16) as usize);
            let end = offset.saturating_add(size).min(state.content.len());
            (0, state.content.get(offset..end).unwrap_or_default().to_vec())
        }
        // WRITE
        16 => {
            let (offset, size) = range(u32_at(body, 16) as usize);
            let data: Arc<[u8]> = body[40..40 + size].into();
            state.content[offset..offset + size].copy_from_slice(&data);
            state.log.push(Event::Write { offset, data });
            let mut out = vec![0; 8];
            put(&mut out, 0, u32::try_from(size).unwrap());
            (0, out)
        }
        // FSYNC
        20 => {
            state.log.push(Event::Flush);
            (0, Vec::new())
        }
        // RELEASE, FLUSH, DESTROY
        18 | 25 | 38 => (0, Vec::new()),
        _ => (libc::ENOSYS, Vec::new()),
    })
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
}

fn put(bytes: &mut [u8], at: usize, value: u32) {
    bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
}

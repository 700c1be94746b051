//! The guest's side: builds messages, takes replies apart.

use std::ffi::CString;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;
use tempfile::TempDir;
use vm_memory::VolatileSlice;

use super::super::abi::{self, Body, ROOT_ID, init, opcode, setattr};
use super::super::budget::Budget;
use super::super::{Cache, Export, Server, Tree};

/// Flags that Linux 6.12 offers.
pub(super) const LINUX: u64 = init::ASYNC_READ
    | init::ATOMIC_O_TRUNC
    | init::BIG_WRITES
    | init::DONT_MASK
    | init::AUTO_INVAL_DATA
    | init::DO_READDIRPLUS
    | init::READDIRPLUS_AUTO
    | init::ASYNC_DIO
    | init::WRITEBACK_CACHE
    | init::PARALLEL_DIROPS
    | init::POSIX_ACL
    | init::MAX_PAGES
    | init::CACHE_SYMLINKS
    | init::SUBMOUNTS
    | init::HANDLE_KILLPRIV_V2
    | init::SETXATTR_EXT
    | init::INIT_EXT;

/// The body of a request under construction.
#[derive(Clone, Debug, Default)]
pub(super) struct Message(pub(super) Vec<u8>);

impl Message {
    pub(super) fn u32(mut self, value: u32) -> Message {
        self.0.extend(value.to_le_bytes());
        self
    }

    pub(super) fn u64(mut self, value: u64) -> Message {
        self.0.extend(value.to_le_bytes());
        self
    }

    pub(super) fn bytes(mut self, bytes: &[u8]) -> Message {
        self.0.extend(bytes);
        self
    }

    pub(super) fn name(self, name: impl AsRef<[u8]>) -> Message {
        self.bytes(name.as_ref()).bytes(&[0])
    }
}

/// `fuse_attr`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Attributes {
    pub(super) inode: u64,
    pub(super) size: u64,
    pub(super) times: [(u64, u32); 3],
    pub(super) mode: u32,
    pub(super) links: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) rdev: u32,
    pub(super) flags: u32,
}

/// `fuse_entry_out`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) node: u64,
    /// Seconds and nanoseconds.
    pub(super) entry_valid: (u64, u32),
    pub(super) attributes: Attributes,
}

fn attributes(body: &mut Body<'_>) -> Attributes {
    let mut long = || body.u64().unwrap();
    let (inode, size, _blocks) = (long(), long(), long());
    let seconds = [long(), long(), long()];
    let mut word = || body.u32().unwrap();
    let times = seconds.map(|seconds| (seconds, word()));
    let (mode, links, uid, gid, rdev, _block_size, flags) = (word(), word(), word(), word(), word(), word(), word());
    Attributes { inode, size, times, mode, links, uid, gid, rdev, flags }
}

pub(super) fn entry(body: &mut Body<'_>) -> Entry {
    let (node, generation, seconds, _) =
        (body.u64().unwrap(), body.u64().unwrap(), body.u64().unwrap(), body.u64().unwrap());
    assert_eq!(generation, 0);
    let (nanoseconds, _) = (body.u32().unwrap(), body.u32().unwrap());
    Entry { node, entry_valid: (seconds, nanoseconds), attributes: attributes(body) }
}

/// A guest with a server and a folder it serves.
pub(super) struct Guest {
    pub(super) server: Server,
    /// The exported folder lies in it, as `export`.
    pub(super) folder: TempDir,
    pub(super) uid: u32,
    pub(super) gid: u32,
}

pub(super) fn temporary() -> TempDir {
    tempfile::Builder::new().prefix("coracle-fs-").tempdir_in("/dev/shm").unwrap()
}

pub(super) fn path_fd(path: impl AsRef<Path>) -> OwnedFd {
    nix::fcntl::open(path.as_ref(), OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC, Mode::empty()).unwrap()
}

impl Guest {
    pub(super) fn new(cache: Cache) -> Guest {
        Guest::with(cache, false)
    }

    pub(super) fn with(cache: Cache, read_only: bool) -> Guest {
        let folder = temporary();
        let path = folder.path().join("export");
        std::fs::create_dir(&path).unwrap();
        let tree = Tree::One(Export { root: path_fd(path), read_only, cache });
        Guest::of(Server::new(tree).unwrap(), folder)
    }

    pub(super) fn with_budget(cache: Cache, limit: usize) -> Guest {
        let folder = temporary();
        let path = folder.path().join("export");
        std::fs::create_dir(&path).unwrap();
        let tree = Tree::One(Export { root: path_fd(path), read_only: false, cache });
        Guest::of(Server::with_budget(tree, Budget::new(limit)).unwrap(), folder)
    }

    pub(super) fn of(server: Server, folder: TempDir) -> Guest {
        let guest = Guest { server, folder, uid: 0, gid: 0 };
        guest.init(LINUX);
        guest
    }

    /// On the host.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join("export").join(name)
    }

    /// Sends a request and returns the body of the reply.
    pub(super) fn call(&self, opcode: u32, node: u64, body: &Message) -> Result<Vec<u8>, Errno> {
        let room = match abi::reply_length(opcode) {
            0 => 4096,
            length => length,
        };
        self.call_with_room(opcode, node, body, room)
    }

    pub(super) fn call_with_room(&self, opcode: u32, node: u64, body: &Message, room: usize) -> Result<Vec<u8>, Errno> {
        let mut header = self.header(opcode, node, body.0.len());
        let mut body = body.0.clone();
        let mut out = vec![0xaa; abi::OUT_HEADER];
        let mut reply = vec![0xaa; room];
        let length = {
            let request = [VolatileSlice::from(&mut header[..]), VolatileSlice::from(&mut body[..])];
            let reply = [VolatileSlice::from(&mut out[..]), VolatileSlice::from(&mut reply[..])];
            self.server.handle(&request, &reply)
        };
        let mut fields = Body::new(&out);
        assert_eq!(fields.u32().unwrap() as usize, length);
        let error = fields.u32().unwrap() as i32;
        assert_eq!(fields.u64().unwrap(), UNIQUE);
        reply.truncate(length - abi::OUT_HEADER);
        match error {
            0 => Ok(reply),
            error => {
                assert!(reply.is_empty(), "an error comes without a body");
                Err(Errno::from_raw(-error))
            }
        }
    }

    pub(super) fn header(&self, opcode: u32, node: u64, body: usize) -> Vec<u8> {
        let length = (abi::IN_HEADER + body) as u32;
        let header = Message::default().u32(length).u32(opcode).u64(UNIQUE).u64(node);
        header.u32(self.uid).u32(self.gid).u32(1).u32(0).0
    }

    pub(super) fn init(&self, flags: u64) -> u64 {
        let body = Message::default().u32(7).u32(41).u32(128 << 10).u32(flags as u32).u32((flags >> 32) as u32);
        let reply = self.call(opcode::INIT, 0, &body.bytes(&[0; 44])).unwrap();
        let mut body = Body::new(&reply);
        assert_eq!((body.u32(), body.u32(), body.u32()), (Ok(7), Ok(39), Ok(128 << 10)));
        let low = u64::from(body.u32().unwrap());
        body.bytes(16).unwrap();
        low | u64::from(body.u32().unwrap()) << 32
    }

    pub(super) fn entry(&self, opcode: u32, node: u64, body: &Message) -> Result<Entry, Errno> {
        let reply = self.call(opcode, node, body)?;
        let mut body = Body::new(&reply);
        let entry = entry(&mut body);
        body.end().unwrap();
        Ok(entry)
    }

    pub(super) fn lookup(&self, parent: u64, name: &str) -> Result<Entry, Errno> {
        self.entry(opcode::LOOKUP, parent, &Message::default().name(name))
    }

    /// The node at a path below the root.
    pub(super) fn node(&self, path: &str) -> u64 {
        path.split('/').fold(ROOT_ID, |node, name| self.lookup(node, name).unwrap().node)
    }

    /// FORGET, which gets no reply.
    pub(super) fn forget(&self, node: u64, lookups: u64) {
        let mut header = self.header(opcode::FORGET, node, 8);
        header.extend(lookups.to_le_bytes());
        assert_eq!(self.server.handle(&[VolatileSlice::from(&mut header[..])], &[]), 0);
    }

    pub(super) fn attributes(&self, node: u64) -> Result<Attributes, Errno> {
        let reply = self.call(opcode::GETATTR, node, &Message::default().u64(0).u64(0))?;
        Ok(attributes(&mut Body::new(&reply[16..])))
    }

    pub(super) fn setattr(&self, node: u64, change: &Change) -> Result<Attributes, Errno> {
        let Change { valid, fh, size, times, mode, uid, gid } = *change;
        let body = Message::default().u32(valid).u32(0).u64(fh).u64(size).u64(0);
        let body = body.u64(times[0].0).u64(times[1].0).u64(0).u32(times[0].1).u32(times[1].1).u32(0);
        let reply = self.call(opcode::SETATTR, node, &body.u32(mode).u32(0).u32(uid).u32(gid).u32(0))?;
        Ok(attributes(&mut Body::new(&reply[16..])))
    }

    pub(super) fn chmod(&self, node: u64, mode: u32) -> Result<Attributes, Errno> {
        self.setattr(node, &Change { valid: setattr::MODE, mode, ..Change::default() })
    }

    pub(super) fn create(&self, parent: u64, name: &str, flags: i32, mode: u32) -> Result<(Entry, u64), Errno> {
        let body = Message::default().u32(flags as u32).u32(libc::S_IFREG | mode).u32(0o022).u32(0).name(name);
        let reply = self.call(opcode::CREATE, parent, &body)?;
        let mut body = Body::new(&reply);
        Ok((entry(&mut body), body.u64().unwrap()))
    }

    /// The handle and the flags of the reply.
    pub(super) fn open_with(&self, node: u64, flags: i32, open_flags: u32) -> Result<(u64, u32), Errno> {
        let reply = self.call(opcode::OPEN, node, &Message::default().u32(flags as u32).u32(open_flags))?;
        let mut body = Body::new(&reply);
        Ok((body.u64().unwrap(), body.u32().unwrap()))
    }

    pub(super) fn open(&self, node: u64, flags: i32) -> Result<u64, Errno> {
        self.open_with(node, flags, 0).map(|(handle, _)| handle)
    }

    pub(super) fn release(&self, node: u64, fh: u64) -> Result<(), Errno> {
        self.call(opcode::RELEASE, node, &Message::default().u64(fh).u64(0).u64(0)).map(drop)
    }

    pub(super) fn read(&self, node: u64, fh: u64, offset: u64, size: u32) -> Result<Vec<u8>, Errno> {
        let body = Message::default().u64(fh).u64(offset).u32(size).u32(0).u64(0).u64(0);
        self.call_with_room(opcode::READ, node, &body, size as usize)
    }

    pub(super) fn write(&self, node: u64, fh: u64, offset: u64, data: &[u8]) -> Result<u32, Errno> {
        self.write_with(node, fh, offset, data, 0, 0)
    }

    pub(super) fn write_with(
        &self,
        node: u64,
        fh: u64,
        offset: u64,
        data: &[u8],
        write_flags: u32,
        flags: i32,
    ) -> Result<u32, Errno> {
        let body = Message::default().u64(fh).u64(offset).u32(data.len() as u32).u32(write_flags);
        let body = body.u64(0).u32(flags as u32).u32(0).bytes(data);
        let reply = self.call(opcode::WRITE, node, &body)?;
        Body::new(&reply).u32()
    }

    pub(super) fn contents(&self, node: u64) -> Vec<u8> {
        let fh = self.open(node, libc::O_RDONLY).unwrap();
        let contents = self.read(node, fh, 0, 1 << 20).unwrap();
        self.release(node, fh).unwrap();
        contents
    }

    pub(super) fn opendir(&self, node: u64) -> Result<u64, Errno> {
        let reply = self.call(opcode::OPENDIR, node, &Message::default().u64(0))?;
        Body::new(&reply).u64()
    }

    /// One READDIR or READDIRPLUS.
    pub(super) fn readdir(
        &self,
        node: u64,
        fh: u64,
        offset: u64,
        room: usize,
        plus: bool,
    ) -> Result<Vec<Dirent>, Errno> {
        let opcode = if plus { opcode::READDIRPLUS } else { opcode::READDIR };
        let body = Message::default().u64(fh).u64(offset).u32(room as u32).u32(0).u64(0).u64(0);
        let reply = self.call_with_room(opcode, node, &body, room)?;
        let mut body = Body::new(&reply);
        let mut entries = Vec::new();
        while body.end().is_err() {
            let entry = plus.then(|| entry(&mut body));
            let (inode, offset) = (body.u64().unwrap(), body.u64().unwrap());
            let (length, kind) = (body.u32().unwrap() as usize, body.u32().unwrap());
            let name = String::from_utf8(body.bytes(length).unwrap().to_vec()).unwrap();
            body.bytes((length + 24).next_multiple_of(8) - length - 24).unwrap();
            entries.push(Dirent { entry, inode, offset, kind, name });
        }
        Ok(entries)
    }

    /// All entries of a folder, as many requests as it takes.
    pub(super) fn list(&self, node: u64, room: usize, plus: bool) -> Vec<Dirent> {
        let fh = self.opendir(node).unwrap();
        let mut all: Vec<Dirent> = Vec::new();
        loop {
            let offset = all.last().map_or(0, |last| last.offset);
            let some = self.readdir(node, fh, offset, room, plus).unwrap();
            if some.is_empty() {
                break;
            }
            all.extend(some);
        }
        self.call(opcode::RELEASEDIR, node, &Message::default().u64(fh).u64(0).u64(0)).unwrap();
        all
    }

    pub(super) fn setxattr(&self, node: u64, name: &str, value: &[u8], flags: i32) -> Result<(), Errno> {
        let body = Message::default().u32(value.len() as u32).u32(flags as u32).u64(0).name(name).bytes(value);
        self.call(opcode::SETXATTR, node, &body).map(drop)
    }

    pub(super) fn getxattr(&self, node: u64, name: &str, size: u32) -> Result<Vec<u8>, Errno> {
        self.call(opcode::GETXATTR, node, &Message::default().u32(size).u32(0).name(name))
    }
}

/// A directory entry of a reply.
#[derive(Clone, Debug)]
pub(super) struct Dirent {
    pub(super) entry: Option<Entry>,
    pub(super) inode: u64,
    pub(super) offset: u64,
    pub(super) kind: u32,
    pub(super) name: String,
}

/// The input of SETATTR.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Change {
    pub(super) valid: u32,
    pub(super) fh: u64,
    pub(super) size: u64,
    /// Of access and modification.
    pub(super) times: [(u64, u32); 2],
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
}

pub(super) const UNIQUE: u64 = 0x1122_3344_5566_7788;

/// Makes a pipe on the host.
pub(super) fn make_pipe(path: &Path) {
    nix::unistd::mkfifo(path, Mode::from_bits_truncate(0o644)).unwrap();
}

pub(super) fn c_path(path: &Path) -> CString {
    CString::new(path.to_str().unwrap()).unwrap()
}

/// A mount; undone when dropped, whatever happened before.
pub(super) struct Mounted(pub(super) CString);

impl Drop for Mounted {
    fn drop(&mut self) {
        // SAFETY: the path ends with a zero byte.
        unsafe { libc::umount2(self.0.as_ptr(), libc::MNT_DETACH) };
    }
}

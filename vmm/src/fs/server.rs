//! One request in, one reply out: the table of operations.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use nix::errno::Errno;
use nix::sys::stat::{Mode, umask};
use vm_memory::VolatileSlice;

use super::abi::{self, Body, IN_HEADER, InHeader, OUT_HEADER, Out, ROOT_ID, WRITE_IN, opcode};
use super::budget::Budget;
use super::handles::{Handles, OpenFile, OpenFolder};
use super::init::{self, Asked};
use super::nodes::Nodes;
use super::sys::Proc;
use super::tree::{self, Folder, Policy};
use super::{Cache, Error, Tree};
use crate::virtio::buffers;

/// Longest body of a request that is copied before it is read. The largest is SETXATTR with a value of 64 KiB
/// (`XATTR_SIZE_MAX`) and a name; the data of a WRITE is not copied.
const MOST_BODY: usize = 72 << 10;

/// A FUSE server for one guest.
#[derive(Debug)]
pub struct Server {
    pub(crate) exports: Vec<Policy>,
    pub(crate) folder: Option<Folder>,
    pub(crate) nodes: Nodes,
    pub(crate) files: Handles<OpenFile>,
    pub(crate) folders: Handles<OpenFolder>,
    pub(crate) proc: Proc,
    pub(crate) budget: Arc<Budget>,
    /// Flags agreed on by INIT.
    flags: AtomicU64,
}

/// One request on its way.
#[derive(Clone, Copy)]
pub(crate) struct Request<'a> {
    pub(crate) header: InHeader,
    /// The body; of a WRITE only its structure.
    pub(crate) body: Body<'a>,
    /// All of the request, for the data of a WRITE.
    pub(crate) parts: &'a [VolatileSlice<'a>],
    /// Where the reply goes.
    pub(crate) reply: &'a [VolatileSlice<'a>],
    /// Room for the body of the reply.
    pub(crate) room: usize,
}

/// What becomes of a request that succeeds.
#[derive(Debug)]
pub(crate) enum Reply {
    /// Nobody waits for one.
    None,
    /// This body.
    Body(Out),
    /// So many bytes that stand in their place already, behind the header.
    InPlace(usize),
}

impl Reply {
    pub(crate) const EMPTY: Reply = Reply::InPlace(0);
}

impl Server {
    /// Prepares to serve `tree`. To be called in the process that will call [`handle`](Server::handle), before a chroot
    /// if there is to be one.
    ///
    /// This sets the umask of the process to 0, because the modes of new files are the guest's to choose, and raises its
    /// limit of open files as far as it can be.
    pub fn new(tree: Tree) -> Result<Server, Error> {
        Server::with_budget(tree, Budget::of_process())
    }

    pub(crate) fn with_budget(tree: Tree, budget: Arc<Budget>) -> Result<Server, Error> {
        umask(Mode::empty());
        let proc = Proc::open().map_err(|error| Error::Proc(error.into()))?;
        let nodes = Nodes::default();
        let (exports, folder) = tree::plant(tree, &nodes, &proc, &budget)?;
        let (files, folders) = (Handles::default(), Handles::default());
        Ok(Server { exports, folder, nodes, files, folders, proc, budget, flags: AtomicU64::new(0) })
    }

    /// Handles one request: `request` are the device-readable parts and `reply` the device-writable parts of one
    /// descriptor chain, in order (virtio specification 1.2, section 5.11.6).
    ///
    /// Returns the bytes written to `reply`: 0 for requests that get no reply, and for those that cannot have one
    /// because a header is missing.
    pub fn handle(&self, request: &[VolatileSlice<'_>], reply: &[VolatileSlice<'_>]) -> usize {
        let mut bytes = [0; IN_HEADER];
        if buffers::read(request, &mut bytes) < IN_HEADER {
            return 0;
        }
        let Ok(header) = InHeader::parse(&bytes) else { return 0 };
        let outcome = self.answer(header, request, reply);
        if matches!(outcome, Ok(Reply::None)) || is_silent(header.opcode) || buffers::length(reply) < OUT_HEADER {
            return 0;
        }
        let (error, body, in_place) = match outcome {
            Ok(Reply::Body(Out(body))) => (0, body, 0),
            Ok(Reply::InPlace(bytes)) => (0, Vec::new(), bytes),
            Ok(Reply::None) => return 0,
            Err(error) => {
                log::trace!("virtio-fs: operation {} on node {}: {error}", header.opcode, header.node);
                (-(error as i32), Vec::new(), 0)
            }
        };
        let length = OUT_HEADER.saturating_add(body.len()).saturating_add(in_place);
        let mut out = Out(Vec::with_capacity(OUT_HEADER + body.len()));
        out.u32(length as u32).u32(error as u32).u64(header.unique).bytes(&body);
        buffers::write(reply, &out.0);
        length
    }

    fn answer(
        &self,
        header: InHeader,
        parts: &[VolatileSlice<'_>],
        reply: &[VolatileSlice<'_>],
    ) -> Result<Reply, Errno> {
        let room = buffers::length(reply).saturating_sub(OUT_HEADER);
        // Before anything is done, because a reply that cannot be given leaves the guest without what it asked for.
        if room < abi::reply_length(header.opcode) {
            return Err(Errno::EINVAL);
        }
        let length = header.length as usize;
        if length < IN_HEADER || length > buffers::length(parts) {
            return Err(Errno::EINVAL);
        }
        let wanted = match header.opcode {
            opcode::WRITE => WRITE_IN.min(length - IN_HEADER),
            // Never looked at; it may come with any amount of data.
            opcode::IOCTL => 0,
            _ => length - IN_HEADER,
        };
        if wanted > MOST_BODY {
            return Err(Errno::E2BIG);
        }
        let mut body = vec![0; wanted];
        buffers::read(&buffers::part(parts, IN_HEADER, wanted), &mut body);
        let body = Body::new(&body);
        let outcome = self.dispatch(Request { header, body, parts, reply, room })?;
        match outcome {
            Reply::Body(Out(body)) if body.len() > room => Err(Errno::EINVAL),
            outcome => Ok(outcome),
        }
    }

    fn dispatch(&self, request: Request<'_>) -> Result<Reply, Errno> {
        match request.header.opcode {
            opcode::INIT => self.init(request),
            opcode::DESTROY => self.destroy(),
            opcode::LOOKUP => self.lookup(request),
            opcode::FORGET => self.forget(request),
            opcode::BATCH_FORGET => self.batch_forget(request),
            opcode::GETATTR => self.getattr(request),
            opcode::SETATTR => self.setattr(request),
            opcode::STATX => self.statx(request),
            opcode::STATFS => self.statfs(request),
            opcode::SYNCFS => self.syncfs(request),
            opcode::READLINK => self.readlink(request),
            opcode::SYMLINK => self.symlink(request),
            opcode::MKNOD => self.mknod(request),
            opcode::MKDIR => self.mkdir(request),
            opcode::CREATE => self.create(request),
            opcode::TMPFILE => self.tmpfile(request),
            opcode::LINK => self.link(request),
            opcode::UNLINK => self.unlink(request, false),
            opcode::RMDIR => self.unlink(request, true),
            opcode::RENAME => self.rename(request),
            opcode::RENAME2 => self.rename2(request),
            opcode::OPEN => self.open(request),
            opcode::READ => self.read(request),
            opcode::WRITE => self.write(request),
            opcode::FLUSH => self.flush(request),
            opcode::FSYNC => self.fsync(request),
            opcode::RELEASE => self.release(request),
            opcode::FALLOCATE => self.fallocate(request),
            opcode::LSEEK => self.lseek(request),
            opcode::COPY_FILE_RANGE => self.copy_file_range(request),
            opcode::OPENDIR => self.opendir(request),
            opcode::READDIR => self.readdir(request, false),
            opcode::READDIRPLUS => self.readdir(request, true),
            opcode::FSYNCDIR => self.fsyncdir(request),
            opcode::RELEASEDIR => self.releasedir(request),
            opcode::SETXATTR => self.setxattr(request),
            opcode::GETXATTR => self.getxattr(request),
            opcode::LISTXATTR => self.listxattr(request),
            opcode::REMOVEXATTR => self.removexattr(request),
            // Nothing here takes long enough to be interrupted, and we notify nobody who could reply.
            opcode::INTERRUPT | opcode::NOTIFY_REPLY => Ok(Reply::None),
            // Attributes of inodes (FS_IOC_GETFLAGS and the like) and every other ioctl.
            opcode::IOCTL => Err(Errno::ENOTTY),
            // Each makes the guest's kernel do it alone from then on, as it should: it checks permissions by the
            // attributes we give, locks are its own, regular files are always ready, and there is no block device.
            opcode::ACCESS | opcode::GETLK | opcode::SETLK | opcode::SETLKW | opcode::POLL | opcode::BMAP => {
                Err(Errno::ENOSYS)
            }
            // DAX: offered to nobody yet.
            opcode::SETUPMAPPING | opcode::REMOVEMAPPING => Err(Errno::ENOSYS),
            _ => Err(Errno::ENOSYS),
        }
    }

    /// A new connection: nothing of an earlier one is known any more.
    fn init(&self, mut request: Request<'_>) -> Result<Reply, Errno> {
        let asked = Asked::parse(&mut request.body)?;
        let flags = asked.agree(init::offered(&self.exports));
        let reply = asked.reply(flags)?;
        self.reset();
        self.flags.store(flags, Ordering::Relaxed);
        log::debug!("virtio-fs: {asked:?}, agreed on {flags:#x}");
        Ok(Reply::Body(reply))
    }

    fn destroy(&self) -> Result<Reply, Errno> {
        self.reset();
        Ok(Reply::EMPTY)
    }

    fn reset(&self) {
        self.files.clear();
        self.folders.clear();
        self.nodes.clear();
    }

    /// Whether INIT agreed on this flag.
    pub(crate) fn agreed(&self, flag: u64) -> bool {
        self.flags.load(Ordering::Relaxed) & flag != 0
    }

    /// The folder of exports, if that is what `node` is.
    pub(crate) fn folder_at(&self, node: u64) -> Option<&Folder> {
        self.folder.as_ref().filter(|_| node == ROOT_ID)
    }

    /// The rules of the export with this index.
    pub(crate) fn export(&self, index: usize) -> Result<&Policy, Errno> {
        self.exports.get(index).ok_or(Errno::ESTALE)
    }

    /// Whether nobody but the guest writes to any of the exports.
    pub(crate) fn is_exclusive(&self) -> bool {
        self.exports.iter().all(|export| export.cache == Cache::Exclusive)
    }
}

/// Requests that get no reply, not even an error.
fn is_silent(opcode: u32) -> bool {
    matches!(opcode, opcode::FORGET | opcode::BATCH_FORGET | opcode::INTERRUPT | opcode::NOTIFY_REPLY)
}

//! MKNOD, MKDIR, SYMLINK, CREATE, TMPFILE: new nodes with exactly the owner and mode the guest chose.
//!
//! Everything is created by us, without setuid and setgid, and then given away: at no moment is there a setuid program
//! of root's that the guest did not ask for. What cannot be given away because the host's file system has no owners
//! (FAT) stays as that file system made it.

use std::ffi::CStr;
use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::{Mode, SFlag, mkdirat, mknodat};
use nix::unistd::{UnlinkatFlags, getegid, geteuid, symlinkat, unlinkat};

use super::super::abi::{CreateIn, InHeader, MkdirIn, MknodIn, Out, init};
use super::super::handles::OpenFile;
use super::super::nodes::Node;
use super::super::server::{Reply, Request, Server};
use super::super::sys::{self, Stat};
use super::decode_device;

/// setuid and setgid.
const PRIVILEGES: u32 = libc::S_ISUID | libc::S_ISGID;

/// Who a new node is to belong to, and how.
struct Birth {
    uid: u32,
    /// `u32::MAX` where the host's file system has chosen it, in a folder that is setgid.
    gid: u32,
    /// Permission bits at creation.
    mode: u32,
    /// setuid and setgid, set when the owner is right.
    privileges: u32,
}

impl Server {
    pub(crate) fn mknod(&self, mut request: Request<'_>) -> Result<Reply, Errno> {
        let input = MknodIn::parse(&mut request.body)?;
        let name = request.body.name()?;
        request.body.end()?;
        let kind = match input.mode & libc::S_IFMT {
            0 => libc::S_IFREG,
            kind @ (libc::S_IFREG | libc::S_IFIFO | libc::S_IFSOCK | libc::S_IFCHR | libc::S_IFBLK) => kind,
            _ => return Err(Errno::EINVAL),
        };
        let parent = self.writable_folder(request.header.node)?;
        let birth = self.birth(&request.header, &parent, input.mode, input.umask)?;
        let (mode, device) = (birth.permissions(), decode_device(input.rdev));
        self.make_entry(&parent, name, kind, &birth, |folder| {
            mknodat(folder, name, SFlag::from_bits_truncate(kind), mode, device)
        })
    }

    pub(crate) fn mkdir(&self, mut request: Request<'_>) -> Result<Reply, Errno> {
        let input = MkdirIn::parse(&mut request.body)?;
        let name = request.body.name()?;
        request.body.end()?;
        let parent = self.writable_folder(request.header.node)?;
        // A new folder is setgid if the one it is in is, and the host's file system sees to that.
        let birth = self.birth(&request.header, &parent, input.mode & !PRIVILEGES, input.umask)?;
        self.make_entry(&parent, name, libc::S_IFDIR, &birth, |folder| mkdirat(folder, name, birth.permissions()))
    }

    pub(crate) fn symlink(&self, mut request: Request<'_>) -> Result<Reply, Errno> {
        let name = request.body.name()?;
        let target = request.body.string()?;
        request.body.end()?;
        let parent = self.writable_folder(request.header.node)?;
        let birth = self.birth(&request.header, &parent, 0, 0)?;
        self.make_entry(&parent, name, libc::S_IFLNK, &birth, |folder| symlinkat(target, folder, name))
    }

    /// Creates an entry by `make`, gives it away and answers with it.
    fn make_entry<'a>(
        &self,
        parent: &'a Node,
        name: &CStr,
        kind: u32,
        birth: &Birth,
        make: impl FnOnce(std::os::fd::BorrowedFd<'a>) -> Result<(), Errno>,
    ) -> Result<Reply, Errno> {
        let permit = self.budget.take()?;
        make(parent.fd.as_fd())?;
        let settled = sys::open_entry(&parent.fd, name).and_then(|fd| Ok((self.settle(&fd, kind, birth)?, fd)));
        let (stat, fd) = settled.inspect_err(|_| discard(parent, name, kind))?;
        let node = self.nodes.add(parent.export(), permit.hold(fd), &stat);
        let mut out = Out::default();
        self.put_entry(&mut out, parent, &node, &stat)?;
        Ok(Reply::Body(out))
    }

    pub(crate) fn create(&self, mut request: Request<'_>) -> Result<Reply, Errno> {
        let input = CreateIn::parse(&mut request.body)?;
        let name = request.body.name()?;
        request.body.end()?;
        let parent = self.writable_folder(request.header.node)?;
        let access = self.access(input.flags, parent.export())?;
        // Never without O_EXCL: what is there already may be a link, a pipe or a device.
        let flags = access.for_new() | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW;
        let birth = self.birth(&request.header, &parent, input.mode, input.umask)?;
        match self.make_file(&parent, name, flags, &birth) {
            Err(Errno::EEXIST) if input.flags & libc::O_EXCL as u32 == 0 => {
                let (node, stat) = self.find(&parent, name)?;
                let opened = self.open_node(&node, &access, input.open_flags);
                let (handle, opened_flags) = opened.inspect_err(|_| self.nodes.forget(node.id, 1))?;
                let stat = if access.truncates { sys::stat(&node.fd)? } else { stat };
                self.created(&parent, &node, &stat, handle, opened_flags)
            }
            result => result,
        }
    }

    pub(crate) fn tmpfile(&self, mut request: Request<'_>) -> Result<Reply, Errno> {
        let input = CreateIn::parse(&mut request.body)?;
        // The kernel sends the name of the folder's entry, which means nothing: it may be "/".
        let parent = self.writable_folder(request.header.node)?;
        let access = self.access(input.flags, parent.export())?;
        let birth = self.birth(&request.header, &parent, input.mode, input.umask)?;
        // O_EXCL would forbid that it is ever given a name.
        let exclusive = OFlag::from_bits_truncate(input.flags as i32) & OFlag::O_EXCL;
        self.make_file(&parent, c".", access.for_new() | OFlag::O_TMPFILE | exclusive, &birth)
    }

    /// Creates and opens a regular file, gives it away and answers with it.
    fn make_file(&self, parent: &Node, name: &CStr, flags: OFlag, birth: &Birth) -> Result<Reply, Errno> {
        let (node_permit, file_permit) = (self.budget.take()?, self.budget.take()?);
        let file = openat(&parent.fd, name, flags | OFlag::O_CLOEXEC, birth.permissions())?;
        let settled = self.settle_file(&file, birth);
        let (stat, fd) = settled.inspect_err(|_| {
            if flags.contains(OFlag::O_CREAT) {
                discard(parent, name, libc::S_IFREG);
            }
        })?;
        let node = self.nodes.add(parent.export(), node_permit.hold(fd), &stat);
        let handle = self.files.add(OpenFile { node: node.id, fd: file_permit.hold(file) });
        self.created(parent, &node, &stat, handle, self.opened_flags(parent.export())?)
    }

    fn settle_file(&self, file: &OwnedFd, birth: &Birth) -> Result<(Stat, OwnedFd), Errno> {
        let stat = self.settle(file, libc::S_IFREG, birth)?;
        Ok((stat, self.proc.reopen(file, OFlag::O_PATH)?))
    }

    fn created(&self, parent: &Node, node: &Node, stat: &Stat, handle: u64, flags: u32) -> Result<Reply, Errno> {
        let mut out = Out::default();
        self.put_entry(&mut out, parent, node, stat)?;
        out.u64(handle).u32(flags).u32(0);
        Ok(Reply::Body(out))
    }

    fn birth(&self, header: &InHeader, parent: &Node, mode: u32, umask: u32) -> Result<Birth, Errno> {
        // It would mean "as it is": ours.
        if header.uid == u32::MAX || header.gid == u32::MAX {
            return Err(Errno::EINVAL);
        }
        let is_setgid = sys::stat(&parent.fd)?.mode & libc::S_ISGID != 0;
        let gid = if is_setgid { u32::MAX } else { header.gid };
        // A default access control list takes the place of the umask; the host's file system applies it.
        let umask = if umask & mode != 0 && self.has_default_acl(parent)? { 0 } else { umask };
        let mode = mode & 0o7777 & !(umask & 0o777);
        Ok(Birth { uid: header.uid, gid, mode: mode & !PRIVILEGES, privileges: mode & PRIVILEGES })
    }

    fn has_default_acl(&self, folder: &Node) -> Result<bool, Errno> {
        if !self.agreed(init::POSIX_ACL) || !self.export(folder.export())?.acl {
            return Ok(false);
        }
        super::xattr::has_default_acl(&self.xattrs(folder)?)
    }

    /// Gives a new node to its owner; returns its attributes.
    fn settle(&self, fd: &OwnedFd, kind: u32, birth: &Birth) -> Result<Stat, Errno> {
        let stat = sys::stat(fd)?;
        if stat.kind() != kind {
            // Somebody put something else in its place: not ours to give away.
            return Err(Errno::ESTALE);
        }
        let is_ours = birth.uid == geteuid().as_raw() && [u32::MAX, getegid().as_raw()].contains(&birth.gid);
        if !is_ours {
            match sys::chown(fd, birth.uid, birth.gid) {
                Err(Errno::EPERM) => return Ok(stat),
                result => result?,
            }
        }
        if birth.privileges != 0 {
            self.proc.chmod(fd, stat.mode & 0o7777 | birth.privileges)?;
        }
        if is_ours && birth.privileges == 0 { Ok(stat) } else { sys::stat(fd) }
    }
}

impl Birth {
    fn permissions(&self) -> Mode {
        Mode::from_bits_truncate(self.mode)
    }
}

/// Removes what was created and could not be given away. It may fail; the guest is told of the first failure.
fn discard(parent: &Node, name: &CStr, kind: u32) {
    let flag = if kind == libc::S_IFDIR { UnlinkatFlags::RemoveDir } else { UnlinkatFlags::NoRemoveDir };
    if let Err(error) = unlinkat(&parent.fd, name, flag) {
        log::warn!("virtio-fs: {name:?} was created, could not be given away, and stays: {error}");
    }
}

//! SETXATTR, GETXATTR, LISTXATTR, REMOVEXATTR, and what else needs extended attributes.

use std::ffi::CStr;

use nix::errno::Errno;
use nix::fcntl::OFlag;

use super::super::abi::{self, Body, GetxattrIn, Out, init};
use super::super::nodes::Node;
use super::super::server::{Reply, Request, Server};
use super::super::sys::{self, Proc, Xattrs};

/// Longest name (`XATTR_NAME_MAX`).
const MOST_NAME: usize = 255;
/// Longest value and longest list of names (`XATTR_SIZE_MAX`, `XATTR_LIST_MAX`).
const MOST_VALUE: usize = 64 << 10;
const ACCESS_ACL: &CStr = c"system.posix_acl_access";
const DEFAULT_ACL: &CStr = c"system.posix_acl_default";

/// `fuse_setxattr_in`, whose second half is only there if that was agreed on.
struct SetxattrIn {
    size: u32,
    flags: u32,
    more_flags: u32,
}

impl SetxattrIn {
    fn parse(body: &mut Body<'_>, is_extended: bool) -> Result<SetxattrIn, Errno> {
        let (size, flags) = (body.u32()?, body.u32()?);
        let (more_flags, _padding) = if is_extended { (body.u32()?, body.u32()?) } else { (0, 0) };
        Ok(SetxattrIn { size, flags, more_flags })
    }
}

impl Server {
    pub(crate) fn setxattr(&self, mut request: Request<'_>) -> Result<Reply, Errno> {
        let input = SetxattrIn::parse(&mut request.body, self.agreed(init::SETXATTR_EXT))?;
        let name = attribute_name(&mut request.body)?;
        let value = request.body.bytes(input.size as usize)?;
        request.body.end()?;
        let node = self.writable(request.header.node)?;
        check_access(name)?;
        let flags = input.flags as i32;
        if flags & !(libc::XATTR_CREATE | libc::XATTR_REPLACE) != 0 {
            return Err(Errno::EINVAL);
        }
        self.xattrs(&node)?.set(name, value, flags)?;
        if name == ACCESS_ACL && input.more_flags & abi::SETXATTR_ACL_KILL_SGID != 0 {
            let mode = sys::stat(&node.fd)?.mode;
            if mode & libc::S_ISGID != 0 {
                self.proc.chmod(&node.fd, mode & !libc::S_ISGID)?;
            }
        }
        Ok(Reply::EMPTY)
    }

    pub(crate) fn removexattr(&self, mut request: Request<'_>) -> Result<Reply, Errno> {
        let name = attribute_name(&mut request.body)?;
        request.body.end()?;
        let node = self.writable(request.header.node)?;
        check_access(name)?;
        self.xattrs(&node)?.remove(name)?;
        Ok(Reply::EMPTY)
    }

    pub(crate) fn getxattr(&self, mut request: Request<'_>) -> Result<Reply, Errno> {
        let input = GetxattrIn::parse(&mut request.body)?;
        let name = attribute_name(&mut request.body)?;
        request.body.end()?;
        if self.folder_at(request.header.node).is_some() {
            return Err(Errno::ENODATA);
        }
        let node = self.nodes.get(request.header.node)?;
        let mut value = vec![0; (input.size as usize).min(MOST_VALUE)];
        let result = check_access(name).and_then(|()| self.xattrs(&node)?.get(name, &mut value));
        match result {
            Ok(length) if value.is_empty() => Ok(size_reply(length)),
            Ok(length) => {
                value.truncate(length);
                Ok(Reply::Body(Out(value)))
            }
            // Asked for an access control list, the guest's kernel takes any other error for a refusal of access.
            Err(Errno::EOPNOTSUPP) if is_acl(name) && self.agreed(init::POSIX_ACL) => Err(Errno::ENODATA),
            Err(error) => Err(error),
        }
    }

    pub(crate) fn listxattr(&self, mut request: Request<'_>) -> Result<Reply, Errno> {
        let input = GetxattrIn::parse(&mut request.body)?;
        let names = match self.folder_at(request.header.node) {
            Some(_) => Vec::new(),
            None => self.xattr_names(&*self.nodes.get(request.header.node)?, request.header.uid)?,
        };
        match input.size as usize {
            0 => Ok(size_reply(names.len())),
            size if size < names.len() => Err(Errno::ERANGE),
            _ => Ok(Reply::Body(Out(names))),
        }
    }

    /// The names of a node's attributes that `uid` may see, each with a zero byte at its end. Local file systems hide
    /// `trusted` ones from those who may not read them, and leave it to us.
    fn xattr_names(&self, node: &Node, uid: u32) -> Result<Vec<u8>, Errno> {
        let mut names = vec![0; MOST_VALUE];
        let length = match self.xattrs(node).and_then(|xattrs| xattrs.list(&mut names)) {
            Err(Errno::EOPNOTSUPP) => 0,
            result => result?,
        };
        names.truncate(length);
        let may_see = |name: &[u8]| uid == 0 || !name.starts_with(b"trusted.");
        let allowed = names.split_inclusive(|byte| *byte == 0).filter(|name| {
            CStr::from_bytes_with_nul(name).is_ok_and(|name| check_access(name).is_ok()) && may_see(name)
        });
        Ok(allowed.flatten().copied().collect())
    }

    /// The way to the attributes of a node. Regular files and folders are opened; the others must not be, or cannot, and
    /// are reached by a path through /proc, where there is one.
    pub(super) fn xattrs(&self, node: &Node) -> Result<Xattrs, Errno> {
        if node.is_file() || node.is_folder() {
            self.reopen(node, OFlag::O_RDONLY).map(Xattrs::Fd)
        } else {
            self.proc.path(&node.fd).map(Xattrs::Path)
        }
    }
}

fn attribute_name<'a>(body: &mut Body<'a>) -> Result<&'a CStr, Errno> {
    let name = body.string()?;
    match name.count_bytes() {
        0 => Err(Errno::EINVAL),
        length if length > MOST_NAME => Err(Errno::ERANGE),
        _ => Ok(name),
    }
}

fn is_acl(name: &CStr) -> bool {
    [ACCESS_ACL, DEFAULT_ACL].contains(&name)
}

/// Whether the guest may have to do with an attribute of this name.
///
/// Those of overlay mounts say what hides what in the host's own layers. Of the kernel's, it has capabilities and access
/// control lists; labels and signatures of the host's security modules mean nothing in the guest, and everything here.
fn check_access(name: &CStr) -> Result<(), Errno> {
    let bytes = name.to_bytes();
    let begins = |prefix: &str| bytes.starts_with(prefix.as_bytes());
    if begins("trusted.overlay.") || begins("user.overlay.") {
        Err(Errno::EPERM)
    } else if begins("user.") || begins("trusted.") || name == c"security.capability" || is_acl(name) {
        Ok(())
    } else {
        Err(Errno::EOPNOTSUPP)
    }
}

fn size_reply(size: usize) -> Reply {
    let mut out = Out::default();
    out.u32(size as u32).u32(0);
    Reply::Body(out)
}

/// Whether new entries of a folder get an access control list from it.
pub(super) fn has_default_acl(xattrs: &Xattrs) -> Result<bool, Errno> {
    match xattrs.get(DEFAULT_ACL, &mut []) {
        Ok(_) => Ok(true),
        Err(Errno::ENODATA | Errno::EOPNOTSUPP) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Whether the file system of this node has access control lists at all.
pub(crate) fn supports_acl(proc: &Proc, node: &Node) -> bool {
    if !node.is_file() && !node.is_folder() {
        return false;
    }
    let xattrs = proc.reopen(&node.fd, OFlag::O_RDONLY | OFlag::O_NONBLOCK).map(Xattrs::Fd);
    let found = xattrs.and_then(|xattrs| xattrs.get(ACCESS_ACL, &mut []));
    matches!(found, Ok(_) | Err(Errno::ENODATA))
}

//! LINK, UNLINK, RMDIR, RENAME: entries of folders that come and go while nodes stay.

use nix::errno::Errno;
use nix::fcntl::AtFlags;
use nix::unistd::{UnlinkatFlags, linkat, unlinkat};

use super::super::abi::{LinkIn, Out, Rename2In, RenameIn};
use super::super::server::{Reply, Request, Server};
use super::super::sys::{self, Proc};

impl Server {
    pub(crate) fn link(&self, mut request: Request<'_>) -> Result<Reply, Errno> {
        let input = LinkIn::parse(&mut request.body)?;
        let name = request.body.name()?;
        request.body.end()?;
        let parent = self.writable_folder(request.header.node)?;
        let node = self.writable(input.old_node)?;
        if node.export() != parent.export() {
            return Err(Errno::EXDEV);
        }
        if node.is_folder() {
            return Err(Errno::EPERM);
        }
        let old = Proc::name(&node.fd);
        linkat(self.proc.folder(), old.as_c_str(), &parent.fd, name, AtFlags::AT_SYMLINK_FOLLOW)?;
        let stat = sys::stat(&node.fd)?;
        // The node of the request, whatever the host may have done to the name since.
        let node = self.nodes.again(&node.key).ok_or(Errno::ESTALE)?;
        let mut out = Out::default();
        self.put_entry(&mut out, &parent, &node, &stat)?;
        Ok(Reply::Body(out))
    }

    pub(crate) fn unlink(&self, mut request: Request<'_>, is_folder: bool) -> Result<Reply, Errno> {
        let name = request.body.name()?;
        request.body.end()?;
        let parent = self.writable_folder(request.header.node)?;
        let flag = if is_folder { UnlinkatFlags::RemoveDir } else { UnlinkatFlags::NoRemoveDir };
        unlinkat(&parent.fd, name, flag)?;
        Ok(Reply::EMPTY)
    }

    pub(crate) fn rename(&self, mut request: Request<'_>) -> Result<Reply, Errno> {
        let input = RenameIn::parse(&mut request.body)?;
        self.rename_to(request, input.new_folder, 0)
    }

    pub(crate) fn rename2(&self, mut request: Request<'_>) -> Result<Reply, Errno> {
        const KNOWN: u32 = libc::RENAME_NOREPLACE | libc::RENAME_EXCHANGE | libc::RENAME_WHITEOUT;
        let input = Rename2In::parse(&mut request.body)?;
        if input.flags & !KNOWN != 0 {
            return Err(Errno::EINVAL);
        }
        self.rename_to(request, input.new_folder, input.flags)
    }

    fn rename_to(&self, mut request: Request<'_>, new_folder: u64, flags: u32) -> Result<Reply, Errno> {
        let (old, new) = (request.body.name()?, request.body.name()?);
        request.body.end()?;
        let from = self.writable_folder(request.header.node)?;
        let to = self.writable_folder(new_folder)?;
        if from.export() != to.export() {
            return Err(Errno::EXDEV);
        }
        sys::rename(&from.fd, old, &to.fd, new, flags)?;
        Ok(Reply::EMPTY)
    }
}

//! LOOKUP, FORGET, BATCH_FORGET: how nodes become known and unknown.

use std::ffi::CStr;
use std::sync::Arc;
use std::time::Duration;

use nix::errno::Errno;

use super::super::Cache;
use super::super::abi::{ATTR, BatchForgetIn, ForgetIn, ForgetOne, Out};
use super::super::nodes::{Key, Node};
use super::super::server::{Reply, Request, Server};
use super::super::sys::{self, Stat};
use super::super::tree::Folder;
use super::{FOREVER, put_entry_head};

impl Server {
    pub(crate) fn lookup(&self, mut request: Request<'_>) -> Result<Reply, Errno> {
        let name = request.body.name()?;
        request.body.end()?;
        let mut out = Out::default();
        if let Some(folder) = self.folder_at(request.header.node) {
            match folder.find(name) {
                Some(id) => self.put_root_entry(&mut out, id)?,
                None => put_absence(&mut out, FOREVER),
            }
            return Ok(Reply::Body(out));
        }
        let parent = self.nodes.get(request.header.node)?;
        match self.find(&parent, name) {
            Ok((node, stat)) => self.put_entry(&mut out, &parent, &node, &stat)?,
            // Programs are looked for in many folders, again and again: that a name is absent is worth knowing too.
            Err(Errno::ENOENT) if self.export(parent.export())?.cache == Cache::Exclusive => {
                put_absence(&mut out, FOREVER);
            }
            Err(error) => return Err(error),
        }
        Ok(Reply::Body(out))
    }

    /// The child `name` of a folder, with one reference more.
    pub(super) fn find(&self, parent: &Node, name: &CStr) -> Result<(Arc<Node>, Stat), Errno> {
        if !parent.is_folder() {
            return Err(Errno::ENOTDIR);
        }
        // What is shared is asked for over and over, and is mostly known: then it need not be opened. A known node
        // keeps its inode alive, so that its number stands for nothing else.
        if self.export(parent.export())?.cache == Cache::Shared {
            let stat = sys::stat_entry(&parent.fd, name)?;
            if let Some(node) = self.nodes.again(&Key::new(parent.export(), &stat)) {
                return Ok((node, stat));
            }
        }
        let permit = self.budget.take()?;
        let fd = permit.hold(sys::open_entry(&parent.fd, name)?);
        let stat = sys::stat(&fd)?;
        Ok((self.nodes.add(parent.export(), fd, &stat), stat))
    }

    /// Appends a `fuse_entry_out` for the root of an export in the folder of exports, with one reference more.
    pub(super) fn put_root_entry(&self, out: &mut Out, id: u64) -> Result<(), Errno> {
        let node = self.nodes.get(id)?;
        let stat = sys::stat(&node.fd)?;
        self.nodes.again(&node.key);
        // The entry itself never changes, whoever changes what it leads to.
        put_entry_head(out, id, FOREVER, self.validity(node.export())?);
        self.put_attributes(out, &node, &stat, self.submount_flag(node.is_folder()))
    }

    pub(crate) fn forget(&self, mut request: Request<'_>) -> Result<Reply, Errno> {
        let input = ForgetIn::parse(&mut request.body)?;
        self.nodes.forget(request.header.node, input.lookups);
        Ok(Reply::None)
    }

    pub(crate) fn batch_forget(&self, mut request: Request<'_>) -> Result<Reply, Errno> {
        let input = BatchForgetIn::parse(&mut request.body)?;
        // Ends with the body, whatever the count says.
        for _ in 0..input.count {
            let one = ForgetOne::parse(&mut request.body)?;
            self.nodes.forget(one.node, one.lookups);
        }
        Ok(Reply::None)
    }
}

impl Folder {
    fn find(&self, name: &CStr) -> Option<u64> {
        self.entries.iter().find(|(known, _)| known.as_c_str() == name).map(|(_, id)| *id)
    }
}

/// Appends a `fuse_entry_out` that says for how long a name is absent.
fn put_absence(out: &mut Out, valid: Duration) {
    put_entry_head(out, 0, valid, Duration::ZERO);
    out.zeros(ATTR);
}

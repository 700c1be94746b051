//! Our virtio-fs server: answers a guest's FUSE requests from folders of the host, in process.
//!
//! `abi` is the wire format, `server` the table of operations, `passthrough` the operations. Every operation works on
//! descriptors opened with `O_PATH`, never on paths, so neither the guest nor a symbolic link it made can name anything
//! outside of an export. The protocol is that of Linux' `include/uapi/linux/fuse.h`; what the guest's kernel expects is
//! in its `fs/fuse`.

mod abi;
mod budget;
mod handles;
mod init;
mod nodes;
mod passthrough;
mod server;
mod sys;
mod tree;

use std::os::fd::OwnedFd;

pub use server::Server;
pub use tree::Error;

/// One folder or file of the host that a guest may see.
#[derive(Debug)]
pub struct Export {
    /// An `O_PATH` descriptor of a folder, of a regular file or of any other node.
    pub root: OwnedFd,
    /// Refuses every change, here on the host, whatever the guest's own mount flags say.
    pub read_only: bool,
    /// How long the guest may believe what it has seen.
    pub cache: Cache,
}

/// Who else writes to an export.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cache {
    /// Nobody: the guest is the only writer, so names, attributes and data are cached without limit.
    Exclusive,
    /// The host may: names and attributes are soon asked for again, and data each time a file is opened.
    Shared,
}

/// What the guest finds at the root of the file system.
#[derive(Debug)]
pub enum Tree {
    /// The export itself, which is a folder.
    One(Export),
    /// A read-only folder that exists nowhere on the host, with one entry per export.
    Folder(Vec<(String, Export)>),
}

#[cfg(test)]
#[path = "tests/mod.rs"]
mod tests;

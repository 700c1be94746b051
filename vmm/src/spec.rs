//! What goes into [`run`](crate::run) and what comes out.

use std::borrow::Cow;
use std::fs::File;
use std::os::fd::OwnedFd;

use crate::fs::Tree;

/// A microVM to be.
pub struct Spec {
    /// Name for threads and messages.
    pub name: String,
    /// The guest kernel: an uncompressed ELF `vmlinux`. It is mapped privately, not read, so all microVMs share the
    /// pages they do not change; it must not be changed while the guest lives.
    pub kernel: File,
    /// The program that the kernel starts: a static executable, all there is in the initial file system.
    pub init: Cow<'static, [u8]>,
    /// Guest memory in bytes, at least [`LEAST_MEMORY`](crate::layout::LEAST_MEMORY).
    pub memory: u64,
    /// Processors, 1 to [`MOST_VCPUS`](crate::layout::MOST_VCPUS).
    pub vcpus: u8,
    /// Further kernel parameters, separated by spaces.
    pub command_line: String,
    /// Folders of the host that the guest sees, a virtio-fs device each.
    pub shares: Vec<Share>,
    /// A connected `SOCK_SEQPACKET` socket. For every vsock connection that the guest opens to the host, one packet is
    /// sent: the port as 32 bits little-endian, with one descriptor (`SCM_RIGHTS`), a stream socket that carries the
    /// connection.
    pub vsock: Option<OwnedFd>,
    /// An empty folder to shut the whole process into before the guest runs; see [`jail`](crate::jail). Only for a process
    /// that does nothing but run this microVM.
    pub jail: Option<OwnedFd>,
    /// Where the kernel's own messages go; see `console` for the limit.
    pub console: Option<File>,
}

/// One virtio-fs device.
pub struct Share {
    /// The tag the guest mounts it by (virtio specification 1.2, section 5.11.4), at most 36 bytes.
    pub tag: String,
    /// What it shows.
    pub tree: Tree,
}

/// How a microVM ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exit {
    /// The guest said it was finished.
    Shutdown,
    /// The guest asked for a reset.
    Reset,
    /// A processor ran into a fault while handling a fault while handling a fault.
    TripleFault,
    /// The guest's kernel gave up; its last words.
    Panic(String),
    /// KVM cannot go on with this guest; why.
    Dead(String),
}

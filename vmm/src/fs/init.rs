//! INIT: what the guest's kernel and we agree on.

use nix::errno::Errno;

use super::Cache;
use super::abi::{Body, Out, VERSION, init};
use super::tree::Policy;

/// Most bytes of one READ or WRITE. Linux takes as many pages as the request queue has entries, at most 256 by default
/// (`fs.fuse.max_pages_limit`).
const MOST_BYTES: u32 = 1 << 20;
/// `MOST_BYTES` in pages.
const MOST_PAGES: u16 = 256;
/// Requests (read-ahead, write-back) that the guest may have under way without anybody waiting for them, and the number
/// from which it considers us congested; its own default is 12 and 9, too few to keep a disk busy.
const BACKGROUND: (u16, u16) = (64, 48);
/// Times are kept as exactly as the host's file system does, in nanoseconds.
const TIME_GRANULARITY: u32 = 1;

/// What the guest's kernel asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked {
    major: u32,
    minor: u32,
    readahead: u32,
    flags: u64,
}

impl Asked {
    pub(crate) fn parse(body: &mut Body<'_>) -> Result<Asked, Errno> {
        let (major, minor, readahead) = (body.u32()?, body.u32()?, body.u32()?);
        let flags = u64::from(body.u32()?);
        let flags_2 = if flags & init::INIT_EXT != 0 { u64::from(body.u32()?) } else { 0 };
        Ok(Asked { major, minor, readahead, flags: flags | flags_2 << 32 })
    }

    /// The flags that are in force from now on.
    pub(crate) fn agree(&self, offered: u64) -> u64 {
        self.flags & offered
    }

    /// The reply. A kernel of a later major version asks again with ours.
    pub(crate) fn reply(&self, flags: u64) -> Result<Out, Errno> {
        let (major, minor) = VERSION;
        if self.major < major {
            return Err(Errno::EPROTO);
        }
        let mut out = Out::default();
        out.u32(major).u32(if self.major == major { self.minor.min(minor) } else { minor });
        out.u32(self.readahead).u32(flags as u32);
        out.u16(BACKGROUND.0).u16(BACKGROUND.1).u32(MOST_BYTES).u32(TIME_GRANULARITY);
        // No alignment for DAX mappings: there is no window to map into.
        out.u16(MOST_PAGES).u16(0).u32((flags >> 32) as u32);
        out.zeros(28);
        Ok(out)
    }
}

/// The flags we offer for these exports.
///
/// Locks are not among them: a guest's file locks are its own. Neither is zero-message OPEN, nor DAX.
pub(crate) fn offered(exports: &[Policy]) -> u64 {
    const ALWAYS: u64 = init::ASYNC_READ
        | init::ATOMIC_O_TRUNC
        | init::BIG_WRITES
        | init::DO_READDIRPLUS
        | init::READDIRPLUS_AUTO
        | init::ASYNC_DIO
        | init::PARALLEL_DIROPS
        | init::MAX_PAGES
        | init::SUBMOUNTS
        | init::HANDLE_KILLPRIV_V2
        | init::SETXATTR_EXT
        | init::INIT_EXT;
    // These are properties of the connection, not of a file: with write-back the guest's kernel no longer believes our
    // sizes and times, and a kept symbolic link is never asked for again, so one shared export forbids both.
    let shared = exports.iter().any(|export| export.cache == Cache::Shared);
    let cache = if shared { init::AUTO_INVAL_DATA } else { init::WRITEBACK_CACHE | init::CACHE_SYMLINKS };
    // With access control lists, the umask is ours to apply: a folder's default list takes its place.
    let acl = if exports.iter().any(|export| export.acl) { init::POSIX_ACL | init::DONT_MASK } else { 0 };
    ALWAYS | cache | acl
}

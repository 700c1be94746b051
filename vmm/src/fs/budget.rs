//! How many descriptors guests may make this process hold.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Descriptors left to the rest of the process: virtual machine, devices, and a socket for each vsock connection. A
/// guest that uses up its share of files thus breaks nothing but its own files.
const RESERVED: usize = 1024;
/// What we ask the kernel for: the default of `fs.nr_open`, beyond which no process can go.
const MOST: u64 = 1 << 20;

/// A number of descriptors, shared by all servers of a process. Every node that the guest's kernel remembers is one,
/// and so is every open file.
#[derive(Debug)]
pub(crate) struct Budget {
    limit: usize,
    held: AtomicUsize,
}

impl Budget {
    pub(crate) fn new(limit: usize) -> Arc<Budget> {
        Arc::new(Budget { limit, held: AtomicUsize::new(0) })
    }

    /// That of this process: its limit, raised as far as the kernel lets us, less a reserve.
    pub(crate) fn of_process() -> Arc<Budget> {
        static PROCESS: OnceLock<Arc<Budget>> = OnceLock::new();
        Arc::clone(PROCESS.get_or_init(|| {
            let limit = usize::try_from(raise_limit()).unwrap_or(usize::MAX);
            Budget::new(limit.saturating_sub(RESERVED).max(limit / 2))
        }))
    }

    /// Room for one descriptor; taken before it is opened. `ENFILE` when there is none.
    pub(crate) fn take(self: &Arc<Budget>) -> Result<Permit, Errno> {
        let more = |held: usize| (held < self.limit).then(|| held.saturating_add(1));
        match self.held.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more) {
            Ok(_) => Ok(Permit(Arc::clone(self))),
            Err(_) => Err(Errno::ENFILE),
        }
    }

    /// Whether more than three quarters are held. What is left is then for files that somebody asks for by name, not for
    /// those that come along with a listing.
    pub(crate) fn is_scarce(&self) -> bool {
        self.held.load(Ordering::Relaxed) > self.limit / 4 * 3
    }

    #[cfg(test)]
    pub(crate) fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }
}

/// Room for one descriptor, given back when dropped.
#[derive(Debug)]
pub(crate) struct Permit(Arc<Budget>);

impl Permit {
    /// Keeps the room for as long as `fd` is open.
    pub(crate) fn hold(self, fd: OwnedFd) -> Held {
        Held { fd, _permit: self }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.held.fetch_sub(1, Ordering::Relaxed);
    }
}

/// An open descriptor that counts.
#[derive(Debug)]
pub(crate) struct Held {
    fd: OwnedFd,
    _permit: Permit,
}

impl AsFd for Held {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Raises the limit of open files and returns it.
fn raise_limit() -> u64 {
    const FALLBACK: u64 = 1024;
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return FALLBACK };
    for (soft, hard) in [(MOST.max(hard), MOST.max(hard)), (hard, hard)] {
        if setrlimit(Resource::RLIMIT_NOFILE, soft, hard).is_ok() {
            return soft;
        }
    }
    soft
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_ends_and_comes_back() {
        let budget = Budget::new(2);
        let first = budget.take().unwrap();
        let _second = budget.take().unwrap();
        assert_eq!(budget.take().unwrap_err(), Errno::ENFILE);
        drop(first);
        assert!(budget.take().is_ok());
    }
}

//! Open files and folders, by the handles the guest knows them by.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nix::errno::Errno;

use super::budget::Held;
use super::nodes::Node;

/// An open regular file.
#[derive(Debug)]
pub(crate) struct OpenFile {
    pub(crate) node: u64,
    pub(crate) fd: Held,
}

/// An open folder.
#[derive(Debug)]
pub(crate) struct OpenFolder {
    pub(crate) node: Arc<Node>,
    /// The descriptor, and the offset from which it would read on, where that is known.
    pub(crate) cursor: Mutex<(Held, Option<u64>)>,
}

/// What a handle is open for.
pub(crate) trait Opened {
    /// Id of its node.
    fn node(&self) -> u64;
}

impl Opened for OpenFile {
    fn node(&self) -> u64 {
        self.node
    }
}

impl Opened for OpenFolder {
    fn node(&self) -> u64 {
        self.node.id
    }
}

/// Handles of one kind. Their number is bounded by the [`Budget`](super::budget::Budget); a handle is never used twice.
#[derive(Debug)]
pub(crate) struct Handles<T>(Mutex<Table<T>>);

#[derive(Debug)]
struct Table<T> {
    open: HashMap<u64, Arc<T>>,
    next: u64,
}

impl<T> Default for Handles<T> {
    fn default() -> Handles<T> {
        // 0 is what a guest sends where it has no handle.
        Handles(Mutex::new(Table { open: HashMap::new(), next: 1 }))
    }
}

impl<T: Opened> Handles<T> {
    fn table(&self) -> MutexGuard<'_, Table<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn add(&self, opened: T) -> u64 {
        let mut table = self.table();
        let handle = table.next;
        table.next = handle.wrapping_add(1);
        table.open.insert(handle, Arc::new(opened));
        handle
    }

    /// What is open as `handle`; `EBADF` if nothing is, or if it is not of `node`.
    pub(crate) fn get(&self, handle: u64, node: u64) -> Result<Arc<T>, Errno> {
        match self.table().open.get(&handle) {
            Some(opened) if opened.node() == node => Ok(Arc::clone(opened)),
            _ => Err(Errno::EBADF),
        }
    }

    /// Closes `handle`.
    pub(crate) fn remove(&self, handle: u64, node: u64) -> Result<(), Errno> {
        self.get(handle, node)?;
        let closed = self.table().open.remove(&handle);
        // Closing can take long: not under the lock.
        drop(closed);
        Ok(())
    }

    /// Closes everything.
    pub(crate) fn clear(&self) {
        let closed = std::mem::take(&mut self.table().open);
        drop(closed);
    }
}

//! The nodes a guest knows: node id to `O_PATH` descriptor and back.
//!
//! The guest's kernel counts its references to a node (LOOKUP and everything else that returns an entry adds one, FORGET
//! takes some away); while it holds any, the descriptor is kept, and with it the host's inode and its number. An id is
//! never used for a second node, so generations are always 0.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nix::errno::Errno;

use super::abi::ROOT_ID;
use super::budget::Held;
use super::sys::Stat;

/// What makes two names one node: hard links share it. The same inode by two mounts is two nodes, because what lies
/// below and what is allowed can differ; in two exports as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    export: usize,
    device: u64,
    mount: u64,
    inode: u64,
}

impl Key {
    pub(crate) fn new(export: usize, stat: &Stat) -> Key {
        Key { export, device: stat.device, mount: stat.mount, inode: stat.inode }
    }
}

impl Key {
    /// Inode number on the host.
    pub(crate) fn inode(&self) -> u64 {
        self.inode
    }
}

/// A file, folder, link or other node of the host.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) id: u64,
    /// Opened with `O_PATH`; nothing can be read through it, and a special file is not touched.
    pub(crate) fd: Held,
    pub(crate) key: Key,
    /// Type bits of its mode (`S_IFMT`), which never change.
    pub(crate) kind: u32,
}

impl Node {
    /// Index of its export.
    pub(crate) fn export(&self) -> usize {
        self.key.export
    }

    /// Device (`st_dev`).
    pub(crate) fn device(&self) -> u64 {
        self.key.device
    }

    pub(crate) fn is_folder(&self) -> bool {
        self.kind == libc::S_IFDIR
    }

    pub(crate) fn is_file(&self) -> bool {
        self.kind == libc::S_IFREG
    }

    /// Whether a child with these attributes is in another file system or mount.
    pub(crate) fn crosses_into(&self, child: &Node) -> bool {
        child.is_folder() && (self.key.device, self.key.mount) != (child.key.device, child.key.mount)
    }
}

#[derive(Debug)]
struct Known {
    node: Arc<Node>,
    lookups: u64,
    /// Roots of exports are never forgotten.
    permanent: bool,
}

#[derive(Debug)]
struct Table {
    by_id: HashMap<u64, Known>,
    by_key: HashMap<Key, u64>,
    next: u64,
}

/// The table of nodes.
#[derive(Debug)]
pub(crate) struct Nodes(Mutex<Table>);

impl Default for Nodes {
    fn default() -> Nodes {
        Nodes(Mutex::new(Table { by_id: HashMap::new(), by_key: HashMap::new(), next: ROOT_ID }))
    }
}

impl Nodes {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Leaves out one id: that of a root which is not on the host.
    pub(crate) fn skip_id(&self) {
        self.table().add_id();
    }

    /// Adds the root of an export.
    pub(crate) fn add_root(&self, export: usize, fd: Held, stat: &Stat) -> Arc<Node> {
        self.table().insert(Key::new(export, stat), fd, stat.kind(), true)
    }

    /// The node with this id; `ESTALE` if the guest does not know it.
    pub(crate) fn get(&self, id: u64) -> Result<Arc<Node>, Errno> {
        self.table().by_id.get(&id).map(|known| Arc::clone(&known.node)).ok_or(Errno::ESTALE)
    }

    /// The node of `fd`, known already or new, with one reference more.
    pub(crate) fn add(&self, export: usize, fd: Held, stat: &Stat) -> Arc<Node> {
        let key = Key::new(export, stat);
        let mut table = self.table();
        if let Some(node) = table.again(&key) {
            drop(table);
            // Only now, without the lock, is `fd` closed.
            drop(fd);
            return node;
        }
        table.insert(key, fd, stat.kind(), false)
    }

    /// A known node, with one reference more.
    pub(crate) fn again(&self, key: &Key) -> Option<Arc<Node>> {
        self.table().again(key)
    }

    /// Takes `lookups` references away; the last one closes the node.
    pub(crate) fn forget(&self, id: u64, lookups: u64) {
        let forgotten = self.table().forget(id, lookups);
        drop(forgotten);
    }

    /// Forgets everything but the roots of exports.
    pub(crate) fn clear(&self) {
        let mut table = self.table();
        let ids: Vec<u64> = table.by_id.keys().copied().collect();
        let forgotten: Vec<_> = ids.into_iter().map(|id| table.forget(id, u64::MAX)).collect();
        drop(table);
        drop(forgotten);
    }

    #[cfg(test)]
    pub(crate) fn count(&self) -> usize {
        self.table().by_id.len()
    }
}

impl Table {
    fn add_id(&mut self) -> u64 {
        let id = self.next;
        self.next = id.wrapping_add(1);
        id
    }

    fn insert(&mut self, key: Key, fd: Held, kind: u32, permanent: bool) -> Arc<Node> {
        let id = self.add_id();
        let node = Arc::new(Node { id, fd, key, kind });
        self.by_id.insert(id, Known { node: Arc::clone(&node), lookups: 1, permanent });
        self.by_key.insert(key, id);
        node
    }

    fn again(&mut self, key: &Key) -> Option<Arc<Node>> {
        let known = self.by_id.get_mut(self.by_key.get(key)?)?;
        known.lookups = known.lookups.saturating_add(1);
        Some(Arc::clone(&known.node))
    }

    fn forget(&mut self, id: u64, lookups: u64) -> Option<Known> {
        let known = self.by_id.get_mut(&id)?;
        known.lookups = known.lookups.saturating_sub(lookups);
        if known.lookups > 0 || known.permanent {
            return None;
        }
        let known = self.by_id.remove(&id)?;
        self.by_key.remove(&known.node.key);
        Some(known)
    }
}

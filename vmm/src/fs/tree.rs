//! The exports of a server: their policies, their roots, and the folder that holds them where there is one.

use std::collections::HashSet;
use std::ffi::CString;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use nix::errno::Errno;

use super::abi;
use super::budget::Budget;
use super::nodes::Nodes;
use super::passthrough::xattr::supports_acl;
use super::sys::{self, Proc};
use super::{Cache, Export, Tree};

/// Why a tree cannot be served.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Descriptors opened with `O_PATH` are used through it.
    #[error("Cannot open /proc/self/fd; /proc must be mounted when the file system server starts")]
    Proc(#[source] io::Error),
    /// The descriptor of an export does not work.
    #[error("Cannot read the attributes of the exported {name:?}")]
    Root {
        /// Name of the export; empty if it is the whole tree.
        name: String,
        /// Why.
        source: io::Error,
    },
    /// A file system begins with a folder.
    #[error("The export that is to be the root of a file system is not a folder")]
    NotFolder,
    /// A name that no directory entry can have.
    #[error("An export cannot be called {0:?}: a name is 1 to 255 bytes without a slash, and not . or ..")]
    Name(String),
    /// Two exports with one name.
    #[error("Two exports are called {0:?}")]
    Duplicate(String),
}

/// The rules of one export.
#[derive(Debug)]
pub(crate) struct Policy {
    pub(crate) read_only: bool,
    pub(crate) cache: Cache,
    /// Whether its file system has POSIX access control lists.
    pub(crate) acl: bool,
    /// Id of the node of its root.
    pub(crate) root: u64,
    devices: Mutex<Vec<u64>>,
}

impl Policy {
    /// The inode number the guest sees. An export can hold several file systems (an overlay shows files of its layers
    /// with device numbers of their own) where the guest sees one; two files with one number would be taken for one,
    /// so the numbers of further file systems differ in their highest bits.
    pub(crate) fn inode(&self, device: u64, inode: u64) -> u64 {
        const SHIFT: u32 = 48;
        let mut devices = self.devices.lock().unwrap_or_else(PoisonError::into_inner);
        let index = devices.iter().position(|known| *known == device).unwrap_or_else(|| {
            devices.push(device);
            devices.len() - 1
        });
        inode ^ (index as u64) << SHIFT
    }
}

/// The folder at the root of a tree of several exports; it exists nowhere on the host.
#[derive(Debug)]
pub(crate) struct Folder {
    /// Name and node of each export.
    pub(crate) entries: Vec<(CString, u64)>,
}

/// Makes room for a tree in `nodes`.
pub(crate) fn plant(
    tree: Tree,
    nodes: &Nodes,
    proc: &Proc,
    budget: &Arc<Budget>,
) -> Result<(Vec<Policy>, Option<Folder>), Error> {
    let (exports, is_folder) = match tree {
        Tree::One(export) => (vec![(String::new(), export)], false),
        Tree::Folder(exports) => (exports, true),
    };
    if is_folder {
        check_names(&exports)?;
        nodes.skip_id();
    }
    let mut policies = Vec::with_capacity(exports.len());
    let mut entries = Vec::with_capacity(exports.len());
    for (index, (name, Export { root, read_only, cache })) in exports.into_iter().enumerate() {
        let failed = |source: Errno| Error::Root { name: name.clone(), source: source.into() };
        let stat = sys::stat(&root).map_err(failed)?;
        if !is_folder && stat.kind() != libc::S_IFDIR {
            return Err(Error::NotFolder);
        }
        let permit = budget.take().map_err(failed)?;
        let node = nodes.add_root(index, permit.hold(root), &stat);
        let acl = supports_acl(proc, &node);
        let devices = Mutex::new(vec![stat.device]);
        policies.push(Policy { read_only, cache, acl, root: node.id, devices });
        entries.push((CString::new(name.as_str()).map_err(|_| Error::Name(name))?, node.id));
    }
    Ok((policies, is_folder.then_some(Folder { entries })))
}

fn check_names(exports: &[(String, Export)]) -> Result<(), Error> {
    let mut seen = HashSet::new();
    for (name, _) in exports {
        abi::check_name(name.as_bytes()).map_err(|_| Error::Name(name.clone()))?;
        if !seen.insert(name) {
            return Err(Error::Duplicate(name.clone()));
        }
    }
    Ok(())
}

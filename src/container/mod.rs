//! The life of a container: what it is called, what is recorded of it, and the processes that keep it.
//!
//! `coracle run` records a container and starts its [`monitor`], a small process that outlives the command line. The
//! monitor mounts the root file system, starts the VMM (see [`microvm`]) and stands between the guest and whoever
//! wants something of it: the log, attached terminals, `stop`, `kill`, `wait`. They speak the messages of
//! [`control`].

pub(crate) mod attach;
pub(crate) mod catalogue;
pub(crate) mod control;
pub(crate) mod environment;
pub(crate) mod id;
pub(crate) mod lock;
pub(crate) mod log;
pub(crate) mod microvm;
pub(crate) mod monitor;
pub(crate) mod names;
pub(crate) mod packet;
pub(crate) mod process;
pub(crate) mod record;
pub(crate) mod signal;
pub(crate) mod start;
pub(crate) mod terminal;
pub(crate) mod volume;
pub(crate) mod volumes;

/// Makes a folder, and those above it, that only root may look into: arguments and environments hold secrets.
fn make_private_folder(path: &std::path::Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

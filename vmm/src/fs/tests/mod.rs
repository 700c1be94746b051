//! Drives a server with hand-made FUSE messages against folders in memory. These tests run as root.

mod attributes;
mod create;
mod entries;
mod escape;
mod exports;
mod files;
mod folders;
mod guest;
mod hostile;
mod init;
mod kernel;
mod limits;
mod names;
mod overlay;
mod read_only;
mod xattr;

use guest::{Guest, Message};

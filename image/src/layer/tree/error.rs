//! Why an entry cannot be in a layer.

use super::node;
use crate::layer::{path, stack, whiteout, xattr};

/// Why an entry cannot be in a layer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Its name.
    #[error("Its name cannot be in a layer")]
    Path(#[from] path::Error),
    /// Its name, as a whiteout's.
    #[error("Its name is no valid whiteout")]
    Whiteout(#[from] whiteout::Error),
    /// One of its extended attributes.
    #[error("It has an extended attribute that a layer cannot hold")]
    Xattr(#[from] xattr::Error),
    /// The root of a layer must be a folder.
    #[error("It would replace the root of the layer")]
    Root,
    /// Something on the way is no folder.
    #[error("{parent} is not a folder, nothing can be in it")]
    Parent {
        /// What is no folder.
        parent: String,
    },
    /// Symbolic links lead in a circle.
    #[error("The symbolic links on the way to it lead in a circle, or too far")]
    Loop,
    /// The layers below.
    #[error("Cannot look up what the layers below have")]
    Below(#[from] stack::Error),
    /// The target of a hard link is not there.
    #[error("It is a hard link to {target}, which neither this layer nor one below has")]
    LinkTarget {
        /// What it would be a link to.
        target: String,
    },
    /// The target of a hard link is a folder.
    #[error("It is a hard link to {target}, which is a folder")]
    LinkFolder {
        /// What it would be a link to.
        target: String,
    },
    /// A symbolic link with a target that Linux cannot have.
    #[error(
        "It is a symbolic link with an empty target, one longer than {} bytes, or with a NUL in it",
        node::MAX_TARGET
    )]
    Symlink,
    /// A device that overlayfs takes for a whiteout.
    #[error("It is a character device 0:0, which overlayfs takes for a whiteout")]
    WhiteoutDevice,
    /// A device whose number does not fit.
    #[error("Device {major}:{minor} is beyond what Linux can number")]
    Device {
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
    /// Too many files and folders.
    #[error("The layer has more than the {limit} files and folders allowed")]
    TooMany {
        /// The limit.
        limit: u64,
    },
    /// Too long names and attributes.
    #[error("The names and attributes of the layer take more than the {limit} bytes allowed")]
    TooMuch {
        /// The limit in bytes.
        limit: u64,
    },
}

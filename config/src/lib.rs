//! What the other crates agree on: folders, `coracle.toml`, the guest kernel's command line, and the wire
//! between host and guest.

pub mod cmdline;
pub mod file;
pub mod folders;
pub mod size;
pub mod stages;
pub mod trust;
pub mod wire;

pub use file::{File, Registries};
pub use folders::Folders;
pub use trust::Trust;

//! OCI images: names, digests, registries, the store on disk, layers as EROFS files, root file systems.
//!
//! The way of an image: [`name`] says what it is called, [`pull`] and [`load`] bring it in, [`layer`] turns each of
//! its layers into one EROFS file on the way, [`store`] keeps it, and [`rootfs`] mounts it for a container.

pub mod digest;
pub mod ingest;
pub mod layer;
pub mod load;
pub mod manifest;
pub mod name;
pub mod platform;
pub mod progress;
pub mod pull;
pub mod push;
pub mod registry;
pub mod rootfs;
pub mod save;
pub mod store;
pub mod trust;

pub use digest::Digest;
pub use load::load;
pub use manifest::ImageConfig;
pub use name::Reference;
pub use platform::Platform;
pub use progress::Progress;
pub use pull::pull;
pub use push::push;
pub use save::save;
pub use store::{Image, Store};

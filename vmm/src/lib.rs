//! The virtual machine monitor: [`run`] turns a [`Spec`] into a microVM and returns when it is gone.

mod boot;
mod bus;
mod console;
pub mod fs;
pub mod host;
mod interrupt;
pub mod jail;
pub mod layout;
mod machine;
mod memory;
mod ports;
mod spec;
mod vcpu;
mod virtio;

pub use machine::{Ended, Error, run};
pub use spec::{Exit, Share, Spec};

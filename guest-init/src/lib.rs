//! The parts of guest-init, PID 1 of every microVM: a library, so that each can be tested without a guest.

pub mod control;
pub mod kernel_log;
pub mod machine;
pub mod power;
pub mod process;
pub mod reap;
pub mod root;
pub mod stdio;
pub mod step;
pub mod supervise;
pub mod vsock;

#[cfg(test)]
mod testing;

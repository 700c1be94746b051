//! From an empty memory to a kernel that can be entered.

pub(crate) mod cpu;
pub(crate) mod elf;
pub(crate) mod initramfs;
pub(crate) mod mptable;
pub(crate) mod params;

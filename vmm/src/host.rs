//! Whether this host can run microVMs, found out before anything is created.

use std::fs;
use std::io;

use kvm_ioctls::{Cap, Kvm};

/// The only API version there has been since Linux 2.6.22 (Linux Documentation/virt/kvm/api.rst, section 4.1).
const API_VERSION: i32 = 12;

/// What the host lacks.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No KVM in the kernel, or its module is not loaded.
    #[error(
        "There is no /dev/kvm: hardware virtualisation is switched off in the firmware, or the kernel's kvm-intel or \
         kvm-amd module is not loaded"
    )]
    Missing,
    /// Not for this user, most likely.
    #[error("Cannot open /dev/kvm; run as root, or as a member of the group that owns it")]
    Open(#[source] io::Error),
    /// A /dev/kvm without a processor that has virtualisation behind it.
    #[error(
        "/dev/kvm is there, but this processor has neither VMX nor SVM (see flags in /proc/cpuinfo): it is a software \
         emulation, far too slow and too incomplete to run a container; use a machine with hardware virtualisation, \
         or switch on nested virtualisation in the machine this one runs on"
    )]
    Emulated,
    /// Too old or too odd.
    #[error("/dev/kvm speaks API version {0}, not 12; update the host's kernel")]
    Version(i32),
    /// A part of KVM we build on.
    #[error("This host's KVM lacks {0}; update the host's kernel")]
    Lacks(&'static str),
}

/// Opens KVM if it is one that can be used.
pub fn open() -> Result<Kvm, Error> {
    let flags = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let kvm = Kvm::new().map_err(|error| match error.errno() {
        libc::ENOENT | libc::ENODEV | libc::ENXIO => Error::Missing,
        errno => Error::Open(io::Error::from_raw_os_error(errno)),
    })?;
    if !has_virtualisation(&flags) {
        return Err(Error::Emulated);
    }
    let version = kvm.get_api_version();
    if version != API_VERSION {
        return Err(Error::Version(version));
    }
    let needed = [
        (Cap::Irqchip, "an interrupt controller in the kernel"),
        (Cap::UserMemory, "user-supplied memory"),
        (Cap::Irqfd, "irqfd"),
        (Cap::Ioeventfd, "ioeventfd"),
        (Cap::ImmediateExit, "immediate exit"),
        (Cap::ExtCpuid, "CPUID configuration"),
    ];
    match needed.into_iter().find(|(cap, _)| !kvm.check_extension(*cap)) {
        Some((_, what)) => Err(Error::Lacks(what)),
        None => Ok(kvm),
    }
}

/// Whether this host can run microVMs; costs one look at the first processor and one at /dev/kvm.
pub fn check() -> Result<(), Error> {
    open().map(drop)
}

/// Whether `cpuinfo`, the text of /proc/cpuinfo, shows a processor with VMX or SVM.
pub fn has_virtualisation(cpuinfo: &str) -> bool {
    cpuinfo
        .lines()
        .find(|line| line.starts_with("flags"))
        .is_some_and(|line| line.split_ascii_whitespace().any(|flag| flag == "vmx" || flag == "svm"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_flag_itself_counts() {
        assert!(has_virtualisation("processor\t: 0\nflags\t\t: fpu svm npt\n"));
        assert!(has_virtualisation("flags\t\t: fpu vmx\n"));
        assert!(!has_virtualisation("flags\t\t: fpu svm_lock vmxoff\nmodel name : svm\n"));
        assert!(!has_virtualisation(""));
    }
}

//! The kernel log, the only place a guest can speak before it has reached its host.

use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::OnceLock;

use nix::fcntl::{OFlag, open as open_file};
use nix::sys::stat::{Mode, SFlag, makedev, mknod, umask};
use nix::unistd::{dup, write as write_fd};

/// The initramfs holds nothing but guest-init, so the device is created where it is needed.
const PATH: &str = "/kmsg";
/// Longest record the kernel takes is 1024 bytes with its own prefix.
const LONGEST: usize = 960;
/// Facility kernel, level error: shown on the console even when the kernel is told to be quiet.
const PREFIX: &str = "<3>guest-init: ";

static LOG: OnceLock<OwnedFd> = OnceLock::new();

/// Opens the log once and for all, so that nothing a container does to `/dev` can silence it.
///
/// It also sees to it that file descriptors 0 to 2 are taken (the kernel opens them only if it has a console):
/// whatever is opened later can safely be put in their place for a container's process.
pub fn open() {
    // Modes given from here on are meant as they stand; a container's process gets its own mask.
    umask(Mode::empty());
    // An existing device, or none at all, shows in the next step.
    let _ = mknod(PATH, SFlag::S_IFCHR, Mode::from_bits_truncate(0o600), makedev(1, 11));
    let Ok(mut log) = open_file(PATH, OFlag::O_WRONLY | OFlag::O_CLOEXEC, Mode::empty()) else { return };
    while log.as_raw_fd() <= libc::STDERR_FILENO {
        let Ok(next) = dup(&log) else { return };
        // The lower one stays open for good: it stands in for a standard stream.
        std::mem::forget(std::mem::replace(&mut log, next));
    }
    close_on_exec(log.as_raw_fd());
    let _ = LOG.set(log);
}

/// Writes one message; there is nobody to tell if that fails.
pub fn write(message: &str) {
    let record = record(message);
    let _ = match LOG.get() {
        Some(log) => write_fd(log, &record),
        None => write_fd(std::io::stderr(), &record),
    };
}

/// `message` as the kernel takes it: one line, cut at the kernel's limit.
fn record(message: &str) -> Vec<u8> {
    let mut record = format!("{PREFIX}{message}").into_bytes();
    record.truncate(LONGEST);
    record.push(b'\n');
    record
}

/// `dup` gives a descriptor that outlives `exec`; the log must not.
fn close_on_exec(fd: RawFd) {
    // SAFETY: F_SETFD takes an integer and touches no memory.
    unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_starts_with_its_level_and_ends_its_line() {
        assert_eq!(record("no root"), b"<3>guest-init: no root\n");
    }

    #[test]
    fn a_record_fits_into_the_kernels_limit() {
        let record = record(&"x".repeat(5000));
        assert_eq!(record.len(), LONGEST + 1);
        assert_eq!(record.last(), Some(&b'\n'));
    }
}

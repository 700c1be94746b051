//! What the whole machine has one of: its clock, its name, its loopback interface.

use std::os::fd::AsRawFd;

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
use nix::sys::time::TimeSpec;
use nix::time::ClockId;

/// The paravirtual clock is usually right; one off by less than this (nanoseconds) is left alone, because the time
/// the message took is of the same order.
const CLOCK_TOLERANCE: u64 = 10_000_000;

nix::ioctl_write_ptr_bad!(
    /// Sets the flags of a network interface.
    ioctl_set_flags,
    libc::SIOCSIFFLAGS,
    libc::ifreq
);

/// Sets the clock to `realtime` (nanoseconds since 1970) if it is wrong; zero means that the host does not say.
pub fn set_clock(realtime: u64) -> Result<(), Errno> {
    if realtime == 0 || !is_off(nanoseconds(ClockId::CLOCK_REALTIME.now()?), realtime) {
        return Ok(());
    }
    let seconds = i64::try_from(realtime / 1_000_000_000).map_err(|_| Errno::EOVERFLOW)?;
    // A remainder below a thousand million fits any integer.
    let rest = (realtime % 1_000_000_000) as i64;
    ClockId::CLOCK_REALTIME.set_time(TimeSpec::new(seconds, rest))
}

fn nanoseconds(time: TimeSpec) -> u64 {
    let whole = time.tv_sec().saturating_mul(1_000_000_000).saturating_add(time.tv_nsec());
    u64::try_from(whole).unwrap_or(0)
}

fn is_off(clock: u64, realtime: u64) -> bool {
    clock.abs_diff(realtime) > CLOCK_TOLERANCE
}

/// Sets the host name, unless there is none to set.
pub fn set_hostname(name: &str) -> Result<(), Errno> {
    if name.is_empty() { Ok(()) } else { nix::unistd::sethostname(name) }
}

/// Brings up `lo`; the kernel gives it 127.0.0.1 and ::1.
pub fn bring_up_loopback() -> Result<(), Errno> {
    let socket = socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
    let mut name = [0; libc::IFNAMSIZ];
    for (to, from) in name.iter_mut().zip(b"lo") {
        *to = *from as libc::c_char;
    }
    let flags = (libc::IFF_UP | libc::IFF_RUNNING | libc::IFF_LOOPBACK) as libc::c_short;
    let request = libc::ifreq { ifr_name: name, ifr_ifru: libc::__c_anonymous_ifr_ifru { ifru_flags: flags } };
    // SAFETY: `request` is a complete ifreq with a terminated name, and outlives the call.
    unsafe { ioctl_set_flags(socket.as_raw_fd(), &raw const request) }?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sched::{CloneFlags, unshare};
    use std::net::UdpSocket;
    use std::thread;

    #[test]
    fn a_clock_that_is_a_little_off_is_left_alone() {
        assert!(!is_off(1_000_000_000, 1_000_000_000 + CLOCK_TOLERANCE));
        assert!(!is_off(1_000_000_000 + CLOCK_TOLERANCE, 1_000_000_000));
    }

    #[test]
    fn a_clock_that_is_far_off_is_noticed_in_both_directions() {
        assert!(is_off(0, u64::MAX));
        assert!(is_off(u64::MAX, 0));
    }

    #[test]
    fn a_host_that_does_not_say_the_time_changes_nothing() {
        assert_eq!(set_clock(0), Ok(()));
    }

    #[test]
    fn the_host_name_is_set() {
        let name = thread::spawn(|| {
            unshare(CloneFlags::CLONE_NEWUTS).unwrap();
            set_hostname("boat-1").unwrap();
            set_hostname("").unwrap();
            nix::unistd::gethostname().unwrap()
        });
        assert_eq!(name.join().unwrap(), "boat-1");
    }

    #[test]
    fn the_loopback_interface_carries_packets_once_it_is_up() {
        let both = thread::spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).unwrap();
            let before = UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.send_to(b"x", "127.0.0.1:9"));
            bring_up_loopback().unwrap();
            let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
            let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
            sender.send_to(b"boat", receiver.local_addr().unwrap()).unwrap();
            let mut text = [0; 8];
            (before.is_err(), receiver.recv(&mut text).unwrap())
        });
        assert_eq!(both.join().unwrap(), (true, 4));
    }
}

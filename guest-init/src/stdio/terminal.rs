//! A pseudo-terminal of the container's own devpts.

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::rc::Rc;

use config::wire::TerminalSize;
use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::mount::{MsFlags, mount};
use nix::sys::stat::Mode;
use nix::unistd::{Uid, fchown};

nix::ioctl_write_ptr_bad!(
    /// Locks (1) or unlocks (0) the slave.
    ioctl_set_lock,
    libc::TIOCSPTLCK,
    libc::c_int
);
nix::ioctl_write_int_bad!(
    /// Opens the slave, whatever is mounted where.
    ioctl_open_slave,
    libc::TIOCGPTPEER
);
nix::ioctl_read_bad!(
    /// The number of the slave in `/dev/pts`.
    ioctl_number,
    libc::TIOCGPTN,
    libc::c_uint
);
nix::ioctl_write_ptr_bad!(
    /// Sets the size, and signals it to the foreground process group.
    ioctl_set_size,
    libc::TIOCSWINSZ,
    libc::winsize
);

/// What was tried with a terminal.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Error(&'static str, #[source] Errno);

/// The master side of a terminal.
#[derive(Debug)]
pub struct Terminal {
    master: Rc<OwnedFd>,
}

impl Terminal {
    /// Opens a new terminal of `size` that belongs to `owner`: its master side, non-blocking, and its slave.
    pub fn open(size: TerminalSize, owner: Uid) -> Result<(Terminal, OwnedFd), Error> {
        let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
        let master = open("/dev/ptmx", flags | OFlag::O_NONBLOCK, Mode::empty());
        let master = master.map_err(|error| Error("Open /dev/ptmx", error))?;
        let unlocked = 0;
        // SAFETY: the lock is a valid integer that outlives the call.
        unsafe { ioctl_set_lock(master.as_raw_fd(), &raw const unlocked) }
            .map_err(|error| Error("Unlock it", error))?;
        // SAFETY: the argument is an integer.
        let slave = unsafe { ioctl_open_slave(master.as_raw_fd(), flags.bits()) };
        let slave = slave.map_err(|error| Error("Open its slave", error))?;
        // SAFETY: the kernel has just opened this descriptor, and nobody else knows it.
        let slave = unsafe { OwnedFd::from_raw_fd(slave) };
        if !owner.is_root() {
            fchown(&slave, Some(owner), None).map_err(|error| Error("Give it to its user", error))?;
        }
        let terminal = Terminal { master: Rc::new(master) };
        terminal.resize(size)?;
        Ok((terminal, slave))
    }

    /// The master side: what is written to it is typed, what is read from it is shown.
    pub fn master(&self) -> Rc<OwnedFd> {
        Rc::clone(&self.master)
    }

    /// Sets the size.
    pub fn resize(&self, size: TerminalSize) -> Result<(), Error> {
        let size = libc::winsize { ws_row: size.rows, ws_col: size.columns, ws_xpixel: 0, ws_ypixel: 0 };
        // SAFETY: `size` is a complete winsize that outlives the call.
        unsafe { ioctl_set_size(self.master.as_raw_fd(), &raw const size) }
            .map_err(|error| Error("Set its size", error))?;
        Ok(())
    }

    /// Makes it `/dev/console`, as programs expect of a container with a terminal.
    pub fn become_console(&self) -> Result<(), Error> {
        const CONSOLE: &str = "/dev/console";
        let mut number = 0;
        // SAFETY: `number` is a valid integer for the kernel to fill, and outlives the call.
        unsafe { ioctl_number(self.master.as_raw_fd(), &raw mut number) }
            .map_err(|error| Error("Ask its number", error))?;
        let flags = OFlag::O_CREAT | OFlag::O_WRONLY | OFlag::O_CLOEXEC;
        let place = open(CONSOLE, flags, Mode::from_bits_truncate(0o600));
        drop(place.map_err(|error| Error("Create /dev/console", error))?);
        let slave = format!("/dev/pts/{number}");
        mount(Some(slave.as_str()), CONSOLE, None::<&str>, MsFlags::MS_BIND, None::<&str>)
            .map_err(|error| Error("Mount it on /dev/console", error))
    }
}

#[cfg(test)]
#[path = "terminal_test.rs"]
mod tests;

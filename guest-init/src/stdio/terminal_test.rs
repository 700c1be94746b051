use super::*;
use crate::testing::with_own_mounts;
use std::fs;
use std::os::fd::AsFd;

use nix::sys::stat::fstat;
use nix::unistd::{read, ttyname, write};

const SIZE: TerminalSize = TerminalSize { rows: 24, columns: 80 };

nix::ioctl_read_bad!(ioctl_size, libc::TIOCGWINSZ, libc::winsize);

fn size_of_terminal(fd: impl AsFd) -> (u16, u16) {
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: `size` is a valid winsize for the kernel to fill, and outlives the call.
    unsafe { ioctl_size(fd.as_fd().as_raw_fd(), &raw mut size) }.unwrap();
    (size.ws_row, size.ws_col)
}

#[test]
fn a_terminal_has_its_size_and_takes_a_new_one() {
    let (terminal, slave) = Terminal::open(SIZE, Uid::from_raw(0)).unwrap();
    assert_eq!(size_of_terminal(&slave), (24, 80));
    terminal.resize(TerminalSize { rows: 50, columns: 132 }).unwrap();
    assert_eq!(size_of_terminal(&slave), (50, 132));
}

#[test]
fn a_terminal_belongs_to_its_user() {
    let (_terminal, slave) = Terminal::open(SIZE, Uid::from_raw(1234)).unwrap();
    assert_eq!(fstat(&slave).unwrap().st_uid, 1234);
}

#[test]
fn what_is_typed_is_read_and_what_is_written_is_shown() {
    let (terminal, slave) = Terminal::open(SIZE, Uid::from_raw(0)).unwrap();
    let mut text = [0; 32];
    write(&slave, b"shown").unwrap();
    assert_eq!(read(&*terminal.master(), &mut text).unwrap(), 5);
    write(&*terminal.master(), b"typed\n").unwrap();
    assert_eq!(read(&slave, &mut text).unwrap(), 6);
    assert_eq!(&text[..6], b"typed\n");
}

#[test]
fn the_console_is_the_terminal() {
    let folder = tempfile::TempDir::new_in("/dev/shm").unwrap();
    with_own_mounts(|| {
        nix::unistd::chroot(folder.path()).unwrap();
        nix::unistd::chdir("/").unwrap();
        for place in ["/proc", "/sys", "/dev"] {
            fs::create_dir(place).unwrap();
        }
        crate::root::kernel_mounts::mount().unwrap();
        let (terminal, slave) = Terminal::open(SIZE, Uid::from_raw(0)).unwrap();
        terminal.become_console().unwrap();
        assert_eq!(ttyname(&slave).unwrap().to_str(), Some("/dev/pts/0"));
        let console = fs::File::options().write(true).open("/dev/console").unwrap();
        write(&console, b"boat").unwrap();
        assert_eq!(read(&*terminal.master(), &mut [0; 32]).unwrap(), 4);
    });
}

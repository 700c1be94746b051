//! A container's terminal on a terminal of the host.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says what is wrong by panicking")]

mod lab;

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::process::{Child, Stdio};

use lab::{read_until, signal};
use nix::pty::{OpenptyResult, Winsize, openpty};
use nix::sys::signal::Signal;
use nix::sys::termios::{LocalFlags, tcgetattr};

nix::ioctl_write_ptr_bad!(
    /// Sets the size of a terminal.
    set_window_size,
    libc::TIOCSWINSZ,
    Winsize
);

struct Session {
    keyboard: File,
    screen: File,
    terminal: File,
    child: Child,
}

fn session(arguments: &[&str]) -> Session {
    let size = Winsize { ws_row: 30, ws_col: 90, ws_xpixel: 0, ws_ypixel: 0 };
    let OpenptyResult { master, slave } = openpty(&size, None).unwrap();
    let terminal = File::from(slave);
    let end = || Stdio::from(terminal.try_clone().unwrap());
    let child = lab::command(&[&["run", "--rm", "-it"], arguments].concat())
        .stdin(end())
        .stdout(end())
        .stderr(end())
        .spawn()
        .unwrap();
    let keyboard = File::from(master);
    let screen = keyboard.try_clone().unwrap();
    Session { keyboard, screen, terminal, child }
}

#[test]
fn a_shell_is_used_as_on_any_terminal() {
    let Session { mut keyboard, mut screen, terminal, mut child } = session(&["busybox", "sh"]);
    let before = tcgetattr(&terminal).unwrap();
    read_until(&mut screen, "# ");
    let raw = tcgetattr(&terminal).unwrap();
    assert!(!raw.local_flags.intersects(LocalFlags::ICANON | LocalFlags::ECHO));

    keyboard.write_all(b"stty size; echo $TERM\r").unwrap();
    read_until(&mut screen, "30 90\r\n");
    read_until(&mut screen, "xterm\r\n");

    let size = Winsize { ws_row: 40, ws_col: 120, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: the descriptor is a terminal's, and `size` outlives the call.
    unsafe { set_window_size(keyboard.as_raw_fd(), &raw const size) }.unwrap();
    signal(&child, Signal::SIGWINCH);
    keyboard.write_all(b"while [ \"$(stty size)\" != '40 120' ]; do :; done; echo res''ized\r").unwrap();
    read_until(&mut screen, "resized\r\n");

    // Ctrl-C goes to whoever has the terminal: only what the job itself says shows that it does.
    keyboard.write_all(b"(echo sleep''ing; exec sleep 1000)\r").unwrap();
    read_until(&mut screen, "sleeping\r\n");
    keyboard.write_all(b"\x03").unwrap();
    read_until(&mut screen, "# ");
    keyboard.write_all(b"echo code $?; exit 5\r").unwrap();
    read_until(&mut screen, "code 130\r\n");
    assert_eq!(child.wait().unwrap().code(), Some(5));
    let after = tcgetattr(&terminal).unwrap();
    assert_eq!(after.local_flags, before.local_flags);
    assert_eq!(after.input_flags, before.input_flags);
    assert_eq!(after.output_flags, before.output_flags);
}

#[test]
fn a_command_line_that_is_told_to_end_restores_the_terminal() {
    let Session { mut screen, terminal, mut child, keyboard: _keyboard } =
        session(&["--name", "left", "busybox", "sh", "-c", "echo up; sleep 1000"]);
    let before = tcgetattr(&terminal).unwrap();
    read_until(&mut screen, "up\r\n");
    signal(&child, Signal::SIGTERM);
    assert_eq!(child.wait().unwrap().code(), Some(143));
    let after = tcgetattr(&terminal).unwrap();
    assert_eq!(after.local_flags, before.local_flags);
    assert_eq!(lab::good(&["rm", "-f", "left"]), "left");
}

#[test]
fn an_error_is_shown_on_a_terminal_that_is_not_raw() {
    let Session { mut screen, terminal, mut child, keyboard: _keyboard } = session(&["busybox", "no-such-command"]);
    assert_eq!(child.wait().unwrap().code(), Some(127));
    drop(terminal);
    let mut text = Vec::new();
    let _ = screen.read_to_end(&mut text);
    let text = String::from_utf8_lossy(&text).into_owned();
    assert!(text.contains("no-such-command") && text.ends_with("\r\n"), "{text:?}");
}

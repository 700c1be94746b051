//! Our own terminal: its size, and raw mode for as long as a container's terminal is shown on it.

use std::io::{self, IsTerminal};
use std::mem;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::{Mutex, PoisonError};

use config::wire::TerminalSize;
use nix::sys::termios::{SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr};

nix::ioctl_read_bad!(
    /// The size of a terminal.
    get_window_size,
    libc::TIOCGWINSZ,
    libc::winsize
);

/// How the terminal was before it was made raw, as long as it is.
static BEFORE: Mutex<Option<libc::termios>> = Mutex::new(None);

/// What a terminal has that nobody knows the size of.
const DEFAULT_SIZE: TerminalSize = TerminalSize { rows: 24, columns: 80 };

/// Raw mode: every key goes to the container. Ends when this is dropped, and also when the program panics.
#[derive(Debug)]
pub(crate) struct Raw(());

impl Raw {
    /// Makes the terminal on standard input raw.
    pub(crate) fn enter() -> io::Result<Raw> {
        let stdin = io::stdin();
        let mut mode = tcgetattr(&stdin)?;
        *BEFORE.lock().unwrap_or_else(PoisonError::into_inner) = Some(mode.clone().into());
        let hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            restore();
            hook(panic);
        }));
        cfmakeraw(&mut mode);
        tcsetattr(&stdin, SetArg::TCSANOW, &mode)?;
        Ok(Raw(()))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        restore();
    }
}

fn restore() {
    if let Some(before) = BEFORE.lock().unwrap_or_else(PoisonError::into_inner).take() {
        // A terminal that is gone needs no restoring.
        let _ = tcsetattr(io::stdin(), SetArg::TCSADRAIN, &Termios::from(before));
    }
}

/// Whether standard input is a terminal.
pub(crate) fn is_on_stdin() -> bool {
    io::stdin().is_terminal()
}

/// The size of our terminal: that of standard output, or of standard input if that is none.
pub(crate) fn size() -> TerminalSize {
    size_of(&io::stdout()).or_else(|| size_of(&io::stdin())).unwrap_or(DEFAULT_SIZE)
}

fn size_of(terminal: &impl AsFd) -> Option<TerminalSize> {
    // SAFETY: a winsize is four integers, for which zero is a value.
    let mut size: libc::winsize = unsafe { mem::zeroed() };
    // SAFETY: `size` is a valid winsize for the kernel to fill, and outlives the call.
    unsafe { get_window_size(terminal.as_fd().as_raw_fd(), &raw mut size) }.ok()?;
    Some(TerminalSize { rows: size.ws_row, columns: size.ws_col }).filter(|size| size.rows > 0 && size.columns > 0)
}

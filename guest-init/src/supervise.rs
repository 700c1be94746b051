//! What PID 1 does while the container's process runs: carry its streams, pass on signals, collect the dead.

use std::os::fd::AsFd;

use config::wire::{ExitStatus, MAIN_PROCESS, ToGuest};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::Pid;

use crate::control::{self, Control};
use crate::reap::{self, Children};
use crate::stdio::Stdio;
use crate::stdio::relay::{CHUNK, Direction, Relay};
use crate::stdio::terminal::Terminal;

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The process ended, nothing else runs, and all output is with the host.
    Exited(ExitStatus),
    /// The host hung up; everything was killed.
    HostGone,
}

/// What PID 1 cannot live without.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Waiting for events.
    #[error("Wait for something to happen")]
    Poll(#[source] Errno),
    /// Collecting ended processes.
    #[error("Collect ended processes")]
    Reap(#[source] Errno),
    /// The control connection brought nonsense.
    #[error("Hear from the host")]
    Control(#[source] control::Error),
}

/// Looks after process `pid`, whose streams are `stdio`, until it has ended and everything it wrote is with the host.
///
/// When it ends, whatever else runs is killed, so that every pipe comes to its end.
pub fn supervise(control: &mut Control, children: &Children, pid: Pid, stdio: Stdio) -> Result<End, Error> {
    let Stdio { child, relays, terminal } = stdio;
    // Of pipes only the process holds the other ends now. A terminal is kept open: it must not seem closed while the
    // process merely has none of its descriptors open.
    let slave = terminal.is_some().then_some(child);
    let watched = Watched { pid, status: None, none_left: false, slave, terminal, relays };
    watch(control, children, watched).inspect_err(|_| reap::kill_all())
}

/// The process and what belongs to it.
struct Watched {
    pid: Pid,
    status: Option<ExitStatus>,
    none_left: bool,
    slave: Option<[std::os::fd::OwnedFd; 3]>,
    terminal: Option<Terminal>,
    relays: Vec<Relay>,
}

fn watch(control: &mut Control, children: &Children, mut watched: Watched) -> Result<End, Error> {
    let mut buffer = vec![0; CHUNK].into_boxed_slice();
    let mut events = Vec::new();
    loop {
        if let (Some(status), true, true) = (watched.status, watched.none_left, watched.relays.is_empty()) {
            return Ok(End::Exited(status));
        }
        wait(control, children, &watched.relays, &mut events)?;
        let mut events = events.drain(..);
        let mut happened = || !events.next().unwrap_or(PollFlags::empty()).is_empty();
        let (from_host, from_children) = (happened(), happened());
        for relay in &mut watched.relays {
            relay.advance(&mut events, &mut buffer);
        }
        watched.forget_finished_relays();
        if from_children {
            watched.reap(children)?;
        }
        if from_host {
            match control.receive().map_err(Error::Control)? {
                Some(message) => watched.obey(&message),
                None => {
                    reap::kill_all();
                    return Ok(End::HostGone);
                }
            }
        }
    }
}

/// Waits until something happens, and leaves in `events` what: the control connection, the children, each relay's own.
fn wait(control: &Control, children: &Children, relays: &[Relay], events: &mut Vec<PollFlags>) -> Result<(), Error> {
    let mut set = Vec::with_capacity(2 + 2 * relays.len());
    set.push(PollFd::new(control.as_fd(), PollFlags::POLLIN));
    set.push(PollFd::new(children.as_fd(), PollFlags::POLLIN));
    relays.iter().for_each(|relay| relay.wait_for(&mut set));
    match poll(&mut set, PollTimeout::NONE) {
        Ok(_) | Err(Errno::EINTR) => {}
        Err(error) => return Err(Error::Poll(error)),
    }
    events.clear();
    events.extend(set.iter().map(|entry| entry.revents().unwrap_or(PollFlags::empty())));
    Ok(())
}

impl Watched {
    fn forget_finished_relays(&mut self) {
        self.relays.retain(|relay| !relay.is_done());
        let shown = self.relays.iter().any(|relay| relay.direction() == Direction::ToHost);
        if self.terminal.is_some() && !shown {
            // The host has closed the terminal: it hangs up, as the kernel does when the last descriptor goes.
            self.relays.clear();
            self.terminal = None;
            self.slave = None;
        }
    }

    fn reap(&mut self, children: &Children) -> Result<(), Error> {
        let reaped = children.reap(self.pid).map_err(Error::Reap)?;
        self.none_left = reaped.none_left;
        if reaped.status.is_some() {
            self.status = reaped.status;
            // Nobody is left to read input, and the terminal closes with the last process that has it open.
            self.relays.retain(|relay| relay.direction() == Direction::ToHost);
            self.slave = None;
            if !self.none_left {
                reap::kill_all();
            }
        }
        Ok(())
    }

    fn obey(&mut self, message: &ToGuest) {
        match *message {
            // Once it has ended, its number may be another's.
            ToGuest::Signal { process: MAIN_PROCESS, signal } if self.status.is_none() => {
                reap::signal(self.pid, signal);
            }
            ToGuest::Resize { process: MAIN_PROCESS, size } => {
                if let Some(terminal) = &self.terminal {
                    // A size that cannot be set leaves the old one.
                    let _ = terminal.resize(size);
                }
            }
            ToGuest::Start(_) | ToGuest::Signal { .. } | ToGuest::Resize { .. } => {}
        }
    }
}

#[cfg(test)]
#[path = "supervise_test.rs"]
mod tests;

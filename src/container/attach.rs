//! The command line's side of a container in the foreground: our standard streams and signals are the container's.

mod pump;

use std::io;
use std::os::fd::AsFd;

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use self::pump::Pump;
use super::control::{Client, Reply, Request};
use super::start::Local;
use super::terminal;

/// Signals that are the container's while it is in the foreground.
const PROXIED: [Signal; 6] =
    [Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGTERM, Signal::SIGUSR1, Signal::SIGUSR2];

/// How a container in the foreground ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// The monitor's last word.
    Reply(Reply),
    /// The monitor went away without one.
    MonitorGone,
    /// A signal told us, not the container, to end.
    Told(Signal),
}

/// Keeps the signals that are the container's until [`run`] passes them on. Taken before the container is started, so
/// that none is lost.
pub(crate) fn hold_signals() -> Result<SignalFd> {
    let mut mask: SigSet = PROXIED.into_iter().collect();
    mask.add(Signal::SIGWINCH);
    sigprocmask(SigmaskHow::SIG_BLOCK, Some(&mask), None).context("Cannot hold signals back")?;
    SignalFd::with_flags(&mask, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK).context("Cannot receive signals")
}

/// Relays until the container is over and all it wrote has been passed on. `has_terminal`: the container has a terminal
/// of its own, so keys and not signals are what interrupts it.
pub(crate) fn run(client: &Client, streams: Local, signals: &SignalFd, has_terminal: bool) -> Result<Ended> {
    let Local { stdin, stdout, stderr } = streams;
    let (our_stdin, our_stdout, our_stderr) = (io::stdin(), io::stdout(), io::stderr());
    let mut session = Session {
        client,
        signals,
        has_terminal,
        input: stdin.map(|to| Pump::into_socket(our_stdin.as_fd(), to)),
        outputs: [
            stdout.map(|from| Pump::from_socket(from, our_stdout.as_fd())),
            stderr.map(|from| Pump::from_socket(from, our_stderr.as_fd())),
        ],
        end: None,
        told: None,
    };
    loop {
        if let Some(signal) = session.told {
            return Ok(Ended::Told(signal));
        }
        if let Some(end) = session.end.take_if(|_| session.outputs.iter().all(Option::is_none)) {
            return Ok(end);
        }
        session.turn()?;
    }
}

struct Session<'a> {
    client: &'a Client,
    signals: &'a SignalFd,
    has_terminal: bool,
    input: Option<Pump<'a>>,
    outputs: [Option<Pump<'a>>; 2],
    end: Option<Ended>,
    told: Option<Signal>,
}

#[derive(Clone, Copy)]
enum Ready {
    Signal,
    Client,
    Input,
    Output(usize),
}

impl Session<'_> {
    fn turn(&mut self) -> Result<()> {
        for ready in self.wait()? {
            match ready {
                Ready::Signal => self.take_signal()?,
                Ready::Client => self.hear()?,
                Ready::Input => {
                    // An end of either side ends the relaying of input, and nothing else.
                    self.input.take_if(|pump| !pump.turn().unwrap_or(false));
                }
                Ready::Output(number) => self.relay_output(number)?,
            }
        }
        Ok(())
    }

    fn wait(&self) -> Result<Vec<Ready>> {
        let mut what = Vec::with_capacity(5);
        let mut fds = Vec::with_capacity(5);
        let mut watch = |ready, (fd, flags)| {
            what.push(ready);
            fds.push(PollFd::new(fd, flags));
        };
        watch(Ready::Signal, (self.signals.as_fd(), PollFlags::POLLIN));
        if self.end.is_none() {
            watch(Ready::Client, (self.client.as_fd(), PollFlags::POLLIN));
            self.input.iter().for_each(|pump| watch(Ready::Input, pump.interest()));
        }
        for (number, pump) in self.outputs.iter().enumerate() {
            pump.iter().for_each(|pump| watch(Ready::Output(number), pump.interest()));
        }
        match poll(&mut fds, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error).context("Cannot wait for the container"),
        }
        let is_ready = |fd: &PollFd| fd.revents().is_some_and(|flags| !flags.is_empty());
        Ok(what.into_iter().zip(&fds).filter(|(_, fd)| is_ready(fd)).map(|(what, _)| what).collect())
    }

    fn relay_output(&mut self, number: usize) -> Result<()> {
        let Some(output) = self.outputs.get_mut(number) else { return Ok(()) };
        match output.as_mut().map(Pump::turn) {
            Some(Ok(true)) | None => {}
            Some(Ok(false)) => *output = None,
            Some(Err(Errno::EPIPE)) => {
                // Whoever read our output has gone away, which is a SIGPIPE for the one who writes it.
                *output = None;
                if !self.has_terminal {
                    self.ask(&Request::Signal(Signal::SIGPIPE as i32))?;
                }
            }
            Some(Err(error)) => return Err(error).context("Cannot write what the container wrote"),
        }
        Ok(())
    }

    fn take_signal(&mut self) -> Result<()> {
        let Ok(Some(taken)) = self.signals.read_signal() else { return Ok(()) };
        let number = i32::try_from(taken.ssi_signo).unwrap_or_default();
        match Signal::try_from(number) {
            Ok(Signal::SIGWINCH) if self.has_terminal => self.ask(&Request::Resize(terminal::size())),
            Ok(Signal::SIGWINCH) | Err(_) => Ok(()),
            Ok(signal) if self.has_terminal => {
                self.told = Some(signal);
                Ok(())
            }
            Ok(_) => self.ask(&Request::Signal(number)),
        }
    }

    fn hear(&mut self) -> Result<()> {
        match self.client.reply()? {
            None => self.end = Some(Ended::MonitorGone),
            Some(reply @ (Reply::Exited { .. } | Reply::Failed { .. })) => self.end = Some(Ended::Reply(reply)),
            Some(Reply::Started | Reply::Done) => {}
        }
        Ok(())
    }

    fn ask(&self, request: &Request) -> Result<()> {
        if self.end.is_none() { self.client.tell(request) } else { Ok(()) }
    }
}

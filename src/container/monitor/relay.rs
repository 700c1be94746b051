//! The middle of a monitor's life: one loop between the guest, its VMM, and everybody who is attached.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::process::ExitStatus as VmmStatus;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use config::stages;
use config::wire::{
    CONTROL_PORT, ExitStatus, MAIN_PROCESS, Mount, Start, StartError, Stream, ToGuest, ToHost, parse_stream_port,
};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::signal::Signal;
use nix::sys::signalfd::SignalFd;
use nix::sys::socket::MsgFlags;

use super::alarms::{Alarm, Alarms, BOOT, DEATH, LAST_OUTPUT, POWER_OFF};
use super::clients::Clients;
use super::guest::Guest;
use super::input::Input;
use super::output::Output;
use super::vmm::{self, Vmm};
use crate::container::control::{Outcome, Reply, Request};
use crate::container::record::Record;
use crate::container::{catalogue, log, packet};

/// Seconds between the stop signal and SIGKILL when the host itself is shutting down.
const HOST_GRACE: u64 = 10;

/// What the loop needs.
pub(super) struct Relay<'a> {
    pub(super) record: &'a Record,
    pub(super) vmm: Vmm,
    pub(super) broker: OwnedFd,
    pub(super) clients: Clients,
    /// SIGTERM to the monitor, which is how a host that shuts down speaks to it.
    pub(super) signals: SignalFd,
    pub(super) input: Input,
    pub(super) outputs: Outputs,
    pub(super) log: log::Writer,
}

/// Standard output (or the terminal) and standard error.
pub(super) type Outputs = [Output; 2];

/// How a container ended.
#[derive(Debug)]
pub(super) struct End {
    /// Whether its process ever ran.
    pub(super) started: bool,
    /// The exit code.
    pub(super) code: u8,
    /// What went wrong, if it was not the process itself.
    pub(super) error: String,
}

/// What there is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ready {
    Broker,
    Vmm,
    Signal,
    Guest,
    Output(usize),
    Reader(usize),
    Writer,
    Input,
    Listener,
    Client(usize),
}

/// The loop's own state.
struct Loop<'a> {
    relay: Relay<'a>,
    on_start: &'a mut dyn FnMut() -> Result<()>,
    guest: Guest,
    alarms: Alarms,
    broker_open: bool,
    /// The guest has switched itself off in good order; what it wrote last may still be on its way.
    guest_off: bool,
    vmm_gone: bool,
    started: bool,
    /// Somebody asked for SIGKILL.
    killed: bool,
    /// What the guest said of the end of its process.
    end: Option<Result<ExitStatus, StartError>>,
    /// What went wrong on our side.
    error: Option<String>,
}

impl<'a> Relay<'a> {
    /// Runs until the VMM is gone and everything it left has been passed on. `on_start` is called when the
    /// container's process runs, before anybody is told.
    pub(super) fn run(self, on_start: &'a mut dyn FnMut() -> Result<()>) -> (End, Clients) {
        let mut this = Loop {
            relay: self,
            on_start,
            guest: Guest::default(),
            alarms: Alarms::default(),
            broker_open: true,
            guest_off: false,
            vmm_gone: false,
            started: false,
            killed: false,
            end: None,
            error: None,
        };
        this.alarms.set(BOOT, Alarm::Boot);
        while !this.is_finished() {
            if let Err(error) = this.turn() {
                // What the guest says after this does not count.
                this.guest.close();
                this.error.get_or_insert(format!("{error:#}"));
                this.cut_power();
            }
        }
        this.finish()
    }
}

impl Loop<'_> {
    fn is_finished(&self) -> bool {
        let heard = !self.broker_open && self.guest.interest().is_none();
        let nothing_more = self.guest_off || (self.vmm_gone && heard);
        nothing_more && self.relay.outputs.iter().all(Output::is_finished)
    }

    /// Waits until there is something to do, and does it.
    fn turn(&mut self) -> Result<()> {
        let ready = self.wait()?;
        self.ring();
        let mut left = Vec::new();
        for ready in ready {
            match ready {
                Ready::Broker => self.accept_connections(),
                Ready::Vmm => self.hear_vmm()?,
                Ready::Signal => {
                    if let Ok(Some(_)) = self.relay.signals.read_signal() {
                        self.stop(HOST_GRACE)?;
                    }
                }
                Ready::Guest => self.hear_guest()?,
                Ready::Output(number) => {
                    if let Some(output) = self.relay.outputs.get_mut(number) {
                        output.fill(&mut self.relay.log);
                    }
                }
                Ready::Reader(number) => self.relay.outputs.get_mut(number).into_iter().for_each(Output::drain),
                Ready::Writer => self.relay.input.fill(),
                Ready::Input => self.relay.input.drain(),
                Ready::Listener => self.relay.clients.accept(),
                Ready::Client(number) => match self.relay.clients.hear(number) {
                    Ok(Some(request)) => self.serve(number, request)?,
                    Ok(None) => {}
                    Err(_) => left.push(number),
                },
            }
        }
        self.relay.clients.leave(left.into_iter());
        Ok(())
    }

    /// Waits until one of all descriptors is ready or an alarm is due.
    fn wait(&self) -> Result<Vec<Ready>> {
        let Relay { vmm, broker, clients, signals, input, outputs, .. } = &self.relay;
        let mut what = Vec::with_capacity(16);
        let mut fds = Vec::with_capacity(16);
        let mut watch = |ready, fd, flags| {
            what.push(ready);
            fds.push(PollFd::new(fd, flags));
        };
        if self.broker_open {
            watch(Ready::Broker, broker.as_fd(), PollFlags::POLLIN);
        }
        if let Some((socket, sending)) = self.guest.interest() {
            let flags = if sending { PollFlags::POLLIN | PollFlags::POLLOUT } else { PollFlags::POLLIN };
            watch(Ready::Guest, socket, flags);
        }
        for (number, output) in outputs.iter().enumerate() {
            if let Some(source) = output.readable() {
                watch(Ready::Output(number), source, PollFlags::POLLIN);
            }
            output.writable().for_each(|reader| watch(Ready::Reader(number), reader, PollFlags::POLLOUT));
        }
        input.readable().for_each(|writer| watch(Ready::Writer, writer, PollFlags::POLLIN));
        if let Some(target) = input.writable() {
            watch(Ready::Input, target, PollFlags::POLLOUT);
        }
        if !self.vmm_gone {
            watch(Ready::Vmm, vmm.socket(), PollFlags::POLLIN);
        }
        watch(Ready::Signal, signals.as_fd(), PollFlags::POLLIN);
        clients.listener().into_iter().for_each(|listener| watch(Ready::Listener, listener, PollFlags::POLLIN));
        for (number, client) in clients.sockets().enumerate() {
            watch(Ready::Client(number), client, PollFlags::POLLIN);
        }
        match poll(&mut fds, self.alarms.timeout()) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error).context("Cannot wait for the guest"),
        }
        let is_ready = |fd: &PollFd| fd.revents().is_some_and(|flags| !flags.is_empty());
        Ok(what.into_iter().zip(&fds).filter(|(_, fd)| is_ready(fd)).map(|(what, _)| what).collect())
    }

    /// Does what is due.
    fn ring(&mut self) {
        for alarm in self.alarms.due() {
            match alarm {
                Alarm::Boot => {
                    self.error.get_or_insert(format!("The guest did not come up within {} s", BOOT.as_secs()));
                    self.cut_power();
                }
                // A guest that takes no messages is one to cut the power of.
                Alarm::Kill => self.signal(Signal::SIGKILL as i32).unwrap_or_else(|_| self.cut_power()),
                Alarm::LetGo => self.relay.outputs.iter_mut().for_each(Output::let_go),
                // While somebody who is attached takes his time, it is not the guest's fault.
                Alarm::PowerOff if self.relay.outputs.iter().any(Output::is_busy) => {
                    self.alarms.set(POWER_OFF, Alarm::PowerOff);
                }
                Alarm::PowerOff | Alarm::CutPower => self.cut_power(),
            }
        }
    }

    /// Ends the guest at once.
    fn cut_power(&mut self) {
        self.relay.vmm.kill();
        self.relay.outputs.iter_mut().for_each(Output::let_go);
    }

    /// The VMM says how its guest ended, or is gone. Whatever the guest itself said before is heard first.
    fn hear_vmm(&mut self) -> Result<()> {
        let shutdown = match self.relay.vmm.hear() {
            None => {
                self.vmm_gone = true;
                return Ok(());
            }
            Some(outcome) => *outcome == Outcome::Shutdown,
        };
        self.accept_connections();
        self.hear_guest()?;
        self.guest_off = shutdown && self.end.is_some();
        if !self.guest_off {
            // A guest that broke down has nothing more to say.
            self.relay.vmm.kill();
        }
        Ok(())
    }

    /// The guest has made connections. All are taken at once: what comes over another one may tell of the end of these.
    fn accept_connections(&mut self) {
        while self.broker_open {
            let mut port = [0; 4];
            match packet::receive_bytes(self.relay.broker.as_fd(), &mut port, MsgFlags::MSG_DONTWAIT) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Ok((0, _)) | Err(_) => self.broker_open = false,
                Ok((length, fds)) => {
                    if let (true, Some(socket)) = (length == port.len(), fds.into_iter().next()) {
                        self.accept_connection(u32::from_le_bytes(port), socket);
                    }
                }
            }
        }
    }

    /// The port decides what a connection carries. One that nobody expects is closed again.
    fn accept_connection(&mut self, port: u32, socket: OwnedFd) {
        if port == CONTROL_PORT {
            return self.guest.connected(socket);
        }
        let Some((MAIN_PROCESS, stream)) = parse_stream_port(port) else { return };
        let [stdout, stderr] = &mut self.relay.outputs;
        match stream {
            Stream::Stdin => self.relay.input.connected(socket),
            Stream::Stdout | Stream::Stderr => {
                let output = if stream == Stream::Stdout { stdout } else { stderr };
                if output.stream() == stream {
                    output.connected(socket);
                }
            }
            Stream::Terminal if stdout.stream() == Stream::Terminal => {
                if let Ok(copy) = socket.try_clone() {
                    self.relay.input.connected(copy);
                }
                stdout.connected(socket);
            }
            Stream::Terminal => {}
        }
    }

    fn hear_guest(&mut self) -> Result<()> {
        self.guest.write()?;
        for message in self.guest.read()? {
            match message {
                ToHost::Ready { .. } => {
                    stages::mark("guest-ready");
                    self.guest.start(Box::new(start(self.relay.record)))?;
                }
                ToHost::Started { process: MAIN_PROCESS } if !self.started => {
                    stages::mark("started");
                    self.started = true;
                    self.alarms.retain(|alarm| alarm != Alarm::Boot);
                    (self.on_start)()?;
                    self.relay.clients.tell(&Reply::Started);
                }
                ToHost::NotStarted { process: MAIN_PROCESS, error } if !self.started => self.ended(Err(error)),
                ToHost::Exited { process: MAIN_PROCESS, status } if self.started => self.ended(Ok(status)),
                other => bail!("The guest broke the protocol: {other:?} was not expected"),
            }
        }
        Ok(())
    }

    /// The guest has said how its process ended; it now switches itself off.
    fn ended(&mut self, end: Result<ExitStatus, StartError>) {
        stages::mark("exited");
        self.end.get_or_insert(end);
        self.guest.close();
        self.relay.input.close();
        // Whoever asked for the end in good time does not wait for a reader who does not read.
        self.alarms.retain(|alarm| matches!(alarm, Alarm::Kill | Alarm::LetGo));
        self.alarms.set(POWER_OFF, Alarm::PowerOff);
    }

    fn serve(&mut self, number: usize, request: Request) -> Result<()> {
        match request {
            Request::Signal(signal) => self.signal(signal)?,
            Request::Stop { grace } => self.stop(grace)?,
            Request::Resize(size) => {
                return self.guest.send(&ToGuest::Resize { process: MAIN_PROCESS, size });
            }
        }
        self.relay.clients.answer(number, &Reply::Done);
        Ok(())
    }

    fn signal(&mut self, signal: i32) -> Result<()> {
        let kill = signal == Signal::SIGKILL as i32;
        if kill {
            self.alarms.set(LAST_OUTPUT, Alarm::LetGo);
        }
        if self.end.is_some() {
            return Ok(());
        }
        if kill {
            self.killed = true;
            if !self.started {
                self.cut_power();
                return Ok(());
            }
            self.alarms.set(DEATH, Alarm::CutPower);
        }
        self.guest.send(&ToGuest::Signal { process: MAIN_PROCESS, signal })
    }

    fn stop(&mut self, grace: u64) -> Result<()> {
        self.signal(self.relay.record.stop_signal)?;
        self.alarms.set(Duration::from_secs(grace), Alarm::Kill);
        Ok(())
    }

    fn finish(self) -> (End, Clients) {
        let Relay { mut vmm, clients, mut log, record, .. } = self.relay;
        // A full disk is no reason to report another end.
        let _ = log.finish();
        // Taking a machine apart costs KVM tens of milliseconds. Where nobody can come across what the VMM still has
        // open, it is not waited for: it goes with us.
        let harmless = self.guest_off && record.remove && record.volumes.is_empty();
        let vmm_end = if harmless {
            Ok((Some(Outcome::Shutdown), VmmStatus::default()))
        } else {
            vmm.kill();
            vmm.end()
        };
        let (code, error) = match (self.end, self.error) {
            (Some(Ok(status)), _) => (status.code(), String::new()),
            (Some(Err(error)), _) => (error.kind.code(), error.message),
            (None, Some(error)) => (failed(self.started), error),
            (None, None) if self.killed => (catalogue::KILLED, String::new()),
            (None, None) => (failed(self.started), unexplained(vmm_end, self.started, &record.name)),
        };
        let started = self.started || (self.killed && code == catalogue::KILLED);
        (End { started, code, error }, clients)
    }
}

/// The exit code of a container that did not end by its process: a process that ran is gone as if it had been killed.
fn failed(started: bool) -> u8 {
    if started { catalogue::KILLED } else { crate::cli::FAILED }
}

/// Why a guest ended without saying how its process did.
fn unexplained(end: io::Result<(Option<Outcome>, VmmStatus)>, started: bool, name: &str) -> String {
    match end {
        Ok((Some(Outcome::Broken(what) | Outcome::Failed(what)), _)) => what,
        Ok((Some(Outcome::Shutdown), _)) if started => "The guest switched itself off".to_owned(),
        Ok((Some(Outcome::Shutdown), _)) => {
            format!("The guest ended before its process was started; see what it said: coracle logs --kernel {name}")
        }
        Ok((None, status)) => vmm::describe(status),
        Err(error) => format!("The VMM ended, and it is not known how: {error}"),
    }
}

/// What the guest is to become.
fn start(record: &Record) -> Start {
    let volumes = record.volumes.iter().enumerate();
    let mounts = volumes.map(|(number, volume)| Mount {
        source: vmm::entry(number),
        target: volume.target.clone(),
        read_only: volume.read_only,
    });
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Start {
        hostname: record.hostname.clone(),
        realtime_ns: u64::try_from(now.as_nanos()).unwrap_or_default(),
        mounts: mounts.collect(),
        process: record.process.clone(),
    }
}

#[cfg(test)]
#[path = "relay_test.rs"]
mod tests;

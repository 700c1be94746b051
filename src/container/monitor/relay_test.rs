//! The relay between a guest, played here, and its clients.

use std::fs::File;
use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::thread::{self, JoinHandle};

use config::wire::{self, MAX_TO_GUEST, Process, StartErrorKind, stream_port};
use nix::sys::signal::SigSet;
use nix::sys::signalfd::SfdFlags;

use super::*;
use crate::container::control::{Client, Outcome};

/// Everything around a relay that runs in a thread of its own.
struct Stage {
    relay: JoinHandle<(End, bool)>,
    broker: OwnedFd,
    /// The VMM's end of its socket; its process is one that does nothing until it is killed.
    vmm: OwnedFd,
    client: Client,
    stdin: File,
    stdout: File,
    stderr: File,
    folder: tempfile::TempDir,
}

fn record() -> Record {
    Record {
        id: "0".repeat(64),
        name: "boat".into(),
        image: "busybox".into(),
        image_id: String::new(),
        layers: Vec::new(),
        created: SystemTime::now(),
        hostname: "boat".into(),
        process: Process { arguments: vec!["true".into()], stdin: true, ..Process::default() },
        stdin_once: true,
        volumes: Vec::new(),
        memory: 0,
        vcpus: 1,
        kernel: None,
        stop_signal: 3,
        remove: true,
        labels: Default::default(),
        entrypoint: 0,
        log: log::Limits::default(),
    }
}

fn stage() -> Stage {
    let folder = tempfile::tempdir().unwrap();
    let (socket, vmm) = packet::pair().unwrap();
    // Ends when it is killed, or when its standard input ends with the test.
    let child = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let (broker, broker_of_vmm) = packet::pair().unwrap();
    let (client, first) = packet::pair().unwrap();
    let [stdin, stdout, stderr] = [(); 3].map(|()| packet::stream_pair().unwrap());
    let mut input = Input::new(true);
    input.attach(stdin.1);
    let mut outputs = [Output::new(Stream::Stdout), Output::new(Stream::Stderr)];
    outputs[0].attach(stdout.1);
    outputs[1].attach(stderr.1);
    let log = log::Writer::new(log::path(folder.path()), log::Limits::default());
    let relay = thread::spawn(move || {
        let record = record();
        let clients = Clients::alone(first);
        let signals = SignalFd::with_flags(&SigSet::empty(), SfdFlags::SFD_NONBLOCK).unwrap();
        let vmm = Vmm::of_test(child, socket);
        let relay = Relay { record: &record, vmm, broker, clients, signals, input, outputs, log };
        let mut started = false;
        let mut on_start = || {
            started = true;
            Ok(())
        };
        let (end, _) = relay.run(&mut on_start);
        (end, started)
    });
    let [stdin, stdout, stderr] = [stdin.0, stdout.0, stderr.0].map(File::from);
    Stage { relay, broker: broker_of_vmm, vmm, client: Client::new(client), stdin, stdout, stderr, folder }
}

impl Stage {
    /// Opens a connection as the guest does.
    fn connect(&self, port: u32) -> File {
        let (guest, host) = packet::stream_pair().unwrap();
        send_port(&self.broker, port, &host);
        File::from(guest)
    }

    /// Plays guest-init until the process runs; its control connection.
    fn start(&self) -> File {
        let mut control = self.connect(CONTROL_PORT);
        wire::send(&mut control, &ToHost::Ready { uptime_us: 1 }).unwrap();
        let Some(ToGuest::Start(start)) = receive(&mut control) else { panic!("no start") };
        assert_eq!(start.process.arguments, ["true"]);
        wire::send(&mut control, &ToHost::Started { process: MAIN_PROCESS }).unwrap();
        assert_eq!(self.client.reply().unwrap(), Some(Reply::Started));
        control
    }

    /// The VMM is gone with all that was the guest's.
    fn end(self) -> (End, bool) {
        drop((self.broker, self.vmm));
        self.relay.join().unwrap()
    }
}

fn send_port(broker: &OwnedFd, port: u32, socket: &OwnedFd) {
    use nix::sys::socket::{ControlMessage, sendmsg};
    use std::io::IoSlice;
    use std::os::fd::AsRawFd;
    let fds = [socket.as_raw_fd()];
    let rights = [ControlMessage::ScmRights(&fds)];
    sendmsg::<()>(broker.as_raw_fd(), &[IoSlice::new(&port.to_le_bytes())], &rights, MsgFlags::empty(), None).unwrap();
}

fn receive(control: &mut File) -> Option<ToGuest> {
    wire::receive(control, MAX_TO_GUEST).unwrap()
}

fn exited(control: &mut File, status: ExitStatus) {
    wire::send(control, &ToHost::Exited { process: MAIN_PROCESS, status }).unwrap();
}

#[test]
fn a_process_runs_and_its_streams_are_relayed() {
    let mut stage = stage();
    let port = |stream| stream_port(MAIN_PROCESS, stream);
    let mut control = stage.start();
    let (mut stdin, mut stdout, mut stderr) =
        (stage.connect(port(Stream::Stdin)), stage.connect(port(Stream::Stdout)), stage.connect(port(Stream::Stderr)));
    stage.stdin.write_all(b"to the guest").unwrap();
    stage.stdin = File::open("/dev/null").unwrap();
    let mut text = String::new();
    stdin.read_to_string(&mut text).unwrap();
    assert_eq!(text, "to the guest");
    stdout.write_all(b"out\n").unwrap();
    stderr.write_all(b"err\n").unwrap();
    exited(&mut control, ExitStatus::Code(7));
    assert_eq!(receive(&mut control), None, "the guest is told that its last message has arrived");
    drop((control, stdin, stdout, stderr));

    let (mut out, mut err) = (stage.stdout.try_clone().unwrap(), stage.stderr.try_clone().unwrap());
    let log = log::path(stage.folder.path());
    let folder = std::mem::replace(&mut stage.folder, tempfile::tempdir().unwrap());
    let (end, started) = stage.end();
    assert!(started && end.started);
    assert_eq!((end.code, end.error.as_str()), (7, ""));
    let (mut from_out, mut from_err) = (String::new(), String::new());
    out.read_to_string(&mut from_out).unwrap();
    err.read_to_string(&mut from_err).unwrap();
    assert_eq!((from_out.as_str(), from_err.as_str()), ("out\n", "err\n"));
    assert_eq!(std::fs::read_to_string(log).unwrap().lines().count(), 2);
    drop(folder);
}

#[test]
fn a_process_that_cannot_start_says_why() {
    let stage = stage();
    let mut control = stage.connect(CONTROL_PORT);
    wire::send(&mut control, &ToHost::Ready { uptime_us: 1 }).unwrap();
    receive(&mut control);
    let error = StartError { kind: StartErrorKind::NotFound, message: "No such command".into() };
    wire::send(&mut control, &ToHost::NotStarted { process: MAIN_PROCESS, error }).unwrap();
    assert_eq!(receive(&mut control), None);
    let (end, started) = stage.end();
    assert!(!started && !end.started);
    assert_eq!((end.code, end.error.as_str()), (127, "No such command"));
}

#[test]
fn signals_and_stop_reach_the_process() {
    let stage = stage();
    assert!(stage.client.ask(&Request::Signal(10)).unwrap(), "a signal before the start is kept");
    let mut control = stage.start();
    assert_eq!(receive(&mut control), Some(ToGuest::Signal { process: 0, signal: 10 }));
    assert!(stage.client.ask(&Request::Stop { grace: 0 }).unwrap());
    assert_eq!(receive(&mut control), Some(ToGuest::Signal { process: 0, signal: 3 }));
    assert_eq!(receive(&mut control), Some(ToGuest::Signal { process: 0, signal: 9 }));
    exited(&mut control, ExitStatus::Signal(9));
    assert_eq!(receive(&mut control), None);
    assert_eq!(stage.end().0.code, 137);
}

#[test]
fn a_guest_that_is_killed_before_it_is_up_is_gone_at_once() {
    let stage = stage();
    assert!(stage.client.ask(&Request::Signal(9)).unwrap());
    let (end, started) = stage.end();
    assert!(!started);
    assert_eq!((end.code, end.error.as_str()), (137, ""));
}

#[test]
fn a_guest_that_breaks_the_protocol_is_ended() {
    for garbage in [&b"\xff\xff\xff\xff"[..], b"\x01\x00\x00\x00\x7f"] {
        let stage = stage();
        stage.connect(CONTROL_PORT).write_all(garbage).unwrap();
        let (end, _) = stage.end();
        assert_eq!(end.code, 125);
        assert!(end.error.contains("protocol"), "{}", end.error);
    }
}

#[test]
fn a_guest_cannot_exit_before_it_started() {
    let stage = stage();
    let mut control = stage.connect(CONTROL_PORT);
    exited(&mut control, ExitStatus::Code(0));
    let (end, _) = stage.end();
    assert_eq!(end.code, 125);
    assert!(end.error.contains("not expected"), "{}", end.error);
}

#[test]
fn connections_that_nobody_expects_are_closed() {
    let stage = stage();
    for port in [0, 22, CONTROL_PORT + 1, stream_port(1, Stream::Stdout), stream_port(0, Stream::Terminal), u32::MAX] {
        assert_eq!(stage.connect(port).read(&mut [0]).unwrap(), 0, "{port}");
    }
    let mut control = stage.start();
    assert_eq!(stage.connect(CONTROL_PORT).read(&mut [0]).unwrap(), 0, "a second control connection");
    exited(&mut control, ExitStatus::Code(0));
    assert_eq!(stage.end().0.code, 0);
}

#[test]
fn what_the_vmm_says_of_a_dead_guest_is_the_error() {
    let stage = stage();
    let control = stage.start();
    let outcome = Outcome::Broken("The guest's kernel panicked: boat".into());
    packet::send(stage.vmm.as_fd(), &outcome, &[]).unwrap();
    drop(control);
    let (end, _) = stage.end();
    assert!(end.started);
    assert_eq!((end.code, end.error.as_str()), (137, "The guest's kernel panicked: boat"));
}

#[test]
fn an_end_that_comes_together_with_the_vmms_is_heard() {
    let stage = stage();
    let mut control = stage.connect(CONTROL_PORT);
    let mut stdout = stage.connect(stream_port(MAIN_PROCESS, Stream::Stdout));
    wire::send(&mut control, &ToHost::Ready { uptime_us: 1 }).unwrap();
    wire::send(&mut control, &ToHost::Started { process: MAIN_PROCESS }).unwrap();
    stdout.write_all(b"last words").unwrap();
    exited(&mut control, ExitStatus::Code(7));
    packet::send(stage.vmm.as_fd(), &Outcome::Shutdown, &[]).unwrap();
    drop((control, stdout));
    let mut out = stage.stdout.try_clone().unwrap();
    assert_eq!(stage.end().0.code, 7);
    let mut text = String::new();
    out.read_to_string(&mut text).unwrap();
    assert_eq!(text, "last words");
}

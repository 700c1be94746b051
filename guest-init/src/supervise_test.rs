use super::*;
use crate::process;
use crate::stdio::Connections;
use crate::testing::as_init;
use crate::vsock::Connecting;
use std::cell::RefCell;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::thread;

use config::wire::{self, Process, Stream, TerminalSize};

/// The host's ends of everything.
struct Host {
    control: UnixStream,
    streams: Vec<(Stream, UnixStream)>,
}

impl Host {
    fn stream(&self, wanted: Stream) -> UnixStream {
        let (_, socket) = self.streams.iter().find(|(stream, _)| *stream == wanted).unwrap();
        socket.try_clone().unwrap()
    }

    fn read_all(&self, wanted: Stream) -> String {
        let mut text = String::new();
        self.stream(wanted).read_to_string(&mut text).unwrap();
        text
    }

    fn read_until(&self, wanted: Stream, mark: &str) -> String {
        let (mut text, mut socket) = (String::new(), self.stream(wanted));
        while !text.contains(mark) {
            let mut bytes = [0; 256];
            let length = socket.read(&mut bytes).unwrap();
            assert!(length > 0, "ended after {text:?}");
            text.push_str(std::str::from_utf8(&bytes[..length]).unwrap());
        }
        text
    }

    fn tell(&mut self, message: &ToGuest) {
        wire::send(&mut self.control, message).unwrap();
    }
}

/// Runs `process` as the main process of a guest whose PID 1 this is, with `host` at the other end.
fn run<T: Send + 'static>(process: &Process, host: impl FnOnce(Host) -> T + Send + 'static) -> (End, T) {
    let streams = RefCell::new(Vec::new());
    let connect = |stream| {
        let (guest, other) = UnixStream::pair().unwrap();
        guest.set_nonblocking(true).unwrap();
        streams.borrow_mut().push((stream, other));
        Ok(Connecting::from_socket(guest.into()))
    };
    let (control, other) = UnixStream::pair().unwrap();
    let mut control = Control::over(control.into());
    let children = Children::watch().unwrap();
    let connections = Connections::start(process, connect).unwrap();
    let identity = process::identity(process).unwrap();
    let stdio = Stdio::open(connections, process.terminal, identity.uid).unwrap();
    let pid = process::start(process, &identity, &stdio.child).unwrap();
    let streams = streams.into_inner();
    // A host that is done early does not hang up; only one that says so does.
    let line = other.try_clone().unwrap();
    // Signals stay with the thread that waits for them.
    let host = thread::spawn(move || host(Host { control: other, streams }));
    let end = supervise(&mut control, &children, pid, stdio).unwrap();
    drop((control, line));
    (end, host.join().unwrap())
}

fn shell(script: &str) -> Process {
    Process { arguments: ["/bin/sh", "-c", script].map(String::from).to_vec(), ..Process::default() }
}

fn on_terminal(script: &str) -> Process {
    Process { terminal: Some(TerminalSize { rows: 24, columns: 80 }), stdin: true, ..shell(script) }
}

#[test]
fn output_and_errors_arrive_apart_and_whole_before_the_exit() {
    as_init(|| {
        let (end, texts) = run(&shell("echo out; echo err >&2; exit 7"), |host| {
            (host.read_all(Stream::Stdout), host.read_all(Stream::Stderr))
        });
        assert_eq!(end, End::Exited(ExitStatus::Code(7)));
        assert_eq!(texts, ("out\n".into(), "err\n".into()));
    });
}

#[test]
fn output_can_be_opened_again_by_another_user() {
    as_init(|| {
        let process = Process { user: "65534".into(), ..shell("echo again > /dev/stdout; echo also > /dev/stderr") };
        let (_, texts) = run(&process, |host| (host.read_all(Stream::Stdout), host.read_all(Stream::Stderr)));
        assert_eq!(texts, ("again\n".into(), "also\n".into()));
    });
}

#[test]
fn megabytes_left_in_pipes_are_delivered_to_a_slow_host() {
    as_init(|| {
        let (end, length) = run(&shell("head -c 5000000 /dev/zero; exit 1"), |host| {
            let mut socket = host.stream(Stream::Stdout);
            let (mut length, mut bytes) = (0, [0; 1000]);
            loop {
                match socket.read(&mut bytes).unwrap() {
                    0 => return length,
                    count => length += count,
                }
            }
        });
        assert_eq!((end, length), (End::Exited(ExitStatus::Code(1)), 5_000_000));
    });
}

#[test]
fn input_is_passed_on_until_its_end() {
    as_init(|| {
        let process = Process { stdin: true, ..shell("cat; echo end") };
        let (end, text) = run(&process, |host| {
            let mut input = host.stream(Stream::Stdin);
            input.write_all(b"typed ").unwrap();
            input.shutdown(Shutdown::Write).unwrap();
            host.read_all(Stream::Stdout)
        });
        assert_eq!((end, text.as_str()), (End::Exited(ExitStatus::Code(0)), "typed end\n"));
    });
}

#[test]
fn a_process_that_ignores_its_input_ends_all_the_same() {
    as_init(|| {
        let process = Process { stdin: true, ..shell("exit 5") };
        let (end, _) = run(&process, |host| {
            let sent = host.stream(Stream::Stdin).write_all(&vec![0; 1 << 20]);
            (sent.is_err(), host.read_all(Stream::Stdout))
        });
        assert_eq!(end, End::Exited(ExitStatus::Code(5)));
    });
}

#[test]
fn signals_reach_the_process() {
    as_init(|| {
        let script = "trap 'echo heard; exit 9' USR1; echo ready; while :; do sleep 1000 & wait; done";
        let (end, text) = run(&shell(script), |mut host| {
            host.read_until(Stream::Stdout, "ready");
            host.tell(&ToGuest::Signal { process: MAIN_PROCESS + 1, signal: libc::SIGKILL });
            host.tell(&ToGuest::Signal { process: MAIN_PROCESS, signal: 4711 });
            host.tell(&ToGuest::Signal { process: MAIN_PROCESS, signal: libc::SIGUSR1 });
            host.read_all(Stream::Stdout)
        });
        assert_eq!((end, text.as_str()), (End::Exited(ExitStatus::Code(9)), "heard\n"));
    });
}

#[test]
fn whatever_else_runs_ends_with_the_process() {
    as_init(|| {
        let script =
            "(trap '' TERM HUP; while :; do sleep 1000; done) & setsid sleep 1000 & echo started; kill -KILL $$";
        let (end, text) = run(&shell(script), |host| host.read_all(Stream::Stdout));
        assert_eq!((end, text.as_str()), (End::Exited(ExitStatus::Signal(9)), "started\n"));
    });
}

#[test]
fn a_host_that_hangs_up_ends_everything() {
    as_init(|| {
        let (end, ()) = run(&shell("echo ready; while :; do sleep 1000; done"), |host| {
            host.read_until(Stream::Stdout, "ready");
            host.control.shutdown(Shutdown::Both).unwrap();
        });
        assert_eq!(end, End::HostGone);
        let mut status = 0;
        // SAFETY: `status` is a valid integer for the kernel to fill, and outlives the call.
        assert!(unsafe { libc::waitpid(-1, &raw mut status, 0) } > 0);
        assert_eq!(libc::WTERMSIG(status), libc::SIGKILL);
    });
}

#[test]
fn a_host_that_stops_listening_ends_a_process_that_goes_on_talking() {
    as_init(|| {
        let (end, ()) = run(&shell("while echo x; do :; done 2>/dev/null; exit 4"), |host| {
            host.read_until(Stream::Stdout, "x");
            host.stream(Stream::Stdout).shutdown(Shutdown::Both).unwrap();
            let mut rest = [0; 8];
            let mut control = host.control.try_clone().unwrap();
            drop(host);
            assert_eq!(control.read(&mut rest).unwrap(), 0);
        });
        assert!(matches!(end, End::Exited(ExitStatus::Signal(13) | ExitStatus::Code(4))), "{end:?}");
    });
}

#[test]
fn a_terminal_controls_its_process_and_has_its_size() {
    as_init(|| {
        let (end, text) = run(&on_terminal("tty; stty size; test -t 2 && echo yes > /dev/tty"), |host| {
            host.read_all(Stream::Terminal)
        });
        assert_eq!(end, End::Exited(ExitStatus::Code(0)));
        assert!(text.starts_with("/dev/pts/") && text.ends_with("\r\n24 80\r\nyes\r\n"), "{text:?}");
    });
}

#[test]
fn a_terminal_passes_on_what_is_typed_and_its_new_size() {
    as_init(|| {
        // A shell may give up a `read` that a signal interrupts.
        let script = "trap 'stty size' WINCH; echo ready; until read line; do :; done; echo got $line";
        let (end, text) = run(&on_terminal(script), |mut host| {
            let ready = host.read_until(Stream::Terminal, "ready");
            let size = TerminalSize { rows: 50, columns: 132 };
            host.tell(&ToGuest::Resize { process: MAIN_PROCESS, size });
            let resized = host.read_until(Stream::Terminal, "50 132");
            host.stream(Stream::Terminal).write_all(b"boat\n").unwrap();
            ready + &resized + &host.read_all(Stream::Terminal)
        });
        assert_eq!(end, End::Exited(ExitStatus::Code(0)));
        assert!(text.contains("got boat\r\n"), "{text:?}");
        assert!(text.contains("50 132\r\n"), "{text:?}");
    });
}

#[test]
fn the_interrupt_key_interrupts() {
    as_init(|| {
        let (end, _) = run(&on_terminal("echo ready; exec sleep 1000"), |host| {
            host.read_until(Stream::Terminal, "ready");
            host.stream(Stream::Terminal).write_all(b"\x03").unwrap();
            host.read_all(Stream::Terminal)
        });
        assert_eq!(end, End::Exited(ExitStatus::Signal(2)));
    });
}

#[test]
fn a_terminal_the_host_closes_hangs_up() {
    as_init(|| {
        let (end, ()) = run(&on_terminal("echo ready; exec sleep 1000"), |host| {
            host.read_until(Stream::Terminal, "ready");
            host.stream(Stream::Terminal).shutdown(Shutdown::Both).unwrap();
            let mut control = host.control.try_clone().unwrap();
            drop(host);
            assert_eq!(control.read(&mut [0; 8]).unwrap(), 0);
        });
        assert_eq!(end, End::Exited(ExitStatus::Signal(1)));
    });
}

#[test]
fn a_terminal_stays_open_while_nobody_has_it_open() {
    as_init(|| {
        let folder = tempfile::TempDir::new_in("/dev/shm").unwrap();
        let pipe = folder.path().join("pipe");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::from_bits_truncate(0o600)).unwrap();
        // The process lets go of its terminal, tells the host by opening the pipe, and goes on once guest-init has
        // seen to a message sent after that.
        let script = format!(
            "exec <&- >&- 2>&-; read x < {}; until stty size < /dev/tty | grep -q '50 132'; do :; done; echo back > /dev/tty",
            pipe.to_str().unwrap()
        );
        let (end, text) = run(&on_terminal(&script), move |mut host| {
            std::fs::write(pipe, "\n").unwrap();
            let size = TerminalSize { rows: 50, columns: 132 };
            host.tell(&ToGuest::Resize { process: MAIN_PROCESS, size });
            host.read_all(Stream::Terminal)
        });
        assert_eq!((end, text.as_str()), (End::Exited(ExitStatus::Code(0)), "back\r\n"));
    });
}

use super::*;
use crate::testing::as_init;
use std::os::fd::AsRawFd;
use std::process::Command;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// Waits for ends until `pid` has ended or nobody is left.
fn wait(children: &Children, pid: Pid) -> Reaped {
    loop {
        poll(&mut [PollFd::new(children.as_fd(), PollFlags::POLLIN)], PollTimeout::NONE).unwrap();
        let reaped = children.reap(pid).unwrap();
        if reaped.status.is_some() || reaped.none_left {
            return reaped;
        }
    }
}

// The code under test is what waits.
#[expect(clippy::zombie_processes)]
fn run(script: &str) -> Pid {
    let child = Command::new("/bin/sh").args(["-c", script]).spawn().unwrap();
    Pid::from_raw(child.id().try_into().unwrap())
}

#[test]
fn codes_and_signals_are_told_apart() {
    as_init(|| {
        let children = Children::watch().unwrap();
        for (script, expected) in [
            ("exit 0", ExitStatus::Code(0)),
            ("exit 255", ExitStatus::Code(255)),
            ("kill -TERM $$", ExitStatus::Signal(15)),
            ("kill -KILL $$", ExitStatus::Signal(9)),
            ("kill -40 $$", ExitStatus::Signal(40)),
        ] {
            let reaped = wait(&children, run(script));
            assert_eq!(reaped, Reaped { status: Some(expected), none_left: true }, "{script}");
        }
    });
}

#[test]
fn orphans_are_collected_too() {
    as_init(|| {
        let children = Children::watch().unwrap();
        // The shell leaves a child behind that waits until the descriptor it reads from is closed.
        let (reading, writing) = nix::unistd::pipe2(nix::fcntl::OFlag::empty()).unwrap();
        let (reader, writer) = (reading.as_raw_fd(), writing.as_raw_fd());
        let shell = run(&format!("(exec {writer}>&-; read x <&{reader}) & exit 3"));
        drop(reading);
        assert_eq!(wait(&children, shell), Reaped { status: Some(ExitStatus::Code(3)), none_left: false });
        drop(writing);
        assert_eq!(wait(&children, shell), Reaped { status: None, none_left: true });
    });
}

#[test]
fn everything_can_be_ended_at_once() {
    as_init(|| {
        let children = Children::watch().unwrap();
        let shell = run("trap '' TERM; while :; do sleep 1000 & wait; done");
        run("exec sleep 1000");
        kill_all();
        while !children.reap(shell).unwrap().none_left {
            poll(&mut [PollFd::new(children.as_fd(), PollFlags::POLLIN)], PollTimeout::NONE).unwrap();
        }
    });
}

#[test]
fn nobody_but_pid_1_ends_everything() {
    let mut child = Command::new("/bin/sleep").arg("1000").spawn().unwrap();
    kill_all();
    assert_eq!(child.try_wait().unwrap(), None);
    child.kill().unwrap();
    child.wait().unwrap();
}

//! `coracle run` in the foreground: exit codes, streams, resources, what is refused, and what is left behind.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says what is wrong by panicking")]

mod lab;

use std::io::Write;
use std::process::Stdio;

use lab::{coracle, done, eventually, feed, good, read_exactly, read_until, run, signal, traces};
use nix::sys::signal::Signal;

#[test]
fn the_exit_code_is_the_processs_own() {
    for code in [0, 1, 7, 255] {
        assert_eq!(run(&["busybox", "sh", "-c", &format!("exit {code}")]).code, code);
    }
}

#[test]
fn a_process_that_a_signal_ended_gives_128_and_its_number() {
    assert_eq!(run(&["busybox", "sh", "-c", "kill -TERM $$"]).code, 143);
    assert_eq!(run(&["busybox", "sh", "-c", "kill -KILL $$"]).code, 137);
}

#[test]
fn signals_to_the_command_line_go_to_the_process() {
    let script = "trap 'echo got it; exit 9' USR1; echo up; while :; do sleep 0.1; done";
    let mut child =
        lab::command(&["run", "--rm", "busybox", "sh", "-c", script]).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdout = child.stdout.take().unwrap();
    read_until(&mut stdout, "up\n");
    signal(&child, Signal::SIGUSR1);
    read_until(&mut stdout, "got it\n");
    assert_eq!(child.wait().unwrap().code(), Some(9));
}

#[test]
fn a_process_that_does_not_care_is_ended_by_the_signal() {
    for (name, code) in [(Signal::SIGTERM, 143), (Signal::SIGINT, 130)] {
        let mut child = lab::command(&["run", "--rm", "busybox", "sh", "-c", "echo up; exec sleep 1000"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        read_until(child.stdout.as_mut().unwrap(), "up\n");
        signal(&child, name);
        assert_eq!(child.wait().unwrap().code(), Some(code));
    }
}

#[test]
fn stdout_and_stderr_stay_apart() {
    let done = run(&["busybox", "sh", "-c", "echo out; echo err >&2"]);
    assert_eq!((done.stdout.as_str(), done.stderr.as_str()), ("out\n", "err\n"));
}

#[test]
fn stdin_is_connected_only_when_asked_for() {
    let (code, output) = feed(&["run", "--rm", "-i", "busybox", "cat"], b"hello\nboat");
    assert_eq!((code, output.as_slice()), (0, &b"hello\nboat"[..]));
    let (code, output) = feed(&["run", "--rm", "busybox", "cat"], b"");
    assert_eq!((code, output.as_slice()), (0, &b""[..]));
}

#[test]
fn ten_megabytes_of_anything_come_back_as_they_went() {
    // A simple generator: every byte value, and no period that could hide a piece that went missing or came twice.
    let mut state = 1u64;
    let step = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    let bytes: Vec<u8> = std::iter::repeat_with(step).take(10_000_000).collect();
    let (code, output) = feed(&["run", "--rm", "-i", "busybox", "cat"], &bytes);
    assert_eq!(code, 0);
    assert_eq!(output.len(), bytes.len());
    assert!(output == bytes, "the bytes came back changed");
}

#[test]
fn what_is_written_last_arrives_however_late_it_is_read() {
    // Sizes around what the pipes and sockets on the way can hold when the process, or the whole guest, has ended.
    for kilobytes in [30, 200, 500, 900] {
        let script = format!("head -c {kilobytes}000 /dev/zero");
        let mut child =
            lab::command(&["run", "--rm", "busybox", "sh", "-c", &script]).stdout(Stdio::piped()).spawn().unwrap();
        read_exactly(child.stdout.as_mut().unwrap(), 1);
        // Another container takes long enough for everything that can happen to have happened.
        assert_eq!(run(&["busybox", "true"]).code, 0);
        let output = child.wait_with_output().unwrap();
        assert_eq!((output.status.code(), output.stdout.len() + 1), (Some(0), kilobytes * 1000));
    }
}

#[test]
fn a_reader_that_goes_away_ends_the_writer() {
    let mut child = lab::command(&["run", "--rm", "busybox", "yes"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdout = child.stdout.take().unwrap();
    read_until(&mut stdout, "y\ny\n");
    drop(stdout);
    assert_eq!(child.wait().unwrap().code(), Some(141));
}

#[test]
fn memory_and_processors_are_what_was_asked_for() {
    let done = run(&["-m", "256m", "busybox", "sh", "-c", "grep MemTotal /proc/meminfo"]);
    let kibibytes: u64 = done.stdout.split_whitespace().nth(1).unwrap().parse().unwrap();
    assert!((200 << 10..=256 << 10).contains(&kibibytes), "{kibibytes} kB");
    let done = run(&["--cpus", "2", "busybox", "sh", "-c", "grep -c ^processor /proc/cpuinfo"]);
    assert_eq!(done.stdout, "2\n");
}

#[test]
fn environment_working_directory_user_and_host_name_are_set() {
    let script = "echo $A-$B-$HOME; pwd; id -u; id -g; hostname";
    let flags = ["-e", "A=one two", "-e", "CORACLE_TEST_B", "-w", "/tmp", "-u", "33:100", "--hostname", "boat"];
    let output = lab::command(
        &[&["run", "--rm"], &flags[..], &["busybox", "sh", "-c", &script.replace("$B", "$CORACLE_TEST_B")]].concat(),
    )
    .env("CORACLE_TEST_B", "ours")
    .output()
    .unwrap();
    let done = done(&output);
    assert_eq!(done.stdout, "one two-ours-/var/www\n/tmp\n33\n100\nboat\n", "{done:?}");
}

#[test]
fn the_entrypoint_can_be_replaced() {
    assert_eq!(run(&["--entrypoint", "echo", "busybox", "-n", "a  b"]).stdout, "a  b");
    assert_eq!(run(&["busybox", "echo", "-e", "--rm"]).stdout, "--rm\n");
}

#[test]
fn a_command_that_is_not_there_gives_127_and_one_that_is_no_program_126() {
    let done = run(&["busybox", "no-such-command"]);
    assert_eq!(done.code, 127, "{done:?}");
    assert!(done.stderr.contains("no-such-command"), "{done:?}");
    let done = run(&["busybox", "/etc/passwd"]);
    assert_eq!(done.code, 126, "{done:?}");
}

#[test]
fn what_cannot_be_is_refused_before_anything_is_made() {
    let before = traces();
    for (arguments, says) in [
        (&["--pull", "never", "no-such-image"][..], "no-such-image"),
        (&["-v", "/no/such/folder:/x", "busybox"], "/no/such/folder"),
        (&["-m", "4m", "busybox"], "too little"),
        (&["-m", "lots", "busybox"], "lots"),
        (&["--name", "a/b", "busybox"], "a/b"),
        (&["-w", "relative", "busybox"], "relative"),
        (&["--kernel", "/no/such/kernel", "busybox"], "/no/such/kernel"),
        (&["--bogus", "busybox"], "--bogus"),
        (&["no-such-image"], "no-such-image"),
        (&["-m", "100000g", "busybox"], "memory"),
        (&["--entrypoint", "", "busybox"], "No command"),
    ] {
        let done = run(arguments);
        assert_eq!(done.code, 125, "{arguments:?}: {done:?}");
        assert!(done.stderr.contains(says), "{arguments:?}: {done:?}");
    }
    assert_eq!(traces(), before);
}

#[test]
fn a_file_that_is_no_kernel_is_refused() {
    let done = run(&["--kernel", "/etc/mtab", "busybox", "true"]);
    assert_eq!(done.code, 125, "{done:?}");
    assert!(done.stderr.contains("kernel"), "{done:?}");
}

#[test]
fn nothing_is_left_of_a_container_that_is_removed() {
    // The first one also mounts the layers.
    run(&["busybox", "true"]);
    eventually("the end of all processes", || traces().processes.is_empty().then_some(()));
    let before = traces();
    assert_eq!(run(&["busybox", "sh", "-c", "echo x > /file; mkdir /folder; rm /bin/ls"]).code, 0);
    assert_eq!(run(&["busybox", "no-such-command"]).code, 127);
    // Processes take a moment to be taken apart; everything else is gone when the command line ends.
    assert_eq!(traces().without_processes(), before);
    eventually("the end of all processes", || (traces() == before).then_some(()));
    assert_eq!(run(&["busybox", "sh", "-c", "ls /file; ls /bin/ls"]).stdout, "/bin/ls\n");
}

#[test]
fn orphans_are_reaped() {
    let script =
        "for i in 1 2 3; do sh -c 'sleep 0.2 &'; done; sleep 1; grep -l '^State:.Z' /proc/[0-9]*/status | wc -l";
    assert_eq!(run(&["busybox", "sh", "-c", script]).stdout.trim(), "0");
}

#[test]
fn a_guest_whose_kernel_panics_is_reported() {
    // What a kernel has not sent when it panics is lost: it waits until its last word has arrived.
    let script = "echo up; read line; echo c > /proc/sysrq-trigger; sleep 1000";
    let mut child = lab::command(&["run", "--rm", "-i", "busybox", "sh", "-c", script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    read_until(child.stdout.as_mut().unwrap(), "up\n");
    child.stdin.as_mut().unwrap().write_all(b"\n").unwrap();
    let done = done(&child.wait_with_output().unwrap());
    assert_eq!(done.code, 137, "{done:?}");
    assert!(done.stderr.contains("panicked"), "{done:?}");
}

#[test]
fn a_guest_that_resets_its_machine_is_reported() {
    let done = run(&["busybox", "sh", "-c", "echo up; reboot -f; sleep 1000"]);
    assert_eq!(done.code, 137, "{done:?}");
    assert_eq!(done.stdout, "up\n");
    assert!(done.stderr.contains("reset"), "{done:?}");
}

#[test]
fn a_terminal_needs_a_terminal() {
    let done = run(&["-it", "busybox", "true"]);
    assert_eq!(done.code, 1);
    assert!(done.stderr.contains("not a TTY"), "{done:?}");
}

#[test]
fn a_terminal_on_the_container_alone_has_a_size() {
    let done = run(&["-t", "busybox", "sh", "-c", "stty size; tty; echo err >&2"]);
    assert_eq!(done.stdout.lines().next().unwrap().trim(), "24 80", "{done:?}");
    assert!(done.stdout.contains("/dev/"), "{done:?}");
    assert!(done.stdout.contains("err\r\n"), "{done:?}");
}

#[test]
fn the_host_is_found_fit() {
    let done = coracle(&["doctor"]);
    assert_eq!(done.code, 0, "{done:?}");
    assert!(done.stdout.lines().all(|line| line.starts_with("ok ")), "{done:?}");
    assert!(good(&["version"]).starts_with("coracle "));
}

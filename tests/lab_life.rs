//! Containers in the background: seen, listened to, stopped, killed, removed, and told truthfully when they died.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says what is wrong by panicking")]

mod lab;

use std::process::Stdio;

use lab::{Background, coracle, done, eventually, good, processes, read_until, run, signal, traces};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// The status that `ps -a` shows of a container.
fn status(name: &str) -> String {
    let table = good(&["ps", "-a"]);
    let head = table.lines().next().unwrap();
    let (start, end) = (head.find("STATUS").unwrap(), head.find("PORTS").unwrap());
    let row = table.lines().find(|line| line.ends_with(&format!(" {name}"))).unwrap_or_else(|| panic!("{table}"));
    row[start..end].trim().to_owned()
}

/// Process ids of a container's monitor or VMM.
fn pids(verb: &str, id: &str) -> Vec<i32> {
    processes(id)
        .into_iter()
        .filter(|(_, line)| line.starts_with(&format!("coracle {verb} ")))
        .map(|found| found.0)
        .collect()
}

#[test]
fn a_container_in_the_background_has_a_life() {
    let container =
        Background::start(&["--name", "life", "busybox", "sh", "-c", "echo one; echo two >&2; exec sleep 1000"]);
    assert_eq!(container.id.len(), 64);
    let table = good(&["ps"]);
    assert!(table.starts_with("CONTAINER ID   IMAGE     COMMAND"), "{table}");
    assert!(table.contains(&container.id[..12]) && table.contains(r#""sh -c echo one; ech…""#), "{table}");
    assert!(status("life").starts_with("Up "), "{table}");
    assert!(good(&["ps", "-q", "--no-trunc"]).contains(&container.id));
    let json = good(&["ps", "--format", "json"]);
    assert!(json.contains(r#""Names":"life""#) && json.contains(r#""State":"running""#), "{json}");

    eventually("both lines in the log", || {
        let done = coracle(&["logs", "life"]);
        (done.stdout == "one\n" && done.stderr == "two\n").then_some(())
    });
    assert_eq!(good(&["stop", "life"]), "life");
    assert_eq!(status("life").split(" ago").next().unwrap().split(") ").next().unwrap(), "Exited (143");
    assert!(!good(&["ps"]).contains("life"));
    assert_eq!(good(&["wait", "life"]), "143");
    assert_eq!(good(&["stop", "life"]), "life", "a container that has ended is stopped already");
    assert_eq!(coracle(&["logs", "life"]).stdout, "one\n");
    assert_eq!(good(&["rm", "life"]), "life");
    assert_eq!(coracle(&["logs", "life"]).code, 1);
}

#[test]
fn the_hosts_processes_say_whose_they_are() {
    let container = Background::start(&["--name", "shown", "busybox", "sleep", "1000"]);
    for verb in ["monitor", "microvm"] {
        assert_eq!(pids(verb, &container.id).len(), 1, "{verb}");
    }
    assert_eq!(processes(" shown ").len(), 2);
}

#[test]
fn a_process_that_ignores_the_stop_signal_is_killed_after_a_while() {
    let script = "trap '' TERM; echo up; while :; do sleep 0.1; done";
    let container = Background::start(&["busybox", "sh", "-c", script]);
    eventually("the trap", || (coracle(&["logs", &container.id]).stdout == "up\n").then_some(()));
    good(&["stop", "-t", "1", &container.id[..12]]);
    assert_eq!(good(&["wait", &container.id]), "137");
}

#[test]
fn kill_sends_the_signal_that_was_asked_for() {
    let script = "trap 'echo hup' HUP; echo up; while :; do sleep 0.1; done";
    let container = Background::start(&["--name", "killed", "busybox", "sh", "-c", script]);
    let log = |text: &str| eventually(text, || coracle(&["logs", "killed"]).stdout.contains(text).then_some(()));
    log("up\n");
    assert_eq!(good(&["kill", "-s", "HUP", "killed"]), "killed");
    log("hup\n");
    assert_eq!(good(&["kill", &container.id]), container.id);
    assert_eq!(good(&["wait", "killed"]), "137");
    assert_eq!(coracle(&["kill", "killed"]).code, 1);
}

#[test]
fn a_running_container_is_removed_only_by_force() {
    let container = Background::start(&["--name", "forced", "busybox", "sleep", "1000"]);
    let done = coracle(&["rm", "forced"]);
    assert_eq!(done.code, 1);
    assert!(done.stderr.contains("running"), "{done:?}");
    assert_eq!(good(&["rm", "-f", "forced"]), "forced");
    assert!(processes(&container.id).is_empty());
}

#[test]
fn wait_waits() {
    let container = Background::start(&["busybox", "sh", "-c", "sleep 1; exit 3"]);
    assert_eq!(good(&["wait", &container.id]), "3");
}

#[test]
fn a_name_is_given_once() {
    let _container = Background::start(&["--name", "once", "busybox", "sleep", "1000"]);
    let before = traces();
    let done = run(&["--name", "once", "busybox", "true"]);
    assert_eq!(done.code, 125);
    assert!(done.stderr.contains("taken"), "{done:?}");
    assert_eq!(traces(), before);
}

#[test]
fn a_container_that_cannot_start_in_the_background_says_so() {
    let done = coracle(&["run", "-d", "--rm", "busybox", "no-such-command"]);
    assert_eq!((done.code, done.stdout.as_str()), (127, ""), "{done:?}");
}

#[test]
fn a_log_is_followed_to_its_end() {
    let container = Background::start(&["busybox", "sh", "-c", "echo one; sleep 1; echo two; exit 3"]);
    assert_eq!(good(&["logs", "-f", &container.id]), "one\ntwo");
    assert_eq!(good(&["logs", "--tail", "1", &container.id]), "two");
    assert!(good(&["logs", "-t", &container.id]).contains("Z one\n"));
}

#[test]
fn a_log_is_followed_across_its_parts() {
    let script = "for i in $(seq 100); do echo line $i; done; sleep 1; for i in $(seq 100); do echo more $i; done";
    let limits = ["--log-opt", "max-size=1k", "--log-opt", "max-file=1000"];
    let container = Background::start(&[&limits[..], &["busybox", "sh", "-c", script]].concat());
    let expected: Vec<String> =
        ["line", "more"].iter().flat_map(|word| (1..=100).map(move |number| format!("{word} {number}"))).collect();
    assert_eq!(good(&["logs", "--follow", &container.id]), expected.join("\n"));
    assert_eq!(good(&["logs", "--tail", "2", &container.id]), "more 99\nmore 100");
    assert_eq!(good(&["logs", "--since", "2000-01-01", &container.id]).lines().count(), 200);
    assert_eq!(good(&["logs", "--until", "2000-01-01T00:00:00Z", &container.id]), "");
    assert_eq!(good(&["logs", "--since", "0s", "--tail", "5", &container.id]), "");
}

#[test]
fn a_log_does_not_fill_the_disk() {
    let limits = ["--log-opt", "max-size=1k", "--log-opt", "max-file=2"];
    let script = "for i in $(seq 500); do echo line $i; done";
    let container = Background::start(&[&limits[..], &["busybox", "sh", "-c", script]].concat());
    assert_eq!(good(&["wait", &container.id]), "0");
    let log = good(&["logs", &container.id]);
    assert!(log.ends_with("line 499\nline 500") && log.lines().count() < 50, "{log}");
    assert_eq!(coracle(&["run", "--log-opt", "max-size=0", "busybox", "true"]).code, 125);
}

#[test]
fn the_kernels_own_messages_are_kept() {
    let container =
        Background::start(&["--name", "sunk", "busybox", "sh", "-c", "sleep 1; echo c > /proc/sysrq-trigger"]);
    assert_eq!(good(&["wait", "sunk"]), "137");
    assert!(status("sunk").starts_with("Exited (137)"));
    let log = good(&["logs", "--kernel", &container.id]);
    assert!(log.contains("Kernel panic - not syncing"), "{log}");
    assert_eq!(good(&["logs", "--kernel", "--tail", "1", "sunk"]).lines().count(), 1);
    assert_eq!(coracle(&["logs", "sunk"]).stdout, "");
}

#[test]
fn a_container_whose_monitor_was_killed_is_not_shown_as_running() {
    let before = traces();
    let container = Background::start(&["--name", "orphan", "busybox", "sleep", "1000"]);
    let monitor = pids("monitor", &container.id)[0];
    kill(Pid::from_raw(monitor), Signal::SIGKILL).unwrap();
    eventually("the end of the VMM", || processes(&container.id).is_empty().then_some(()));
    assert!(status("orphan").starts_with("Exited (137)"), "{}", status("orphan"));
    assert_eq!(good(&["wait", "orphan"]), "137");
    assert_eq!(coracle(&["kill", "orphan"]).code, 1);
    assert_eq!(good(&["rm", "orphan"]), "orphan");
    assert_eq!(traces(), before);
}

#[test]
fn a_foreground_container_whose_monitor_was_killed_ends_and_leaves_nothing() {
    let before = traces();
    let mut child = lab::command(&["run", "--rm", "busybox", "sh", "-c", "echo up; exec sleep 1000"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    read_until(child.stdout.as_mut().unwrap(), "up\n");
    let id = good(&["ps", "-q", "--no-trunc"]);
    kill(Pid::from_raw(pids("monitor", &id)[0]), Signal::SIGKILL).unwrap();
    let done = done(&child.wait_with_output().unwrap());
    assert_eq!(done.code, 137, "{done:?}");
    assert!(done.stderr.contains("monitor"), "{done:?}");
    eventually("the end of the VMM", || processes(&id).is_empty().then_some(()));
    assert_eq!(good(&["ps", "-aq"]), "");
    assert_eq!(traces(), before);
}

#[test]
fn a_container_whose_vmm_was_killed_ends_and_says_so() {
    let container = Background::start(&["--name", "cut", "busybox", "sleep", "1000"]);
    kill(Pid::from_raw(pids("microvm", &container.id)[0]), Signal::SIGKILL).unwrap();
    assert_eq!(good(&["wait", "cut"]), "137");
    assert!(status("cut").starts_with("Exited (137)"));
}

#[test]
fn a_monitor_that_is_told_to_end_stops_its_container() {
    let container = Background::start(&[
        "--name",
        "told",
        "busybox",
        "sh",
        "-c",
        "trap 'exit 4' TERM; echo up; while :; do sleep 0.1; done",
    ]);
    eventually("the trap", || (coracle(&["logs", "told"]).stdout == "up\n").then_some(()));
    kill(Pid::from_raw(pids("monitor", &container.id)[0]), Signal::SIGTERM).unwrap();
    assert_eq!(good(&["wait", "told"]), "4");
}

#[test]
fn a_command_line_that_is_killed_leaves_the_container_running() {
    let mut child = lab::command(&["run", "--name", "kept", "busybox", "sh", "-c", "echo up; exec sleep 1000"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    read_until(child.stdout.as_mut().unwrap(), "up\n");
    signal(&child, Signal::SIGKILL);
    child.wait().unwrap();
    assert!(status("kept").starts_with("Up "));
    assert_eq!(good(&["rm", "-f", "kept"]), "kept");
}

#[test]
fn several_containers_run_at_once() {
    let containers: Vec<Background> =
        (0..3).map(|_| Background::start(&["-m", "64m", "busybox", "sleep", "1000"])).collect();
    assert_eq!(good(&["ps", "-q"]).lines().count(), 3);
    let ids: Vec<&str> = containers.iter().map(|container| container.id.as_str()).collect();
    assert_eq!(good(&[&["stop"], &ids[..]].concat()).lines().collect::<Vec<_>>(), ids);
    assert_eq!(good(&[&["wait"], &ids[..]].concat()), "143\n143\n143");
}

#[test]
fn a_stopped_container_lets_go_of_a_reader_who_does_not_read() {
    let mut child = lab::command(&["run", "--name", "stuck", "busybox", "yes"]).stdout(Stdio::piped()).spawn().unwrap();
    read_until(child.stdout.as_mut().unwrap(), "y\n");
    assert_eq!(good(&["stop", "-t", "1", "stuck"]), "stuck");
    assert!(status("stuck").starts_with("Exited (1"), "{}", status("stuck"));
    drop(child.stdout.take());
    child.wait().unwrap();
    good(&["rm", "stuck"]);
}

#[test]
fn an_image_that_a_container_needs_is_not_removed() {
    let _container = Background::start(&["--name", "needs", "busybox", "sleep", "1000"]);
    let done = coracle(&["rmi", "busybox"]);
    assert_eq!(done.code, 1);
    assert!(done.stderr.contains("needs"), "{done:?}");
    assert!(good(&["images"]).contains("busybox"));
}

//! Containers that are made, started, started again, given other names, looked at and cleared away.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says what is wrong by panicking")]

mod lab;

use lab::{Background, command, coracle, eventually, feed, good, traces};

/// Makes a container with these arguments of `create`; removed when this is dropped.
fn create(arguments: &[&str]) -> Background {
    Background { id: good(&[&["create"], arguments].concat()) }
}

fn inspect(name: &str, template: &str) -> String {
    good(&["inspect", "--type", "container", "-f", template, name])
}

#[test]
fn a_container_is_made_and_started_later_again_and_again() {
    let script = "echo run >> /count; cat /count; exit 4";
    let container = create(&["--name", "made", "busybox", "sh", "-c", script]);
    assert_eq!(inspect("made", "{{.State.Status}} {{.State.ExitCode}}"), "created 0");
    assert_eq!(good(&["ps", "-q"]), "");
    assert!(good(&["ps", "-a"]).contains("Created"));
    assert_eq!(good(&["wait", "made"]), "0");
    let done = coracle(&["start", "-a", "made"]);
    assert_eq!((done.code, done.stdout.as_str()), (4, "run\n"), "{done:?}");
    // What it wrote is there when it is started again, by any of its names.
    let done = coracle(&["start", "--attach", &container.id[..12]]);
    assert_eq!((done.code, done.stdout.as_str()), (4, "run\nrun\n"), "{done:?}");
    assert_eq!(good(&["start", "made"]), "made");
    assert_eq!(good(&["wait", "made"]), "4");
    assert_eq!(good(&["logs", "made"]).lines().count(), 6);
    assert_eq!(inspect("made", "{{.State.Status}} {{.State.ExitCode}} {{.Id}}"), format!("exited 4 {}", container.id));
    assert_eq!(good(&["rm", "made"]), "made");
}

#[test]
fn a_container_that_is_started_reads_what_it_is_given() {
    let container = create(&["-i", "busybox", "cat"]);
    let (code, output) = feed(&["start", "-ai", &container.id], b"over the water");
    assert_eq!((code, output.as_slice()), (0, b"over the water".as_slice()));
}

#[test]
fn a_container_made_to_be_removed_is_gone_after_its_first_run() {
    let before = traces();
    let container = create(&["--rm", "busybox", "true"]);
    assert_eq!(good(&["ps", "-aq", "--no-trunc"]), container.id);
    assert_eq!(coracle(&["start", "-a", &container.id]).code, 0);
    eventually("the end of all traces", || (traces() == before).then_some(()));
    assert_eq!(coracle(&["start", &container.id]).code, 1);
}

#[test]
fn what_cannot_be_started_says_so() {
    let container = create(&["--name", "lost", "busybox", "no-such-command"]);
    let done = coracle(&["start", "lost", "nobody"]);
    assert_eq!((done.code, done.stdout.as_str()), (1, ""), "{done:?}");
    assert!(done.stderr.contains("no-such-command") && done.stderr.contains("No such container: nobody"), "{done:?}");
    assert_eq!(coracle(&["start", "-a", &container.id]).code, 127);
    let done = coracle(&["start", "-a", "lost", "nobody"]);
    assert!(done.stderr.contains("cannot start and attach multiple"), "{done:?}");
    assert_eq!(coracle(&["create", "--name", "lost", "busybox", "true"]).code, 1);
    assert_eq!(good(&["rm", "lost"]), "lost");
}

#[test]
fn a_restart_is_a_stop_and_a_start() {
    let script = "trap 'echo down; exit 3' TERM; echo up; while :; do sleep 0.1; done";
    let container = Background::start(&["--name", "again", "busybox", "sh", "-c", script]);
    let logs = |text: &str| eventually(text, || (coracle(&["logs", "again"]).stdout == text).then_some(()));
    logs("up\n");
    let first = inspect("again", "{{.State.StartedAt}} {{.State.Pid}}");
    assert_eq!(good(&["start", "again"]), "again", "one that runs is started already");
    assert_eq!(good(&["restart", "-t", "20", "again"]), "again");
    logs("up\ndown\nup\n");
    assert_ne!(inspect("again", "{{.State.StartedAt}} {{.State.Pid}}"), first);
    assert_eq!(good(&["ps", "-q", "--no-trunc"]), container.id);
    assert_eq!(good(&["stop", "again"]), "again");
    assert_eq!(good(&["restart", "again"]), "again", "one that has ended is merely started");
    assert_eq!(inspect("again", "{{.State.Running}}"), "true");
}

#[test]
fn a_container_that_would_be_removed_is_not_restarted() {
    let container = Background::start(&["--rm", "busybox", "sleep", "1000"]);
    let done = coracle(&["restart", &container.id]);
    assert_eq!(done.code, 1);
    assert!(done.stderr.contains("--rm"), "{done:?}");
    assert_eq!(good(&["ps", "-q", "--no-trunc"]), container.id);
}

#[test]
fn a_container_gets_another_name_while_it_runs() {
    let before = traces();
    let container = Background::start(&["--rm", "--name", "old", "busybox", "sleep", "1000"]);
    let other = create(&["--name", "other", "busybox", "true"]);
    assert_eq!(good(&["rename", "old", "new"]), "");
    assert_eq!(coracle(&["rename", "old", "newer"]).code, 1);
    let done = coracle(&["rename", "new", "other"]);
    assert!(done.code == 1 && done.stderr.contains("taken"), "{done:?}");
    assert_eq!(inspect("new", "{{.Name}} {{.Id}}"), format!("/new {}", container.id));
    // The old name is free.
    assert_eq!(good(&["rename", "other", "old"]), "");
    assert_eq!(inspect("old", "{{.Id}}"), other.id);
    assert_eq!(good(&["stop", "-t", "1", "new"]), "new");
    assert_eq!(good(&["rm", "old"]), "old");
    eventually("the end of all traces", || (traces() == before).then_some(()));
}

#[test]
fn containers_that_do_not_run_are_cleared_away() {
    let running = Background::start(&["--label", "a=b", "busybox", "sleep", "1000"]);
    let one = create(&["--label", "a=b", "busybox", "true"]);
    let other = create(&["--label", "a=c", "busybox", "true"]);
    assert_eq!(good(&["container", "prune", "-f", "--filter", "until=1h"]), "Total reclaimed space: 0B");
    let said = good(&["container", "prune", "-f", "--filter", "label=a=b"]);
    assert!(said.starts_with(&format!("Deleted Containers:\n{}\n\nTotal reclaimed space: ", one.id)), "{said}");
    assert_eq!(coracle(&["container", "prune"]).code, 1, "nobody can be asked");
    assert!(good(&["container", "prune", "--force"]).contains(&other.id));
    assert_eq!(good(&["container", "ls", "-aq", "--no-trunc"]), running.id);
}

#[test]
fn the_verbs_have_longer_names() {
    let container = Background { id: good(&["container", "create", "--name", "long", "busybox", "sleep", "1000"]) };
    assert_eq!(good(&["container", "start", "long"]), "long");
    assert_eq!(good(&["container", "restart", "-t", "1", "long"]), "long");
    assert_eq!(good(&["container", "rename", "long", "longer"]), "");
    assert_eq!(good(&["container", "inspect", "-f", "{{.Name}}", &container.id[..8]]), "/longer");
    assert_eq!(good(&["container", "kill", "longer"]), "longer");
    assert_eq!(good(&["container", "wait", "longer"]), "137");
    assert_eq!(good(&["container", "logs", "longer"]), "");
    assert_eq!(good(&["container", "stop", "longer"]), "longer");
    assert_eq!(good(&["container", "rm", "longer"]), "longer");
    assert_eq!(coracle(&["container", "run", "--rm", "--pull", "never", "no-such-image"]).code, 125);
}

#[test]
fn containers_are_inspected_before_images() {
    let container = create(&["--name", "busybox", "-e", "A=1", "-m", "128m", "-l", "k=v", "busybox", "echo", "hi"]);
    let show = |template: &str| good(&["inspect", "-f", template, "busybox"]);
    assert_eq!(show("{{.Id}}"), container.id);
    assert_eq!(
        show("{{.Path}} {{json .Args}} {{.HostConfig.Memory}} {{.Config.Labels.k}}"),
        r#"echo ["hi"] 134217728 v"#
    );
    assert!(show("{{json .Config.Env}}").contains("\"A=1\""));
    assert!(show("{{.Image}}").starts_with("sha256:"));
    assert_eq!(good(&["inspect", "--type", "image", "-f", "{{.Id}}", "busybox"]), show("{{.Image}}"));
    assert_eq!(good(&["image", "inspect", "-f", "{{.Id}}", "busybox"]), show("{{.Image}}"));
    let all = good(&["inspect", "busybox"]);
    assert!(all.starts_with("[\n    {\n        \"Id\": "), "{all}");
    let done = command(&["inspect", "nobody"]).output().unwrap();
    assert_eq!((done.status.code(), done.stdout.as_slice()), (Some(1), b"[]\n".as_slice()));
}

#[test]
fn containers_are_listed_as_they_are_asked_for() {
    let first = create(&["--name", "list-first", "-l", "tier=front", "-v", "kept:/data", "busybox", "true"]);
    let second = Background::start(&["--name", "list-second", "-l", "tier=back", "busybox", "sh", "-c", "exit 3"]);
    assert_eq!(good(&["wait", "list-second"]), "3");
    let third = Background::start(&["--name", "list-third", "busybox", "sleep", "1000"]);
    let list = |arguments: &[&str]| {
        let names = good(&[&["ps", "--format", "{{.Names}}"], arguments].concat());
        names.lines().map(str::to_owned).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(list(&[]), "list-third");
    assert_eq!(list(&["-a"]), "list-third list-second list-first");
    assert_eq!(list(&["-n", "2"]), "list-third list-second");
    assert_eq!(list(&["-l"]), "list-third");
    for (filter, names) in [
        ("name=list-", "list-third list-second list-first"),
        ("name=^list-t", "list-third"),
        ("label=tier", "list-second list-first"),
        ("label=tier=front", "list-first"),
        ("exited=3", "list-second"),
        ("status=created", "list-first"),
        ("status=running", "list-third"),
        ("volume=kept", "list-first"),
        ("ancestor=busybox", "list-third list-second list-first"),
        ("ancestor=another", ""),
        ("before=list-second", "list-first"),
        ("since=list-second", "list-third"),
        (&format!("id={}", &third.id[..12]), "list-third"),
    ] {
        assert_eq!(list(&["-a", "--filter", filter]), names, "{filter}");
    }
    assert_eq!(list(&["--filter", "status=exited"]), "list-second", "a status means all");
    assert_eq!(list(&["-f", "since=list-first", "-f", "label=tier"]), "list-second");
    assert_eq!(coracle(&["ps", "--filter", "status=asleep"]).code, 1);
    assert_eq!(coracle(&["ps", "--filter", "colour=red"]).code, 1);
    assert_eq!(good(&["ps", "-aq", "--no-trunc", "-f", "name=first"]), first.id);
    let table = good(&["ps", "-a", "-s", "--format", "table {{.ID}}\t{{.Labels}}\t{{.Status}}"]);
    let lines: Vec<&str> = table.lines().collect();
    assert!(lines[0].starts_with("CONTAINER ID   LABELS       STATUS"), "{table}");
    assert!(lines[2].starts_with(&format!("{}   tier=back    Exited (3) ", &second.id[..12])), "{table}");
    assert!(good(&["ps", "-s"]).lines().next().unwrap().ends_with("SIZE"));
    assert!(good(&["ps", "-l", "--format", "{{.Size}}"]).contains(" (virtual "));
    assert!(good(&["ps", "-l", "--format", "json"]).contains(&format!(r#""ID":"{}""#, &third.id[..12])));
}

//! Volumes: what a container and its host see of each other's files.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says what is wrong by panicking")]

mod lab;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use lab::{coracle, good, run};

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir_in("/dev/shm").unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    folder
}

fn volume(source: &Path, rest: &str) -> String {
    format!("{}:{rest}", source.display())
}

#[test]
fn a_volume_is_read_and_written_from_both_sides() {
    let folder = folder();
    fs::write(folder.path().join("host"), "from the host\n").unwrap();
    let done = run(&[
        "-v",
        &volume(folder.path(), "/data"),
        "busybox",
        "sh",
        "-c",
        "cat /data/host; echo from the guest > /data/guest",
    ]);
    assert_eq!((done.code, done.stdout.as_str()), (0, "from the host\n"), "{done:?}");
    assert_eq!(fs::read_to_string(folder.path().join("guest")).unwrap(), "from the guest\n");
}

#[test]
fn a_read_only_volume_stays_so_whatever_the_guest_does() {
    let folder = folder();
    fs::write(folder.path().join("file"), "kept").unwrap();
    let script = "echo x > /data/file; rm /data/file; touch /data/new; \
                  mount -o remount,rw /data; echo y > /data/file; rm -f /data/file; mkdir /data/folder; chmod 777 /data; \
                  cat /data/file";
    let done = run(&["-v", &volume(folder.path(), "/data:ro"), "busybox", "sh", "-c", script]);
    assert_eq!(done.stdout, "kept", "{done:?}");
    assert_eq!(fs::read_to_string(folder.path().join("file")).unwrap(), "kept");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    assert_eq!(fs::metadata(folder.path()).unwrap().mode() & 0o777, 0o755);
}

#[test]
fn owners_and_modes_are_exact() {
    let folder = folder();
    fs::write(folder.path().join("host"), "").unwrap();
    std::os::unix::fs::chown(folder.path().join("host"), Some(1234), Some(5678)).unwrap();
    let script = "stat -c %u:%g:%a /data/host; touch /data/a; chown 33:100 /data/a; chmod 4751 /data/a; stat -c %u:%g:%a /data/a";
    let done = run(&["-v", &volume(folder.path(), "/data"), "busybox", "sh", "-c", script]);
    assert_eq!(done.stdout, "1234:5678:644\n33:100:4751\n", "{done:?}");
    let status = fs::metadata(folder.path().join("a")).unwrap();
    assert_eq!((status.uid(), status.gid(), status.mode() & 0o7777), (33, 100, 0o4751));
}

#[test]
fn a_user_of_the_container_writes_as_that_user() {
    let folder = folder();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
    assert_eq!(run(&["-u", "33:33", "-v", &volume(folder.path(), "/data"), "busybox", "touch", "/data/file"]).code, 0);
    let status = fs::metadata(folder.path().join("file")).unwrap();
    assert_eq!((status.uid(), status.gid()), (33, 33));
}

#[test]
fn a_single_file_is_a_volume_too() {
    let folder = folder();
    let file = folder.path().join("settings");
    fs::write(&file, "a=1\n").unwrap();
    let done = run(&["-v", &volume(&file, "/etc/settings:ro"), "busybox", "cat", "/etc/settings"]);
    assert_eq!((done.code, done.stdout.as_str()), (0, "a=1\n"), "{done:?}");
}

#[test]
fn a_named_volume_outlives_its_containers() {
    assert_eq!(run(&["-v", "kept:/data", "busybox", "sh", "-c", "echo hello > /data/file"]).code, 0);
    assert_eq!(run(&["-v", "kept:/data", "busybox", "cat", "/data/file"]).stdout, "hello\n");
    assert_eq!(fs::read_to_string("/var/lib/coracle/volumes/kept/_data/file").unwrap(), "hello\n");
}

#[test]
fn several_volumes_are_apart() {
    let (one, other) = (folder(), folder());
    let script = "echo 1 > /a/file; echo 2 > /b/file 2>/dev/null; mkdir -p /c";
    let flags = ["-v", &volume(one.path(), "/a"), "-v", &volume(other.path(), "/b:ro"), "busybox", "sh", "-c", script];
    assert_eq!(run(&flags).code, 0);
    assert_eq!(fs::read_to_string(one.path().join("file")).unwrap(), "1\n");
    assert_eq!(fs::read_dir(other.path()).unwrap().count(), 0);
}

#[test]
fn what_a_container_writes_to_its_root_is_its_own() {
    assert_eq!(run(&["busybox", "sh", "-c", "echo x > /etc/passwd"]).code, 0);
    assert!(run(&["busybox", "cat", "/etc/passwd"]).stdout.starts_with("root:"));
    assert_eq!(good(&["ps", "-aq"]), "");
}

#[test]
fn a_volume_has_a_life_of_its_own() {
    assert_eq!(good(&["volume", "create", "--label", "tier=back", "own"]), "own");
    assert_eq!(good(&["volume", "create", "own"]), "own", "one that is there stays");
    assert_eq!(good(&["volume", "inspect", "-f", "{{.Name}} {{.Labels.tier}} {{.Driver}}", "own"]), "own back local");
    let data = good(&["volume", "inspect", "--format", "{{.Mountpoint}}", "own"]);
    assert_eq!(good(&["volume", "ls", "-q", "-f", "label=tier=back"]), "own");
    assert_eq!(good(&["volume", "ls", "-f", "name=own"]), "DRIVER   VOLUME NAME\nlocal    own");

    assert_eq!(good(&["run", "--name", "user", "-v", "own:/data", "busybox", "touch", "/data/file"]), "");
    assert!(Path::new(&data).join("file").exists());
    let done = coracle(&["volume", "rm", "own"]);
    assert!(done.code == 1 && done.stderr.contains("in use"), "{done:?}");
    assert_eq!(good(&["volume", "ls", "-q", "-f", "dangling=true", "-f", "label=tier"]), "");
    assert_eq!(good(&["rm", "user"]), "user");
    assert_eq!(good(&["volume", "ls", "-q", "-f", "dangling=true", "-f", "label=tier"]), "own");
    assert_eq!(good(&["volume", "rm", "own"]), "own");
    assert!(!Path::new(&data).exists());
    assert_eq!(coracle(&["volume", "rm", "own"]).code, 1);
    assert_eq!(good(&["volume", "rm", "-f", "own"]), "own");
    let done = coracle(&["volume", "inspect", "own"]);
    assert_eq!((done.code, done.stdout.as_str()), (1, "[]\n"));
}

#[test]
fn volumes_that_nobody_named_are_cleared_away() {
    let random = good(&["volume", "create"]);
    assert_eq!((random.len(), good(&["volume", "create", "--label", "keep", "named"]).as_str()), (64, "named"));
    assert_eq!(coracle(&["volume", "prune"]).code, 1, "nobody can be asked");
    let said = good(&["volume", "prune", "-f"]);
    assert!(said.contains(&format!("Deleted Volumes:\n{random}\n\nTotal reclaimed space: ")), "{said}");
    assert_eq!(
        good(&["volume", "prune", "-af", "--filter", "label!=keep", "--filter", "label=keep"]),
        "Total reclaimed space: 0B"
    );
    assert!(good(&["volume", "prune", "-af", "--filter", "label=keep"]).contains("named"));
    assert_eq!(good(&["volume", "ls", "-q", "-f", "label=keep"]), "");
}

#[test]
fn mounts_say_the_same_in_other_words() {
    let folder = folder();
    fs::write(folder.path().join("file"), "from the host").unwrap();
    let bind = format!("type=bind,source={},target=/data,readonly", folder.path().display());
    let script = "cat /data/file; echo x > /data/new || echo x > /kept/new";
    let done = run(&["--mount", &bind, "--mount", "source=mounted,dst=/kept", "busybox", "sh", "-c", script]);
    assert_eq!((done.code, done.stdout.as_str()), (0, "from the host"), "{done:?}");
    assert!(!folder.path().join("new").exists());
    assert!(Path::new("/var/lib/coracle/volumes/mounted/_data/new").exists());
    assert_eq!(good(&["volume", "rm", "mounted"]), "mounted");
    let done = run(&["--mount", "type=tmpfs,target=/x", "busybox", "true"]);
    assert!(done.code == 125 && done.stderr.contains("tmpfs"), "{done:?}");
}

#[test]
fn a_volume_that_nobody_named_goes_with_its_container() {
    let before = good(&["volume", "ls", "-q"]);
    assert_eq!(run(&["-v", "/data", "busybox", "touch", "/data/file"]).code, 0);
    assert_eq!(good(&["volume", "ls", "-q"]), before);
    good(&["run", "--name", "one", "-v", "/data", "busybox", "sh", "-c", "echo shared > /data/file"]);
    let done = run(&["--volumes-from", "one:ro", "busybox", "sh", "-c", "cat /data/file; echo > /data/file"]);
    assert_eq!((done.code, done.stdout.as_str()), (1, "shared\n"), "{done:?}");
    assert_eq!(good(&["volume", "ls", "-q"]).lines().count(), before.lines().count() + 1);
    assert_eq!(good(&["rm", "-v", "one"]), "one");
    assert_eq!(good(&["volume", "ls", "-q"]), before);
    assert_eq!(run(&["--volumes-from", "one", "busybox", "true"]).code, 125);
}

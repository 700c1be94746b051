use super::*;
use std::fs::{self, File, Permissions};
use std::io::{Read, Seek};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::ExitStatus;

use nix::unistd::{Gid, Uid};
use tempfile::TempDir;

fn root() -> Identity {
    Identity { uid: Uid::from_raw(0), gid: Gid::from_raw(0), groups: vec![], home: "/root".into() }
}

fn nobody() -> Identity {
    let (gid, more) = (Gid::from_raw(65_534), Gid::from_raw(1234));
    Identity { uid: Uid::from_raw(65_534), gid, groups: vec![gid, more], home: "/".into() }
}

fn run_as(identity: &Identity, process: &Process) -> Result<(ExitStatus, String), StartError> {
    let mut output = tempfile::tempfile_in("/dev/shm").unwrap();
    let null = File::open("/dev/null").unwrap();
    let copy = |file: &File| OwnedFd::from(file.try_clone().unwrap());
    let pid = start(process, identity, &[copy(&null), copy(&output), copy(&output)])?;
    let mut status = 0;
    // SAFETY: `status` is a valid integer for the kernel to fill, and outlives the call.
    assert_eq!(unsafe { libc::waitpid(pid.as_raw(), &raw mut status, 0) }, pid.as_raw());
    let mut text = String::new();
    output.rewind().unwrap();
    output.read_to_string(&mut text).unwrap();
    Ok((ExitStatus::from_raw(status), text))
}

fn command_of(arguments: &[&str]) -> Process {
    Process { arguments: arguments.iter().map(|&argument| argument.to_owned()).collect(), ..Process::default() }
}

fn shell(script: &str) -> Process {
    command_of(&["/bin/sh", "-c", script])
}

fn output(process: &Process) -> String {
    let (status, text) = run_as(&root(), process).unwrap();
    assert!(status.success(), "{status}: {text}");
    text
}

fn refused(process: &Process) -> (StartErrorKind, String) {
    let error = run_as(&root(), process).unwrap_err();
    (error.kind, error.message)
}

/// A folder with one file in it, of `mode`.
fn folder_with(name: &str, content: &str, mode: u32) -> TempDir {
    let folder = TempDir::new_in("/dev/shm").unwrap();
    let path = folder.path().join(name);
    fs::write(&path, content).unwrap();
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    folder
}

fn path_variable(folders: &[&Path]) -> Vec<String> {
    let folders: Vec<_> = folders.iter().map(|folder| folder.to_str().unwrap()).collect();
    vec![format!("PATH={}", folders.join(":"))]
}

#[test]
fn arguments_and_environment_arrive_as_given() {
    let mut process = shell("printf '%s|' \"$0\" \"$@\"; env");
    process.arguments.extend(["zero", "a b", "", "\u{20ac}"].map(String::from));
    process.environment = vec!["X=1 2".into(), "EMPTY=".into()];
    let text = output(&process);
    let (arguments, environment) = text.rsplit_once('|').unwrap();
    assert_eq!(arguments, "zero|a b||\u{20ac}");
    let mut names: Vec<_> =
        environment.lines().filter(|line| !line.starts_with("PWD=") && !line.starts_with("_=")).collect();
    names.retain(|line| !line.starts_with("SHLVL=") && !line.starts_with("OLDPWD="));
    names.sort_unstable();
    assert_eq!(names, ["EMPTY=", "HOME=/root", "X=1 2"]);
}

#[test]
fn exit_codes_and_signals_are_the_processs_own() {
    assert_eq!(run_as(&root(), &shell("exit 42")).unwrap().0.code(), Some(42));
    assert_eq!(run_as(&root(), &shell("kill -TERM $$")).unwrap().0.signal(), Some(15));
    assert_eq!(run_as(&root(), &shell("kill -PIPE $$")).unwrap().0.signal(), Some(13));
}

#[test]
fn a_program_is_found_in_the_path_of_its_own_environment() {
    let (empty, full) = (TempDir::new().unwrap(), folder_with("boat", "#!/bin/sh\necho found\n", 0o755));
    let environment = path_variable(&[Path::new("/nowhere"), Path::new("/etc/passwd"), empty.path(), full.path()]);
    assert_eq!(output(&Process { environment, ..command_of(&["boat"]) }), "found\n");
}

#[test]
fn without_a_path_the_usual_folders_are_searched() {
    assert_eq!(output(&command_of(&["echo", "hello"])), "hello\n");
}

#[test]
fn a_program_that_is_nowhere_is_not_found() {
    let message = "exec: \"no-such-boat\": executable file not found in $PATH";
    assert_eq!(refused(&command_of(&["no-such-boat"])), (StartErrorKind::NotFound, message.into()));
    assert_eq!(refused(&command_of(&[""])).0, StartErrorKind::NotFound);
}

#[test]
fn a_path_that_is_not_there_is_not_found() {
    let message = "exec: \"/no/boat\": stat /no/boat: no such file or directory";
    assert_eq!(refused(&command_of(&["/no/boat"])), (StartErrorKind::NotFound, message.into()));
}

#[test]
fn a_file_without_permission_is_not_executable() {
    let folder = folder_with("boat", "#!/bin/sh\n", 0o644);
    let expected = |name: &str| (StartErrorKind::NotExecutable, format!("exec: {name:?}: permission denied"));
    let path = folder.path().join("boat").to_str().unwrap().to_owned();
    assert_eq!(refused(&command_of(&[&path])), expected(&path));
    let environment = path_variable(&[folder.path(), Path::new("/nowhere")]);
    assert_eq!(refused(&Process { environment, ..command_of(&["boat"]) }), expected("boat"));
}

#[test]
fn a_program_further_on_is_preferred_to_one_that_is_not_executable() {
    let (first, second) = (folder_with("boat", "", 0o644), folder_with("boat", "#!/bin/sh\necho second\n", 0o755));
    let environment = path_variable(&[first.path(), second.path()]);
    assert_eq!(output(&Process { environment, ..command_of(&["boat"]) }), "second\n");
}

#[test]
fn a_folder_is_not_executable() {
    assert_eq!(
        refused(&command_of(&["/etc"])),
        (StartErrorKind::NotExecutable, "exec: \"/etc\": is a directory".into())
    );
}

#[test]
fn a_file_of_no_known_format_is_not_executable() {
    let folder = folder_with("boat", "no program", 0o755);
    let (kind, message) = refused(&command_of(&[folder.path().join("boat").to_str().unwrap()]));
    assert_eq!(kind, StartErrorKind::NotExecutable);
    assert!(message.ends_with(": exec format error"), "{message}");
}

#[test]
fn a_script_whose_interpreter_is_missing_names_it() {
    let folder = folder_with("boat", "#!/no/shell -e\n", 0o755);
    let (kind, message) = refused(&Process { environment: path_variable(&[folder.path()]), ..command_of(&["boat"]) });
    assert_eq!(kind, StartErrorKind::NotFound);
    assert_eq!(message, "exec: \"boat\": its interpreter /no/shell: no such file or directory");
}

#[test]
fn the_working_directory_is_created_if_absent() {
    let folder = TempDir::new_in("/dev/shm").unwrap();
    let directory = folder.path().join("a/b c").to_str().unwrap().to_owned();
    assert_eq!(output(&Process { working_directory: directory.clone(), ..shell("pwd") }), format!("{directory}\n"));
    assert_eq!(fs::metadata(directory).unwrap().permissions().mode() & 0o7777, 0o755);
    assert_eq!(output(&shell("pwd")), "/\n");
}

#[test]
fn a_working_directory_that_is_a_file_is_an_error() {
    let (kind, message) = refused(&Process { working_directory: "/etc/passwd".into(), ..shell("") });
    assert_eq!(kind, StartErrorKind::Setup);
    assert_eq!(
        message,
        "Cannot start the process: Enter the working directory \"/etc/passwd\": ENOTDIR: Not a directory"
    );
}

#[test]
fn a_relative_working_directory_is_an_error() {
    let (kind, message) = refused(&Process { working_directory: "etc".into(), ..shell("") });
    assert_eq!((kind, message.contains("\"etc\" is not an absolute path")), (StartErrorKind::Setup, true));
}

#[test]
fn nothing_to_run_and_zero_bytes_are_errors() {
    assert_eq!(refused(&Process::default()).0, StartErrorKind::Setup);
    assert_eq!(refused(&command_of(&["/bin/echo", "a\0b"])).0, StartErrorKind::Setup);
    assert_eq!(refused(&Process { environment: vec!["A=\0".into()], ..shell("") }).0, StartErrorKind::Setup);
}

#[test]
fn a_process_runs_as_its_user_with_its_groups_only() {
    let (status, text) =
        run_as(&nobody(), &shell("id -u; id -g; id -G; umask; ulimit -n; grep CapEff /proc/self/status")).unwrap();
    assert!(status.success());
    assert_eq!(text, "65534\n65534\n65534 1234\n0022\n1024\nCapEff:\t0000000000000000\n");
}

#[test]
fn what_only_another_user_may_execute_is_not_executable() {
    let folder = folder_with("boat", "#!/bin/sh\n", 0o700);
    fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
    let process = command_of(&[folder.path().join("boat").to_str().unwrap()]);
    assert_eq!(run_as(&nobody(), &process).unwrap_err().kind, StartErrorKind::NotExecutable);
}

/// Descriptors that this test process was itself given to pass on.
fn inherited() -> usize {
    let flags = |number: &str| fs::read_to_string(format!("/proc/self/fdinfo/{number}")).unwrap_or_default();
    let passed_on = |number: &str| {
        let flags = flags(number);
        let flags = flags.lines().find_map(|line| line.strip_prefix("flags:\t"));
        flags.is_some_and(|flags| i32::from_str_radix(flags, 8).unwrap() & libc::O_CLOEXEC == 0)
    };
    let numbers = fs::read_dir("/proc/self/fd").unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    numbers.filter(|number| number.parse::<i32>().unwrap() > 2 && passed_on(number)).count()
}

#[test]
fn a_process_starts_with_nothing_but_its_streams_and_no_signal_held_back() {
    let text = output(&shell("ls /proc/self/fd | wc -l; grep -E 'Sig(Blk|Ign)' /proc/self/status"));
    let lines: Vec<_> = text.lines().map(str::trim).collect();
    let [count, blocked, ignored] = lines[..] else { panic!("{text}") };
    // Its three streams, and the folder `ls` reads.
    assert_eq!(count, (4 + inherited()).to_string());
    assert_eq!(blocked, "SigBlk:\t0000000000000000");
    // The test's own process ignores SIGPIPE, as Rust programs do.
    let ignored = u64::from_str_radix(ignored.strip_prefix("SigIgn:\t").unwrap(), 16).unwrap();
    assert_eq!(ignored & 1 << (libc::SIGPIPE - 1), 0);
}

#[test]
fn too_many_arguments_are_not_executable() {
    let mut process = shell("");
    process.arguments.push("x".repeat(3 << 20));
    assert_eq!(refused(&process), (StartErrorKind::NotExecutable, "exec: \"/bin/sh\": argument list too long".into()));
}

//! What tests of the whole program share. They run as root on a host with KVM (see scripts/lab), where `coracle` is on
//! the PATH and its store has the image `busybox`.
#![allow(dead_code, reason = "every test binary uses a part of it")]

use std::fs;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Longest time anything may take: the host is emulated, and its guests are emulated in that.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// What a command did.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// A `coracle` command, not started yet.
pub(crate) fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new("coracle");
    command.args(arguments).stdin(Stdio::null());
    command
}

/// Runs `coracle` to its end.
pub(crate) fn coracle(arguments: &[&str]) -> Done {
    done(&command(arguments).output().unwrap())
}

/// Runs `coracle run --rm` to its end.
pub(crate) fn run(arguments: &[&str]) -> Done {
    coracle(&[&["run", "--rm"], arguments].concat())
}

/// Runs `coracle` and insists that it succeeds; what it printed, without the last newline.
pub(crate) fn good(arguments: &[&str]) -> String {
    let done = coracle(arguments);
    assert_eq!(done.code, 0, "{arguments:?}: {done:?}");
    done.stdout.trim_end().to_owned()
}

/// Runs `coracle` with `input` on its standard input, of which everything is taken, and returns what it printed.
pub(crate) fn feed(arguments: &[&str], input: &[u8]) -> (i32, Vec<u8>) {
    let mut child = command(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let (mut stdin, mut stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let output = std::thread::scope(|scope| {
        scope.spawn(move || {
            stdin.write_all(input).unwrap();
        });
        let mut output = Vec::new();
        stdout.read_to_end(&mut output).unwrap();
        output
    });
    (child.wait().unwrap().code().unwrap(), output)
}

pub(crate) fn done(output: &std::process::Output) -> Done {
    use std::os::unix::process::ExitStatusExt;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let code = output.status.code().unwrap_or_else(|| -output.status.signal().unwrap());
    Done { code, stdout: text(&output.stdout), stderr: text(&output.stderr) }
}

/// Reads from a child's output until `text` has come.
pub(crate) fn read_until(from: &mut impl Read, text: &str) -> String {
    let mut seen = Vec::new();
    let mut byte = [0];
    while !String::from_utf8_lossy(&seen).contains(text) {
        assert_eq!(from.read(&mut byte).unwrap_or(0), 1, "{text:?} did not come after {:?}", show(&seen));
        seen.push(byte[0]);
    }
    show(&seen)
}

/// Reads so many bytes from a child's output.
pub(crate) fn read_exactly(from: &mut impl Read, count: usize) {
    from.read_exact(&mut vec![0; count]).unwrap();
}

fn show(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Looks again and again until `look` finds something.
pub(crate) fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(start.elapsed() < PATIENCE, "{what} did not happen within {PATIENCE:?}");
        std::thread::yield_now();
    }
}

/// Command lines of the host's processes that mention `word`, with their process ids; our own not among them.
pub(crate) fn processes(word: &str) -> Vec<(i32, String)> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap() {
        let path = entry.unwrap().path();
        let Some(pid) = path.file_name().and_then(|name| name.to_str()?.parse().ok()) else { continue };
        let line = fs::read(path.join("cmdline")).unwrap_or_default();
        let line = show(&line).replace('\0', " ");
        if pid != std::process::id() as i32 && line.contains(word) {
            found.push((pid, line.trim_end().to_owned()));
        }
    }
    found
}

/// Everything that a container leaves on a host: folders, mounts, processes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Traces {
    containers: Vec<PathBuf>,
    run: Vec<PathBuf>,
    names: Vec<PathBuf>,
    mounts: Vec<String>,
    pub(crate) processes: Vec<String>,
}

impl Traces {
    /// The same, as if all processes had ended.
    pub(crate) fn without_processes(self) -> Traces {
        Traces { processes: Vec::new(), ..self }
    }
}

/// The host as it is now. Layers stay mounted for the next container, so they do not count.
pub(crate) fn traces() -> Traces {
    let list = |folder: &str| {
        let entries = fs::read_dir(folder).into_iter().flatten();
        let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        paths
    };
    let mountinfo = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let ours = |line: &&str| line.contains("/run/coracle/") && !line.contains("/run/coracle/layers/");
    Traces {
        containers: list("/var/lib/coracle/containers"),
        run: list("/run/coracle/containers"),
        names: list("/var/lib/coracle/names"),
        mounts: mountinfo.lines().filter(ours).map(str::to_owned).collect(),
        processes: processes("coracle m").into_iter().map(|(_, line)| line).collect(),
    }
}

/// A container in the background; removed with all force when this is dropped.
pub(crate) struct Background {
    pub(crate) id: String,
}

impl Background {
    /// Starts a container with these arguments of `run -d`.
    pub(crate) fn start(arguments: &[&str]) -> Background {
        Background { id: good(&[&["run", "-d"], arguments].concat()) }
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        let _ = command(&["rm", "-f", &self.id]).output();
    }
}

/// Sends a signal to a child.
pub(crate) fn signal(child: &Child, signal: nix::sys::signal::Signal) {
    let pid = nix::unistd::Pid::from_raw(child.id().try_into().unwrap());
    nix::sys::signal::kill(pid, signal).unwrap();
}

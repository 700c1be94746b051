//! Help for tests of what only root, or only PID 1, can do: in namespaces of their own, so that the machine the tests
//! run on notices nothing.

use std::os::fd::{AsFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::Command;
use std::thread;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, fork, getpid};

/// Runs `work` in a thread that has a mount namespace, a root and a working directory of its own.
pub(crate) fn with_own_mounts<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    let run = || {
        unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_FS).unwrap();
        make_mounts_private();
        work()
    };
    thread::scope(|scope| scope.spawn(run).join().unwrap())
}

/// Set in a test process that was started for one test alone.
const ALONE: &str = "GUEST_INIT_TEST_ALONE";

/// Runs `work` as PID 1 of a process namespace of its own; what it asserts holds.
///
/// The calling test is started once more in a process of its own: in the one it shares with other tests, a child might
/// be forked while another thread holds a lock, which nobody would ever release in that child.
pub(crate) fn as_init(work: impl FnOnce()) {
    if std::env::var_os(ALONE).is_none() {
        return again_alone();
    }
    in_child(|| {
        unshare(CloneFlags::CLONE_NEWPID | CloneFlags::CLONE_NEWNS).unwrap();
        make_mounts_private();
        in_child(|| {
            assert_eq!(getpid().as_raw(), 1);
            work();
        });
    });
}

/// Starts the test this thread runs in a process of its own.
fn again_alone() {
    let test = thread::current().name().unwrap().to_owned();
    let mut command = Command::new(std::env::current_exe().unwrap());
    let output = command.args([test.as_str(), "--exact", "--nocapture"]).env(ALONE, "1").output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

/// Runs `work` in a child, which has one thread whatever its parent has.
fn in_child(work: impl FnOnce()) {
    // SAFETY: the C library makes its own state usable in the child; `work` needs nothing of other threads.
    match unsafe { fork() }.unwrap() {
        ForkResult::Parent { child } => assert_eq!(waitpid(child, None).unwrap(), WaitStatus::Exited(child, 0)),
        ForkResult::Child => {
            let failed = catch_unwind(AssertUnwindSafe(work)).is_err();
            // SAFETY: _exit takes an integer and ends this process without running anything of the parent's.
            unsafe { libc::_exit(i32::from(failed)) }
        }
    }
}

fn make_mounts_private() {
    let none = None::<&str>;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).unwrap();
}

/// Mounts an empty tmpfs on `path`.
pub(crate) fn mount_tmpfs(path: &Path) {
    mount(Some("tmpfs"), path, Some("tmpfs"), MsFlags::empty(), None::<&str>).unwrap();
}

/// The folder at `path`, opened.
pub(crate) fn folder(path: &Path) -> OwnedFd {
    std::fs::File::open(path).unwrap().into()
}

/// Where an open file is, as this process sees it.
pub(crate) fn place_of(fd: impl AsFd) -> std::path::PathBuf {
    use std::os::fd::AsRawFd;
    std::fs::read_link(format!("/proc/self/fd/{}", fd.as_fd().as_raw_fd())).unwrap()
}

//! From inside the jail nothing outside can be reached.

use super::*;

/// Runs `body` in a child process that has entered the jail at an empty folder; returns what it returned.
fn in_jail(body: fn(outside: &std::ffi::CStr) -> u8) -> u8 {
    let room = tempfile::tempdir().unwrap();
    let outside = tempfile::NamedTempFile::new().unwrap();
    let outside = std::ffi::CString::new(outside.path().to_str().unwrap()).unwrap();
    let folder = std::fs::File::open(room.path()).unwrap();
    // SAFETY: the child makes system calls and exits.
    match unsafe { libc::fork() } {
        0 => {
            let code = if enter(&folder).is_ok() { body(&outside) } else { 99 };
            // SAFETY: ends the child at once.
            unsafe { libc::_exit(code.into()) };
        }
        child => {
            let mut status = 0;
            // SAFETY: waits for our own child.
            unsafe { libc::waitpid(child, &raw mut status, 0) };
            assert!(libc::WIFEXITED(status), "the child died: {status:#x}");
            libc::WEXITSTATUS(status) as u8
        }
    }
}

fn errno() -> u8 {
    io::Error::last_os_error().raw_os_error().unwrap_or(0) as u8
}

#[test]
fn a_file_outside_is_not_there() {
    let code = in_jail(|outside| {
        // SAFETY: opens a path.
        let fd = unsafe { libc::openat(libc::AT_FDCWD, outside.as_ptr(), libc::O_RDONLY) };
        if fd >= 0 { 0 } else { errno() }
    });
    assert_eq!(i32::from(code), libc::ENOENT);
}

#[test]
fn nothing_can_be_executed_or_mounted_and_no_socket_be_opened() {
    for call in
        [libc::SYS_execve, libc::SYS_mount, libc::SYS_chroot, libc::SYS_ptrace, libc::SYS_socket, libc::SYS_kill]
    {
        assert!(!ALLOWED.contains(&call), "{call}");
    }
    let code = in_jail(|_| {
        // SAFETY: asks for a socket.
        let fd = unsafe { libc::socket(libc::AF_INET, libc::SOCK_STREAM, 0) };
        if fd >= 0 { 0 } else { errno() }
    });
    assert_eq!(i32::from(code), libc::EPERM);
}

#[test]
fn capabilities_beyond_those_of_the_file_server_are_gone() {
    let code = in_jail(|_| {
        // CAP_SYS_ADMIN is 21.
        // SAFETY: takes numbers only.
        unsafe { libc::prctl(libc::PR_CAPBSET_READ, 21, 0, 0, 0) as u8 }
    });
    assert_eq!(code, 0);
    let code = in_jail(|_| {
        // SAFETY: takes numbers only.
        unsafe { libc::prctl(libc::PR_CAPBSET_READ, 0, 0, 0, 0) as u8 }
    });
    assert_eq!(code, 1);
}

//! Mounts as descriptors: taken from one place, put in another, without a path in between.

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::NixPath;
use nix::errno::Errno;

/// A detached copy of the mount at `path`, limited to what is below it.
pub fn take(path: &str) -> Result<OwnedFd, Errno> {
    let flags = libc::OPEN_TREE_CLONE | libc::OPEN_TREE_CLOEXEC;
    // SAFETY: `path` is terminated by `with_nix_path` and read only during the call.
    let answer =
        path.with_nix_path(|path| unsafe { libc::syscall(libc::SYS_open_tree, libc::AT_FDCWD, path.as_ptr(), flags) })?;
    let fd = RawFd::try_from(Errno::result(answer)?).map_err(|_| Errno::EBADF)?;
    // SAFETY: the kernel has just opened `fd`, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Puts the detached mount `tree` on `target`.
pub fn put(tree: BorrowedFd, target: BorrowedFd) -> Result<(), Errno> {
    let flags = libc::MOVE_MOUNT_F_EMPTY_PATH | libc::MOVE_MOUNT_T_EMPTY_PATH;
    let (from, to) = (tree.as_raw_fd(), target.as_raw_fd());
    // SAFETY: both paths are empty, terminated literals; the rest are integers.
    let answer = unsafe { libc::syscall(libc::SYS_move_mount, from, c"".as_ptr(), to, c"".as_ptr(), flags) };
    Errno::result(answer).map(drop)
}

/// Makes the detached mount `tree` read-only.
pub fn set_read_only(tree: BorrowedFd) -> Result<(), Errno> {
    let attributes = libc::mount_attr { attr_set: libc::MOUNT_ATTR_RDONLY, attr_clr: 0, propagation: 0, userns_fd: 0 };
    let (fd, size) = (tree.as_raw_fd(), size_of_val(&attributes));
    let (path, flags) = (c"".as_ptr(), libc::AT_EMPTY_PATH);
    // SAFETY: the path is an empty, terminated literal; `attributes` is `size` bytes and outlives the call.
    let answer = unsafe { libc::syscall(libc::SYS_mount_setattr, fd, path, flags, &raw const attributes, size) };
    Errno::result(answer).map(drop)
}

//! System calls on descriptors that have no safe wrapper elsewhere, and what they return.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{FchmodatFlags, Mode, fchmodat};
use nix::unistd::{Gid, Uid, fchownat};
use vm_memory::VolatileSlice;

use crate::virtio::buffers;

/// `STATX_MNT_ID` (Linux 5.8); not in libc for musl.
const STATX_MNT_ID: u32 = 0x1000;
/// `STATX_BASIC_STATS | STATX_BTIME`.
const STATX_BASIC_AND_BIRTH: u32 = 0x0fff;
/// Most vectors of one call (`UIO_MAXIOV`).
const MOST_VECTORS: usize = 1024;

/// A time as the kernel gives it.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub(crate) struct Time {
    pub(crate) seconds: i64,
    pub(crate) nanoseconds: u32,
    _reserved: i32,
}

/// `struct statx` of the kernel's interface.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
struct Statx {
    mask: u32,
    block_size: u32,
    attributes: u64,
    links: u32,
    uid: u32,
    gid: u32,
    mode: u16,
    _spare: u16,
    inode: u64,
    size: u64,
    blocks: u64,
    attributes_mask: u64,
    accessed: Time,
    born: Time,
    changed: Time,
    modified: Time,
    rdev: [u32; 2],
    device: [u32; 2],
    mount: u64,
    _spare_end: [u64; 13],
}

const _: () = assert!(size_of::<Statx>() == 256);

/// Attributes of a node.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Stat {
    /// Which of the optional ones are known (`STATX_*`).
    pub(crate) mask: u32,
    pub(crate) attributes: u64,
    pub(crate) attributes_mask: u64,
    pub(crate) inode: u64,
    pub(crate) device: u64,
    /// Id of the mount it was found in; 0 if the kernel does not say.
    pub(crate) mount: u64,
    pub(crate) mode: u32,
    pub(crate) links: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// Major and minor number, of a device node.
    pub(crate) rdev: [u32; 2],
    pub(crate) size: u64,
    pub(crate) blocks: u64,
    pub(crate) block_size: u32,
    pub(crate) accessed: Time,
    pub(crate) born: Time,
    pub(crate) changed: Time,
    pub(crate) modified: Time,
}

impl Stat {
    /// Type bits of the mode.
    pub(crate) fn kind(&self) -> u32 {
        self.mode & libc::S_IFMT
    }

    /// Whether a change by somebody without privilege takes setuid or setgid away.
    pub(crate) fn has_privileges(&self) -> bool {
        const EXECUTABLE_SETGID: u32 = libc::S_ISGID | libc::S_IXGRP;
        self.mode & libc::S_ISUID != 0 || self.mode & EXECUTABLE_SETGID == EXECUTABLE_SETGID
    }

    /// The permission bits without setuid, and without setgid where that means privilege.
    pub(crate) fn mode_without_privileges(&self) -> u32 {
        let setgid = if self.mode & libc::S_IXGRP != 0 { libc::S_ISGID } else { 0 };
        self.mode & 0o7777 & !libc::S_ISUID & !setgid
    }
}

/// Attributes of `fd`, which may be an `O_PATH` one.
pub(crate) fn stat(fd: impl AsFd) -> Result<Stat, Errno> {
    statx(fd.as_fd(), c"", libc::AT_EMPTY_PATH)
}

/// Attributes of the entry `name` of a folder, not following it if it is a link.
pub(crate) fn stat_entry(folder: impl AsFd, name: &CStr) -> Result<Stat, Errno> {
    statx(folder.as_fd(), name, libc::AT_SYMLINK_NOFOLLOW | libc::AT_NO_AUTOMOUNT)
}

fn statx(fd: BorrowedFd<'_>, name: &CStr, flags: i32) -> Result<Stat, Errno> {
    let mut statx = Statx::default();
    let mask = STATX_BASIC_AND_BIRTH | STATX_MNT_ID;
    // SAFETY: `name` ends with a zero byte and `statx` is as large as the kernel's structure.
    let result = unsafe { libc::syscall(libc::SYS_statx, fd.as_raw_fd(), name.as_ptr(), flags, mask, &raw mut statx) };
    Errno::result(result)?;
    let mount = if statx.mask & STATX_MNT_ID != 0 { statx.mount } else { 0 };
    Ok(Stat {
        mask: statx.mask & STATX_BASIC_AND_BIRTH,
        attributes: statx.attributes,
        attributes_mask: statx.attributes_mask,
        inode: statx.inode,
        device: u64::from(statx.device[0]) << 32 | u64::from(statx.device[1]),
        mount,
        mode: statx.mode.into(),
        links: statx.links,
        uid: statx.uid,
        gid: statx.gid,
        rdev: statx.rdev,
        size: statx.size,
        blocks: statx.blocks,
        block_size: statx.block_size,
        accessed: statx.accessed,
        born: statx.born,
        changed: statx.changed,
        modified: statx.modified,
    })
}

/// Opens the entry `name` of a folder without touching what it is: `O_PATH`, and no link is followed.
pub(crate) fn open_entry(folder: impl AsFd, name: &CStr) -> Result<OwnedFd, Errno> {
    openat(folder, name, OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC, Mode::empty())
}

/// `/proc/self/fd`, through which an `O_PATH` descriptor becomes one that can do more. Opened once, it also works
/// after a chroot, but only in the process that opened it.
#[derive(Debug)]
pub(crate) struct Proc(OwnedFd);

impl Proc {
    pub(crate) fn open() -> Result<Proc, Errno> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        nix::fcntl::open(c"/proc/self/fd", flags, Mode::empty()).map(Proc)
    }

    /// The name of `fd` in this folder. It is a link that leads to the very node, even a nameless one, and if that is
    /// itself a symbolic link, no further.
    pub(crate) fn name(fd: impl AsFd) -> CString {
        // Digits hold no zero byte.
        CString::new(fd.as_fd().as_raw_fd().to_string()).unwrap_or_default()
    }

    pub(crate) fn folder(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    /// Opens the node of `fd` again.
    pub(crate) fn reopen(&self, fd: impl AsFd, flags: OFlag) -> Result<OwnedFd, Errno> {
        openat(&self.0, Proc::name(fd).as_c_str(), flags | OFlag::O_CLOEXEC, Mode::empty())
    }

    /// Sets permission bits. A symbolic link has none: `EOPNOTSUPP`.
    pub(crate) fn chmod(&self, fd: impl AsFd, mode: u32) -> Result<(), Errno> {
        let mode = Mode::from_bits_truncate(mode & 0o7777);
        fchmodat(&self.0, Proc::name(fd).as_c_str(), mode, FchmodatFlags::FollowSymlink)
    }

    /// A path to the node of `fd`, for calls that take nothing else. `EOPNOTSUPP` if there is no /proc, as after a
    /// chroot, or something else in its place.
    pub(crate) fn path(&self, fd: impl AsFd) -> Result<CString, Errno> {
        let found = Proc::open().and_then(|found| stat(&found.0)).map_err(|_| Errno::EOPNOTSUPP)?;
        let ours = stat(&self.0)?;
        if (found.device, found.inode) != (ours.device, ours.inode) {
            return Err(Errno::EOPNOTSUPP);
        }
        CString::new(format!("/proc/self/fd/{}", fd.as_fd().as_raw_fd())).map_err(|_| Errno::EINVAL)
    }
}

/// Changes the owner of `fd`, which may be an `O_PATH` one, also of a symbolic link; `u32::MAX` leaves one as it is.
pub(crate) fn chown(fd: impl AsFd, uid: u32, gid: u32) -> Result<(), Errno> {
    fchownat(fd, c"", Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)), AtFlags::AT_EMPTY_PATH)
}

/// Sets times of access and modification of `fd`, which may be an `O_PATH` one, also of a symbolic link.
pub(crate) fn set_times(fd: impl AsFd, times: &[libc::timespec; 2]) -> Result<(), Errno> {
    let fd = fd.as_fd().as_raw_fd();
    // SAFETY: the path ends with a zero byte and `times` are two.
    let result = unsafe { libc::utimensat(fd, c"".as_ptr(), times.as_ptr(), libc::AT_EMPTY_PATH) };
    Errno::result(result).map(drop)
}

/// Renames with flags (`RENAME_*`).
pub(crate) fn rename(
    old_folder: impl AsFd,
    old: &CStr,
    new_folder: impl AsFd,
    new: &CStr,
    flags: u32,
) -> Result<(), Errno> {
    let (from, to) = (old_folder.as_fd().as_raw_fd(), new_folder.as_fd().as_raw_fd());
    // SAFETY: both names end with a zero byte.
    let result = unsafe { libc::syscall(libc::SYS_renameat2, from, old.as_ptr(), to, new.as_ptr(), flags) };
    Errno::result(result).map(drop)
}

/// Reads entries of an open folder into `buffer` (`linux_dirent64`); returns how many bytes, 0 at the end.
pub(crate) fn read_entries(folder: impl AsFd, buffer: &mut [u8]) -> Result<usize, Errno> {
    let (fd, start, length) = (folder.as_fd().as_raw_fd(), buffer.as_mut_ptr(), buffer.len());
    // SAFETY: the kernel writes at most `length` bytes from `start` on, which is `buffer`.
    let result = unsafe { libc::syscall(libc::SYS_getdents64, fd, start, length) };
    Errno::result(result).map(|bytes| bytes as usize)
}

/// Fills guest memory from a file, until it is full or the file ends; returns how many bytes.
pub(crate) fn read_at(file: impl AsFd, memory: &[VolatileSlice<'_>], offset: u64) -> Result<usize, Errno> {
    transfer(memory, offset, |vectors, offset| {
        let (fd, count) = (file.as_fd().as_raw_fd(), vectors.len() as i32);
        // SAFETY: the vectors lie in the slices of `memory`, which is lent to us and may be written.
        unsafe { libc::preadv(fd, vectors.as_ptr(), count, offset) }
    })
}

/// Writes guest memory to a file, at its end if `append`; returns how many bytes.
pub(crate) fn write_at(
    file: impl AsFd,
    memory: &[VolatileSlice<'_>],
    offset: u64,
    append: bool,
) -> Result<usize, Errno> {
    let flags = if append { libc::RWF_APPEND } else { 0 };
    transfer(memory, offset, |vectors, offset| {
        let (fd, count) = (file.as_fd().as_raw_fd(), vectors.len() as i32);
        // SAFETY: the vectors lie in the slices of `memory`, which is lent to us.
        unsafe { libc::pwritev2(fd, vectors.as_ptr(), count, offset, flags) }
    })
}

/// Repeats a vectored call until all of `memory` is done or no more can be. What was done before an error counts.
fn transfer(
    memory: &[VolatileSlice<'_>],
    offset: u64,
    mut call: impl FnMut(&[libc::iovec], i64) -> isize,
) -> Result<usize, Errno> {
    let total = buffers::length(memory);
    let end = offset.checked_add(total as u64).ok_or(Errno::EINVAL)?;
    i64::try_from(end).map_err(|_| Errno::EINVAL)?;
    let mut done = 0;
    while done < total {
        let mut vectors = buffers::vectors(&buffers::part(memory, done, total - done));
        vectors.truncate(MOST_VECTORS);
        let asked: usize = vectors.iter().map(|vector| vector.iov_len).sum();
        match Errno::result(call(&vectors, (offset + done as u64) as i64)) {
            Ok(bytes) => {
                done += bytes as usize;
                // A regular file gives less only where it ends, and takes less only where its disk does.
                if (bytes as usize) < asked {
                    break;
                }
            }
            Err(Errno::EINTR) => {}
            Err(_) if done > 0 => break,
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

/// Copies from file to file; returns how many bytes.
pub(crate) fn copy_range(
    from: impl AsFd,
    mut offset_in: i64,
    to: impl AsFd,
    mut offset_out: i64,
    length: usize,
) -> Result<usize, Errno> {
    let (from, to) = (from.as_fd().as_raw_fd(), to.as_fd().as_raw_fd());
    // SAFETY: both offsets live for the call.
    let result = unsafe { libc::copy_file_range(from, &raw mut offset_in, to, &raw mut offset_out, length, 0) };
    Errno::result(result).map(|bytes| bytes as usize)
}

/// How the extended attributes of a node are reached.
#[derive(Debug)]
pub(crate) enum Xattrs {
    /// Through a descriptor that is open for more than `O_PATH`.
    Fd(OwnedFd),
    /// Through a path that ends at the node.
    Path(CString),
}

impl Xattrs {
    /// Reads one into `value`; an empty `value` asks for its size only.
    pub(crate) fn get(&self, name: &CStr, value: &mut [u8]) -> Result<usize, Errno> {
        let (start, length) = (value.as_mut_ptr().cast(), value.len());
        let result = match self {
            // SAFETY: `name` ends with a zero byte; at most `length` bytes are written from `start` on.
            Xattrs::Fd(fd) => unsafe { libc::fgetxattr(fd.as_raw_fd(), name.as_ptr(), start, length) },
            // SAFETY: as above, and so does the path.
            Xattrs::Path(path) => unsafe { libc::getxattr(path.as_ptr(), name.as_ptr(), start, length) },
        };
        Errno::result(result).map(|bytes| bytes as usize)
    }

    pub(crate) fn set(&self, name: &CStr, value: &[u8], flags: i32) -> Result<(), Errno> {
        let (start, length) = (value.as_ptr().cast(), value.len());
        let result = match self {
            // SAFETY: `name` ends with a zero byte; `length` bytes are read from `start` on.
            Xattrs::Fd(fd) => unsafe { libc::fsetxattr(fd.as_raw_fd(), name.as_ptr(), start, length, flags) },
            // SAFETY: as above, and so does the path.
            Xattrs::Path(path) => unsafe { libc::setxattr(path.as_ptr(), name.as_ptr(), start, length, flags) },
        };
        Errno::result(result).map(drop)
    }

    pub(crate) fn remove(&self, name: &CStr) -> Result<(), Errno> {
        let result = match self {
            // SAFETY: `name` ends with a zero byte.
            Xattrs::Fd(fd) => unsafe { libc::fremovexattr(fd.as_raw_fd(), name.as_ptr()) },
            // SAFETY: as above, and so does the path.
            Xattrs::Path(path) => unsafe { libc::removexattr(path.as_ptr(), name.as_ptr()) },
        };
        Errno::result(result).map(drop)
    }

    /// Reads all names, each with a zero byte at its end, into `names`.
    pub(crate) fn list(&self, names: &mut [u8]) -> Result<usize, Errno> {
        let (start, length) = (names.as_mut_ptr().cast(), names.len());
        let result = match self {
            // SAFETY: at most `length` bytes are written from `start` on.
            Xattrs::Fd(fd) => unsafe { libc::flistxattr(fd.as_raw_fd(), start, length) },
            // SAFETY: as above; the path ends with a zero byte.
            Xattrs::Path(path) => unsafe { libc::listxattr(path.as_ptr(), start, length) },
        };
        Errno::result(result).map(|bytes| bytes as usize)
    }
}

//! File systems of the kernel on files, over loop devices.

use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, mount, umount2};

/// `LOOP_CTL_GET_FREE`, `LOOP_CONFIGURE` (Linux, include/uapi/linux/loop.h).
const GET_FREE: libc::Ioctl = 0x4c82;
const CONFIGURE: libc::Ioctl = 0x4c0a;
/// The device goes with its last user.
const AUTOCLEAR: u32 = 4;

/// `struct loop_config`, with `struct loop_info64` in it.
#[repr(C)]
struct Config {
    fd: u32,
    block_size: u32,
    places: [u64; 5],
    flags: [u32; 4],
    names: [u8; 160],
    reserved: [u64; 10],
}

/// Keeps what is mounted here to this thread and those it starts: nothing stays, whatever ends the test.
pub(crate) fn leave_the_mounts_of_others_alone() {
    // SAFETY: changes only which mounts this thread sees.
    assert_eq!(unsafe { libc::unshare(libc::CLONE_NEWNS) }, 0, "root is needed");
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>).unwrap();
}

/// A mounted file system.
pub(crate) struct Mounted {
    pub(crate) target: PathBuf,
}

impl Mounted {
    /// Mounts the file system `kind` that is in `image` at `target`.
    pub(crate) fn new(image: &Path, kind: &str, target: &Path, options: &str) -> Mounted {
        fs::create_dir_all(target).unwrap();
        let (device, _open) = attach(image);
        let mounted = mount(Some(&device), target, Some(kind), MsFlags::MS_NOATIME, Some(options));
        mounted.unwrap_or_else(|error| panic!("{kind} on {} cannot be mounted: {error}", image.display()));
        Mounted { target: target.to_owned() }
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let unmounted = umount2(&self.target, MntFlags::empty());
        if unmounted.is_err() {
            let _ = umount2(&self.target, MntFlags::MNT_DETACH);
        }
    }
}

/// Puts a file behind a loop device, which goes when the last user does: the one returned, or a mount.
fn attach(image: &Path) -> (PathBuf, File) {
    let control = File::options().read(true).write(true).open("/dev/loop-control").unwrap();
    let file = File::options().read(true).write(true).open(image).unwrap();
    loop {
        // SAFETY: the request takes no argument.
        let number = unsafe { libc::ioctl(control.as_raw_fd(), GET_FREE) };
        assert!(number >= 0, "no loop device is free");
        let path = PathBuf::from(format!("/dev/loop{number}"));
        let device = File::options().read(true).write(true).open(&path).unwrap();
        let config = Config {
            fd: u32::try_from(file.as_raw_fd()).unwrap(),
            block_size: 512,
            places: [0; 5],
            flags: [0, 0, 0, AUTOCLEAR],
            names: [0; 160],
            reserved: [0; 10],
        };
        // SAFETY: the request reads one such structure, which outlives the call.
        let configured = unsafe { libc::ioctl(device.as_raw_fd(), CONFIGURE, &raw const config) };
        if configured == 0 {
            return (path, device);
        }
        let error = std::io::Error::last_os_error();
        // Somebody else was faster.
        assert_eq!(error.raw_os_error(), Some(libc::EBUSY), "{error}");
    }
}

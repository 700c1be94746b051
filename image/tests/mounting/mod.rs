//! Mounts layers for tests, and undoes it.

#![allow(missing_docs, unreachable_pub, clippy::unwrap_used, clippy::expect_used)]

pub mod compare;

use std::collections::BTreeMap;
use std::ffi::CString;
use std::fs::{self, File};
use std::io::Read;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use coracle_image::layer::{Base, Limits, Stack, write};
use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use tempfile::TempDir;

/// Something mounted, until it is dropped.
pub struct Mounted {
    folder: TempDir,
}

impl Mounted {
    /// A layer of this tar.
    pub fn layer(tar: &[u8]) -> Mounted {
        Mounted::stream(&mut &*tar)
    }

    /// A layer of this tar, written with those below it known, lowest first.
    pub fn layer_over(tar: &[u8], below: &[&Mounted]) -> Mounted {
        let files = below.iter().map(|layer| File::open(layer.folder.path().join("image")).unwrap());
        let stack = Stack::open(files.collect()).unwrap();
        Mounted::written(&mut &*tar, Base::Layers(&stack))
    }

    /// A layer of the tar that is read here.
    pub fn stream(tar: &mut dyn Read) -> Mounted {
        Mounted::written(tar, Base::Nothing)
    }

    fn written(tar: &mut dyn Read, base: Base<'_>) -> Mounted {
        let folder = tempfile::tempdir().unwrap();
        let image = folder.path().join("image");
        let file = File::create_new(&image).unwrap();
        let summary = write(tar, &file, &Limits::default(), base).unwrap();
        assert_eq!(summary.image_bytes, file.metadata().unwrap().len());
        let mounted = Mounted::new(folder);
        match mount_erofs(&image, &mounted.path()) {
            // From a file, unless it is on a file system that Linux cannot do that with, such as tmpfs.
            Err(Errno::ENOTBLK) => mount_erofs(&loop_device(&file), &mounted.path()),
            other => other,
        }
        .expect("Cannot mount EROFS: these tests need root");
        mounted
    }

    /// One layer over another.
    pub fn overlay(upper: &Mounted, lower: &Mounted) -> Mounted {
        let mounted = Mounted::new(tempfile::tempdir().unwrap());
        let options = format!("lowerdir={}:{}", upper.path().display(), lower.path().display());
        mount(Some("overlay"), &mounted.path(), Some("overlay"), MsFlags::MS_RDONLY, Some(&*options)).unwrap();
        mounted
    }

    fn new(folder: TempDir) -> Mounted {
        fs::create_dir(folder.path().join("mount")).unwrap();
        Mounted { folder }
    }

    pub fn path(&self) -> PathBuf {
        self.folder.path().join("mount")
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = umount2(&self.path(), MntFlags::MNT_DETACH);
    }
}

fn mount_erofs(source: &Path, target: &Path) -> nix::Result<()> {
    mount(Some(source), target, Some("erofs"), MsFlags::MS_RDONLY, None::<&str>)
}

/// A read-only loop device for the file, gone with its last user.
fn loop_device(file: &File) -> PathBuf {
    const LOOP_CTL_GET_FREE: libc::c_ulong = 0x4c82;
    const LOOP_CONFIGURE: libc::c_ulong = 0x4c0a;
    const READ_ONLY_AND_AUTOCLEAR: u8 = 1 | 4;
    let control = File::options().read(true).write(true).open("/dev/loop-control").unwrap();
    loop {
        // SAFETY: this request takes no argument.
        let number = unsafe { libc::ioctl(control.as_raw_fd(), LOOP_CTL_GET_FREE as _) };
        let path = PathBuf::from(format!("/dev/loop{number}"));
        let device = File::open(&path).unwrap();
        // struct loop_config: the descriptor first, the flags at offset 60.
        let mut configuration = [0u8; 304];
        configuration[..4].copy_from_slice(&file.as_raw_fd().to_le_bytes());
        configuration[60] = READ_ONLY_AND_AUTOCLEAR;
        // SAFETY: the argument points to as many bytes as struct loop_config has.
        let result = unsafe { libc::ioctl(device.as_raw_fd(), LOOP_CONFIGURE as _, configuration.as_ptr()) };
        match Errno::result(result) {
            // Somebody else was faster.
            Err(Errno::EBUSY) => {}
            other => {
                other.unwrap();
                // The mount must come before the device has no user left.
                std::mem::forget(device);
                return path;
            }
        }
    }
}

/// The extended attributes of a file, the file itself even if it is a symbolic link.
pub fn xattrs(path: &Path) -> BTreeMap<String, Vec<u8>> {
    let path = CString::new(path.as_os_str().as_bytes()).unwrap();
    let mut names = vec![0u8; 65_536];
    // SAFETY: the buffer is as long as it says, the path ends with a NUL.
    let length = unsafe { libc::llistxattr(path.as_ptr(), names.as_mut_ptr().cast(), names.len()) };
    names.truncate(usize::try_from(length).expect("Cannot list extended attributes"));
    let value = |name: &[u8]| {
        let name = CString::new(name).unwrap();
        let mut value = vec![0u8; 65_536];
        // SAFETY: the buffer is as long as it says, path and name end with a NUL.
        let length = unsafe { libc::lgetxattr(path.as_ptr(), name.as_ptr(), value.as_mut_ptr().cast(), value.len()) };
        value.truncate(usize::try_from(length).expect("Cannot read an extended attribute"));
        (name.into_string().unwrap(), value)
    };
    names.split(|byte| *byte == 0).filter(|name| !name.is_empty()).map(value).collect()
}

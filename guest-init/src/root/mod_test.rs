use super::*;
use crate::testing::{mount_tmpfs, with_own_mounts};
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;
use tempfile::TempDir;

/// Everything that happens between the mounted root and the running process, but for virtio-fs itself.
#[test]
fn a_root_is_entered_and_gets_what_every_program_expects() {
    let folder = TempDir::new_in("/dev/shm").unwrap();
    with_own_mounts(|| {
        // An initramfs of its own, with the container's root beside it.
        mount_tmpfs(folder.path());
        chroot(folder.path()).unwrap();
        chdir("/").unwrap();
        mkdir(NEW_ROOT, Mode::from_bits_truncate(0o755)).unwrap();
        mount_tmpfs(Path::new(NEW_ROOT));
        fs::write("/newroot/marker", "").unwrap();
        let own_files = own_files::write("boat").unwrap();
        move_root_of_thread();
        let top = open().unwrap();
        kernel_mounts::mount().unwrap();
        volumes::attach(&top, own_files, &mut flush::Written::default()).unwrap();
        assert!(Path::new("/marker").exists());
        assert!(!Path::new("/newroot").exists());
        the_usual_places_are_there();
        own_files_cover_the_images();
    });
}

/// As [`enter`] does; but the thread's root is not the namespace's, over which nothing can be moved from here.
fn move_root_of_thread() {
    chdir(NEW_ROOT).unwrap();
    chroot(".").unwrap();
}

fn the_usual_places_are_there() {
    let null = fs::metadata("/dev/null").unwrap();
    assert!(null.file_type().is_char_device());
    assert_eq!(null.rdev(), nix::sys::stat::makedev(1, 3));
    assert_eq!(fs::read_link("/dev/stdout").unwrap(), Path::new("/proc/self/fd/1"));
    assert!(fs::metadata("/dev/ptmx").unwrap().file_type().is_char_device());
    assert_eq!(fs::metadata("/dev/shm").unwrap().mode() & 0o7777, 0o1777);
    assert!(fs::metadata("/proc/self/status").unwrap().is_file());
    assert!(fs::metadata("/sys/kernel").unwrap().is_dir());
    assert!(fs::metadata("/sys/fs/cgroup/cgroup.procs").unwrap().is_file());
    let mounts = fs::read_to_string("/proc/thread-self/mounts").unwrap();
    for place in ["proc /proc proc", "mqueue /dev/mqueue mqueue", "devpts /dev/pts devpts", "tmpfs /dev/shm tmpfs"] {
        assert!(mounts.contains(place), "{place} in {mounts}");
    }
}

fn own_files_cover_the_images() {
    assert_eq!(fs::read_to_string("/etc/hostname").unwrap(), "boat\n");
    assert!(fs::read_to_string("/etc/hosts").unwrap().contains("127.0.0.1\tlocalhost\n"));
    nix::mount::umount("/etc/hostname").unwrap();
    assert_eq!(fs::read_to_string("/etc/hostname").unwrap(), "");
}

#[test]
fn the_mounted_root_takes_the_place_of_the_old_one() {
    let folder = TempDir::new_in("/dev/shm").unwrap();
    with_own_mounts(|| {
        // The path is fixed, so it has to be in the machine's own root: a tmpfs covers what is written there.
        mkdir_if_absent(NEW_ROOT);
        mount_tmpfs(folder.path());
        fs::write(folder.path().join("marker"), "").unwrap();
        mount_at(Some(folder.path()), NEW_ROOT, None::<&str>, MsFlags::MS_BIND, None::<&str>).unwrap();
        enter().unwrap();
        let names: Vec<_> = fs::read_dir("/").unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["marker"]);
        assert_eq!(std::env::current_dir().unwrap(), Path::new("/"));
    });
    fs::remove_dir(NEW_ROOT).unwrap();
}

fn mkdir_if_absent(path: &str) {
    assert!(matches!(mkdir(path, Mode::from_bits_truncate(0o755)), Ok(()) | Err(Errno::EEXIST)));
}

#[test]
fn a_missing_device_is_named() {
    let folder = TempDir::new_in("/dev/shm").unwrap();
    let error = with_own_mounts(|| {
        chroot(folder.path()).unwrap();
        mount().unwrap_err()
    });
    assert_eq!(error.to_string(), "Mount the virtio-fs device tagged \"root\" on /newroot");
}

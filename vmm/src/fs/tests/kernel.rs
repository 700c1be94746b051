//! The host's own kernel as the guest: it mounts the server through /dev/fuse, which speaks what virtio-fs carries.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};

use nix::sched::{CloneFlags, unshare};
use vm_memory::VolatileSlice;

use super::super::{Cache, Export, Server, Tree};
use super::guest::{Mounted, c_path, path_fd, temporary};

fn mount(device: &File, target: &Path) -> Mounted {
    unshare(CloneFlags::CLONE_NEWNS).unwrap();
    let options =
        format!("fd={},rootmode=40000,user_id=0,group_id=0,default_permissions,allow_other", device.as_raw_fd());
    let (kind, target, options) = (c"fuse", c_path(target), CString::new(options).unwrap());
    let private = libc::MS_REC | libc::MS_PRIVATE;
    // SAFETY: all strings end with a zero byte.
    let result = unsafe { libc::mount(kind.as_ptr(), c"/".as_ptr(), std::ptr::null(), private, std::ptr::null()) };
    assert_eq!(result, 0);
    // SAFETY: as above.
    let result = unsafe { libc::mount(kind.as_ptr(), target.as_ptr(), kind.as_ptr(), 0, options.as_ptr().cast()) };
    assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
    Mounted(target)
}

/// Answers requests until the mount is gone.
fn serve(server: &Server, mut device: &File) {
    let mut request = vec![0; (1 << 20) + 4096];
    let mut reply = vec![0; (1 << 20) + 4096];
    loop {
        let length = match device.read(&mut request) {
            Ok(length) => length,
            Err(error) if error.raw_os_error() == Some(libc::ENODEV) => return,
            // The requester gave up in between.
            Err(_) => continue,
        };
        let written = {
            let request = [VolatileSlice::from(&mut request[..length])];
            server.handle(&request, &[VolatileSlice::from(&mut reply[..])])
        };
        if written > 0 {
            // Fails if the requester gave up in between.
            let _ = device.write(&reply[..written]);
        }
    }
}

/// Runs `work` on a mount of the folder it is also given.
fn with_mount(cache: Cache, work: impl Fn(&Path, &Path) + Send + Sync) {
    let folder = temporary();
    let (source, target) = (folder.path().join("source"), folder.path().join("target"));
    std::fs::create_dir(&source).unwrap();
    std::fs::create_dir(&target).unwrap();
    let root = path_fd(&source);
    let server = Server::new(Tree::One(Export { root, read_only: false, cache })).unwrap();
    std::thread::scope(|scope| {
        // A mount namespace belongs to a thread.
        scope.spawn(|| {
            let device = OpenOptions::new().read(true).write(true).open("/dev/fuse").unwrap();
            let mounted = mount(&device, &target);
            std::thread::scope(|scope| {
                let _mounted = mounted;
                scope.spawn(|| serve(&server, &device));
                scope.spawn(|| serve(&server, &device));
                work(&target, &source);
            });
        });
    });
}

/// A sequence of numbers that looks random and is always the same.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit as u64) as usize
    }
}

/// Reads, writes, cuts, appends and reopens at random; the file must always be what a vector would be.
fn exercise(path: &Path, seed: u64) -> Vec<u8> {
    const LARGEST: usize = 300_000;
    let mut numbers = Numbers(seed);
    let mut open = OpenOptions::new();
    open.read(true).write(true);
    let mut file = open.clone().create_new(true).open(path).unwrap();
    let mut expected: Vec<u8> = Vec::new();
    for round in 0..1000 {
        let (offset, length) = (numbers.below(LARGEST), 1 + numbers.below(60_000));
        match numbers.below(8) {
            0..3 => {
                let data = vec![round as u8; length];
                file.write_all_at(&data, offset as u64).unwrap();
                expected.resize(expected.len().max(offset + length), 0);
                expected[offset..offset + length].copy_from_slice(&data);
            }
            3..5 => {
                let mut data = vec![0; length];
                let read = file.read_at(&mut data, offset as u64).unwrap();
                let start = offset.min(expected.len());
                assert!(data[..read] == expected[start..expected.len().min(start + length)], "round {round}");
            }
            5 => {
                file.set_len(offset as u64).unwrap();
                expected.resize(offset, 0);
            }
            6 => {
                OpenOptions::new().append(true).open(path).unwrap().write_all(b"appended").unwrap();
                expected.extend(b"appended");
            }
            _ => {
                if length % 2 == 0 {
                    file.sync_all().unwrap();
                }
                file = open.open(path).unwrap();
            }
        }
        assert_eq!(file.metadata().unwrap().len(), expected.len() as u64, "round {round}");
    }
    expected
}

#[test]
fn files_hold_what_was_written_to_them() {
    for cache in [Cache::Exclusive, Cache::Shared] {
        with_mount(cache, |mounted, source| {
            std::thread::scope(|scope| {
                for seed in [0x1234_5678, 0x8765_4321] {
                    let name = seed.to_string();
                    scope.spawn(move || {
                        let expected = exercise(&mounted.join(&name), seed);
                        assert!(std::fs::read(mounted.join(&name)).unwrap() == expected);
                        assert!(std::fs::read(source.join(&name)).unwrap() == expected, "on the host");
                    });
                }
            });
        });
    }
}

type Listing = BTreeMap<PathBuf, (u32, u32, u64, Vec<u8>)>;

/// Mode, owner, links and contents of everything below a folder.
fn listing(root: &Path, folder: &Path, found: &mut Listing) {
    for entry in folder.read_dir().unwrap() {
        let path = entry.unwrap().path();
        let meta = path.symlink_metadata().unwrap();
        let contents = match meta.file_type() {
            kind if kind.is_file() => std::fs::read(&path).unwrap(),
            kind if kind.is_symlink() => std::fs::read_link(&path).unwrap().into_os_string().into_encoded_bytes(),
            _ => Vec::new(),
        };
        let links = if meta.is_dir() { 0 } else { meta.nlink() };
        found.insert(path.strip_prefix(root).unwrap().to_owned(), (meta.mode(), meta.uid(), links, contents));
        if meta.is_dir() {
            listing(root, &path, found);
        }
    }
}

#[test]
fn a_tree_is_built_moved_and_removed() {
    for cache in [Cache::Exclusive, Cache::Shared] {
        with_mount(cache, |mounted, source| {
            let at = |name: &str| mounted.join(name);
            for number in 0..300 {
                std::fs::create_dir_all(at(&format!("tree/{}", number % 7))).unwrap();
                std::fs::write(at(&format!("tree/{}/{number}", number % 7)), number.to_string()).unwrap();
            }
            std::fs::rename(at("tree/3"), at("moved")).unwrap();
            std::fs::rename(at("tree/1/1"), at("moved/3")).unwrap();
            std::fs::hard_link(at("moved/3"), at("linked")).unwrap();
            symlink("moved/3", at("symbolic")).unwrap();
            assert_eq!(std::fs::read(at("symbolic")).unwrap(), b"1");
            chown(at("linked"), Some(1000), Some(1000)).unwrap();
            std::fs::set_permissions(at("moved/3"), PermissionsExt::from_mode(0o4755)).unwrap();
            let open = File::open(at("tree/0/7")).unwrap();
            std::fs::remove_dir_all(at("tree/0")).unwrap();
            assert_eq!(std::io::read_to_string(open).unwrap(), "7", "an open file outlives its name");
            assert!(!at("tree/0").exists());

            let (mut seen, mut real) = (Listing::new(), Listing::new());
            listing(mounted, mounted, &mut seen);
            listing(source, source, &mut real);
            assert!(seen.len() > 250);
            assert_eq!(seen, real);
            assert_eq!(at("moved/3").metadata().unwrap().mode() & 0o7777, 0o4755);
            std::fs::remove_dir_all(at("tree")).unwrap();
            std::fs::remove_dir_all(at("moved")).unwrap();
            assert_eq!(source.read_dir().unwrap().count(), 2);
        });
    }
}

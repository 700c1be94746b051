//! Root file systems are mounted as containers expect them. Needs root, and a kernel with EROFS and overlay.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use std::collections::HashSet;
use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink as make_symlink};
use std::path::{Path, PathBuf};
use std::thread;

use config::Folders;
use coracle_image::load::{Source, load};
use coracle_image::progress::Silent;
use coracle_image::rootfs::{self, Durability, Error, Writable};
use coracle_image::{Digest, Image, Store};
use nix::mount::{MntFlags, umount2};
use nix::sys::statvfs::{FsFlags, statvfs};
use support::{Member, Sample, chain, file, symlink, tar};
use tempfile::TempDir;

/// A store whose mounts are gone when a test ends, however it ends.
struct Host {
    folder: TempDir,
    folders: Folders,
    store: Store,
}

impl Host {
    fn new() -> Host {
        Host::below(tempfile::tempdir().unwrap(), "store")
    }

    fn below(folder: TempDir, name: &str) -> Host {
        let base = folder.path().join(name);
        let folders = Folders::new(Some(base.join("root")), Some(base.join("run")));
        let store = Store::open(&folders).unwrap();
        Host { folder, folders, store }
    }

    /// One on a file system that EROFS can be mounted from, and one on tmpfs, from which it cannot.
    fn on_disk_and_in_memory() -> [Host; 2] {
        ["/var/tmp", "/dev/shm"].map(|base| Host::below(TempDir::new_in(base).unwrap(), "store"))
    }

    fn image(&self, layers: &[Vec<Member>]) -> Image {
        let layers: Vec<Vec<u8>> = layers.iter().map(|members| tar(members)).collect();
        let archive = tar(&Sample::of(&layers).oci(Some("app:1")));
        load(&self.store, Source::Stream(&mut archive.as_slice()), &Silent).unwrap().remove(0).image
    }

    fn place(&self, name: &str) -> PathBuf {
        self.folders.root().join("containers").join(name)
    }

    fn mount(&self, image: &Image) -> Result<rootfs::Rootfs, Error> {
        let (upper, work) = (self.place("upper"), self.place("work"));
        rootfs::mount(&self.folders, &image.layers, &upper, &work, &self.folders.container_run("c").join("rootfs"))
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let here = mounts_below(self.folder.path());
        for path in here.iter().rev() {
            umount2(path, MntFlags::MNT_DETACH).unwrap();
        }
    }
}

/// Mount points in and below a folder.
fn mounts_below(folder: &Path) -> Vec<PathBuf> {
    let table = fs::read_to_string("/proc/self/mounts").unwrap();
    let plain = |path: &str| PathBuf::from(path.replace("\\040", " ").replace("\\134", "\\"));
    let paths = table.lines().filter_map(|line| line.split(' ').nth(1)).map(plain);
    paths.filter(|path| path.starts_with(folder)).collect()
}

fn with_mode(mut member: Member, kind: u8) -> Member {
    member.kind = kind;
    member
}

fn folder(name: &str) -> Member {
    with_mode(file(name, ""), b'5')
}

fn names(path: &Path) -> Vec<String> {
    let entries = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = entries.collect();
    names.sort();
    names
}

#[test]
fn upper_layers_cover_lower_ones_and_hide_what_they_delete() {
    for host in Host::on_disk_and_in_memory() {
        let image = host.image(&[
            vec![file("a", "low"), file("b", "low"), file("dir/x", "x"), file("opaque/old", "old"), symlink("l", "a")],
            vec![
                file("b", "high"),
                file("dir/.wh.x", ""),
                file("dir/y", "y"),
                file("opaque/.wh..wh..opq", ""),
                file("opaque/new", "new"),
            ],
        ]);
        let rootfs = host.mount(&image).unwrap();
        let root = rootfs.path();
        assert_eq!(names(root), ["a", "b", "dir", "l", "opaque"]);
        assert_eq!(fs::read_to_string(root.join("l")).unwrap(), "low");
        assert_eq!(fs::read_to_string(root.join("b")).unwrap(), "high");
        assert_eq!(names(&root.join("dir")), ["y"]);
        assert_eq!(names(&root.join("opaque")), ["new"]);
    }
}

#[test]
fn what_a_container_writes_stays_its_own_and_survives_a_restart() {
    for host in Host::on_disk_and_in_memory() {
        let image = host.image(&[vec![file("etc/conf", "image"), file("gone", "")]]);
        let before = fs::read(host.store.layer(&image.layers[0])).unwrap();
        let rootfs = host.mount(&image).unwrap();
        fs::write(rootfs.path().join("etc/conf"), "container").unwrap();
        fs::remove_file(rootfs.path().join("gone")).unwrap();
        rootfs.unmount().unwrap();
        assert_eq!(fs::read_to_string(host.place("upper/etc/conf")).unwrap(), "container");
        assert!(fs::read(host.store.layer(&image.layers[0])).unwrap() == before);
        let rootfs = host.mount(&image).unwrap();
        assert_eq!(fs::read_to_string(rootfs.path().join("etc/conf")).unwrap(), "container");
        assert_eq!(names(rootfs.path()), ["etc"]);
    }
}

#[test]
fn the_root_looks_as_the_image_says_and_keeps_what_the_container_made_of_it() {
    let host = Host::new();
    let image = host.image(&[vec![folder("./"), file("a", "")], vec![file("b", "")]]);
    let rootfs = host.mount(&image).unwrap();
    let root = fs::metadata(rootfs.path()).unwrap();
    // The mode and time that the test's tar files give everything.
    assert_eq!((root.mode() & 0o7777, root.mtime()), (0o644, 0o14_000_000_000));
    fs::set_permissions(rootfs.path(), fs::Permissions::from_mode(0o1777)).unwrap();
    rootfs.unmount().unwrap();
    let rootfs = host.mount(&image).unwrap();
    assert_eq!(fs::metadata(rootfs.path()).unwrap().mode() & 0o7777, 0o1777);
}

#[test]
fn folders_of_the_image_can_be_renamed() {
    let host = Host::new();
    let image = host.image(&[vec![file("usr/lib/x", "x")]]);
    let rootfs = host.mount(&image).unwrap();
    fs::rename(rootfs.path().join("usr"), rootfs.path().join("moved")).unwrap();
    assert_eq!(fs::read_to_string(rootfs.path().join("moved/lib/x")).unwrap(), "x");
}

#[test]
fn all_files_are_on_one_device_with_numbers_of_their_own_that_stay() {
    let host = Host::new();
    let image = host.image(&[vec![file("a", "1"), file("d/b", "2")], vec![file("c", "3"), file("e/f", "4")]]);
    let rootfs = host.mount(&image).unwrap();
    fs::write(rootfs.path().join("new"), "5").unwrap();
    let paths = ["", "a", "d", "d/b", "c", "e", "e/f", "new"];
    let look = |path: &&str| fs::metadata(rootfs.path().join(path)).unwrap();
    let devices: HashSet<u64> = paths.iter().map(|path| look(path).dev()).collect();
    let numbers: HashSet<u64> = paths.iter().map(|path| look(path).ino()).collect();
    assert_eq!((devices.len(), numbers.len()), (1, paths.len()));
    let before = look(&"a").ino();
    fs::write(rootfs.path().join("a"), "changed").unwrap();
    fs::write("/proc/sys/vm/drop_caches", "2").unwrap();
    assert_eq!(look(&"a").ino(), before);
}

#[test]
fn an_image_without_layers_has_an_empty_root() {
    let host = Host::new();
    let image = host.image(&[]);
    let rootfs = host.mount(&image).unwrap();
    assert_eq!(names(rootfs.path()), Vec::<String>::new());
    fs::write(rootfs.path().join("a"), "a").unwrap();
}

#[test]
fn many_layers_below_a_long_and_strange_path_are_no_problem() {
    let strange = format!("colon:comma,back\\slash {}", "long".repeat(40));
    let host = Host::below(tempfile::tempdir().unwrap(), &format!("{strange}/{strange}"));
    let layers: Vec<Vec<Member>> =
        (0..130).map(|number| vec![file(&format!("f{number:03}"), ""), file("same", number.to_string())]).collect();
    let image = host.image(&layers);
    let rootfs = host.mount(&image).unwrap();
    assert_eq!(names(rootfs.path()).len(), 131);
    assert_eq!(fs::read_to_string(rootfs.path().join("same")).unwrap(), "129");
}

#[test]
fn layers_are_mounted_once_for_all_containers() {
    for host in Host::on_disk_and_in_memory() {
        let image = host.image(&[vec![file("a", "1")], vec![file("b", "2")]]);
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| rootfs::mount_layers(&host.folders, &image.layers).unwrap());
            }
        });
        let mounted = mounts_below(host.folder.path());
        assert_eq!(mounted.iter().collect::<HashSet<_>>().len(), 2);
        assert_eq!(mounted.len(), 2);
        let first = host.mount(&image).unwrap();
        let (upper, work, target) = (host.place("upper2"), host.place("work2"), host.folders.container_run("d"));
        let second = rootfs::mount(&host.folders, &image.layers, &upper, &work, &target).unwrap();
        assert_eq!(mounts_below(host.folder.path()).len(), 4);
        fs::write(first.path().join("a"), "first").unwrap();
        assert_eq!(fs::read_to_string(second.path().join("a")).unwrap(), "1");
        drop((first, second));
        assert_eq!(mounts_below(host.folder.path()).len(), 2);
    }
}

#[test]
fn an_image_is_removed_with_its_mounts_and_loop_devices() {
    for host in Host::on_disk_and_in_memory() {
        let image = host.image(&[vec![file("a", "1")], vec![file("b", "2")]]);
        drop(host.mount(&image).unwrap());
        host.store.remove("app:1", &|_| None, false).unwrap();
        assert_eq!(mounts_below(host.folder.path()), Vec::<PathBuf>::new());
        assert_eq!(names(&host.folders.layers()), Vec::<String>::new());
        let busy = |path: PathBuf| {
            fs::read_to_string(path.join("loop/backing_file"))
                .is_ok_and(|file| file.starts_with(host.folder.path().to_str().unwrap()))
        };
        assert!(!fs::read_dir("/sys/block").unwrap().any(|entry| busy(entry.unwrap().path())));
    }
}

#[test]
fn seen_from_the_host_nothing_in_a_container_is_set_user_id_or_a_device() {
    let host = Host::new();
    let image = host.image(&[vec![file("a", "1")]]);
    let rootfs = host.mount(&image).unwrap();
    let layer = &rootfs::mount_layers(&host.folders, &image.layers).unwrap()[0];
    for path in [rootfs.path(), layer] {
        assert!(statvfs(path).unwrap().flags().contains(FsFlags::ST_NOSUID | FsFlags::ST_NODEV), "{path:?}");
    }
    assert_eq!(fs::write(layer.join("a"), "").unwrap_err().kind(), io::ErrorKind::ReadOnlyFilesystem);
}

#[test]
fn a_discarded_container_is_not_started_twice() {
    let host = Host::new();
    let image = host.image(&[vec![file("a", "1")]]);
    let (upper, work, target) = (host.place("upper"), host.place("work"), host.folders.container_run("c"));
    let writable = Writable { upper: &upper, work: &work, durability: Durability::Discarded };
    drop(rootfs::mount_as(&host.folders, &image.layers, &writable, &target).unwrap());
    assert!(matches!(rootfs::mount_as(&host.folders, &image.layers, &writable, &target), Err(Error::Overlay { .. })));
    assert_eq!(mounts_below(&target), Vec::<PathBuf>::new());
}

#[test]
fn absent_and_damaged_layers_are_named_and_nothing_stays_mounted() {
    for host in Host::on_disk_and_in_memory() {
        let image = host.image(&[vec![file("a", "1")]]);
        let layer = host.store.layer(&image.layers[0]);
        fs::write(&layer, vec![7; 65536]).unwrap();
        let error = host.mount(&image).unwrap_err();
        assert!(matches!(&error, Error::Layer { layer, .. } if *layer == image.layers[0]), "{}", chain(&error));
        fs::remove_file(&layer).unwrap();
        assert!(matches!(host.mount(&image), Err(Error::NoLayer(layer)) if layer == image.layers[0]));
        assert_eq!(mounts_below(host.folder.path()), Vec::<PathBuf>::new());
    }
}

#[test]
fn unmounting_what_is_not_mounted_is_fine_and_follows_no_link() {
    let host = Host::new();
    let absent = host.folder.path().join("absent");
    rootfs::unmount_rootfs(&absent).unwrap();
    rootfs::unmount_layer(&host.folders, &Digest::of(b"never seen")).unwrap();
    let image = host.image(&[vec![file("a", "1")]]);
    let rootfs = host.mount(&image).unwrap();
    let link = host.folder.path().join("link");
    make_symlink(rootfs.path(), &link).unwrap();
    rootfs::unmount_rootfs(&link).unwrap();
    assert!(rootfs.path().join("a").exists());
}

//! Layers as the kernel sees them: written as EROFS, mounted, and compared with what the tar says. Needs root and a
//! kernel with EROFS, overlayfs and loop devices.

#![allow(clippy::unwrap_used)]

mod mounting;
mod tar_builder;

use std::ffi::OsStr;
use std::fs;
use std::io::Cursor;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use mounting::{Mounted, compare, xattrs};
use tar_builder::{Entry, tar};

/// A file of this size with no two equal blocks.
fn data(size: usize) -> Vec<u8> {
    (0..size).map(|offset| (offset * 31 + offset / 4096) as u8).collect()
}

#[test]
fn everything_a_tar_can_hold_arrives() {
    let long_name = "n".repeat(255);
    let deep = format!("{}leaf", "deep/".repeat(400));
    let target = "t".repeat(4095);
    let mut entries = vec![
        Entry::directory("./").mode(0o1777).owner(3, 4).mtime(-5),
        Entry::file(format!("/abs/{long_name}"), "long"),
        Entry::file(&deep, "deep"),
        Entry::file("setuid", "x").mode(0o6755).owner(4_294_967_294, 2_097_152),
        Entry::file("times", "x").pax("mtime", "-1.2500000009").pax("uid", "718322462"),
        Entry::file("xattrs", data(3000))
            .xattr("security.capability", [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])
            .xattr("user.empty", "")
            .xattr("user.large", data(60_000))
            .xattr("trusted.overlay.opaque", "y")
            .xattr("security.selinux", "u:r:t"),
        Entry::file("acl", "x").xattr(
            "system.posix_acl_access",
            [&[2, 0, 0, 0][..], &acl(1, 6, !0), &acl(2, 4, 1000), &acl(4, 4, !0), &acl(0x10, 4, !0), &acl(0x20, 4, !0)]
                .concat(),
        ),
        Entry::symlink("symlink", "does/not/exist").mode(0o600),
        Entry::symlink("long-symlink", &target).xattr("trusted.a", data(200)),
        Entry::device(b'3', "null", 1, 3).mode(0o666),
        Entry::device(b'4', "disk", 4095, 1_048_575),
        Entry::new(b'6', "fifo").mode(0o600),
        Entry::link("early-link", "5000000"),
        Entry::file("-minus sorts before dots", "x"),
        Entry::file(b"\xff\xfe not UTF-8", "x"),
        Entry::directory("empty"),
    ];
    for size in [0, 1, 4031, 4032, 4033, 4095, 4096, 4097, 8192, 5_000_000] {
        entries.push(Entry::file(size.to_string(), data(size)));
    }
    entries.push(Entry::link("./link", "/5000000"));
    entries.extend((0..3000).map(|number| Entry::file(format!("many/{number}"), number.to_string())));
    let layer = Mounted::layer(&tar(entries));
    let path = |name: &str| layer.path().join(name);
    let stat = |name: &str| fs::symlink_metadata(path(name)).unwrap();

    let root = stat("");
    assert_eq!((root.mode() & 0o7777, root.uid(), root.gid(), root.mtime()), (0o1777, 3, 4, -5));
    assert_eq!(fs::read(path(&format!("abs/{long_name}"))).unwrap(), b"long");
    assert_eq!(fs::read(path(&deep)).unwrap(), b"deep");
    let setuid = stat("setuid");
    assert_eq!((setuid.mode(), setuid.uid(), setuid.gid()), (0o106_755, 4_294_967_294, 2_097_152));
    let times = stat("times");
    assert_eq!((times.mtime(), times.mtime_nsec(), times.uid()), (-2, 750_000_000, 718_322_462));
    assert_eq!(fs::read(path("xattrs")).unwrap(), data(3000));
    let names: Vec<String> = xattrs(&path("xattrs")).into_keys().collect();
    assert_eq!(
        names,
        ["security.capability", "trusted.overlay.overlay.opaque", "user.empty", "user.large"],
        "all but the label"
    );
    assert_eq!(xattrs(&path("xattrs"))["user.large"], data(60_000));
    assert_eq!(xattrs(&path("acl"))["system.posix_acl_access"].len(), 4 + 5 * 8);
    assert_eq!(stat("symlink").mode(), 0o120_777);
    assert_eq!(fs::read_link(path("symlink")).unwrap(), Path::new("does/not/exist"));
    assert_eq!(fs::read_link(path("long-symlink")).unwrap(), Path::new(&target));
    assert_eq!(xattrs(&path("long-symlink"))["trusted.a"], data(200));
    assert!(stat("null").file_type().is_char_device() && stat("disk").file_type().is_block_device());
    assert_eq!(stat("null").rdev(), libc::makedev(1, 3));
    assert_eq!(stat("disk").rdev(), libc::makedev(4095, 1_048_575));
    assert!(stat("fifo").file_type().is_fifo());
    for size in [0, 1, 4031, 4032, 4033, 4095, 4096, 4097, 8192, 5_000_000] {
        assert_eq!(fs::read(path(&size.to_string())).unwrap(), data(size), "a file of {size} bytes");
    }
    for name in ["link", "early-link"] {
        assert_eq!((stat(name).ino(), stat(name).nlink()), (stat("5000000").ino(), 3));
    }
    assert_eq!((stat("many").nlink(), stat("").nlink()), (2, 2 + 4));
    assert_eq!(fs::read_dir(path("many")).unwrap().count(), 3000);
    for number in (0..3000).step_by(7) {
        assert_eq!(fs::read_to_string(path(&format!("many/{number}"))).unwrap(), number.to_string());
    }
    assert!(!path("many/3000").exists() && !path("many/none").exists());
    assert!(layer.path().join(OsStr::from_bytes(b"\xff\xfe not UTF-8")).exists());
    assert_eq!(fs::read_dir(path("empty")).unwrap().count(), 0);
}

/// One entry of an access control list as Linux writes it.
fn acl(tag: u8, permissions: u8, id: u32) -> [u8; 8] {
    let [a, b, c, d] = id.to_le_bytes();
    [tag, 0, permissions, 0, a, b, c, d]
}

#[test]
fn a_debian_root_is_what_gnu_tar_unpacks() {
    // What every Debian has and what is in it of every kind: some thousand files, links, set-user-id programs.
    let parts =
        ["etc", "var/lib/dpkg", "var/log", "var/cache/man", "usr/lib/locale", "usr/share/perl5", "usr/share/doc/libc6"];
    let parts = parts.iter().filter(|part| Path::new("/").join(part).exists());
    let listed = ". usr usr/bin usr/lib usr/share usr/share/doc var var/lib var/cache bin lib tmp".split(' ');
    let programs = ["usr/bin/su", "usr/bin/passwd", "usr/bin/perl", "usr/bin/mount"];
    let options = [
        "--xattrs",
        "--xattrs-include=*",
        "--format=posix",
        "--sparse",
        "--warning=no-file-changed",
        "-C",
        "/",
        "-cf",
        "-",
    ];
    let mut command = Command::new("tar");
    command.args(options).arg("--no-recursion").args(listed).args(programs).arg("--recursion").args(parts);
    assert!(compare::assert_equals_gnu_tar(&run(&mut command)) > 500);
}

#[test]
fn a_busybox_root_is_what_gnu_tar_unpacks() {
    let folder = tempfile::tempdir().unwrap();
    let root = |path: &str| folder.path().join(path);
    for path in ["bin", "sbin", "dev", "etc", "proc", "tmp", "usr/bin", "usr/sbin"] {
        fs::create_dir_all(root(path)).unwrap();
    }
    let busybox = ["/bin/busybox", "/usr/bin/busybox"].into_iter().find(|path| Path::new(path).exists());
    fs::copy(busybox.expect("scripts/setup installs busybox-static"), root("bin/busybox")).unwrap();
    for applet in String::from_utf8(run(Command::new("busybox").arg("--list-full"))).unwrap().lines() {
        // Those that are there already are busybox itself.
        let _ = fs::hard_link(root("bin/busybox"), root(applet));
    }
    fs::write(root("etc/passwd"), "root:x:0:0::/root:/bin/sh\n").unwrap();
    let packed = run(Command::new("tar").args(["--format=gnu", "-cf", "-", "-C"]).arg(folder.path()).arg("."));
    assert!(compare::assert_equals_gnu_tar(&packed) > 200);
}

#[test]
fn a_nasty_root_is_what_gnu_tar_unpacks() {
    let capability = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let list =
        [&[2, 0, 0, 0][..], &acl(1, 6, !0), &acl(2, 4, 1000), &acl(4, 4, !0), &acl(0x10, 4, !0), &acl(0x20, 4, !0)]
            .concat();
    let sparse_map = "0,512,102400,4096,9000000,0";
    let mut entries = vec![
        Entry::directory("./").mode(0o1751).owner(3, 4).mtime(-5),
        Entry::file(format!("{}leaf", "deep/".repeat(150)), "deep"),
        Entry::file("n".repeat(255), "long"),
        Entry::file(b"\xff\xfe\n not UTF-8", "x"),
        Entry::file("GNUSparseFile.1/s", data(512 + 4096))
            .pax("GNU.sparse.name", "sparse")
            .pax("GNU.sparse.size", "9000000")
            .pax("GNU.sparse.numblocks", "3")
            .pax("GNU.sparse.map", sparse_map),
        Entry::file("zeros", vec![0; 3 << 20]),
        Entry::file("capable", data(5000)).mode(0o4711).owner(1000, 1000).xattr("security.capability", capability),
        Entry::file("listed", "x").mode(0o644).xattr("system.posix_acl_access", &list),
        Entry::directory("listed-folder").xattr("system.posix_acl_default", &list),
        Entry::file("attributes", "x").xattr("trusted.a", data(3000)).xattr("trusted.empty", ""),
        Entry::file("huge-ids", "x").owner(4_294_967_294, 3_000_000_000),
        Entry::file("before-1970", "x").pax("mtime", "-1234567890.123456789"),
        // As late as ext4 can tell, where GNU tar may unpack it.
        Entry::file("far-future", "x").mtime(15_000_000_000),
        Entry::file("nanoseconds", "x").pax("mtime", "1700000000.999999999"),
        Entry::device(b'3', "character", 4095, 1_048_575).mode(0o666).owner(5, 6),
        Entry::device(b'4', "block", 259, 65_536),
        Entry::new(b'6', "pipe").mode(0o622),
        Entry::symlink("dangling", "../../does/not/exist"),
        Entry::symlink("long-link", "t".repeat(3000)),
        Entry::link("hard-link", "capable"),
        Entry::link("link-to-device", "block"),
        Entry::link("link-to-link", "dangling"),
        Entry::file("twice", "first"),
        Entry::symlink("twice", "capable"),
        Entry::file("twice", "last"),
        Entry::directory("closed").mode(0),
        Entry::file("closed/file", "x").mode(0),
    ];
    for size in [0, 1, 4031, 4032, 4033, 4095, 4096, 4097, 70_000] {
        entries.push(Entry::file(format!("size/{size}"), data(size)));
    }
    entries.push(Entry::directory("size").mtime(77));
    // Folders that are not listed get the time of unpacking from tar.
    for depth in 1..=150 {
        entries.push(Entry::directory("deep/".repeat(depth)));
    }
    assert!(compare::assert_equals_gnu_tar(&tar(entries)) > 180);
}

/// All paths below one, links not followed.
fn names(folder: &Path) -> Vec<PathBuf> {
    let mut names = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_dir() {
                folders.push(entry.path());
            }
            names.push(entry.path());
        }
    }
    names
}

fn run(command: &mut Command) -> Vec<u8> {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

#[test]
fn sparse_files_of_every_format_expand() {
    let folder = tempfile::tempdir().unwrap();
    let file = fs::File::create(folder.path().join("sparse")).unwrap();
    for piece in 0..30 {
        std::os::unix::fs::FileExt::write_all_at(&file, &data(5000), piece * 200_000).unwrap();
    }
    file.set_len(9_000_000).unwrap();
    let expected = fs::read(folder.path().join("sparse")).unwrap();
    let formats: [&[&str]; 4] = [
        &["--format=gnu"],
        &["--format=posix", "--sparse-version=0.0"],
        &["--format=posix", "--sparse-version=0.1"],
        &["--format=posix", "--sparse-version=1.0"],
    ];
    for format in formats {
        let packed = run(Command::new("tar").args(format).arg("-SC").arg(folder.path()).args(["-cf", "-", "sparse"]));
        assert!(packed.len() < 1_000_000, "tar found the holes");
        let layer = Mounted::layer(&packed);
        assert!(fs::read(layer.path().join("sparse")).unwrap() == expected, "{format:?}");
    }
}

#[test]
fn whiteouts_hide_what_lower_layers_have() {
    let lower = Mounted::layer(&tar([
        Entry::file("gone", "1"),
        Entry::file("kept", "1"),
        Entry::file("both", "old"),
        Entry::file("opaque/old", "1"),
        Entry::file("opaque/deep/old", "1"),
        Entry::file("replaced/old", "1"),
        Entry::file("merged/old", "1"),
    ]));
    let upper = Mounted::layer(&tar([
        Entry::file(".wh.gone", ""),
        Entry::file(".wh.never-was", ""),
        Entry::file("both", "new"),
        Entry::file(".wh.both", ""),
        Entry::file("opaque/new", "2"),
        Entry::file("opaque/.wh..wh..opq", ""),
        Entry::file("opaque/deep/.wh.never-was", ""),
        Entry::file("replaced/new", "2"),
        Entry::file(".wh.replaced", ""),
        Entry::file("merged/new", "2"),
        Entry::file("fresh/.wh.never-was", ""),
    ]));
    let merged = Mounted::overlay(&upper, &lower);
    let mut found: Vec<String> = names(&merged.path())
        .iter()
        .map(|name| name.strip_prefix(merged.path()).unwrap().to_str().unwrap().to_owned())
        .collect();
    found.sort();
    assert_eq!(
        found,
        [
            "both",
            "fresh",
            "kept",
            "merged",
            "merged/new",
            "merged/old",
            "opaque",
            "opaque/deep",
            "opaque/new",
            "replaced",
            "replaced/new",
        ]
    );
    assert_eq!(fs::read(merged.path().join("both")).unwrap(), b"new");
}

#[test]
fn what_a_layer_takes_from_those_below_is_what_the_kernel_shows() {
    let lower = Mounted::layer(&tar([
        Entry::directory("tmp").mode(0o1777).owner(1, 2).mtime(3).xattr("trusted.a", "b"),
        Entry::file("tmp/target", data(5000)).mode(0o4755).owner(7, 8),
        Entry::symlink("lib", "usr/lib"),
        Entry::directory("usr/lib").mode(0o711),
    ]));
    let upper =
        [Entry::file("tmp/new", "x"), Entry::link("lib/linked", "tmp/target"), Entry::file("lib/.wh.never", "")];
    let upper = Mounted::layer_over(&tar(upper), &[&lower]);
    let merged = Mounted::overlay(&upper, &lower);
    let stat = |name: &str| fs::symlink_metadata(merged.path().join(name)).unwrap();
    assert_eq!((stat("tmp").mode() & 0o7777, stat("tmp").uid(), stat("tmp").mtime()), (0o1777, 1, 3));
    assert_eq!(xattrs(&merged.path().join("tmp"))["trusted.a"], b"b");
    let linked = stat("usr/lib/linked");
    assert_eq!((linked.ino(), linked.nlink()), (stat("tmp/target").ino(), 2));
    assert_eq!((linked.mode() & 0o7777, linked.uid()), (0o4755, 7));
    assert_eq!(fs::read(merged.path().join("lib/linked")).unwrap(), data(5000));
    assert!(stat("lib").is_symlink() && stat("usr/lib").mode() & 0o7777 == 0o711);
}

#[test]
fn an_opaque_root_hides_everything_below() {
    let lower = Mounted::layer(&tar([Entry::file("a", "1"), Entry::file("b/a", "1"), Entry::file("c/a", "1")]));
    let upper = tar([Entry::file("b/b", "2"), Entry::file(".wh..wh..opq", "")]);
    let merged = Mounted::overlay(&Mounted::layer_over(&upper, &[&lower]), &lower);
    let found: Vec<PathBuf> = names(&merged.path());
    assert_eq!(found, ["b", "b/b"].map(|name| merged.path().join(name)));
    // What makes the whiteouts necessary: the mark itself does nothing at a root.
    let marked = Mounted::overlay(&Mounted::layer(&upper), &lower);
    assert!(marked.path().join("a").exists());
}

#[test]
fn a_compressed_layer_arrives_too() {
    let packed = tar([Entry::file("file", data(300_000))]);
    let compressed = zstd::encode_all(Cursor::new(&packed), 3).unwrap();
    let mut plain = coracle_image::layer::decompress(Box::new(Cursor::new(compressed))).unwrap();
    let layer = Mounted::stream(&mut plain);
    assert!(fs::read(layer.path().join("file")).unwrap() == data(300_000));
}

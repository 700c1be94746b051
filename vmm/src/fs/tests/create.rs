//! MKNOD, MKDIR, SYMLINK, CREATE, TMPFILE: new nodes.

use std::os::unix::fs::{FileTypeExt, MetadataExt, symlink};

use nix::errno::Errno;

use super::super::Cache;
use super::super::abi::{ROOT_ID, opcode};
use super::guest::{Entry, make_pipe};
use super::{Guest, Message};

fn alice(cache: Cache) -> Guest {
    Guest { uid: 1000, gid: 2000, ..Guest::new(cache) }
}

fn mkdir(guest: &Guest, parent: u64, name: &str, mode: u32) -> Result<Entry, Errno> {
    guest.entry(opcode::MKDIR, parent, &Message::default().u32(mode).u32(0o022).name(name))
}

fn mknod(guest: &Guest, name: &str, mode: u32, rdev: u32) -> Result<Entry, Errno> {
    let body = Message::default().u32(mode).u32(rdev).u32(0).u32(0).name(name);
    guest.entry(opcode::MKNOD, ROOT_ID, &body)
}

#[test]
fn a_new_file_has_the_owner_and_mode_the_guest_chose() {
    let guest = alice(Cache::Exclusive);
    let (entry, fh) = guest.create(ROOT_ID, "file", libc::O_RDWR, 0o666).unwrap();
    assert_eq!((entry.attributes.uid, entry.attributes.gid), (1000, 2000));
    assert_eq!(entry.attributes.mode, libc::S_IFREG | 0o644, "the umask is applied");
    assert_eq!(guest.write(entry.node, fh, 0, b"hello"), Ok(5));
    assert_eq!(std::fs::read(guest.path("file")).unwrap(), b"hello");
    assert_eq!(guest.node("file"), entry.node);
}

#[test]
fn setuid_and_setgid_survive_the_change_of_owner() {
    let guest = alice(Cache::Exclusive);
    let (entry, _) = guest.create(ROOT_ID, "file", libc::O_RDWR, 0o6755).unwrap();
    assert_eq!(entry.attributes.mode & 0o7777, 0o6755);
    let entry = mknod(&guest, "other", libc::S_IFREG | 0o4711, 0).unwrap();
    assert_eq!((entry.attributes.mode & 0o7777, entry.attributes.uid), (0o4711, 1000));
}

#[test]
fn a_folder_keeps_the_sticky_bit_and_no_other() {
    let guest = alice(Cache::Exclusive);
    assert_eq!(mkdir(&guest, ROOT_ID, "folder", 0o7777).unwrap().attributes.mode & 0o7777, 0o1755);
}

#[test]
fn what_is_made_in_a_setgid_folder_has_its_group() {
    let guest = alice(Cache::Exclusive);
    let folder = mkdir(&guest, ROOT_ID, "folder", 0o755).unwrap();
    std::os::unix::fs::chown(guest.path("folder"), None, Some(77)).unwrap();
    guest.chmod(folder.node, 0o2775).unwrap();
    let (file, _) = guest.create(folder.node, "file", libc::O_RDWR, 0o644).unwrap();
    assert_eq!((file.attributes.uid, file.attributes.gid), (1000, 77));
    let inner = mkdir(&guest, folder.node, "inner", 0o755).unwrap();
    assert_eq!((inner.attributes.uid, inner.attributes.gid), (1000, 77));
    assert_eq!(inner.attributes.mode & 0o7777, 0o2755, "and is setgid itself if it is a folder");
}

#[test]
fn special_files_are_made_and_never_opened() {
    let guest = alice(Cache::Exclusive);
    let null = mknod(&guest, "null", libc::S_IFCHR | 0o666, 1 << 8 | 3).unwrap();
    assert_eq!((null.attributes.rdev, null.attributes.mode), (1 << 8 | 3, libc::S_IFCHR | 0o666));
    assert_eq!(guest.path("null").metadata().unwrap().rdev(), libc::makedev(1, 3));
    mknod(&guest, "disk", libc::S_IFBLK | 0o600, 8 << 8).unwrap();
    mknod(&guest, "pipe", libc::S_IFIFO | 0o644, 0).unwrap();
    let socket = mknod(&guest, "socket", libc::S_IFSOCK | 0o644, 0).unwrap();
    assert_eq!(socket.attributes.uid, 1000);
    assert!(guest.path("socket").metadata().unwrap().file_type().is_socket());
    for name in ["null", "disk", "pipe", "socket"] {
        for flags in [libc::O_RDONLY, libc::O_WRONLY, libc::O_RDWR | libc::O_TRUNC] {
            assert_eq!(guest.open(guest.node(name), flags), Err(Errno::ENXIO), "{name}");
            assert_eq!(guest.create(ROOT_ID, name, flags, 0o644).unwrap_err(), Errno::ENXIO, "{name}");
        }
    }
}

#[test]
fn a_kind_of_node_that_does_not_exist_is_refused() {
    let guest = alice(Cache::Exclusive);
    for kind in [libc::S_IFDIR, libc::S_IFLNK, 0o030000, 0o170000] {
        assert_eq!(mknod(&guest, "node", kind | 0o644, 0), Err(Errno::EINVAL));
    }
    assert_eq!(mknod(&guest, "file", 0o644, 0).unwrap().attributes.mode, libc::S_IFREG | 0o644);
}

#[test]
fn a_link_belongs_to_who_made_it() {
    let guest = alice(Cache::Exclusive);
    let entry = guest.entry(opcode::SYMLINK, ROOT_ID, &Message::default().name("link").name("/etc/passwd")).unwrap();
    assert_eq!(entry.attributes.mode & libc::S_IFMT, libc::S_IFLNK);
    assert_eq!((entry.attributes.uid, entry.attributes.gid), (1000, 2000));
    assert_eq!(std::fs::read_link(guest.path("link")).unwrap().to_str(), Some("/etc/passwd"));
}

#[test]
fn a_file_that_exists_is_opened_unless_it_must_not() {
    let guest = alice(Cache::Exclusive);
    std::fs::write(guest.path("file"), b"old").unwrap();
    let flags = libc::O_RDWR | libc::O_CREAT;
    let (entry, fh) = guest.create(ROOT_ID, "file", flags, 0o600).unwrap();
    assert_eq!((entry.attributes.uid, entry.attributes.size), (0, 3));
    assert_eq!(guest.read(entry.node, fh, 0, 10).unwrap(), b"old");
    assert_eq!(guest.create(ROOT_ID, "file", flags | libc::O_EXCL, 0o600).unwrap_err(), Errno::EEXIST);
    let (entry, _) = guest.create(ROOT_ID, "file", flags | libc::O_TRUNC, 0o600).unwrap();
    assert_eq!(entry.attributes.size, 0);
    symlink("/dev/shm", guest.path("link")).unwrap();
    assert_eq!(guest.create(ROOT_ID, "link", flags, 0o600).unwrap_err(), Errno::ELOOP);
    assert_eq!(guest.create(ROOT_ID, "missing", libc::O_ACCMODE, 0o600).unwrap_err(), Errno::EINVAL);
}

#[test]
fn a_failed_opening_of_a_file_that_exists_leaves_no_reference() {
    let guest = alice(Cache::Exclusive);
    make_pipe(&guest.path("pipe"));
    assert_eq!(guest.create(ROOT_ID, "pipe", libc::O_RDWR, 0o600).unwrap_err(), Errno::ENXIO);
    assert_eq!(guest.server.nodes.count(), 1);
}

#[test]
fn what_exists_is_not_made_again() {
    let guest = alice(Cache::Exclusive);
    std::fs::write(guest.path("name"), b"").unwrap();
    assert_eq!(mkdir(&guest, ROOT_ID, "name", 0o755), Err(Errno::EEXIST));
    assert_eq!(mknod(&guest, "name", libc::S_IFIFO, 0), Err(Errno::EEXIST));
    let body = Message::default().name("name").name("target");
    assert_eq!(guest.entry(opcode::SYMLINK, ROOT_ID, &body), Err(Errno::EEXIST));
    assert!(guest.path("name").is_file(), "and is not removed for it");
}

#[test]
fn a_file_without_a_name_can_be_given_one() {
    let guest = alice(Cache::Exclusive);
    let flags = libc::O_RDWR | libc::O_TMPFILE;
    let body = Message::default().u32(flags as u32).u32(libc::S_IFREG | 0o4640).u32(0).u32(0).name("/");
    let reply = guest.call(opcode::TMPFILE, ROOT_ID, &body).unwrap();
    let mut body = super::super::abi::Body::new(&reply);
    let (entry, fh) = (super::guest::entry(&mut body), body.u64().unwrap());
    assert_eq!((entry.attributes.uid, entry.attributes.links), (1000, 0));
    assert_eq!(entry.attributes.mode, libc::S_IFREG | 0o4640);
    assert_eq!(guest.write(entry.node, fh, 0, b"kept"), Ok(4));
    let body = Message::default().u64(entry.node).name("named");
    let named = guest.entry(opcode::LINK, ROOT_ID, &body).unwrap();
    assert_eq!((named.node, named.attributes.links), (entry.node, 1));
    assert_eq!(std::fs::read(guest.path("named")).unwrap(), b"kept");
}

#[test]
fn nobody_can_be_minus_one() {
    for (uid, gid) in [(u32::MAX, 0), (0, u32::MAX)] {
        let guest = Guest { uid, gid, ..Guest::new(Cache::Exclusive) };
        assert_eq!(mkdir(&guest, ROOT_ID, "folder", 0o755), Err(Errno::EINVAL));
        assert_eq!(guest.create(ROOT_ID, "file", libc::O_RDWR, 0o644).unwrap_err(), Errno::EINVAL);
        assert_eq!(std::fs::read_dir(guest.path("")).unwrap().count(), 0);
    }
}

#[test]
fn a_default_access_control_list_takes_the_place_of_the_umask() {
    let guest = alice(Cache::Exclusive);
    let folder = mkdir(&guest, ROOT_ID, "folder", 0o755).unwrap();
    // user::rwx group::rwx other::---
    let list = [2u32.to_le_bytes(), [1, 0, 7, 0], [255; 4], [4, 0, 7, 0], [255; 4], [32, 0, 0, 0], [255; 4]].concat();
    guest.setxattr(folder.node, "system.posix_acl_default", &list, 0).unwrap();
    let (file, _) = guest.create(folder.node, "file", libc::O_RDWR, 0o666).unwrap();
    assert_eq!(file.attributes.mode & 0o7777, 0o660, "group may write, against the umask; others may nothing");
    assert_eq!(mkdir(&guest, folder.node, "inner", 0o777).unwrap().attributes.mode & 0o7777, 0o770);
    let (file, _) = guest.create(ROOT_ID, "file", libc::O_RDWR, 0o666).unwrap();
    assert_eq!(file.attributes.mode & 0o7777, 0o644);
}

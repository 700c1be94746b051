//! GETATTR, SETATTR, STATX, STATFS, SYNCFS, READLINK.

use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use nix::errno::Errno;

use super::super::Cache;
use super::super::abi::{Body, ROOT_ID, opcode, setattr};
use super::guest::{Change, make_pipe};
use super::{Guest, Message};

fn mode(guest: &Guest, name: &str) -> u32 {
    guest.path(name).symlink_metadata().unwrap().mode() & 0o7777
}

#[test]
fn owner_and_mode_are_set_exactly() {
    let guest = Guest::new(Cache::Exclusive);
    std::fs::write(guest.path("file"), b"").unwrap();
    make_pipe(&guest.path("pipe"));
    std::fs::create_dir(guest.path("folder")).unwrap();
    for name in ["file", "pipe", "folder"] {
        let node = guest.node(name);
        let change = Change { valid: setattr::UID | setattr::GID, uid: 1234, gid: 5678, ..Change::default() };
        let attributes = guest.setattr(node, &change).unwrap();
        assert_eq!((attributes.uid, attributes.gid), (1234, 5678), "{name}");
        guest.chmod(node, 0o6755).unwrap();
        assert_eq!(mode(&guest, name), 0o6755, "{name}");
        let change = Change { valid: setattr::UID, uid: 7, gid: 99, ..Change::default() };
        let attributes = guest.setattr(node, &change).unwrap();
        assert_eq!((attributes.uid, attributes.gid), (7, 5678), "{name}");
        let kept = if name == "folder" { 0o6755 } else { 0o755 };
        assert_eq!(attributes.mode & 0o7777, kept, "a new owner ends setuid and setgid, of {name}");
    }
}

#[test]
fn a_link_has_an_owner_of_its_own() {
    let guest = Guest::new(Cache::Exclusive);
    std::fs::write(guest.path("file"), b"").unwrap();
    symlink("file", guest.path("link")).unwrap();
    let change = Change { valid: setattr::UID | setattr::GID, uid: 3, gid: 4, ..Change::default() };
    guest.setattr(guest.node("link"), &change).unwrap();
    assert_eq!(guest.path("link").symlink_metadata().unwrap().uid(), 3);
    assert_eq!(guest.path("file").metadata().unwrap().uid(), 0);
    assert_eq!(guest.chmod(guest.node("link"), 0o600), Err(Errno::EOPNOTSUPP));
}

#[test]
fn times_are_set_to_the_nanosecond_before_and_after_1970() {
    let guest = Guest::new(Cache::Exclusive);
    std::fs::write(guest.path("file"), b"").unwrap();
    symlink("file", guest.path("link")).unwrap();
    for name in ["file", "link"] {
        let node = guest.node(name);
        let times = [(-5i64 as u64, 7), (1_700_000_000, 999_999_999)];
        let change = Change { valid: setattr::ATIME | setattr::MTIME, times, ..Change::default() };
        assert_eq!(guest.setattr(node, &change).unwrap().times[..2], times);
        let meta = guest.path(name).symlink_metadata().unwrap();
        assert_eq!((meta.atime(), meta.mtime(), meta.mtime_nsec()), (-5, 1_700_000_000, 999_999_999));
        let now = Change { valid: setattr::ATIME | setattr::ATIME_NOW, ..Change::default() };
        let attributes = guest.setattr(node, &now).unwrap();
        assert!(attributes.times[0].0 > 1_700_000_000);
        assert_eq!(attributes.times[1], times[1], "the other time stays");
    }
}

#[test]
fn nanoseconds_that_mean_something_else_to_the_host_are_refused() {
    let guest = Guest::new(Cache::Exclusive);
    for special in [1_000_000_000, libc::UTIME_NOW as u32, libc::UTIME_OMIT as u32, u32::MAX] {
        let change = Change { valid: setattr::MTIME, times: [(0, 0), (0, special)], ..Change::default() };
        assert_eq!(guest.setattr(ROOT_ID, &change), Err(Errno::EINVAL));
    }
}

#[test]
fn a_file_is_cut_and_grown_by_name_and_by_handle() {
    let guest = Guest::new(Cache::Exclusive);
    std::fs::write(guest.path("file"), b"0123456789").unwrap();
    let node = guest.node("file");
    let size =
        |size, valid, fh| guest.setattr(node, &Change { valid: setattr::SIZE | valid, fh, size, ..Change::default() });
    assert_eq!(size(4, 0, 0).unwrap().size, 4);
    let writable = guest.open(node, libc::O_RDWR).unwrap();
    assert_eq!(size(2, setattr::FH, writable).unwrap().size, 2);
    let readable = guest.open(node, libc::O_RDONLY).unwrap();
    assert_eq!(size(3, setattr::FH, readable).unwrap().size, 3);
    assert_eq!(std::fs::read(guest.path("file")).unwrap(), b"01\0");
    assert_eq!(size(1, setattr::FH, 77), Err(Errno::EBADF));
    assert_eq!(size(u64::MAX, 0, 0), Err(Errno::EFBIG));
}

#[test]
fn a_handle_of_another_file_does_not_open_a_way_to_it() {
    let guest = Guest::new(Cache::Exclusive);
    std::fs::write(guest.path("one"), b"1").unwrap();
    std::fs::write(guest.path("two"), b"2").unwrap();
    let (one, two) = (guest.node("one"), guest.node("two"));
    let fh = guest.open(one, libc::O_RDWR).unwrap();
    let change = Change { valid: setattr::SIZE | setattr::FH, fh, ..Change::default() };
    assert_eq!(guest.setattr(two, &change), Err(Errno::EBADF));
    assert_eq!(guest.read(two, fh, 0, 1), Err(Errno::EBADF));
    assert_eq!(guest.write(two, fh, 0, b"x"), Err(Errno::EBADF));
    assert_eq!(guest.release(two, fh), Err(Errno::EBADF));
}

#[test]
fn only_files_have_a_size_to_set() {
    let guest = Guest::new(Cache::Exclusive);
    make_pipe(&guest.path("pipe"));
    let change = Change { valid: setattr::SIZE | setattr::MODE, mode: 0o777, ..Change::default() };
    assert_eq!(guest.setattr(ROOT_ID, &change), Err(Errno::EISDIR));
    assert_eq!(guest.setattr(guest.node("pipe"), &change), Err(Errno::EINVAL));
    assert_ne!(mode(&guest, "pipe"), 0o777, "what is refused changes nothing");
}

#[test]
fn truncation_without_privilege_ends_setuid() {
    let guest = Guest::new(Cache::Exclusive);
    std::fs::write(guest.path("file"), b"data").unwrap();
    let node = guest.node("file");
    for (valid, left) in [(setattr::SIZE, 0o6755), (setattr::SIZE | setattr::KILL_SUIDGID, 0o755)] {
        guest.chmod(node, 0o6755).unwrap();
        let attributes = guest.setattr(node, &Change { valid, ..Change::default() }).unwrap();
        assert_eq!(attributes.mode & 0o7777, left);
    }
    guest.chmod(node, 0o2644).unwrap();
    let valid = setattr::SIZE | setattr::KILL_SUIDGID;
    let attributes = guest.setattr(node, &Change { valid, ..Change::default() }).unwrap();
    assert_eq!(attributes.mode & 0o7777, 0o2644, "setgid without execution is no privilege");
}

#[test]
fn a_mode_that_forbids_everything_stops_only_the_guest() {
    let guest = Guest::new(Cache::Exclusive);
    std::fs::write(guest.path("file"), b"data").unwrap();
    std::fs::set_permissions(guest.path("file"), PermissionsExt::from_mode(0o000)).unwrap();
    assert_eq!(guest.contents(guest.node("file")), b"data", "permissions are the guest's kernel's to check");
}

#[test]
fn statx_also_tells_the_time_of_birth() {
    let guest = Guest::new(Cache::Exclusive);
    std::fs::write(guest.path("file"), b"12345").unwrap();
    let node = guest.node("file");
    let body = Message::default().u32(0).u32(0).u64(0).u32(0).u32(0xfff);
    let reply = guest.call(opcode::STATX, node, &body).unwrap();
    assert_eq!(reply.len(), 288);
    let mut statx = Body::new(&reply[32..]);
    let mask = statx.u32().unwrap();
    assert_eq!(mask & 0xfff, 0xfff, "basic fields and birth");
    statx.bytes(36).unwrap();
    assert_eq!(statx.u64(), Ok(5), "size");
    let birth = Body::new(&reply[32 + 80..]).u64().unwrap();
    assert!(birth > 1_700_000_000, "{birth}");
}

#[test]
fn statfs_tells_of_the_hosts_file_system() {
    let guest = Guest::new(Cache::Exclusive);
    let reply = guest.call(opcode::STATFS, ROOT_ID, &Message::default()).unwrap();
    let mut statfs = Body::new(&reply);
    assert!(statfs.u64().unwrap() > 0);
    statfs.bytes(32).unwrap();
    assert_eq!((statfs.u32(), statfs.u32(), statfs.u32()), (Ok(4096), Ok(255), Ok(4096)));
    assert_eq!(reply.len(), 80);
}

#[test]
fn the_file_system_is_synced() {
    let guest = Guest::new(Cache::Exclusive);
    assert_eq!(guest.call(opcode::SYNCFS, ROOT_ID, &Message::default().u64(0)), Ok(vec![]));
}

#[test]
fn a_link_is_read_to_its_end() {
    let guest = Guest::new(Cache::Exclusive);
    for target in ["file".to_owned(), "/etc/passwd".to_owned(), "x".repeat(4095)] {
        symlink(&target, guest.path("link")).unwrap();
        let node = guest.node("link");
        let reply = guest.call_with_room(opcode::READLINK, node, &Message::default(), 4095).unwrap();
        assert_eq!(reply, target.as_bytes());
        std::fs::remove_file(guest.path("link")).unwrap();
        guest.forget(node, 1);
    }
    assert_eq!(guest.call(opcode::READLINK, ROOT_ID, &Message::default()), Err(Errno::EINVAL));
}

//! SETXATTR, GETXATTR, LISTXATTR, REMOVEXATTR.

use std::os::unix::fs::symlink;

use nix::errno::Errno;

use super::super::Cache;
use super::super::abi::{Body, ROOT_ID, opcode};
use super::guest::{c_path, make_pipe, path_fd};
use super::{Guest, Message};
use crate::fs::{Export, Server, Tree};

fn list(guest: &Guest, node: u64, size: u32) -> Result<Vec<u8>, Errno> {
    guest.call(opcode::LISTXATTR, node, &Message::default().u32(size).u32(0))
}

fn host_set(guest: &Guest, file: &str, name: &std::ffi::CStr, value: &[u8]) {
    let path = c_path(&guest.path(file));
    // SAFETY: path and name end with a zero byte; `value` is as long as it says.
    let result = unsafe { libc::lsetxattr(path.as_ptr(), name.as_ptr(), value.as_ptr().cast(), value.len(), 0) };
    assert_eq!(result, 0);
}

#[test]
fn attributes_of_files_and_folders_come_and_go() {
    let guest = Guest::new(Cache::Exclusive);
    std::fs::write(guest.path("file"), b"").unwrap();
    for node in [ROOT_ID, guest.node("file")] {
        guest.setxattr(node, "user.one", b"first", 0).unwrap();
        guest.setxattr(node, "trusted.two", b"", 0).unwrap();
        assert_eq!(guest.getxattr(node, "user.one", 100).unwrap(), b"first");
        assert_eq!(guest.getxattr(node, "trusted.two", 100).unwrap(), b"");
        let size = guest.getxattr(node, "user.one", 0).unwrap();
        assert_eq!(Body::new(&size).u32(), Ok(5));
        assert_eq!(guest.getxattr(node, "user.one", 4), Err(Errno::ERANGE));
        assert_eq!(guest.setxattr(node, "user.one", b"x", libc::XATTR_CREATE), Err(Errno::EEXIST));
        assert_eq!(guest.setxattr(node, "user.none", b"x", libc::XATTR_REPLACE), Err(Errno::ENODATA));
        assert_eq!(guest.setxattr(node, "user.one", b"x", 8), Err(Errno::EINVAL));
        let names = list(&guest, node, 1000).unwrap();
        let mut names: Vec<&[u8]> = names.split_inclusive(|byte| *byte == 0).collect();
        names.sort();
        assert_eq!(names, [&b"trusted.two\0"[..], b"user.one\0"]);
        assert_eq!(Body::new(&list(&guest, node, 0).unwrap()).u32(), Ok(21));
        assert_eq!(list(&guest, node, 20), Err(Errno::ERANGE));
        let name = Message::default().name("user.one");
        assert_eq!(guest.call(opcode::REMOVEXATTR, node, &name), Ok(vec![]));
        assert_eq!(guest.call(opcode::REMOVEXATTR, node, &name), Err(Errno::ENODATA));
        assert_eq!(guest.getxattr(node, "user.one", 100), Err(Errno::ENODATA));
    }
}

#[test]
fn trusted_attributes_are_listed_to_root_alone() {
    let guest = Guest { uid: 1000, ..Guest::new(Cache::Exclusive) };
    guest.setxattr(ROOT_ID, "user.one", b"", 0).unwrap();
    guest.setxattr(ROOT_ID, "trusted.two", b"", 0).unwrap();
    assert_eq!(list(&guest, ROOT_ID, 100).unwrap(), b"user.one\0");
    assert_eq!(list(&Guest { uid: 0, ..guest }, ROOT_ID, 100).unwrap().len(), 21);
}

#[test]
fn a_link_and_a_pipe_have_attributes_of_their_own() {
    let guest = Guest::new(Cache::Exclusive);
    std::fs::write(guest.path("file"), b"").unwrap();
    symlink("file", guest.path("link")).unwrap();
    make_pipe(&guest.path("pipe"));
    for name in ["link", "pipe"] {
        let node = guest.node(name);
        guest.setxattr(node, "trusted.own", name.as_bytes(), 0).unwrap();
        assert_eq!(guest.getxattr(node, "trusted.own", 100).unwrap(), name.as_bytes());
        assert_eq!(list(&guest, node, 100).unwrap(), b"trusted.own\0");
        guest.call(opcode::REMOVEXATTR, node, &Message::default().name("trusted.own")).unwrap();
        assert_eq!(list(&guest, node, 100).unwrap(), b"");
    }
    assert_eq!(guest.getxattr(guest.node("file"), "trusted.own", 100), Err(Errno::ENODATA));
}

#[test]
fn attributes_of_overlay_mounts_are_neither_seen_nor_set() {
    let guest = Guest::new(Cache::Exclusive);
    std::fs::write(guest.path("file"), b"").unwrap();
    host_set(&guest, "file", c"trusted.overlay.opaque", b"y");
    host_set(&guest, "file", c"user.seen", b"y");
    let node = guest.node("file");
    assert_eq!(list(&guest, node, 100).unwrap(), b"user.seen\0");
    assert_eq!(Body::new(&list(&guest, node, 0).unwrap()).u32(), Ok(10));
    for name in ["trusted.overlay.opaque", "trusted.overlay.redirect", "user.overlay.metacopy"] {
        assert_eq!(guest.getxattr(node, name, 100), Err(Errno::EPERM));
        assert_eq!(guest.setxattr(node, name, b"/", 0), Err(Errno::EPERM));
        assert_eq!(guest.call(opcode::REMOVEXATTR, node, &Message::default().name(name)), Err(Errno::EPERM));
    }
}

#[test]
fn labels_of_the_hosts_security_modules_are_not_the_guests() {
    let guest = Guest::new(Cache::Exclusive);
    for name in ["security.selinux", "security.ima", "system.nfs4_acl", "nonsense"] {
        assert_eq!(guest.setxattr(ROOT_ID, name, b"x", 0), Err(Errno::EOPNOTSUPP), "{name}");
        assert_eq!(guest.getxattr(ROOT_ID, name, 100), Err(Errno::EOPNOTSUPP), "{name}");
    }
}

#[test]
fn an_access_control_list_sets_the_mode_and_may_end_setgid() {
    let guest = Guest::new(Cache::Exclusive);
    std::fs::write(guest.path("file"), b"").unwrap();
    let node = guest.node("file");
    assert_eq!(guest.getxattr(node, "system.posix_acl_access", 100), Err(Errno::ENODATA));
    // user::rw- group::r-x other::---
    let acl = [2u32.to_le_bytes(), [1, 0, 6, 0], [255; 4], [4, 0, 5, 0], [255; 4], [32, 0, 0, 0], [255; 4]].concat();
    for (flags, mode) in [(0, 0o2650), (1, 0o650)] {
        guest.chmod(node, 0o2755).unwrap();
        let body = Message::default().u32(acl.len() as u32).u32(0).u32(flags).u32(0);
        let body = body.name("system.posix_acl_access").bytes(&acl);
        guest.call(opcode::SETXATTR, node, &body).unwrap();
        assert_eq!(guest.attributes(node).unwrap().mode & 0o7777, mode);
    }
}

#[test]
fn where_there_are_no_access_control_lists_there_is_none() {
    let (guest, other) = (Guest::new(Cache::Exclusive), super::guest::temporary());
    let export = |root| Export { root, read_only: false, cache: Cache::Exclusive };
    std::os::unix::net::UnixListener::bind(other.path().join("socket")).unwrap();
    let tree = vec![
        ("folder".to_owned(), export(path_fd(guest.path("")))),
        // procfs has none.
        ("proc".to_owned(), export(path_fd("/proc/sys/kernel"))),
    ];
    let guest = Guest::of(Server::new(Tree::Folder(tree)).unwrap(), other);
    let node = guest.node("proc");
    assert_eq!(guest.getxattr(node, "system.posix_acl_access", 100), Err(Errno::ENODATA));
    let acl = [2u32.to_le_bytes(), [1, 0, 6, 0], [255; 4], [4, 0, 5, 0], [255; 4], [32, 0, 0, 0], [255; 4]].concat();
    assert_eq!(guest.setxattr(node, "system.posix_acl_access", &acl, 0), Err(Errno::EOPNOTSUPP));
    assert_eq!(guest.getxattr(ROOT_ID, "system.posix_acl_access", 100), Err(Errno::ENODATA));
}

#[test]
fn names_and_values_have_their_limits() {
    let guest = Guest::new(Cache::Exclusive);
    let long = format!("user.{}", "n".repeat(251));
    assert_eq!(guest.setxattr(ROOT_ID, &long, b"x", 0), Err(Errno::ERANGE));
    assert_eq!(guest.getxattr(ROOT_ID, "", 10), Err(Errno::EINVAL));
    let value = vec![b'v'; 60000];
    match guest.setxattr(ROOT_ID, "user.large", &value, 0) {
        Ok(()) => {
            let body = Message::default().u32(65536).u32(0).name("user.large");
            assert_eq!(guest.call_with_room(opcode::GETXATTR, ROOT_ID, &body, 65536).unwrap(), value);
            assert_eq!(guest.call_with_room(opcode::GETXATTR, ROOT_ID, &body, 1000), Err(Errno::EINVAL));
        }
        // This host's file system stores none of that size.
        Err(error) => assert!(matches!(error, Errno::ENOSPC | Errno::E2BIG), "{error}"),
    }
    let value = vec![0; 100 << 10];
    assert_eq!(guest.setxattr(ROOT_ID, "user.huge", &value, 0), Err(Errno::E2BIG));
}

#[test]
fn without_the_extension_the_shorter_message_is_understood() {
    let guest = Guest::new(Cache::Exclusive);
    guest.init(0);
    let body = Message::default().u32(5).u32(0).name("user.one").bytes(b"value");
    guest.call(opcode::SETXATTR, ROOT_ID, &body).unwrap();
    assert_eq!(guest.getxattr(ROOT_ID, "user.one", 10).unwrap(), b"value");
}

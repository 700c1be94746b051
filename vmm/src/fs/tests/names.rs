//! LOOKUP, FORGET, BATCH_FORGET.

use std::os::unix::fs::symlink;

use vm_memory::VolatileSlice;

use super::super::Cache;
use super::super::abi::{ROOT_ID, opcode};
use super::guest::make_pipe;
use super::{Guest, Message};
use nix::errno::Errno;

const CENTURY: u64 = 100 * 365 * 86400;

#[test]
fn a_name_becomes_a_node_with_its_attributes() {
    let guest = Guest::new(Cache::Exclusive);
    std::fs::write(guest.path("file"), b"hello").unwrap();
    let entry = guest.lookup(ROOT_ID, "file").unwrap();
    assert_ne!(entry.node, ROOT_ID);
    assert_eq!(entry.attributes.mode & libc::S_IFMT, libc::S_IFREG);
    assert_eq!((entry.attributes.size, entry.attributes.links), (5, 1));
    assert_eq!(guest.attributes(entry.node).unwrap(), entry.attributes);
}

#[test]
fn hard_links_are_one_node() {
    for cache in [Cache::Exclusive, Cache::Shared] {
        let guest = Guest::new(cache);
        std::fs::write(guest.path("one"), b"").unwrap();
        std::fs::hard_link(guest.path("one"), guest.path("two")).unwrap();
        let (one, two) = (guest.lookup(ROOT_ID, "one").unwrap(), guest.lookup(ROOT_ID, "two").unwrap());
        assert_eq!(one.node, two.node);
        assert_eq!(two.attributes.links, 2);
    }
}

#[test]
fn a_node_lives_until_as_many_references_are_forgotten_as_were_given() {
    for cache in [Cache::Exclusive, Cache::Shared] {
        let guest = Guest::new(cache);
        std::fs::write(guest.path("file"), b"").unwrap();
        let node = guest.node("file");
        assert_eq!(guest.node("file"), node);
        guest.forget(node, 1);
        assert!(guest.attributes(node).is_ok());
        guest.forget(node, 1);
        assert_eq!(guest.attributes(node), Err(Errno::ESTALE));
        assert_eq!(guest.server.nodes.count(), 1);
        assert_ne!(guest.node("file"), node, "an id is not used twice");
    }
}

#[test]
fn the_root_is_never_forgotten() {
    let guest = Guest::new(Cache::Exclusive);
    guest.forget(ROOT_ID, u64::MAX);
    assert!(guest.attributes(ROOT_ID).is_ok());
}

#[test]
fn many_nodes_are_forgotten_at_once() {
    let guest = Guest::new(Cache::Exclusive);
    let nodes: Vec<u64> = (0..5)
        .map(|number| {
            std::fs::write(guest.path(&number.to_string()), b"").unwrap();
            guest.node(&number.to_string())
        })
        .collect();
    let body = nodes.iter().fold(Message::default().u32(5).u32(0), |body, node| body.u64(*node).u64(1));
    let mut request = guest.header(opcode::BATCH_FORGET, 0, body.0.len());
    request.extend(body.0);
    assert_eq!(guest.server.handle(&[VolatileSlice::from(&mut request[..])], &[]), 0);
    assert_eq!(guest.server.nodes.count(), 1);
}

#[test]
fn absence_is_remembered_only_where_the_guest_is_alone() {
    let absent = Guest::new(Cache::Exclusive).lookup(ROOT_ID, "absent").unwrap();
    assert_eq!((absent.node, absent.entry_valid), (0, (CENTURY, 0)));
    assert_eq!(Guest::new(Cache::Shared).lookup(ROOT_ID, "absent"), Err(Errno::ENOENT));
}

#[test]
fn what_is_shared_is_soon_asked_for_again() {
    let guest = Guest::new(Cache::Shared);
    std::fs::write(guest.path("file"), b"old").unwrap();
    let entry = guest.lookup(ROOT_ID, "file").unwrap();
    assert_eq!(entry.entry_valid.0, 0);
    assert!(entry.entry_valid.1 > 0 && entry.entry_valid.1 <= 100_000_000);
    std::fs::remove_file(guest.path("file")).unwrap();
    std::fs::write(guest.path("file"), b"newer").unwrap();
    let again = guest.lookup(ROOT_ID, "file").unwrap();
    assert_ne!(again.node, entry.node, "the old file is held, so the new one has another inode");
    assert_eq!(again.attributes.size, 5);
}

#[test]
fn every_kind_of_node_is_seen_as_it_is() {
    let guest = Guest::new(Cache::Exclusive);
    symlink("file", guest.path("link")).unwrap();
    make_pipe(&guest.path("pipe"));
    std::fs::create_dir(guest.path("folder")).unwrap();
    for (name, kind) in [("link", libc::S_IFLNK), ("pipe", libc::S_IFIFO), ("folder", libc::S_IFDIR)] {
        assert_eq!(guest.lookup(ROOT_ID, name).unwrap().attributes.mode & libc::S_IFMT, kind, "{name}");
    }
}

#[test]
fn names_that_lead_elsewhere_are_refused() {
    let guest = Guest::new(Cache::Exclusive);
    std::fs::create_dir(guest.path("folder")).unwrap();
    let folder = guest.node("folder");
    for name in ["", ".", "..", "/", "/etc", "a/b", "../x", "folder/.."] {
        assert_eq!(guest.lookup(folder, name), Err(Errno::EINVAL), "{name:?}");
    }
    assert_eq!(guest.lookup(folder, &"x".repeat(256)), Err(Errno::ENAMETOOLONG));
    assert!(guest.lookup(folder, &"x".repeat(255)).is_ok());
    assert_eq!(guest.entry(opcode::LOOKUP, folder, &Message::default().bytes(b"x")), Err(Errno::EINVAL));
    assert_eq!(guest.entry(opcode::LOOKUP, folder, &Message::default().bytes(b"x\0y\0")), Err(Errno::EINVAL));
}

#[test]
fn a_file_has_no_children() {
    for cache in [Cache::Exclusive, Cache::Shared] {
        let guest = Guest::new(cache);
        std::fs::write(guest.path("file"), b"").unwrap();
        let file = guest.node("file");
        assert_eq!(guest.lookup(file, "x"), Err(Errno::ENOTDIR));
    }
}

#[test]
fn threads_may_look_up_and_forget_the_same_names() {
    let guest = Guest::new(Cache::Exclusive);
    for number in 0..4 {
        std::fs::write(guest.path(&number.to_string()), b"").unwrap();
    }
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for round in 0..500 {
                    let node = guest.node(&(round % 4).to_string());
                    assert!(guest.attributes(node).is_ok());
                    guest.forget(node, 1);
                }
            });
        }
    });
    assert_eq!(guest.server.nodes.count(), 1);
}

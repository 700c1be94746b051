//! OPENDIR, READDIR, READDIRPLUS, FSYNCDIR, RELEASEDIR.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;

use nix::errno::Errno;

use super::super::Cache;
use super::super::abi::{self, Body, ROOT_ID, opcode};
use super::{Guest, Message};

fn guest_with_entries(cache: Cache, count: usize) -> Guest {
    let guest = Guest::new(cache);
    for number in 0..count {
        std::fs::write(guest.path(&format!("file-{number}")), b"").unwrap();
    }
    guest
}

#[test]
fn every_entry_is_listed_once_whatever_the_room() {
    let guest = guest_with_entries(Cache::Exclusive, 300);
    for (room, plus) in [(4096, false), (4096, true), (320, false), (320, true), (1 << 20, true)] {
        let entries = guest.list(ROOT_ID, room, plus);
        let names: BTreeSet<&str> = entries.iter().map(|entry| entry.name.as_str()).collect();
        assert_eq!((entries.len(), names.len()), (302, 302), "in {room} bytes");
        assert!(names.contains(".") && names.contains("..") && names.contains("file-299"));
    }
}

#[test]
fn a_listing_with_attributes_is_a_lookup_of_each() {
    let guest = guest_with_entries(Cache::Exclusive, 10);
    std::fs::create_dir(guest.path("folder")).unwrap();
    for entry in guest.list(ROOT_ID, 4096, true) {
        let found = entry.entry.unwrap();
        if entry.name.starts_with('.') {
            assert_eq!(found.node, 0, "the guest knows {}", entry.name);
            continue;
        }
        assert_eq!(entry.inode, found.attributes.inode);
        assert_eq!(entry.inode, guest.path(&entry.name).metadata().unwrap().ino());
        assert_eq!(entry.kind, found.attributes.mode >> 12);
        assert_eq!(guest.node(&entry.name), found.node);
        guest.forget(found.node, 1);
        assert!(guest.attributes(found.node).is_ok(), "both count");
        guest.forget(found.node, 1);
        assert_eq!(guest.attributes(found.node), Err(Errno::ESTALE));
    }
    assert_eq!(guest.server.nodes.count(), 1);
}

#[test]
fn what_was_listed_in_vain_is_not_referenced() {
    let guest = guest_with_entries(Cache::Exclusive, 100);
    let fh = guest.opendir(ROOT_ID).unwrap();
    let entries = guest.readdir(ROOT_ID, fh, 0, 1000, true).unwrap();
    let listed = entries.iter().filter(|entry| entry.entry.unwrap().node != 0).count();
    assert!(listed > 0 && listed < 100);
    assert_eq!(guest.server.nodes.count(), 1 + listed);
}

#[test]
fn a_listing_can_be_continued_from_any_entry() {
    let guest = guest_with_entries(Cache::Exclusive, 50);
    let fh = guest.opendir(ROOT_ID).unwrap();
    let all = guest.readdir(ROOT_ID, fh, 0, 1 << 16, false).unwrap();
    assert_eq!(all.len(), 52);
    for index in [0, 30, 5, 51, 17] {
        let rest = guest.readdir(ROOT_ID, fh, all[index].offset, 1 << 16, false).unwrap();
        let expected: Vec<&str> = all[index + 1..].iter().map(|entry| entry.name.as_str()).collect();
        assert_eq!(rest.iter().map(|entry| entry.name.as_str()).collect::<Vec<_>>(), expected);
    }
    assert_eq!(guest.readdir(ROOT_ID, fh, u64::MAX, 4096, false).unwrap_err(), Errno::EINVAL);
}

#[test]
fn no_room_for_one_entry_does_not_look_like_the_end() {
    let guest = guest_with_entries(Cache::Exclusive, 1);
    let fh = guest.opendir(ROOT_ID).unwrap();
    assert_eq!(guest.readdir(ROOT_ID, fh, 0, 31, false).unwrap_err(), Errno::EINVAL);
    assert_eq!(guest.readdir(ROOT_ID, fh, 0, 128, true).unwrap_err(), Errno::EINVAL);
    assert_eq!(guest.readdir(ROOT_ID, fh, 0, 0, false).unwrap_err(), Errno::EINVAL);
    assert_eq!(guest.readdir(ROOT_ID, fh, 0, 32, false).unwrap().len(), 1);
}

#[test]
fn names_of_the_longest_kind_are_listed() {
    let guest = Guest::new(Cache::Exclusive);
    let long = "n".repeat(255);
    std::fs::write(guest.path(&long), b"").unwrap();
    assert!(guest.list(ROOT_ID, 600, true).iter().any(|entry| entry.name == long));
}

#[test]
fn what_is_above_the_export_stays_hidden() {
    let guest = Guest::new(Cache::Exclusive);
    std::fs::create_dir(guest.path("folder")).unwrap();
    let own = guest.path("").metadata().unwrap().ino();
    for plus in [false, true] {
        let up = |node| guest.list(node, 4096, plus).into_iter().find(|entry| entry.name == "..").unwrap().inode;
        assert_eq!(up(ROOT_ID), own);
        assert_eq!(up(guest.node("folder")), own);
    }
}

#[test]
fn entries_may_be_kept_where_the_guest_is_alone() {
    for (cache, flags) in [(Cache::Exclusive, abi::OPENED_KEEP_CACHE | abi::OPENED_CACHE_DIR), (Cache::Shared, 0)] {
        let reply = Guest::new(cache).call(opcode::OPENDIR, ROOT_ID, &Message::default().u64(0)).unwrap();
        assert_eq!(Body::new(&reply[8..]).u32(), Ok(flags));
    }
}

#[test]
fn a_folder_is_synced_and_closed() {
    let guest = guest_with_entries(Cache::Exclusive, 1);
    let fh = guest.opendir(ROOT_ID).unwrap();
    assert_eq!(guest.call(opcode::FSYNCDIR, ROOT_ID, &Message::default().u64(fh).u64(0)), Ok(vec![]));
    assert_eq!(guest.call(opcode::RELEASEDIR, ROOT_ID, &Message::default().u64(fh).u64(0).u64(0)), Ok(vec![]));
    assert_eq!(guest.readdir(ROOT_ID, fh, 0, 4096, false).unwrap_err(), Errno::EBADF);
    assert_eq!(guest.call(opcode::FSYNCDIR, ROOT_ID, &Message::default().u64(fh).u64(0)), Err(Errno::EBADF));
    assert_eq!(guest.opendir(guest.node("file-0")), Err(Errno::ENOTDIR));
}

//! When descriptors run out, the guest gets an errno and everything else goes on.

use nix::errno::Errno;

use super::super::Cache;
use super::super::abi::{ROOT_ID, opcode};
use super::{Guest, Message};

#[test]
fn a_guest_that_knows_too_many_files_is_told_so() {
    let guest = Guest::with_budget(Cache::Exclusive, 4);
    for name in ["a", "b", "c", "d", "e"] {
        std::fs::write(guest.path(name), b"data").unwrap();
    }
    let (a, b) = (guest.node("a"), guest.node("b"));
    let fh = guest.open(a, libc::O_RDONLY).unwrap();
    assert_eq!(guest.lookup(ROOT_ID, "c"), Err(Errno::ENFILE));
    assert_eq!(guest.open(b, libc::O_RDONLY), Err(Errno::ENFILE));
    assert_eq!(guest.opendir(ROOT_ID), Err(Errno::ENFILE));
    assert_eq!(guest.create(ROOT_ID, "new", libc::O_RDWR, 0o644).unwrap_err(), Errno::ENFILE);
    let mkdir = Message::default().u32(0o755).u32(0).name("new");
    assert_eq!(guest.entry(opcode::MKDIR, ROOT_ID, &mkdir), Err(Errno::ENFILE));
    assert!(!guest.path("new").exists(), "what cannot be answered is not done");
    assert_eq!(guest.read(a, fh, 0, 10).unwrap(), b"data");
    guest.release(a, fh).unwrap();
    guest.forget(b, 1);
    assert!(guest.lookup(ROOT_ID, "c").is_ok());
    assert_eq!(guest.server.budget.held(), 3);
}

#[test]
fn a_listing_goes_on_without_attributes() {
    let guest = Guest::with_budget(Cache::Exclusive, 12);
    for number in 0..20 {
        std::fs::write(guest.path(&number.to_string()), b"").unwrap();
    }
    let entries = guest.list(ROOT_ID, 4096, true);
    assert_eq!(entries.len(), 22);
    let with_node = entries.iter().filter(|entry| entry.entry.unwrap().node != 0).count();
    assert_eq!(with_node, 8, "a quarter of the descriptors is left for what is asked for by name");
    for name in ["0", "19"] {
        assert!(guest.lookup(ROOT_ID, name).is_ok());
    }
}

#[test]
fn nothing_is_held_when_the_server_is_gone() {
    let guest = Guest::with_budget(Cache::Exclusive, 100);
    let budget = std::sync::Arc::clone(&guest.server.budget);
    guest.create(ROOT_ID, "file", libc::O_RDWR, 0o644).unwrap();
    guest.opendir(ROOT_ID).unwrap();
    assert_eq!(budget.held(), 4);
    drop(guest);
    assert_eq!(budget.held(), 0);
}

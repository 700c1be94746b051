//! INIT and DESTROY.

use super::super::Cache;
use super::super::abi::{Body, ROOT_ID, init, opcode};
use super::guest::LINUX;
use super::{Guest, Message};
use nix::errno::Errno;

#[test]
fn an_exclusive_export_is_written_back_and_a_shared_one_is_not() {
    let flags = Guest::new(Cache::Exclusive).init(LINUX);
    assert!(flags & init::WRITEBACK_CACHE != 0 && flags & init::CACHE_SYMLINKS != 0);
    assert!(flags & init::AUTO_INVAL_DATA == 0);
    let flags = Guest::new(Cache::Shared).init(LINUX);
    assert!(flags & init::WRITEBACK_CACHE == 0 && flags & init::CACHE_SYMLINKS == 0);
    assert!(flags & init::AUTO_INVAL_DATA != 0);
}

#[test]
fn only_what_the_guest_offers_is_agreed_on() {
    let guest = Guest::new(Cache::Exclusive);
    assert_eq!(guest.init(0), 0);
    assert_eq!(guest.init(init::INIT_EXT | init::ASYNC_READ), init::INIT_EXT | init::ASYNC_READ);
    assert_eq!(guest.init(u64::MAX) & (1 << 1 | 1 << 10 | 1 << 26 | 1 << 33), 0, "locks and DAX are not offered");
}

#[test]
fn requests_carry_a_mebibyte() {
    let guest = Guest::new(Cache::Exclusive);
    let body = Message::default().u32(7).u32(41).u32(4096).u32(LINUX as u32).bytes(&[0; 48]);
    let reply = guest.call(opcode::INIT, 0, &body).unwrap();
    assert_eq!(reply.len(), 64);
    assert_eq!(Body::new(&reply[20..]).u32(), Ok(1 << 20), "max_write");
    assert_eq!(Body::new(&reply[28..]).u32(), Ok(256), "max_pages, and no map_alignment");
}

#[test]
fn another_major_version_is_answered_with_ours() {
    let guest = Guest::new(Cache::Exclusive);
    let later = Message::default().u32(8).u32(0).u32(0).u32(0);
    let reply = guest.call(opcode::INIT, 0, &later).unwrap();
    assert_eq!(Body::new(&reply).u32(), Ok(7));
    let earlier = Message::default().u32(6).u32(0).u32(0).u32(0);
    assert_eq!(guest.call(opcode::INIT, 0, &earlier), Err(Errno::EPROTO));
}

#[test]
fn a_guest_that_starts_again_finds_nothing_of_the_one_before() {
    let guest = Guest::new(Cache::Exclusive);
    for end in [opcode::DESTROY, opcode::INIT] {
        let (entry, fh) = guest.create(ROOT_ID, "file", libc::O_RDWR, 0o644).unwrap();
        let folder = guest.opendir(ROOT_ID).unwrap();
        assert!(guest.server.budget.held() >= 4);
        let before = guest.server.nodes.count();
        match end {
            opcode::INIT => drop(guest.init(LINUX)),
            end => drop(guest.call(end, 0, &Message::default()).unwrap()),
        }
        assert_eq!(before - guest.server.nodes.count(), 1);
        assert_eq!(guest.attributes(entry.node), Err(Errno::ESTALE));
        assert_eq!(guest.read(entry.node, fh, 0, 1), Err(Errno::EBADF));
        assert_eq!(guest.readdir(ROOT_ID, folder, 0, 4096, false).unwrap_err(), Errno::EBADF);
        assert!(guest.attributes(ROOT_ID).is_ok());
        assert!(guest.lookup(ROOT_ID, "file").unwrap().node > entry.node, "an id is not used twice");
        guest.init(LINUX);
    }
}

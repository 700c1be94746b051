//! The device carries requests; chains that make no sense come back with nothing written.

use std::os::fd::OwnedFd;

use virtio_queue::QueueT;
use vm_memory::{Bytes, GuestAddress};
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

use super::*;
use crate::fs::{Cache, Export, Tree};
use crate::virtio::testing::{Driver, WRITE, memory};

const RINGS: u64 = 0x10_0000;
const REQUEST: u64 = 0x20_0000;
const REPLY: u64 = 0x21_0000;

fn server() -> (tempfile::TempDir, Server) {
    let folder = tempfile::tempdir().unwrap();
    let root: OwnedFd = std::fs::File::open(folder.path()).unwrap().into();
    let server = Server::new(Tree::One(Export { root, read_only: false, cache: Cache::Exclusive })).unwrap();
    (folder, server)
}

/// FUSE_INIT of protocol 7.41 as Linux sends it.
fn init_request() -> Vec<u8> {
    let mut request = Vec::new();
    for value in [104u32, 26, 1, 0, 0, 0, 0, 0, 0, 0] {
        request.extend_from_slice(&value.to_le_bytes());
    }
    for value in [7u32, 41, 0x2_0000, 0] {
        request.extend_from_slice(&value.to_le_bytes());
    }
    request.resize(104, 0);
    request
}

#[test]
fn a_tag_must_fit_the_device() {
    for (tag, fits) in [("root", true), ("", false), (&"x".repeat(36), true), (&"x".repeat(37), false)] {
        assert_eq!(FsDevice::new(tag, server().1).is_some(), fits, "{tag:?}");
    }
}

#[test]
fn a_request_is_answered_and_the_driver_called() {
    let memory = memory();
    let (_folder, server) = server();
    let line = EventFd::new(EFD_NONBLOCK).unwrap();
    let interrupt = Interrupt::new(line.try_clone().unwrap());
    let mut driver = Driver::new(&memory, RINGS);
    let mut queue = driver.queue();
    memory.write_slice(&init_request(), GuestAddress(REQUEST)).unwrap();
    driver.offer(&[(REQUEST, 40, 0), (REQUEST + 40, 64, 0), (REPLY, 16, WRITE), (REPLY + 16, 64, WRITE)]);
    drain(&mut queue, &memory, &interrupt, |buffers| server.handle(&buffers.readable, &buffers.writable)).unwrap();
    assert_eq!(driver.returned(), 1);
    assert_eq!(driver.written(0), 80);
    let error: i32 = memory.read_obj(GuestAddress(REPLY + 4)).unwrap();
    assert_eq!(error, 0);
    assert_eq!(line.read().unwrap(), 1);
}

#[test]
fn chains_that_make_no_sense_are_given_back() {
    let memory = memory();
    let (_folder, server) = server();
    let interrupt = Interrupt::new(EventFd::new(EFD_NONBLOCK).unwrap());
    let cases: [&[(u64, u32, u16)]; 7] = [
        &[(u64::MAX, 40, 0)],
        &[(u64::MAX - 10, u32::MAX, WRITE)],
        &[(REQUEST, u32::MAX, 0)],
        &[(REPLY, 16, WRITE), (REQUEST, 40, 0)],
        &[(0, 0, 0)],
        &[(REQUEST, 3, 0), (REPLY, 3, WRITE)],
        &[(0xd000_0000, 4096, 0), (REPLY, 16, WRITE)],
    ];
    for (number, case) in cases.into_iter().enumerate() {
        let mut driver = Driver::new(&memory, RINGS + 0x1_0000 * number as u64);
        let mut queue = driver.queue();
        driver.offer(case);
        drain(&mut queue, &memory, &interrupt, |buffers| server.handle(&buffers.readable, &buffers.writable)).unwrap();
        assert_eq!((driver.returned(), driver.written(0)), (1, 0), "case {number}");
    }
}

#[test]
fn a_chain_that_bites_its_tail_ends() {
    let memory = memory();
    let interrupt = Interrupt::new(EventFd::new(EFD_NONBLOCK).unwrap());
    let mut driver = Driver::new(&memory, RINGS);
    let mut queue = driver.queue();
    driver.offer(&[(REQUEST, 8, 0), (REQUEST, 8, 0)]);
    // The second descriptor points back at the first.
    memory.write_obj(1u16, GuestAddress(RINGS + 16 + 12)).unwrap();
    memory.write_obj(0u16, GuestAddress(RINGS + 16 + 14)).unwrap();
    let mut parts = 0;
    drain(&mut queue, &memory, &interrupt, |buffers| {
        parts = buffers.readable.len();
        0
    })
    .unwrap();
    assert!(parts <= usize::from(queue.size()), "{parts} parts");
}

#[test]
fn a_ring_that_claims_more_than_it_holds_is_an_error() {
    let memory = memory();
    let interrupt = Interrupt::new(EventFd::new(EFD_NONBLOCK).unwrap());
    let driver = Driver::new(&memory, RINGS);
    let mut queue = driver.queue();
    memory.write_obj(u16::MAX, GuestAddress(driver.available() + 2)).unwrap();
    let mut served = 0u32;
    let result = drain(&mut queue, &memory, &interrupt, |_| {
        served += 1;
        0
    });
    assert!(result.is_err());
    assert_eq!(served, 0);
}

//! OPEN, READ, WRITE, FLUSH, FSYNC, RELEASE, FALLOCATE, LSEEK, COPY_FILE_RANGE.

use std::os::unix::fs::MetadataExt;

use nix::errno::Errno;
use vm_memory::VolatileSlice;

use super::super::Cache;
use super::super::abi::{self, Body, OUT_HEADER, ROOT_ID, opcode};
use super::guest::UNIQUE;
use super::{Guest, Message};

fn guest_with_file(cache: Cache, data: &[u8]) -> (Guest, u64) {
    let guest = Guest::new(cache);
    std::fs::write(guest.path("file"), data).unwrap();
    let node = guest.node("file");
    (guest, node)
}

#[test]
fn bytes_are_read_and_written_where_they_belong() {
    for cache in [Cache::Exclusive, Cache::Shared] {
        let (guest, node) = guest_with_file(cache, b"0123456789");
        let fh = guest.open(node, libc::O_RDWR).unwrap();
        assert_eq!(guest.read(node, fh, 3, 4).unwrap(), b"3456");
        assert_eq!(guest.read(node, fh, 8, 100).unwrap(), b"89");
        assert_eq!(guest.read(node, fh, 10, 100).unwrap(), b"");
        assert_eq!(guest.write(node, fh, 8, b"abcd"), Ok(4));
        assert_eq!(std::fs::read(guest.path("file")).unwrap(), b"01234567abcd");
        guest.release(node, fh).unwrap();
        assert_eq!(guest.read(node, fh, 0, 1), Err(Errno::EBADF));
        assert_eq!(guest.release(node, fh), Err(Errno::EBADF));
    }
}

#[test]
fn data_goes_straight_to_and_from_many_pages() {
    let data: Vec<u8> = (0..1 << 20).map(|index: u32| (index % 251) as u8).collect();
    let (guest, node) = guest_with_file(Cache::Exclusive, b"");
    let fh = guest.open(node, libc::O_RDWR).unwrap();
    let body = Message::default().u64(fh).u64(0).u32(data.len() as u32).u32(0).u64(0).u64(0);
    let mut head = guest.header(opcode::WRITE, node, body.0.len() + data.len());
    head.extend(&body.0);
    let mut pages: Vec<Vec<u8>> = data.chunks(777).map(<[u8]>::to_vec).collect();
    assert!(pages.len() > 1024, "more than one call takes");
    let mut reply = [0; OUT_HEADER + 8];
    let slices: Vec<_> =
        std::iter::once(&mut head).chain(&mut pages).map(|page| VolatileSlice::from(&mut page[..])).collect();
    assert_eq!(guest.server.handle(&slices, &[VolatileSlice::from(&mut reply[..])]), OUT_HEADER + 8);
    assert_eq!(Body::new(&reply[OUT_HEADER..]).u32(), Ok(1 << 20));
    assert!(std::fs::read(guest.path("file")).unwrap() == data);

    let mut request = guest.header(opcode::READ, node, 40);
    request.extend(Message::default().u64(fh).u64(0).u32(1 << 20).u32(0).u64(0).u64(0).0);
    // The header ends in the middle of a part.
    let mut parts: Vec<Vec<u8>> = std::iter::repeat_n(vec![0; 1000], 1100).collect();
    let slices: Vec<_> = parts.iter_mut().map(|part| VolatileSlice::from(&mut part[..])).collect();
    assert_eq!(guest.server.handle(&[VolatileSlice::from(&mut request[..])], &slices), OUT_HEADER + (1 << 20));
    let reply = parts.concat();
    assert_eq!(Body::new(&reply[8..]).u64(), Ok(UNIQUE));
    assert!(reply[OUT_HEADER..OUT_HEADER + (1 << 20)] == data);
}

#[test]
fn what_the_host_changed_is_read_again_only_where_it_may_change_something() {
    let (guest, node) = guest_with_file(Cache::Exclusive, b"");
    assert_eq!(guest.open_with(node, libc::O_RDONLY, 0).unwrap().1, abi::OPENED_KEEP_CACHE);
    let (guest, node) = guest_with_file(Cache::Shared, b"");
    assert_eq!(guest.open_with(node, libc::O_RDONLY, 0).unwrap().1, 0);
}

#[test]
fn a_file_opened_for_writing_can_be_read_by_the_page_cache() {
    let (guest, node) = guest_with_file(Cache::Exclusive, b"page");
    let fh = guest.open(node, libc::O_WRONLY).unwrap();
    assert_eq!(guest.read(node, fh, 0, 4).unwrap(), b"page", "written back: a part of a page needs the rest");
    let (guest, node) = guest_with_file(Cache::Shared, b"page");
    let fh = guest.open(node, libc::O_WRONLY).unwrap();
    assert_eq!(guest.read(node, fh, 0, 4), Err(Errno::EBADF));
}

#[test]
fn a_file_opened_for_reading_is_not_written() {
    let (guest, node) = guest_with_file(Cache::Exclusive, b"data");
    let fh = guest.open(node, libc::O_RDONLY).unwrap();
    assert_eq!(guest.write(node, fh, 0, b"x"), Err(Errno::EBADF));
    assert_eq!(guest.open(node, libc::O_ACCMODE), Err(Errno::EINVAL));
}

#[test]
fn opening_truncates() {
    let (guest, node) = guest_with_file(Cache::Exclusive, b"data");
    guest.open(node, libc::O_WRONLY | libc::O_TRUNC).unwrap();
    assert_eq!(guest.attributes(node).unwrap().size, 0);
}

#[test]
fn appending_is_the_hosts_business_where_the_host_writes_too() {
    let (guest, node) = guest_with_file(Cache::Shared, b"");
    let fh = guest.open(node, libc::O_WRONLY | libc::O_APPEND).unwrap();
    std::fs::write(guest.path("file"), b"host ").unwrap();
    guest.write_with(node, fh, 0, b"guest", 0, libc::O_APPEND).unwrap();
    assert_eq!(std::fs::read(guest.path("file")).unwrap(), b"host guest");
    guest.write_with(node, fh, 0, b"HOST", abi::WRITE_CACHE, libc::O_APPEND).unwrap();
    assert_eq!(std::fs::read(guest.path("file")).unwrap(), b"HOST guest", "a page written back has its place");

    let (guest, node) = guest_with_file(Cache::Exclusive, b"0123");
    let fh = guest.open(node, libc::O_WRONLY | libc::O_APPEND).unwrap();
    guest.write_with(node, fh, 1, b"x", 0, libc::O_APPEND).unwrap();
    assert_eq!(std::fs::read(guest.path("file")).unwrap(), b"0x23", "the guest knows the end of its own file");
}

#[test]
fn a_change_without_privilege_ends_setuid_and_setgid() {
    let (guest, node) = guest_with_file(Cache::Shared, b"data");
    let mode = || guest.path("file").metadata().unwrap().mode() & 0o7777;
    let set = || assert!(guest.chmod(node, 0o6755).is_ok());
    let fh = guest.open(node, libc::O_RDWR).unwrap();

    set();
    guest.write(node, fh, 0, b"x").unwrap();
    assert_eq!(mode(), 0o6755, "the guest's kernel did not ask for it");
    guest.write_with(node, fh, 0, b"x", abi::WRITE_KILL_SUIDGID, 0).unwrap();
    assert_eq!(mode(), 0o755);

    set();
    guest.open_with(node, libc::O_WRONLY | libc::O_TRUNC, 0).unwrap();
    assert_eq!(mode(), 0o6755);
    guest.open_with(node, libc::O_WRONLY, abi::OPEN_KILL_SUIDGID).unwrap();
    assert_eq!(mode(), 0o6755, "nothing was truncated");
    guest.open_with(node, libc::O_WRONLY | libc::O_TRUNC, abi::OPEN_KILL_SUIDGID).unwrap();
    assert_eq!(mode(), 0o755);

    set();
    let body = Message::default().u64(fh).u64(0).u64(100).u32(0).u32(0);
    guest.call(opcode::FALLOCATE, node, &body).unwrap();
    assert_eq!(mode(), 0o6755);
    let alice = Guest { uid: 1000, ..guest };
    alice.call(opcode::FALLOCATE, node, &body).unwrap();
    assert_eq!(alice.path("file").metadata().unwrap().mode() & 0o7777, 0o755);
}

#[test]
fn a_write_takes_capabilities_away() {
    let (guest, node) = guest_with_file(Cache::Exclusive, b"data");
    let capability = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    guest.setxattr(node, "security.capability", &capability, 0).unwrap();
    let fh = guest.open(node, libc::O_RDWR).unwrap();
    guest.write(node, fh, 0, b"evil").unwrap();
    assert_eq!(guest.getxattr(node, "security.capability", 100), Err(Errno::ENODATA));
}

#[test]
fn data_and_holes_are_found_where_the_host_knows_them_all() {
    let (guest, node) = guest_with_file(Cache::Shared, b"");
    let fh = guest.open(node, libc::O_RDWR).unwrap();
    guest.write(node, fh, 1 << 20, b"data").unwrap();
    let seek = |whence: i32, offset: u64| {
        let body = Message::default().u64(fh).u64(offset).u32(whence as u32).u32(0);
        guest.call(opcode::LSEEK, node, &body).map(|reply| Body::new(&reply).u64().unwrap())
    };
    assert_eq!(seek(libc::SEEK_DATA, 0), Ok(1 << 20));
    assert_eq!(seek(libc::SEEK_HOLE, 0), Ok(0));
    assert_eq!(seek(libc::SEEK_HOLE, 1 << 20), Ok((1 << 20) + 4));
    assert_eq!(seek(libc::SEEK_DATA, 2 << 20), Err(Errno::ENXIO));
    assert_eq!(seek(libc::SEEK_END, 0), Err(Errno::EINVAL));
    assert_eq!(seek(libc::SEEK_DATA, u64::MAX), Err(Errno::EINVAL));
    assert_eq!(guest.read(node, fh, (1 << 20) - 2, 4).unwrap(), b"\0\0da");

    let (guest, node) = guest_with_file(Cache::Exclusive, b"");
    let body = Message::default().u64(1).u64(0).u32(libc::SEEK_DATA as u32).u32(0);
    assert_eq!(guest.call(opcode::LSEEK, node, &body), Err(Errno::ENOSYS), "the guest may hold data of its own");
}

#[test]
fn room_is_allocated_and_holes_are_punched() {
    let (guest, node) = guest_with_file(Cache::Exclusive, &[b'x'; 12288]);
    let fh = guest.open(node, libc::O_RDWR).unwrap();
    let allocate = |mode: i32, offset: u64, length: u64| {
        let body = Message::default().u64(fh).u64(offset).u64(length).u32(mode as u32).u32(0);
        guest.call(opcode::FALLOCATE, node, &body).map(drop)
    };
    allocate(0, 0, 20000).unwrap();
    assert_eq!(guest.attributes(node).unwrap().size, 20000);
    allocate(libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE, 4096, 4096).unwrap();
    let data = std::fs::read(guest.path("file")).unwrap();
    assert!(data[4096..8192].iter().all(|byte| *byte == 0) && data[8192] == b'x');
    assert_eq!(allocate(libc::FALLOC_FL_COLLAPSE_RANGE, 0, 4096), Err(Errno::EOPNOTSUPP));
    assert_eq!(allocate(0, 0, 0), Err(Errno::EINVAL));
    assert_eq!(allocate(0, u64::MAX, 1), Err(Errno::EINVAL));
}

#[test]
fn ranges_are_copied_on_the_host() {
    let (guest, node) = guest_with_file(Cache::Exclusive, b"0123456789");
    let from = guest.open(node, libc::O_RDONLY).unwrap();
    let (copy, to) = guest.create(ROOT_ID, "copy", libc::O_RDWR, 0o600).unwrap();
    let range = |fh_in: u64, offset: u64, length: u64, flags: u64| {
        let body = Message::default().u64(fh_in).u64(offset).u64(copy.node).u64(to).u64(0).u64(length).u64(flags);
        guest.call(opcode::COPY_FILE_RANGE, node, &body).map(|reply| Body::new(&reply).u32().unwrap())
    };
    assert_eq!(range(from, 2, u64::MAX >> 1, 0), Ok(8));
    assert_eq!(guest.contents(copy.node), b"23456789");
    assert_eq!(range(from, 2, 4, 1), Err(Errno::EINVAL));
    assert_eq!(range(99, 2, 4, 0), Err(Errno::EBADF));
    assert_eq!(range(from, u64::MAX, 4, 0), Err(Errno::EINVAL));
}

#[test]
fn files_are_synced_and_flushed() {
    let (guest, node) = guest_with_file(Cache::Shared, b"data");
    let fh = guest.open(node, libc::O_RDWR).unwrap();
    for flags in [0, abi::FSYNC_FDATASYNC] {
        assert_eq!(guest.call(opcode::FSYNC, node, &Message::default().u64(fh).u32(flags).u32(0)), Ok(vec![]));
    }
    let flush = Message::default().u64(fh).u64(0).u64(0);
    assert_eq!(guest.call(opcode::FLUSH, node, &flush), Ok(vec![]));
    assert_eq!(guest.read(node, fh, 0, 4).unwrap(), b"data", "a flushed file is still open");
    let (guest, node) = guest_with_file(Cache::Exclusive, b"data");
    assert_eq!(guest.call(opcode::FLUSH, node, &flush), Err(Errno::ENOSYS), "the guest need not ask");
}

#[test]
fn reading_does_not_count_as_access_where_the_guest_is_alone() {
    let (guest, node) = guest_with_file(Cache::Exclusive, b"data");
    let long_ago = super::super::abi::setattr::ATIME;
    let change = super::guest::Change { valid: long_ago, times: [(1000, 0), (0, 0)], ..Default::default() };
    guest.setattr(node, &change).unwrap();
    guest.contents(node);
    assert_eq!(guest.attributes(node).unwrap().times[0].0, 1000);
}

#[test]
fn folders_and_links_are_not_opened_as_files() {
    let guest = Guest::new(Cache::Exclusive);
    std::os::unix::fs::symlink("/etc/passwd", guest.path("link")).unwrap();
    assert_eq!(guest.open(ROOT_ID, libc::O_RDONLY), Err(Errno::EISDIR));
    assert_eq!(guest.open(guest.node("link"), libc::O_RDONLY), Err(Errno::ELOOP));
}

#[test]
fn what_the_guest_does_better_alone_is_left_to_it() {
    let (guest, node) = guest_with_file(Cache::Exclusive, b"");
    let body = Message::default().bytes(&[0; 48]);
    for opcode in [opcode::GETLK, opcode::SETLK, opcode::SETLKW, opcode::ACCESS, opcode::POLL, opcode::BMAP] {
        assert_eq!(guest.call(opcode, node, &body), Err(Errno::ENOSYS));
    }
    for opcode in [opcode::SETUPMAPPING, opcode::REMOVEMAPPING, 4096, 0, 7, u32::MAX] {
        assert_eq!(guest.call(opcode, node, &body), Err(Errno::ENOSYS));
    }
    const GETFLAGS: u32 = 0x8008_6601;
    let body = Message::default().u64(0).u32(0).u32(GETFLAGS).u64(0).u32(0).u32(8);
    assert_eq!(guest.call(opcode::IOCTL, node, &body), Err(Errno::ENOTTY));
}

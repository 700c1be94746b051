//! Whatever a guest sends, it gets an errno or nothing, and the server goes on.

use nix::errno::Errno;
use proptest::prelude::*;
use vm_memory::VolatileSlice;

use super::super::Cache;
use super::super::abi::{self, IN_HEADER, OUT_HEADER, ROOT_ID, opcode};
use super::guest::make_pipe;
use super::{Guest, Message};

fn guest() -> (Guest, u64, u64) {
    let guest = Guest::new(Cache::Shared);
    std::fs::write(guest.path("file"), b"data").unwrap();
    std::fs::create_dir(guest.path("folder")).unwrap();
    make_pipe(&guest.path("pipe"));
    std::os::unix::fs::symlink("/", guest.path("link")).unwrap();
    let file = guest.node("file");
    let fh = guest.open(file, libc::O_RDWR).unwrap();
    (guest, file, fh)
}

/// A complete request of every operation whose body is read to its end.
fn requests(file: u64, fh: u64) -> Vec<(u32, u64, Message)> {
    let message = Message::default;
    vec![
        (opcode::LOOKUP, ROOT_ID, message().name("file")),
        (opcode::GETATTR, file, message().u64(0).u64(0)),
        (opcode::SETATTR, file, message().bytes(&[0; 88])),
        (opcode::STATX, file, message().bytes(&[0; 24])),
        (opcode::SYMLINK, ROOT_ID, message().name("s").name("target")),
        (opcode::MKNOD, ROOT_ID, message().u32(libc::S_IFIFO).u32(0).u64(0).name("n")),
        (opcode::MKDIR, ROOT_ID, message().u32(0o755).u32(0).name("d")),
        (opcode::CREATE, ROOT_ID, message().u32(2).u32(0o644).u64(0).name("c")),
        (opcode::TMPFILE, ROOT_ID, message().u32(2).u32(0o644).u64(0)),
        (opcode::LINK, ROOT_ID, message().u64(file).name("l")),
        (opcode::RENAME, ROOT_ID, message().u64(ROOT_ID).name("l").name("m")),
        (opcode::RENAME2, ROOT_ID, message().u64(ROOT_ID).u64(0).name("m").name("o")),
        (opcode::UNLINK, ROOT_ID, message().name("o")),
        (opcode::RMDIR, ROOT_ID, message().name("d")),
        (opcode::OPEN, file, message().u64(0)),
        (opcode::READ, file, message().u64(fh).u64(0).u32(4).u32(0).u64(0).u64(0)),
        (opcode::WRITE, file, message().u64(fh).u64(0).u32(4).u32(0).u64(0).u64(0).bytes(b"DATA")),
        (opcode::FLUSH, file, message().u64(fh).u64(0).u64(0)),
        (opcode::FSYNC, file, message().u64(fh).u64(0)),
        (opcode::FALLOCATE, file, message().u64(fh).u64(0).u64(8).u64(0)),
        (opcode::LSEEK, file, message().u64(fh).u64(0).u32(libc::SEEK_DATA as u32).u32(0)),
        (opcode::COPY_FILE_RANGE, file, message().u64(fh).u64(0).u64(file).u64(fh).u64(4).u64(4).u64(0)),
        (opcode::SETXATTR, file, message().u32(1).u32(0).u64(0).name("user.x").bytes(b"x")),
        (opcode::GETXATTR, file, message().u32(9).u32(0).name("user.x")),
        (opcode::LISTXATTR, file, message().u32(999).u32(0)),
        (opcode::REMOVEXATTR, file, message().name("user.x")),
        (opcode::OPENDIR, ROOT_ID, message().u64(0)),
        (opcode::READDIR, ROOT_ID, message().u64(2).u64(0).u32(999).u32(0).u64(0).u64(0)),
        (opcode::READDIRPLUS, ROOT_ID, message().u64(2).u64(0).u32(999).u32(0).u64(0).u64(0)),
        (opcode::FSYNCDIR, ROOT_ID, message().u64(2).u64(0)),
        (opcode::RELEASEDIR, ROOT_ID, message().u64(2).u64(0).u64(0)),
        (opcode::RELEASE, file, message().u64(fh).u64(0).u64(0)),
    ]
}

#[test]
fn a_request_cut_anywhere_is_refused_and_changes_nothing() {
    let (guest, file, fh) = guest();
    guest.opendir(ROOT_ID).unwrap();
    guest.opendir(ROOT_ID).unwrap();
    for (opcode, node, body) in requests(file, fh) {
        for cut in 0..body.0.len() {
            let short = Message(body.0[..cut].to_vec());
            assert_eq!(guest.call(opcode, node, &short), Err(Errno::EINVAL), "operation {opcode} cut at {cut}");
        }
        assert!(guest.call(opcode, node, &body).is_ok(), "operation {opcode} as a whole");
    }
}

#[test]
fn a_length_that_is_not_the_requests_is_refused() {
    let (guest, file, fh) = guest();
    for (opcode, node, body) in requests(file, fh) {
        let whole = IN_HEADER + body.0.len();
        for length in [0, 1, IN_HEADER - 1, whole + 1, whole + 4096, u32::MAX as usize] {
            let mut request = guest.header(opcode, node, body.0.len());
            request[..4].copy_from_slice(&(length as u32).to_le_bytes());
            request.extend(&body.0);
            let mut reply = vec![0; 4096];
            let written =
                guest.server.handle(&[VolatileSlice::from(&mut request[..])], &[VolatileSlice::from(&mut reply[..])]);
            assert_eq!(written, OUT_HEADER, "operation {opcode}");
            assert_eq!(reply[4..8], (-libc::EINVAL).to_le_bytes(), "operation {opcode} with length {length}");
        }
    }
}

#[test]
fn a_reply_without_room_is_refused_before_anything_is_done() {
    let (guest, file, fh) = guest();
    for (opcode, node, body) in requests(file, fh) {
        let needed = abi::reply_length(opcode);
        for room in (0..needed).step_by(7) {
            assert_eq!(guest.call_with_room(opcode, node, &body, room), Err(Errno::EINVAL), "operation {opcode}");
        }
        for short in 0..OUT_HEADER {
            let mut request = guest.header(opcode, node, body.0.len());
            request.extend(&body.0);
            let mut reply = vec![0x55; short];
            let request = [VolatileSlice::from(&mut request[..])];
            if needed > 0 {
                assert_eq!(guest.server.handle(&request, &[VolatileSlice::from(&mut reply[..])]), 0);
                assert!(reply.iter().all(|byte| *byte == 0x55));
            }
        }
    }
    for name in ["s", "n", "d", "c", "l"] {
        assert!(!guest.path(name).exists(), "{name} was made although nobody could be told");
    }
}

#[test]
fn a_request_without_a_header_is_dropped() {
    let (guest, ..) = guest();
    for length in 0..IN_HEADER {
        let mut request = vec![0xff; length];
        let mut reply = [0; 64];
        let written =
            guest.server.handle(&[VolatileSlice::from(&mut request[..])], &[VolatileSlice::from(&mut reply[..])]);
        assert_eq!(written, 0);
    }
    assert_eq!(guest.server.handle(&[], &[]), 0);
}

#[test]
fn parts_of_any_size_make_one_message() {
    let (guest, file, fh) = guest();
    let body = Message::default().u64(fh).u64(0).u32(4).u32(0).u64(0).u64(0);
    let mut request = guest.header(opcode::READ, file, body.0.len());
    request.extend(&body.0);
    for size in [1, 3, 7, 16, 39, 41] {
        let mut parts: Vec<Vec<u8>> = request.chunks(size).map(<[u8]>::to_vec).collect();
        let mut reply = [[0; 5]; 4];
        let empty = VolatileSlice::from(&mut [][..]);
        let mut slices = vec![empty];
        for part in &mut parts {
            slices.push(VolatileSlice::from(&mut part[..]));
            slices.push(empty);
        }
        let mut replies = vec![empty];
        for part in &mut reply {
            replies.push(VolatileSlice::from(&mut part[..]));
            replies.push(empty);
        }
        assert_eq!(guest.server.handle(&slices, &replies), OUT_HEADER + 4);
        assert_eq!(reply.as_flattened()[OUT_HEADER..], *b"data");
    }
}

#[test]
fn a_read_is_as_long_as_the_reply_has_room() {
    let (guest, file, fh) = guest();
    for (size, room, read) in [(u32::MAX, 2, 2), (u32::MAX, 0, 0), (2, 100, 2), (0, 100, 0), (u32::MAX, 100, 4)] {
        let body = Message::default().u64(fh).u64(0).u32(size).u32(0).u64(0).u64(0);
        assert_eq!(guest.call_with_room(opcode::READ, file, &body, room).unwrap().len(), read);
    }
    for offset in [u64::MAX, u64::MAX - 1, 1 << 63, (1 << 63) - 1] {
        assert_eq!(guest.read(file, fh, offset, 4), Err(Errno::EINVAL));
        assert_eq!(guest.write(file, fh, offset, b"data"), Err(Errno::EINVAL));
    }
}

#[test]
fn a_write_of_more_than_was_sent_is_refused() {
    let (guest, file, fh) = guest();
    for size in [5, 4096, u32::MAX] {
        let body = Message::default().u64(fh).u64(0).u32(size).u32(0).u64(0).u64(0).bytes(b"DATA");
        assert_eq!(guest.call(opcode::WRITE, file, &body), Err(Errno::EINVAL));
    }
    assert_eq!(std::fs::read(guest.path("file")).unwrap(), b"data");
    let body = Message::default().u64(fh).u64(0).u32(2).u32(0).u64(0).u64(0).bytes(b"DATA");
    guest.call(opcode::WRITE, file, &body).unwrap();
    assert_eq!(std::fs::read(guest.path("file")).unwrap(), b"DAta", "and not more than it says");
}

#[test]
fn an_absurd_count_of_nodes_to_forget_ends_with_the_message() {
    let (guest, file, _) = guest();
    for count in [2, 1 << 20, u32::MAX] {
        let body = Message::default().u32(count).u32(0).u64(file).u64(0);
        let mut request = guest.header(opcode::BATCH_FORGET, 0, body.0.len());
        request.extend(&body.0);
        let mut reply = [0; 64];
        let slices = [VolatileSlice::from(&mut request[..])];
        assert_eq!(guest.server.handle(&slices, &[VolatileSlice::from(&mut reply[..])]), 0, "not even an error");
        assert_eq!(reply, [0; 64]);
    }
    assert!(guest.attributes(file).is_ok());
}

#[test]
fn nodes_and_handles_that_are_not_known_are_refused() {
    let (guest, file, fh) = guest();
    for node in [0, 999, u64::MAX] {
        assert_eq!(guest.attributes(node), Err(Errno::ESTALE));
        assert_eq!(guest.lookup(node, "x"), Err(Errno::ESTALE));
        assert_eq!(guest.open(node, 0), Err(Errno::ESTALE));
        assert_eq!(guest.read(node, fh, 0, 1), Err(Errno::EBADF));
        guest.forget(node, u64::MAX);
        let link = Message::default().u64(node).name("new");
        assert_eq!(guest.entry(opcode::LINK, ROOT_ID, &link), Err(Errno::ESTALE));
        let rename = Message::default().u64(node).name("file").name("new");
        assert_eq!(guest.call(opcode::RENAME, ROOT_ID, &rename), Err(Errno::ESTALE));
    }
    for handle in [0, 999, u64::MAX] {
        assert_eq!(guest.read(file, handle, 0, 1), Err(Errno::EBADF));
        assert_eq!(guest.readdir(ROOT_ID, handle, 0, 999, true).unwrap_err(), Errno::EBADF);
    }
}

#[test]
fn no_operation_takes_a_name_that_leads_elsewhere() {
    let (guest, file, _) = guest();
    let folder = guest.node("folder");
    for name in ["", ".", "..", "/", "a/b", "/dev/shm/x", "../file"] {
        let message = Message::default;
        let calls = [
            (opcode::LOOKUP, message().name(name)),
            (opcode::MKDIR, message().u32(0o755).u32(0).name(name)),
            (opcode::MKNOD, message().u32(libc::S_IFIFO).u32(0).u64(0).name(name)),
            (opcode::SYMLINK, message().name(name).name("target")),
            (opcode::CREATE, message().u32(2).u32(0o644).u64(0).name(name)),
            (opcode::LINK, message().u64(file).name(name)),
            (opcode::UNLINK, message().name(name)),
            (opcode::RMDIR, message().name(name)),
            (opcode::RENAME, message().u64(folder).name(name).name("new")),
            (opcode::RENAME, message().u64(folder).name("old").name(name)),
            (opcode::RENAME2, message().u64(folder).u64(0).name(name).name("new")),
            (opcode::RENAME2, message().u64(folder).u64(0).name("old").name(name)),
        ];
        for (opcode, body) in calls {
            assert_eq!(guest.call(opcode, folder, &body), Err(Errno::EINVAL), "operation {opcode} on {name:?}");
        }
    }
}

/// Sends `request` as it is, in parts of `size`.
fn send(guest: &Guest, request: &[u8], size: usize, room: usize) -> usize {
    let mut parts: Vec<Vec<u8>> = request.chunks(size).map(<[u8]>::to_vec).collect();
    let mut reply = vec![0; room];
    let slices: Vec<_> = parts.iter_mut().map(|part| VolatileSlice::from(&mut part[..])).collect();
    let written = guest.server.handle(&slices, &[VolatileSlice::from(&mut reply[..])]);
    assert!(written <= room);
    if written > 0 {
        assert_eq!(reply[..4], (written as u32).to_le_bytes());
    }
    written
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_bytes_do_no_harm(request in prop::collection::vec(any::<u8>(), 0..300), room in 0usize..300) {
        thread_local!(static GUEST: (Guest, u64, u64) = guest());
        GUEST.with(|(guest, ..)| {
            send(guest, &request, 64, room);
            assert!(guest.attributes(ROOT_ID).is_ok());
        });
    }

    #[test]
    fn random_bodies_of_known_operations_do_no_harm(
        opcode in 1u32..54,
        node in 0u64..8,
        words in prop::collection::vec(prop_oneof![0u32..10, Just(u32::MAX), any::<u32>()], 0..24),
        tail in prop::collection::vec(prop_oneof![Just(0u8), Just(b'a'), Just(b'/'), Just(b'.'), any::<u8>()], 0..40),
        room in 0usize..5000,
        size in 1usize..100,
    ) {
        thread_local!(static GUEST: (Guest, u64, u64) = guest());
        GUEST.with(|(guest, ..)| {
            // Allocating memory for a file is what the guest may do; here it would take the machine's.
            if opcode == opcode::FALLOCATE {
                return;
            }
            let body: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).chain(tail).collect();
            let mut request = guest.header(opcode, node, body.len());
            request.extend(&body);
            send(guest, &request, size, room);
            assert!(guest.attributes(ROOT_ID).is_ok());
            assert_eq!(guest.folder.path().read_dir().unwrap().count(), 1, "nothing beside the export");
        });
    }
}

//! A read-only export is read-only whatever the guest's own mount flags say.

use nix::errno::Errno;

use super::super::Cache;
use super::super::abi::{ROOT_ID, opcode, setattr};
use super::guest::Change;
use super::{Guest, Message};

fn guest() -> Guest {
    let guest = Guest::with(Cache::Exclusive, true);
    std::fs::write(guest.path("file"), b"data").unwrap();
    std::fs::create_dir(guest.path("folder")).unwrap();
    std::os::unix::fs::symlink("file", guest.path("link")).unwrap();
    guest
}

#[test]
fn it_can_be_read() {
    let guest = guest();
    let file = guest.node("file");
    assert_eq!(guest.contents(file), b"data");
    assert_eq!(guest.list(ROOT_ID, 4096, true).len(), 5);
    assert_eq!(guest.getxattr(file, "user.x", 10), Err(Errno::ENODATA));
    assert_eq!(guest.call(opcode::READLINK, guest.node("link"), &Message::default()).unwrap(), b"file");
    assert_eq!(guest.call(opcode::SYNCFS, ROOT_ID, &Message::default().u64(0)), Ok(vec![]));
}

#[test]
fn every_change_is_refused() {
    let guest = guest();
    let (file, folder) = (guest.node("file"), guest.node("folder"));
    let name = |name: &str| Message::default().name(name);
    let rename = Message::default().u64(folder);
    let calls = [
        (opcode::MKDIR, ROOT_ID, Message::default().u32(0o755).u32(0).name("new")),
        (opcode::MKNOD, ROOT_ID, Message::default().u32(libc::S_IFIFO).u32(0).u64(0).name("new")),
        (opcode::SYMLINK, ROOT_ID, name("new").name("/")),
        (opcode::CREATE, ROOT_ID, Message::default().u32(2).u32(0o644).u64(0).name("new")),
        (opcode::CREATE, ROOT_ID, Message::default().u32(0).u32(0o644).u64(0).name("file")),
        (opcode::TMPFILE, ROOT_ID, Message::default().u32(2).u32(0o644).u64(0).name("/")),
        (opcode::UNLINK, ROOT_ID, name("file")),
        (opcode::RMDIR, ROOT_ID, name("folder")),
        (opcode::RENAME, ROOT_ID, rename.clone().name("file").name("new")),
        (opcode::RENAME2, ROOT_ID, rename.u64(0).name("file").name("new")),
        (opcode::LINK, ROOT_ID, Message::default().u64(file).name("new")),
        (opcode::SETXATTR, file, Message::default().u32(1).u32(0).u64(0).name("user.x").bytes(b"x")),
        (opcode::REMOVEXATTR, file, name("user.x")),
    ];
    for (opcode, node, body) in calls {
        assert_eq!(guest.call(opcode, node, &body), Err(Errno::EROFS), "operation {opcode}");
    }
    for valid in [0, setattr::MODE, setattr::UID, setattr::SIZE, setattr::MTIME] {
        let change = Change { valid, ..Change::default() };
        assert_eq!(guest.setattr(file, &change), Err(Errno::EROFS));
    }
    for flags in [libc::O_WRONLY, libc::O_RDWR, libc::O_TRUNC, libc::O_RDWR | libc::O_TRUNC] {
        assert_eq!(guest.open(file, flags), Err(Errno::EROFS));
    }
}

#[test]
fn a_handle_for_reading_is_good_for_nothing_else() {
    let guest = guest();
    let file = guest.node("file");
    let fh = guest.open(file, libc::O_RDONLY).unwrap();
    assert_eq!(guest.write(file, fh, 0, b"x"), Err(Errno::EBADF));
    let body = Message::default().u64(fh).u64(0).u64(100).u64(0);
    assert_eq!(guest.call(opcode::FALLOCATE, file, &body), Err(Errno::EBADF));
    let body = Message::default().u64(fh).u64(0).u64(file).u64(fh).u64(4).u64(4).u64(0);
    assert_eq!(guest.call(opcode::COPY_FILE_RANGE, file, &body), Err(Errno::EBADF));
    let change = Change { valid: setattr::SIZE | setattr::FH, fh, ..Change::default() };
    assert_eq!(guest.setattr(file, &change), Err(Errno::EROFS));
    assert_eq!(std::fs::read(guest.path("file")).unwrap(), b"data");
}

//! Trees of several exports, and the folder that holds them.

use std::os::unix::fs::MetadataExt;

use nix::errno::Errno;

use super::super::abi::{ATTR_SUBMOUNT, ROOT_ID, opcode};
use super::super::{Cache, Error, Export, Server, Tree};
use super::guest::{LINUX, path_fd, temporary};
use super::{Guest, Message};
use crate::fs::abi::init;

/// `rootfs` is a folder of the guest's own, `volume` a shared one, `file` a shared file, `fixed` read-only.
fn guest() -> Guest {
    let folder = temporary();
    let at = |name: &str| folder.path().join(name);
    for name in ["rootfs", "volume", "fixed"] {
        std::fs::create_dir(at(name)).unwrap();
        std::fs::write(at(name).join("inside"), name).unwrap();
    }
    std::fs::write(at("file"), b"one file").unwrap();
    let export = |name: &str, read_only, cache| (name.to_owned(), Export { root: path_fd(at(name)), read_only, cache });
    let tree = Tree::Folder(vec![
        export("rootfs", false, Cache::Exclusive),
        export("volume", false, Cache::Shared),
        export("file", false, Cache::Shared),
        export("fixed", true, Cache::Shared),
    ]);
    Guest::of(Server::new(tree).unwrap(), folder)
}

#[test]
fn the_folder_lists_its_exports() {
    let guest = guest();
    for (room, plus) in [(4096, false), (4096, true), (200, true), (32, false)] {
        let names: Vec<String> = guest.list(ROOT_ID, room, plus).into_iter().map(|entry| entry.name).collect();
        assert_eq!(names, [".", "..", "rootfs", "volume", "file", "fixed"]);
    }
    for entry in guest.list(ROOT_ID, 4096, true).into_iter().skip(2) {
        let looked_up = guest.lookup(ROOT_ID, &entry.name).unwrap();
        assert_eq!(entry.entry, Some(looked_up));
        assert_eq!(entry.kind, looked_up.attributes.mode >> 12);
    }
    let root = guest.attributes(ROOT_ID).unwrap();
    assert_eq!((root.mode, root.uid, root.links), (libc::S_IFDIR | 0o555, 0, 6));
}

#[test]
fn folders_are_file_systems_of_their_own_and_files_are_files() {
    let guest = guest();
    assert_eq!(guest.lookup(ROOT_ID, "rootfs").unwrap().attributes.flags, ATTR_SUBMOUNT);
    let file = guest.lookup(ROOT_ID, "file").unwrap();
    assert_eq!(file.attributes.flags, 0);
    assert_eq!(guest.contents(file.node), b"one file");
    assert_eq!(guest.lookup(guest.node("rootfs"), "inside").unwrap().attributes.flags, 0);
    assert_eq!(guest.contents(guest.node("volume/inside")), b"volume");
    guest.init(0);
    assert_eq!(guest.lookup(ROOT_ID, "rootfs").unwrap().attributes.flags, 0, "for a guest that does not know of them");
}

#[test]
fn roots_of_exports_are_never_forgotten() {
    let guest = guest();
    let node = guest.node("volume");
    guest.forget(node, 1000);
    guest.forget(node, u64::MAX);
    assert!(guest.attributes(node).is_ok());
    assert_eq!(guest.node("volume"), node);
}

#[test]
fn nothing_can_be_changed_in_the_folder_of_exports() {
    let guest = guest();
    let volume = guest.node("volume");
    let name = |name: &str| Message::default().name(name);
    let calls = [
        (opcode::MKDIR, Message::default().u32(0o755).u32(0).name("new")),
        (opcode::MKNOD, Message::default().u32(libc::S_IFIFO).u32(0).u64(0).name("new")),
        (opcode::SYMLINK, name("new").name("/")),
        (opcode::CREATE, Message::default().u32(2).u32(0o644).u64(0).name("new")),
        (opcode::TMPFILE, Message::default().u32(2).u32(0o644).u64(0).name("/")),
        (opcode::UNLINK, name("file")),
        (opcode::RMDIR, name("rootfs")),
        (opcode::RENAME, Message::default().u64(volume).name("file").name("file")),
        (opcode::LINK, Message::default().u64(guest.node("volume/inside")).name("new")),
        (opcode::SETATTR, Message::default().bytes(&[0; 88])),
        (opcode::SETXATTR, Message::default().u32(1).u32(0).u64(0).name("user.x").bytes(b"x")),
        (opcode::REMOVEXATTR, name("user.x")),
        (opcode::OPEN, Message::default().u64(0)),
    ];
    for (opcode, body) in calls {
        assert_eq!(guest.call(opcode, ROOT_ID, &body), Err(Errno::EROFS), "operation {opcode}");
    }
    let into = Message::default().u64(ROOT_ID).name("inside").name("new");
    assert_eq!(guest.call(opcode::RENAME, volume, &into), Err(Errno::EROFS));
}

#[test]
fn what_can_be_asked_of_a_folder_can_be_asked_of_the_folder_of_exports() {
    let guest = guest();
    assert_eq!(guest.call(opcode::STATFS, ROOT_ID, &Message::default()).unwrap().len(), 80);
    let statx = guest.call(opcode::STATX, ROOT_ID, &Message::default().bytes(&[0; 24])).unwrap();
    assert_eq!(statx.len(), 288);
    assert_eq!(guest.call(opcode::SYNCFS, ROOT_ID, &Message::default().u64(0)), Ok(vec![]));
    assert_eq!(guest.call(opcode::FSYNCDIR, ROOT_ID, &Message::default().u64(0).u64(0)), Ok(vec![]));
    assert_eq!(guest.getxattr(ROOT_ID, "user.x", 10), Err(Errno::ENODATA));
    assert_eq!(guest.call(opcode::LISTXATTR, ROOT_ID, &Message::default().u32(10).u32(0)), Ok(vec![]));
    assert_eq!(guest.lookup(ROOT_ID, "absent").unwrap().node, 0);
}

#[test]
fn nothing_moves_from_export_to_export() {
    let guest = guest();
    let (rootfs, volume) = (guest.node("rootfs"), guest.node("volume"));
    let inside = guest.node("rootfs/inside");
    let body = Message::default().u64(inside).name("new");
    assert_eq!(guest.entry(opcode::LINK, volume, &body), Err(Errno::EXDEV));
    let body = Message::default().u64(volume).name("inside").name("new");
    assert_eq!(guest.call(opcode::RENAME, rootfs, &body), Err(Errno::EXDEV));
}

#[test]
fn each_export_has_rules_of_its_own() {
    let guest = guest();
    assert_eq!(guest.lookup(guest.node("rootfs"), "inside").unwrap().entry_valid.1, 0);
    assert_ne!(guest.lookup(guest.node("volume"), "inside").unwrap().entry_valid.1, 0);
    assert_eq!(guest.create(guest.node("fixed"), "new", libc::O_RDWR, 0o644).unwrap_err(), Errno::EROFS);
    guest.create(guest.node("volume"), "new", libc::O_RDWR, 0o644).unwrap();
    assert_eq!(guest.init(LINUX) & init::WRITEBACK_CACHE, 0, "one shared export forbids write-back for all");
}

#[test]
fn one_folder_in_two_exports_is_two_file_systems() {
    let folder = temporary();
    std::fs::write(folder.path().join("file"), b"").unwrap();
    let export = |name: &str, read_only| {
        let root = path_fd(folder.path());
        (name.to_owned(), Export { root, read_only, cache: Cache::Shared })
    };
    let tree = Tree::Folder(vec![export("open", false), export("closed", true)]);
    let guest = Guest::of(Server::new(tree).unwrap(), folder);
    let (open, closed) = (guest.node("open/file"), guest.node("closed/file"));
    assert_ne!(open, closed);
    assert!(guest.open(open, libc::O_RDWR).is_ok());
    assert_eq!(guest.open(closed, libc::O_RDWR), Err(Errno::EROFS));
}

#[test]
fn a_file_alone_or_a_wrong_name_is_no_tree() {
    let folder = temporary();
    std::fs::write(folder.path().join("file"), b"").unwrap();
    let export =
        |name: &str| Export { root: path_fd(folder.path().join(name)), read_only: false, cache: Cache::Shared };
    assert!(matches!(Server::new(Tree::One(export("file"))), Err(Error::NotFolder)));
    for name in ["", ".", "..", "a/b", "nul\0", &"x".repeat(256)] {
        let tree = Tree::Folder(vec![(name.to_owned(), export("file"))]);
        assert!(matches!(Server::new(tree), Err(Error::Name(_))), "{name:?}");
    }
    let tree = Tree::Folder(vec![("a".to_owned(), export("file")), ("a".to_owned(), export("file"))]);
    assert!(matches!(Server::new(tree), Err(Error::Duplicate(_))));
    assert!(Server::new(Tree::Folder(vec![])).is_ok());
}

#[test]
fn inode_numbers_of_several_file_systems_do_not_collide() {
    let guest = guest();
    let policy = &guest.server.exports[0];
    let device = guest.server.nodes.get(policy.root).unwrap().device();
    assert_eq!(policy.inode(device, 7), 7, "those of the export's own file system are as they are");
    let others: Vec<u64> = [device, 1, 2, 1].iter().map(|device| policy.inode(*device, 7)).collect();
    assert_eq!(others, [7, 7 | 1 << 48, 7 | 2 << 48, 7 | 1 << 48]);
    let inside = guest.lookup(guest.node("rootfs"), "inside").unwrap().attributes.inode;
    assert_eq!(inside, guest.folder.path().join("rootfs/inside").metadata().unwrap().ino());
}

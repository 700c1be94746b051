//! LINK, UNLINK, RMDIR, RENAME, RENAME2.

use nix::errno::Errno;

use super::super::Cache;
use super::super::abi::{ROOT_ID, opcode};
use super::{Guest, Message};

fn rename(guest: &Guest, from: (u64, &str), to: (u64, &str), flags: u32) -> Result<(), Errno> {
    let body = Message::default().u64(to.0).u32(flags).u32(0).name(from.1).name(to.1);
    guest.call(opcode::RENAME2, from.0, &body).map(drop)
}

#[test]
fn a_linked_file_is_the_same_node() {
    let guest = Guest::new(Cache::Exclusive);
    std::fs::write(guest.path("one"), b"data").unwrap();
    let one = guest.node("one");
    let two = guest.entry(opcode::LINK, ROOT_ID, &Message::default().u64(one).name("two")).unwrap();
    assert_eq!((two.node, two.attributes.links), (one, 2));
    guest.forget(one, 1);
    assert!(guest.attributes(one).is_ok(), "the link is a reference of its own");
    assert_eq!(
        guest.entry(opcode::LINK, ROOT_ID, &Message::default().u64(one).name("two")),
        Err(Errno::EEXIST),
        "and is not made twice"
    );
    assert_eq!(
        guest.entry(opcode::LINK, ROOT_ID, &Message::default().u64(ROOT_ID).name("loop")),
        Err(Errno::EPERM),
        "folders have one name"
    );
}

#[test]
fn a_symbolic_link_is_linked_itself() {
    let guest = Guest::new(Cache::Exclusive);
    std::os::unix::fs::symlink("/etc/passwd", guest.path("one")).unwrap();
    let one = guest.node("one");
    let two = guest.entry(opcode::LINK, ROOT_ID, &Message::default().u64(one).name("two")).unwrap();
    assert_eq!((two.node, two.attributes.links), (one, 2));
    assert_eq!(std::fs::read_link(guest.path("two")).unwrap().to_str(), Some("/etc/passwd"));
}

#[test]
fn files_are_unlinked_and_folders_removed() {
    let guest = Guest::new(Cache::Exclusive);
    std::fs::create_dir_all(guest.path("folder/inner")).unwrap();
    std::fs::write(guest.path("file"), b"").unwrap();
    let name = |name: &str| Message::default().name(name);
    assert_eq!(guest.call(opcode::UNLINK, ROOT_ID, &name("folder")), Err(Errno::EISDIR));
    assert_eq!(guest.call(opcode::RMDIR, ROOT_ID, &name("folder")), Err(Errno::ENOTEMPTY));
    assert_eq!(guest.call(opcode::RMDIR, ROOT_ID, &name("file")), Err(Errno::ENOTDIR));
    assert_eq!(guest.call(opcode::UNLINK, ROOT_ID, &name("file")), Ok(vec![]));
    assert_eq!(guest.call(opcode::RMDIR, guest.node("folder"), &name("inner")), Ok(vec![]));
    assert_eq!(guest.call(opcode::RMDIR, ROOT_ID, &name("folder")), Ok(vec![]));
    assert_eq!(guest.call(opcode::UNLINK, ROOT_ID, &name("file")), Err(Errno::ENOENT));
    assert_eq!(std::fs::read_dir(guest.path("")).unwrap().count(), 0);
}

#[test]
fn an_open_file_outlives_its_name() {
    let guest = Guest::new(Cache::Exclusive);
    let (entry, fh) = guest.create(ROOT_ID, "file", libc::O_RDWR, 0o600).unwrap();
    guest.write(entry.node, fh, 0, b"still here").unwrap();
    guest.call(opcode::UNLINK, ROOT_ID, &Message::default().name("file")).unwrap();
    assert_eq!(guest.read(entry.node, fh, 0, 100).unwrap(), b"still here");
    assert_eq!(guest.attributes(entry.node).unwrap().links, 0);
    assert_eq!(guest.contents(entry.node), b"still here", "it can even be opened again, as /proc/self/fd does");
    guest.chmod(entry.node, 0o640).unwrap();
}

#[test]
fn a_rename_replaces_keeps_or_exchanges() {
    let guest = Guest::new(Cache::Exclusive);
    std::fs::create_dir(guest.path("folder")).unwrap();
    std::fs::write(guest.path("a"), b"a").unwrap();
    std::fs::write(guest.path("folder/b"), b"b").unwrap();
    let (a, folder) = (guest.node("a"), guest.node("folder"));
    assert_eq!(rename(&guest, (ROOT_ID, "a"), (folder, "b"), libc::RENAME_NOREPLACE), Err(Errno::EEXIST));
    rename(&guest, (ROOT_ID, "a"), (folder, "b"), libc::RENAME_EXCHANGE).unwrap();
    assert_eq!(guest.node("folder/b"), a, "the node moves with its file");
    assert_eq!(std::fs::read(guest.path("a")).unwrap(), b"b");
    let body = Message::default().u64(ROOT_ID).name("b").name("a");
    assert_eq!(guest.call(opcode::RENAME, folder, &body), Ok(vec![]));
    assert_eq!(std::fs::read(guest.path("a")).unwrap(), b"a");
    assert!(!guest.path("folder/b").exists());
    rename(&guest, (ROOT_ID, "a"), (folder, "c"), libc::RENAME_NOREPLACE).unwrap();
    assert_eq!(guest.node("folder/c"), a);
}

#[test]
fn a_whiteout_can_be_left_behind() {
    use std::os::unix::fs::{FileTypeExt, MetadataExt};
    let guest = Guest::new(Cache::Exclusive);
    std::fs::write(guest.path("a"), b"").unwrap();
    rename(&guest, (ROOT_ID, "a"), (ROOT_ID, "b"), libc::RENAME_WHITEOUT).unwrap();
    let left = guest.path("a").metadata().unwrap();
    assert!(left.file_type().is_char_device() && left.rdev() == 0);
}

#[test]
fn unknown_flags_of_a_rename_are_refused() {
    let guest = Guest::new(Cache::Exclusive);
    std::fs::write(guest.path("a"), b"").unwrap();
    assert_eq!(rename(&guest, (ROOT_ID, "a"), (ROOT_ID, "b"), 1 << 3), Err(Errno::EINVAL));
    assert!(guest.path("a").exists());
}

#[test]
fn a_folder_that_moved_keeps_its_node_and_children() {
    let guest = Guest::new(Cache::Exclusive);
    std::fs::create_dir_all(guest.path("one/two")).unwrap();
    std::fs::create_dir(guest.path("other")).unwrap();
    let (two, other) = (guest.node("one/two"), guest.node("other"));
    rename(&guest, (guest.node("one"), "two"), (other, "deep"), 0).unwrap();
    guest.create(two, "file", libc::O_RDWR, 0o600).unwrap();
    assert!(guest.path("other/deep/file").exists());
    assert_eq!(guest.node("other/deep"), two);
}

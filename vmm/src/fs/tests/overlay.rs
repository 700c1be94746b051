//! The export of a container's root is an overlay mount.

use std::path::Path;

use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};

use super::super::abi::{ROOT_ID, opcode};
use super::super::{Cache, Export, Server, Tree};
use super::guest::{Mounted, c_path, path_fd, temporary};
use super::{Guest, Message};

/// Mounts an overlay of `lower` and `upper` in this thread's own mount namespace.
fn mount(folder: &Path) -> Mounted {
    unshare(CloneFlags::CLONE_NEWNS).unwrap();
    let path = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    let options = format!("lowerdir={},upperdir={},workdir={}", path("lower"), path("upper"), path("work"));
    let (kind, target) = (c"overlay", c_path(&folder.join("merged")));
    let options = std::ffi::CString::new(options).unwrap();
    // SAFETY: all strings end with a zero byte.
    let private = unsafe {
        libc::mount(
            c"none".as_ptr(),
            c"/".as_ptr(),
            std::ptr::null(),
            libc::MS_REC | libc::MS_PRIVATE,
            std::ptr::null(),
        )
    };
    assert_eq!(private, 0);
    // SAFETY: as above.
    let mounted = unsafe { libc::mount(kind.as_ptr(), target.as_ptr(), kind.as_ptr(), 0, options.as_ptr().cast()) };
    assert_eq!(mounted, 0, "{}", Errno::last());
    Mounted(target)
}

#[test]
fn files_of_lower_layers_are_copied_up_under_their_node() {
    let folder = temporary();
    for name in ["lower", "upper", "work", "merged"] {
        std::fs::create_dir(folder.path().join(name)).unwrap();
    }
    std::fs::write(folder.path().join("lower/file"), b"lower").unwrap();
    std::fs::write(folder.path().join("lower/gone"), b"").unwrap();
    std::thread::spawn(move || {
        let mounted = mount(folder.path());
        let root = path_fd(folder.path().join("merged"));
        let tree = Tree::One(Export { root, read_only: false, cache: Cache::Exclusive });
        let guest = Guest { uid: 1000, gid: 1000, ..Guest::of(Server::new(tree).unwrap(), folder) };
        let before = guest.lookup(ROOT_ID, "file").unwrap();
        let reader = guest.open(before.node, libc::O_RDONLY).unwrap();
        let writer = guest.open(before.node, libc::O_RDWR).unwrap();
        guest.write(before.node, writer, 0, b"UPPER").unwrap();
        assert_eq!(guest.read(before.node, reader, 0, 10).unwrap(), b"UPPER");
        let after = guest.lookup(ROOT_ID, "file").unwrap();
        assert_eq!((after.node, after.attributes.inode), (before.node, before.attributes.inode));
        guest.call(opcode::UNLINK, ROOT_ID, &Message::default().name("gone")).unwrap();
        let (new, _) = guest.create(ROOT_ID, "new", libc::O_RDWR, 0o4755).unwrap();
        assert_eq!((new.attributes.uid, new.attributes.mode & 0o7777), (1000, 0o4755));
        guest.entry(opcode::LINK, ROOT_ID, &Message::default().u64(new.node).name("linked")).unwrap();
        assert_eq!(guest.setxattr(ROOT_ID, "trusted.overlay.opaque", b"y", 0), Err(Errno::EPERM));
        let mut names: Vec<String> = guest.list(ROOT_ID, 4096, true).into_iter().map(|entry| entry.name).collect();
        names.sort();
        assert_eq!(names, [".", "..", "file", "linked", "new"]);
        assert_eq!(std::fs::read(guest.folder.path().join("lower/file")).unwrap(), b"lower");
        // Before the folder that holds it goes.
        drop(mounted);
    })
    .join()
    .unwrap();
}

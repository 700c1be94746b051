//! Symbolic links in the export lead nowhere on the host, and the server outlives a chroot.

use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};

use super::super::Cache;
use super::super::abi::{ROOT_ID, opcode, setattr};
use super::guest::{Change, c_path};
use super::{Guest, Message};

/// Everything that an operation could change of a file or folder.
#[derive(Debug, PartialEq, Eq)]
struct State {
    mode: u32,
    owner: (u32, u32),
    links: u64,
    times: [i64; 4],
    attributes: Vec<u8>,
    contents: Vec<u8>,
}

fn state(path: &Path, states: &mut BTreeMap<PathBuf, State>) {
    let meta = path.symlink_metadata().unwrap();
    let mut attributes = vec![0; 1000];
    // SAFETY: the path ends with a zero byte, and at most as many bytes are written as there are.
    let length = unsafe { libc::llistxattr(c_path(path).as_ptr(), attributes.as_mut_ptr().cast(), attributes.len()) };
    attributes.truncate(usize::try_from(length).unwrap());
    let contents = if meta.is_file() { std::fs::read(path).unwrap() } else { Vec::new() };
    let times = [meta.mtime(), meta.mtime_nsec(), meta.ctime(), meta.ctime_nsec()];
    let (mode, owner, links) = (meta.mode(), (meta.uid(), meta.gid()), meta.nlink());
    states.insert(path.to_owned(), State { mode, owner, links, times, attributes, contents });
    if meta.is_dir() {
        for entry in std::fs::read_dir(path).unwrap() {
            state(&entry.unwrap().path(), states);
        }
    }
}

fn snapshot(path: &Path) -> BTreeMap<PathBuf, State> {
    let mut states = BTreeMap::new();
    state(path, &mut states);
    states
}

#[test]
fn no_operation_follows_a_symbolic_link() {
    for cache in [Cache::Exclusive, Cache::Shared] {
        let guest = Guest::new(cache);
        let outside = guest.folder.path().join("outside");
        std::fs::create_dir(&outside).unwrap();
        std::fs::write(outside.join("secret"), b"secret").unwrap();
        let links = [
            ("up", PathBuf::from("..")),
            ("folder", outside.clone()),
            ("file", outside.join("secret")),
            ("relative", PathBuf::from("../outside/secret")),
            ("new", outside.join("new")),
        ];
        for (name, target) in &links {
            symlink(target, guest.path(name)).unwrap();
        }
        let before = snapshot(&outside);
        for (name, _) in &links {
            attack(&guest, name);
        }
        assert_eq!(snapshot(&outside), before);
        assert!(guest.folder.path().join("export").read_dir().unwrap().count() >= links.len());
        assert_eq!(guest.folder.path().read_dir().unwrap().count(), 2, "nothing new beside the export");
    }
}

/// Every operation, with the link as the node, as the folder, and as the name.
fn attack(guest: &Guest, name: &str) {
    let link = guest.node(name);
    let named = |name: &str| Message::default().name(name);
    for child in ["secret", "new", "outside", "export"] {
        assert_eq!(guest.lookup(link, child), Err(Errno::ENOTDIR));
        assert_eq!(guest.create(link, child, libc::O_RDWR, 0o666).unwrap_err(), Errno::ENOTDIR);
        let calls = [
            (opcode::MKDIR, Message::default().u32(0o755).u32(0).name(child)),
            (opcode::MKNOD, Message::default().u32(libc::S_IFIFO).u32(0).u64(0).name(child)),
            (opcode::SYMLINK, named(child).name("/")),
            (opcode::TMPFILE, Message::default().u32(2).u32(0o644).u64(0).name("/")),
            (opcode::UNLINK, named(child)),
            (opcode::RMDIR, named(child)),
            (opcode::RENAME, Message::default().u64(ROOT_ID).name(child).name("stolen")),
            (opcode::LINK, Message::default().u64(link).name(child)),
        ];
        for (opcode, body) in calls {
            assert_eq!(guest.call(opcode, link, &body), Err(Errno::ENOTDIR), "operation {opcode}");
        }
        let into = Message::default().u64(link).name(name).name(child);
        assert_eq!(guest.call(opcode::RENAME, ROOT_ID, &into), Err(Errno::ENOTDIR));
    }
    for flags in [libc::O_RDONLY, libc::O_RDWR, libc::O_RDWR | libc::O_TRUNC, libc::O_RDWR | libc::O_CREAT] {
        assert_eq!(guest.open(link, flags), Err(Errno::ELOOP));
        assert_eq!(guest.create(ROOT_ID, name, flags, 0o666).unwrap_err(), Errno::ELOOP);
    }
    assert_eq!(guest.opendir(link), Err(Errno::ENOTDIR));
    assert_eq!(guest.call(opcode::SYNCFS, link, &Message::default().u64(0)), Err(Errno::EACCES));
    assert_eq!(guest.call(opcode::MKDIR, ROOT_ID, &Message::default().u32(0).u32(0).name(name)), Err(Errno::EEXIST));
    let mknod = Message::default().u32(libc::S_IFREG).u32(0).u64(0).name(name);
    assert_eq!(guest.call(opcode::MKNOD, ROOT_ID, &mknod), Err(Errno::EEXIST));
    assert_eq!(guest.call(opcode::RMDIR, ROOT_ID, &named(name)), Err(Errno::ENOTDIR));

    // These work, on the link itself.
    let valid = setattr::UID | setattr::GID | setattr::ATIME | setattr::MTIME;
    let change = Change { valid, uid: 9, gid: 9, times: [(1, 1), (2, 2)], ..Change::default() };
    assert_eq!(guest.setattr(link, &change).unwrap().uid, 9);
    assert_eq!(guest.setattr(link, &Change { valid: setattr::SIZE, ..Change::default() }), Err(Errno::EINVAL));
    assert_eq!(guest.chmod(link, 0o777), Err(Errno::EOPNOTSUPP));
    guest.setxattr(link, "trusted.mark", b"x", 0).unwrap();
    guest.getxattr(link, "trusted.mark", 10).unwrap();
    guest.call(opcode::REMOVEXATTR, link, &named("trusted.mark")).unwrap();
    guest.call(opcode::STATFS, link, &Message::default()).unwrap();
    let hard = format!("{name}-hard");
    guest.call(opcode::LINK, ROOT_ID, &Message::default().u64(link).name(&hard)).unwrap();
    let moved = Message::default().u64(ROOT_ID).name(&hard).name(format!("{name}-moved"));
    guest.call(opcode::RENAME, ROOT_ID, &moved).unwrap();
    guest.call(opcode::UNLINK, ROOT_ID, &named(&format!("{name}-moved"))).unwrap();
}

#[test]
fn the_server_works_in_a_chroot() {
    let guest = Guest::new(Cache::Exclusive);
    std::fs::write(guest.path("file"), b"data").unwrap();
    symlink("file", guest.path("link")).unwrap();
    std::fs::create_dir(guest.folder.path().join("empty")).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // A thread with a root of its own.
            unshare(CloneFlags::CLONE_FS).unwrap();
            nix::unistd::chroot(&guest.folder.path().join("empty")).unwrap();
            nix::unistd::chdir("/").unwrap();
            let file = guest.node("file");
            assert_eq!(guest.contents(file), b"data");
            guest.chmod(file, 0o640).unwrap();
            guest.setxattr(file, "user.x", b"value", 0).unwrap();
            guest.call(opcode::LINK, ROOT_ID, &Message::default().u64(file).name("linked")).unwrap();
            let (entry, fh) = guest.create(ROOT_ID, "new", libc::O_RDWR, 0o4755).unwrap();
            guest.write(entry.node, fh, 0, b"new").unwrap();
            guest.setattr(entry.node, &Change { valid: setattr::SIZE, size: 1, ..Change::default() }).unwrap();
            assert_eq!(guest.list(ROOT_ID, 4096, true).len(), 6);
            let link = guest.node("link");
            assert_eq!(guest.setxattr(link, "trusted.x", b"x", 0), Err(Errno::EOPNOTSUPP), "this needs /proc");
        });
    });
    assert_eq!(std::fs::read(guest.path("new")).unwrap(), b"n");
    assert_eq!(guest.path("new").metadata().unwrap().mode() & 0o7777, 0o4755);
}

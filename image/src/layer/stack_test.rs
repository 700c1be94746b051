//! Tests of layers over layers: what is seen of those below, and what a layer takes from them.

use super::super::tar_builder::{Entry, tar};
use super::super::{Base, Error as WriteError, Limits, Summary, write};
use super::*;

fn temp() -> File {
    tempfile::tempfile_in("/dev/shm").or_else(|_| tempfile::tempfile()).unwrap()
}

fn layer(entries: Vec<Entry>, base: Base<'_>) -> Result<(File, Summary), WriteError> {
    let file = temp();
    let summary = write(&mut &*tar(entries), &file, &Limits::default(), base)?;
    Ok((file, summary))
}

/// Layers of these entries, lowest first, each written with those below it known.
fn stack<const N: usize>(layers: [Vec<Entry>; N]) -> Stack {
    let mut files: Vec<File> = Vec::new();
    for entries in layers {
        let below = Stack::open(files.iter().map(|file| file.try_clone().unwrap()).collect()).unwrap();
        files.push(layer(entries, Base::Layers(&below)).unwrap().0);
    }
    Stack::open(files).unwrap()
}

fn read(stack: &Stack, path: &str) -> Option<String> {
    let found = stack.find(path.as_bytes()).unwrap()?;
    Some(match found.inode.kind {
        FileKind::Directory => "folder".into(),
        FileKind::Symlink => String::from_utf8(stack.target(&found).unwrap()).unwrap(),
        _ => {
            let mut content = vec![0; 100];
            let length = stack.read_at(&found, &mut content, 0).unwrap();
            String::from_utf8(content[..length].to_vec()).unwrap()
        }
    })
}

fn file(name: &str, data: &str) -> Entry {
    Entry::file(name, data)
}

#[test]
fn the_topmost_layer_that_has_a_name_decides() {
    let stack = stack([
        vec![file("a", "1"), file("b", "1"), file("folder/a", "1"), file("gone", "1"), file("becomes/a", "1")],
        vec![file("a", "2"), file("folder/b", "2"), file(".wh.gone", ""), file("becomes", "file")],
        vec![file("folder/c", "3"), Entry::directory("becomes"), file("becomes/b", "3")],
    ]);
    assert_eq!(read(&stack, "a").unwrap(), "2");
    assert_eq!(read(&stack, "/b").unwrap(), "1");
    for (name, content) in [("a", "1"), ("b", "2"), ("c", "3")] {
        assert_eq!(read(&stack, &format!("folder/{name}")).unwrap(), content);
    }
    assert_eq!(read(&stack, "gone"), None);
    assert_eq!(read(&stack, "becomes/b").unwrap(), "3");
    assert_eq!(read(&stack, "becomes/a"), None, "hidden by what was a file in between");
    assert_eq!(read(&stack, "").unwrap(), "folder");
    assert_eq!(read(&stack, "a/b"), None);
    assert_eq!(read(&Stack::open(Vec::new()).unwrap(), "a"), None);
}

#[test]
fn an_opaque_folder_shows_nothing_of_those_below() {
    let stack = stack([
        vec![file("folder/a", "1"), file("folder/deep/a", "1")],
        vec![file("folder/.wh..wh..opq", ""), file("folder/b", "2"), file("folder/deep/b", "2")],
    ]);
    assert_eq!((read(&stack, "folder/a"), read(&stack, "folder/deep/a")), (None, None));
    assert_eq!(read(&stack, "folder/deep/b").unwrap(), "2");
}

#[test]
fn an_opaque_root_hides_all_names_below_one_by_one() {
    let stack = stack([
        vec![file("a", "1"), file("b/a", "1"), file("c", "1")],
        vec![file("b/b", "2"), file(".wh..wh..opq", ""), file("c", "2")],
    ]);
    assert_eq!((read(&stack, "a"), read(&stack, "b/a")), (None, None));
    assert_eq!((read(&stack, "b/b").unwrap(), read(&stack, "c").unwrap()), ("2".into(), "2".into()));
    assert_eq!(stack.names(stack.root().unwrap()).unwrap(), [Box::from(*b"b"), Box::<[u8]>::from(*b"c")]);
    assert!(layer(vec![file(".wh..wh..opq", "")], Base::Unknown).unwrap().1.depends);
}

#[test]
fn symbolic_links_are_followed_through_all_layers() {
    let stack = stack([
        vec![Entry::symlink("lib", "usr/lib"), file("usr/lib/a", "1"), Entry::symlink("usr/loop", "loop")],
        vec![Entry::symlink("usr/up", "../../../lib"), Entry::symlink("usr/abs", "/usr/up"), file("usr/lib/b", "2")],
    ]);
    for path in ["lib/a", "usr/up/a", "usr/abs/a", "usr/../lib/../lib/a", "../../lib/a"] {
        assert_eq!(read(&stack, path).unwrap(), "1", "{path}");
    }
    assert_eq!(read(&stack, "usr/abs/b").unwrap(), "2");
    assert_eq!(read(&stack, "usr/abs").unwrap(), "/usr/up", "the last part is not followed");
    assert!(matches!(stack.find(b"usr/loop/a"), Err(Error::Loop { .. })));
}

#[test]
fn a_folder_the_tar_does_not_list_is_as_the_one_below() {
    let below = stack([
        vec![
            Entry::directory("./").mode(0o711).owner(5, 6).mtime(7),
            Entry::directory("tmp").mode(0o1777).owner(1, 2).mtime(3).xattr("user.a", "b"),
            Entry::directory("tmp/hidden").mode(0o700),
            file("tmp/.wh.something", ""),
        ],
        vec![Entry::directory("tmp/inner").mode(0o750)],
    ]);
    let entries =
        || vec![file("tmp/inner/x", "1"), file("tmp/hidden/x", ""), file("tmp/.wh.hidden", ""), file("new/x", "")];
    assert!(layer(entries(), Base::Unknown).unwrap().1.depends);
    let (file, summary) = layer(entries(), Base::Layers(&below)).unwrap();
    assert!(!summary.depends);
    let reader = Reader::open(file).unwrap();
    let root = reader.root().unwrap();
    assert_eq!((root.mode, root.uid, root.gid, root.mtime.seconds), (0o711, 5, 6, 7));
    let tmp = reader.child(&root, b"tmp").unwrap().unwrap();
    assert_eq!((tmp.mode, tmp.uid, tmp.gid, tmp.mtime.seconds), (0o1777, 1, 2, 3));
    let names: Vec<Box<[u8]>> = reader.xattrs(&tmp).unwrap().into_keys().collect();
    assert_eq!(names, [Box::<[u8]>::from(*b"user.a")], "no record of overlayfs comes along");
    assert_eq!(reader.child(&tmp, b"inner").unwrap().unwrap().mode, 0o750);
    let hidden = reader.child(&tmp, b"hidden").unwrap().unwrap();
    assert_eq!(hidden.mode, 0o755, "the one below is hidden");
    assert!(xattr::is_opaque(&reader.xattrs(&hidden).unwrap()));
    assert_eq!(reader.child(&root, b"new").unwrap().unwrap().mode, 0o755);
}

#[test]
fn entries_go_where_symbolic_links_below_lead() {
    let lower = || vec![Entry::symlink("lib", "usr/lib"), Entry::directory("usr/lib").mode(0o700)];
    let both = stack([lower(), vec![file("lib/a", "x"), file("lib/.wh.b", "")]]);
    assert_eq!(read(&both, "lib").unwrap(), "usr/lib");
    assert_eq!(read(&both, "usr/lib/a").unwrap(), "x");
    assert_eq!(both.find(b"usr/lib").unwrap().unwrap().inode.mode, 0o700);
    let hidden = stack([lower(), vec![file(".wh.lib", ""), file("lib/a", "x")]]);
    assert_eq!((read(&hidden, "lib").unwrap(), read(&hidden, "usr/lib/a")), ("folder".into(), None));
    let listed = stack([lower(), vec![Entry::directory("lib"), file("lib/a", "x")]]);
    assert_eq!(read(&listed, "lib").unwrap(), "folder");
}

#[test]
fn a_file_below_makes_way_for_a_folder() {
    let both = stack([vec![file("a", "1")], vec![file("a/b/c", "2")]]);
    assert_eq!(read(&both, "a/b/c").unwrap(), "2");
}

#[test]
fn a_hard_link_into_a_layer_below_takes_its_target_along() {
    let data = "x".repeat(90);
    let lower = vec![
        Entry::directory("folder").mode(0o700),
        file("folder/target", &data).mode(0o4711).owner(1, 2).mtime(3).xattr("user.a", "b"),
        Entry::file("large", vec![7; 1_000_000]),
        Entry::symlink("alias", "folder"),
        Entry::symlink("symlink", "to"),
        Entry::device(b'3', "null", 1, 3),
    ];
    let entries = || {
        vec![
            Entry::link("one", "alias/target"),
            Entry::link("two", "folder/target"),
            Entry::link("big", "large"),
            Entry::link("link", "symlink"),
            Entry::link("device", "/null"),
        ]
    };
    assert!(layer(entries(), Base::Unknown).unwrap().1.depends);
    let below = stack([lower]);
    let reader = Reader::open(layer(entries(), Base::Layers(&below)).unwrap().0).unwrap();
    let root = reader.root().unwrap();
    let at = |folder: &Inode, name: &str| reader.child(folder, name.as_bytes()).unwrap().unwrap();
    let folder = at(&root, "folder");
    assert_eq!(folder.mode, 0o700);
    let target = at(&folder, "target");
    assert_eq!((target.mode, target.uid, target.gid, target.mtime.seconds, target.links), (0o4711, 1, 2, 3, 3));
    assert_eq!((at(&root, "one").number, at(&root, "two").number), (target.number, target.number));
    assert_eq!(reader.xattrs(&target).unwrap().len(), 1);
    let mut content = vec![0; 1_000_001];
    assert_eq!(reader.read_at(&target, &mut content, 0).unwrap(), 90);
    assert_eq!(content[..90], *data.as_bytes());
    assert_eq!((reader.read_at(&at(&root, "big"), &mut content, 1).unwrap(), content[999_998]), (999_999, 7));
    assert_eq!(reader.target(&at(&root, "link")).unwrap(), b"to");
    assert_eq!((at(&root, "device").kind, at(&root, "null").links), (FileKind::Character(0x103), 2));
}

#[test]
fn hard_links_to_what_nothing_below_has_are_refused() {
    let lower = || vec![file("gone", ""), Entry::directory("folder"), file("folder/x", "")];
    let below = stack([lower(), vec![file(".wh.gone", "")]]);
    let error = |entries| layer(entries, Base::Layers(&below)).unwrap_err().to_string();
    assert_eq!(error(vec![Entry::link("a", "absent")]), "Cannot take tar entry \"a\" into the layer");
    error(vec![Entry::link("a", "gone")]);
    error(vec![Entry::link("a", "folder")]);
    error(vec![Entry::link("a", "folder/x"), file(".wh.folder", "")]);
    error(vec![Entry::link("a", "folder/x"), file("folder/.wh..wh..opq", "")]);
}

#[test]
fn what_this_layer_has_goes_before_what_is_below() {
    let both = stack([vec![file("b", "1")], vec![Entry::link("a", "b"), file("b", "2")]]);
    assert_eq!(read(&both, "a").unwrap(), "2");
}

#[test]
fn a_layer_that_lists_its_folders_depends_on_nothing() {
    let entries = || vec![Entry::directory("a/"), file("a/b", ""), file("a/.wh.c", ""), Entry::link("d", "a/b")];
    let (unknown, summary) = layer(entries(), Base::Unknown).unwrap();
    assert!(!summary.depends && summary.image_bytes > 0);
    let bytes = |mut file: File| {
        let mut bytes = Vec::new();
        std::io::Seek::rewind(&mut file).unwrap();
        std::io::Read::read_to_end(&mut file, &mut bytes).unwrap();
        bytes
    };
    assert_eq!(bytes(unknown), bytes(layer(entries(), Base::Nothing).unwrap().0));
}

#[test]
fn folders_inside_an_opaque_one_depend_on_nothing() {
    let entries = vec![Entry::directory("a"), file("a/.wh..wh..opq", ""), file("a/b/c", "")];
    assert!(!layer(entries, Base::Unknown).unwrap().1.depends);
}

#[test]
fn a_layer_of_no_use_is_read_to_its_end() {
    let entries = vec![file("a/b", ""), Entry::file("large", vec![1; 5_000_000]), Entry::link("c", "d")];
    let (file, summary) = layer(entries, Base::Unknown).unwrap();
    assert_eq!((summary.depends, summary.entries, summary.image_bytes), (true, 3, 0));
    assert!(summary.tar_bytes > 5_000_000 && file.metadata().unwrap().len() == 0, "and its data is not written");
}

#[test]
fn what_is_wrong_only_over_nothing_is_no_error_before_it_is_known_what_is_below() {
    let lower = vec![Entry::symlink("a", "d")];
    let upper = || vec![Entry::link("b", "a"), file("a/.wh..wh..opq", "")];
    assert!(layer(upper(), Base::Unknown).unwrap().1.depends);
    let both = stack([lower, upper()]);
    assert_eq!((read(&both, "b").unwrap(), read(&both, "d").unwrap()), ("d".into(), "folder".into()));
}

#[test]
fn a_damaged_layer_below_is_an_error() {
    let (file, _) = layer(vec![Entry::directory("a"), Entry::directory("a/b")], Base::Nothing).unwrap();
    let length = file.metadata().unwrap().len();
    // The inodes are in the last block.
    std::os::unix::fs::FileExt::write_all_at(&file, &[0xff; 3000], length - 4096 + 128).unwrap();
    let stack = Stack::open(vec![file]).unwrap();
    let error =
        write(&mut &*tar([self::file("a/c", "")]), &temp(), &Limits::default(), Base::Layers(&stack)).unwrap_err();
    assert_eq!(error.to_string(), "Cannot take tar entry \"a/c\" into the layer");
    assert!(matches!(Stack::open(vec![temp()]), Err(Error::Layer { layer: 1, source: reader::Error::Damaged { .. } })));
}

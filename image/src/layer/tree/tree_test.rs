//! Tests of the tree: what is left when entries meet.

use proptest::prelude::*;

use super::*;
use crate::layer::erofs::Piece;

fn attributes(mode: u16) -> Attributes {
    Attributes { mode, ..Attributes::implied() }
}

/// A tree, put together by short words: `d` folder, `f` file, `l` symbolic link, `h` hard link, `w` whiteout,
/// `o` opaque.
fn build(steps: &[(char, &str, &str)]) -> Result<Finished, Error> {
    build_with(steps, 1000, 100_000)
}

fn build_with(steps: &[(char, &str, &str)], entries: u64, metadata: u64) -> Result<Finished, Error> {
    let mut tree = Tree::new(Base::Nothing, entries, metadata);
    for (step, name, other) in steps {
        let path = path::clean(name.as_bytes())?;
        let other = other.as_bytes();
        match step {
            'd' => tree.directory(&path, attributes(0o700)),
            'f' => tree.insert(&path, attributes(0o600), file(other)),
            'l' => tree.insert(&path, attributes(0o777), Node::symlink(other)?),
            'h' => tree.link(&path, other, name.as_bytes()),
            'w' => tree.whiteout(&path, other),
            _ => tree.opaque(&path),
        }?;
    }
    tree.finish().map_err(|(_, error)| error)
}

/// A file that is told from others by up to eight letters, in place of where its data is.
fn file(letters: &[u8]) -> Node {
    let mut word = [0; 8];
    word[..letters.len()].copy_from_slice(letters);
    Node::File(Data::Aside(Piece { offset: u64::from_be_bytes(word), size: letters.len() as u32 }))
}

fn told(piece: &Piece) -> String {
    piece.offset.to_be_bytes()[..piece.size as usize].escape_ascii().to_string()
}

/// All of a tree, one line each.
fn lines(tree: &Finished) -> Vec<String> {
    let mut lines = Vec::new();
    let mut folders = vec![(String::new(), ROOT)];
    while let Some((path, folder)) = folders.pop() {
        for (name, index) in &tree.inode(folder).unwrap().directory().unwrap().entries {
            let path = format!("{path}{}", name.escape_ascii());
            let inode = tree.inode(*index).unwrap();
            lines.push(match &inode.node {
                Node::Directory(_) => {
                    folders.push((format!("{path}/"), *index));
                    let marks = inode.attributes.xattrs.keys().map(|name| format!(" {}", name.escape_ascii()));
                    format!("{path}/ {:o}{}", inode.attributes.mode, marks.collect::<String>())
                }
                Node::File(Data::Aside(data)) => format!("{path} {}", told(data)),
                Node::Symlink(target) => format!("{path} -> {}", target.escape_ascii()),
                other => format!("{path} {other:?}"),
            });
        }
    }
    lines.sort();
    lines
}

fn check(steps: &[(char, &str, &str)], expected: &[&str]) {
    assert_eq!(lines(&build(steps).unwrap()), expected);
}

#[test]
fn folders_on_the_way_are_made() {
    check(&[('f', "a/b/c", "x")], &["a/ 755", "a/b/ 755", "a/b/c x"]);
}

#[test]
fn the_last_entry_of_a_name_counts() {
    check(&[('f', "a", "1"), ('f', "a", "2")], &["a 2"]);
    check(&[('f', "a/b", "1"), ('f', "a", "2")], &["a 2"]);
    check(&[('f', "a", "1"), ('d', "a", "")], &["a/ 700"]);
    check(&[('f', "a/b", "1"), ('d', "a", "")], &["a/ 700", "a/b 1"]);
    check(&[('l', "a", "b"), ('d', "a", "")], &["a/ 700"]);
}

#[test]
fn nothing_is_written_through_a_link() {
    check(&[('f', "b", "1"), ('l', "a", "b"), ('f', "a", "2")], &["a 2", "b 1"]);
    check(&[('f', "b", "1"), ('h', "a", "b"), ('f', "a", "2")], &["a 2", "b 1"]);
    check(&[('d', "b", ""), ('l', "a", "b"), ('f', "a", "2")], &["a 2", "b/ 700"]);
}

#[test]
fn symbolic_links_on_the_way_are_followed_inside_the_layer() {
    let expected = ["lib -> usr/lib", "usr/ 755", "usr/lib/ 755", "usr/lib/a x"];
    check(&[('l', "lib", "usr/lib"), ('f', "lib/a", "x")], &expected);
    check(&[('l', "a", "../../../b"), ('f', "a/c", "x")], &["a -> ../../../b", "b/ 755", "b/c x"]);
    check(
        &[('l', "d/a", "/e/./f"), ('f', "d/a/c", "x")],
        &["d/ 755", "d/a -> /e/./f", "e/ 755", "e/f/ 755", "e/f/c x"],
    );
}

#[test]
fn what_has_no_inside_is_refused_as_a_folder() {
    assert!(matches!(build(&[('f', "a", ""), ('f', "a/b", "")]), Err(Error::Parent { parent }) if parent == "\"a\""));
    assert!(matches!(build(&[('l', "a", "a"), ('f', "a/b", "")]), Err(Error::Loop)));
    assert!(matches!(build(&[('l', "a", "a/a/a"), ('f', "a/b", "")]), Err(Error::Loop)));
    let long = "n".repeat(256);
    assert!(matches!(build(&[('l', "a", &long), ('f', "a/b", "")]), Err(Error::Path(path::Error::Name(256)))));
}

#[test]
fn the_root_is_a_folder_and_stays_one() {
    assert!(matches!(build(&[('f', "/", "")]), Err(Error::Root)));
    assert!(matches!(build(&[('l', "./.", "/etc")]), Err(Error::Root)));
    assert!(matches!(build(&[('h', ".", "a")]), Err(Error::Root)));
    let tree = build(&[('d', "./", "")]).unwrap();
    assert_eq!(tree.inode(ROOT).unwrap().attributes.mode, 0o700);
}

#[test]
fn hard_links_share_an_inode_whichever_comes_first() {
    for steps in
        [[('f', "a", "x"), ('h', "b", "a"), ('h', "c", "/b")], [('h', "c", "./b"), ('h', "b", "a"), ('f', "a", "x")]]
    {
        let tree = build(&steps).unwrap();
        let root = tree.inode(ROOT).unwrap().directory().unwrap();
        assert_eq!(root.entries.len(), 3);
        assert!(root.entries.values().all(|index| *index == root.entries[&b"a"[..]]));
    }
}

#[test]
fn a_hard_link_keeps_what_its_target_was() {
    check(&[('f', "a", "1"), ('h', "b", "a"), ('f', "a", "2")], &["a 2", "b 1"]);
    check(&[('h', "a", "absent"), ('f', "a", "2")], &["a 2"]);
    check(&[('l', "a", "x"), ('h', "b", "a")], &["a -> x", "b -> x"]);
    check(&[('f', "c/b", "1"), ('l', "d", "c"), ('h', "a", "d/b")], &["a 1", "c/ 755", "c/b 1", "d -> c"]);
}

#[test]
fn hard_links_to_what_is_not_there_are_refused() {
    let target = |steps: &[(char, &str, &str)]| match build(steps) {
        Err(Error::LinkTarget { target }) => target,
        other => panic!("{:?}", other.map(|tree| lines(&tree))),
    };
    assert_eq!(target(&[('h', "a", "b")]), "\"b\"");
    assert_eq!(target(&[('d', "c", ""), ('l', "d", "c"), ('f', "c/b", ""), ('h', "a", "d/x")]), "\"d/x\"");
    assert!(matches!(build(&[('h', "a", "a")]), Err(Error::Loop)));
    assert!(matches!(build(&[('h', "a", "b"), ('h', "b", "a")]), Err(Error::Loop)));
    assert!(matches!(build(&[('d', "b", ""), ('h', "a", "b")]), Err(Error::LinkFolder { .. })));
    assert!(matches!(build(&[('h', "a", "b"), ('d', "b", "")]), Err(Error::LinkFolder { .. })));
    assert!(matches!(build(&[('h', "a", "../b")]), Err(Error::Path(path::Error::Parent))));
}

#[test]
fn whiteouts_are_devices_where_this_layer_has_nothing_of_that_name() {
    let device = "Special(Character(0))";
    check(&[('w', "a", "b")], &["a/ 755 trusted.overlay.origin", &format!("a/b {device}")]);
    check(&[('w', "", "b"), ('f', "b", "x")], &["b x"]);
    check(&[('f', "b", "x"), ('w', "", "b")], &["b x"]);
    check(&[('w', "", "b"), ('f', "b/c", "x")], &["b/ 755 trusted.overlay.opaque", "b/c x"]);
    check(&[('h', "b", "c"), ('w', "", "b"), ('f', "c", "x")], &["b x", "c x"]);
}

#[test]
fn an_opaque_folder_is_one_wherever_the_mark_stands_and_has_no_whiteouts() {
    let expected = ["a/ 755 trusted.overlay.opaque", "a/b x", "a/d/ 755"];
    check(&[('f', "a/b", "x"), ('w', "a/d", "e"), ('w', "a", "c"), ('o', "a", "")], &expected);
    check(&[('o', "a", ""), ('w', "a", "c"), ('w', "a/d", "e"), ('f', "a/b", "x")], &expected);
    check(&[('o', "a", ""), ('d', "a", "")], &["a/ 700 trusted.overlay.opaque"]);
}

#[test]
fn devices_that_cannot_be_are_refused() {
    assert!(matches!(Special::character((0, 0)), Err(Error::WhiteoutDevice)));
    assert_eq!(Special::block((0, 0)).unwrap(), Special::Block(0));
    assert_eq!(Special::character((0xabc, 0xdef12)).unwrap(), Special::Character(0xdefa_bc12));
    assert!(matches!(Special::block((4096, 0)), Err(Error::Device { .. })));
    assert!(matches!(Special::block((0, 1 << 20)), Err(Error::Device { .. })));
}

#[test]
fn symbolic_links_have_a_target_that_linux_can_have() {
    for bad in [&b""[..], b"a\0b", &[b'a'; 4096]] {
        assert!(matches!(Node::symlink(bad), Err(Error::Symlink)));
    }
    Node::symlink(&[b'a'; 4095]).unwrap();
}

#[test]
fn implied_folders_count_as_entries() {
    build_with(&[('f', "a/b/c", "")], 3, 1000).unwrap();
    assert!(matches!(build_with(&[('f', "a/b/c", "")], 2, 1000), Err(Error::TooMany { limit: 2 })));
    assert!(matches!(build_with(&[('w', "", "a"), ('w', "", "b")], 1, 1000), Err(Error::TooMany { limit: 1 })));
}

#[test]
fn names_and_targets_count_as_metadata() {
    let name = "n".repeat(200);
    assert!(matches!(build_with(&[('f', &name, "")], 9, 300), Err(Error::TooMuch { limit: 300 })));
    assert!(matches!(build_with(&[('l', "a", &name)], 9, 300), Err(Error::TooMuch { limit: 300 })));
    assert!(matches!(build_with(&[('h', "a", &name)], 9, 300), Err(Error::TooMuch { limit: 300 })));
    assert!(matches!(build_with(&[('w', "", &name), ('w', "", &name)], 9, 300), Err(Error::TooMuch { limit: 300 })));
}

proptest! {
    #[test]
    fn no_order_of_entries_makes_it_panic_or_leaves_a_link_open(
        steps in proptest::collection::vec(
            (prop::sample::select(vec!['d', 'f', 'l', 'h', 'w', 'o']), "[abc](/[abc]){0,2}", "(/|\\.\\./)?[abc](/[abc])?"),
            0..20,
        ),
    ) {
        let steps: Vec<_> = steps.iter().map(|(step, name, other)| (*step, &**name, &**other)).collect();
        if let Ok(tree) = build(&steps) {
            prop_assert!(lines(&tree).iter().all(|line| !line.contains("Pending")));
        }
    }
}

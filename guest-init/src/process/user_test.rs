use super::*;

const PASSWD: &[u8] = b"root:x:0:0:root:/root:/bin/ash
daemon:x:2:2:daemon:/sbin:/sbin/nologin
web:x:1000:1001:Web:/home/web:/bin/sh
homeless:x:1002:1002::
1234:x:77:77::/odd:/bin/sh
";
const GROUP: &[u8] = b"root:x:0:root
bin:x:1:root,bin,daemon
daemon:x:2:root,bin,daemon
video:x:27:root,web
staff:x:50:web
webs:x:1001:
";

fn who(specification: &str) -> (u32, u32, Vec<u32>, String) {
    let identity = resolve(specification, PASSWD, GROUP).unwrap();
    let groups = identity.groups.iter().map(|gid| gid.as_raw()).collect();
    (identity.uid.as_raw(), identity.gid.as_raw(), groups, identity.home)
}

fn whole(uid: u32, gid: u32, groups: &[u32], home: &str) -> (u32, u32, Vec<u32>, String) {
    (uid, gid, groups.to_vec(), home.to_owned())
}

#[test]
fn nobody_in_particular_is_root_with_roots_groups() {
    assert_eq!(who(""), whole(0, 0, &[0, 1, 2, 27], "/root"));
    assert_eq!(who("0"), who(""));
    assert_eq!(who("root"), who(""));
}

#[test]
fn a_name_brings_its_group_its_groups_and_its_home() {
    assert_eq!(who("web"), whole(1000, 1001, &[1001, 27, 50], "/home/web"));
}

#[test]
fn a_number_that_is_listed_counts_like_its_name() {
    assert_eq!(who("1000"), who("web"));
}

#[test]
fn a_number_that_is_not_listed_is_taken_as_it_is() {
    assert_eq!(who("4711"), whole(4711, 0, &[0], "/"));
    assert_eq!(who("4294967294"), whole(4_294_967_294, 0, &[0], "/"));
}

#[test]
fn a_group_that_is_named_is_the_only_one() {
    assert_eq!(who("web:staff"), whole(1000, 50, &[50], "/home/web"));
    assert_eq!(who("web:50"), whole(1000, 50, &[50], "/home/web"));
    assert_eq!(who("web:4711"), whole(1000, 4711, &[4711], "/home/web"));
    assert_eq!(who("4711:staff"), whole(4711, 50, &[50], "/"));
    assert_eq!(who(":staff"), whole(0, 50, &[50], "/root"));
}

#[test]
fn an_empty_group_counts_as_none() {
    assert_eq!(who("web:"), who("web"));
}

#[test]
fn digits_are_a_number_even_if_an_account_is_called_so() {
    assert_eq!(who("1234"), whole(1234, 0, &[0], "/"));
}

#[test]
fn an_account_without_a_home_lives_at_the_root() {
    assert_eq!(who("homeless").3, "/");
}

#[test]
fn an_image_without_files_knows_root_and_numbers_only() {
    assert_eq!(resolve("", b"", b"").unwrap().home, "/root");
    assert_eq!(resolve("5:6", b"", b"").unwrap().gid.as_raw(), 6);
    assert_eq!(resolve("web", b"", b""), Err(Error::User("web".into())));
    assert_eq!(resolve("0:staff", b"", b""), Err(Error::Group("staff".into())));
}

#[test]
fn who_is_not_listed_is_not_guessed() {
    assert_eq!(resolve("we", PASSWD, GROUP), Err(Error::User("we".into())));
    assert_eq!(resolve("web:sta", PASSWD, GROUP), Err(Error::Group("sta".into())));
    assert_eq!(resolve("web:staff:x", PASSWD, GROUP), Err(Error::Group("staff:x".into())));
    assert_eq!(resolve("-1", PASSWD, GROUP), Err(Error::User("-1".into())));
}

#[test]
fn numbers_beyond_32_bits_are_refused() {
    for text in ["4294967295", "4294967296", "99999999999999999999999"] {
        assert_eq!(resolve(text, PASSWD, GROUP), Err(Error::Number(text.into())));
        assert_eq!(resolve(&format!("web:{text}"), PASSWD, GROUP), Err(Error::Number(text.into())));
    }
}

#[test]
fn no_more_groups_are_taken_than_linux_gives() {
    let group: String = (1..70_000).map(|number| format!("g{number}:x:{number}:root\n")).collect();
    assert_eq!(resolve("root", PASSWD, group.as_bytes()).unwrap().groups.len(), MOST_GROUPS);
}

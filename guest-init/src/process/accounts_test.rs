use super::*;
use crate::testing::with_own_mounts;
use nix::sys::stat::Mode;
use tempfile::TempDir;

#[test]
fn accounts_are_parsed_in_order() {
    let passwd = b"root:x:0:0:root:/root:/bin/sh\nbin:x:1:2::/bin:\n";
    let parsed: Vec<_> = accounts(passwd).collect();
    assert_eq!(
        parsed,
        [
            Account { name: b"root", uid: 0, gid: 0, home: b"/root" },
            Account { name: b"bin", uid: 1, gid: 2, home: b"/bin" },
        ]
    );
}

#[test]
fn lines_that_name_nobody_are_passed_over() {
    let passwd: &[&[u8]] = &[
        b"",
        b"#root:x:0:0::/:",
        b"::0:0::/:",
        b"short",
        b"short:x",
        b"short:x:1",
        b"bad:x:one:1::/:",
        b"bad:x:1:-1::/:",
        b"big:x:4294967296:0::/:",
        b"nobody:x:4294967295:0::/:",
        b"+::::::",
        b"\xff\xfe\x00",
        b"ok:x:7:8",
    ];
    let names: Vec<_> =
        accounts(&passwd.join(&b'\n')).map(|account| (account.name.to_vec(), account.home.to_vec())).collect();
    assert_eq!(names, [(b"ok".to_vec(), b"".to_vec())]);
}

#[test]
fn carriage_returns_do_no_harm() {
    let parsed: Vec<_> = groups(b"wheel:x:10:a,b\r\n").collect();
    assert!(parsed[0].has_member(b"b"));
}

#[test]
fn membership_is_by_whole_name() {
    let parsed: Vec<_> = groups(b"g:x:5:anna,bob\nempty:x:6:\nshort:x:7\n").collect();
    assert_eq!(parsed.len(), 3);
    assert!(parsed[0].has_member(b"anna") && parsed[0].has_member(b"bob"));
    assert!(!parsed[0].has_member(b"ann") && !parsed[0].has_member(b""));
    assert!(!parsed[1].has_member(b"anna") && !parsed[2].has_member(b"anna"));
}

#[test]
fn numbers_are_decimal_and_fit_32_bits() {
    assert_eq!(number(b"0"), Some(0));
    assert_eq!(number(b"4294967294"), Some(u32::MAX - 1));
    for text in ["", "4294967295", "4294967296", "99999999999999999999", "+1", "-1", "0x10", "1 ", "\u{661}"] {
        assert_eq!(number(text.as_bytes()), None, "{text}");
    }
}

/// What reading a file of an image's root gives, `prepare` having put something there.
fn read_after(prepare: impl FnOnce(&str) + Send) -> Result<Vec<u8>, Error> {
    let root = TempDir::new_in("/dev/shm").unwrap();
    with_own_mounts(|| {
        nix::unistd::chroot(root.path()).unwrap();
        std::fs::create_dir("/etc").unwrap();
        prepare("/etc/passwd");
        read("/etc/passwd")
    })
}

#[test]
fn a_file_is_read_whole() {
    assert_eq!(read_after(|path| std::fs::write(path, "root").unwrap()).unwrap(), b"root");
}

#[test]
fn a_missing_file_counts_as_empty() {
    assert_eq!(read_after(|_| {}).unwrap(), b"");
}

#[test]
fn a_pipe_is_refused_and_not_waited_for() {
    let read = read_after(|path| nix::unistd::mkfifo(path, Mode::from_bits_truncate(0o644)).unwrap());
    assert!(matches!(read, Err(Error::NotAFile(_))));
}

#[test]
fn a_folder_is_refused() {
    assert!(matches!(read_after(|path| std::fs::create_dir(path).unwrap()), Err(Error::NotAFile(_))));
}

#[test]
fn a_file_without_end_is_refused() {
    let read = read_after(|path| File::create(path).unwrap().set_len(LONGEST + 1).unwrap());
    assert!(matches!(read, Err(Error::TooLong(_))));
}

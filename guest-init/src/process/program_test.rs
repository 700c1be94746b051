use super::*;
use proptest::prelude::*;

#[test]
fn a_name_with_a_slash_is_itself() {
    assert_eq!(candidates("/bin/sh", "/a:/b"), ["/bin/sh"]);
    assert_eq!(candidates("./x", "/a:/b"), ["./x"]);
}

#[test]
fn a_plain_name_is_looked_for_in_every_folder_in_order() {
    assert_eq!(candidates("sh", "/a:/b"), ["/a/sh", "/b/sh"]);
}

#[test]
fn an_empty_folder_is_the_working_directory() {
    assert_eq!(candidates("sh", ":/b:"), ["./sh", "/b/sh", "./sh"]);
}

#[test]
fn no_name_is_no_program() {
    assert_eq!(candidates("", "/a:/b"), [""; 0]);
}

#[test]
fn the_interpreter_of_a_script_is_its_first_word() {
    assert_eq!(script_interpreter(b"#!/bin/sh\n"), Some(b"/bin/sh".as_slice()));
    assert_eq!(script_interpreter(b"#! \t/usr/bin/env python3\nx"), Some(b"/usr/bin/env".as_slice()));
    assert_eq!(script_interpreter(b"#!/bin/sh\r\n"), Some(b"/bin/sh\r".as_slice()));
    for no_script in [b"".as_slice(), b"#", b"#!", b"#!\n/bin/sh", b"\x7fELF"] {
        assert_eq!(script_interpreter(no_script), None);
    }
}

/// The head of a 64-bit program with one PT_INTERP segment.
fn program(interpreter: &[u8]) -> Vec<u8> {
    let mut head = vec![0; 64 + 56];
    head[..6].copy_from_slice(b"\x7fELF\x02\x01");
    head[32] = 64;
    head[54] = 56;
    head[56] = 1;
    head[64] = 3;
    head[64 + 8] = 120;
    head[64 + 32] = interpreter.len() as u8;
    head.extend_from_slice(interpreter);
    head
}

#[test]
fn the_interpreter_of_a_program_is_its_dynamic_loader() {
    assert_eq!(loader(&program(b"/lib/ld-musl-x86_64.so.1\0")), Some(b"/lib/ld-musl-x86_64.so.1".as_slice()));
    assert_eq!(loader(&program(b"\0")), None);
    assert_eq!(loader(b"#!/bin/sh"), None);
}

#[test]
fn headers_that_lead_nowhere_are_not_followed() {
    let cut = program(b"/lib/ld.so\0");
    for length in 0..cut.len() {
        assert_eq!(loader(&cut[..length]), None, "{length}");
    }
    let mut far = program(b"/lib/ld.so\0");
    far[64 + 8..64 + 16].fill(0xff);
    assert_eq!(loader(&far), None);
}

proptest! {
    #[test]
    fn no_file_confuses_the_search_for_an_interpreter(rest in proptest::collection::vec(any::<u8>(), 0..300)) {
        let head = [b"\x7fELF\x02\x01".as_slice(), &rest].concat();
        if let Some(name) = loader(&head) {
            prop_assert!(!name.is_empty() && name.len() < head.len());
        }
    }
}

//! Names mean what they mean to Docker.

use super::*;

const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

#[track_caller]
fn full(text: &str) -> String {
    text.parse::<Reference>().unwrap().full()
}

#[test]
fn a_short_name_stands_for_a_full_one() {
    assert_eq!(full("busybox"), "docker.io/library/busybox:latest");
    assert_eq!(full("busybox:1.36"), "docker.io/library/busybox:1.36");
    assert_eq!(full("user/app"), "docker.io/user/app:latest");
    assert_eq!(full("docker.io/busybox"), "docker.io/library/busybox:latest");
    assert_eq!(full("index.docker.io/library/busybox"), "docker.io/library/busybox:latest");
}

#[test]
fn a_registry_is_told_from_a_folder() {
    assert_eq!(full("host:5000/a/b:tag"), "host:5000/a/b:tag");
    assert_eq!(full("host.example/a"), "host.example/a:latest");
    assert_eq!(full("localhost/x"), "localhost/x:latest");
    assert_eq!(full("[::1]:5000/x"), "[::1]:5000/x:latest");
    assert_eq!(full("host/a"), "docker.io/host/a:latest");
    assert_eq!(full("host:5000"), "docker.io/library/host:5000");
}

#[test]
fn a_digest_needs_no_tag_and_stands_beside_one() {
    assert_eq!(full(&format!("busybox@{DIGEST}")), format!("docker.io/library/busybox@{DIGEST}"));
    let both: Reference = format!("busybox:1@{DIGEST}").parse().unwrap();
    assert_eq!(both.full(), format!("docker.io/library/busybox:1@{DIGEST}"));
    assert_eq!(both.stored(), format!("docker.io/library/busybox@{DIGEST}"));
    assert_eq!(both.target(), DIGEST);
}

#[test]
fn the_familiar_form_reads_back_as_the_same_name() {
    let digest = format!("a/b@{DIGEST}");
    for text in ["busybox:latest", "a/b:1", "localhost/x:latest", "host:5000/a/b:t", &digest] {
        let reference: Reference = text.parse().unwrap();
        assert_eq!(reference.familiar(), text);
        assert_eq!(reference.familiar().parse(), Ok(reference));
    }
}

#[test]
fn separators_are_strict() {
    for text in ["a.b", "a_b", "a__b", "a-b", "a---b", "a0/b1"] {
        assert!(text.parse::<Reference>().is_ok(), "{text}");
    }
    for text in ["a..b", "a___b", "a.-b", "-a", "a-", "a//b", "/a", "a/", "A", "a/B", "a b", "a/../b", "é"] {
        assert!(text.parse::<Reference>().is_err(), "{text:?} was taken for a name");
    }
}

#[test]
fn bad_registries_tags_and_digests_are_refused() {
    assert!(matches!("a:".parse::<Reference>(), Err(Error::Tag(_))));
    assert!(matches!("a:-x".parse::<Reference>(), Err(Error::Tag(_))));
    assert!(matches!(format!("a:{}", "x".repeat(129)).parse::<Reference>(), Err(Error::Tag(_))));
    assert!(matches!("a@sha256:12".parse::<Reference>(), Err(Error::Digest(_))));
    assert!(matches!("host:99999/a".parse::<Reference>(), Err(Error::Registry(_))));
    assert!(matches!("-host.x/a".parse::<Reference>(), Err(Error::Registry(_))));
    assert!(matches!("[::1/a".parse::<Reference>(), Err(Error::Registry(_))));
    assert!(matches!("host.x:/a@b@c".parse::<Reference>(), Err(Error::Digest(_))));
    assert!(matches!(DIGEST[7..].parse::<Reference>(), Err(Error::Id(_))));
    assert!(matches!("".parse::<Reference>(), Err(Error::Empty)));
    assert!(matches!(format!("h.x/{}", "a".repeat(255)).parse::<Reference>(), Err(Error::TooLong(_))));
}

#[test]
fn only_a_name_of_one_part_is_shortened() {
    let name: Reference = "docker.io/library/busybox/part".parse().unwrap();
    assert_eq!(name.to_string(), "library/busybox/part:latest");
    assert_eq!(name.to_string().parse::<Reference>().unwrap(), name);
}

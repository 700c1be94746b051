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
fn a_name_is_shortened_only_if_it_still_means_the_same() {
    for (full, short) in [
        ("docker.io/library/busybox", "busybox:latest"),
        ("docker.io/a/b", "a/b:latest"),
        ("docker.io/library/busybox/part", "library/busybox/part:latest"),
        ("docker.io/evil.com/busybox", "docker.io/evil.com/busybox:latest"),
        ("docker.io/localhost/busybox", "docker.io/localhost/busybox:latest"),
    ] {
        let name: Reference = full.parse().unwrap();
        assert_eq!(name.to_string(), short);
        assert_eq!(short.parse::<Reference>().unwrap(), name);
    }
}

#[test]
fn the_grammar_of_the_distribution_project_is_kept() {
    for (text, expected) in [
        ("test.com/repo:tag", "test.com/repo:tag"),
        ("test:5000/repo", "test:5000/repo:latest"),
        ("test.com:8080/foo/foo_bar", "test.com:8080/foo/foo_bar:latest"),
        ("foo/foo_bar.com:8080", "docker.io/foo/foo_bar.com:8080"),
        ("foo_bar.com:8080", "docker.io/library/foo_bar.com:8080"),
        ("lowercase:Uppercase", "docker.io/library/lowercase:Uppercase"),
        ("Uppercase/lowercase:tag", "Uppercase/lowercase:tag"),
        ("sub-dom1.foo.com/bar/baz/quux", "sub-dom1.foo.com/bar/baz/quux:latest"),
        ("xn--n3h.com/myimage:xn--n3h.com", "xn--n3h.com/myimage:xn--n3h.com"),
        ("aa/asdf-1__2.b", "docker.io/aa/asdf-1__2.b:latest"),
        ("[2001:db8::1]:5000/repo:tag", "[2001:db8::1]:5000/repo:tag"),
        ("[2001:db8::1]/repo", "[2001:db8::1]/repo:latest"),
        ("192.168.1.1/repo", "192.168.1.1/repo:latest"),
        ("localhost/mine", "localhost/mine:latest"),
        ("registry-1.docker.io/library/x", "docker.io/library/x:latest"),
    ] {
        assert_eq!(full(text), expected, "{text}");
    }
    let both = format!("test:5000/repo:tag@{DIGEST}");
    assert_eq!(full(&both), both);
    for text in [
        ":justtag",
        "@sha256:ffff",
        "repo@sha256:ffffffffffffffffffffffffffffffffff",
        "validname@invaliddigest",
        "Uppercase:tag",
        "test:5000/Uppercase/lowercase:tag",
        "aa/asdf$$^/aa",
        "a//a",
        "-foo.com/bar",
        "foo-.com/bar",
        "[fe80::1%eth0]:5000/repo",
        "[2001:db8::1]x/repo",
        "fe80::1/repo",
        "test.com/repo:tag:tag",
        "test.com/",
        "docker.io/",
        " busybox",
        "busybox\n",
    ] {
        assert!(text.parse::<Reference>().is_err(), "{text:?} was taken for a name");
    }
}

#[test]
fn short_names_stand_for_what_they_are_said_to() {
    let aliases = [("busybox", "edge:5000/library/busybox"), ("a/b", "h.example/c:1"), ("h.example/x", "other/x")];
    let aliases = aliases.iter().map(|(short, full)| ((*short).to_owned(), (*full).to_owned())).collect();
    let resolved = |text: &str| Reference::resolve(text, &aliases).unwrap().full();
    assert_eq!(resolved("busybox"), "edge:5000/library/busybox:latest");
    assert_eq!(resolved("busybox:1"), "edge:5000/library/busybox:1");
    assert_eq!(resolved(&format!("busybox@{DIGEST}")), format!("edge:5000/library/busybox@{DIGEST}"));
    assert_eq!(resolved("a/b"), "h.example/c:1");
    assert_eq!(resolved("docker://a/b:2"), "h.example/c:2");
    assert_eq!(resolved("docker.io/library/busybox"), "docker.io/library/busybox:latest");
    assert_eq!(resolved("h.example/x"), "h.example/x:latest");
    assert_eq!(resolved("other"), "docker.io/library/other:latest");
}

#[test]
fn a_registry_is_known_by_its_host() {
    for (text, expected) in [
        ("docker.io", "docker.io"),
        ("https://index.docker.io/v1/", "docker.io"),
        ("host:5000", "host:5000"),
        ("http://host:5000/", "host:5000"),
    ] {
        assert_eq!(registry(text).as_deref(), Ok(expected));
    }
    for text in ["", "-x", "a b", "host:port", "https://"] {
        assert!(registry(text).is_err(), "{text:?} was taken for a registry");
    }
}

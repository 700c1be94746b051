//! A signature for one image is not one for another, under every rule.

use super::*;

const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

fn parse(text: &str) -> Result<Identity, Malformed> {
    Identity::parse(Json::parse("policy", text.as_bytes()).unwrap(), "identity")
}

/// Makes sure that `rule` accepts for `image` exactly those of all names that are listed.
#[track_caller]
fn accepts(rule: &str, image: &str, accepted: &[&str]) {
    let pinned = format!("example.com/a/b@{DIGEST}");
    let both = format!("example.com/a/b:1@{DIGEST}");
    let all = [
        "example.com/a/b:1",
        "example.com/a/b:2",
        "example.com/a/b:latest",
        "example.com/a/b",
        &pinned,
        &both,
        "example.com/a/bb:1",
        "example.com/a:1",
        "example.com/a/b/c:1",
        "example.com:5000/a/b:1",
        "mirror.net/a/b:1",
        "a/b:1",
        "busybox",
        "busybox:latest",
        "docker.io/library/busybox:latest",
        "index.docker.io/library/busybox",
        "",
        "!",
        "example.com/a/b:1 ",
        "example.com/a/b:1\n",
        "https://example.com/a/b:1",
    ];
    let identity = parse(rule).unwrap();
    let image: Reference = image.parse().unwrap();
    let found: Vec<&str> = all.into_iter().filter(|signed| identity.accepts(&image, signed)).collect();
    assert_eq!(found, accepted, "{rule} {image}");
}

#[test]
fn exactly_means_exactly() {
    let rule = r#"{"type":"matchExact"}"#;
    let pinned = format!("example.com/a/b@{DIGEST}");
    accepts(rule, "example.com/a/b:1", &["example.com/a/b:1"]);
    accepts(rule, "example.com/a/b", &["example.com/a/b:latest"]);
    accepts(rule, &pinned, &[&pinned]);
    // The tag beside a digest is not what is asked for.
    accepts(rule, &format!("example.com/a/b:1@{DIGEST}"), &[&pinned]);
    accepts(rule, "busybox", &["busybox:latest", "docker.io/library/busybox:latest"]);
}

#[test]
fn a_digest_may_be_signed_under_any_tag_of_its_repository() {
    let rule = r#"{"type":"matchRepoDigestOrExact"}"#;
    let (pinned, both) = (format!("example.com/a/b@{DIGEST}"), format!("example.com/a/b:1@{DIGEST}"));
    accepts(rule, "example.com/a/b:1", &["example.com/a/b:1"]);
    let tags = ["example.com/a/b:1", "example.com/a/b:2", "example.com/a/b:latest", &pinned, &both];
    accepts(rule, &pinned, &tags);
    accepts(rule, &both, &tags);
}

#[test]
fn a_repository_may_be_signed_without_a_tag() {
    let rule = r#"{"type":"matchRepository"}"#;
    let (pinned, both) = (format!("example.com/a/b@{DIGEST}"), format!("example.com/a/b:1@{DIGEST}"));
    let names = ["example.com/a/b:1", "example.com/a/b:2", "example.com/a/b:latest", "example.com/a/b", &pinned, &both];
    accepts(rule, "example.com/a/b:1", &names);
    accepts(rule, &pinned, &names);
    let busybox = ["busybox", "busybox:latest", "docker.io/library/busybox:latest", "index.docker.io/library/busybox"];
    accepts(rule, "docker.io/library/busybox:musl", &busybox);
}

#[test]
fn a_fixed_name_counts_whatever_the_image_is_called() {
    let exact = r#"{"type":"exactReference","dockerReference":"example.com/a/b:1"}"#;
    accepts(exact, "mirror.net/x:9", &["example.com/a/b:1"]);
    accepts(exact, "example.com/a/b:2", &["example.com/a/b:1"]);
    let repository = r#"{"type":"exactRepository","dockerRepository":"busybox"}"#;
    let busybox = ["busybox", "busybox:latest", "docker.io/library/busybox:latest", "index.docker.io/library/busybox"];
    accepts(repository, "mirror.net/x:9", &busybox);
}

#[test]
fn a_mirror_is_signed_under_the_name_of_its_original() {
    let remap = |prefix: &str, signed: &str| {
        format!(r#"{{"type":"remapIdentity","prefix":"{prefix}","signedPrefix":"{signed}"}}"#)
    };
    accepts(&remap("private:5000/mirror", "example.com"), "private:5000/mirror/a/b:1", &["example.com/a/b:1"]);
    accepts(&remap("private:5000", "example.com/a"), "private:5000/b:1", &["example.com/a/b:1"]);
    accepts(&remap("mirror.net/x/y", "example.com/a/b"), "mirror.net/x/y:1", &["example.com/a/b:1"]);
    let (pinned, both) = (format!("example.com/a/b@{DIGEST}"), format!("example.com/a/b:1@{DIGEST}"));
    let tags = ["example.com/a/b:1", "example.com/a/b:2", "example.com/a/b:latest", &pinned, &both];
    accepts(&remap("mirror.net", "example.com"), &format!("mirror.net/a/b@{DIGEST}"), &tags);
    let hub = ["busybox:latest", "docker.io/library/busybox:latest"];
    accepts(&remap("mirror.net/hub", "docker.io"), "mirror.net/hub/library/busybox", &hub);
    accepts(&remap("docker.io/library", "example.com/a"), "b:1", &["example.com/a/b:1"]);
    // What does not begin so keeps its name; half a component is no beginning, nor is a host without its port.
    accepts(&remap("mirror.net/q", "example.com"), "mirror.net/a/b:1", &["mirror.net/a/b:1"]);
    accepts(&remap("mirror.net/a/bb", "example.com/a/b"), "example.com/a/b:1", &["example.com/a/b:1"]);
    accepts(&remap("example.com/a/b", "mirror.net/a"), "example.com/a/bb:1", &["example.com/a/bb:1"]);
    accepts(&remap("example.com", "mirror.net"), "example.com:5000/a/b:1", &["example.com:5000/a/b:1"]);
    // A name that becomes none, or a short one, is no name.
    accepts(&remap("mirror.net/a", "example.com"), "mirror.net/a:1", &[]);
}

#[test]
fn malformed_rules_are_named() {
    for (rule, problem) in [
        ("[]", "Expected an object"),
        ("{}", "\"type\" is missing"),
        (r#"{"type":1}"#, "Expected a text"),
        (r#"{"type":"matchAll"}"#, "not known"),
        (r#"{"type":"matchExact","dockerReference":"a:1"}"#, "\"dockerReference\" is not known"),
        (r#"{"type":"exactReference"}"#, "\"dockerReference\" is missing"),
        (r#"{"type":"exactReference","dockerReference":"example.com/a"}"#, "neither a tag nor a digest"),
        (r#"{"type":"exactReference","dockerReference":"localhost:5000/a"}"#, "neither a tag nor a digest"),
        (r#"{"type":"exactReference","dockerReference":"A"}"#, "not a repository"),
        (r#"{"type":"exactRepository","dockerRepository":""}"#, "empty"),
        (r#"{"type":"exactRepository","dockerRepository":null}"#, "Expected a text"),
        (r#"{"type":"remapIdentity","prefix":"example.com"}"#, "\"signedPrefix\" is missing"),
        (r#"{"type":"remapIdentity","prefix":"","signedPrefix":"example.com"}"#, "beginning of a full name"),
        (r#"{"type":"remapIdentity","prefix":"example.com/a:1","signedPrefix":"b.c"}"#, "beginning of a full name"),
        (r#"{"type":"remapIdentity","prefix":"example.com/","signedPrefix":"b.c"}"#, "beginning of a full name"),
        (r#"{"type":"remapIdentity","prefix":"b.c","signedPrefix":"busybox"}"#, "beginning of a full name"),
    ] {
        let error = parse(rule).unwrap_err().to_string();
        assert!(error.contains(problem), "{rule}: {error}");
    }
}

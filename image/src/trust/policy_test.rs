//! The file: what is taken, what is refused, and which part counts.

use std::fs;

use proptest::prelude::*;

use super::*;

const KEY: &str = "/etc/keys/cosign.pub";

fn problem(text: &str) -> String {
    Policy::parse(text.as_bytes()).unwrap_err().to_string()
}

/// A policy whose default is this one requirement.
fn of(requirement: &str) -> String {
    format!(r#"{{"default":[{requirement}]}}"#)
}

fn single(requirement: &str) -> Requirement {
    let policy = Policy::parse(of(requirement).as_bytes()).unwrap();
    assert_eq!(policy.default.len(), 1);
    policy.default.into_iter().next().unwrap()
}

#[test]
fn the_smallest_policies_are_read() {
    let accept = Policy::parse(of(r#"{"type":"insecureAcceptAnything"}"#).as_bytes()).unwrap();
    assert_eq!(accept, Policy::accept_anything());
    assert_eq!(single(r#"{"type":"reject"}"#), Requirement::Reject);
    let empty =
        r#"{"default":[{"type":"reject"}],"transports":{"docker":{},"docker-daemon":{"":[{"type":"reject"}]}}}"#;
    Policy::parse(empty.as_bytes()).unwrap();
}

#[test]
fn the_example_in_the_documentation_is_a_policy() {
    let page = include_str!("../../../docs/images.md");
    let (_, example) = page.split_once("```json\n").unwrap();
    let (example, _) = example.split_once("```").unwrap();
    let policy = Policy::parse(example.as_bytes()).unwrap();
    policy.check_name(&"busybox".parse().unwrap()).unwrap();
    policy.check_name(&"registry.example.com/team/app".parse().unwrap()).unwrap();
    assert!(policy.check_name(&"registry.example.com/other".parse().unwrap()).is_err());
    policy.check_archive(Transport::DockerArchive, None).unwrap();
    assert!(policy.check_archive(Transport::OciArchive, None).is_err());
}

#[test]
fn every_way_to_name_keys_is_read() {
    use super::super::requirement::Keys;
    for (source, expected) in [
        (format!(r#""keyPath":"{KEY}""#), Keys::Files(vec![KEY.into()])),
        (format!(r#""keyPaths":["{KEY}","/b"]"#), Keys::Files(vec![KEY.into(), "/b".into()])),
        (r#""keyData":"YWJj""#.to_owned(), Keys::Inline(vec![b"abc".to_vec()])),
        (r#""keyDatas":["YWJj","YQ=="]"#.to_owned(), Keys::Inline(vec![b"abc".to_vec(), b"a".to_vec()])),
    ] {
        let found = single(&format!(r#"{{"type":"sigstoreSigned",{source}}}"#));
        let Requirement::Sigstore { keys, .. } = found else { panic!("{found:?}") };
        assert_eq!(keys, expected);
    }
}

#[test]
fn what_cannot_be_checked_is_unsupported_and_not_forgotten() {
    for (requirement, word) in [
        (format!(r#"{{"type":"signedBy","keyType":"GPGKeys","keyPath":"{KEY}"}}"#), "OpenPGP"),
        (r#"{"type":"signedBy","keyType":"X509Certificates","keyData":"YQ=="}"#.to_owned(), "OpenPGP"),
        (
            r#"{"type":"signedBy","keyType":"GPGKeys","keyPaths":["/a","/b"],"signedIdentity":{"type":"matchExact"}}"#
                .to_owned(),
            "OpenPGP",
        ),
        (r#"{"type":"signedBaseLayer","baseLayerIdentity":{"type":"matchExact"}}"#.to_owned(), "signedBaseLayer"),
        (r#"{"type":"sigstoreSigned","fulcio":{"caPath":"/a"},"rekorPublicKeyPath":"/b"}"#.to_owned(), "fulcio"),
        (r#"{"type":"sigstoreSigned","pki":{"caRootsPath":"/a"}}"#.to_owned(), "pki"),
        (format!(r#"{{"type":"sigstoreSigned","keyPath":"{KEY}","rekorPublicKeyData":"YQ=="}}"#), "Rekor"),
    ] {
        let policy = Policy::parse(of(&requirement).as_bytes()).unwrap();
        assert!(matches!(policy.default[0], Requirement::Unsupported(what) if what.contains(word)), "{requirement}");
        let error = policy.check_name(&"busybox".parse().unwrap()).unwrap_err().to_string();
        assert!(error.contains("busybox:latest is refused") && error.contains(word), "{error}");
    }
}

#[test]
fn everything_malformed_is_refused_and_named() {
    let sigstore = |fields: &str| of(&format!(r#"{{"type":"sigstoreSigned"{fields}}}"#));
    let docker = |scopes: &str| format!(r#"{{"default":[{{"type":"reject"}}],"transports":{{"docker":{scopes}}}}}"#);
    for (text, expected) in [
        (String::new(), "policy: EOF"),
        ("null".into(), "Expected an object, found null"),
        ("[]".into(), "Expected an object, found a list"),
        ("{}".into(), "\"default\" is missing"),
        (r#"{"default":{}}"#.into(), "policy.default: Expected a list"),
        (r#"{"default":[]}"#.into(), "The list is empty"),
        (r#"{"default":[[]]}"#.into(), "policy.default[0]: Expected an object"),
        (r#"{"default":[{}]}"#.into(), "\"type\" is missing"),
        (r#"{"default":[{"type":"accept"}]}"#.into(), "policy.default[0].type: \"accept\" is not known"),
        (r#"{"default":[{"type":"reject","x":1}]}"#.into(), "\"x\" is not known"),
        (r#"{"default":[{"type":"reject"}],"Transports":{}}"#.into(), "\"Transports\" is not known"),
        (r#"{"default":[{"type":"reject"}],"default":[{"type":"reject"}]}"#.into(), "\"default\" stands there twice"),
        (r#"{"default":[{"type":"reject","type":"reject"}]}"#.into(), "\"type\" stands there twice"),
        (r#"{"default":[{"type":"reject"}],"transports":null}"#.into(), "policy.transports: Expected an object"),
        (r#"{"default":[{"type":"reject"}]}x"#.into(), "trailing"),
        (docker("[]"), "policy.transports.docker: Expected an object"),
        (docker(r#"{"a.b":[]}"#), "policy.transports.docker.\"a.b\": The list is empty"),
        (docker(r#"{"a.b":[{"type":"reject"}],"a.b":[{"type":"reject"}]}"#), "\"a.b\" stands there twice"),
        (docker(r#"{"busybox":[{"type":"reject"}]}"#), "no full name"),
        (docker(r#"{"A.b":[{"type":"reject"}],"a.b":[{"type":"reject"}]}"#), "\"a.b\" stands there twice"),
        (docker(r#"{"a*.b":[{"type":"reject"}]}"#), "wildcard"),
        (r#"{"default":[{"type":"reject"}],"transports":{"oci":{"a":[{"type":"reject"}]}}}"#.into(), "absolute path"),
        (sigstore(""), "exactly one"),
        (sigstore(r#","keyPath":"/a","keyData":"YQ==""#), "exactly one"),
        (sigstore(r#","keyPath":"/a","fulcio":{}"#), "exactly one"),
        (sigstore(r#","pki":{},"fulcio":{}"#), "exactly one"),
        (sigstore(r#","fulcio":1"#), "Expected an object"),
        (sigstore(r#","keyPath":"""#), "not an absolute path"),
        (sigstore(r#","keyPath":"key.pub""#), "not an absolute path"),
        (sigstore(r#","keyPath":null"#), "Expected a text"),
        (sigstore(r#","keyPaths":[]"#), "The list is empty"),
        (sigstore(r#","keyPaths":"/a""#), "Expected a list"),
        (sigstore(r#","keyPaths":["/a",1]"#), "Expected a text"),
        (sigstore(r#","keyData":"!""#), "not base64"),
        (sigstore(r#","keyDatas":["YQ"]"#), "not base64"),
        (sigstore(r#","keyPath":"/a","keyType":"GPGKeys""#), "\"keyType\" is not known"),
        (sigstore(r#","keyPath":"/a","signedIdentity":{"type":"x"}"#), "signedIdentity.type"),
        (of(r#"{"type":"signedBy","keyPath":"/a"}"#), "\"keyType\" is missing"),
        (of(r#"{"type":"signedBy","keyType":"gpg","keyPath":"/a"}"#), "\"gpg\" is not known"),
        (of(r#"{"type":"signedBy","keyType":"GPGKeys"}"#), "exactly one"),
        (of(r#"{"type":"signedBy","keyType":"GPGKeys","keyDatas":["YQ=="]}"#), "exactly one"),
        (of(r#"{"type":"signedBaseLayer"}"#), "\"baseLayerIdentity\" is missing"),
    ] {
        let found = problem(&text);
        assert!(found.contains(expected), "{text}: {found}");
    }
}

#[test]
fn the_most_specific_scope_counts_alone() {
    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    let scopes = [
        "",
        "*.com",
        "*.example.com",
        "reg.example.com",
        "reg.example.com/team",
        "reg.example.com/team/app",
        "reg.example.com/team/app:1",
    ];
    let entries: Vec<String> = scopes.iter().map(|scope| format!(r#""{scope}":[{{"type":"reject"}}]"#)).collect();
    let pinned = format!(r#""reg.example.com/team/app@{DIGEST}":[{{"type":"reject"}}]"#);
    let text = |entries: &[String]| {
        let entries = entries.join(",");
        format!(r#"{{"default":[{{"type":"reject"}}],"transports":{{"docker":{{{entries}}},"oci":{{}}}}}}"#)
    };
    let rule = |text: &str, name: &str| {
        let policy = Policy::parse(text.as_bytes()).unwrap();
        policy.rule_for(&name.parse().unwrap()).name
    };
    let all = text(&[entries.as_slice(), &[pinned]].concat());
    for (name, expected) in [
        ("reg.example.com/team/app:1", "docker reg.example.com/team/app:1"),
        (&format!("reg.example.com/team/app:1@{DIGEST}"), &format!("docker reg.example.com/team/app@{DIGEST}")),
        ("reg.example.com/team/app:2", "docker reg.example.com/team/app"),
        ("reg.example.com/team/app", "docker reg.example.com/team/app"),
        ("reg.example.com/team/app/part:1", "docker reg.example.com/team/app"),
        ("reg.example.com/team/apple:1", "docker reg.example.com/team"),
        ("reg.example.com/teams/app:1", "docker reg.example.com"),
        ("REG.example.com/team/app:1", "docker reg.example.com/team/app:1"),
        ("reg.example.com:5000/team/app:1", "docker *.example.com"),
        ("other.example.com/team/app:1", "docker *.example.com"),
        ("a.b.example.com/team/app:1", "docker *.example.com"),
        ("example.com/team/app:1", "docker *.com"),
        ("evilexample.com/team/app:1", "docker *.com"),
        ("reg.example.com.evil.net/team/app:1", "all of docker"),
        ("busybox", "all of docker"),
    ] {
        assert_eq!(rule(&all, name), expected, "{name}");
    }
    // One after the other is taken away: what is left is the next more general one.
    for left in (0..=scopes.len()).rev() {
        let expected = match left {
            0 => "everything".to_owned(),
            1 => "all of docker".to_owned(),
            _ => format!("docker {}", scopes[left - 1]),
        };
        assert_eq!(rule(&text(&entries[..left]), "reg.example.com/team/app:1"), expected);
    }
}

#[test]
fn archives_have_rules_of_their_own() {
    let folder = tempfile::tempdir().unwrap();
    let folder_path = folder.path().canonicalize().unwrap();
    let file = folder_path.join("a.tar");
    fs::write(&file, "").unwrap();
    let link = folder_path.join("link.tar");
    std::os::unix::fs::symlink(&file, &link).unwrap();
    let text = format!(
        r#"{{"default":[{{"type":"reject"}}],"transports":{{
            "docker-archive":{{"":[{{"type":"insecureAcceptAnything"}}]}},
            "oci":{{"":[{{"type":"sigstoreSigned","keyData":"{}","signedIdentity":{{"type":"exactRepository","dockerRepository":"a"}}}}]}},
            "oci-archive":{{"{}":[{{"type":"insecureAcceptAnything"}}]}}}}}}"#,
        STANDARD_KEY,
        folder_path.display()
    );
    let policy = Policy::parse(text.as_bytes()).unwrap();
    policy.check_archive(Transport::DockerArchive, None).unwrap();
    policy.check_archive(Transport::DockerArchive, Some(&file)).unwrap();
    policy.check_archive(Transport::OciArchive, Some(&file)).unwrap();
    policy.check_archive(Transport::OciArchive, Some(&link)).unwrap();
    assert!(matches!(policy.check_archive(Transport::OciArchive, None), Err(Error::Rejected { .. })));
    let elsewhere = Path::new("/proc/self/status");
    assert!(matches!(policy.check_archive(Transport::OciArchive, Some(elsewhere)), Err(Error::Rejected { .. })));
    assert!(matches!(policy.check_archive(Transport::Oci, Some(&folder_path)), Err(Error::Unsigned { .. })));
}

/// An Ed25519 key in PEM, in base64.
const STANDARD_KEY: &str = "LS0tLS1CRUdJTiBQVUJMSUMgS0VZLS0tLS0KTUNvd0JRWURLMlZ3QXlFQVBxbHZRK0NJQ3FGOGhmUDB5cEtzK1RJVTlQQytoZ1ZVdUt4UEt1czZqL1k9Ci0tLS0tRU5EIFBVQkxJQyBLRVktLS0tLQo=";

#[test]
fn a_file_that_is_there_and_cannot_be_used_lets_nothing_in() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("policy.json");
    assert!(matches!(Policy::read(Some(&path)), Err(Error::Read { .. })), "a named file must be there");
    assert_eq!(Policy::read_if_there(&path).unwrap(), Policy::accept_anything());
    let link = folder.path().join("link.json");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    assert!(matches!(Policy::read_if_there(&link), Err(Error::Read { .. })), "a link that leads nowhere");
    assert!(matches!(Policy::read_if_there(folder.path()), Err(Error::Read { .. })));
    fs::write(&path, "{").unwrap();
    assert!(matches!(Policy::read_if_there(&link), Err(Error::Policy { .. })));
    assert!(matches!(Policy::read_if_there(&path.join("x")), Err(Error::Read { .. })));
    assert!(matches!(Policy::read(Some(&path)), Err(Error::Policy { .. })));
    fs::write(&path, vec![b' '; (1 << 20) + 1]).unwrap();
    assert!(matches!(Policy::read(Some(&path)), Err(Error::TooLarge(_))));
    assert!(matches!(Policy::read(Some(folder.path())), Err(Error::Read { .. })));
    fs::write(&path, of(r#"{"type":"reject"}"#)).unwrap();
    let policy = Policy::read(Some(&path)).unwrap();
    assert!(matches!(policy.check_name(&"a".parse().unwrap()), Err(Error::Rejected { .. })));
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(Policy::parse(&bytes).is_err());
    }

    #[test]
    fn no_change_makes_it_panic(place in 0..1000_usize, new in any::<char>()) {
        let text = r#"{"default":[{"type":"reject"}],"transports":{"docker":{"*.a.b":[{"type":"sigstoreSigned","keyPath":"/k","signedIdentity":{"type":"remapIdentity","prefix":"a.b","signedPrefix":"c.d/e"}}]},"oci":{"/srv":[{"type":"signedBy","keyType":"GPGKeys","keyData":"YQ=="}]}}}"#;
        let mut text: Vec<char> = text.chars().collect();
        let place = place % text.len();
        text[place] = new;
        let text: String = text.into_iter().collect();
        if let Ok(policy) = Policy::parse(text.as_bytes()) {
            prop_assert!(policy.check_name(&"example.com/app".parse().unwrap()).is_err(), "reject is the default");
        }
    }
}

//! What a configuration says of a host.

use super::*;

fn hosts(text: &str) -> Hosts {
    with(text, None, &[])
}

fn with(text: &str, verify: Option<bool>, folders: &[&Path]) -> Hosts {
    let folders = folders.iter().map(|folder| folder.to_path_buf()).collect();
    Hosts::new(toml::from_str(text).unwrap(), verify, folders)
}

#[test]
fn insecure_hosts_are_named_or_in_a_range_or_this_machine() {
    let hosts = hosts(
        "insecure = ['Edge:5000', 'plain', '10.0.0.0/8', '192.0.2.7']\n\
         mirrors.'docker.io' = [{ location = 'mirror:5000/hub', insecure = true }, { location = 'good:5000' }]",
    );
    for host in ["edge:5000", "plain", "10.1.2.3:5000", "192.0.2.7", "mirror:5000", "localhost:5000", "127.0.0.1"] {
        assert!(hosts.is_insecure(host), "{host}");
    }
    for host in ["edge", "edge:5001", "plain:5000", "11.1.2.3", "good:5000", "docker.io", "10.example"] {
        assert!(!hosts.is_insecure(host), "{host}");
    }
}

#[test]
fn the_word_of_the_moment_counts_more() {
    let hosts = with("insecure = ['edge']", Some(true), &[]);
    assert!(!hosts.is_insecure("edge") && !hosts.is_insecure("localhost"));
    let hosts = with("", Some(false), &[]);
    assert!(hosts.is_insecure("other"));
}

#[test]
fn certificates_are_found_in_folders_and_make_this_machine_one_to_verify() {
    let folder = tempfile::tempdir().unwrap();
    let own = folder.path().join("localhost:5000");
    std::fs::create_dir(&own).unwrap();
    for name in ["ca.crt", "me.cert", "me.key", "notes.txt"] {
        std::fs::write(own.join(name), "").unwrap();
    }
    let hosts = with("", None, &[folder.path()]);
    let files = hosts.files("localhost:5000");
    assert_eq!(files.authorities, [own.join("ca.crt")]);
    assert_eq!(files.client, Some((own.join("me.cert"), own.join("me.key"))));
    assert!(!hosts.is_insecure("localhost:5000") && hosts.is_special("localhost:5000"));
    assert!(hosts.is_insecure("localhost:5001") && !hosts.is_special("other"));
    assert!(hosts.files("..").is_empty() && hosts.files(".").is_empty());
}

#[test]
fn a_certificate_that_is_none_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ca.crt");
    std::fs::write(&path, "nonsense").unwrap();
    let hosts = hosts(&format!("[tls]\nedge = {{ ca = '{}' }}", path.display()));
    assert!(matches!(hosts.trust("edge"), Err(Error::Certificates { path: named, .. }) if named == path));
}

//! The most specific scope comes first.

use super::*;

const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

fn scopes(name: &str) -> Vec<String> {
    of_reference(&name.parse().unwrap())
}

#[test]
fn scopes_go_from_the_image_up_to_the_domain() {
    assert_eq!(
        scopes("registry.example.com:5000/team/app:V1"),
        [
            "registry.example.com:5000/team/app:V1",
            "registry.example.com:5000/team/app",
            "registry.example.com:5000/team",
            "registry.example.com:5000",
            "*.example.com",
            "*.com",
        ]
    );
    assert_eq!(
        scopes("busybox"),
        ["docker.io/library/busybox:latest", "docker.io/library/busybox", "docker.io/library", "docker.io", "*.io"]
    );
    assert_eq!(scopes("localhost/a"), ["localhost/a:latest", "localhost/a", "localhost"]);
    assert_eq!(
        scopes("[fe80::1.2.3.4]:5000/a:1"),
        ["[fe80::1.2.3.4]:5000/a:1", "[fe80::1.2.3.4]:5000/a", "[fe80::1.2.3.4]:5000"]
    );
}

#[test]
fn a_digest_stands_for_its_tag_too() {
    let pinned = format!("docker.io/library/busybox@{DIGEST}");
    assert_eq!(scopes(&format!("busybox:1@{DIGEST}"))[0], pinned);
    assert_eq!(scopes(&format!("busybox@{DIGEST}"))[0], pinned);
}

#[test]
fn host_names_know_no_case() {
    assert_eq!(scopes("EXAMPLE.com/a:B")[0], "example.com/a:B");
    assert_eq!(normal("EXAMPLE.com/a:B"), "example.com/a:B");
    assert_eq!(normal("EXAMPLE.com:5000"), "example.com:5000");
    assert_eq!(normal("*.EXAMPLE.com"), "*.example.com");
}

#[test]
fn files_have_the_folders_above_them() {
    let path = Path::new("/srv/images/a.tar");
    assert_eq!(of_path(Transport::OciArchive, Some(path)), ["/srv/images/a.tar", "/srv/images", "/srv"]);
    assert_eq!(of_path(Transport::Oci, None), [""; 0]);
    assert_eq!(of_path(Transport::DockerArchive, Some(path)), [""; 0]);
}

#[test]
fn scopes_that_could_never_fit_are_refused() {
    for (transport, scope, good) in [
        ("docker", "", true),
        ("docker", "docker.io/library", true),
        ("docker", "docker.io", true),
        ("docker", "localhost", true),
        ("docker", "EXAMPLE.com:5000/a", true),
        ("docker", "docker.io/library/busybox:latest", true),
        ("docker", &format!("docker.io/library/busybox@{DIGEST}"), true),
        ("docker", &format!("docker.io/library/busybox:1@{DIGEST}"), false),
        ("docker", "busybox", false),
        ("docker", "busybox:latest", false),
        ("docker", "library/busybox", false),
        ("docker", "index.docker.io/library/busybox", false),
        ("docker", "docker.io/busybox:latest", false),
        ("docker", "example.com/", false),
        ("docker", "example.com/a//b", false),
        ("docker", "https://example.com", false),
        ("docker", "*.example.com", true),
        ("docker", "example*.*.com", false),
        ("docker", "*", false),
        ("docker", "*.", false),
        ("docker", "*.example.com:5000", false),
        ("docker", "*.example.com/a", false),
        ("docker-archive", "", true),
        ("docker-archive", "/srv", false),
        ("oci", "/srv/images", true),
        ("oci", "/srv/im:ages", true),
        ("oci", "srv", false),
        ("oci", "/", false),
        ("oci", "//", false),
        ("oci", "//srv", false),
        ("oci", "/srv/", false),
        ("oci", "/srv//a", false),
        ("oci", "/srv/./a", false),
        ("oci", "/srv/.", false),
        ("oci-archive", "/srv/../a", false),
        ("oci-archive", "/srv/..a", true),
        ("dir", ".", false),
        ("unheard-of", "whatever * it is", true),
    ] {
        assert_eq!(check(transport, scope, "here").is_ok(), good, "{transport} {scope}");
    }
}

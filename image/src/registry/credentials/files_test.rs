//! Logins are found wherever Docker and Podman leave them.

use super::*;

fn find(text: &str, domain: &str, repository: &str) -> Result<Option<Login>, Error> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.json");
    std::fs::write(&path, text).unwrap();
    Logins::at(&path).find(domain, repository)
}

fn login(text: &str) -> Option<Login> {
    Some(Login::parse(text).unwrap())
}

#[test]
fn logins_are_found_by_registry_in_every_spelling() {
    let text =
        r#"{"auths":{"https://index.docker.io/v1/":{"auth":"dTpw"},"host:5000":{"auth":"YTpiOmM="},"empty":{}}}"#;
    assert_eq!(find(text, "docker.io", "library/busybox").unwrap(), login("u:p"));
    assert_eq!(find(text, "host:5000", "").unwrap(), login("a:b:c"));
    assert_eq!(find(text, "host", "x").unwrap(), None);
    assert_eq!(find(text, "empty", "x").unwrap(), None);
    for key in ["docker.io", "index.docker.io/v1/", "registry-1.docker.io", "https://docker.io"] {
        let text = format!(r#"{{"auths":{{"{key}":{{"auth":"dTpw"}}}}}}"#);
        assert_eq!(find(&text, "docker.io", "a/b").unwrap(), login("u:p"), "{key}");
    }
}

#[test]
fn the_longest_key_that_fits_wins() {
    // "h:p", "n:p" and "r:p".
    let text = r#"{"auths":{"host":{"auth":"aDpw"},"host/name":{"auth":"bjpw"},"host/name/app":{"auth":"cjpw"}}}"#;
    assert_eq!(find(text, "host", "name/app").unwrap(), login("r:p"));
    assert_eq!(find(text, "host", "name/other").unwrap(), login("n:p"));
    assert_eq!(find(text, "host", "named").unwrap(), login("h:p"));
    assert_eq!(find(text, "host", "").unwrap(), login("h:p"));
}

#[test]
fn an_identity_token_counts_more_than_a_password() {
    let text = r#"{"auths":{"h":{"auth":"dTpw","identitytoken":"secret"}}}"#;
    assert_eq!(find(text, "h", "").unwrap(), Some(Login::Token("secret".into())));
}

#[test]
fn a_broken_file_is_an_error_that_names_it_and_an_absent_one_is_not() {
    for text in ["{", r#"{"auths":{"h":{"auth":"%%"}}}"#, r#"{"auths":[]}"#, r#"{"credsStore":"../../bin/sh"}"#] {
        let error = find(text, "h", "").unwrap_err();
        assert!(matches!(&error, Error::Credentials { path, .. } if path.ends_with("config.json")), "{error}");
    }
    assert_eq!(find("", "h", "").unwrap(), None);
    assert_eq!(find(r#"{"auths":null,"credsStore":null}"#, "h", "").unwrap(), None);
    assert_eq!(Logins::at(Path::new("/nonexistent/config.json")).find("h", "").unwrap(), None);
}

/// A folder with a login file and a helper program `docker-credential-test` that runs `script`.
fn with_helper(file: &str, script: &str) -> (tempfile::TempDir, Logins) {
    let folder = tempfile::tempdir().unwrap();
    super::super::write_program(&folder.path().join("docker-credential-test"), script);
    let path = folder.path().join("config.json");
    std::fs::write(&path, file).unwrap();
    let logins = Logins::at(&path).with_programs(folder.path());
    (folder, logins)
}

#[test]
fn helpers_are_asked_and_what_they_do_not_know_is_looked_up() {
    let script = r#"read server; case $1,$server in
        get,host) echo '{"ServerURL":"host","Username":"u","Secret":"p"}';;
        get,https://index.docker.io/v1/) echo '{"Username":"<token>","Secret":"identity"}';;
        *) echo 'credentials not found in native keychain'; exit 1;; esac"#;
    let (_folder, logins) = with_helper(r#"{"credsStore":"test","auths":{"other":{"auth":"dTpw"}}}"#, script);
    assert_eq!(logins.find("host", "x").unwrap(), login("u:p"));
    assert_eq!(logins.find("docker.io", "x").unwrap(), Some(Login::Token("identity".into())));
    assert_eq!(logins.find("other", "x").unwrap(), login("u:p"));
    assert_eq!(logins.find("third", "x").unwrap(), None);
    let (_folder, logins) = with_helper(r#"{"credHelpers":{"host":"test"}}"#, script);
    assert_eq!(logins.find("host", "x").unwrap(), login("u:p"));
    assert_eq!(logins.find("docker.io", "x").unwrap(), None);
}

#[test]
fn a_helper_that_fails_raves_or_is_absent_is_an_error() {
    let file = r#"{"credsStore":"test"}"#;
    let message = |script: &str| {
        let (_folder, logins) = with_helper(file, script);
        let error = logins.find("h", "").unwrap_err();
        format!("{error}: {}", std::error::Error::source(&error).unwrap())
    };
    assert!(message("echo the safe is locked; exit 1").contains("the safe is locked"));
    assert!(message("echo nonsense").contains("protocol"));
    assert!(message("yes").contains("failed"));
    let (_folder, logins) = with_helper(r#"{"credsStore":"absent"}"#, "");
    let error = std::error::Error::source(&logins.find("h", "").unwrap_err()).unwrap().to_string();
    assert!(error.contains("docker-credential-absent"), "{error}");
}

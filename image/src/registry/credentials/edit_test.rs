//! Logins are kept without losing what else is in the file.

use std::os::unix::fs::PermissionsExt;

use super::super::Credentials;
use super::*;

#[test]
fn a_login_is_kept_and_forgotten_and_everything_else_stays() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("deep/config.json");
    let logins = Logins::at(&path);
    let login = Login::parse("me:secret").unwrap();
    assert_eq!(logins.store("host:5000", &login).unwrap(), Place::File(path.clone()));
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(logins.find("host:5000", "x").unwrap(), Some(login.clone()));

    let text =
        r#"{"psFormat":"table","auths":{"index.docker.io/v1/":{"auth":"dTpw","email":"x"},"a/b":{"auth":"dTpw"}}}"#;
    fs::write(&path, text).unwrap();
    logins.store("docker.io", &Login::Token("identity".into())).unwrap();
    logins.store("a", &login).unwrap();
    let document: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    assert_eq!(document["psFormat"], "table");
    let auths = document["auths"].as_object().unwrap();
    assert_eq!(auths.keys().collect::<Vec<_>>(), ["a", "a/b", "https://index.docker.io/v1/"]);
    assert_eq!(logins.find("docker.io", "x").unwrap(), Some(Login::Token("identity".into())));

    assert_eq!(logins.erase("docker.io").unwrap(), Some(Place::File(path.clone())));
    assert_eq!(logins.erase("docker.io").unwrap(), None);
    assert_eq!(logins.find("docker.io", "x").unwrap(), None);
    assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "nothing is left beside");
}

#[test]
fn a_helper_keeps_the_secret_out_of_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let kept = folder.path().join("kept");
    let script = format!("echo $1 >>{0}; cat >>{0}", kept.display());
    super::super::write_program(&folder.path().join("docker-credential-test"), &script);
    let path = folder.path().join("config.json");
    fs::write(&path, r#"{"credHelpers":{"host":"test"}}"#).unwrap();
    let logins = Logins::at(&path).with_programs(folder.path());
    let place = logins.store("host", &Login::parse("me:secret").unwrap()).unwrap();
    assert_eq!(place, Place::Helper("test".into()));
    assert!(!fs::read_to_string(&path).unwrap().contains("auth\""), "{}", fs::read_to_string(&path).unwrap());
    assert_eq!(logins.erase("host").unwrap(), Some(Place::Helper("test".into())));
    let said = fs::read_to_string(&kept).unwrap();
    assert!(said.contains("store") && said.contains(r#""Secret":"secret""#) && said.contains("erase\nhost"), "{said}");
}

#[test]
fn a_file_that_is_not_understood_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.json");
    for text in ["{", "[]", r#"{"auths":7}"#] {
        fs::write(&path, text).unwrap();
        assert!(Logins::at(&path).store("h", &Login::parse("a:b").unwrap()).is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
    }
}

#[test]
fn the_target_of_a_link_is_replaced_and_not_the_link() {
    let folder = tempfile::tempdir().unwrap();
    let (link, target) = (folder.path().join("config.json"), folder.path().join("real.json"));
    fs::write(&target, "{}").unwrap();
    std::os::unix::fs::symlink(&target, &link).unwrap();
    Logins::at(&link).store("h", &Login::parse("a:b").unwrap()).unwrap();
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert!(fs::read_to_string(&target).unwrap().contains("auths"));
}

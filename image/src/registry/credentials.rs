//! Who to be towards a registry.

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::Error;
use crate::manifest::nullable;
use crate::name::normalise_domain;

/// Longest login file read; one written by `docker login` is far shorter.
const MAX_FILE: u64 = 1 << 20;

/// User and password. Never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    /// Name of the user.
    pub user: String,
    /// Password, or a token that stands for one.
    pub password: String,
}

impl Login {
    /// The value of an Authorization header (RFC 7617).
    pub(super) fn basic(&self) -> String {
        format!("Basic {}", STANDARD.encode(format!("{}:{}", self.user, self.password)))
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Login({:?}, ...)", self.user)
    }
}

/// Finds the login for a registry.
pub trait Credentials: Send + Sync {
    /// `domain` is the registry as in an image name: `docker.io`, `host:5000`.
    fn find(&self, domain: &str) -> Result<Option<Login>, Error>;
}

/// Nobody in particular.
pub struct Anonymous;

impl Credentials for Anonymous {
    fn find(&self, _: &str) -> Result<Option<Login>, Error> {
        Ok(None)
    }
}

/// The `auths` of Docker's own login file, read when a registry asks who we are. Its credential helpers, which are
/// programs, are not run.
pub struct DockerConfig {
    path: PathBuf,
}

#[derive(Deserialize)]
struct File {
    #[serde(default, deserialize_with = "nullable")]
    auths: HashMap<String, Entry>,
}

#[derive(Deserialize)]
struct Entry {
    #[serde(default, deserialize_with = "nullable")]
    auth: String,
}

impl DockerConfig {
    /// The file at `path`; it need not exist.
    pub fn at(path: &Path) -> DockerConfig {
        DockerConfig { path: path.to_owned() }
    }

    /// The file where Docker has it: `$DOCKER_CONFIG/config.json`, or `~/.docker/config.json`.
    pub fn of_user() -> DockerConfig {
        let folder = std::env::var_os("DOCKER_CONFIG").map(PathBuf::from);
        let folder = folder.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".docker")));
        DockerConfig { path: folder.unwrap_or_else(|| "/root/.docker".into()).join("config.json") }
    }
}

impl Credentials for DockerConfig {
    fn find(&self, domain: &str) -> Result<Option<Login>, Error> {
        let fail =
            |source: Box<dyn std::error::Error + Send + Sync>| Error::Credentials { path: self.path.clone(), source };
        match std::fs::metadata(&self.path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(fail(error.into())),
            Ok(metadata) if metadata.len() > MAX_FILE => return Err(fail("It is larger than 1 MiB".into())),
            Ok(_) => {}
        }
        let bytes = std::fs::read(&self.path).map_err(|error| fail(error.into()))?;
        let file: File = serde_json::from_slice(&bytes).map_err(|error| fail(error.into()))?;
        let entry = file.auths.iter().find(|(key, entry)| host_of(key) == domain && !entry.auth.is_empty());
        let Some((key, entry)) = entry else { return Ok(None) };
        let bytes = STANDARD.decode(entry.auth.trim()).ok();
        let text = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
        let login = text.as_deref().and_then(|text| text.trim_end_matches('\0').split_once(':'));
        let (user, password) = login.ok_or_else(|| fail(format!("The entry {key:?} is malformed").into()))?;
        Ok(Some(Login { user: user.to_owned(), password: password.to_owned() }))
    }
}

/// Old entries are URLs: `https://HOST/v1/`.
fn host_of(key: &str) -> &str {
    let key = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://")).unwrap_or(key);
    normalise_domain(key.split('/').next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(text: &str, domain: &str) -> Result<Option<Login>, Error> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.json");
        std::fs::write(&path, text).unwrap();
        DockerConfig::at(&path).find(domain)
    }

    #[test]
    fn logins_are_found_by_registry_in_every_spelling() {
        let text =
            r#"{"auths":{"https://index.docker.io/v1/":{"auth":"dTpw"},"host:5000":{"auth":"YTpiOmM="},"empty":{}}}"#;
        let login = |user: &str, password: &str| Some(Login { user: user.into(), password: password.into() });
        assert_eq!(find(text, "docker.io").unwrap(), login("u", "p"));
        assert_eq!(find(text, "host:5000").unwrap(), login("a", "b:c"));
        assert_eq!(find(text, "host").unwrap(), None);
        assert_eq!(find(text, "empty").unwrap(), None);
    }

    #[test]
    fn a_broken_file_is_an_error_and_an_absent_one_is_not() {
        assert!(matches!(find("{", "h"), Err(Error::Credentials { .. })));
        assert!(matches!(find(r#"{"auths":{"h":{"auth":"%%"}}}"#, "h"), Err(Error::Credentials { .. })));
        assert_eq!(DockerConfig::at(Path::new("/nonexistent/config.json")).find("h").unwrap(), None);
    }

    #[test]
    fn a_password_is_not_printed() {
        let login = Login { user: "u".into(), password: "secret".into() };
        assert!(!format!("{login:?}").contains("secret"));
        assert_eq!(login.basic(), "Basic dTpzZWNyZXQ=");
    }
}

//! The login files of Docker and of Podman, which are one format.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::helper::{self, Helper};
use super::{Credentials, Login};
use crate::manifest::nullable;
use crate::name::normalise_domain;
use crate::registry::Error;

/// Longest login file read; one written by `docker login` is far shorter.
const MAX_FILE: u64 = 1 << 20;

/// Login files, and the programs they name; read when a registry asks who we are. What the first of them knows counts.
pub struct Logins {
    paths: Vec<PathBuf>,
    /// Where helper programs are looked for, instead of `$PATH`.
    pub(super) programs: Option<PathBuf>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct File {
    #[serde(default, deserialize_with = "nullable")]
    auths: HashMap<String, Entry>,
    #[serde(default, deserialize_with = "nullable")]
    cred_helpers: HashMap<String, String>,
    #[serde(default, deserialize_with = "nullable")]
    creds_store: String,
}

#[derive(Deserialize)]
struct Entry {
    #[serde(default, deserialize_with = "nullable")]
    auth: String,
    #[serde(default, deserialize_with = "nullable")]
    identitytoken: String,
}

impl Logins {
    /// The file at `path`; it need not exist.
    pub fn at(path: &Path) -> Logins {
        Logins { paths: vec![path.to_owned()], programs: None }
    }

    /// The same with helper programs from this folder only.
    pub fn with_programs(mut self, folder: &Path) -> Logins {
        self.programs = Some(folder.to_owned());
        self
    }

    /// The files where Docker and Podman have them: `$REGISTRY_AUTH_FILE` alone if it is set, or else
    /// `$DOCKER_CONFIG/config.json` or `~/.docker/config.json`, `$XDG_RUNTIME_DIR/containers/auth.json`,
    /// `/run/containers/UID/auth.json` and `~/.config/containers/auth.json`. New logins go to the first.
    pub fn of_user() -> Logins {
        let folder = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        if let Some(path) = folder("REGISTRY_AUTH_FILE") {
            return Logins { paths: vec![path], programs: None };
        }
        let home = folder("HOME").unwrap_or_else(|| "/root".into());
        let mut paths = vec![folder("DOCKER_CONFIG").unwrap_or_else(|| home.join(".docker")).join("config.json")];
        paths.extend(folder("XDG_RUNTIME_DIR").map(|folder| folder.join("containers/auth.json")));
        paths.push(format!("/run/containers/{}/auth.json", nix::unistd::Uid::effective()).into());
        let settings = folder("XDG_CONFIG_HOME").unwrap_or_else(|| home.join(".config"));
        paths.push(settings.join("containers/auth.json"));
        Logins { paths, programs: None }
    }

    /// Where new logins go.
    pub(super) fn main(&self) -> &Path {
        self.paths.first().map_or(Path::new("/root/.docker/config.json"), PathBuf::as_path)
    }

    pub(super) fn helper<'a>(&'a self, name: &'a str, path: &'a Path) -> Helper<'a> {
        Helper { name, folder: self.programs.as_deref(), file: path }
    }
}

impl Credentials for Logins {
    fn find(&self, domain: &str, repository: &str) -> Result<Option<Login>, Error> {
        for path in &self.paths {
            let Some(bytes) = read(path)? else { continue };
            let file = File::parse(&bytes, path)?;
            if let Some(name) = file.helper(domain)
                && let Some(login) = self.helper(name, path).get(&helper::servers(domain))?
            {
                return Ok(Some(login));
            }
            if let Some((key, entry)) = file.entry(domain, repository) {
                return entry.login().map(Some).ok_or_else(|| wrong(path)(format!("The entry {key:?} is malformed")));
            }
        }
        Ok(None)
    }
}

impl File {
    pub(super) fn parse(bytes: &[u8], path: &Path) -> Result<File, Error> {
        serde_json::from_slice(bytes).map_err(wrong(path))
    }

    /// The helper program that keeps the login of a registry.
    pub(super) fn helper(&self, domain: &str) -> Option<&str> {
        let own = self.cred_helpers.iter().find(|(key, _)| host_of(key) == domain).map(|(_, name)| name.as_str());
        own.or(Some(self.creds_store.as_str())).filter(|name| !name.is_empty())
    }

    /// The entry that says most exactly what it is for: `host/namespace/repository` before `host`.
    fn entry(&self, domain: &str, repository: &str) -> Option<(&String, &Entry)> {
        let name = format!("{domain}/{repository}");
        let fits = |key: &str| {
            let wanted = name_of(key);
            let rest = name.strip_prefix(&wanted)?;
            (rest.is_empty() || rest.starts_with('/')).then_some(wanted.len())
        };
        let usable = self.auths.iter().filter(|(_, entry)| !entry.auth.is_empty() || !entry.identitytoken.is_empty());
        let fitting = usable.filter_map(|(key, entry)| Some((fits(key)?, key, entry)));
        fitting.max_by_key(|(length, key, _)| (*length, key.len())).map(|(_, key, entry)| (key, entry))
    }
}

impl Entry {
    fn login(&self) -> Option<Login> {
        if !self.identitytoken.is_empty() {
            return Some(Login::Token(self.identitytoken.clone()));
        }
        let bytes = STANDARD.decode(self.auth.trim()).ok()?;
        let text = String::from_utf8(bytes).ok()?;
        Login::parse(text.trim_end_matches('\0'))
    }
}

/// The content of a login file, if there is one.
pub(super) fn read(path: &Path) -> Result<Option<Vec<u8>>, Error> {
    match std::fs::metadata(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(wrong(path)(error)),
        Ok(metadata) if metadata.len() > MAX_FILE => return Err(wrong(path)("It is larger than 1 MiB")),
        Ok(_) => {}
    }
    let bytes = std::fs::read(path).map_err(wrong(path))?;
    // Made by people who want an empty one.
    Ok(Some(bytes).filter(|bytes| !bytes.trim_ascii().is_empty()))
}

pub(super) fn wrong<E: Into<Box<dyn std::error::Error + Send + Sync>>>(path: &Path) -> impl Fn(E) -> Error {
    move |source| Error::Credentials { path: path.to_owned(), source: source.into() }
}

/// Old entries are URLs: `https://HOST/v1/`.
fn is_url(key: &str) -> bool {
    key.starts_with("https://") || key.starts_with("http://")
}

/// The registry that a key is for.
pub(super) fn host_of(key: &str) -> &str {
    let key = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://")).unwrap_or(key);
    normalise_domain(key.split('/').next().unwrap_or_default())
}

/// The registry, or the part of it, that a key is for.
pub(super) fn name_of(key: &str) -> String {
    if is_url(key) {
        return host_of(key).to_owned();
    }
    let key = key.trim_end_matches('/');
    let (host, rest) = key.split_once('/').unwrap_or((key, ""));
    // `docker.io/v1` is an old spelling of the registry, not a repository.
    match rest {
        "" | "v1" | "v2" => normalise_domain(host).to_owned(),
        rest => format!("{}/{rest}", normalise_domain(host)),
    }
}

#[cfg(test)]
#[path = "files_test.rs"]
mod tests;

//! Keeping and forgetting logins.

use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::files::{File, name_of, read, wrong};
use super::{Login, Logins, helper};
use crate::registry::Error;

/// Where a login is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// In this file, readable by its owner only, but not encrypted.
    File(PathBuf),
    /// By the helper program of this name.
    Helper(String),
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::File(path) => write!(formatter, "{}", path.display()),
            Place::Helper(name) => write!(formatter, "docker-credential-{name}"),
        }
    }
}

impl Logins {
    /// Keeps the login for a registry where the first file says: with a helper program, or in itself.
    pub fn store(&self, domain: &str, login: &Login) -> Result<Place, Error> {
        let path = self.main();
        let (mut document, file) = load(path)?;
        let server = helper::servers(domain).first().copied().unwrap_or(domain);
        let place = match file.helper(domain) {
            Some(name) => {
                self.helper(name, path).store(server, login)?;
                Place::Helper(name.to_owned())
            }
            None => Place::File(path.to_owned()),
        };
        let auths = auths(&mut document, path)?;
        auths.retain(|key, _| name_of(key) != domain);
        let entry = match (&place, login) {
            (Place::Helper(_), _) => json!({}),
            (_, Login::Password { user, password }) => json!({ "auth": STANDARD.encode(format!("{user}:{password}")) }),
            (_, Login::Token(token)) => json!({ "identitytoken": token }),
        };
        auths.insert(server.to_owned(), entry);
        save(path, &document).map_err(wrong(path))?;
        Ok(place)
    }

    /// Forgets the login for a registry; where it was, if it was anywhere.
    pub fn erase(&self, domain: &str) -> Result<Option<Place>, Error> {
        let path = self.main();
        let (mut document, file) = load(path)?;
        let mut place = None;
        if let Some(name) = file.helper(domain) {
            for server in helper::servers(domain) {
                if self.helper(name, path).erase(server)? {
                    place = Some(Place::Helper(name.to_owned()));
                }
            }
        }
        let auths = auths(&mut document, path)?;
        let before = auths.len();
        auths.retain(|key, _| name_of(key) != domain);
        if auths.len() < before {
            save(path, &document).map_err(wrong(path))?;
            place = place.or(Some(Place::File(path.to_owned())));
        }
        Ok(place)
    }
}

fn load(path: &Path) -> Result<(Map<String, Value>, File), Error> {
    let Some(bytes) = read(path)? else { return Ok((Map::new(), File::default())) };
    Ok((serde_json::from_slice(&bytes).map_err(wrong(path))?, File::parse(&bytes, path)?))
}

fn auths<'a>(document: &'a mut Map<String, Value>, path: &Path) -> Result<&'a mut Map<String, Value>, Error> {
    let auths = document.entry("auths").or_insert_with(|| json!({}));
    if auths.is_null() {
        *auths = json!({});
    }
    auths.as_object_mut().ok_or_else(|| wrong(path)("Its \"auths\" is no object"))
}

/// Writes the file beside and puts it in place. Nobody but its owner may read it.
fn save(path: &Path, document: &Map<String, Value>) -> io::Result<()> {
    // What a symbolic link leads to is replaced, not the link.
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let folder = path.parent().unwrap_or(Path::new("/"));
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let beside = path.with_extension(format!("{}.new", std::process::id()));
    let written = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside).and_then(|mut file| {
        file.write_all(&serde_json::to_vec_pretty(document)?)?;
        file.write_all(b"\n")?;
        file.sync_all()
    });
    let done = written.and_then(|()| fs::rename(&beside, &path));
    if done.is_err() {
        // The reason is told; what is left of it matters little.
        let _ = fs::remove_file(&beside);
    }
    done
}

#[cfg(test)]
#[path = "edit_test.rs"]
mod tests;

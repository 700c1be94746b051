//! Volumes: what `-v` says, and where on the host it leads.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use config::Folders;
use serde::{Deserialize, Serialize};

use super::{names, volumes};

/// Most volumes of one container: their descriptors travel to the VMM in one packet, which holds 253 (`SCM_MAX_FD`).
pub(crate) const MOST: usize = 200;

/// A folder or file of the host that a container sees.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Volume {
    /// Its name, if it is one of ours and not just a path of the host.
    pub(crate) name: Option<String>,
    /// Absolute path on the host.
    pub(crate) source: PathBuf,
    /// Absolute path in the container.
    pub(crate) target: String,
    /// Whether the container may only read it; enforced on the host.
    pub(crate) read_only: bool,
}

/// What `-v` says, before anything is looked for or made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    source: Source,
    target: String,
    read_only: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Source {
    Name(String),
    Path(PathBuf),
}

impl Request {
    /// Reads `SOURCE:TARGET[:ro|:rw]`. SOURCE is a name, an absolute path, or a path that begins with `.`.
    pub(crate) fn parse(text: &str) -> Result<Request> {
        let mut parts = text.split(':');
        let (Some(source), Some(target), options, None) = (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            bail!("{text:?} is not a volume: write SOURCE:TARGET or SOURCE:TARGET:ro");
        };
        let source = match source {
            _ if source.starts_with('/') || source == "." || source == ".." => Source::Path(source.into()),
            _ if source.starts_with("./") || source.starts_with("../") => Source::Path(source.into()),
            _ => {
                let hint = "a path has to begin with / or ./";
                names::check(source).with_context(|| format!("The source of volume {text:?} is wrong ({hint})"))?;
                Source::Name(source.to_owned())
            }
        };
        let target = clean(target).with_context(|| format!("The target of volume {text:?} is wrong"))?;
        let mut read_only = false;
        for option in options.unwrap_or_default().split(',').filter(|option| !option.is_empty()) {
            match option {
                "ro" | "readonly" => read_only = true,
                // Labels and propagation ask for nothing in a microVM, which has a kernel of its own.
                "rw" | "z" | "Z" | "private" | "rprivate" => {}
                _ => bail!("The volume {text:?} has an unknown option {option:?}; ro and rw are known"),
            }
        }
        Ok(Request { source, target, read_only })
    }

    /// The volume, its source found, or made if it has a name.
    pub(crate) fn resolve(self, folders: &Folders) -> Result<Volume> {
        let (name, source) = match self.source {
            Source::Path(path) => {
                let source = fs::canonicalize(&path)
                    .with_context(|| format!("The source {} of a volume cannot be used", path.display()))?;
                (None, source)
            }
            Source::Name(name) => {
                let source = volumes::create(folders, Some(&name), BTreeMap::new())?.data;
                (Some(name), source)
            }
        };
        Ok(Volume { name, source, target: self.target, read_only: self.read_only })
    }
}

/// `target` without `.` and doubled slashes; `..` is refused, because what it means depends on symbolic links.
fn clean(target: &str) -> Result<String> {
    ensure!(target.starts_with('/'), "{target:?} is not an absolute path");
    let mut path = String::new();
    for component in Path::new(target).components() {
        match component {
            Component::RootDir | Component::CurDir => {}
            Component::Normal(name) => {
                path.push('/');
                path.push_str(&String::from_utf8_lossy(name.as_bytes()));
            }
            Component::ParentDir | Component::Prefix(_) => bail!("{target:?} has a .. in it"),
        }
    }
    ensure!(!path.is_empty(), "a volume cannot stand in the place of the whole root");
    Ok(path)
}

#[cfg(test)]
#[path = "volume_test.rs"]
mod tests;

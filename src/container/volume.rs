//! Volumes: what `-v` says, and where on the host it leads.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail, ensure};
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
    /// A volume of its own, with a name that nobody gave it.
    New,
}

impl Request {
    /// Reads `SOURCE:TARGET[:ro|:rw]`, or `TARGET` alone. SOURCE is a name, an absolute path, or a path that begins with
    /// `.`; without one the volume is new.
    pub(crate) fn parse(text: &str) -> Result<Request> {
        if text.starts_with('/') && !text.contains(':') {
            let target = clean(text).with_context(|| format!("The target of volume {text:?} is wrong"))?;
            return Ok(Request { source: Source::New, target, read_only: false });
        }
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

    /// Reads `--mount type=bind|volume,source=SOURCE,target=TARGET[,readonly]`, in any order (Docker's reference of
    /// `docker run --mount`).
    pub(crate) fn parse_mount(text: &str) -> Result<Request> {
        let wrong = |what: String| anyhow!("The mount {text:?} is wrong: {what}");
        let (mut kind, mut source, mut target, mut read_only) = ("volume", None, None, false);
        for field in text.split(',') {
            let (key, value) = field.split_once('=').map_or((field, None), |(key, value)| (key, Some(value)));
            match (key, value) {
                ("type", Some(value)) => kind = value,
                ("source" | "src", Some(value)) => source = Some(value),
                ("target" | "dst" | "destination", Some(value)) => target = Some(value),
                ("readonly" | "ro", None | Some("true" | "1")) => read_only = true,
                ("readonly" | "ro", Some("false" | "0")) => read_only = false,
                // Propagation asks for nothing in a microVM, which has a kernel of its own.
                ("bind-propagation" | "consistency", Some(_)) | ("volume-driver", Some("local")) => {}
                _ => return Err(wrong(format!("{field:?} is not known; type, source, target and readonly are"))),
            }
        }
        let target = target.ok_or_else(|| wrong("it has no target=PATH".to_owned()))?;
        let source = match (kind, source) {
            ("bind", Some(path)) if path.starts_with('/') || path.starts_with('.') => Source::Path(path.into()),
            ("bind", _) => return Err(wrong("a bind has a source=PATH that begins with / or .".to_owned())),
            ("volume", None) => Source::New,
            ("volume", Some(name)) => {
                names::check(name).map_err(|error| wrong(format!("{error:#}")))?;
                Source::Name(name.to_owned())
            }
            ("tmpfs", _) => return Err(wrong("a tmpfs cannot be mounted yet; a volume can".to_owned())),
            _ => return Err(wrong(format!("{kind:?} is not a type; bind and volume are"))),
        };
        let target = clean(target).map_err(|error| wrong(format!("{error:#}")))?;
        Ok(Request { source, target, read_only })
    }

    /// Whether the source is there, as far as that can be told without making anything.
    pub(crate) fn check(&self) -> Result<()> {
        if let Source::Path(path) = &self.source { canonical(path).map(drop) } else { Ok(()) }
    }

    /// The volume, its source found, or made if it has a name or is to get one.
    pub(crate) fn resolve(self, folders: &Folders) -> Result<Volume> {
        let (name, source) = match self.source {
            Source::Path(path) => (None, canonical(&path)?),
            Source::Name(name) => {
                let made = volumes::create(folders, Some(&name), BTreeMap::new())?;
                (Some(made.name), made.data)
            }
            Source::New => {
                let made = volumes::create(folders, None, BTreeMap::new())?;
                (Some(made.name), made.data)
            }
        };
        Ok(Volume { name, source, target: self.target, read_only: self.read_only })
    }
}

fn canonical(path: &Path) -> Result<PathBuf> {
    fs::canonicalize(path).with_context(|| format!("The source {} of a volume cannot be used", path.display()))
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

//! All named volumes of this host: made, found, and removed when no container needs them.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, Result, bail};
use config::Folders;
use serde::{Deserialize, Serialize};

use super::record::{sync_folder, timestamp};
use super::volume::Volume;
use super::{catalogue, id, make_private_folder, names};

/// The label of a volume that nobody named, as Docker has it.
pub(crate) const ANONYMOUS: &str = "com.docker.volume.anonymous";
/// Where the data of a volume is, below its own folder.
const DATA: &str = "_data";
/// What is noted of a volume, beside its data.
const NOTE: &str = "volume.json";
/// Longest note that is read: labels are written by people.
const MAX_NOTE: u64 = 1 << 20;
/// What stands before the name of a volume that is being removed; no volume's own name begins so.
const GONE: &str = ".gone-";

/// A named volume.
#[derive(Debug)]
pub(crate) struct Named {
    /// Its name.
    pub(crate) name: String,
    /// Its data.
    pub(crate) data: PathBuf,
    /// When it was made.
    pub(crate) created: SystemTime,
    /// Notes on it.
    pub(crate) labels: BTreeMap<String, String>,
}

/// As it is on disk.
#[derive(Debug, Serialize, Deserialize)]
struct Note {
    #[serde(with = "timestamp")]
    created: SystemTime,
    labels: BTreeMap<String, String>,
}

/// As long as it lives, no volume is removed: for whoever has found one and not recorded yet that a container needs it.
#[derive(Debug)]
pub(crate) struct Hold {
    _folder: File,
}

impl Hold {
    /// Waits until nobody removes volumes.
    pub(crate) fn take(folders: &Folders) -> Result<Hold> {
        let folder = open(folders)?;
        folder.lock_shared().context("Cannot lock the volumes")?;
        Ok(Hold { _folder: folder })
    }
}

fn open(folders: &Folders) -> Result<File> {
    let path = folders.volumes();
    make_private_folder(&path)
        .and_then(|()| File::open(&path))
        .with_context(|| format!("Cannot make the folder {}", path.display()))
}

/// Makes the volume `name`, or one that nobody named, and returns it. One that is there stays as it is.
pub(crate) fn create(folders: &Folders, name: Option<&str>, mut labels: BTreeMap<String, String>) -> Result<Named> {
    let name = match name {
        Some(name) => {
            names::check(name).context("The name of a volume is wrong")?;
            name.to_owned()
        }
        None => {
            labels.insert(ANONYMOUS.to_owned(), String::new());
            id::random().context("Cannot make a name for a volume")?.0
        }
    };
    if let Some(found) = look(folders, &name)? {
        return Ok(found);
    }
    let folder = folders.volumes().join(&name);
    let attempt = || -> io::Result<()> {
        make_private_folder(&folder)?;
        let note = Note { created: SystemTime::now(), labels };
        let beside = folder.join(format!("{NOTE}.new"));
        let mut file = File::create(&beside)?;
        file.write_all(&serde_json::to_vec(&note)?)?;
        file.sync_all()?;
        fs::rename(&beside, folder.join(NOTE))?;
        // The data last: without it there is no volume.
        fs::create_dir_all(folder.join(DATA))?;
        sync_folder(&folder)?;
        sync_folder(&folders.volumes())
    };
    attempt().with_context(|| format!("Cannot create the volume {name}"))?;
    look(folders, &name)?.with_context(|| format!("The volume {name} was removed again meanwhile: try again"))
}

/// The volume of this name; an error if there is none.
pub(crate) fn find(folders: &Folders, name: &str) -> Result<Named> {
    look(folders, name)?.with_context(|| format!("No such volume: {name}"))
}

/// The volume of this name, if there is one.
pub(crate) fn look(folders: &Folders, name: &str) -> Result<Option<Named>> {
    if names::check(name).is_err() {
        return Ok(None);
    }
    let folder = folders.volumes().join(name);
    let data = folder.join(DATA);
    let found = match fs::metadata(&data) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        result => result.with_context(|| format!("Cannot look at the volume {name}"))?,
    };
    // One that was made without a note is as old as its data.
    let note = read_note(&folder.join(NOTE)).unwrap_or_else(|| Note {
        created: found.created().or_else(|_| found.modified()).unwrap_or(SystemTime::UNIX_EPOCH),
        labels: BTreeMap::new(),
    });
    Ok(Some(Named { name: name.to_owned(), data, created: note.created, labels: note.labels }))
}

fn read_note(path: &Path) -> Option<Note> {
    let length = fs::metadata(path).ok()?.len();
    if length > MAX_NOTE {
        return None;
    }
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

/// All volumes, by name.
pub(crate) fn all(folders: &Folders) -> Result<Vec<Named>> {
    let mut volumes = Vec::new();
    for name in entries(folders)? {
        volumes.extend(look(folders, &name)?);
    }
    volumes.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(volumes)
}

fn entries(folders: &Folders) -> Result<Vec<String>> {
    let path = folders.volumes();
    let tried = || format!("Cannot read {}", path.display());
    let entries = match fs::read_dir(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        result => result.with_context(tried)?,
    };
    let mut names = Vec::new();
    for entry in entries {
        names.extend(entry.with_context(tried)?.file_name().into_string());
    }
    Ok(names)
}

/// Who needs which volume: names of volumes, and the ids of containers.
pub(crate) fn users(folders: &Folders) -> Result<BTreeMap<String, Vec<String>>> {
    let mut users: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for container in catalogue::all(folders)? {
        for name in container.record.volumes.into_iter().filter_map(|volume| volume.name) {
            users.entry(name).or_default().push(container.record.id.clone());
        }
    }
    Ok(users)
}

/// Removes a volume that no container needs.
pub(crate) fn remove(folders: &Folders, name: &str) -> Result<()> {
    let folder = open(folders)?;
    folder.lock().context("Cannot lock the volumes")?;
    // Asked under the lock, so that no container comes to need it meanwhile.
    if let Some(ids) = users(folders)?.get(name) {
        bail!("The volume {name} is in use by container {}", ids.join(", "));
    }
    let volume = find(folders, name)?;
    remove_locked(folders, &volume.name)
}

/// Removes those volumes of a container that nobody named and no other container needs. The container is gone.
pub(crate) fn remove_anonymous(folders: &Folders, volumes: &[Volume]) -> Result<()> {
    for name in volumes.iter().filter_map(|volume| volume.name.as_ref()) {
        let Some(volume) = look(folders, name)? else { continue };
        if volume.labels.contains_key(ANONYMOUS) && !users(folders)?.contains_key(name) {
            remove(folders, name)?;
        }
    }
    Ok(())
}

fn remove_locked(folders: &Folders, name: &str) -> Result<()> {
    let gone = folders.volumes().join(format!("{GONE}{name}"));
    // Whole or not at all, even if the power goes.
    fs::rename(folders.volumes().join(name), &gone).with_context(|| format!("Cannot remove the volume {name}"))?;
    for left in entries(folders)?.iter().filter(|name| name.starts_with(GONE)) {
        let left = folders.volumes().join(left);
        fs::remove_dir_all(&left).with_context(|| format!("Cannot remove {}", left.display()))?;
    }
    Ok(())
}

#[cfg(test)]
#[path = "volumes_test.rs"]
mod tests;

//! All containers of this host: made, found by what people call them, told alive from dead, removed.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail, ensure};
use config::Folders;

use super::lock::{self, Lock};
use super::record::{self, Record, State, Status};
use super::{id, make_private_folder, names, process};

/// Exit code of a container that was ended from outside, as by SIGKILL.
pub(crate) const KILLED: u8 = 137;
/// Attempts to find a name that is free.
const NAME_ATTEMPTS: u32 = 100;
/// Files and folders of a container beside its records.
const UPPER: &str = "upper";
const WORK: &str = "work";

/// A container and how it goes, as of now.
#[derive(Debug)]
pub(crate) struct Container {
    /// As it was asked for.
    pub(crate) record: Record,
    /// How it goes; true even if its monitor was killed.
    pub(crate) state: State,
}

/// The folder of container `id`.
pub(crate) fn folder(folders: &Folders, id: &str) -> PathBuf {
    folders.containers().join(id)
}

/// Where the container's root file system is mounted while it is being opened.
pub(crate) fn mount_point(folders: &Folders, id: &str) -> PathBuf {
    folders.container_run(id).join("rootfs")
}

/// The container's own layer of its root file system, and the folder the kernel's overlay file system works in.
pub(crate) fn writable(folder: &Path) -> (PathBuf, PathBuf) {
    (folder.join(UPPER), folder.join(WORK))
}

/// The kernel's messages of the container in `folder`.
pub(crate) fn kernel_log(folder: &Path) -> PathBuf {
    folder.join("kernel.log")
}

/// What monitor and VMM say before they die of what must not happen.
pub(crate) fn messages(folders: &Folders, id: &str) -> PathBuf {
    folders.container_run(id).join("messages")
}

/// A name that is reserved, and the lock of the container that is to have it. Undone if that container is not made.
pub(crate) struct Reservation {
    folders: Folders,
    /// The container's id.
    pub(crate) id: String,
    /// Its name.
    pub(crate) name: String,
    lock: Option<Lock>,
}

impl Reservation {
    /// Reserves `name`, or a generated one, for a new container.
    pub(crate) fn make(folders: &Folders, name: Option<&str>) -> Result<Reservation> {
        let (id, random) = id::random().context("Cannot make a container id")?;
        if let Some(name) = name {
            names::check(name)?;
        }
        let lock = Lock::take(folders, &id)
            .with_context(|| format!("Cannot make {}", folders.container_run(&id).display()))?;
        let mut reservation = Reservation { folders: folders.clone(), id, name: String::new(), lock };
        for attempt in 0..NAME_ATTEMPTS {
            let candidate = name.map_or_else(|| names::generate(random, attempt), str::to_owned);
            match reserve(folders, &candidate, &reservation.id)? {
                None => {
                    reservation.name = candidate;
                    return Ok(reservation);
                }
                Some(other) if name.is_some() => bail!(taken(&candidate, &other)),
                Some(_) => {}
            }
        }
        bail!("No free container name was found; choose one with --name")
    }

    /// Makes the container on disk. From here on it is there, whatever happens.
    pub(crate) fn record(mut self, record: &Record) -> Result<Lock> {
        let folder = folder(&self.folders, &self.id);
        make_private_folder(&folder).with_context(|| format!("Cannot make the folder {}", folder.display()))?;
        record.write(&folder)?;
        if !record.remove {
            for folder in [self.folders.containers(), names_folder(&self.folders)] {
                record::sync_folder(&folder).with_context(|| format!("Cannot sync {}", folder.display()))?;
            }
        }
        self.lock.take().context("The container's lock is gone")
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if self.lock.is_some() {
            let _ = fs::remove_dir_all(folder(&self.folders, &self.id));
            discard(&self.folders, &self.id, &self.name);
        }
    }
}

/// The container that `text` means: a name, an id, or the beginning of an id that is no other's.
pub(crate) fn find(folders: &Folders, text: &str) -> Result<Container> {
    look(folders, text)?.with_context(|| format!("No such container: {text}"))
}

/// As [`find`]; `None` if there is no such container.
pub(crate) fn look(folders: &Folders, text: &str) -> Result<Option<Container>> {
    if names::check(text).is_ok()
        && let Some(id) = owner(folders, text)
        && let Some(container) = load(folders, &id)?
        && container.record.name == text
    {
        return Ok(Some(container));
    }
    if !id::is_prefix(text) {
        return Ok(None);
    }
    let mut matching = ids(folders)?.into_iter().filter(|id| id.starts_with(text));
    let Some(found) = matching.next() else { return Ok(None) };
    ensure!(matching.next().is_none(), "More than one container's id begins with {text}; write more of it");
    load(folders, &found)
}

/// All containers, newest first.
pub(crate) fn all(folders: &Folders) -> Result<Vec<Container>> {
    let mut containers = Vec::new();
    for id in ids(folders)? {
        containers.extend(load(folders, &id)?);
    }
    containers.sort_by_key(|container| std::cmp::Reverse(container.record.created));
    Ok(containers)
}

/// Removes a container that is not running.
pub(crate) fn remove(folders: &Folders, record: &Record) -> Result<()> {
    let Some(lock) = Lock::take(folders, &record.id).context("Cannot take the container's lock")? else {
        bail!("The container {0} is running; stop it first (coracle stop {0}) or use rm -f", record.name);
    };
    remove_locked(folders, record, lock)
}

/// Removes a container whose lock the caller holds.
pub(crate) fn remove_locked(folders: &Folders, record: &Record, lock: Lock) -> Result<()> {
    let folder = folder(folders, &record.id);
    // It may have another name by now.
    let name = Record::read(&folder).ok().flatten().map_or_else(|| record.name.clone(), |record| record.name);
    // Without its record the container is gone, even if the power fails before the rest is.
    ignore_absent(fs::remove_file(folder.join(record::SPEC)))
        .and_then(|()| ignore_absent(fs::remove_dir_all(&folder)))
        .with_context(|| format!("Cannot remove {}", folder.display()))?;
    discard(folders, &record.id, &name);
    drop(lock);
    Ok(())
}

/// Lets go of a container that stays and does not run.
pub(crate) fn rest(folders: &Folders, id: &str, lock: Lock) {
    remove_run_folder(folders, id);
    drop(lock);
}

/// Gives a container another name. One that runs goes on; its processes on the host keep the old name.
pub(crate) fn rename(folders: &Folders, record: &Record, name: &str) -> Result<()> {
    names::check(name)?;
    let folder = folder(folders, &record.id);
    let _guard = names_guard(&folder).with_context(|| format!("Cannot lock the container {}", record.name))?;
    // Read again: until the guard was ours, others may have been at work.
    let Some(mut record) = Record::read(&folder)? else { bail!("No such container: {}", record.name) };
    ensure!(record.name != name, "The container is called {name} already");
    if let Some(other) = reserve(folders, name, &record.id)? {
        bail!(taken(name, &other));
    }
    let old = std::mem::replace(&mut record.name, name.to_owned());
    if let Err(error) = record.write(&folder) {
        free(folders, name, Some(&record.id)).with_context(|| format!("Cannot free the name {name}"))?;
        return Err(error);
    }
    free(folders, &old, Some(&record.id)).with_context(|| format!("Cannot free the name {old}"))?;
    let names = names_folder(folders);
    record::sync_folder(&names).with_context(|| format!("Cannot sync {}", names.display()))
}

/// Held while a container gets another name.
fn names_guard(folder: &Path) -> io::Result<fs::File> {
    let file = fs::File::open(folder)?;
    file.lock()?;
    Ok(file)
}

fn taken(name: &str, other: &str) -> anyhow::Error {
    anyhow!(
        "The name {name} is taken by container {}; remove or rename that one (coracle rm {name}) or choose another name",
        id::short(other)
    )
}

/// Whether container `id` is called `name`, or is about to be. A name can be left over from a container that was to be
/// given another one when the power went.
fn has_name(folders: &Folders, id: &str, name: &str) -> Result<bool> {
    let Some(container) = load(folders, id)? else { return is_alive(folders, id) };
    if container.record.name == name {
        return Ok(true);
    }
    let folder = folder(folders, id);
    let tried = || format!("Cannot lock the container {}", container.record.name);
    let _guard = match names_guard(&folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        result => result.with_context(tried)?,
    };
    Ok(Record::read(&folder)?.is_some_and(|record| record.name == name))
}

/// Whether the monitor of container `id` lives.
pub(crate) fn is_alive(folders: &Folders, id: &str) -> Result<bool> {
    lock::is_held(folders, id).with_context(|| format!("Cannot tell whether container {} lives", id::short(id)))
}

/// Reads container `id`. What a monitor that was killed left behind is swept; `None` if nothing remains.
fn load(folders: &Folders, id: &str) -> Result<Option<Container>> {
    let folder = folder(folders, id);
    if let Some(record) = Record::read(&folder)? {
        let state = Record::read_state(&folder)?;
        let settled = match state.as_ref().map(|state| state.status) {
            Some(Status::Created) => true,
            Some(Status::Exited) => !record.remove,
            Some(Status::Running) | None => false,
        };
        if settled || is_alive(folders, id)? {
            return Ok(Some(Container { record, state: state.unwrap_or_else(State::created) }));
        }
    } else if is_alive(folders, id)? {
        return Ok(None);
    }
    sweep(folders, id, &folder)
}

/// Sets right what nobody looks after any more.
fn sweep(folders: &Folders, id: &str, folder: &Path) -> Result<Option<Container>> {
    let Some(lock) = Lock::take(folders, id).context("Cannot take the container's lock")? else {
        return Ok(None);
    };
    // Read again: until the lock was ours, others may have been at work.
    let Some(record) = Record::read(folder)? else {
        ignore_absent(fs::remove_dir_all(folder))
            .with_context(|| format!("Cannot remove the unfinished container {}", folder.display()))?;
        discard(folders, id, "");
        return Ok(None);
    };
    let state = Record::read_state(folder)?;
    if let Some(state) = state.as_ref().filter(|state| state.status == Status::Created) {
        let state = state.clone();
        rest(folders, id, lock);
        return Ok(Some(Container { record, state }));
    }
    let state = state.unwrap_or_else(State::created);
    if record.remove {
        remove_locked(folders, &record, lock)?;
        return Ok(None);
    }
    let mut state = state;
    if state.status != Status::Exited {
        // It is killed with its monitor, and may write to the container's root until then.
        process::await_end(state.pid, id).context("The container's microVM does not end")?;
        let error = format!("The container's monitor was killed, or the host went down{}", last_words(folders, id));
        state = state.exited(KILLED, error);
        record.write_state(folder, &state)?;
    }
    sweep_run_folder(folders, id);
    drop(lock);
    Ok(Some(Container { record, state }))
}

/// The last line that monitor or VMM said, in brackets; empty if they said nothing.
pub(crate) fn last_words(folders: &Folders, id: &str) -> String {
    let text = fs::read(messages(folders, id)).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    // The standard library ends what it says of a panic with a note on how to see more.
    let says_something = |line: &&str| !line.trim().is_empty() && !line.starts_with("note: ");
    text.lines().rev().find(says_something).map_or(String::new(), |line| format!(" ({})", line.trim()))
}

/// Removes what a container has in the run-time folder.
pub(crate) fn remove_run_folder(folders: &Folders, id: &str) {
    // It is on a tmpfs and empty of value: what cannot be removed now is swept later.
    let _ = fs::remove_dir_all(folders.container_run(id));
}

/// As [`remove_run_folder`], for a container whose monitor may have been killed with the root still mounted there:
/// what is mounted must not be emptied.
fn sweep_run_folder(folders: &Folders, id: &str) {
    if image::rootfs::unmount_rootfs(&mount_point(folders, id)).is_ok() {
        remove_run_folder(folders, id);
    }
}

fn ids(folders: &Folders) -> Result<Vec<String>> {
    let path = folders.containers();
    let tried = || format!("Cannot read {}", path.display());
    let entries = match fs::read_dir(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        result => result.with_context(tried)?,
    };
    let mut ids = Vec::new();
    for entry in entries {
        let name = entry.with_context(tried)?.file_name();
        ids.extend(name.into_string().ok().filter(|name| name.len() == id::LENGTH && id::is_prefix(name)));
    }
    Ok(ids)
}

/// Where names are reserved: a symbolic link each, from the name to the id. Making one is atomic.
fn names_folder(folders: &Folders) -> PathBuf {
    folders.root().join("names")
}

fn owner(folders: &Folders, name: &str) -> Option<String> {
    fs::read_link(names_folder(folders).join(name)).ok()?.into_os_string().into_string().ok()
}

/// Reserves `name` for `id`; the id that has it, if another one does.
fn reserve(folders: &Folders, name: &str, id: &str) -> Result<Option<String>> {
    let link = names_folder(folders).join(name);
    loop {
        let error = match std::os::unix::fs::symlink(id, &link) {
            Ok(()) => return Ok(None),
            Err(error) => error,
        };
        match error.kind() {
            io::ErrorKind::AlreadyExists => {}
            io::ErrorKind::NotFound => {
                let folder = names_folder(folders);
                make_private_folder(&folder).with_context(|| format!("Cannot make the folder {}", folder.display()))?;
                continue;
            }
            _ => return Err(error).with_context(|| format!("Cannot reserve the name {name}")),
        }
        match owner(folders, name) {
            // Only a rename reserves a name for a container that is there: whoever renames holds the guard.
            Some(other) if other != id && has_name(folders, &other, name)? => return Ok(Some(other)),
            stale => free(folders, name, stale.as_deref()).with_context(|| format!("Cannot free the name {name}"))?,
        }
    }
}

/// Frees a name that is left over from a container that was never finished or is gone. `stale` is who was seen to have
/// it; under the lock it is made sure that nobody else has got it meanwhile.
fn free(folders: &Folders, name: &str, stale: Option<&str>) -> io::Result<()> {
    let folder = fs::File::open(names_folder(folders))?;
    folder.lock()?;
    if owner(folders, name).as_deref() == stale {
        ignore_absent(fs::remove_file(names_folder(folders).join(name)))?;
    }
    Ok(())
}

/// Removes all traces of container `id` but its folder.
fn discard(folders: &Folders, id: &str, name: &str) {
    if !name.is_empty() && owner(folders, name).is_some_and(|owner| owner == id) {
        let _ = fs::remove_file(names_folder(folders).join(name));
    }
    sweep_run_folder(folders, id);
}

fn ignore_absent(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(test)]
#[path = "catalogue_test.rs"]
mod tests;

//! What is recorded of a container: `spec.json`, of which only the name ever changes, and `state.json`, which says how
//! it goes.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, Result, ensure};
use config::wire::Process;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::log::Limits;
use super::volume::Volume;

/// Name of the file that says what it is.
pub(crate) const SPEC: &str = "spec.json";
/// Name of the file that says how it goes.
const STATE: &str = "state.json";
/// Largest record: arguments and environment are limited by Linux to 2 MiB, and JSON can make six bytes of one.
const MAX: u64 = 16 << 20;

/// A container as it was asked for: the user's request joined with the image's config.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Record {
    /// 64 hexadecimal digits.
    pub(crate) id: String,
    /// Given or generated.
    pub(crate) name: String,
    /// The image as the user wrote it.
    pub(crate) image: String,
    /// Digest of the image.
    pub(crate) image_id: String,
    /// Digests of the image's uncompressed layers, lowest first.
    pub(crate) layers: Vec<String>,
    /// When it was made.
    #[serde(with = "timestamp")]
    pub(crate) created: SystemTime,
    /// Host name.
    pub(crate) hostname: String,
    /// The process.
    pub(crate) process: Process,
    /// Standard input ends when the first who was attached to it ends it.
    pub(crate) stdin_once: bool,
    /// Folders and files of the host that it sees.
    pub(crate) volumes: Vec<Volume>,
    /// Guest memory in bytes.
    pub(crate) memory: u64,
    /// Processors.
    pub(crate) vcpus: u8,
    /// A kernel other than the embedded one.
    pub(crate) kernel: Option<PathBuf>,
    /// Linux signal number that asks it to end.
    pub(crate) stop_signal: i32,
    /// Removed when it ends (`--rm`). Such a container is not meant to survive a power cut, so nothing waits for
    /// its records to reach the disk.
    pub(crate) remove: bool,
    /// The image's labels, with `--label` over them.
    #[serde(default)]
    pub(crate) labels: BTreeMap<String, String>,
    /// How many of the process's arguments are its entrypoint.
    #[serde(default)]
    pub(crate) entrypoint: usize,
    /// How long its log may become.
    #[serde(default)]
    pub(crate) log: Limits,
}

/// How a container goes. One without `state.json` is being made, or is one with `remove` that is being started.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct State {
    /// Where it is in its life.
    pub(crate) status: Status,
    /// When its process was started.
    #[serde(with = "timestamp::option", default)]
    pub(crate) started: Option<SystemTime>,
    /// When it ended.
    #[serde(with = "timestamp::option", default)]
    pub(crate) finished: Option<SystemTime>,
    /// Process id of its VMM on the host while it runs; else 0.
    #[serde(default)]
    pub(crate) pid: u32,
    /// The exit code; 0 before there is one.
    pub(crate) exit_code: u8,
    /// What went wrong, if it was not the process itself.
    #[serde(default)]
    pub(crate) error: String,
}

/// Where a container is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Status {
    /// Recorded, not started yet.
    Created,
    /// Its process runs.
    Running,
    /// It is over.
    Exited,
}

impl State {
    /// The state of a container that has not been started.
    pub(crate) fn created() -> State {
        State { status: Status::Created, started: None, finished: None, pid: 0, exit_code: 0, error: String::new() }
    }

    /// The state of a container whose process runs from now on in the VMM that is process `pid`.
    pub(crate) fn running(pid: u32) -> State {
        State { status: Status::Running, started: Some(SystemTime::now()), pid, ..State::created() }
    }

    /// This state, ended now.
    pub(crate) fn exited(self, exit_code: u8, error: String) -> State {
        State { status: Status::Exited, finished: Some(SystemTime::now()), pid: 0, exit_code, error, ..self }
    }
}

impl Record {
    /// Reads the record in a container's `folder`; `None` if it was never completed.
    pub(crate) fn read(folder: &Path) -> Result<Option<Record>> {
        read(&folder.join(SPEC))
    }

    /// Writes the record; it is the last file of a container to be made.
    pub(crate) fn write(&self, folder: &Path) -> Result<()> {
        write(folder, SPEC, self, !self.remove)
    }

    /// Reads the state beside the record; `None` if there is none yet.
    pub(crate) fn read_state(folder: &Path) -> Result<Option<State>> {
        read(&folder.join(STATE))
    }

    /// Makes the container one whose end nobody has to record: what is left of it is swept.
    pub(crate) fn remove_state(folder: &Path) -> Result<()> {
        let path = folder.join(STATE);
        match fs::remove_file(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            result => result.with_context(|| format!("Cannot remove {}", path.display())),
        }
    }

    /// Writes the state beside the record.
    pub(crate) fn write_state(&self, folder: &Path, state: &State) -> Result<()> {
        write(folder, STATE, state, !self.remove)
    }
}

fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    let tried = || format!("Cannot read {}", path.display());
    let bytes = match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        result => result.with_context(tried)?,
    };
    ensure!(bytes.len() as u64 <= MAX, "The record {} is too large to be one of ours", path.display());
    serde_json::from_slice(&bytes).map(Some).with_context(tried)
}

/// Writes beside, then renames; `durable` also waits until the disk has it.
fn write<T: Serialize>(folder: &Path, name: &str, value: &T, durable: bool) -> Result<()> {
    let path = folder.join(name);
    let beside = folder.join(format!("{name}.new"));
    let attempt = || -> io::Result<()> {
        let mut file = File::create(&beside)?;
        file.write_all(&serde_json::to_vec(value)?)?;
        if durable {
            file.sync_all()?;
        }
        fs::rename(&beside, &path)?;
        if durable { sync_folder(folder) } else { Ok(()) }
    };
    attempt().with_context(|| format!("Cannot write {}", path.display()))
}

/// Waits until the disk has the names in `folder`.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Points in time as RFC 3339 text.
pub(crate) mod timestamp {
    use std::time::SystemTime;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(time: &SystemTime, output: S) -> Result<S::Ok, S::Error> {
        output.collect_str(&humantime::format_rfc3339_nanos(*time))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(input: D) -> Result<SystemTime, D::Error> {
        let text = String::deserialize(input)?;
        humantime::parse_rfc3339(&text).map_err(serde::de::Error::custom)
    }

    pub(crate) mod option {
        use std::time::SystemTime;

        use serde::{Deserialize, Deserializer, Serializer};

        pub(crate) fn serialize<S: Serializer>(time: &Option<SystemTime>, output: S) -> Result<S::Ok, S::Error> {
            match time {
                Some(time) => super::serialize(time, output),
                None => output.serialize_none(),
            }
        }

        pub(crate) fn deserialize<'de, D: Deserializer<'de>>(input: D) -> Result<Option<SystemTime>, D::Error> {
            let text: Option<String> = Option::deserialize(input)?;
            text.map(|text| humantime::parse_rfc3339(&text).map_err(serde::de::Error::custom)).transpose()
        }
    }
}

//! A container as Docker's `inspect` describes it (Docker Engine API, ContainerInspect).

use std::path::PathBuf;
use std::time::SystemTime;

use config::Folders;
use serde::Serialize;
use serde_json::{Value, json};

use crate::container::catalogue::{self, Container};
use crate::container::log;
use crate::container::record::{Record, State, Status};
use crate::container::volume::Volume;

/// What Go says of a time that never was.
const NEVER: &str = "0001-01-01T00:00:00Z";
/// Docker counts processors in billionths.
const NANO: u64 = 1_000_000_000;

/// All that is known of a container, in Docker's order.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Description {
    id: String,
    created: String,
    path: Option<String>,
    args: Vec<String>,
    state: Value,
    image: String,
    log_path: PathBuf,
    name: String,
    restart_count: u32,
    driver: &'static str,
    platform: &'static str,
    host_config: Value,
    graph_driver: Value,
    mounts: Vec<Value>,
    config: Value,
}

/// Describes a container.
pub(super) fn describe(folders: &Folders, container: &Container) -> Description {
    let Container { record, state } = container;
    let folder = catalogue::folder(folders, &record.id);
    let (upper, work) = catalogue::writable(&folder);
    let mut arguments = record.process.arguments.iter().cloned();
    Description {
        id: record.id.clone(),
        created: time(Some(record.created)),
        path: arguments.next(),
        args: arguments.collect(),
        state: state_of(state),
        image: record.image_id.clone(),
        log_path: log::path(&folder),
        name: format!("/{}", record.name),
        restart_count: 0,
        driver: "overlay",
        platform: "linux",
        host_config: host_config(record),
        graph_driver: json!({ "Name": "overlay", "Data": { "UpperDir": upper, "WorkDir": work } }),
        mounts: record.volumes.iter().map(mount).collect(),
        config: config(record),
    }
}

fn state_of(state: &State) -> Value {
    json!({
        "Status": state.status,
        "Running": state.status == Status::Running,
        "Paused": false,
        "Restarting": false,
        "OOMKilled": false,
        "Dead": false,
        "Pid": state.pid,
        "ExitCode": state.exit_code,
        "Error": state.error,
        "StartedAt": time(state.started),
        "FinishedAt": time(state.finished),
    })
}

fn host_config(record: &Record) -> Value {
    json!({
        "Binds": record.volumes.iter().map(bind).collect::<Vec<_>>(),
        "LogConfig": {
            "Type": "json-file",
            "Config": { "max-size": record.log.size.to_string(), "max-file": record.log.files.to_string() },
        },
        "RestartPolicy": { "Name": "no", "MaximumRetryCount": 0 },
        "AutoRemove": record.remove,
        "Memory": record.memory,
        "NanoCpus": u64::from(record.vcpus).saturating_mul(NANO),
    })
}

fn config(record: &Record) -> Value {
    let process = &record.process;
    // A record is a file, and says whatever it was made to say.
    let (entrypoint, command) = process.arguments.split_at_checked(record.entrypoint).unwrap_or_default();
    json!({
        "Hostname": record.hostname,
        "User": process.user,
        "AttachStdin": record.stdin_once,
        "Tty": process.terminal.is_some(),
        "OpenStdin": process.stdin,
        "StdinOnce": record.stdin_once,
        "Env": process.environment,
        "Cmd": some(command),
        "Image": record.image,
        "WorkingDir": process.working_directory,
        "Entrypoint": some(entrypoint),
        "Labels": record.labels,
        "StopSignal": record.stop_signal.to_string(),
    })
}

/// Docker has null where there are no words.
fn some(words: &[String]) -> Option<&[String]> {
    if words.is_empty() { None } else { Some(words) }
}

fn bind(volume: &Volume) -> String {
    let source = volume.name.clone().unwrap_or_else(|| volume.source.display().to_string());
    let mode = if volume.read_only { ":ro" } else { "" };
    format!("{source}:{}{mode}", volume.target)
}

fn mount(volume: &Volume) -> Value {
    let mut mount = json!({
        "Type": if volume.name.is_some() { "volume" } else { "bind" },
        "Source": volume.source.display().to_string(),
        "Destination": volume.target,
        "Mode": if volume.read_only { "ro" } else { "" },
        "RW": !volume.read_only,
        "Propagation": "",
    });
    if let (Some(name), Some(fields)) = (&volume.name, mount.as_object_mut()) {
        fields.insert("Name".to_owned(), json!(name));
        fields.insert("Driver".to_owned(), json!("local"));
    }
    mount
}

fn time(time: Option<SystemTime>) -> String {
    time.map_or_else(|| NEVER.to_owned(), |time| humantime::format_rfc3339_nanos(time).to_string())
}

#[cfg(test)]
mod tests {
    use config::wire::Process;

    use super::*;

    fn container() -> Container {
        let words = |text: &str| text.split(' ').map(str::to_owned).collect();
        let volume = |name: Option<&str>, source: &str, read_only| Volume {
            name: name.map(str::to_owned),
            source: PathBuf::from(source),
            target: "/data".into(),
            read_only,
        };
        let record = Record {
            id: "a".repeat(64),
            name: "web".into(),
            image: "busybox".into(),
            image_id: "sha256:0".into(),
            layers: Vec::new(),
            created: SystemTime::UNIX_EPOCH,
            hostname: "boat".into(),
            process: Process { arguments: words("entry -x serve"), stdin: true, ..Process::default() },
            stdin_once: true,
            volumes: vec![volume(Some("kept"), "/v/kept/_data", true), volume(None, "/srv", false)],
            memory: 1 << 28,
            vcpus: 2,
            kernel: None,
            stop_signal: 15,
            remove: false,
            labels: [("a".to_owned(), "b".to_owned())].into(),
            entrypoint: 2,
            log: Default::default(),
        };
        Container { record, state: State::created() }
    }

    fn described(container: &Container) -> Value {
        serde_json::to_value(describe(&Folders::new(Some("/root".into()), Some("/run".into())), container)).unwrap()
    }

    #[test]
    fn a_container_is_described_in_dockers_words() {
        let mut container = container();
        let value = described(&container);
        assert_eq!(
            (&value["Name"], &value["Path"], &value["Args"]),
            (&json!("/web"), &json!("entry"), &json!(["-x", "serve"]))
        );
        assert_eq!(value["State"]["Status"], "created");
        assert_eq!(value["State"]["StartedAt"], NEVER);
        assert_eq!(value["Created"], "1970-01-01T00:00:00.000000000Z");
        assert_eq!(value["Config"]["Entrypoint"], json!(["entry", "-x"]));
        assert_eq!(value["Config"]["Cmd"], json!(["serve"]));
        assert_eq!(value["Config"]["Labels"]["a"], "b");
        assert_eq!(value["HostConfig"]["NanoCpus"], 2 * NANO);
        assert_eq!(value["HostConfig"]["Binds"], json!(["kept:/data:ro", "/srv:/data"]));
        assert_eq!((&value["Mounts"][0]["Type"], &value["Mounts"][0]["RW"]), (&json!("volume"), &json!(false)));
        assert_eq!((&value["Mounts"][1]["Type"], value["Mounts"][1].get("Name")), (&json!("bind"), None));
        container.state = State::running(77);
        assert_eq!(
            (&described(&container)["State"]["Running"], &described(&container)["State"]["Pid"]),
            (&json!(true), &json!(77))
        );
        container.state = container.state.exited(3, "why".into());
        let state = &described(&container)["State"];
        assert_eq!((&state["ExitCode"], &state["Error"], &state["Pid"]), (&json!(3), &json!("why"), &json!(0)));
    }

    #[test]
    fn a_record_with_a_wrong_number_of_words_is_no_disaster() {
        let mut container = container();
        container.record.entrypoint = 7;
        assert_eq!(described(&container)["Config"]["Cmd"], Value::Null);
    }
}

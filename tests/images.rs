//! The whole program and a real registry: what is pulled, pushed, and gone on with after a kill.
//!
//! No container runs here, so these tests need no lab.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

#[path = "../image/tests/support/debian.rs"]
#[allow(dead_code, unreachable_pub, missing_docs, reason = "other tests use the rest")]
mod debian;
mod valve;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use debian::Debian;
use image::Digest;
use serde_json::{Value, json};
use tempfile::TempDir;
use valve::Valve;

/// Bytes of the large layer; noise, so that it is as large when it is compressed.
const LARGE: usize = 48 << 20;

/// A folder for the store and what belongs to it.
struct Host {
    folder: TempDir,
}

impl Host {
    fn new() -> Host {
        Host { folder: tempfile::tempdir().unwrap() }
    }

    fn root(&self) -> PathBuf {
        self.folder.path().join("root")
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_coracle"));
        command.arg("--root").arg(self.root()).arg("--run").arg(self.folder.path().join("run"));
        command.args(arguments).env("HOME", self.folder.path()).env_remove("DOCKER_CONFIG");
        command
    }

    fn try_run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// What a command that succeeds prints.
    #[track_caller]
    fn run(&self, arguments: &[&str]) -> String {
        let output = self.try_run(arguments);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert!(output.status.success(), "{arguments:?}: {}{}", text(&output.stdout), text(&output.stderr));
        text(&output.stdout).trim_end().to_owned()
    }
}

/// An OCI layout with one image of a small and a large layer, called `NAME`.
fn layout(folder: &Path, name: &str) -> PathBuf {
    let layout = folder.join("layout");
    fs::create_dir_all(layout.join("blobs/sha256")).unwrap();
    let tree = folder.join("tree");
    fs::create_dir_all(&tree).unwrap();
    let mut layers = Vec::new();
    let mut diff_ids = Vec::new();
    for (file, bytes) in [("small", b"small\n".to_vec()), ("large", noise(LARGE))] {
        fs::write(tree.join(file), bytes).unwrap();
        let tar = folder.join("layer.tar");
        let made = Command::new("tar").arg("-C").arg(&tree).arg("-cf").arg(&tar).arg(file).status().unwrap();
        assert!(made.success());
        diff_ids.push(Digest::of(&fs::read(&tar).unwrap()));
        let zipped = Command::new("gzip").args(["-1", "-n", "-c"]).arg(&tar).output().unwrap().stdout;
        layers.push(blob(&layout, "application/vnd.oci.image.layer.v1.tar+gzip", &zipped));
    }
    let config = json!({ "architecture": "amd64", "os": "linux", "config": { "Cmd": ["/small"] },
        "rootfs": { "type": "layers", "diff_ids": diff_ids } });
    let config = blob(&layout, "application/vnd.oci.image.config.v1+json", config.to_string().as_bytes());
    let kind = "application/vnd.oci.image.manifest.v1+json";
    let manifest = json!({ "schemaVersion": 2, "mediaType": kind, "config": config, "layers": layers });
    let mut entry = blob(&layout, kind, manifest.to_string().as_bytes());
    entry["annotations"] = json!({ "org.opencontainers.image.ref.name": name });
    fs::write(layout.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
    let index = json!({ "schemaVersion": 2, "manifests": [entry] });
    fs::write(layout.join("index.json"), index.to_string()).unwrap();
    layout
}

fn blob(layout: &Path, kind: &str, bytes: &[u8]) -> Value {
    let digest = Digest::of(bytes);
    fs::write(layout.join("blobs/sha256").join(digest.hex()), bytes).unwrap();
    json!({ "mediaType": kind, "digest": digest, "size": bytes.len() })
}

/// Bytes that do not compress, always the same.
fn noise(length: usize) -> Vec<u8> {
    let mut state: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// A registry that has the image as `app:1`, put there by this program.
fn registry_with_image() -> Debian {
    let (registry, host) = (Debian::start(), Host::new());
    let name = format!("{}/app:1", registry.host());
    let layout = layout(host.folder.path(), &name);
    host.run(&["load", "-q", "-i", layout.to_str().unwrap()]);
    host.run(&["push", "-q", &name]);
    registry
}

#[test]
fn a_pull_that_is_killed_is_gone_on_with_by_the_next() {
    let registry = registry_with_image();
    // The registry is behind a valve that closes in the middle of the large layer.
    let valve = Valve::before(registry.port);
    let name = format!("127.0.0.1:{}/app:1", valve.port());
    let host = Host::new();
    valve.let_through(LARGE as u64 / 2);
    let mut pull = host.command(&["pull", "-q", &name]).spawn().unwrap();
    valve.wait_until_closed();
    pull.kill().unwrap();
    pull.wait().unwrap();
    assert!(!host.run(&["images", "-q"]).contains(|c: char| c.is_ascii_hexdigit()), "nothing is there yet");
    let partial = |host: &Host| -> u64 {
        let entries = fs::read_dir(host.root().join("partial")).unwrap();
        entries.map(|entry| entry.unwrap().metadata().unwrap().len()).sum()
    };
    let kept = partial(&host);
    assert!(kept > 1 << 20, "only {kept} bytes were kept");

    let before = valve.passed();
    valve.let_through(u64::MAX);
    host.run(&["pull", "-q", &name]);
    let fetched = valve.passed() - before;
    let headers = 1 << 20;
    assert!(fetched < LARGE as u64 - kept + headers, "{fetched} bytes were fetched although {kept} were here");
    assert_eq!(partial(&host), 0);
    assert!(host.run(&["system", "check"]).lines().count() > 0);

    let before = valve.passed();
    host.run(&["pull", "-q", &name]);
    assert!(valve.passed() - before < 4096, "the second pull fetches a manifest and nothing else");
}

#[test]
fn what_is_pushed_is_what_comes_back() {
    let registry = registry_with_image();
    let host = Host::new();
    let name = format!("{}/app", registry.host());
    let by_tag = host.run(&["pull", "-q", &format!("{name}:1")]);
    assert_eq!(by_tag, format!("{name}:1"));
    let digest = host.run(&["images", "--digests", "--format", "{{.Digest}}"]);
    assert!(digest.starts_with("sha256:"), "{digest}");
    host.run(&["rmi", &format!("{name}:1")]);
    let by_digest = format!("{name}@{digest}");
    assert_eq!(host.run(&["pull", "-q", &by_digest]), by_digest);
    let image: Value = serde_json::from_str(&host.run(&["inspect", &by_digest])).unwrap();
    assert_eq!(image[0]["Config"]["Cmd"], json!(["/small"]));
    assert_eq!(image[0]["RootFS"]["Layers"].as_array().unwrap().len(), 2);

    // Tagged elsewhere and pushed again: the layers are there and are not sent again.
    host.run(&["tag", &by_digest, &format!("{}/other:2", registry.host())]);
    let pushed = host.run(&["push", "-q", &format!("{}/other:2", registry.host())]);
    assert_eq!(pushed, digest, "the same bytes have the same digest");
}

#[test]
fn errors_say_what_was_tried_and_leave_with_their_own_status() {
    let registry = Debian::start();
    let host = Host::new();
    let output = host.try_run(&["pull", &format!("{}/absent:1", registry.host())]);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1));
    assert!(text.contains("absent:1") && text.contains("check the name"), "{text}");
    let output = host.try_run(&["pull", "Not/A/Name"]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("Not"), "{output:?}");
}

//! Images, archives and a registry made on the spot.
#![allow(dead_code, missing_docs, unreachable_pub, reason = "every test file uses another part")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

pub mod debian;
pub mod pushed;
pub mod registry;
pub mod tls;

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::Path;

use config::Folders;
use coracle_image::{Digest, Store};
use serde_json::{Value, json};
use tempfile::TempDir;

pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
pub const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// No container needs anything.
pub fn unused() -> Result<coracle_image::store::InUse, Box<dyn std::error::Error + Send + Sync>> {
    Ok(coracle_image::store::InUse::default())
}

/// A store in a folder of its own.
pub struct Home {
    pub folder: TempDir,
    pub folders: Folders,
    pub store: Store,
}

impl Home {
    pub fn new() -> Home {
        let folder = tempfile::tempdir().unwrap();
        let folders = Folders::new(Some(folder.path().join("root")), Some(folder.path().join("run")));
        let store = Store::open(&folders).unwrap();
        Home { folder, folders, store }
    }

    /// Every file of the store with its content.
    pub fn snapshot(&self) -> BTreeMap<String, Vec<u8>> {
        let mut files = BTreeMap::new();
        collect(self.folders.root(), &mut files);
        files
    }

    /// Names of all files of the store but those that are always there.
    pub fn content(&self) -> Vec<String> {
        let fixed = ["index.json", "oci-layout", "lock"];
        let root = self.folders.root().to_str().unwrap().to_owned() + "/";
        let names = self.snapshot().into_keys().map(|name| name.replacen(&root, "", 1));
        names.filter(|name| !fixed.contains(&name.as_str())).collect()
    }
}

fn collect(folder: &Path, into: &mut BTreeMap<String, Vec<u8>>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, into);
        } else {
            into.insert(path.to_str().unwrap().to_owned(), fs::read(&path).unwrap());
        }
    }
}

/// A member of a tar file: name, kind, content or link target.
pub struct Member {
    pub name: String,
    pub kind: u8,
    pub data: Vec<u8>,
}

pub fn file(name: &str, data: impl AsRef<[u8]>) -> Member {
    Member { name: name.to_owned(), kind: b'0', data: data.as_ref().to_vec() }
}

pub fn symlink(name: &str, target: &str) -> Member {
    Member { name: name.to_owned(), kind: b'2', data: target.as_bytes().to_vec() }
}

/// A tar file of these members.
pub fn tar(members: &[Member]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for member in members {
        let link = matches!(member.kind, b'1' | b'2');
        let size = if link { 0 } else { member.data.len() };
        let mut header = [0u8; 512];
        header[..member.name.len()].copy_from_slice(member.name.as_bytes());
        header[100..108].copy_from_slice(b"0000644\0");
        header[108..116].copy_from_slice(b"0000000\0");
        header[116..124].copy_from_slice(b"0000000\0");
        header[124..136].copy_from_slice(format!("{size:011o}\0").as_bytes());
        header[136..148].copy_from_slice(b"14000000000\0");
        header[148..156].fill(b' ');
        header[156] = member.kind;
        if link {
            header[157..157 + member.data.len()].copy_from_slice(&member.data);
        }
        header[257..265].copy_from_slice(b"ustar\x0000");
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        bytes.extend_from_slice(&header);
        if !link {
            bytes.extend_from_slice(&member.data);
            bytes.resize(bytes.len().next_multiple_of(512), 0);
        }
    }
    bytes.resize(bytes.len() + 1024, 0);
    bytes
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 1).unwrap()
}

/// Bytes that do not compress, always the same for one `seed`.
pub fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..length).map(|_| next()).collect()
}

/// Numbers that look random, the same at every run (splitmix64).
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }
}

/// An image in pieces, to be put together in any format.
#[derive(Clone)]
pub struct Sample {
    pub config: Vec<u8>,
    /// Uncompressed.
    pub diffs: Vec<Vec<u8>>,
    /// As shipped.
    pub blobs: Vec<Vec<u8>>,
    pub media_types: Vec<String>,
}

impl Sample {
    /// Two layers; `seed` makes it another image.
    pub fn new(seed: u64) -> Sample {
        let first = tar(&[file("etc/os-release", format!("ID=sample{seed}\n")), file("bin/data", noise(seed, 30_000))]);
        let second = tar(&[file("etc/second", "2"), symlink("link", "etc/second")]);
        Sample::of(&[first, second])
    }

    /// Of these tar files, compressed with gzip.
    pub fn of(diffs: &[Vec<u8>]) -> Sample {
        let blobs: Vec<Vec<u8>> = diffs.iter().map(|diff| gzip(diff)).collect();
        let media_types = vec![format!("{LAYER}+gzip"); blobs.len()];
        let mut sample = Sample { config: Vec::new(), diffs: diffs.to_vec(), blobs, media_types };
        sample.set_config("amd64");
        sample
    }

    pub fn set_config(&mut self, architecture: &str) {
        let config = json!({ "architecture": architecture, "os": "linux", "created": "2024-05-06T07:08:09Z",
            "config": { "Cmd": ["/bin/sh"], "Env": ["PATH=/bin"], "WorkingDir": "/w" },
            "rootfs": { "type": "layers", "diff_ids": self.diff_ids() } });
        self.config = config.to_string().into_bytes();
    }

    pub fn compress(mut self, how: fn(&[u8]) -> Vec<u8>, suffix: &str) -> Sample {
        self.blobs = self.diffs.iter().map(|diff| how(diff)).collect();
        self.media_types = vec![format!("{LAYER}{suffix}"); self.blobs.len()];
        self
    }

    pub fn id(&self) -> Digest {
        Digest::of(&self.config)
    }

    pub fn diff_ids(&self) -> Vec<Digest> {
        self.diffs.iter().map(|diff| Digest::of(diff)).collect()
    }

    pub fn manifest(&self) -> Vec<u8> {
        let layer = |(blob, kind): (&Vec<u8>, &String)| descriptor(kind, blob);
        let layers: Vec<Value> = self.blobs.iter().zip(&self.media_types).map(layer).collect();
        let config = descriptor(CONFIG, &self.config);
        json!({ "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers })
            .to_string()
            .into_bytes()
    }

    /// Everything with a digest.
    pub fn all_blobs(&self) -> Vec<Vec<u8>> {
        [vec![self.manifest(), self.config.clone()], self.blobs.clone()].concat()
    }

    /// The members of an OCI layout.
    pub fn oci(&self, name: Option<&str>) -> Vec<Member> {
        let mut entry = descriptor(MANIFEST, &self.manifest());
        if let Some(name) = name {
            entry["annotations"] = json!({ REF_NAME: name });
        }
        let index = json!({ "schemaVersion": 2, "manifests": [entry] });
        let mut members =
            vec![file("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#), file("index.json", index.to_string())];
        members.extend(self.all_blobs().iter().map(|blob| file(&blob_name(blob), blob)));
        members
    }

    /// The members of a `docker save` archive.
    pub fn docker(&self, tags: &[&str]) -> Vec<Member> {
        let config = format!("{}.json", self.id().hex());
        let names: Vec<String> = (0..self.diffs.len()).map(|index| format!("{index:064}/layer.tar")).collect();
        let list = json!([{ "Config": config, "RepoTags": tags, "Layers": names }]);
        let mut members = vec![file(&config, &self.config), file("manifest.json", list.to_string())];
        members.extend(names.iter().zip(&self.diffs).map(|(name, diff)| file(name, diff)));
        members
    }
}

pub fn descriptor(kind: &str, bytes: &[u8]) -> Value {
    json!({ "mediaType": kind, "digest": Digest::of(bytes), "size": bytes.len() })
}

pub fn blob_name(bytes: &[u8]) -> String {
    format!("blobs/sha256/{}", Digest::of(bytes).hex())
}

/// Writes the members of a layout as a folder.
pub fn unpack(members: &[Member], folder: &Path) {
    for member in members {
        let path = folder.join(&member.name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, &member.data).unwrap();
    }
}

/// The whole chain of an error, as the program prints it.
pub fn chain(error: &dyn std::error::Error) -> String {
    let sources = std::iter::successors(error.source(), |error| error.source());
    sources.fold(error.to_string(), |text, source| format!("{text}: {source}"))
}

//! Looking at one image: its documents, its blobs, its layer files.

use std::collections::HashSet;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::super::{Error, Store};
use crate::Digest;
use crate::digest::Hashing;
use crate::layer::Reader;
use crate::manifest::{Descriptor, Document, ImageConfig, MAX_CONFIG, MAX_MANIFEST, Manifest};

/// Something that is wrong with an image.
#[derive(Clone, Debug)]
pub(super) struct Fault {
    pub(super) part: Part,
    pub(super) what: String,
}

/// Which part of an image it is.
#[derive(Clone, Debug)]
pub(super) enum Part {
    /// Manifest, config or layer blob.
    Blob(Digest),
    /// The file of the layer at this position; 0 is the lowest.
    Layer(usize),
    /// The documents do not fit together.
    Whole,
}

/// What was found in order already: images share their layers.
#[derive(Default)]
pub(super) struct Sound {
    blobs: HashSet<Digest>,
    layers: HashSet<Digest>,
}

impl Store {
    /// Everything that is wrong with the image of `entry`. An error means that the disk did not answer.
    pub(super) fn inspect(&self, entry: &Descriptor, deep: bool, sound: &mut Sound) -> Result<Vec<Fault>, Error> {
        let mut faults = Vec::new();
        let Some(bytes) = self.inspect_document(entry, "manifest", MAX_MANIFEST, &mut faults)? else {
            return Ok(faults);
        };
        let manifest = match Document::parse(&bytes, Some(&entry.media_type)) {
            // What other tools put here is none of our business.
            Ok(Document::Index(_)) => return Ok(faults),
            Ok(Document::Manifest(manifest)) if manifest.check().is_err() => return Ok(faults),
            Ok(Document::Manifest(manifest)) => manifest,
            Err(error) => {
                faults.push(Fault { part: Part::Whole, what: error.to_string() });
                return Ok(faults);
            }
        };
        let config = self.inspect_document(&manifest.config, "config", MAX_CONFIG, &mut faults)?;
        for layer in &manifest.layers {
            if sound.blobs.contains(&layer.digest) {
                continue;
            }
            match self.inspect_blob(layer, deep)? {
                None => drop(sound.blobs.insert(layer.digest.clone())),
                Some(what) => faults.push(Fault { part: Part::Blob(layer.digest.clone()), what }),
            }
        }
        let Some(config) = config else { return Ok(faults) };
        let parsed = ImageConfig::parse(&config).and_then(|config| manifest.check_config(&config).map(|()| config));
        match parsed {
            Ok(config) => self.inspect_layers(&manifest, &config, deep, sound, &mut faults)?,
            Err(error) => faults.push(Fault { part: Part::Whole, what: error.to_string() }),
        }
        Ok(faults)
    }

    fn inspect_document(
        &self,
        descriptor: &Descriptor,
        called: &str,
        limit: u64,
        faults: &mut Vec<Fault>,
    ) -> Result<Option<Vec<u8>>, Error> {
        let what = match self.document_if_sound(&descriptor.digest, limit)? {
            Some(bytes) if bytes.len() as u64 == descriptor.size => return Ok(Some(bytes)),
            Some(bytes) => format!("Its {called} has {} bytes, not {}", bytes.len(), descriptor.size),
            None => format!("Its {called} {} is missing or damaged", descriptor.digest.short()),
        };
        faults.push(Fault { part: Part::Blob(descriptor.digest.clone()), what });
        Ok(None)
    }

    /// What is wrong with a layer's blob.
    fn inspect_blob(&self, layer: &Descriptor, deep: bool) -> Result<Option<String>, Error> {
        let path = self.blob(&layer.digest);
        let short = layer.digest.short();
        let file = match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Some(format!("Its blob {short} is missing")));
            }
            result => result.map_err(Error::file("open", &path))?,
        };
        let length = file.metadata().map_err(Error::file("read", &path))?.len();
        if length != layer.size {
            return Ok(Some(format!("Its blob {short} has {length} bytes, not {}", layer.size)));
        }
        if deep {
            let mut hashing = Hashing::new(file, layer.digest.algorithm(), Some(layer.size));
            hashing.drain().map_err(Error::file("read", &path))?;
            if hashing.verify(&layer.digest).is_err() {
                return Ok(Some(format!("Its blob {short} is damaged")));
            }
        }
        Ok(None)
    }

    fn inspect_layers(
        &self,
        manifest: &Manifest,
        config: &ImageConfig,
        deep: bool,
        sound: &mut Sound,
        faults: &mut Vec<Fault>,
    ) -> Result<(), Error> {
        let keys = self.layer_keys(&config.rootfs.diff_ids);
        let damaged: HashSet<Digest> = faults.iter().filter_map(|fault| fault.blob().cloned()).collect();
        for (position, (key, layer)) in keys.iter().zip(&manifest.layers).enumerate() {
            if sound.layers.contains(key) {
                continue;
            }
            let path = self.layer(key);
            let mut what = match File::open(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => Some("is missing"),
                result => look(&result.map_err(Error::file("open", &path))?, &path)?,
            };
            // Above a damaged layer nobody can tell what one that depends on it should be.
            let depends = config.rootfs.diff_ids.get(position) != Some(key);
            let tellable = !depends || faults.iter().all(|fault| fault.layer().is_none());
            if deep && what.is_none() && tellable && !damaged.contains(&layer.digest) {
                what = match Reader::open(File::open(&path).map_err(Error::file("open", &path))?) {
                    Ok(reader) if reader.is_current() => {
                        let same = self.is_what_the_blob_unpacks_to(manifest, config, &keys, position)?;
                        (!same).then_some("is not what its blob unpacks to")
                    }
                    // Another version has written it, in other bytes: its own fingerprint must do.
                    Ok(reader) => reader.verify().is_err().then_some("is damaged"),
                    Err(_) => Some("is damaged"),
                };
            }
            match what {
                None => drop(sound.layers.insert(key.clone())),
                Some(what) => {
                    let what = format!("The file of its layer {} {what}", key.short());
                    faults.push(Fault { part: Part::Layer(position), what });
                }
            }
        }
        Ok(())
    }
}

impl Fault {
    fn blob(&self) -> Option<&Digest> {
        if let Part::Blob(digest) = &self.part { Some(digest) } else { None }
    }
}

/// Where the superblock of EROFS begins, what it begins with, and where in it the number of blocks of 4096 bytes is
/// (Linux, fs/erofs/erofs_fs.h).
const SUPERBLOCK: u64 = 1024;
const MAGIC: [u8; 4] = 0xe0f5_e1e2_u32.to_le_bytes();
const BLOCKS: u64 = SUPERBLOCK + 36;
const BLOCK: u64 = 4096;

/// What a first look at a layer file finds wrong.
fn look(file: &File, path: &Path) -> Result<Option<&'static str>, Error> {
    let fail = |error| Error::file("read", path)(error);
    let length = file.metadata().map_err(fail)?.len();
    if length < BLOCK {
        return Ok(Some("is cut"));
    }
    let (mut magic, mut blocks) = ([0; 4], [0; 4]);
    file.read_exact_at(&mut magic, SUPERBLOCK).map_err(fail)?;
    file.read_exact_at(&mut blocks, BLOCKS).map_err(fail)?;
    if magic != MAGIC {
        return Ok(Some("is damaged"));
    }
    let whole = u64::from(u32::from_le_bytes(blocks)).saturating_mul(BLOCK) == length;
    Ok(if whole { None } else { Some("is cut") })
}

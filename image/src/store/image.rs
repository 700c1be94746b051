//! An image of the store, put together from its index entry, manifest, config and layer files.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::time::{Duration, SystemTime};

use super::{Store, index};
use crate::manifest::{Descriptor, ImageConfig, Index, MAX_CONFIG, Manifest};
use crate::{Digest, Reference};

/// An image that is complete on this host.
#[derive(Clone, Debug)]
pub struct Image {
    /// Digest of its config, the image's identity.
    pub id: Digest,
    /// Its names in full, `docker.io/library/busybox:latest`; [`crate::Reference::familiar`] shortens them.
    pub names: Vec<String>,
    /// Where a registry has exactly this, in full, `docker.io/library/busybox@sha256:...`: by the index it came by, if
    /// it came by one, and by its manifest.
    pub repo_digests: Vec<String>,
    /// Digest of its manifest.
    pub manifest: Digest,
    /// What to run and how.
    pub config: ImageConfig,
    /// Keys of the EROFS files of its layers, lowest first: the diff id of a layer that is the same wherever it lies, and
    /// something else for one that depends on the layers below it. The diff ids are in the config.
    pub layers: Vec<Digest>,
    /// Bytes of its layer files, unpacked; layers shared with other images are counted in each.
    pub size: u64,
    /// When it was made, RFC 3339, as its maker wrote it.
    pub created: Option<String>,
}

impl Image {
    /// When it was made, if it says so in a way that can be read.
    pub fn made(&self) -> Option<SystemTime> {
        parse_time(self.created.as_deref()?)
    }
}

/// A point in time as RFC 3339 writes it.
pub fn parse_time(text: &str) -> Option<SystemTime> {
    let utc = |text: &str| humantime::parse_rfc3339(text).ok();
    let Some((local, zone)) = text.len().checked_sub(6).and_then(|at| text.split_at_checked(at)) else {
        return utc(text);
    };
    let (sign, offset) = match zone.split_at_checked(1) {
        Some((sign @ ("+" | "-"), offset)) => (sign, offset),
        _ => return utc(text),
    };
    let (hours, minutes) = offset.split_once(':')?;
    let minutes = hours.parse::<u64>().ok()?.checked_mul(60)?.checked_add(minutes.parse().ok()?)?;
    let offset = Duration::from_secs(minutes.checked_mul(60)?);
    let local = utc(&format!("{local}Z"))?;
    if sign == "+" { local.checked_sub(offset) } else { local.checked_add(offset) }
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;

impl Store {
    /// The image of an entry of the index with the names this manifest has, or `None`, logged, if it is not whole.
    pub(super) fn whole_image(&self, index: &Index, entry: &Descriptor) -> Option<Image> {
        let image = self.image(entry).and_then(|(mut image, complete)| {
            image.names = names(index, |other| other.digest == entry.digest);
            image.repo_digests = repo_digests(index, &entry.digest);
            if complete { Ok(image) } else { Err("A layer or blob is missing".into()) }
        });
        image.inspect_err(|error| log::warn!("Image {} is not whole: {error}", entry.digest)).ok()
    }

    /// All whole images, one per config.
    pub(super) fn all_images(&self, index: &Index) -> Vec<Image> {
        let mut images: Vec<Image> = Vec::new();
        let mut places: HashMap<Digest, usize> = HashMap::new();
        let mut seen: HashSet<&Digest> = HashSet::new();
        for entry in index.manifests.iter().filter(|entry| seen.insert(&entry.digest)) {
            let Some(image) = self.whole_image(index, entry) else { continue };
            match places.get(&image.id).and_then(|place| images.get_mut(*place)) {
                Some(known) => {
                    known.names.extend(image.names);
                    known.repo_digests.extend(image.repo_digests);
                }
                None => {
                    places.insert(image.id.clone(), images.len());
                    images.push(image);
                }
            }
        }
        images
    }

    /// Manifest and config of an entry.
    pub(super) fn documents(&self, entry: &Descriptor) -> Result<(Manifest, ImageConfig), BoxError> {
        let manifest = self.manifest(entry)?;
        manifest.check()?;
        let config = ImageConfig::parse(&self.read_document(&manifest.config.digest, MAX_CONFIG)?)?;
        manifest.check_config(&config)?;
        Ok((manifest, config))
    }

    /// The image of an entry, without names, and whether all files of its layers are there.
    pub(super) fn image(&self, entry: &Descriptor) -> Result<(Image, bool), BoxError> {
        let (manifest, config) = self.documents(entry)?;
        let mut complete = manifest.layers.iter().all(|layer| self.blob(&layer.digest).exists());
        let mut size: u64 = 0;
        let layers = self.layer_keys(&config.rootfs.diff_ids);
        for layer in &layers {
            match fs::metadata(self.layer(layer)) {
                Ok(metadata) => size = size.saturating_add(metadata.len()),
                Err(_) => complete = false,
            }
        }
        let image = Image {
            id: manifest.config.digest,
            names: Vec::new(),
            repo_digests: Vec::new(),
            manifest: entry.digest.clone(),
            layers,
            size,
            created: config.created.clone(),
            config,
        };
        Ok((image, complete))
    }
}

/// See [`Image::repo_digests`].
fn repo_digests(index: &Index, manifest: &Digest) -> Vec<String> {
    let mut digests: Vec<String> = Vec::new();
    for entry in index.manifests.iter().filter(|entry| entry.digest == *manifest) {
        let Some(Ok(name)) = index::name_of(entry).map(|name| name.parse::<Reference>()) else { continue };
        for digest in index::index_of(entry).iter().chain([manifest]) {
            let digest = format!("{}@{digest}", name.name());
            if !digests.contains(&digest) {
                digests.push(digest);
            }
        }
    }
    digests
}

/// The names of all entries that `wanted` picks.
pub(super) fn names(index: &Index, wanted: impl Fn(&Descriptor) -> bool) -> Vec<String> {
    index.manifests.iter().filter(|entry| wanted(entry)).filter_map(index::name_of).collect()
}

//! Taking names away from images, and images away when the last name goes.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::PathBuf;

use super::{Error, Image, REF_NAME, Store, id_prefix, image, index};
use crate::manifest::{Descriptor, Document, Index, MAX_CONFIG, MAX_MANIFEST};
use crate::{Digest, Reference, rootfs};

/// How deep indexes in indexes are followed to learn what they refer to; other tools nest them once.
const MAX_NESTING: u32 = 4;

/// What a removal did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    /// Names that are gone, in full.
    pub untagged: Vec<String>,
    /// Digests of what is gone: the image's id first, then the diff ids of its layers that no other image has.
    pub deleted: Vec<Digest>,
}

impl Store {
    /// Takes the name `name` away, or removes the image with that id. The image itself goes with its last name,
    /// and its layers with the last image that has them.
    ///
    /// `in_use` says which container, if any, needs an image. Such an image is not removed; with `force` it loses its
    /// name all the same. By id, an image with several names is removed only with `force`.
    pub fn remove(&self, name: &str, in_use: &dyn Fn(&Image) -> Option<String>, force: bool) -> Result<Removed, Error> {
        let _exclusive = self.lock_exclusive()?;
        let mut index = self.read_index()?;
        let selection = self.select(&index, name)?;
        let chosen = |entry: &Descriptor| selection.entries.contains(entry);
        let same_image = |entry: &Descriptor| match (&selection.id, self.manifest(entry)) {
            (Some(id), Ok(manifest)) => manifest.config.digest == *id,
            _ => selection.entries.iter().any(|other| other.digest == entry.digest),
        };
        let untagged = image::names(&index, chosen);
        let short = selection.id.as_ref().map_or(name, Digest::short).to_owned();
        if selection.by_id && untagged.len() > 1 && !force {
            return Err(Error::SeveralNames { id: short, names: untagged.join(", ") });
        }
        let last = !index.manifests.iter().any(|entry| !chosen(entry) && same_image(entry));
        let example = selection.entries.first().and_then(|entry| self.image(entry).ok());
        let user = example.filter(|_| last).and_then(|(mut image, _)| {
            image.names = untagged.clone();
            in_use(&image)
        });
        if let Some(user) = user {
            if !force || untagged.is_empty() {
                return Err(Error::InUse { id: short, user });
            }
            for entry in index.manifests.iter_mut().filter(|entry| chosen(entry)) {
                entry.annotations.remove(REF_NAME);
            }
            index::drop_superfluous(&mut index);
            self.write_index(&index)?;
            return Ok(Removed { untagged, deleted: Vec::new() });
        }

        let mut candidates = References::default();
        for entry in &selection.entries {
            self.collect(entry, MAX_NESTING, &mut candidates);
        }
        index.manifests.retain(|entry| !chosen(entry));
        self.write_index(&index)?;
        let deleted = self.delete_unreferenced(&index, &candidates)?;
        let id = selection.id.filter(|_| last);
        Ok(Removed { untagged, deleted: id.into_iter().chain(deleted).collect() })
    }

    fn select(&self, index: &Index, name: &str) -> Result<Selection, Error> {
        let id = |entry: &Descriptor| self.manifest(entry).ok().map(|manifest| manifest.config.digest);
        if let Ok(reference) = name.parse::<Reference>() {
            let entries: Vec<Descriptor> =
                index.manifests.iter().filter(|entry| index::answers(entry, &reference)).cloned().collect();
            if let Some(first) = entries.first() {
                return Ok(Selection { id: id(first), entries, by_id: false });
            }
        }
        let prefix = id_prefix(name).ok_or_else(|| Error::NotFound(name.to_owned()))?;
        let mut found = Selection { id: None, entries: Vec::new(), by_id: true };
        for entry in &index.manifests {
            let Some(id) = id(entry).filter(|id| id.hex().starts_with(prefix)) else { continue };
            if found.id.as_ref().is_some_and(|known| *known != id) {
                return Err(Error::Ambiguous(name.to_owned()));
            }
            found.id = Some(id);
            found.entries.push(entry.clone());
        }
        if found.entries.is_empty() { Err(Error::NotFound(name.to_owned())) } else { Ok(found) }
    }

    /// Everything that an entry refers to, as far as it can be read.
    fn collect(&self, entry: &Descriptor, depth: u32, into: &mut References) {
        into.blobs.insert(entry.digest.clone());
        let Some(depth) = depth.checked_sub(1) else { return };
        let bytes = self.read_document(&entry.digest, MAX_MANIFEST).ok();
        match bytes.and_then(|bytes| Document::parse(&bytes, None).ok()) {
            Some(Document::Index(index)) => {
                index.manifests.iter().for_each(|entry| self.collect(entry, depth, into));
            }
            Some(Document::Manifest(manifest)) => {
                let config = self.read_document(&manifest.config.digest, MAX_CONFIG).ok();
                let config = config.and_then(|bytes| crate::ImageConfig::parse(&bytes).ok());
                into.layers.extend(config.into_iter().flat_map(|config| config.rootfs.diff_ids));
                into.blobs.insert(manifest.config.digest);
                into.blobs.extend(manifest.layers.into_iter().map(|layer| layer.digest));
            }
            None => log::warn!("Manifest {} cannot be read", entry.digest),
        }
    }

    /// Removes what is in `candidates` and in no entry of `index`; returns the diff ids among it.
    fn delete_unreferenced(&self, index: &Index, candidates: &References) -> Result<Vec<Digest>, Error> {
        let mut kept = References::default();
        for entry in &index.manifests {
            self.collect(entry, MAX_NESTING, &mut kept);
        }
        let mut layers: Vec<Digest> = candidates.layers.difference(&kept.layers).cloned().collect();
        layers.sort_unstable();
        for layer in &layers {
            let unmounted = rootfs::unmount_layer(&self.folders, layer);
            unmounted.map_err(|source| Error::Unmount { layer: layer.clone(), source })?;
            remove_file(&self.layer(layer))?;
        }
        for blob in candidates.blobs.difference(&kept.blobs) {
            remove_file(&self.blob(blob))?;
        }
        Ok(layers)
    }
}

struct Selection {
    id: Option<Digest>,
    entries: Vec<Descriptor>,
    by_id: bool,
}

#[derive(Default)]
struct References {
    blobs: HashSet<Digest>,
    layers: HashSet<Digest>,
}

/// Not made durable: a file that comes back after a crash is not in the index and costs only its space.
fn remove_file(path: &PathBuf) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::file("remove", path)(error)),
        _ => Ok(()),
    }
}

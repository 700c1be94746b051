//! What the images of the store are made of: whatever none of them refers to may go.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::Path;

use super::{Error, Store};
use crate::manifest::{Descriptor, Document, ImageConfig, Index, MAX_CONFIG, MAX_MANIFEST};
use crate::{Digest, rootfs};

/// How deep indexes in indexes are followed to learn what they refer to; other tools nest them once.
const MAX_NESTING: u32 = 4;

/// Content by digest, and layer files by the keys they may have.
#[derive(Default)]
pub(super) struct References {
    pub(super) blobs: HashSet<Digest>,
    pub(super) layers: HashSet<Digest>,
}

impl References {
    /// What is here and not in `other`, sorted.
    pub(super) fn without(&self, other: &References) -> (Vec<Digest>, Vec<Digest>) {
        let sorted = |mine: &HashSet<Digest>, theirs: &HashSet<Digest>| {
            let mut digests: Vec<Digest> = mine.difference(theirs).cloned().collect();
            digests.sort_unstable();
            digests
        };
        (sorted(&self.blobs, &other.blobs), sorted(&self.layers, &other.layers))
    }
}

/// What a removal of files did.
#[derive(Default)]
pub(super) struct Deleted {
    /// Keys of the layer files that were there.
    pub(super) layers: Vec<Digest>,
    /// Bytes that are free now.
    pub(super) bytes: u64,
}

impl Store {
    /// Everything that the entries of `index` refer to.
    pub(super) fn references(&self, index: &Index) -> Result<References, Error> {
        let mut references = References::default();
        index.manifests.iter().try_for_each(|entry| self.collect(entry, MAX_NESTING, &mut references))?;
        Ok(references)
    }

    /// Everything that `entry` refers to. What a document that is missing or damaged referred to nobody can tell, and
    /// it is of no use either; but that the disk does not answer is no reason to give anything up.
    pub(super) fn references_of(&self, entry: &Descriptor, into: &mut References) -> Result<(), Error> {
        self.collect(entry, MAX_NESTING, into)
    }

    fn collect(&self, entry: &Descriptor, depth: u32, into: &mut References) -> Result<(), Error> {
        into.blobs.insert(entry.digest.clone());
        let Some(depth) = depth.checked_sub(1) else { return Ok(()) };
        let bytes = self.document_if_sound(&entry.digest, MAX_MANIFEST)?;
        match bytes.and_then(|bytes| Document::parse(&bytes, None).ok()) {
            Some(Document::Index(index)) => {
                return index.manifests.iter().try_for_each(|entry| self.collect(entry, depth, into));
            }
            Some(Document::Manifest(manifest)) => {
                let config = self.document_if_sound(&manifest.config.digest, MAX_CONFIG)?;
                if let Some(config) = config.and_then(|bytes| ImageConfig::parse(&bytes).ok()) {
                    into.layers.extend(super::place_keys(&config.rootfs.diff_ids));
                    into.layers.extend(config.rootfs.diff_ids);
                }
                into.blobs.insert(manifest.config.digest);
                into.blobs.extend(manifest.layers.into_iter().map(|layer| layer.digest));
            }
            None => log::warn!("Manifest {} cannot be read", entry.digest),
        }
        Ok(())
    }

    /// A document, or `None` if it is missing or not what its digest says.
    pub(super) fn document_if_sound(&self, digest: &Digest, limit: u64) -> Result<Option<Vec<u8>>, Error> {
        match self.read_document(digest, limit) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(Error::File { source, .. }) if !is_damage(&source) => {
                Err(Error::file("read", &self.blob(digest))(source))
            }
            Err(_) => Ok(None),
        }
    }

    /// Removes these blobs and layers, as far as they are there. Not made durable: a file that comes back after a
    /// crash is not in the index and costs only its space.
    pub(super) fn delete(&self, blobs: &[Digest], layers: &[Digest]) -> Result<Deleted, Error> {
        let mut deleted = Deleted::default();
        for layer in layers {
            let path = self.layer(layer);
            if !path.exists() {
                continue;
            }
            let unmounted = rootfs::unmount_layer(&self.folders, layer);
            unmounted.map_err(|source| Error::Unmount { layer: layer.clone(), source })?;
            deleted.bytes = deleted.bytes.saturating_add(remove_file(&path)?);
            deleted.layers.push(layer.clone());
        }
        for blob in blobs {
            deleted.bytes = deleted.bytes.saturating_add(remove_file(&self.blob(blob))?);
        }
        Ok(deleted)
    }
}

/// Whether reading failed because of what the file is, not because of the disk.
pub(super) fn is_damage(error: &io::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, NotFound, Other};
    // `Other` is how a digest that does not fit is reported.
    matches!(error.kind(), NotFound | FileTooLarge | Other)
}

/// Removes a file; returns how many bytes it had, 0 if it was not there.
pub(super) fn remove_file(path: &Path) -> Result<u64, Error> {
    let length = path.symlink_metadata().map_or(0, |metadata| metadata.len());
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
        Err(error) => Err(Error::file("remove", path)(error)),
        Ok(()) => Ok(length),
    }
}

//! `index.json`: which manifests are images of this store, and what they are called.

use std::path::PathBuf;

use super::{Error, REF_NAME, Store, files};
use crate::Reference;
use crate::manifest::{Descriptor, Index};

/// Largest index read: room for more than a hundred thousand images.
const MAX_INDEX: u64 = 64 << 20;

impl Store {
    pub(super) fn index_path(&self) -> PathBuf {
        self.folders.root().join("index.json")
    }

    pub(super) fn read_index(&self) -> Result<Index, Error> {
        let path = self.index_path();
        let bytes = files::read_limited(&path, MAX_INDEX).map_err(Error::file("read", &path))?;
        serde_json::from_slice(&bytes).map_err(|source| Error::Index { path, source: source.into() })
    }

    pub(super) fn write_index(&self, index: &Index) -> Result<(), Error> {
        let path = self.index_path();
        let bytes =
            serde_json::to_vec(index).map_err(|source| Error::Index { path: path.clone(), source: source.into() })?;
        self.write(&path, &bytes)
    }
}

/// The name of an index entry in full; other tools may have written it in short.
pub(super) fn name_of(entry: &Descriptor) -> Option<String> {
    let name = entry.annotations.get(REF_NAME)?;
    Some(name.parse::<Reference>().map_or_else(|_| name.clone(), |reference| reference.stored()))
}

/// Whether `reference` means this entry.
pub(super) fn answers(entry: &Descriptor, reference: &Reference) -> bool {
    let Some(name) = name_of(entry) else { return false };
    if name == reference.stored() {
        return true;
    }
    // A tagged image is also known by the digest of its manifest.
    reference.digest() == Some(&entry.digest) && name.parse().is_ok_and(|own: Reference| own.name() == reference.name())
}

/// Gives the image of `entry` the names in `names`, taking them from whatever has them: what loses its last name this
/// way stays, without a name. True if anything changed.
pub(super) fn put(index: &mut Index, entry: &Descriptor, names: &[String]) -> bool {
    let before = index.manifests.clone();
    for name in names {
        let taken = |other: &Descriptor| name_of(other).as_ref() == Some(name);
        if index.manifests.iter().any(|other| taken(other) && other.digest == entry.digest) {
            continue;
        }
        for other in index.manifests.iter_mut().filter(|other| taken(other)) {
            other.annotations.remove(REF_NAME);
        }
        let mut named = entry.clone();
        named.annotations.insert(REF_NAME.to_owned(), name.clone());
        index.manifests.push(named);
    }
    if !index.manifests.iter().any(|other| other.digest == entry.digest) {
        index.manifests.push(entry.clone());
    }
    drop_superfluous(index);
    index.manifests != before
}

/// An entry without a name is needed only while the image has no other entry.
pub(super) fn drop_superfluous(index: &mut Index) {
    let mut kept: Vec<Descriptor> = Vec::with_capacity(index.manifests.len());
    let all = std::mem::take(&mut index.manifests);
    for entry in &all {
        let named = |other: &Descriptor| other.digest == entry.digest && other.annotations.contains_key(REF_NAME);
        let again = |other: &Descriptor| other.digest == entry.digest;
        if entry.annotations.contains_key(REF_NAME) || !(all.iter().any(named) || kept.iter().any(again)) {
            kept.push(entry.clone());
        }
    }
    index.manifests = kept;
}

//! `index.json`: which manifests are images of this store, and what they are called.
//!
//! One name may stand for several images, one per platform: it has one entry for each, that of this host first, since
//! other tools take the first that fits.

use std::path::PathBuf;

use super::{Error, INDEX, REF_NAME, Store, files};
use crate::manifest::{Descriptor, ImageConfig, Index};
use crate::{Digest, Platform, Reference, name};

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

/// The digest of the index of several platforms by which an image came, if it came so.
pub(super) fn index_of(entry: &Descriptor) -> Option<Digest> {
    entry.annotations.get(INDEX)?.parse().ok()
}

/// The entries that `text` names: one per platform. A name without a registry is that of the default one, or, if there
/// is no such image, that of one made here.
pub(super) fn named(index: &Index, text: &str) -> Vec<Descriptor> {
    let readings = [text.parse::<Reference>().ok(), name::local(text)];
    let entries = |reference: Reference| {
        let answering = index.manifests.iter().filter(|entry| answers(entry, &reference));
        answering.cloned().collect::<Vec<Descriptor>>()
    };
    readings.into_iter().flatten().map(entries).find(|entries| !entries.is_empty()).unwrap_or_default()
}

/// Whether `reference` means this entry.
fn answers(entry: &Descriptor, reference: &Reference) -> bool {
    let Some(name) = name_of(entry) else { return false };
    if name == reference.stored() {
        return true;
    }
    // An image is also known by the digest of its manifest, and by that of the index it came by.
    let Some(digest) = reference.digest() else { return false };
    let fits = entry.digest == *digest || index_of(entry).as_ref() == Some(digest);
    fits && name.parse().is_ok_and(|own: Reference| own.name() == reference.name())
}

/// `entry` with the platform its image is for, unless that is known or the config says nothing of it.
pub(super) fn with_platform(mut entry: Descriptor, config: &[u8]) -> Descriptor {
    if entry.platform.is_none()
        && let Ok(config) = ImageConfig::parse(config)
        && !config.architecture.is_empty()
    {
        entry.platform = Some(config.platform());
    }
    entry
}

/// Gives the image of `entry` the names in `names`, taking them from whatever has them for the same platform: what
/// loses its last name this way stays, without a name. True if anything changed.
pub(super) fn put(index: &mut Index, entry: &Descriptor, names: &[String]) -> bool {
    let before = index.manifests.clone();
    for name in names {
        let named = |other: &Descriptor| name_of(other).as_ref() == Some(name);
        if let Some(known) = index.manifests.iter_mut().find(|other| named(other) && other.digest == entry.digest) {
            known.platform = known.platform.take().or_else(|| entry.platform.clone());
            known.annotations.extend(entry.annotations.get_key_value(INDEX).map(|(key, by)| (key.clone(), by.clone())));
            continue;
        }
        for other in index.manifests.iter_mut().filter(|other| named(other) && is_rival(other, entry)) {
            other.annotations.remove(REF_NAME);
        }
        let mut new = entry.clone();
        new.annotations.insert(REF_NAME.to_owned(), name.clone());
        let behind = |other: &Descriptor| named(other) && suits_host(entry) && !suits_host(other);
        let place = index.manifests.iter().position(behind).unwrap_or(index.manifests.len());
        index.manifests.insert(place, new);
    }
    if !index.manifests.iter().any(|other| other.digest == entry.digest) {
        index.manifests.push(entry.clone());
    }
    drop_superfluous(index);
    index.manifests != before
}

/// Whether two entries cannot both have one name.
fn is_rival(one: &Descriptor, other: &Descriptor) -> bool {
    match (&one.platform, &other.platform) {
        (Some(one), Some(other)) => one.is_same(other),
        _ => true,
    }
}

fn suits_host(entry: &Descriptor) -> bool {
    entry.platform.as_ref().is_none_or(|platform| platform.suits(&Platform::host()))
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

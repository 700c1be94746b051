//! Taking names away from images, and images away when the last name goes.

use super::references::References;
use super::{Error, Image, REF_NAME, Store, id_prefix, image, index};
use crate::Digest;
use crate::manifest::{Descriptor, Index};

/// What a removal did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    /// Names that are gone, in full.
    pub untagged: Vec<String>,
    /// Digests of what is gone: ids of images first, then the keys of layers that no other image has.
    pub deleted: Vec<Digest>,
}

/// Entries of the index that a name or an id means.
pub(super) struct Selection {
    pub(super) entries: Vec<Descriptor>,
    /// Whether it was an id.
    pub(super) by_id: bool,
}

impl Store {
    /// Takes the name `name` away, or removes the image with that id. The image itself goes with its last name,
    /// and its layers with the last image that has them. A name goes for all platforms at once.
    ///
    /// `in_use` says which container, if any, needs an image; it is asked while no image can come or go. Such an image
    /// is not removed; with `force` it loses its name all the same. By id, an image with several names is removed only
    /// with `force`.
    pub fn remove(&self, name: &str, in_use: &dyn Fn(&Image) -> Option<String>, force: bool) -> Result<Removed, Error> {
        let _exclusive = self.lock_exclusive()?;
        let mut index = self.read_index()?;
        let Selection { entries, by_id } = self.select(&index, name)?;
        let chosen = |entry: &Descriptor| entries.contains(entry);
        let untagged = image::names(&index, chosen);
        if by_id && untagged.len() > 1 && !force {
            let id = entries.first().and_then(|entry| self.id(entry));
            let id = id.as_ref().map_or(name, Digest::short).to_owned();
            return Err(Error::SeveralNames { id, names: untagged.join(", ") });
        }

        let mut candidates = References::default();
        let mut gone: Vec<Digest> = Vec::new();
        let mut kept: Vec<&Descriptor> = Vec::new();
        for entry in &entries {
            let id = self.id(entry);
            // Where the id cannot be read, the manifest is all there is to go by.
            let same = |other: &Descriptor| other.digest == entry.digest || (id.is_some() && self.id(other) == id);
            let last = !index.manifests.iter().any(|other| !chosen(other) && same(other));
            let image = self.image(entry).ok().filter(|_| last);
            let user = image.and_then(|(mut image, _)| {
                image.names.clone_from(&untagged);
                in_use(&image)
            });
            match user {
                None => {
                    self.references_of(entry, &mut candidates)?;
                    gone.extend(id.filter(|id| last && !gone.contains(id)));
                }
                Some(_) if force && !untagged.is_empty() => kept.push(entry),
                Some(user) => {
                    let id = id.as_ref().map_or(name, Digest::short).to_owned();
                    return Err(Error::InUse { id, user });
                }
            }
        }
        index.manifests.retain(|entry| !chosen(entry) || kept.contains(&entry));
        for entry in index.manifests.iter_mut().filter(|entry| kept.contains(&&**entry)) {
            entry.annotations.remove(REF_NAME);
        }
        index::drop_superfluous(&mut index);
        self.write_index(&index)?;
        let (blobs, layers) = candidates.without(&self.references(&index)?);
        gone.extend(self.delete(&blobs, &layers)?.layers);
        Ok(Removed { untagged, deleted: gone })
    }

    /// The id of the image of an entry, if its manifest can be read.
    pub(super) fn id(&self, entry: &Descriptor) -> Option<Digest> {
        self.manifest(entry).ok().map(|manifest| manifest.config.digest)
    }

    /// The entries that `name` means: those of that name for all platforms, or those with that id.
    pub(super) fn select(&self, index: &Index, name: &str) -> Result<Selection, Error> {
        let name = &*self.resolve(name);
        let named = index::named(index, name);
        if !named.is_empty() {
            return Ok(Selection { entries: named, by_id: false });
        }
        let prefix = id_prefix(name).ok_or_else(|| Error::NotFound(name.to_owned()))?;
        let (mut found, mut entries): (Option<Digest>, Vec<Descriptor>) = (None, Vec::new());
        for entry in &index.manifests {
            let Some(id) = self.id(entry).filter(|id| id.hex().starts_with(prefix)) else { continue };
            if found.as_ref().is_some_and(|known| *known != id) {
                return Err(Error::Ambiguous(name.to_owned()));
            }
            found = Some(id);
            entries.push(entry.clone());
        }
        if entries.is_empty() {
            return Err(Error::NotFound(name.to_owned()));
        }
        Ok(Selection { entries, by_id: true })
    }
}

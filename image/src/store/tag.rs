//! Giving images further names.

use super::{Error, INDEX, REF_NAME, Store, index};
use crate::Reference;
use crate::manifest::Descriptor;

impl Store {
    /// Gives the image called `name` (see [`Store::find`]) the name `new` as well, which whatever has it loses. Where
    /// `name` stands for several images, one per platform, so does `new` from now on.
    pub fn tag(&self, name: &str, new: &Reference) -> Result<(), Error> {
        if new.digest().is_some() {
            return Err(Error::TagDigest(new.familiar()));
        }
        let _exclusive = self.lock_exclusive()?;
        let mut index = self.read_index()?;
        let mut entries = self.select(&index, name)?.entries;
        // One image may have several names: any of its entries will do.
        let mut seen = Vec::new();
        entries.retain(|entry| {
            let first = !seen.contains(&entry.digest);
            seen.push(entry.digest.clone());
            first
        });
        let new_name = new.stored();
        let loses = |other: &Descriptor| {
            index::name_of(other).as_ref() == Some(&new_name)
                && entries.iter().all(|entry| entry.digest != other.digest)
        };
        for other in index.manifests.iter_mut().filter(|other| loses(other)) {
            other.annotations.remove(REF_NAME);
        }
        for mut entry in entries {
            let old = index::name_of(&entry).and_then(|name| name.parse::<Reference>().ok());
            entry.annotations.remove(REF_NAME);
            // No registry has the index under another name.
            if old.is_none_or(|old| old.name() != new.name()) {
                entry.annotations.remove(INDEX);
            }
            index::put(&mut index, &entry, std::slice::from_ref(&new_name));
        }
        self.write_index(&index)
    }
}

//! Mending one image, or giving it up.

use super::super::in_use::{self, Ask};
use super::super::{Error, Store, files, image};
use super::Outcome;
use super::inspect::{Fault, Part};
use crate::manifest::Descriptor;
use crate::{Digest, rootfs};

impl Store {
    /// Makes layer files again where only they are damaged. An image of which more is damaged cannot be mended here: it
    /// is taken out of the index, so that nobody takes it for whole.
    pub(super) fn repair(&self, entry: &Descriptor, faults: &[Fault], in_use: Ask<'_>) -> Result<Outcome, Error> {
        let positions: Vec<usize> = faults.iter().filter_map(Fault::layer).collect();
        if positions.len() == faults.len() && self.rebuild_layers(entry, &positions)? {
            return Ok(Outcome::Repaired("unpacked again from what was downloaded".into()));
        }
        self.give_up(entry, faults, in_use)
    }

    /// Makes these layer files again, lowest first, since those above may be made of those below; false if that is not
    /// possible.
    fn rebuild_layers(&self, entry: &Descriptor, positions: &[usize]) -> Result<bool, Error> {
        let Ok((manifest, config)) = self.documents(entry) else { return Ok(false) };
        for position in positions {
            let keys = self.layer_keys(&config.rootfs.diff_ids);
            let rebuilt = match self.rebuild(&manifest, &config, &keys, *position) {
                Err(Error::Rebuild { layer, source }) => {
                    log::warn!("Layer {layer} cannot be unpacked again: {source}");
                    return Ok(false);
                }
                result => result?,
            };
            let Some(rebuilt) = rebuilt else { return Ok(false) };
            let path = self.layer(&rebuilt.key);
            rebuilt.temp.file().sync_all().map_err(Error::file("write", &path))?;
            let _exclusive = self.lock_exclusive()?;
            if !self.read_index()?.manifests.iter().any(|other| other.digest == entry.digest) {
                return Ok(true);
            }
            // Whoever has the damaged one mounted keeps it; the next mount is of the new one.
            for key in keys.get(*position).into_iter().chain([&rebuilt.key]) {
                let unmounted = rootfs::unmount_layer(&self.folders, key);
                unmounted.map_err(|source| Error::Unmount { layer: key.clone(), source })?;
            }
            rebuilt.temp.persist(&path).map_err(Error::file("write", &path))?;
            files::sync_parent(&path).map_err(Error::file("write", &path))?;
        }
        Ok(true)
    }

    fn give_up(&self, entry: &Descriptor, faults: &[Fault], in_use: Ask<'_>) -> Result<Outcome, Error> {
        let _exclusive = self.lock_exclusive()?;
        let mut index = self.read_index()?;
        let needed = in_use::ask(in_use)?.layers;
        let names = image::names(&index, |other| other.digest == entry.digest);
        let keys: Vec<Digest> =
            self.documents(entry).map(|(_, config)| self.layer_keys(&config.rootfs.diff_ids)).unwrap_or_default();
        index.manifests.retain(|other| other.digest != entry.digest);
        self.write_index(&index)?;
        // What is damaged must not be taken for sound when the image comes again.
        let mut blobs = Vec::new();
        let mut layers = Vec::new();
        for fault in faults {
            match &fault.part {
                Part::Blob(digest) => blobs.push(digest.clone()),
                Part::Layer(position) => layers.extend(keys.get(*position).cloned()),
                Part::Whole => {}
            }
        }
        let user = layers.iter().find_map(|layer| needed.get(layer)).cloned();
        layers.retain(|layer| !needed.contains_key(layer));
        self.delete(&blobs, &layers)?;
        let names = if names.is_empty() { "it had no name".to_owned() } else { format!("with {}", names.join(", ")) };
        let removed = format!("removed, {names}: pull or load it again");
        Ok(match user {
            Some(user) => Outcome::Failed(format!("{removed}; but {user} needs a layer that is damaged: remove that")),
            None => Outcome::Repaired(removed),
        })
    }
}

impl Fault {
    pub(super) fn layer(&self) -> Option<usize> {
        if let Part::Layer(position) = self.part { Some(position) } else { None }
    }
}

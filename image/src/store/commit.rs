//! Putting an image that has come in completely where it belongs.

use std::collections::{BTreeSet, HashSet};
use std::path::{Path, PathBuf};

use super::{Error, Image, Store, Temp, files, index};
use crate::Digest;
use crate::ingest::Layer;
use crate::manifest::{Descriptor, Manifest};

/// An image of which everything is in `tmp/` or in the store already.
pub(crate) struct Incoming {
    /// Media type, digest and size of the manifest.
    pub(crate) entry: Descriptor,
    pub(crate) manifest: Vec<u8>,
    pub(crate) config_digest: Digest,
    pub(crate) config: Vec<u8>,
    pub(crate) layers: Vec<Layer>,
    /// In the form of [`crate::Reference::stored`].
    pub(crate) names: Vec<String>,
}

impl Store {
    /// Makes the image part of the store. [`Error::Vanished`] if something it relies on has been removed meanwhile.
    pub(crate) fn commit(&self, incoming: Incoming) -> Result<Image, Error> {
        let Incoming { entry, manifest, config_digest, config, layers, names } = incoming;
        let entry = index::with_platform(entry, &config);
        // All that takes long comes before the lock.
        let mut files: Vec<(PathBuf, Option<Temp>)> = Vec::new();
        for layer in layers {
            files.push((self.blob(&layer.descriptor.digest), layer.blob));
            files.push((self.layer(&layer.key), layer.erofs));
        }
        for (path, bytes) in [(self.blob(&config_digest), config), (self.blob(&entry.digest), manifest)] {
            let temp = self.temp()?;
            temp.fill(&bytes).map_err(Error::file("write", &path))?;
            files.push((path, Some(temp)));
        }

        let _exclusive = self.lock_exclusive()?;
        if files.iter().any(|(path, temp)| temp.is_none() && !is_there(path)) {
            // A layer that stands in the image twice has a file once.
            let given: HashSet<&Path> = files.iter().filter(|f| f.1.is_some()).map(|f| f.0.as_path()).collect();
            if files.iter().any(|(path, _)| !given.contains(path.as_path()) && !is_there(path)) {
                return Err(Error::Vanished);
            }
        }
        let mut touched: BTreeSet<PathBuf> = BTreeSet::new();
        for (path, temp) in files {
            // What has the name already has the same content, or is damaged.
            let Some(temp) = temp else { continue };
            if let Some(folder) = path.parent()
                && touched.insert(folder.to_owned())
                && !is_there(folder)
            {
                // The first sha512 blob.
                let created = files::create_folder(folder).and_then(|()| files::sync_parent(folder));
                created.map_err(Error::file("create folder", folder))?;
            }
            temp.persist(&path).map_err(Error::file("write", &path))?;
        }
        for folder in &touched {
            files::sync(folder).map_err(Error::file("write", folder))?;
        }
        let mut index = self.read_index()?;
        if index::put(&mut index, &entry, &names) {
            self.write_index(&index)?;
        }
        self.whole_image(&index, &entry).ok_or(Error::Vanished)
    }

    /// The pairs of blob and diff id that images of this store vouch for: both digests were computed when the layer
    /// came in, so the same pair need not be unpacked again to be believed.
    pub(crate) fn known_pairs(&self) -> Result<HashSet<(Digest, Digest)>, Error> {
        let _shared = self.hold()?;
        let mut pairs = HashSet::new();
        let mut seen = HashSet::new();
        for entry in self.read_index()?.manifests {
            if !seen.insert(entry.digest.clone()) {
                continue;
            }
            let Ok((Manifest { layers, .. }, config)) = self.documents(&entry) else { continue };
            pairs.extend(layers.into_iter().map(|layer| layer.digest).zip(config.rootfs.diff_ids));
        }
        Ok(pairs)
    }
}

fn is_there(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

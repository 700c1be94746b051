//! How much room everything takes.

use std::collections::HashMap;

use super::{Error, Image, Store};
use crate::Digest;
use crate::manifest::{Index, Manifest};

/// How much room the store takes, in bytes of its files.
#[derive(Clone, Debug, Default)]
pub struct Usage {
    /// The images, in the order in which they came.
    pub images: Vec<ImageUsage>,
    /// All blobs and layer files, each counted once, those that no image refers to included.
    pub bytes: u64,
    /// Blobs and layer files that no image refers to.
    pub unreferenced: u64,
    /// Beginnings of blobs whose download broke off.
    pub partial: u64,
    /// How many of them.
    pub partials: usize,
    /// Files that are being written, or were by a process that died.
    pub temporary: u64,
}

/// How much room an image takes.
#[derive(Clone, Debug)]
pub struct ImageUsage {
    /// The image.
    pub image: Image,
    /// Bytes of its files, blobs and layer files.
    pub bytes: u64,
    /// Of these, those of files that other images have too.
    pub shared: u64,
}

impl Store {
    /// Adds up what everything takes.
    pub fn usage(&self) -> Result<Usage, Error> {
        let _shared = self.hold()?;
        let index = self.read_index()?;
        let images = self.all_images(&index);
        let content = self.content()?;
        // How many images have a file; of those that are not whole nobody asks.
        let files: Vec<Vec<Part>> = images.iter().map(|image| self.parts(&index, image)).collect();
        let mut owners: HashMap<&Part, u64> = HashMap::new();
        for part in files.iter().flatten() {
            let count = owners.entry(part).or_default();
            *count = count.saturating_add(1);
        }
        let mut usage = Usage::default();
        for (image, parts) in images.iter().zip(&files) {
            let sized = parts.iter().map(|part| (self.size(part), owners.get(part).is_some_and(|count| *count > 1)));
            let sized: Vec<(u64, bool)> = sized.collect();
            let bytes = sized.iter().map(|(size, _)| size).fold(0, |sum: u64, size| sum.saturating_add(*size));
            let shared = sized.iter().filter(|part| part.1).fold(0, |sum: u64, part| sum.saturating_add(part.0));
            usage.images.push(ImageUsage { image: image.clone(), bytes, shared });
        }
        let referenced = self.references(&index)?;
        let all = content.blobs.iter().map(|blob| (Part::Blob(blob.clone()), referenced.blobs.contains(blob)));
        let layers = content.layers.iter().map(|key| (Part::Layer(key.clone()), referenced.layers.contains(key)));
        for (part, referenced) in all.chain(layers) {
            let size = self.size(&part);
            usage.bytes = usage.bytes.saturating_add(size);
            usage.unreferenced = usage.unreferenced.saturating_add(if referenced { 0 } else { size });
        }
        let partials = self.partials()?;
        usage.partials = partials.len();
        usage.partial = partials.iter().fold(0, |sum: u64, file| sum.saturating_add(file.bytes));
        usage.temporary = self.temporaries()?.iter().fold(0, |sum: u64, file| sum.saturating_add(file.bytes));
        Ok(usage)
    }

    /// Bytes of the file of each layer of `image`, lowest first.
    pub fn layer_sizes(&self, image: &Image) -> Vec<u64> {
        image.layers.iter().map(|key| self.size(&Part::Layer(key.clone()))).collect()
    }

    /// The files of an image, each once, of all manifests that have its config.
    fn parts(&self, index: &Index, image: &Image) -> Vec<Part> {
        let mut parts: Vec<Part> = image.layers.iter().cloned().map(Part::Layer).collect();
        for entry in &index.manifests {
            let Ok(Manifest { config, layers, .. }) = self.manifest(entry) else { continue };
            if config.digest == image.id {
                parts.extend([entry.digest.clone(), config.digest].map(Part::Blob));
                parts.extend(layers.into_iter().map(|layer| Part::Blob(layer.digest)));
            }
        }
        parts.sort_unstable();
        parts.dedup();
        parts
    }

    fn size(&self, part: &Part) -> u64 {
        let path = match part {
            Part::Blob(digest) => self.blob(digest),
            Part::Layer(key) => self.layer(key),
        };
        path.metadata().map_or(0, |metadata| metadata.len())
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Part {
    Blob(Digest),
    Layer(Digest),
}

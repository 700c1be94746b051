//! The layers of an image that is pushed, open for reading.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use super::Error;
use crate::manifest::{Descriptor, Document, MAX_MANIFEST};
use crate::registry::Open;
use crate::{Digest, Progress, Reference, Store};

/// A layer, and where the registry may have it already.
pub(super) struct Blob {
    pub(super) descriptor: Descriptor,
    file: Option<Arc<File>>,
    /// Other repositories of the same registry.
    pub(super) elsewhere: Vec<String>,
}

/// Opens the blobs of all layers. A foreign one need not be here.
pub(super) fn open(store: &Store, layers: &[Descriptor], to: &Reference) -> Result<Vec<Blob>, Error> {
    let known = repositories(store, to);
    let open = |descriptor: &Descriptor| {
        let layer = &descriptor.digest;
        let file = match File::open(store.blob(layer)) {
            Ok(file) => Some(Arc::new(file)),
            Err(_) if descriptor.is_foreign() => None,
            Err(source) => return Err(Error::Layer { layer: layer.clone(), source }),
        };
        let elsewhere = known.iter().filter(|(_, digests)| digests.contains(layer));
        let elsewhere = elsewhere.map(|(repository, _)| repository.clone()).collect();
        Ok(Blob { descriptor: descriptor.clone(), file, elsewhere })
    };
    layers.iter().map(open).collect()
}

/// The other repositories of the same registry that images here are named after, and the layers of these.
fn repositories(store: &Store, to: &Reference) -> Vec<(String, Vec<Digest>)> {
    let mut known: Vec<(String, Vec<Digest>)> = Vec::new();
    // It saves time if it is known, that is all.
    for image in store.images().unwrap_or_default() {
        let names = image.names.iter().chain(&image.repo_digests).filter_map(|name| name.parse::<Reference>().ok());
        let mut repositories: Vec<String> = names
            .filter(|name| name.domain() == to.domain() && name.repository() != to.repository())
            .map(|name| name.repository().to_owned())
            .collect();
        repositories.dedup();
        if repositories.is_empty() {
            continue;
        }
        let document = store.read_document(&image.manifest, MAX_MANIFEST).ok();
        let Some(Ok(Document::Manifest(manifest))) = document.map(|bytes| Document::parse(&bytes, None)) else {
            continue;
        };
        let layers: Vec<Digest> = manifest.layers.into_iter().map(|layer| layer.digest).collect();
        known.extend(repositories.into_iter().map(|repository| (repository, layers.clone())));
    }
    known
}

impl Blob {
    /// Its bytes from the beginning. `progress` is told of them as they are read.
    pub(super) fn reader<'a>(&self, progress: Option<&'a dyn Progress>) -> Reader<'a> {
        Reader { file: self.file.clone(), position: 0, told: 0, digest: self.descriptor.digest.clone(), progress }
    }
}

impl Open for Blob {
    fn open(&self) -> io::Result<Box<dyn Read + '_>> {
        Ok(Box::new(self.reader(None)))
    }
}

/// Reads a file that others read too.
pub(super) struct Reader<'a> {
    file: Option<Arc<File>>,
    position: u64,
    told: u64,
    digest: Digest,
    progress: Option<&'a dyn Progress>,
}

impl Read for Reader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let file = self.file.as_ref().ok_or(io::ErrorKind::NotFound)?;
        let read = file.read_at(buffer, self.position)?;
        self.position = self.position.saturating_add(read as u64);
        if let Some(progress) = self.progress {
            progress.advance(&self.digest, self.position.saturating_sub(self.told));
            self.told = self.position;
        }
        Ok(read)
    }
}

//! Sending an image of the store to a registry.
//!
//! What came compressed is sent as it is, so that it has the digests it always had. A layer that is plain tar is
//! compressed on the way, which makes another manifest of it, with the same config: the same image by its id.

mod compress;
mod layers;

use std::io::{self, Read};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::manifest::{self, Descriptor, MAX_CONFIG, MAX_MANIFEST, Manifest, media};
use crate::registry::{self, Client, Open, Upload};
use crate::{Digest, Progress, Reference, Store, store};
pub use compress::Compression;
use layers::Blob;

/// Layers sent at once.
const PARALLEL: usize = 3;
/// Most repositories that are asked whether they have a layer already.
const MAX_MOUNTS: usize = 2;

/// How to push.
#[derive(Clone, Default)]
pub struct PushOptions {
    /// How to speak to the registry.
    pub registry: registry::Options,
    /// What becomes of layers that are plain tar.
    pub compression: Compression,
    /// Sends foreign layers too, which their makers do not want to be distributed by others.
    pub foreign: bool,
}

/// Why an image was not pushed. Layers may have been; the registry forgets those that no manifest names.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The registry.
    #[error("Cannot push to {name}")]
    Registry {
        /// Where to.
        name: String,
        /// Why.
        source: registry::Error,
    },
    /// The store.
    #[error("Cannot read the image {name}")]
    Store {
        /// The image.
        name: String,
        /// Why.
        source: store::Error,
    },
    /// The image is not here.
    #[error("There is no image {0} here: see the list of images")]
    NotFound(String),
    /// The image is damaged, or no image.
    #[error("The image {name} cannot be pushed")]
    Manifest {
        /// The image.
        name: String,
        /// Why.
        source: manifest::Error,
    },
    /// A part of it is damaged.
    #[error("The layer {layer} is damaged or gone: pull or load the image again")]
    Layer {
        /// Its digest.
        layer: Digest,
        /// Why.
        source: io::Error,
    },
    /// The destination says what the image's digest has to be.
    #[error("The image has the digest {actual}, so it cannot be pushed as {wanted}: name a tag")]
    Digest {
        /// In the destination.
        wanted: Digest,
        /// The manifest's.
        actual: Digest,
    },
    /// Another layer failed first.
    #[error("Stopped")]
    Stopped,
}

/// Sends the image called `name` (see [`Store::find`]) to where `to` says; the digest of its manifest there.
pub fn push(
    store: &Store,
    name: &str,
    to: &Reference,
    options: &PushOptions,
    progress: &dyn Progress,
) -> Result<Digest, Error> {
    let push = Push { store, name, to, options, progress, client: client(to, options)? };
    let image = store.find(name).map_err(|source| push.store_error(source))?;
    let image = image.ok_or_else(|| Error::NotFound(name.to_owned()))?;
    let bytes = push.document(&image.manifest, MAX_MANIFEST)?;
    let wrong = |source| Error::Manifest { name: name.to_owned(), source };
    let manifest::Document::Manifest(manifest) = manifest::Document::parse(&bytes, None).map_err(wrong)? else {
        return Err(wrong(manifest::Error::Unknown));
    };
    // Whatever is removed from the store meanwhile, what is open stays.
    let blobs = layers::open(store, &manifest.layers, to)?;
    let config = push.document(&manifest.config.digest, MAX_CONFIG)?;

    let sent = push.layers(&blobs)?;
    push.document_blob(&manifest.config, &config)?;
    let (bytes, kind) = rewritten(&manifest, &sent, bytes);
    let digest = Digest::of(&bytes);
    push.manifest(&bytes, &kind, digest)
}

fn client(to: &Reference, options: &PushOptions) -> Result<Client, Error> {
    Client::new(to, &options.registry).map_err(|source| Error::Registry { name: to.familiar(), source })
}

/// The manifest with the layers that were sent: the very same bytes if they are its own.
fn rewritten(manifest: &Manifest, sent: &[Descriptor], bytes: Vec<u8>) -> (Vec<u8>, String) {
    let kind = |manifest: &Manifest| manifest.entry(None, Digest::of(&[]), 0).media_type;
    if manifest.layers == sent {
        return (bytes, kind(manifest));
    }
    let mut other = Manifest { layers: sent.to_vec(), ..manifest.clone() };
    // Docker's own format knows no zstd: the image becomes one of the other format.
    if sent.iter().any(|layer| layer.media_type.ends_with("+zstd")) && kind(manifest) == media::DOCKER_MANIFEST {
        other.media_type = media::MANIFEST.to_owned();
        other.config.media_type = media::CONFIG.to_owned();
        for layer in &mut other.layers {
            layer.media_type = compress::as_oci(&layer.media_type);
        }
    }
    let kind = kind(&other);
    // A structure that was read from JSON can be written as JSON.
    (serde_json::to_vec(&other).unwrap_or(bytes), kind)
}

struct Push<'a> {
    store: &'a Store,
    name: &'a str,
    to: &'a Reference,
    options: &'a PushOptions,
    progress: &'a dyn Progress,
    client: Client,
}

impl Push<'_> {
    fn store_error(&self, source: store::Error) -> Error {
        Error::Store { name: self.name.to_owned(), source }
    }

    fn registry_error(&self, source: registry::Error) -> Error {
        Error::Registry { name: self.to.familiar(), source }
    }

    fn document(&self, digest: &Digest, limit: u64) -> Result<Vec<u8>, Error> {
        self.store.read_document(digest, limit).map_err(|source| self.store_error(source))
    }

    /// Sends all layers, several at once; what became of each.
    fn layers(&self, blobs: &[Blob]) -> Result<Vec<Descriptor>, Error> {
        let plan: Vec<(Digest, u64)> =
            blobs.iter().map(|blob| (blob.descriptor.digest.clone(), blob.descriptor.size)).collect();
        self.progress.plan(&plan);
        let (stop, next) = (AtomicBool::new(false), AtomicUsize::new(0));
        let results: Vec<Mutex<Option<Result<Descriptor, Error>>>> = blobs.iter().map(|_| Mutex::new(None)).collect();
        let work = || {
            while !stop.load(Ordering::Relaxed) {
                let position = next.fetch_add(1, Ordering::Relaxed);
                let (Some(blob), Some(slot)) = (blobs.get(position), results.get(position)) else { return };
                // The same layer twice is sent once.
                let earlier = blobs.iter().take(position).position(|other| other.descriptor == blob.descriptor);
                if earlier.is_some() {
                    continue;
                }
                let result = self.layer(blob);
                stop.fetch_or(result.is_err(), Ordering::Relaxed);
                *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
            }
        };
        std::thread::scope(|scope| {
            for _ in 1..blobs.len().min(PARALLEL) {
                scope.spawn(work);
            }
            work();
        });
        let mut sent: Vec<Descriptor> = Vec::with_capacity(blobs.len());
        let mut stopped = false;
        for (blob, slot) in blobs.iter().zip(results) {
            match slot.into_inner().unwrap_or_else(PoisonError::into_inner) {
                Some(result) => sent.push(result?),
                None => {
                    let earlier = blobs.iter().position(|other| other.descriptor == blob.descriptor);
                    match earlier.and_then(|earlier| sent.get(earlier)).cloned() {
                        Some(same) if earlier < Some(sent.len()) => sent.push(same),
                        _ => {
                            // The one that failed stands later; its error is the one to tell.
                            stopped = true;
                            sent.push(blob.descriptor.clone());
                        }
                    }
                }
            }
        }
        if stopped { Err(Error::Stopped) } else { Ok(sent) }
    }

    fn layer(&self, blob: &Blob) -> Result<Descriptor, Error> {
        let descriptor = &blob.descriptor;
        if descriptor.is_foreign() && !self.options.foreign {
            self.progress.present(&descriptor.digest);
            return Ok(descriptor.clone());
        }
        let target = compress::target(&descriptor.media_type, self.options.compression);
        if target.is_none() && self.is_there(blob)? {
            self.progress.present(&descriptor.digest);
            return Ok(descriptor.clone());
        }
        self.progress.start(&descriptor.digest, descriptor.size);
        let sent = match target {
            None => {
                let advance = |bytes: u64| self.progress.advance(&descriptor.digest, bytes);
                let known = Some((&descriptor.digest, descriptor.size));
                self.upload(descriptor, &Upload { source: blob, known, advance: &advance })?;
                descriptor.clone()
            }
            Some((media_type, format)) => {
                // How much of the tar has gone is told when it is read: its size is what was announced.
                let source = Compressed { blob, format, progress: self.progress };
                let upload = Upload { source: &source, known: None, advance: &|_| {} };
                let (digest, size) = self.upload(descriptor, &upload)?;
                Descriptor { media_type, digest, size, ..descriptor.clone() }
            }
        };
        self.progress.done(&descriptor.digest);
        Ok(sent)
    }

    fn upload(&self, layer: &Descriptor, upload: &Upload<'_>) -> Result<(Digest, u64), Error> {
        self.client.upload(upload).map_err(|error| match error {
            registry::Error::Local(source) => Error::Layer { layer: layer.digest.clone(), source },
            other => self.registry_error(other),
        })
    }

    /// Whether the registry has it, or can take it from another of its repositories.
    fn is_there(&self, blob: &Blob) -> Result<bool, Error> {
        if self.client.has_blob(&blob.descriptor.digest).map_err(|source| self.registry_error(source))? {
            return Ok(true);
        }
        for from in blob.elsewhere.iter().take(MAX_MOUNTS) {
            match self.client.mount(&blob.descriptor.digest, from) {
                Ok(true) => return Ok(true),
                Ok(false) => {}
                // It was worth a try; sending will tell what is really wrong.
                Err(error) => log::info!("Layer {} was not mounted from {from}: {error}", blob.descriptor.digest),
            }
        }
        Ok(false)
    }

    /// Sends a small blob that is in memory.
    fn document_blob(&self, descriptor: &Descriptor, bytes: &[u8]) -> Result<(), Error> {
        if self.client.has_blob(&descriptor.digest).map_err(|source| self.registry_error(source))? {
            return Ok(());
        }
        let known = Some((&descriptor.digest, bytes.len() as u64));
        self.upload(descriptor, &Upload { source: &Document(bytes), known, advance: &|_| {} }).map(|_| ())
    }

    /// Sends the manifest, by its digest and by the tag, as far as the destination has them.
    fn manifest(&self, bytes: &[u8], kind: &str, actual: Digest) -> Result<Digest, Error> {
        let put =
            |target: &str| self.client.put_manifest(target, bytes, kind).map_err(|source| self.registry_error(source));
        if let Some(wanted) = self.to.digest() {
            // A digest of the other algorithm is the registry's to compare.
            if wanted.algorithm() == actual.algorithm() && *wanted != actual {
                return Err(Error::Digest { wanted: wanted.clone(), actual });
            }
            put(wanted.as_str())?;
        }
        if let Some(tag) = self.to.tag() {
            put(tag)?;
        }
        Ok(actual)
    }
}

/// A blob that is compressed while it is read.
struct Compressed<'a> {
    blob: &'a Blob,
    format: Compression,
    progress: &'a dyn Progress,
}

impl Open for Compressed<'_> {
    fn open(&self) -> io::Result<Box<dyn Read + '_>> {
        compress::reader(self.format, self.blob.reader(Some(self.progress)))
    }
}

/// A small blob that is in memory.
struct Document<'a>(&'a [u8]);

impl Open for Document<'_> {
    fn open(&self) -> io::Result<Box<dyn Read + '_>> {
        Ok(Box::new(self.0))
    }
}

//! Bringing an image in from a registry.

use std::sync::Arc;

use crate::ingest::{self, Source, Wanted};
use crate::manifest::{self, Descriptor, Document, Index, MAX_CONFIG, MAX_MANIFEST, Manifest};
use crate::registry::{self, Client};
use crate::store::Incoming;
use crate::trust::{self, Policy, RegistrySignatures, Signed};
use crate::{Digest, Image, ImageConfig, Platform, Progress, Reference, Store, platform};

/// How deep indexes in indexes are followed.
const MAX_NESTING: u32 = 3;

/// How to pull.
#[derive(Clone)]
pub struct PullOptions {
    /// Which of several images under one name.
    pub platform: Platform,
    /// How to speak to the registry.
    pub registry: registry::Options,
    /// Which images may come in.
    pub policy: Arc<Policy>,
}

impl Default for PullOptions {
    /// This host's platform, the user's logins, and a policy that accepts anything.
    fn default() -> PullOptions {
        PullOptions {
            platform: Platform::host(),
            registry: registry::Options::default(),
            policy: Arc::new(Policy::accept_anything()),
        }
    }
}

/// Why an image was not pulled. Nothing of it was kept.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The registry.
    #[error("Cannot pull {name}")]
    Registry {
        /// The image.
        name: String,
        /// Why.
        source: registry::Error,
    },
    /// What the registry sent is not an image.
    #[error("Cannot pull {name}")]
    Manifest {
        /// The image.
        name: String,
        /// Why.
        source: manifest::Error,
    },
    /// The signature policy.
    #[error("Cannot pull {name}")]
    Trust {
        /// The image.
        name: String,
        /// Why.
        source: trust::Error,
    },
    /// The config was damaged.
    #[error("The config of {name} was damaged on its way: try again")]
    Config {
        /// The image.
        name: String,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// There is one for other machines only.
    #[error("{name} has no image for {wanted}: it offers {offered}")]
    Platform {
        /// The image.
        name: String,
        /// What was looked for.
        wanted: Platform,
        /// What there is.
        offered: String,
    },
    /// Indexes in indexes in indexes.
    #[error("{name} is an index nested more than {MAX_NESTING} deep")]
    Nesting {
        /// The image.
        name: String,
    },
    /// A layer, or the disk.
    #[error("Cannot pull {name}")]
    Content {
        /// The image.
        name: String,
        /// Why.
        source: Box<ingest::Error>,
    },
}

/// Pulls the image that `reference` names for the platform of `options` into the store, and names it. Layers that
/// are here already are not fetched again.
pub fn pull(
    store: &Store,
    reference: &Reference,
    options: &PullOptions,
    progress: &dyn Progress,
) -> Result<Image, Error> {
    let pull = Pull { name: reference.familiar(), reference, options, client: client(reference, options)? };
    let untrusted = |source| Error::Trust { name: pull.name.clone(), source };
    options.policy.check_name(reference).map_err(untrusted)?;
    let found = pull.manifest(store)?;
    let signatures = RegistrySignatures::new(&pull.client, reference);
    options.policy.check_any(reference, &found.documents(), &signatures).map_err(untrusted)?;
    let config_bytes = pull.config(store, &found.manifest.config)?;
    let fail = |source| Error::Manifest { name: pull.name.clone(), source };
    let config = ImageConfig::parse(&config_bytes).map_err(fail)?;
    found.manifest.check_config(&config).map_err(fail)?;
    pull.check_platform(&config)?;
    let wanted: Vec<Wanted> =
        found.manifest.layers.iter().zip(&config.rootfs.diff_ids).map(Wanted::announced).collect();
    let open = |position: usize, offset: u64| {
        let layer = found.manifest.layers.get(position).ok_or("No such layer")?;
        Ok(Box::new(pull.client.blob_from(layer, offset)?) as ingest::Bytes<'_>)
    };
    let incoming = |layers| Incoming {
        entry: found.entry.clone(),
        manifest: found.bytes.clone(),
        config_digest: found.manifest.config.digest.clone(),
        config: config_bytes.clone(),
        layers,
        names: vec![reference.stored()],
    };
    let image = ingest::image(store, &wanted, &Source::Resumable(&open), progress, &incoming);
    image.map_err(|error| Error::Content { name: pull.name.clone(), source: Box::new(error) })
}

fn client(reference: &Reference, options: &PullOptions) -> Result<Client, Error> {
    Client::new(reference, &options.registry).map_err(|source| Error::Registry { name: reference.familiar(), source })
}

struct Pull<'a> {
    name: String,
    reference: &'a Reference,
    options: &'a PullOptions,
    client: Client,
}

struct Found {
    /// What the name stands for, if that is an index.
    index: Option<(Digest, Vec<u8>)>,
    entry: Descriptor,
    bytes: Vec<u8>,
    manifest: Manifest,
}

impl Found {
    /// Where a signature may be.
    fn documents(&self) -> Vec<Signed<'_>> {
        let index = self.index.iter().map(|(digest, bytes)| Signed { digest, bytes });
        index.chain([Signed { digest: &self.entry.digest, bytes: &self.bytes }]).collect()
    }
}

impl Pull<'_> {
    /// The manifest for the wanted platform, by way of as many indexes as it takes. What a name means only the registry
    /// knows; what a digest means is known if it is in the store.
    fn manifest(&self, store: &Store) -> Result<Found, Error> {
        let registry = |source| Error::Registry { name: self.name.clone(), source };
        let broken = |source| Error::Manifest { name: self.name.clone(), source };
        let (mut bytes, mut kind) = self.client.manifest(self.reference).map_err(registry)?;
        let mut digest = self.reference.digest().cloned();
        let mut top: Option<(Digest, Vec<u8>)> = None;
        for _ in 0..=MAX_NESTING {
            let index = match Document::parse(&bytes, kind.as_deref()).map_err(broken)? {
                Document::Manifest(manifest) => {
                    manifest.check().map_err(broken)?;
                    let digest = digest.unwrap_or_else(|| Digest::of(&bytes));
                    let came_by = top.as_ref().map(|(index, _)| index);
                    let entry = manifest.entry(kind.as_deref(), digest, bytes.len() as u64).with_index(came_by);
                    return Ok(Found { index: top, entry, bytes, manifest });
                }
                Document::Index(index) => index,
            };
            let own = digest.take().unwrap_or_else(|| Digest::of(&bytes));
            top.get_or_insert((own, bytes));
            let chosen = self.choose(&index)?;
            (bytes, kind) = match store.read_document(&chosen.digest, MAX_MANIFEST) {
                Ok(bytes) => (bytes, Some(chosen.media_type.clone())),
                Err(_) => self.client.manifest_by_digest(&chosen.digest).map_err(registry)?,
            };
            digest = Some(chosen.digest.clone());
        }
        Err(Error::Nesting { name: self.name.clone() })
    }

    fn choose<'i>(&self, index: &'i Index) -> Result<&'i Descriptor, Error> {
        platform::choose(&index.manifests, &self.options.platform)
            .ok_or_else(|| self.wrong_platform(platform::offered(&index.manifests)))
    }

    fn check_platform(&self, config: &ImageConfig) -> Result<(), Error> {
        let platform = config.platform();
        if platform.suits(&self.options.platform) { Ok(()) } else { Err(self.wrong_platform(platform.to_string())) }
    }

    fn wrong_platform(&self, offered: String) -> Error {
        Error::Platform { name: self.name.clone(), wanted: self.options.platform.clone(), offered }
    }

    /// The bytes of the config, from the store if they are there, verified.
    fn config(&self, store: &Store, descriptor: &Descriptor) -> Result<Vec<u8>, Error> {
        if descriptor.size > MAX_CONFIG {
            let source = manifest::Error::TooLarge { what: "config" };
            return Err(Error::Manifest { name: self.name.clone(), source });
        }
        if let Ok(bytes) = store.read_document(&descriptor.digest, MAX_CONFIG) {
            return Ok(bytes);
        }
        let registry = |source| Error::Registry { name: self.name.clone(), source };
        let blob = self.client.blob(descriptor).map_err(registry)?;
        descriptor.read(blob).map_err(|source| Error::Config { name: self.name.clone(), source })
    }
}

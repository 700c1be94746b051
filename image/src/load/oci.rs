//! OCI layouts, in an archive or a folder; also what `docker save` writes since version 25.

use std::collections::BTreeMap;
use std::io::Read;

use super::archive::Archive;
use super::{Error, Loaded, Target};
use crate::ingest::{self, Layer, Source, Wanted};
use crate::manifest::{self, Descriptor, Document, Index, MAX_CONFIG, MAX_MANIFEST};
use crate::store::{Incoming, REF_NAME};
use crate::{Digest, ImageConfig, Reference, platform};

/// The full name, where [`REF_NAME`] has only the tag.
const CONTAINERD_NAME: &str = "io.containerd.image.name";
/// How deep indexes in indexes are followed.
const MAX_NESTING: u32 = 3;

/// Loads the images of the layout that are for the wanted platform.
pub(super) fn load(target: &Target<'_>, archive: &Archive) -> Result<Vec<Loaded>, Error> {
    let bytes = archive.read("index.json", MAX_MANIFEST)?;
    let malformed = |source: serde_json::Error| Error::Document { name: "index.json".into(), source: source.into() };
    let index: Index = serde_json::from_slice(&bytes).map_err(malformed)?;
    let suits = |entry: &&Descriptor| entry.platform.as_ref().is_none_or(|platform| platform.suits(target.platform));
    // One image may have several entries, one for each of its names.
    let mut images: Vec<(&Descriptor, Vec<String>)> = Vec::new();
    let mut places: BTreeMap<&Digest, usize> = BTreeMap::new();
    for entry in index.manifests.iter().filter(suits) {
        let place = *places.entry(&entry.digest).or_insert(images.len());
        if place == images.len() {
            images.push((entry, Vec::new()));
        }
        if let Some((_, names)) = images.get_mut(place) {
            names.extend(name_of(entry));
        }
    }
    let (mut loaded, mut skipped) = (Vec::new(), None);
    for (entry, names) in images {
        match load_one(target, archive, entry, names) {
            Ok(image) => loaded.push(image),
            // Signatures and the like may lie beside images.
            Err(error @ Error::Manifest { source: manifest::Error::Artifact(_), .. }) => skipped = Some(error),
            Err(error) => return Err(error),
        }
    }
    match skipped {
        _ if !loaded.is_empty() => Ok(loaded),
        Some(error) => Err(error),
        None if index.manifests.is_empty() => Err(Error::NoImages),
        None => Err(target.wrong_platform(platform::offered(&index.manifests))),
    }
}

fn load_one(target: &Target<'_>, archive: &Archive, top: &Descriptor, names: Vec<String>) -> Result<Loaded, Error> {
    let name = names.first().cloned().unwrap_or_else(|| top.digest.to_string());
    let fail = |source| Error::Manifest { name: name.clone(), source };
    let (mut entry, mut depth, mut by) = (top.clone(), 0, None);
    let (bytes, manifest) = loop {
        let bytes = read(archive, &entry, MAX_MANIFEST)?;
        let index = match Document::parse(&bytes, Some(&entry.media_type)).map_err(fail)? {
            Document::Manifest(manifest) => break (bytes, manifest),
            Document::Index(index) => index,
        };
        by.get_or_insert_with(|| entry.digest.clone());
        depth += 1;
        entry = match platform::choose(&index.manifests, target.platform) {
            Some(_) if depth > MAX_NESTING => return Err(Error::Damaged("its indexes are nested too deep".into())),
            Some(entry) => entry.clone(),
            None => return Err(target.wrong_platform(platform::offered(&index.manifests))),
        };
    };
    manifest.check().map_err(fail)?;
    let config_bytes = read(archive, &manifest.config, MAX_CONFIG)?;
    let config = ImageConfig::parse(&config_bytes).map_err(fail)?;
    manifest.check_config(&config).map_err(fail)?;
    target.check_platform(&config)?;
    let wanted: Vec<Wanted> = manifest.layers.iter().zip(&config.rootfs.diff_ids).map(Wanted::announced).collect();
    let open = |position: usize| {
        let layer = manifest.layers.get(position).ok_or("No such layer")?;
        Ok(Box::new(archive.open(&blob(&layer.digest))?) as Box<dyn Read + Send>)
    };
    let incoming = |layers: Vec<Layer>| Incoming {
        entry: manifest
            .entry(Some(&entry.media_type), entry.digest.clone(), bytes.len() as u64)
            .with_index(by.as_ref()),
        manifest: bytes.clone(),
        config_digest: manifest.config.digest.clone(),
        config: config_bytes.clone(),
        layers,
        names: names.clone(),
    };
    let image = ingest::image(target.store, &wanted, &Source::Whole(&open), target.progress, &incoming);
    let image = image.map_err(|source| Error::Content { name: name.clone(), source })?;
    Ok(Loaded { image, names })
}

fn blob(digest: &Digest) -> String {
    format!("blobs/{}/{}", digest.algorithm().name(), digest.hex())
}

/// A document of the layout, verified.
fn read(archive: &Archive, descriptor: &Descriptor, limit: u64) -> Result<Vec<u8>, Error> {
    let name = blob(&descriptor.digest);
    let bytes = archive.read(&name, limit)?;
    descriptor.read(bytes.as_slice()).map_err(|source| Error::Document { name, source })
}

/// What an entry calls its image. A bare `latest` is only a tag: some writers leave out what it is the tag of.
fn name_of(entry: &Descriptor) -> Option<String> {
    let name = entry.annotations.get(CONTAINERD_NAME).or_else(|| entry.annotations.get(REF_NAME))?;
    if name == "latest" {
        return None;
    }
    let reference = name.parse::<Reference>();
    reference
        .inspect_err(|error| log::warn!("The name {name:?} in the archive is ignored: {error}"))
        .ok()
        .map(|r| r.stored())
}

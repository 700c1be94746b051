//! The archive of `docker save`: `manifest.json` names the config and the layers of each image, which has no manifest
//! of its own. It is given one, the same at every load.

use std::io::Read;

use serde::Deserialize;

use super::archive::Archive;
use super::{Compression, Error, Loaded, Target};
use crate::ingest::{self, Layer, Source, Wanted};
use crate::manifest::{self, Descriptor, MAX_CONFIG, Manifest, media, nullable};
use crate::store::Incoming;
use crate::{Digest, ImageConfig, Reference};

/// Largest `manifest.json`, as other readers have it (CVE-2020-1702 was the lack of a limit).
const MAX_LIST: u64 = 1 << 20;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Item {
    config: String,
    #[serde(default, deserialize_with = "nullable")]
    repo_tags: Vec<String>,
    #[serde(default, deserialize_with = "nullable")]
    layers: Vec<String>,
}

/// Loads every image of the archive.
pub(super) fn load(target: &Target<'_>, archive: &Archive) -> Result<Vec<Loaded>, Error> {
    let list = archive.read("manifest.json", MAX_LIST)?;
    let malformed = |source: serde_json::Error| Error::Document { name: "manifest.json".into(), source: source.into() };
    let items: Vec<Item> = serde_json::from_slice(&list).map_err(malformed)?;
    if items.is_empty() {
        return Err(Error::NoImages);
    }
    items.iter().map(|item| load_one(target, archive, item)).collect()
}

fn load_one(target: &Target<'_>, archive: &Archive, item: &Item) -> Result<Loaded, Error> {
    let name = item.repo_tags.first().unwrap_or(&item.config).clone();
    let fail = |source| Error::Manifest { name: name.clone(), source };
    let config_bytes = archive.read(&item.config, MAX_CONFIG)?;
    let config = ImageConfig::parse(&config_bytes).map_err(fail)?;
    target.check_platform(&config)?;
    let (layers, diff_ids) = (item.layers.len(), config.rootfs.diff_ids.len());
    if layers != diff_ids {
        return Err(fail(manifest::Error::Layers { layers, diff_ids }));
    }
    if layers > manifest::MAX_LAYERS {
        return Err(fail(manifest::Error::TooManyLayers(layers)));
    }
    let wanted: Result<Vec<Wanted>, Error> =
        item.layers.iter().zip(&config.rootfs.diff_ids).map(|(path, diff_id)| wanted(archive, path, diff_id)).collect();
    let open = |position: usize| {
        let path = item.layers.get(position).ok_or("No such layer")?;
        Ok(Box::new(archive.open(path)?) as Box<dyn Read + Send>)
    };
    let mut names = Vec::new();
    for tag in &item.repo_tags {
        let document =
            |source: crate::name::Error| Error::Document { name: "manifest.json".into(), source: source.into() };
        names.push(tag.parse::<Reference>().map_err(document)?.stored());
    }
    let config_digest = Digest::of(&config_bytes);
    let incoming = |layers: Vec<Layer>| {
        let config = Descriptor::new(media::CONFIG, config_digest.clone(), config_bytes.len() as u64);
        let manifest = Manifest::new(config, layers.iter().map(|layer| layer.descriptor.clone()).collect());
        let bytes = serde_json::to_vec(&manifest).unwrap_or_default();
        Incoming {
            entry: manifest.entry(None, Digest::of(&bytes), bytes.len() as u64),
            manifest: bytes,
            config_digest: config_digest.clone(),
            config: config_bytes.clone(),
            layers,
            names: names.clone(),
        }
    };
    let image = ingest::image(target.store, &wanted?, &Source::Whole(&open), target.progress, &incoming);
    let image = image.map_err(|source| Error::Content { name, source })?;
    Ok(Loaded { image, names })
}

/// A layer that is not compressed is its own diff; what a compressed one is called becomes known when it is read.
fn wanted(archive: &Archive, path: &str, diff_id: &Digest) -> Result<Wanted, Error> {
    let part = archive.open(path)?;
    let size = part.size();
    let mut start = Vec::new();
    part.take(8).read_to_end(&mut start).map_err(|source| Error::Read { name: path.to_owned(), source })?;
    let compression = Compression::of(&start);
    let blob = (compression == Compression::None).then(|| (diff_id.clone(), size));
    Ok(Wanted { blob, media_type: format!("{}{}", media::LAYER, compression.suffix()), diff_id: diff_id.clone() })
}

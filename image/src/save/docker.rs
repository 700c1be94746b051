//! The archive of `docker save`: layers uncompressed under their diff ids, configs, and a `manifest.json` that says
//! which belong together. Names of files are those that Docker 25 and later give them.

use std::collections::HashSet;
use std::io::{self, Read};

use serde::Serialize;

use super::oci::blob;
use super::tar::Writer;
use super::{Error, Opened};
use crate::digest::Hashing;
use crate::manifest::Descriptor;
use crate::{Digest, layer};

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Item {
    config: String,
    repo_tags: Vec<String>,
    layers: Vec<String>,
}

pub(super) fn write(images: &[Opened], writer: &mut Writer<'_>) -> Result<(), Error> {
    let mut written: HashSet<Digest> = HashSet::new();
    let mut list = Vec::new();
    for image in images {
        for (layer, diff_id) in image.layers() {
            if written.insert(diff_id.clone()) {
                write_layer(image, layer, diff_id, writer)?;
            }
        }
        let config = blob(&image.image.id);
        if written.insert(image.image.id.clone()) {
            writer.file(&config, image.config.len() as u64, &mut image.config.as_slice())?;
        }
        list.push(Item {
            config,
            // In full: podman takes a short name for one of its own.
            repo_tags: image.names.clone(),
            layers: image.layers().map(|(_, diff_id)| blob(diff_id)).collect(),
        });
    }
    let list = serde_json::to_vec(&list).map_err(Error::Document)?;
    writer.file("manifest.json", list.len() as u64, &mut list.as_slice())
}

/// A tar file says how long a file is before it comes: where nothing can be put right afterwards, the layer is
/// decompressed twice.
fn write_layer(image: &Opened, layer: &Descriptor, diff_id: &Digest, writer: &mut Writer<'_>) -> Result<(), Error> {
    let damaged = |source: io::Error| Error::Content { digest: layer.digest.clone(), source: source.into() };
    let verify = |hashing: Hashing<Box<dyn Read + Send>>| {
        let mismatch = |source: crate::digest::Error| Error::Content { digest: diff_id.clone(), source: source.into() };
        hashing.verify(diff_id).map_err(mismatch)
    };
    let open = || {
        let fail = |source| Error::Decompress { layer: layer.digest.clone(), source };
        let tar = layer::decompress(Box::new(image.blob(layer)?)).map_err(fail)?;
        Ok::<_, Error>(Hashing::new(tar, diff_id.algorithm(), None))
    };
    let name = blob(diff_id);
    if writer.can_go_back() {
        let mut tar = open()?;
        writer.file_of_any_size(&name, &mut tar)?;
        return verify(tar).map(drop);
    }
    let mut tar = open()?;
    tar.drain().map_err(damaged)?;
    let size = verify(tar)?;
    writer.file(&name, size, &mut open()?)
}

//! OCI image layouts (OCI image specification, image-layout.md): all content as it came.

use std::collections::HashSet;
use std::io::Read;

use super::{Error, Opened};
use crate::Digest;
use crate::manifest::Index;
use crate::store::{OCI_LAYOUT, REF_NAME};

/// Writes one file: name, size, content.
type Put<'a> = dyn FnMut(&str, u64, &mut dyn Read) -> Result<(), Error> + 'a;

pub(super) fn write(images: &[Opened], put: &mut Put<'_>) -> Result<(), Error> {
    let mut index = Index::default();
    let mut written: HashSet<Digest> = HashSet::new();
    put("oci-layout", OCI_LAYOUT.len() as u64, &mut &*OCI_LAYOUT)?;
    for image in images {
        let documents = [(&image.image.manifest, &image.manifest_bytes), (&image.image.id, &image.config)];
        for (digest, bytes) in documents {
            if written.insert(digest.clone()) {
                put(&blob(digest), bytes.len() as u64, &mut bytes.as_slice())?;
            }
        }
        for layer in &image.manifest.layers {
            if written.insert(layer.digest.clone()) {
                put(&blob(&layer.digest), layer.size, &mut image.blob(layer)?)?;
            }
        }
        for name in &image.names {
            let mut entry = image.entry.clone();
            entry.annotations.insert(REF_NAME.to_owned(), name.clone());
            index.manifests.push(entry);
        }
        if image.names.is_empty() {
            index.manifests.push(image.entry.clone());
        }
    }
    let index = serde_json::to_vec(&index).map_err(Error::Document)?;
    put("index.json", index.len() as u64, &mut index.as_slice())
}

/// Where content is in a layout.
pub(super) fn blob(digest: &Digest) -> String {
    format!("blobs/{}/{}", digest.algorithm().name(), digest.hex())
}

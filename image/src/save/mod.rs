//! Writing images out: as `docker save` does, or as an OCI layout in an archive or a folder.
//!
//! The same images give the same bytes. All files are opened before the first is written, so that an image may be
//! removed meanwhile.

mod docker;
mod oci;
mod tar;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::digest::Hashing;
use crate::manifest::{Descriptor, MAX_CONFIG, MAX_MANIFEST, Manifest};
use crate::store::{self, Store};
use crate::{Digest, Image, Platform, Reference, layer};
use tar::Writer;

/// Forms of archives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// What `docker save` writes and everybody reads. Layers are uncompressed in it, and the image gets another manifest
    /// when it is loaded; its id stays.
    Docker,
    /// An OCI layout: everything as it came, digests included.
    Oci,
}

/// Where an archive goes.
pub enum Target<'a> {
    /// A new file, which can be written to at any place.
    File(&'a File),
    /// A pipe.
    Stream(&'a mut dyn Write),
}

/// Why images were not saved.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nothing to do.
    #[error("No image was named")]
    NoImages,
    /// No such image.
    #[error("There is no image {0} here: pull or load it first, or see the list of images")]
    NotFound(String),
    /// Only for other machines.
    #[error("There is no image {name} for {platform} here: pull it with --platform {platform}")]
    Platform {
        /// As given.
        name: String,
        /// What was looked for.
        platform: Platform,
    },
    /// The store.
    #[error("Cannot look for the image {name}")]
    Store {
        /// As given.
        name: String,
        /// Why.
        source: store::Error,
    },
    /// A document or layer of the image.
    #[error("Cannot read {digest} of the image: coracle system check tells what is damaged")]
    Content {
        /// Its digest.
        digest: Digest,
        /// Why.
        source: BoxError,
    },
    /// The layer does not decompress.
    #[error("Cannot decompress layer {layer}: coracle system check tells what is damaged")]
    Decompress {
        /// Digest of its blob.
        layer: Digest,
        /// Why.
        source: layer::Error,
    },
    /// Content that differs from what it should be, or a disk that does not answer.
    #[error("Cannot read {name} of the image: coracle system check tells what is damaged")]
    Read {
        /// Its name in the archive.
        name: String,
        /// Why.
        source: io::Error,
    },
    /// A document could not be made.
    #[error("Cannot describe the images")]
    Document(#[source] serde_json::Error),
    /// The archive.
    #[error("Cannot write the archive: is the disk full?")]
    Write(#[source] io::Error),
    /// The folder.
    #[error("Cannot write {path}")]
    Folder {
        /// File or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Something is there already.
    #[error("{0} is there already: name a folder that is not")]
    Exists(PathBuf),
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Writes the images called `names` as one archive: of each that for `platform`, or for this host if there is none given.
pub fn save(
    store: &Store,
    names: &[String],
    platform: Option<&Platform>,
    format: Format,
    target: Target<'_>,
) -> Result<(), Error> {
    let images = open(store, names, platform)?;
    let mut writer = Writer::new(target);
    match format {
        Format::Docker => docker::write(&images, &mut writer)?,
        Format::Oci => {
            oci::write(&images, &mut |name, size, content| writer.file(name, size, content))?;
        }
    }
    writer.finish()
}

/// Writes the images called `names` as an OCI layout into the new folder `path`. It appears whole or not at all.
pub fn save_folder(store: &Store, names: &[String], platform: Option<&Platform>, path: &Path) -> Result<(), Error> {
    let fail = |path: &Path| {
        let path = path.to_owned();
        move |source| Error::Folder { path, source }
    };
    let images = open(store, names, platform)?;
    if path.symlink_metadata().is_ok() {
        return Err(Error::Exists(path.to_owned()));
    }
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}.part", std::process::id()));
    let beside = PathBuf::from(beside);
    let write = || {
        oci::write(&images, &mut |name, _, content| {
            let path = beside.join(name);
            let folder = path.parent().unwrap_or(&beside);
            fs::create_dir_all(folder).map_err(fail(folder))?;
            let mut file = File::create_new(&path).map_err(fail(&path))?;
            io::copy(content, &mut file).and_then(|_| file.sync_all()).map_err(fail(&path))
        })?;
        fs::rename(&beside, path).map_err(fail(path))
    };
    write().inspect_err(|_| drop(fs::remove_dir_all(&beside)))
}

/// An image to be written, open.
struct Opened {
    image: Image,
    /// The tagged names asked for, in full; none if it was asked for by id or digest.
    names: Vec<String>,
    /// Its entry in an index.
    entry: Descriptor,
    manifest_bytes: Vec<u8>,
    manifest: Manifest,
    config: Vec<u8>,
    /// The blobs of its layers by digest.
    blobs: BTreeMap<Digest, File>,
}

/// Finds and opens everything; one image of several names is opened once.
fn open(store: &Store, names: &[String], platform: Option<&Platform>) -> Result<Vec<Opened>, Error> {
    let mut opened: Vec<Opened> = Vec::new();
    for name in names {
        let fail = |source| Error::Store { name: name.clone(), source };
        let _hold = store.hold().map_err(fail)?;
        let image = match platform {
            Some(platform) => store.find_platform(name, platform).map_err(fail)?.ok_or_else(|| {
                let (name, platform) = (name.clone(), platform.clone());
                Error::Platform { name, platform }
            })?,
            None => store.find(name).map_err(fail)?.ok_or_else(|| Error::NotFound(name.clone()))?,
        };
        let tagged = name.parse::<Reference>().ok().filter(|name| name.digest().is_none()).map(|name| name.stored());
        // What looks like a name may be an id.
        let tagged = tagged.filter(|name| image.names.contains(name));
        match opened.iter_mut().find(|other| other.image.manifest == image.manifest) {
            Some(known) => {
                let new = tagged.filter(|name| !known.names.contains(name));
                known.names.extend(new);
            }
            None => opened.push(Opened::new(store, image, tagged.into_iter().collect())?),
        }
    }
    if opened.is_empty() { Err(Error::NoImages) } else { Ok(opened) }
}

impl Opened {
    fn new(store: &Store, image: Image, names: Vec<String>) -> Result<Opened, Error> {
        let read = |digest: &Digest, limit: u64| {
            let fail = |source: store::Error| Error::Content { digest: digest.clone(), source: source.into() };
            store.read_document(digest, limit).map_err(fail)
        };
        let manifest_bytes = read(&image.manifest, MAX_MANIFEST)?;
        let manifest: Manifest = serde_json::from_slice(&manifest_bytes)
            .map_err(|source| Error::Content { digest: image.manifest.clone(), source: source.into() })?;
        let config = read(&image.id, MAX_CONFIG)?;
        let mut blobs = BTreeMap::new();
        for layer in &manifest.layers {
            let fail = |source: io::Error| Error::Content { digest: layer.digest.clone(), source: source.into() };
            if !blobs.contains_key(&layer.digest) {
                blobs.insert(layer.digest.clone(), File::open(store.blob(&layer.digest)).map_err(fail)?);
            }
        }
        let mut entry = manifest.entry(None, image.manifest.clone(), manifest_bytes.len() as u64);
        entry.platform = Some(image.config.platform()).filter(|platform| !platform.architecture.is_empty());
        Ok(Opened { image, names, entry, manifest_bytes, manifest, config, blobs })
    }

    /// The layers as they lie in the store, and their diff ids.
    fn layers(&self) -> impl Iterator<Item = (&Descriptor, &Digest)> {
        self.manifest.layers.iter().zip(&self.image.config.rootfs.diff_ids)
    }

    /// The compressed bytes of a layer from their start, verified as they are read to their end.
    fn blob(&self, layer: &Descriptor) -> Result<Verified, Error> {
        let fail = |source: BoxError| Error::Content { digest: layer.digest.clone(), source };
        let file = self.blobs.get(&layer.digest).ok_or_else(|| fail("It was not opened".into()))?;
        // Its position is its own, whoever else reads the same file.
        let file = File::open(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(file)));
        let file = file.map_err(|error| fail(error.into()))?;
        Ok(Verified::new(file, layer))
    }
}

/// Bytes that turn into an error at their end if they were not those announced.
struct Verified {
    inner: Option<Hashing<File>>,
    digest: Digest,
}

impl Verified {
    fn new(file: File, layer: &Descriptor) -> Verified {
        let inner = Hashing::new(file, layer.digest.algorithm(), Some(layer.size));
        Verified { inner: Some(inner), digest: layer.digest.clone() }
    }
}

impl io::Read for Verified {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(inner) = &mut self.inner else { return Ok(0) };
        let read = inner.read(buffer)?;
        if read == 0
            && !buffer.is_empty()
            && let Some(inner) = self.inner.take()
        {
            inner.verify(&self.digest).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        }
        Ok(read)
    }
}

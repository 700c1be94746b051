//! Bringing images in from archives: `docker save` of every age, OCI archives, and OCI layout folders.
//!
//! An archive is read where it lies. Only what cannot be read at any place, a compressed one or a pipe, is first
//! written out to a file of the store's own. Nothing is ever unpacked by name.

mod archive;
mod docker;
mod oci;
mod tar_index;

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::store;
use crate::trust::{self, Policy, Transport};
use crate::{Image, Platform, Progress, Store, ingest, layer, manifest};
use archive::Archive;

/// Where an archive comes from.
pub enum Source<'a> {
    /// A file, or the folder of an OCI layout.
    Path(&'a Path),
    /// A pipe.
    Stream(&'a mut (dyn Read + Send)),
}

/// An image that was loaded.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The image.
    pub image: Image,
    /// The names that the archive gave it, in full; none if it has none.
    pub names: Vec<String>,
}

/// Why an archive was not loaded. Images of it that stood before the failing one are in the store.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The archive itself.
    #[error("Cannot read the archive {path}")]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A part of it.
    #[error("Cannot read {name} in the archive")]
    Read {
        /// Name in the archive.
        name: String,
        /// Why.
        source: io::Error,
    },
    /// Writing it out.
    #[error("Cannot write the archive out to the store: is the disk full?")]
    Spool(#[source] io::Error),
    /// Compression.
    #[error("Cannot decompress the archive")]
    Decompress(#[source] layer::Error),
    /// Compression that is not known here.
    #[error("The archive is compressed with {0}, which is not supported: decompress it first")]
    Compression(&'static str),
    /// Not an archive.
    #[error("This is not an image archive: neither a tar file from `save` nor an OCI layout")]
    NotAnArchive,
    /// A tar of something else.
    #[error("This is not an image archive: it has neither manifest.json nor index.json")]
    NoImages,
    /// Docker before 1.10.
    #[error("This archive is in the format of Docker before 1.10: load and save it again with a newer one")]
    TooOld,
    /// A tar that ends or errs in the middle.
    #[error("The archive is damaged: {0}")]
    Damaged(String),
    /// It refers to what it does not hold.
    #[error("The archive is incomplete: it has no {0}")]
    Missing(String),
    /// One of its documents.
    #[error("The archive's {name} is malformed")]
    Document {
        /// Name in the archive.
        name: String,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// One of its images.
    #[error("The archive's image {name} cannot be used")]
    Manifest {
        /// Name or digest.
        name: String,
        /// Why.
        source: manifest::Error,
    },
    /// There is one for other machines only.
    #[error("The archive has no image for {wanted}: it offers {offered}")]
    Platform {
        /// What was looked for.
        wanted: Platform,
        /// What there is.
        offered: String,
    },
    /// A layer, or the disk.
    #[error("Cannot load image {name}")]
    Content {
        /// Name or digest.
        name: String,
        /// Why.
        source: ingest::Error,
    },
    /// The signature policy.
    #[error("Cannot load the archive")]
    Trust(#[source] trust::Error),
    /// The store.
    #[error("Cannot write to the store")]
    Store(#[source] store::Error),
}

/// Loads every image in `source` that is for this host, and names them as the archive does.
pub fn load(store: &Store, source: Source<'_>, progress: &dyn Progress) -> Result<Vec<Loaded>, Error> {
    load_with(store, source, &LoadOptions::default(), progress)
}

/// How to load.
#[derive(Clone)]
pub struct LoadOptions {
    /// Which of several images under one name.
    pub platform: Platform,
    /// Which images may come in.
    pub policy: Arc<Policy>,
}

impl Default for LoadOptions {
    /// This host's platform, and a policy that accepts anything.
    fn default() -> LoadOptions {
        LoadOptions { platform: Platform::host(), policy: Arc::new(Policy::accept_anything()) }
    }
}

/// As [`load`], as `options` say.
pub fn load_with(
    store: &Store,
    source: Source<'_>,
    options: &LoadOptions,
    progress: &dyn Progress,
) -> Result<Vec<Loaded>, Error> {
    let path = if let Source::Path(path) = &source { Some(*path) } else { None };
    let archive = open(store, source)?;
    for transport in transports(&archive) {
        options.policy.check_archive(transport, path).map_err(Error::Trust)?;
    }
    let target = Target { store, platform: &options.platform, progress };
    if archive.has("index.json") {
        oci::load(&target, &archive)
    } else if archive.has("manifest.json") {
        docker::load(&target, &archive)
    } else if archive.has("repositories") {
        Err(Error::TooOld)
    } else {
        Err(Error::NoImages)
    }
}

/// What a policy may call this archive. Newer ones of Docker are two things at once: then both must be allowed.
fn transports(archive: &Archive) -> Vec<Transport> {
    if matches!(archive, Archive::Folder(_)) {
        return vec![Transport::Oci];
    }
    let kinds = [("index.json", Transport::OciArchive), ("manifest.json", Transport::DockerArchive)];
    kinds.into_iter().filter(|(name, _)| archive.has(name)).map(|(_, transport)| transport).collect()
}

fn open(store: &Store, source: Source<'_>) -> Result<Archive, Error> {
    let path = match source {
        Source::Path(path) => path,
        Source::Stream(input) => return spool(store, input),
    };
    let fail = |source| Error::Open { path: path.to_owned(), source };
    let file = File::open(path).map_err(fail)?;
    let metadata = file.metadata().map_err(fail)?;
    if metadata.is_dir() {
        return Ok(Archive::folder(file.into()));
    }
    if !metadata.is_file() {
        return spool(store, &mut &file);
    }
    let mut start = [0; 8];
    let length = file.read_at(&mut start, 0).map_err(fail)?;
    match Compression::of(start.get(..length).unwrap_or_default()) {
        Compression::None => Archive::tar(file),
        Compression::Gzip | Compression::Zstd => spool(store, &mut &file),
        Compression::Other(name) => Err(Error::Compression(name)),
    }
}

/// Writes an archive out, decompressed, so that it can be read at any place.
fn spool(store: &Store, input: &mut (dyn Read + Send)) -> Result<Archive, Error> {
    let mut start = Vec::new();
    input.take(8).read_to_end(&mut start).map_err(Error::Spool)?;
    let compression = Compression::of(&start);
    let whole = io::Cursor::new(start).chain(input);
    let temp = store.temp().map_err(Error::Store)?;
    let mut output = temp.file();
    match compression {
        Compression::Other(name) => return Err(Error::Compression(name)),
        Compression::None => io::copy(&mut { whole }, &mut output).map_err(Error::Spool)?,
        Compression::Gzip | Compression::Zstd => {
            let mut plain = layer::decompress(Box::new(whole)).map_err(Error::Decompress)?;
            io::copy(&mut plain, &mut output).map_err(Error::Spool)?
        }
    };
    // Its name is not needed any more: whatever happens, nothing is left.
    let file = temp.file().try_clone().map_err(Error::Spool)?;
    drop(temp);
    Archive::tar(file)
}

/// How a file is compressed, by its first bytes: names and media types are wrong too often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Compression {
    None,
    Gzip,
    Zstd,
    Other(&'static str),
}

impl Compression {
    fn of(start: &[u8]) -> Compression {
        match start {
            [0x1f, 0x8b, ..] => Compression::Gzip,
            // A zstd frame, or a skippable one before it.
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Compression::Zstd,
            [b'B', b'Z', b'h', ..] => Compression::Other("bzip2"),
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Compression::Other("xz"),
            _ => Compression::None,
        }
    }

    /// What such a layer's media type ends in.
    fn suffix(self) -> &'static str {
        match self {
            Compression::Gzip => "+gzip",
            Compression::Zstd => "+zstd",
            Compression::None | Compression::Other(_) => "",
        }
    }
}

/// Where images are loaded to, and which.
struct Target<'a> {
    store: &'a Store,
    platform: &'a Platform,
    progress: &'a dyn Progress,
}

impl Target<'_> {
    /// Refuses an image that is not for the wanted platform.
    fn check_platform(&self, config: &crate::ImageConfig) -> Result<(), Error> {
        let offered = config.platform();
        if offered.suits(self.platform) { Ok(()) } else { Err(self.wrong_platform(offered.to_string())) }
    }

    fn wrong_platform(&self, offered: String) -> Error {
        Error::Platform { wanted: self.platform.clone(), offered }
    }
}

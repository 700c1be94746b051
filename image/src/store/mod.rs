//! The images on this host: an OCI image layout that other tools can read, with one EROFS file per layer beside it.
//!
//! What is kept, and what it costs: manifest, config and the layer blobs exactly as they came, so that the layout is
//! complete, any other tool can copy from it, and a later push sends the very same bytes; and each layer once more as
//! an uncompressed EROFS file, which is what containers run from. The blobs cost what the download weighed, typically
//! a third on top of the EROFS files.
//!
//! Every change is made beside and renamed, content first and the index last, each fsynced: whatever the index names
//! is there, after any crash. Files that are being written live in `tmp/`, each locked by its writer; what a dead
//! writer left is removed when the store is next opened.

mod check;
mod commit;
mod files;
mod image;
mod in_use;
mod index;
mod keys;
mod leftovers;
mod lock;
mod partial;
mod prune;
mod references;
mod remove;
mod tag;
mod usage;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use config::Folders;

pub use check::{CheckOptions, Kind, Outcome, Problem, Report};
pub use image::{Image, parse_time};
pub use in_use::{Ask, InUse};
pub use lock::Hold;
pub use prune::{Label, PruneOptions, Pruned};
pub use remove::Removed;
pub use usage::{ImageUsage, Usage};

pub(crate) use commit::Incoming;
pub(crate) use files::Temp;
pub(crate) use keys::place_keys;

use crate::manifest::{self, Descriptor, Document};
use crate::{Digest, Platform, Reference, name, platform};

/// The annotation that names an image in an index (OCI image specification, annotations.md).
pub(crate) const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// The annotation that says by which index of several platforms an image came: its digest. By that digest, too, people
/// know the image.
pub(crate) const INDEX: &str = "coracle.index";
/// Shortest prefix of an id that is looked for: shorter ones are typing errors rather than ids.
const SHORTEST_ID: usize = 4;
/// Content of the file `oci-layout` (OCI image specification, image-layout.md).
pub(crate) const OCI_LAYOUT: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;

/// Why the store could not do something.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file system said no.
    #[error("Cannot {action} {path}")]
    File {
        /// What was tried: a verb.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// `index.json` is not what it should be.
    #[error("The index of images {path} is damaged: move it away and load or pull the images again")]
    Index {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Neither a name nor an id.
    #[error("{text:?} is neither an image name nor an image id")]
    Name {
        /// As given.
        text: String,
        /// Why it is no name.
        source: crate::name::Error,
    },
    /// No such image.
    #[error("There is no image {0} here: pull or load it first, or see the list of images")]
    NotFound(String),
    /// A digest says what an image is; nobody can choose it.
    #[error("{0} has a digest, which no image can be given: name it by a tag")]
    TagDigest(String),
    /// An id prefix that fits several images.
    #[error("The id {0} fits several images: write more of it")]
    Ambiguous(String),
    /// Removing by id what people know by several names.
    #[error("Image {id} has several names ({names}): remove them one by one, or use force")]
    SeveralNames {
        /// Short id.
        id: String,
        /// The names.
        names: String,
    },
    /// A container still needs the image.
    #[error("Image {id} is used by {user}: remove that first, or use force to take only its name away")]
    InUse {
        /// Short id.
        id: String,
        /// Who uses it, as the caller said.
        user: String,
    },
    /// The caller could not tell.
    #[error("Cannot tell what containers need, so nothing was removed")]
    InUseUnknown(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A layer could not be unmounted before its removal.
    #[error("Cannot remove layer {layer}")]
    Unmount {
        /// Its diff id.
        layer: Digest,
        /// Why.
        source: crate::rootfs::Error,
    },
    /// A layer could not be made again from what was downloaded.
    #[error("Cannot unpack layer {layer} again")]
    Rebuild {
        /// Its diff id.
        layer: Digest,
        /// Why.
        source: crate::layer::Error,
    },
    /// A file that this commit relies on was removed by another process meanwhile; the caller begins again.
    #[error("Content of the image was removed while it was being stored: try again")]
    Vanished,
}

impl Error {
    pub(crate) fn file(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
        let path = path.to_owned();
        move |source| Error::File { action, path, source }
    }
}

/// The store. Any number of them, in any number of processes, may be open on the same folders.
pub struct Store {
    folders: Folders,
    /// Short names that stand for others.
    aliases: BTreeMap<String, String>,
}

impl Store {
    /// Opens the store, creates what is missing, and removes what dead processes left half written.
    pub fn open(folders: &Folders) -> Result<Store, Error> {
        let store = Store { folders: folders.clone(), aliases: BTreeMap::new() };
        let temporary = store.temporary();
        for folder in [&folders.blobs().join("sha256"), &folders.layers(), &temporary, &store.partial_folder()] {
            files::create_folder(folder).map_err(Error::file("create folder", folder))?;
        }
        if !store.index_path().exists() {
            let _exclusive = store.lock_exclusive()?;
            for folder in [folders.root(), &folders.blobs(), &folders.blobs().join("sha256")] {
                files::sync_parent(folder).map_err(Error::file("create folder", folder))?;
            }
            store.write(&folders.root().join("oci-layout"), OCI_LAYOUT)?;
            if !store.index_path().exists() {
                // There is no content before there is an index: if there is some, the index was lost.
                store.write_index(&store.salvage()?)?;
            }
        }
        files::sweep(&temporary).map_err(Error::file("clean folder", &temporary))?;
        store.remove_old_partials()?;
        Ok(store)
    }

    /// This store, in which short names stand for others wherever an image is named.
    #[must_use]
    pub fn with_aliases(self, aliases: BTreeMap<String, String>) -> Store {
        Store { aliases, ..self }
    }

    /// What `name` stands for.
    fn resolve<'a>(&self, name: &'a str) -> Cow<'a, str> {
        name::resolve_alias(name, &self.aliases).map_or(Cow::Borrowed(name), Cow::Owned)
    }

    /// The image called `name`: a name as people write it, a name with the digest of the manifest or of the index that
    /// the image came by, or an id or a prefix of one that fits no other. Of several images under one name it is that
    /// for this host, or the first if there is none for it.
    ///
    /// An image of which a part is missing or damaged is as good as absent, so that pulling it again mends it.
    pub fn find(&self, name: &str) -> Result<Option<Image>, Error> {
        self.search(name, &|entries| platform::choose(entries, &Platform::host()).or(entries.first()).cloned())
    }

    /// As [`Store::find`], for `platform` and no other.
    pub fn find_platform(&self, name: &str, platform: &Platform) -> Result<Option<Image>, Error> {
        let image = self.search(name, &|entries| platform::choose(entries, platform).cloned())?;
        Ok(image.filter(|image| image.config.platform().suits(platform)))
    }

    fn search(&self, name: &str, choose: &dyn Fn(&[Descriptor]) -> Option<Descriptor>) -> Result<Option<Image>, Error> {
        let _shared = self.hold()?;
        let index = self.read_index()?;
        let name = &*self.resolve(name);
        match name.parse::<Reference>() {
            Err(source) if id_prefix(name).is_none() => return Err(Error::Name { text: name.to_owned(), source }),
            _ => {}
        }
        let named = index::named(&index, name);
        if !named.is_empty() {
            return Ok(choose(&named).and_then(|entry| self.whole_image(&index, &entry)));
        }
        let Some(prefix) = id_prefix(name) else { return Ok(None) };
        let mut found: Option<Image> = None;
        for image in self.all_images(&index) {
            if image.id.hex().starts_with(prefix) && found.replace(image).is_some() {
                return Err(Error::Ambiguous(name.to_owned()));
            }
        }
        Ok(found)
    }

    /// All images, one per config, in the order in which they came. Damaged ones are left out and logged.
    pub fn images(&self) -> Result<Vec<Image>, Error> {
        let _shared = self.hold()?;
        let index = self.read_index()?;
        Ok(self.all_images(&index))
    }

    /// The folders this store is in.
    pub fn folders(&self) -> &Folders {
        &self.folders
    }

    /// The config of an image, as its maker wrote it.
    pub fn config_of(&self, image: &Image) -> Result<Vec<u8>, Error> {
        self.read_document(&image.id, manifest::MAX_CONFIG)
    }

    /// Where the content of `digest` is, if it is here.
    pub fn blob(&self, digest: &Digest) -> PathBuf {
        self.folders.blobs().join(digest.algorithm().name()).join(digest.hex())
    }

    /// Where the EROFS file of the layer with this key is (see [`Image::layers`]), if it is here.
    pub fn layer(&self, key: &Digest) -> PathBuf {
        layer_file(&self.folders, key)
    }

    /// A new file that is not part of the store yet.
    pub(crate) fn temp(&self) -> Result<Temp, Error> {
        let folder = self.temporary();
        Temp::create(&folder).map_err(Error::file("create a file in", &folder))
    }

    fn temporary(&self) -> PathBuf {
        self.folders.root().join("tmp")
    }

    /// Reads a document of at most `limit` bytes and makes sure that it is the one named.
    pub(crate) fn read_document(&self, digest: &Digest, limit: u64) -> Result<Vec<u8>, Error> {
        let path = self.blob(digest);
        let fail = Error::file("read", &path);
        let bytes = match files::read_limited(&path, limit) {
            Ok(bytes) => bytes,
            Err(error) => return Err(fail(error)),
        };
        let mut hashing = crate::digest::Hashing::new(bytes.as_slice(), digest.algorithm(), None);
        let verified = hashing.drain().and_then(|()| hashing.verify(digest).map_err(io::Error::other));
        verified.map_err(fail).map(|_| bytes)
    }

    /// Writes a small file beside and puts it in place.
    fn write(&self, path: &Path, bytes: &[u8]) -> Result<(), Error> {
        let temp = self.temp()?;
        temp.fill(bytes).map_err(Error::file("write", path))?;
        temp.persist(path).map_err(Error::file("write", path))?;
        files::sync_parent(path).map_err(Error::file("write", path))
    }

    /// The manifest of an index entry.
    fn manifest(&self, entry: &Descriptor) -> Result<manifest::Manifest, Box<dyn std::error::Error + Send + Sync>> {
        let bytes = self.read_document(&entry.digest, manifest::MAX_MANIFEST)?;
        match Document::parse(&bytes, Some(&entry.media_type))? {
            Document::Manifest(manifest) => Ok(manifest),
            Document::Index(_) => Err("It is an index of images for several platforms".into()),
        }
    }
}

/// Where the EROFS file of a layer is.
pub(crate) fn layer_file(folders: &Folders, key: &Digest) -> PathBuf {
    folders.layers().join(format!("{}.erofs", key.hex()))
}

/// The digits of a text that may be the beginning of an id.
fn id_prefix(text: &str) -> Option<&str> {
    let digits = text.strip_prefix("sha256:").unwrap_or(text);
    let hexadecimal = digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    (hexadecimal && (SHORTEST_ID..=64).contains(&digits.len())).then_some(digits)
}

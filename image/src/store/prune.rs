//! Giving up what is not needed: images nobody has a name for or runs, and files no image refers to.
//!
//! A pull or a load that goes on at the same time is safe: what it writes is in `tmp/`, locked, and what it meant to
//! share and finds gone when it comes to commit, it fetches once more.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::time::SystemTime;

use super::in_use::{self, Ask};
use super::references::References;
use super::{Error, Image, Store, image};
use crate::Digest;
use crate::manifest::Descriptor;

/// Which images to give up. One that a container needs never goes.
#[derive(Clone, Debug, Default)]
pub struct PruneOptions {
    /// Also those that have names.
    pub all: bool,
    /// Only those that were made before this moment.
    pub until: Option<SystemTime>,
    /// Only those that have all these labels.
    pub labels: Vec<Label>,
    /// Only those that have none of these labels.
    pub without_labels: Vec<Label>,
}

/// A label to look for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    /// Its name.
    pub key: String,
    /// Its value; `None` takes any.
    pub value: Option<String>,
}

/// What pruning did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Names that are gone, in full.
    pub untagged: Vec<String>,
    /// Digests of what is gone: ids of images, then keys of layers.
    pub deleted: Vec<Digest>,
    /// Bytes that are free now, those of files no image had included.
    pub bytes: u64,
}

impl Label {
    /// Reads `KEY` or `KEY=VALUE`.
    pub fn parse(text: &str) -> Label {
        match text.split_once('=') {
            Some((key, value)) => Label { key: key.to_owned(), value: Some(value.to_owned()) },
            None => Label { key: text.to_owned(), value: None },
        }
    }

    /// Whether the image has it.
    pub fn is_on(&self, image: &Image) -> bool {
        let found = image.config.container.labels.get(&self.key);
        found.is_some_and(|found| self.value.as_ref().is_none_or(|value| value == found))
    }
}

impl PruneOptions {
    fn take(&self, image: &Image) -> bool {
        (self.all || image.names.is_empty())
            // Of one that does not say when it was made nobody can say that it is recent.
            && self.until.is_none_or(|until| image.made().is_none_or(|made| made < until))
            && self.labels.iter().all(|label| label.is_on(image))
            && !self.without_labels.iter().any(|label| label.is_on(image))
    }
}

impl Store {
    /// Removes the images that `options` picks and no container needs, and every file that no image refers to and no
    /// container needs.
    pub fn prune(&self, options: &PruneOptions, in_use: Ask<'_>) -> Result<Pruned, Error> {
        let _exclusive = self.lock_exclusive()?;
        let in_use = in_use::ask(in_use)?;
        let mut index = self.read_index()?;
        let mut pruned = Pruned::default();
        let wanted = |image: &Image| options.take(image) && in_use.user_of(image).is_none();
        let ids: HashSet<Digest> = self.all_images(&index).into_iter().filter(wanted).map(|image| image.id).collect();
        let chosen: Vec<Descriptor> = if ids.is_empty() {
            Vec::new()
        } else {
            let mine = |entry: &&Descriptor| self.id(entry).is_some_and(|id| ids.contains(&id));
            index.manifests.iter().filter(mine).cloned().collect()
        };
        if !chosen.is_empty() {
            pruned.untagged = image::names(&index, |entry| chosen.contains(entry));
            index.manifests.retain(|entry| !chosen.contains(entry));
            self.write_index(&index)?;
            pruned.deleted.extend(ids);
            pruned.deleted.sort_unstable();
        }
        let mut kept = self.references(&index)?;
        kept.layers.extend(in_use.layers.into_keys());
        let (blobs, layers) = self.content()?.without(&kept);
        let deleted = self.delete(&blobs, &layers)?;
        pruned.deleted.extend(deleted.layers);
        pruned.bytes = deleted.bytes;
        Ok(pruned)
    }

    /// Everything that lies in `blobs/` and `layers/` under a name of our own.
    pub(super) fn content(&self) -> Result<References, Error> {
        let mut content = References::default();
        for algorithm in ["sha256", "sha512"] {
            let names = names(&self.folders.blobs().join(algorithm))?;
            content.blobs.extend(names.iter().filter_map(|name| format!("{algorithm}:{name}").parse().ok()));
        }
        let names = names(&self.folders.layers())?;
        content.layers.extend(names.iter().filter_map(|name| key_of(name)));
        Ok(content)
    }
}

/// The key of the layer whose file has this name.
pub(super) fn key_of(name: &str) -> Option<Digest> {
    let hex = name.strip_suffix(".erofs")?;
    format!("sha256:{hex}").parse().or_else(|_| format!("sha512:{hex}").parse()).ok()
}

/// The names in a folder; none if there is no such folder.
pub(super) fn names(folder: &std::path::Path) -> Result<Vec<String>, Error> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        result => result.map_err(Error::file("read folder", folder))?,
    };
    let mut names = Vec::new();
    for entry in entries {
        names.extend(entry.map_err(Error::file("read folder", folder))?.file_name().into_string().ok());
    }
    Ok(names)
}

//! When the index is lost: the images are still there, and are found by their manifests.

use super::super::{Error, Store, files, index};
use super::inspect::Sound;
use super::{CheckOptions, Kind, Outcome, Report};
use crate::Digest;
use crate::manifest::{Descriptor, Document, Index, MAX_CONFIG, MAX_MANIFEST};

impl Store {
    /// Reads the index. If it is damaged, repairing puts an index of all whole images in its place; their names are
    /// lost.
    pub(super) fn check_index(&self, options: CheckOptions, report: &mut Report) -> Result<Index, Error> {
        let path = self.index_path();
        let hold = if options.repair { self.lock_exclusive()? } else { self.hold()? };
        let damage = match self.read_index() {
            Ok(index) => return Ok(index),
            Err(error @ (Error::Index { .. } | Error::File { .. })) => error,
            Err(error) => return Err(error),
        };
        let what = std::error::Error::source(&damage).map_or_else(|| damage.to_string(), ToString::to_string);
        let subject = path.display().to_string();
        if !options.repair {
            report.add(Kind::Damage, subject, what, Outcome::Found);
            return Ok(Index::default());
        }
        let aside = path.with_extension("json.damaged");
        if path.exists() {
            std::fs::rename(&path, &aside).map_err(Error::file("rename", &path))?;
        }
        let index = self.salvage()?;
        self.write_index(&index)?;
        files::sync_parent(&path).map_err(Error::file("write", &path))?;
        drop(hold);
        let images = index.manifests.len();
        let outcome = format!("moved to {}; {images} images were found again, without their names", aside.display());
        report.add(Kind::Damage, subject, what, Outcome::Repaired(outcome));
        Ok(index)
    }

    /// An index of all images of which everything is there.
    pub(in super::super) fn salvage(&self) -> Result<Index, Error> {
        let mut found = Index::default();
        let mut blobs: Vec<Digest> = self.content()?.blobs.into_iter().collect();
        blobs.sort_unstable();
        let mut sound = Sound::default();
        for digest in blobs {
            let small = self.blob(&digest).metadata().is_ok_and(|metadata| metadata.len() <= MAX_MANIFEST);
            let bytes = if small { self.document_if_sound(&digest, MAX_MANIFEST)? } else { None };
            let Some(bytes) = bytes.filter(|bytes| bytes.first() == Some(&b'{')) else { continue };
            let Ok(Document::Manifest(manifest)) = Document::parse(&bytes, None) else { continue };
            let entry: Descriptor = manifest.entry(None, digest, bytes.len() as u64);
            if manifest.check().is_err() || !self.inspect(&entry, false, &mut sound)?.is_empty() {
                continue;
            }
            let config = self.document_if_sound(&manifest.config.digest, MAX_CONFIG)?.unwrap_or_default();
            index::put(&mut found, &index::with_platform(entry, &config), &[]);
        }
        Ok(found)
    }
}

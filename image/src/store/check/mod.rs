//! Is everything there, and is it what it is called? And what can be done if not.
//!
//! Nothing is locked while content is read, which may take minutes: files never change once they have their names. Only
//! what looks wrong is looked at again while no image can come or go, since it may just have been removed.

mod inspect;
mod rebuild;
mod repair;
mod salvage;

use std::collections::HashSet;

use super::in_use::{self, Ask, InUse};
use super::prune::names;
use super::references::References;
use super::{Error, OCI_LAYOUT, Store, files, image};
use crate::Digest;
use crate::manifest::{Descriptor, Index};
use inspect::{Fault, Sound};

/// How to check.
#[derive(Clone, Copy, Debug, Default)]
pub struct CheckOptions {
    /// Whether to mend what can be mended, and to give up what cannot.
    pub repair: bool,
    /// Whether to read all content and compare it with its digests, and every layer file with what its blob unpacks to;
    /// else only names, sizes and first blocks are looked at.
    pub deep: bool,
}

/// What a check found.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Images looked at, whole or not: manifests that the index names.
    pub images: usize,
    /// Blobs there are.
    pub blobs: usize,
    /// Layer files there are.
    pub layers: usize,
    /// Bytes of the beginnings of blobs whose download broke off; that is in order.
    pub partial: u64,
    /// What is wrong.
    pub problems: Vec<Problem>,
}

/// Something that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// What kind of thing it is.
    pub kind: Kind,
    /// What it is about: an image by name and id, a file, a container.
    pub subject: String,
    /// What is wrong with it.
    pub what: String,
    /// What was done about it.
    pub outcome: Outcome,
}

/// Kinds of problems.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Something that is needed is missing or damaged.
    Damage,
    /// Something that nobody needs takes room, as a crash may leave it; no harm otherwise.
    Leftover,
}

/// What became of a problem.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing was tried.
    Found,
    /// It is in order now; how.
    Repaired(String),
    /// It is not; why.
    Failed(String),
}

impl Report {
    /// Whether nothing is damaged, or nothing any more.
    pub fn is_sound(&self) -> bool {
        let solved = |problem: &Problem| matches!(problem.outcome, Outcome::Repaired(_));
        self.problems.iter().all(|problem| problem.kind == Kind::Leftover || solved(problem))
    }

    fn add(&mut self, kind: Kind, subject: impl Into<String>, what: impl Into<String>, outcome: Outcome) {
        self.problems.push(Problem { kind, subject: subject.into(), what: what.into(), outcome });
    }
}

impl Store {
    /// Checks the store, beside whatever else goes on in it.
    pub fn check(&self, options: CheckOptions, in_use: Ask<'_>) -> Result<Report, Error> {
        let mut report = Report::default();
        self.check_layout(options, &mut report)?;
        let index = self.check_index(options, &mut report)?;
        let mut sound = Sound::default();
        let mut seen: HashSet<&Digest> = HashSet::new();
        for entry in index.manifests.iter().filter(|entry| seen.insert(&entry.digest)) {
            report.images = report.images.saturating_add(1);
            let faults = self.faults(entry, options, &mut sound)?;
            if faults.is_empty() {
                continue;
            }
            let subject = format!("image {}", describe(&index, entry));
            let what = faults.iter().map(|fault| fault.what.as_str()).collect::<Vec<_>>().join("; ");
            let outcome = if options.repair { self.repair(entry, &faults, in_use)? } else { Outcome::Found };
            report.add(Kind::Damage, subject, what, outcome);
        }
        self.check_files(options, in_use, &mut report)?;
        Ok(report)
    }

    /// What is wrong with the image of `entry`; nothing if it has been removed meanwhile.
    fn faults(&self, entry: &Descriptor, options: CheckOptions, sound: &mut Sound) -> Result<Vec<Fault>, Error> {
        let faults = self.inspect(entry, options.deep, sound)?;
        if faults.is_empty() {
            return Ok(faults);
        }
        let _shared = self.hold()?;
        let still = |index: Index| index.manifests.iter().any(|other| other.digest == entry.digest);
        if self.read_index().is_ok_and(still) { self.inspect(entry, options.deep, sound) } else { Ok(Vec::new()) }
    }

    fn check_layout(&self, options: CheckOptions, report: &mut Report) -> Result<(), Error> {
        let path = self.folders.root().join("oci-layout");
        let found = files::read_limited(&path, 4096).unwrap_or_default();
        let version = serde_json::from_slice::<serde_json::Value>(&found).ok();
        if version.is_some_and(|value| value.get("imageLayoutVersion").is_some()) {
            return Ok(());
        }
        let outcome = if options.repair {
            let _exclusive = self.lock_exclusive()?;
            self.write(&path, OCI_LAYOUT)?;
            Outcome::Repaired("written anew".into())
        } else {
            Outcome::Found
        };
        report.add(Kind::Damage, path.display().to_string(), "It is missing or damaged", outcome);
        Ok(())
    }

    /// Files that no image has, and layers that containers miss.
    fn check_files(&self, options: CheckOptions, in_use: Ask<'_>, report: &mut Report) -> Result<(), Error> {
        let hold = if options.repair { self.lock_exclusive()? } else { self.hold()? };
        let in_use = in_use::ask(in_use)?;
        let content = self.content()?;
        (report.blobs, report.layers) = (content.blobs.len(), content.layers.len());
        for (layer, user) in &in_use.layers {
            if !content.layers.contains(layer) {
                let outcome = match options.repair {
                    true => Outcome::Failed("remove the container, or pull or load its image again".into()),
                    false => Outcome::Found,
                };
                report.add(Kind::Damage, user.clone(), format!("It needs layer {layer}, which is missing"), outcome);
            }
        }
        // Without the index nobody knows what is needed.
        if let Ok(index) = self.read_index() {
            self.check_orphans(options, &index, &in_use, &content, report)?;
        }
        drop(hold);
        for file in self.temporaries()?.iter().filter(|file| file.abandoned) {
            let what = "A process that died left it";
            report.add(Kind::Leftover, file.path.display().to_string(), what, Outcome::Found);
        }
        report.partial = self.partials()?.iter().fold(0, |sum: u64, partial| sum.saturating_add(partial.bytes));
        Ok(())
    }

    fn check_orphans(
        &self,
        options: CheckOptions,
        index: &Index,
        in_use: &InUse,
        content: &References,
        report: &mut Report,
    ) -> Result<(), Error> {
        let mut needed = self.references(index)?;
        needed.layers.extend(in_use.layers.keys().cloned());
        let (blobs, layers) = content.without(&needed);
        let paths = blobs.iter().map(|blob| self.blob(blob)).chain(layers.iter().map(|layer| self.layer(layer)));
        let paths: Vec<String> = paths.map(|path| path.display().to_string()).collect();
        if options.repair {
            self.delete(&blobs, &layers)?;
        }
        for path in paths {
            let outcome = if options.repair { Outcome::Repaired("removed".into()) } else { Outcome::Found };
            report.add(Kind::Leftover, path, "No image has it", outcome);
        }
        for folder in [self.folders.blobs().join("sha256"), self.folders.blobs().join("sha512"), self.folders.layers()]
        {
            for name in names(&folder)? {
                let blob = folder.file_name().and_then(|algorithm| algorithm.to_str()).unwrap_or_default();
                let known = format!("{blob}:{name}").parse::<Digest>().is_ok() || super::prune::key_of(&name).is_some();
                if !known {
                    let path = folder.join(name).display().to_string();
                    report.add(Kind::Leftover, path, "It is not one of ours, and is left alone", Outcome::Found);
                }
            }
        }
        Ok(())
    }
}

/// An image in words: its names, or the digest of its manifest if it has none.
fn describe(index: &Index, entry: &Descriptor) -> String {
    let names = image::names(index, |other| other.digest == entry.digest);
    let familiar =
        |name: &String| name.parse::<crate::Reference>().map_or_else(|_| name.clone(), |name| name.familiar());
    let names: Vec<String> = names.iter().map(familiar).collect();
    if names.is_empty() { entry.digest.to_string() } else { names.join(", ") }
}

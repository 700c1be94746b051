//! One layer: from wherever it is to an EROFS file beside its place.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use super::input::{Failure, Input, Rest, Resumed};
use super::{Bytes, Error, Layer, Reason, Source, Stop, Wanted};
use crate::digest::{self, Algorithm, Hashing};
use crate::layer::{self, Base, Stack};
use crate::manifest::Descriptor;
use crate::store::{self, Temp};
use crate::{Digest, Progress, Store};

/// One layer to be brought in.
pub(super) struct Job<'a, 'b> {
    pub(super) store: &'b Store,
    pub(super) wanted: &'b Wanted,
    /// Its key if it depends on what is below.
    pub(super) place: &'b Digest,
    /// 0 is the lowest.
    pub(super) position: usize,
    pub(super) source: &'b Source<'a>,
    pub(super) progress: &'b dyn Progress,
    pub(super) stop: &'b Stop,
}

/// The new files of a layer; what is in the store already is not written.
struct Output {
    blob: Option<Temp>,
    erofs: Option<Temp>,
}

impl<'a> Job<'a, '_> {
    /// Brings it in. What is there already is used: the EROFS file of another image, the blob of an earlier pull, the
    /// beginning of one that broke off. But that a blob unpacks to a diff id is believed only when an image of the store
    /// vouches for it (`known`): else an image could pass off a layer as another.
    pub(super) fn run(&self, known: bool) -> Result<Layer, Error> {
        let (store, label) = (self.store, self.wanted.label());
        let written = [self.place, &self.wanted.diff_id].into_iter().find(|key| store.layer(key).exists());
        let here = self.wanted.blob.as_ref().map(|(digest, _)| self.stored(digest)).transpose()?.flatten();
        if let Some(key) = written.filter(|_| known && here.is_some()) {
            self.progress.present(label);
            return Ok(self.present(key));
        }
        let erofs = || if written.is_some() { Ok(None) } else { self.temp().map(Some) };
        let written = written.unwrap_or(&self.wanted.diff_id);
        if let Some(file) = here {
            match self.stream(Box::new(file), Output { blob: None, erofs: erofs()? }, 0, written) {
                Err(Error::Blob { source, .. }) => log::warn!("Layer {label} is damaged in the store: {source}"),
                other => return other,
            }
        }
        match (self.source, &self.wanted.blob) {
            (Source::Resumable(open), Some((digest, size))) => {
                let open = |offset| open(self.position, offset);
                self.resume(digest, *size, &open, &erofs, written)
            }
            (Source::Resumable(open), None) => self.fresh(open(self.position, 0), erofs()?, written),
            (Source::Whole(open), _) => self.fresh(open(self.position), erofs()?, written),
        }
    }

    /// The blob, if it is in the store; another process may remove it at any time.
    fn stored(&self, digest: &Digest) -> Result<Option<File>, Error> {
        match File::open(self.store.blob(digest)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            result => result.map(Some).map_err(|source| Error::Write { layer: self.wanted.label().clone(), source }),
        }
    }

    /// The same layer stands further down in the image.
    pub(super) fn repeated(&self) -> Layer {
        self.present(&self.wanted.diff_id)
    }

    fn fresh(
        &self,
        source: Result<Bytes<'_>, super::BoxError>,
        erofs: Option<Temp>,
        key: &Digest,
    ) -> Result<Layer, Error> {
        let source = source.map_err(|source| Error::Fetch { layer: self.wanted.label().clone(), source })?;
        self.stream(source, Output { blob: Some(self.temp()?), erofs }, 0, key)
    }

    /// Goes on with the beginning that an earlier process left; begins anew if that turns out to be wrong.
    fn resume(
        &self,
        digest: &Digest,
        size: u64,
        open: &(dyn Fn(u64) -> Result<Bytes<'a>, super::BoxError> + Sync),
        erofs: &dyn Fn() -> Result<Option<Temp>, Error>,
        key: &Digest,
    ) -> Result<Layer, Error> {
        let label = self.wanted.label();
        let partial =
            self.store.partial_blob(digest).map_err(|source| Error::Store { layer: label.clone(), source })?;
        let Some(partial) = partial else { return self.fresh(open(0), erofs()?, key) };
        let fail = |source| Error::Write { layer: label.clone(), source };
        let mut there = partial.file().metadata().map_err(fail)?.len();
        if there > size {
            partial.file().set_len(0).map_err(fail)?;
            there = 0;
        }
        // Two descriptors of one file: `partial` is moved into the output, and comes back only when all went well.
        let file = partial.file().try_clone().map_err(fail)?;
        let rest = || open(there);
        let rest = if there == size && size > 0 { Rest::Nothing } else { Rest::Closed(&rest) };
        let source = Resumed { file: &file, position: 0, end: there, rest };
        let result = self.stream(Box::new(source), Output { blob: Some(partial), erofs: erofs()? }, there, key);
        match result {
            Err(Error::Blob { source, .. }) if there > 0 => {
                log::warn!("What was left of an earlier download of layer {label} is damaged: {source}");
                self.fresh(open(0), erofs()?, key)
            }
            other => other,
        }
    }

    fn present(&self, key: &Digest) -> Layer {
        let (digest, size) = self.wanted.blob.clone().unwrap_or_else(|| (self.wanted.diff_id.clone(), 0));
        let descriptor = Descriptor::new(&self.wanted.media_type, digest, size);
        Layer { key: key.clone(), descriptor, blob: None, erofs: None, unplaced: false }
    }

    fn temp(&self) -> Result<Temp, Error> {
        self.store.temp().map_err(|source| Error::Store { layer: self.wanted.label().clone(), source })
    }

    /// Reads `source` once, to the blob file, `there` bytes of which are in it already, and through the decompressor to
    /// the EROFS file, and verifies both digests.
    fn stream(&self, source: Bytes<'_>, mut output: Output, there: u64, key: &Digest) -> Result<Layer, Error> {
        let result = self.read(source, &output, there, key);
        if let (Err(error), Some(blob)) = (&result, &mut output.blob) {
            let stopped = matches!(error, Error::Stopped) && self.stop.reason() == Some(Reason::Source);
            if !error.may_go_on() && !stopped {
                blob.discard();
            }
        }
        let layer = result?;
        Ok(Layer { blob: output.blob, erofs: output.erofs.filter(|_| !layer.unplaced), ..layer })
    }

    fn read(&self, source: Bytes<'_>, output: &Output, there: u64, key: &Digest) -> Result<Layer, Error> {
        let (wanted, label) = (self.wanted, self.wanted.label());
        let fail_write = |source| Error::Write { layer: label.clone(), source };
        self.progress.start(label, wanted.blob.as_ref().map_or(0, |(_, size)| *size));
        let algorithm = wanted.blob.as_ref().map_or(Algorithm::Sha256, |(digest, _)| digest.algorithm());
        let mut input = Input {
            hashing: Hashing::new(source, algorithm, wanted.blob.as_ref().map(|(_, size)| *size)),
            output: output.blob.as_ref().map(|blob| (blob.file(), there)),
            position: 0,
            failure: None,
            label,
            progress: self.progress,
            stop: self.stop,
        };
        let erofs = output.erofs.as_ref().map(Temp::file);
        let unpacked = unpack(&mut input, &wanted.diff_id, erofs, Base::Unknown);
        // The rest is read even when unpacking failed: if the blob is not what was announced, that is the reason.
        let drained = io::copy(&mut input, &mut io::sink());
        let Input { hashing, failure, .. } = input;
        match (failure, drained) {
            (None, Ok(_)) => {}
            (Some(Failure::Stopped), _) => return Err(Error::Stopped),
            (Some(Failure::Output(error)), _) => return Err(fail_write(error)),
            (Some(Failure::Source(error)), _) | (None, Err(error)) => {
                return Err(match error.downcast::<digest::Error>() {
                    Ok(source) => Error::Blob { layer: label.clone(), source },
                    Err(error) => Error::Fetch { layer: label.clone(), source: error.into() },
                });
            }
        }
        let (digest, size) = match &wanted.blob {
            None => hashing.finish(),
            Some((expected, _)) => match hashing.verify(expected) {
                Ok(size) => (expected.clone(), size),
                Err(source) => return Err(Error::Blob { layer: label.clone(), source }),
            },
        };
        let depends = unpacked.map_err(|error| error.of(label))?;
        for temp in output.blob.iter().chain(&output.erofs) {
            temp.file().sync_all().map_err(fail_write)?;
        }
        self.progress.done(label);
        let descriptor = Descriptor::new(&wanted.media_type, digest, size);
        Ok(Layer { key: key.clone(), descriptor, blob: None, erofs: None, unplaced: depends })
    }
}

enum Unpacked {
    Layer(layer::Error),
    DiffId(digest::Error),
    Read(io::Error),
}

impl Unpacked {
    fn of(self, layer: &Digest) -> Error {
        let layer = layer.clone();
        match self {
            Unpacked::Layer(source) => Error::Unpack { layer, source },
            Unpacked::DiffId(source) => Error::DiffId { layer, source },
            Unpacked::Read(source) => Error::Decompress { layer, source },
        }
    }
}

/// Decompresses `input` on a thread of its own, writes it as EROFS to `output` if there is one, and verifies the diff id. Tells whether the
/// layer depends on what is below it.
fn unpack(
    input: &mut (dyn Read + Send),
    diff_id: &Digest,
    output: Option<&File>,
    base: Base<'_>,
) -> Result<bool, Unpacked> {
    let tar = layer::decompress(Box::new(input)).map_err(Unpacked::Layer)?;
    layer::pipelined(tar, |tar| {
        let mut hashing = Hashing::new(tar, diff_id.algorithm(), None);
        let mut depends = false;
        if let Some(output) = output {
            let limits = layer::Limits::default();
            depends = layer::write(&mut hashing, output, &limits, base).map_err(Unpacked::Layer)?.depends;
        }
        hashing.drain().map_err(Unpacked::Read)?;
        hashing.verify(diff_id).map_err(Unpacked::DiffId).map(|_| depends)
    })
}

/// Writes those layers that depend on what is below them, from the lowest up.
pub(super) fn place(store: &Store, wanted: &[Wanted], places: &[Digest], layers: &mut [Layer]) -> Result<(), Error> {
    for (position, (wanted, place)) in wanted.iter().zip(places).enumerate() {
        let Some((below, [layer, ..])) = layers.split_at_mut_checked(position) else { continue };
        // A layer that stands in the image twice was read once.
        let twin = |other: &&Layer| other.descriptor.digest == layer.descriptor.digest;
        let dependent = |other: &Layer| other.key != wanted.diff_id;
        if !layer.unplaced && (dependent(layer) || !below.iter().any(|other| twin(&other) && dependent(other))) {
            continue;
        }
        layer.key = place.clone();
        layer.unplaced = false;
        if store.layer(place).exists() {
            continue;
        }
        let label = wanted.label();
        let fail = |source: io::Error| match source.kind() {
            // Another process has removed it.
            io::ErrorKind::NotFound => Error::Commit(store::Error::Vanished),
            _ => Error::Write { layer: label.clone(), source },
        };
        let stored = store.blob(&layer.descriptor.digest);
        let blob = layer.blob.as_ref().or_else(|| below.iter().filter(twin).find_map(|other| other.blob.as_ref()));
        let blob = open(blob, &stored).map_err(fail)?;
        let files = stack(store, below).map_err(fail)?;
        let stack = Stack::open(files).map_err(|source| Unpacked::Layer(layer::Error::Below(source)).of(label))?;
        let erofs = store.temp().map_err(|source| Error::Store { layer: label.clone(), source })?;
        let end = blob.metadata().map_err(fail)?.len();
        let mut input = Resumed { file: &blob, position: 0, end, rest: Rest::Nothing };
        let base = if position == 0 { Base::Nothing } else { Base::Layers(&stack) };
        unpack(&mut input, &wanted.diff_id, Some(erofs.file()), base).map_err(|error| error.of(label))?;
        erofs.file().sync_all().map_err(fail)?;
        layer.erofs = Some(erofs);
    }
    Ok(())
}

/// The EROFS files of these layers, lowest first.
fn stack(store: &Store, layers: &[Layer]) -> io::Result<Vec<File>> {
    let file = |layer: &Layer| {
        let fresh = layers.iter().filter(|other| other.key == layer.key).find_map(|other| other.erofs.as_ref());
        open(fresh, &store.layer(&layer.key))
    };
    layers.iter().map(file).collect()
}

/// A file that is beside its place still, or in it already.
fn open(fresh: Option<&Temp>, stored: &Path) -> io::Result<File> {
    fresh.map_or_else(|| File::open(stored), |temp| temp.file().try_clone())
}

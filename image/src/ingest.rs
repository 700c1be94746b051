//! The way of a layer into the store, the same for pull and load: one pass from the bytes as they come in to an EROFS
//! file, both digests computed on the way.

use std::fs::File;
use std::io::{self, Read, Write};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::digest::{self, Algorithm, Hashing};
use crate::layer;
use crate::manifest::Descriptor;
use crate::store::{self, Incoming, Temp};
use crate::{Digest, Image, Progress, Store};

/// Layers worked on at once: enough to hide the latency of a registry, few enough for a small machine's memory.
const PARALLEL: usize = 4;
/// How often an image is begun again because what it relied on was removed meanwhile.
const ROUNDS: u32 = 3;

/// Why a layer did not come in.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It could not be had.
    #[error("Cannot fetch layer {layer}")]
    Fetch {
        /// The layer.
        layer: Digest,
        /// Why.
        source: BoxError,
    },
    /// What came is not what was announced.
    #[error("Layer {layer} was damaged on its way: try again, or get the image from elsewhere")]
    Blob {
        /// The layer.
        layer: Digest,
        /// How it differs.
        source: digest::Error,
    },
    /// It is what was announced, and unpacks to something else than the image's config says.
    #[error("Layer {layer} does not unpack to what the image announces: the image itself is broken")]
    DiffId {
        /// The layer.
        layer: Digest,
        /// How it differs.
        source: digest::Error,
    },
    /// It is what was announced, and not a layer.
    #[error("Layer {layer} cannot be unpacked")]
    Unpack {
        /// The layer.
        layer: Digest,
        /// Why.
        source: layer::Error,
    },
    /// It is what was announced, and its compression is broken.
    #[error("Layer {layer} cannot be decompressed: the image itself is broken")]
    Decompress {
        /// The layer.
        layer: Digest,
        /// Why.
        source: io::Error,
    },
    /// It could not be written.
    #[error("Cannot store layer {layer}: is the disk full?")]
    Write {
        /// The layer.
        layer: Digest,
        /// Why.
        source: io::Error,
    },
    /// The store.
    #[error("Cannot store layer {layer}")]
    Store {
        /// The layer.
        layer: Digest,
        /// Why.
        source: store::Error,
    },
    /// The store, at the end.
    #[error("Cannot store the image")]
    Commit(#[source] store::Error),
    /// Another layer failed first.
    #[error("Stopped")]
    Stopped,
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A layer as the image announces it.
pub(crate) struct Wanted {
    /// Digest and size of the bytes as they come in, if the image tells.
    pub(crate) blob: Option<(Digest, u64)>,
    pub(crate) media_type: String,
    pub(crate) diff_id: Digest,
}

impl Wanted {
    /// A layer of a manifest, and the diff id that the config has for it.
    pub(crate) fn announced((layer, diff_id): (&Descriptor, &Digest)) -> Wanted {
        let blob = Some((layer.digest.clone(), layer.size));
        Wanted { blob, media_type: layer.media_type.clone(), diff_id: diff_id.clone() }
    }

    /// What the layer is called towards the user.
    fn label(&self) -> &Digest {
        self.blob.as_ref().map_or(&self.diff_id, |(digest, _)| digest)
    }

    fn is_same(&self, other: &Wanted) -> bool {
        self.blob.is_some() && self.blob == other.blob && self.diff_id == other.diff_id
    }
}

/// A layer that is ready to be committed: new files are in `tmp/`, durable; `None` means it is in the store already.
pub(crate) struct Layer {
    pub(crate) diff_id: Digest,
    pub(crate) descriptor: Descriptor,
    pub(crate) blob: Option<Temp>,
    pub(crate) erofs: Option<Temp>,
}

/// Opens the bytes of the layer with this position among those wanted.
pub(crate) type Open<'a> = dyn Fn(usize) -> Result<Box<dyn Read + Send + 'a>, BoxError> + Sync + 'a;

/// Brings in all of `wanted` and commits what `incoming` makes of them.
pub(crate) fn image(
    store: &Store,
    wanted: &[Wanted],
    open: &Open<'_>,
    progress: &dyn Progress,
    incoming: &dyn Fn(Vec<Layer>) -> Incoming,
) -> Result<Image, Error> {
    let mut round = 1;
    loop {
        let layers = layers(store, wanted, open, progress)?;
        match store.commit(incoming(layers)) {
            Err(store::Error::Vanished) if round < ROUNDS => round += 1,
            other => return other.map_err(Error::Commit),
        }
    }
}

/// Brings in all of `wanted`, several at once; on the first failure the others are stopped.
fn layers(store: &Store, wanted: &[Wanted], open: &Open<'_>, progress: &dyn Progress) -> Result<Vec<Layer>, Error> {
    let pairs = store.known_pairs().map_err(Error::Commit)?;
    let stop = AtomicBool::new(false);
    let next = AtomicUsize::new(0);
    let results: Vec<Mutex<Option<Result<Layer, Error>>>> = wanted.iter().map(|_| Mutex::new(None)).collect();
    let work = || {
        while !stop.load(Ordering::Relaxed) {
            let position = next.fetch_add(1, Ordering::Relaxed);
            let (Some(layer), Some(slot)) = (wanted.get(position), results.get(position)) else { return };
            let repeated = wanted.iter().take(position).any(|earlier| earlier.is_same(layer));
            let result = if repeated {
                Ok(present(layer))
            } else {
                let known =
                    layer.blob.as_ref().is_some_and(|(d, _)| pairs.contains(&(d.clone(), layer.diff_id.clone())));
                ingest(store, layer, known, &|| open(position), progress, &stop)
            };
            stop.fetch_or(result.is_err(), Ordering::Relaxed);
            *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..wanted.len().min(PARALLEL) {
            scope.spawn(work);
        }
        work();
    });
    let results = results.into_iter().map(|slot| slot.into_inner().unwrap_or_else(PoisonError::into_inner));
    let (mut layers, mut failure) = (Vec::with_capacity(wanted.len()), None);
    for result in results {
        match result.unwrap_or(Err(Error::Stopped)) {
            Ok(layer) => layers.push(layer),
            Err(Error::Stopped) => failure = failure.or(Some(Error::Stopped)),
            Err(error) => return Err(error),
        }
    }
    failure.map_or(Ok(layers), Err)
}

fn present(wanted: &Wanted) -> Layer {
    let (digest, size) = wanted.blob.clone().unwrap_or_else(|| (wanted.diff_id.clone(), 0));
    let descriptor = Descriptor::new(&wanted.media_type, digest, size);
    Layer { diff_id: wanted.diff_id.clone(), descriptor, blob: None, erofs: None }
}

/// Brings in one layer. What is there already is used: the EROFS file of another image, the blob of an earlier pull.
/// But that a blob unpacks to a diff id is believed only when an image of the store vouches for it (`known`): else an
/// image could pass off a layer as another.
fn ingest<'a>(
    store: &Store,
    wanted: &Wanted,
    known: bool,
    open: &dyn Fn() -> Result<Box<dyn Read + Send + 'a>, BoxError>,
    progress: &dyn Progress,
    stop: &AtomicBool,
) -> Result<Layer, Error> {
    let label = wanted.label();
    let have_layer = store.layer(&wanted.diff_id).exists();
    let here = wanted.blob.as_ref().map(|(digest, _)| store.blob(digest)).filter(|path| path.exists());
    if known && have_layer && here.is_some() {
        progress.present(label);
        return Ok(present(wanted));
    }
    let temp = || store.temp().map_err(|source| Error::Store { layer: label.clone(), source });
    let erofs = || if have_layer { Ok(None) } else { temp().map(Some) };
    if let Some(path) = here {
        let file = File::open(path).map_err(|source| Error::Write { layer: label.clone(), source })?;
        let output = Output { blob: None, erofs: erofs()? };
        match stream(wanted, Box::new(file), output, progress, stop) {
            Err(Error::Blob { source, .. }) => log::warn!("Layer {label} is damaged in the store: {source}"),
            other => return other,
        }
    }
    let source = open().map_err(|source| Error::Fetch { layer: label.clone(), source })?;
    let output = Output { blob: Some(temp()?), erofs: erofs()? };
    stream(wanted, source, output, progress, stop)
}

/// The new files of a layer; what is in the store already is not written.
struct Output {
    blob: Option<Temp>,
    erofs: Option<Temp>,
}

/// Reads `source` once, to the blob file and through the decompressor to the EROFS file, and verifies both digests.
fn stream(
    wanted: &Wanted,
    source: Box<dyn Read + Send + '_>,
    Output { blob, erofs }: Output,
    progress: &dyn Progress,
    stop: &AtomicBool,
) -> Result<Layer, Error> {
    let label = wanted.label();
    let fail_write = |source| Error::Write { layer: label.clone(), source };
    progress.start(label, wanted.blob.as_ref().map_or(0, |(_, size)| *size));
    let algorithm = wanted.blob.as_ref().map_or(Algorithm::Sha256, |(digest, _)| digest.algorithm());
    let hashing = Hashing::new(source, algorithm, wanted.blob.as_ref().map(|(_, size)| *size));
    let mut tee = Tee { input: hashing, output: blob.as_ref().map(Temp::file), failure: None, label, progress, stop };
    let unpacked = unpack(&mut tee, &wanted.diff_id, erofs.as_ref().map(Temp::file));
    // The rest is read even when unpacking failed: if the blob is not what was announced, that is the reason.
    let drained = io::copy(&mut tee, &mut io::sink());
    let Tee { input: hashing, failure, .. } = tee;
    match (failure, drained) {
        (None, Ok(_)) => {}
        (Some(Failure::Stopped), _) => return Err(Error::Stopped),
        (Some(Failure::Output(error)), _) => return Err(fail_write(error)),
        (Some(Failure::Input(error)), _) | (None, Err(error)) => {
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
    unpacked.map_err(|error| match error {
        Unpacked::Layer(source) => Error::Unpack { layer: label.clone(), source },
        Unpacked::DiffId(source) => Error::DiffId { layer: label.clone(), source },
        Unpacked::Read(source) => Error::Decompress { layer: label.clone(), source },
    })?;
    for temp in blob.iter().chain(&erofs) {
        temp.file().sync_all().map_err(fail_write)?;
    }
    progress.done(label);
    let descriptor = Descriptor::new(&wanted.media_type, digest, size);
    Ok(Layer { diff_id: wanted.diff_id.clone(), descriptor, blob, erofs })
}

enum Unpacked {
    Layer(layer::Error),
    DiffId(digest::Error),
    Read(io::Error),
}

/// Decompresses `input`, writes it as EROFS to `output` if there is one, and verifies the diff id.
fn unpack(input: &mut Tee<'_, '_>, diff_id: &Digest, output: Option<&File>) -> Result<(), Unpacked> {
    let tar = layer::decompress(Box::new(input)).map_err(Unpacked::Layer)?;
    let mut hashing = Hashing::new(tar, diff_id.algorithm(), None);
    if let Some(output) = output {
        layer::write(&mut hashing, output, &layer::Limits::default(), layer::Base::Nothing).map_err(Unpacked::Layer)?;
    }
    hashing.drain().map_err(Unpacked::Read)?;
    hashing.verify(diff_id).map_err(Unpacked::DiffId).map(|_| ())
}

enum Failure {
    Input(io::Error),
    Output(io::Error),
    Stopped,
}

/// Copies what is read to a file, and remembers what failed: a decompressor says only that something did.
struct Tee<'a, 'b> {
    input: Hashing<Box<dyn Read + Send + 'a>>,
    output: Option<&'b File>,
    failure: Option<Failure>,
    label: &'b Digest,
    progress: &'b dyn Progress,
    stop: &'b AtomicBool,
}

impl Tee<'_, '_> {
    fn fail(&mut self, failure: Failure) -> io::Error {
        self.failure.get_or_insert(failure);
        io::Error::other("The layer's source failed")
    }
}

impl Read for Tee<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.failure.is_some() {
            return Err(io::Error::other("The layer's source failed"));
        }
        if self.stop.load(Ordering::Relaxed) {
            return Err(self.fail(Failure::Stopped));
        }
        let read = match self.input.read(buffer) {
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Err(error),
            Err(error) => return Err(self.fail(Failure::Input(error))),
        };
        if let Some(mut output) = self.output
            && let Err(error) = output.write_all(buffer.get(..read).unwrap_or_default())
        {
            return Err(self.fail(Failure::Output(error)));
        }
        self.progress.advance(self.label, read as u64);
        Ok(read)
    }
}

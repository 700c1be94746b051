//! The way of an image's layers into the store, the same for pull and load: several layers at once, each in one pass
//! from the bytes as they come in to an EROFS file, both digests computed on the way.
//!
//! A layer that depends on the layers below it is found out only when it has been read. It is read a second time, from
//! the blob that is on the disk by then, when those below are complete.

mod input;
mod layer;

use std::io::{self, Read};
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::manifest::Descriptor;
use crate::store::{self, Incoming, Temp, place_keys};
use crate::{Digest, Image, Progress, Store, digest};

/// Layers worked on at once: enough to hide the latency of a registry, few enough for a small machine's memory.
const PARALLEL: usize = 4;
/// How often an image is begun again because what it relied on was removed meanwhile: four processes that do nothing but
/// add and remove the same images got in the way of one another three times running now and then.
const ROUNDS: u32 = 10;

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
        source: crate::layer::Error,
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

impl Error {
    /// Whether what has come in may serve another try: it was not the image or the disk that failed.
    fn may_go_on(&self) -> bool {
        matches!(self, Error::Fetch { .. } | Error::Commit(store::Error::Vanished))
    }
}

pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;

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

/// A layer that is ready to be committed: new files are beside their places, durable; `None` means it is in the store
/// already.
pub(crate) struct Layer {
    /// See [`Image::layers`].
    pub(crate) key: Digest,
    pub(crate) descriptor: Descriptor,
    pub(crate) blob: Option<Temp>,
    pub(crate) erofs: Option<Temp>,
    /// It depends on what is below it and was not written for that yet.
    unplaced: bool,
}

/// Bytes of a layer.
pub(crate) type Bytes<'a> = Box<dyn Read + Send + 'a>;

/// Where the bytes of the layers come from, by their positions among those wanted.
pub(crate) enum Source<'a> {
    /// Each from its start.
    Whole(&'a (dyn Fn(usize) -> Result<Bytes<'a>, BoxError> + Sync)),
    /// Each from an offset on, so that what broke off can be gone on with, by a later process too.
    Resumable(&'a (dyn Fn(usize, u64) -> Result<Bytes<'a>, BoxError> + Sync)),
}

/// Brings in all of `wanted` and commits what `incoming` makes of them.
pub(crate) fn image(
    store: &Store,
    wanted: &[Wanted],
    source: &Source<'_>,
    progress: &dyn Progress,
    incoming: &dyn Fn(Vec<Layer>) -> Incoming,
) -> Result<Image, Error> {
    let size = |wanted: &Wanted| wanted.blob.as_ref().map_or(0, |(_, size)| *size);
    let plan: Vec<(Digest, u64)> = wanted.iter().map(|wanted| (wanted.label().clone(), size(wanted))).collect();
    progress.plan(&plan);
    let mut round = 1;
    loop {
        let layers = layers(store, wanted, source, progress);
        let result = layers.and_then(|layers| store.commit(incoming(layers)).map_err(Error::Commit));
        match result {
            Err(Error::Commit(store::Error::Vanished)) if round < ROUNDS => round += 1,
            other => return other,
        }
    }
}

/// Brings in all of `wanted`, several at once; on the first failure the others are stopped.
fn layers(store: &Store, wanted: &[Wanted], source: &Source<'_>, progress: &dyn Progress) -> Result<Vec<Layer>, Error> {
    let pairs = store.known_pairs().map_err(Error::Commit)?;
    let diff_ids: Vec<Digest> = wanted.iter().map(|wanted| wanted.diff_id.clone()).collect();
    let places = place_keys(&diff_ids);
    let stop = Stop::default();
    let next = AtomicUsize::new(0);
    let results: Vec<Mutex<Option<Result<Layer, Error>>>> = wanted.iter().map(|_| Mutex::new(None)).collect();
    let work = || {
        while stop.reason().is_none() {
            let position = next.fetch_add(1, Ordering::Relaxed);
            let Some((layer, place, slot)) = get3(wanted, &places, &results, position) else { return };
            let repeated = wanted.iter().take(position).any(|earlier| earlier.is_same(layer));
            let known = layer.blob.as_ref().is_some_and(|(d, _)| pairs.contains(&(d.clone(), layer.diff_id.clone())));
            let job = layer::Job { store, wanted: layer, place, position, source, progress, stop: &stop };
            let result = if repeated { Ok(job.repeated()) } else { job.run(known) };
            if let Err(error) = &result {
                stop.because(error);
            }
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
            Err(error) => failure = Some(failure.filter(|known| !matches!(known, Error::Stopped)).unwrap_or(error)),
        }
    }
    let placed = failure.map_or_else(|| layer::place(store, wanted, &places, &mut layers), Err);
    match placed {
        Ok(()) => Ok(layers),
        Err(error) => {
            stop.because(&error);
            if stop.reason() == Some(Reason::Image) {
                layers.iter_mut().filter_map(|layer| layer.blob.as_mut()).for_each(Temp::discard);
            }
            Err(error)
        }
    }
}

/// What these three have at a position.
fn get3<'a, A, B, C>(a: &'a [A], b: &'a [B], c: &'a [C], position: usize) -> Option<(&'a A, &'a B, &'a C)> {
    Some((a.get(position)?, b.get(position)?, c.get(position)?))
}

/// Why the layers still being worked on are given up.
#[derive(Default)]
struct Stop(AtomicU8);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Reason {
    /// What has come in may serve another try.
    Source = 1,
    /// It would be in the way.
    Image = 2,
}

impl Stop {
    fn because(&self, error: &Error) {
        let reason = match error {
            Error::Stopped => return,
            error if error.may_go_on() => Reason::Source,
            _ => Reason::Image,
        };
        self.0.fetch_max(reason as u8, Ordering::Relaxed);
    }

    fn reason(&self) -> Option<Reason> {
        match self.0.load(Ordering::Relaxed) {
            0 => None,
            1 => Some(Reason::Source),
            _ => Some(Reason::Image),
        }
    }
}

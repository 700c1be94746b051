//! Downloads that broke off are gone on with by the next pull, and what is left of them is not believed.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use coracle_image::progress::Silent;
use coracle_image::pull::PullOptions;
use coracle_image::registry::{Anonymous, Options, Retry};
use coracle_image::{Digest, Image, pull};
use support::registry::{Flaw, Registry, answers};
use support::{Home, Sample, chain, file, noise, tar};

/// How much of the large layer comes before the connection breaks.
const CUT: usize = 70_000;

fn pull_from(home: &Home, registry: &Registry) -> Result<Image, String> {
    let retry = Retry { attempts: 1, first_pause: Duration::ZERO };
    let options = PullOptions {
        registry: Options { credentials: Arc::new(Anonymous), retry, ..Options::default() },
        ..PullOptions::default()
    };
    let reference = format!("{}/app:1", registry.host()).parse().unwrap();
    pull(&home.store, &reference, &options, &Silent).map_err(|error| chain(&error))
}

fn sample() -> Sample {
    Sample::of(&[tar(&[file("small", "1")]), tar(&[file("large", noise(5, 200_000))])])
}

/// A registry that breaks off the large layer while `broken` is set.
fn registry(sample: &Sample) -> (Registry, Arc<AtomicBool>) {
    let broken = Arc::new(AtomicBool::new(true));
    let (serve, large, state) = (answers(&[("1", sample)]), Digest::of(&sample.blobs[1]).to_string(), broken.clone());
    let registry = Registry::new(move |request| {
        let cut = state.load(Ordering::SeqCst) && request.path.ends_with(&large);
        serve(request).flawed(if cut { Flaw::CutAfter(CUT) } else { Flaw::None })
    });
    (registry, broken)
}

fn partials(home: &Home) -> Vec<PathBuf> {
    fs::read_dir(home.folders.root().join("partial")).unwrap().map(|entry| entry.unwrap().path()).collect()
}

fn partial_of(home: &Home, blob: &[u8]) -> PathBuf {
    home.folders.root().join(format!("partial/sha256-{}", Digest::of(blob).hex()))
}

#[test]
fn a_pull_that_broke_off_is_gone_on_with_where_it_ended() {
    let (home, sample) = (Home::new(), sample());
    let (registry, broken) = registry(&sample);
    pull_from(&home, &registry).unwrap_err();
    let beginning = fs::read(partial_of(&home, &sample.blobs[1])).unwrap();
    assert!(beginning.len() == CUT && sample.blobs[1].starts_with(&beginning), "{} bytes", beginning.len());

    broken.store(false, Ordering::SeqCst);
    let before = registry.requests().len();
    let image = pull_from(&home, &registry).unwrap();
    assert_eq!(image.id, sample.id());
    let later = registry.requests().split_off(before);
    let large = Digest::of(&sample.blobs[1]).to_string();
    let ranges: Vec<_> = later.iter().filter(|request| request.path.ends_with(&large)).collect();
    assert_eq!(ranges.len(), 1);
    assert!(ranges[0].header("range").unwrap().starts_with(&format!("bytes={CUT}-")), "{:?}", ranges[0]);
    assert_eq!(partials(&home), Vec::<PathBuf>::new());
    assert!(fs::read(home.store.blob(&Digest::of(&sample.blobs[1]))).unwrap() == sample.blobs[1]);
}

#[test]
fn a_damaged_beginning_is_fetched_anew() {
    let (home, sample) = (Home::new(), sample());
    let (registry, broken) = registry(&sample);
    pull_from(&home, &registry).unwrap_err();
    let path = partial_of(&home, &sample.blobs[1]);
    let mut bytes = fs::read(&path).unwrap();
    bytes[CUT / 2] ^= 1;
    fs::write(&path, bytes).unwrap();
    broken.store(false, Ordering::SeqCst);
    assert_eq!(pull_from(&home, &registry).unwrap().id, sample.id());
    assert!(fs::read(home.store.blob(&Digest::of(&sample.blobs[1]))).unwrap() == sample.blobs[1]);
    assert_eq!(partials(&home), Vec::<PathBuf>::new());
}

#[test]
fn a_beginning_longer_than_the_blob_is_fetched_anew() {
    let (home, sample) = (Home::new(), sample());
    let (registry, broken) = registry(&sample);
    broken.store(false, Ordering::SeqCst);
    fs::write(partial_of(&home, &sample.blobs[1]), vec![7; sample.blobs[1].len() + 1]).unwrap();
    assert_eq!(pull_from(&home, &registry).unwrap().id, sample.id());
    assert_eq!(partials(&home), Vec::<PathBuf>::new());
}

#[test]
fn a_whole_beginning_needs_no_request() {
    let (home, sample) = (Home::new(), sample());
    let (registry, _) = registry(&sample);
    fs::write(partial_of(&home, &sample.blobs[1]), &sample.blobs[1]).unwrap();
    assert_eq!(pull_from(&home, &registry).unwrap().id, sample.id());
    assert_eq!(registry.count(&Digest::of(&sample.blobs[1]).to_string()), 0);
}

#[test]
fn a_broken_image_leaves_no_beginnings() {
    let (home, mut sample) = (Home::new(), sample());
    // The config promises another content than the small layer has.
    sample.diffs[0] = tar(&[file("small", "2")]);
    sample.set_config("amd64");
    let registry = Registry::with(&[("1", &sample)]);
    pull_from(&home, &registry).unwrap_err();
    assert_eq!(home.content(), Vec::<String>::new());
}

#[test]
fn a_beginning_that_another_process_is_at_is_left_to_it() {
    let (home, sample) = (Home::new(), sample());
    let (registry, broken) = registry(&sample);
    broken.store(false, Ordering::SeqCst);
    let path = partial_of(&home, &sample.blobs[1]);
    let other = fs::File::create(&path).unwrap();
    other.lock().unwrap();
    assert_eq!(pull_from(&home, &registry).unwrap().id, sample.id());
    assert_eq!(fs::metadata(&path).unwrap().len(), 0);
}

//! Large blobs come in by several requests at once, whatever the registry makes of that.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use std::collections::HashMap;
use std::io::Read;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use coracle_image::manifest::Descriptor;
use coracle_image::registry::{Anonymous, Blob, Client, Options, Retry};
use coracle_image::{Digest, Reference};
use support::noise;
use support::registry::{Flaw, Registry, Request, Response};

const PIECE: usize = 4 << 20;
/// Ten pieces, the last of them short.
const LENGTH: usize = 9 * PIECE + 12_345;

struct Content {
    bytes: Arc<Vec<u8>>,
    descriptor: Descriptor,
}

fn content() -> Content {
    let block = noise(77, 1 << 20);
    let mut bytes: Vec<u8> = (0..LENGTH).map(|index| block[index & 0xf_ffff] ^ (index >> 20) as u8).collect();
    bytes.truncate(LENGTH);
    let descriptor = Descriptor::new("application/octet-stream", Digest::of(&bytes), LENGTH as u64);
    Content { bytes: Arc::new(bytes), descriptor }
}

/// The honest answer, ranges included.
fn honest(bytes: &[u8], request: &Request) -> Response {
    let Some(range) = request.header("range") else { return Response::new(200, bytes) };
    let (from, to) = span(range);
    let to = to.min(bytes.len());
    Response::new(206, &bytes[from..to]).with("content-range", format!("bytes {from}-{}/{}", to - 1, bytes.len()))
}

fn span(range: &str) -> (usize, usize) {
    let (from, to) = range.strip_prefix("bytes=").unwrap().split_once('-').unwrap();
    (from.parse().unwrap(), if to.is_empty() { LENGTH } else { to.parse::<usize>().unwrap() + 1 })
}

fn client(registry: &Registry) -> Client {
    let retry = Retry { attempts: 3, first_pause: Duration::from_millis(1) };
    let options = Options { credentials: Arc::new(Anonymous), authorities: None, retry, ..Options::default() };
    let reference: Reference = format!("{}/app:1", registry.host()).parse().unwrap();
    Client::new(&reference, &options).unwrap()
}

fn all(mut blob: Blob) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    blob.read_to_end(&mut bytes).map(|_| bytes)
}

fn ranges(registry: &Registry) -> Vec<(usize, usize)> {
    let mut spans: Vec<_> =
        registry.requests().iter().filter_map(|request| Some(span(request.header("range")?))).collect();
    spans.sort();
    spans
}

#[test]
fn a_large_blob_comes_in_pieces_that_make_the_whole() {
    let content = content();
    let bytes = content.bytes.clone();
    let registry = Registry::new(move |request| honest(&bytes, request));
    let got = all(client(&registry).blob(&content.descriptor).unwrap()).unwrap();
    assert!(got == *content.bytes);
    let pieces: Vec<_> = (0..10).map(|n| (n * PIECE, ((n + 1) * PIECE).min(LENGTH))).collect();
    assert_eq!(ranges(&registry), pieces);
    assert_eq!(registry.requests().len(), 10);
}

#[test]
fn three_requests_are_under_way_at_once() {
    let content = content();
    let (bytes, gate) = (content.bytes.clone(), Arc::new((Mutex::new(0), Condvar::new())));
    // Those after the first piece are answered when three of them are there at once.
    let registry = Registry::new(move |request| {
        let (count, changed) = &*gate;
        if span(request.header("range").unwrap()).0 > 0 {
            let mut here = count.lock().unwrap();
            *here += 1;
            changed.notify_all();
            let (_here, late) = changed.wait_timeout_while(here, Duration::from_secs(20), |here| *here < 3).unwrap();
            if late.timed_out() {
                return Response::new(403, "{}");
            }
        }
        honest(&bytes, request)
    });
    assert!(all(client(&registry).blob(&content.descriptor).unwrap()).unwrap() == *content.bytes);
}

#[test]
fn no_more_than_a_window_is_fetched_ahead_and_nothing_after_the_reader_is_gone() {
    let content = content();
    let bytes = content.bytes.clone();
    let registry = Registry::new(move |request| honest(&bytes, request));
    let mut blob = client(&registry).blob(&content.descriptor).unwrap();
    let mut byte = [0];
    blob.read_exact(&mut byte).unwrap();
    assert_eq!(byte[0], content.bytes[0]);
    drop(blob);
    assert!(threads_end(), "threads go on without a reader");
    assert!(registry.requests().len() <= 4, "{} requests", registry.requests().len());
}

/// Whether the threads that fetch pieces end, within some seconds. Other tests have such threads too: they end as well.
fn threads_end() -> bool {
    let names = || {
        std::fs::read_dir("/proc/self/task")
            .unwrap()
            .filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok())
    };
    let deadline = std::time::Instant::now() + Duration::from_secs(60);
    while names().any(|name| name.trim() == "blob") {
        if std::time::Instant::now() > deadline {
            return false;
        }
        std::thread::yield_now();
    }
    true
}

#[test]
fn a_registry_without_ranges_sends_one_stream() {
    let content = content();
    let bytes = content.bytes.clone();
    let registry = Registry::new(move |_| Response::new(200, bytes.as_slice()));
    let client = client(&registry);
    assert!(all(client.blob(&content.descriptor).unwrap()).unwrap() == *content.bytes);
    assert_eq!(registry.requests().len(), 1);
    let rest = all(client.blob_from(&content.descriptor, 12_345).unwrap()).unwrap();
    assert!(rest == content.bytes[12_345..], "the known part is skipped");
    assert_eq!(registry.requests().len(), 2);
}

#[test]
fn a_registry_that_forgets_ranges_halfway_is_coped_with() {
    let content = content();
    let (bytes, count) = (content.bytes.clone(), AtomicUsize::new(0));
    let registry = Registry::new(move |request| match count.fetch_add(1, Ordering::SeqCst) {
        0..4 => honest(&bytes, request),
        _ => Response::new(200, bytes.as_slice()),
    });
    assert!(all(client(&registry).blob(&content.descriptor).unwrap()).unwrap() == *content.bytes);
}

#[test]
fn pieces_that_break_are_gone_on_with() {
    let content = content();
    let (bytes, seen) = (content.bytes.clone(), Mutex::new(HashMap::new()));
    let registry = Registry::new(move |request| {
        let (from, _) = span(request.header("range").unwrap());
        let first = seen.lock().unwrap().insert(from / PIECE, ()).is_none();
        honest(&bytes, request).flawed(if first { Flaw::CutAfter(1_000_000 + from / PIECE) } else { Flaw::None })
    });
    assert!(all(client(&registry).blob(&content.descriptor).unwrap()).unwrap() == *content.bytes);
    let starts: Vec<usize> = ranges(&registry).into_iter().map(|(from, _)| from).collect();
    assert!(starts.contains(&1_000_000) && starts.contains(&(PIECE + 1_000_001)), "{starts:?}");
}

#[test]
fn a_piece_that_always_breaks_is_given_up() {
    let content = content();
    let bytes = content.bytes.clone();
    let registry = Registry::new(move |request| {
        let (from, _) = span(request.header("range").unwrap());
        honest(&bytes, request).flawed(if from >= 3 * PIECE { Flaw::CutAfter(0) } else { Flaw::None })
    });
    let mut blob = client(&registry).blob(&content.descriptor).unwrap();
    let mut got = Vec::new();
    assert!(blob.read_to_end(&mut got).is_err());
    assert!(got.len() <= 3 * PIECE && got == content.bytes[..got.len()]);
    assert!(blob.read(&mut [0]).is_err(), "it stays broken");
}

#[test]
fn a_lying_content_range_is_not_believed() {
    let content = content();
    for lie in ["bytes 7-4194303/37761081", "bytes 0-4194303/99999999", "bytes */37761081", "nonsense", ""] {
        let bytes = content.bytes.clone();
        // What comes without a range is honest, and used when the range turns out to be a lie.
        let registry = Registry::new(move |request| match request.header("range") {
            Some(_) => Response::new(206, vec![0; PIECE]).with("content-range", lie),
            None => Response::new(200, bytes.as_slice()),
        });
        assert!(all(client(&registry).blob(&content.descriptor).unwrap()).unwrap() == *content.bytes, "{lie:?}");
        let rest = client(&registry).blob_from(&content.descriptor, 5).map(all);
        assert!(!matches!(rest, Ok(Ok(_))), "{lie:?} was believed");
    }
    // The total may be left out.
    let bytes = content.bytes.clone();
    let registry = Registry::new(move |request| {
        let mut response = honest(&bytes, request);
        for (_, value) in &mut response.headers {
            *value = value.split('/').next().unwrap().to_owned() + "/*";
        }
        response
    });
    assert!(all(client(&registry).blob(&content.descriptor).unwrap()).unwrap() == *content.bytes);
}

#[test]
fn a_longer_piece_than_asked_for_does_no_harm() {
    let content = content();
    let bytes = content.bytes.clone();
    let registry = Registry::new(move |request| {
        let (from, _) = span(request.header("range").unwrap());
        Response::new(206, &bytes[from..]).with("content-range", format!("bytes {from}-{}/{LENGTH}", LENGTH - 1))
    });
    assert!(all(client(&registry).blob(&content.descriptor).unwrap()).unwrap() == *content.bytes);
}

#[test]
fn a_blob_is_opened_at_any_offset() {
    let content = content();
    let bytes = content.bytes.clone();
    let registry = Registry::new(move |request| honest(&bytes, request));
    let client = client(&registry);
    for offset in [1, PIECE - 1, 3 * PIECE, LENGTH - 1, LENGTH] {
        let rest = all(client.blob_from(&content.descriptor, offset as u64).unwrap()).unwrap();
        assert!(rest == content.bytes[offset..], "from {offset}");
    }
    assert!(registry.requests().iter().all(|request| request.header("range").is_some()));
}

#[test]
fn pieces_are_fetched_where_the_first_was_redirected_to_until_that_ends() {
    let content = content();
    let (bytes, count) = (content.bytes.clone(), Arc::new(AtomicUsize::new(0)));
    let storage = Registry::new(move |request| {
        assert!(request.header("authorization").is_none());
        // The sixth request finds its signature expired.
        if count.fetch_add(1, Ordering::SeqCst) == 5 { Response::new(403, "") } else { honest(&bytes, request) }
    });
    let elsewhere = storage.host();
    let registry = Registry::new(move |request| {
        Response::new(307, "moved").with("location", format!("http://{elsewhere}{}", request.path))
    });
    assert!(all(client(&registry).blob(&content.descriptor).unwrap()).unwrap() == *content.bytes);
    assert_eq!(storage.requests().len(), 11);
    let asked = registry.requests().len();
    assert!((2..6).contains(&asked), "the registry was asked {asked} times");
}

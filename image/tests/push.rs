//! Pushing to a registry that is honest, slow of mind, or broken.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use coracle_image::manifest::{Descriptor, Manifest};
use coracle_image::progress::Silent;
use coracle_image::push::{Error, PushOptions};
use coracle_image::registry::{self, Anonymous, Client, Open, Options, Retry, Upload};
use coracle_image::{Digest, load, push};
use serde_json::json;
use support::pushed::Pushed;
use support::registry::{Flaw, Registry, Request, Response};
use support::{Home, MANIFEST, Sample, chain, descriptor, noise, tar};

/// Bytes of a chunk.
const CHUNK: usize = 8 << 20;

fn options() -> Options {
    let retry = Retry { attempts: 3, first_pause: Duration::from_millis(1) };
    Options { credentials: Arc::new(Anonymous), authorities: None, retry, ..Options::default() }
}

fn home(sample: &Sample, name: &str) -> Home {
    let home = Home::new();
    let bytes = tar(&sample.oci(Some(name)));
    load(&home.store, load::Source::Stream(&mut bytes.as_slice()), &Silent).unwrap();
    home
}

fn push_to(home: &Home, name: &str, registry: &Registry) -> Result<Digest, Error> {
    let to = format!("{}/app:1", registry.host()).parse().unwrap();
    push(&home.store, name, &to, &PushOptions { registry: options(), ..PushOptions::default() }, &Silent)
}

fn client(registry: &Registry) -> Client {
    Client::new(&format!("{}/app:1", registry.host()).parse().unwrap(), &options()).unwrap()
}

struct Bytes(Vec<u8>);

impl Open for Bytes {
    fn open(&self) -> std::io::Result<Box<dyn Read + '_>> {
        Ok(Box::new(self.0.as_slice()))
    }
}

/// Three chunks, the last of them short.
fn large() -> (Bytes, Digest) {
    let block = noise(9, 1 << 20);
    let bytes: Vec<u8> = (0..2 * CHUNK + 1000).map(|index| block[index & 0xf_ffff] ^ (index >> 20) as u8).collect();
    let digest = Digest::of(&bytes);
    (Bytes(bytes), digest)
}

/// Uploads the large blob, whose size is known if `known`, and makes sure that it arrived.
#[track_caller]
fn upload(registry: &Registry, pushed: &Pushed, known: bool) {
    let (bytes, digest) = large();
    let size = bytes.0.len() as u64;
    let sum = AtomicUsize::new(0);
    let advance = |bytes: u64| {
        sum.fetch_add(bytes as usize, Ordering::SeqCst);
    };
    let upload = Upload { source: &bytes, known: known.then_some((&digest, size)), advance: &advance };
    assert_eq!(client(registry).upload(&upload).unwrap(), (digest.clone(), size));
    assert!(pushed.blob(&digest).unwrap() == bytes.0);
    assert_eq!(sum.load(Ordering::SeqCst) as u64, size);
}

fn chunks(registry: &Registry) -> Vec<String> {
    let requests = registry.requests();
    let chunks = requests.iter().filter(|request| request.method == "PATCH");
    chunks.map(|request| request.header("content-range").unwrap_or("all").to_owned()).collect()
}

#[test]
fn an_image_arrives_as_it_is() {
    let (pushed, sample) = (Pushed::default(), Sample::new(1));
    let content = pushed.clone();
    let registry = Registry::new(move |request| content.answer(request));
    let here = home(&sample, "mine:1");
    let digest = push_to(&here, "mine:1", &registry).unwrap();
    assert_eq!(pushed.manifest("app/manifests/1").unwrap(), sample.manifest());
    assert_eq!(digest, Digest::of(&sample.manifest()));
    for blob in sample.blobs.iter().chain([&sample.config]) {
        assert_eq!(&pushed.blob(&Digest::of(blob)).unwrap(), blob);
    }
    let sent = |registry: &Registry| registry.requests().iter().filter(|request| request.method == "POST").count();
    assert_eq!(sent(&registry), 3);
    push_to(&here, &sample.id().to_string(), &registry).unwrap();
    assert_eq!(sent(&registry), 3, "what is there is not sent again");
    assert!(matches!(push_to(&here, "absent", &registry), Err(Error::NotFound(_))));
}

#[test]
fn a_layer_that_stands_in_an_image_twice_is_sent_once() {
    let base = Sample::new(2);
    let sample = Sample::of(&[base.diffs[0].clone(), base.diffs[1].clone(), base.diffs[0].clone()]);
    let pushed = Pushed::default();
    let content = pushed.clone();
    let registry = Registry::new(move |request| content.answer(request));
    push_to(&home(&sample, "mine:1"), "mine:1", &registry).unwrap();
    assert_eq!(pushed.manifest("app/manifests/1").unwrap(), sample.manifest());
    assert_eq!(registry.requests().iter().filter(|request| request.method == "POST").count(), 3);
}

#[test]
fn a_layer_is_mounted_from_a_repository_that_is_known_to_have_it() {
    let (pushed, sample) = (Pushed::default(), Sample::new(3));
    let content = pushed.clone();
    let registry = Registry::new(move |request| match request.path.contains("mount=") {
        true => Response::new(201, ""),
        false => content.answer(request),
    });
    let name = format!("{}/base:1", registry.host());
    push_to(&home(&sample, &name), &name, &registry).unwrap();
    assert_eq!(registry.count("&from=base"), 2);
    assert!(pushed.blob(&Digest::of(&sample.blobs[0])).is_none(), "it was not sent");
}

#[test]
fn a_large_blob_goes_in_chunks() {
    for known in [true, false] {
        let pushed = Pushed::default();
        let content = pushed.clone();
        let registry = Registry::new(move |request| content.answer(request));
        upload(&registry, &pushed, known);
        assert_eq!(chunks(&registry), ["0-8388607", "8388608-16777215", "16777216-16778215"]);
    }
}

#[test]
fn chunks_are_as_large_as_the_registry_wants_them() {
    let pushed = Pushed::default();
    let content = pushed.clone();
    let registry = Registry::new(move |request| match request.method.as_str() {
        "POST" => content.answer(request).with("oci-chunk-min-length", "10000000"),
        _ => content.answer(request),
    });
    upload(&registry, &pushed, true);
    assert_eq!(chunks(&registry), ["0-9999999", "10000000-16778215"]);
}

#[test]
fn a_chunk_that_breaks_is_gone_on_with_where_the_registry_is() {
    // What the registry took of the second chunk before it broke.
    for taken in [0, 12_345, CHUNK] {
        for flaw in [Flaw::HangUp, Flaw::None] {
            let (pushed, broken) = (Pushed::default(), AtomicBool::new(false));
            let content = pushed.clone();
            let registry = Registry::new(move |request| {
                let second = request.header("content-range").is_some_and(|range| range.starts_with("8388608-"));
                if second && !broken.swap(true, Ordering::SeqCst) {
                    content.slip_in(request, &request.body[..taken]);
                    return Response::new(416, "{}").flawed(flaw);
                }
                content.answer(request)
            });
            upload(&registry, &pushed, false);
            let gets = registry.requests().iter().filter(|request| request.method == "GET").count();
            assert_eq!(gets, 1, "the registry was asked once how far it is");
        }
    }
}

#[test]
fn a_chunk_of_which_only_a_part_was_taken_is_gone_on_with() {
    let (pushed, first) = (Pushed::default(), AtomicBool::new(true));
    let content = pushed.clone();
    let registry = Registry::new(move |request| {
        let mut request: Request = request.clone();
        if request.method == "PATCH" && first.swap(false, Ordering::SeqCst) {
            request.body.truncate(1000);
            request.headers.insert("content-range".into(), "0-999".into());
        }
        content.answer(&request)
    });
    upload(&registry, &pushed, true);
    assert_eq!(chunks(&registry)[1], "1000-8388607");
}

#[test]
fn a_registry_that_takes_no_chunks_gets_all_in_one() {
    for (status, known) in [(416, true), (413, false), (405, false)] {
        let pushed = Pushed::default();
        let content = pushed.clone();
        let registry = Registry::new(move |request| match request.header("content-range") {
            Some(_) => Response::new(status, r#"{"errors":[{"message":"too large"}]}"#),
            None => content.answer(request),
        });
        upload(&registry, &pushed, known);
        assert_eq!(chunks(&registry), ["0-8388607", "all"]);
    }
}

#[test]
fn an_upload_that_always_breaks_is_given_up() {
    let pushed = Pushed::default();
    let registry = Registry::new(move |request| match request.method.as_str() {
        "PATCH" => Response::new(500, r#"{"errors":[{"message":"disk full"}]}"#),
        _ => pushed.answer(request),
    });
    let (bytes, digest) = large();
    let size = bytes.0.len() as u64;
    let upload = Upload { source: &bytes, known: Some((&digest, size)), advance: &|_| {} };
    let message = client(&registry).upload(&upload).unwrap_err().to_string();
    assert!(message.contains("disk full"), "{message}");
    assert!(registry.requests().iter().any(|request| request.method == "DELETE"), "the upload is not left behind");
}

#[test]
fn a_blob_that_is_damaged_here_is_not_pushed() {
    let sample = Sample::new(4);
    let here = home(&sample, "mine:1");
    std::fs::write(here.store.blob(&Digest::of(&sample.blobs[0])), &sample.blobs[1]).unwrap();
    let pushed = Pushed::default();
    let registry = Registry::new(move |request| pushed.answer(request));
    let message = chain(&push_to(&here, "mine:1", &registry).unwrap_err());
    assert!(message.contains("damaged"), "{message}");
    assert!(registry.requests().iter().all(|request| !(request.method == "PUT" && request.path.contains("manifests"))));
}

#[test]
fn tags_are_read_page_by_page_and_not_for_ever() {
    let registry = Registry::new(|request| match request.path.as_str() {
        "/v2/app/tags/list?n=1000" => Response::new(200, r#"{"name":"app","tags":["a","b/../c"]}"#)
            .with("link", "</v2/app/tags/list?n=1000&last=a>; rel=\"next\""),
        "/v2/app/tags/list?n=1000&last=a" => Response::new(200, r#"{"name":"app","tags":["d"]}"#),
        _ => Response::new(404, ""),
    });
    assert_eq!(client(&registry).tags().unwrap(), ["a", "d"]);
    let endless = Registry::new(|_| Response::new(200, r#"{"tags":["a"]}"#).with("link", "<x?last=a>; rel=next"));
    assert!(matches!(client(&endless).tags(), Err(registry::Error::TooLong { .. })));
    let empty = Registry::new(|_| Response::new(200, r#"{"name":"app","tags":null}"#));
    assert!(client(&empty).tags().unwrap().is_empty());
}

#[test]
fn referrers_come_from_the_list_if_there_is_one() {
    let subject = Digest::of(b"subject");
    let entry = |kind: &str, content: &[u8]| {
        let mut entry = descriptor(MANIFEST, content);
        entry["artifactType"] = kind.into();
        entry
    };
    let index = json!({ "schemaVersion": 2, "manifests": [entry("a/one", b"1"), entry("a/two", b"2")] }).to_string();
    let path = format!("/v2/app/referrers/{subject}");
    let registry = Registry::new(move |request| match request.path.split('?').next() {
        Some(asked) if asked == path => Response::new(200, index.clone()),
        _ => Response::new(404, "{}"),
    });
    let client = client(&registry);
    assert_eq!(client.referrers(&subject, None).unwrap().len(), 2);
    let two = client.referrers(&subject, Some("a/two")).unwrap();
    assert_eq!(two.into_iter().map(|entry| entry.digest).collect::<Vec<_>>(), [Digest::of(b"2")]);
    assert_eq!(registry.count("?artifactType=a%2Ftwo"), 1);
}

#[test]
fn a_registry_that_knows_subjects_needs_no_tag_for_them() {
    for knows in [true, false] {
        let pushed = Pushed::default();
        let content = pushed.clone();
        let subject = Digest::of(b"subject");
        let tag = format!("app/manifests/sha256-{}", subject.hex());
        let known = subject.to_string();
        let registry = Registry::new(move |request| match request.method.as_str() {
            "PUT" if knows => content.answer(request).with("oci-subject", known.clone()),
            _ => content.answer(request),
        });
        let mut manifest = Manifest::new(Descriptor::new("application/x", Digest::of(b"{}"), 2), Vec::new());
        manifest.other.insert("subject".into(), descriptor(MANIFEST, b"subject"));
        let bytes = serde_json::to_vec(&manifest).unwrap();
        let digest = client(&registry).put_manifest(Digest::of(&bytes).as_str(), &bytes, MANIFEST).unwrap();
        match pushed.manifest(&tag) {
            None => assert!(knows),
            Some(index) => {
                assert!(!knows);
                assert!(String::from_utf8(index).unwrap().contains(digest.as_str()));
                let found = client(&registry).referrers(&subject, Some("application/x")).unwrap();
                assert_eq!(found.into_iter().map(|entry| entry.digest).collect::<Vec<_>>(), [digest]);
            }
        }
    }
}

#[test]
fn foreign_layers_stay_where_they_are_unless_they_are_asked_for() {
    let mut sample = Sample::new(5);
    sample.media_types[0] = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip".into();
    let here = home(&sample, "mine:1");
    for foreign in [false, true] {
        let pushed = Pushed::default();
        let content = pushed.clone();
        let registry = Registry::new(move |request| content.answer(request));
        let to = format!("{}/app:1", registry.host()).parse().unwrap();
        let options = PushOptions { registry: options(), foreign, ..PushOptions::default() };
        push(&here.store, "mine:1", &to, &options, &Silent).unwrap();
        assert_eq!(pushed.blob(&Digest::of(&sample.blobs[0])).is_some(), foreign);
        assert_eq!(pushed.manifest("app/manifests/1").unwrap(), sample.manifest());
    }
}

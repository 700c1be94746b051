//! Pushing to and pulling from a registry that others wrote: Debian's docker-registry.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

use coracle_image::manifest::{Descriptor, Manifest};
use coracle_image::progress::Silent;
use coracle_image::pull::PullOptions;
use coracle_image::push::{Compression, PushOptions};
use coracle_image::registry::{Anonymous, Client, Error, Fixed, Login, Open, Options, Retry, Upload, check_login};
use coracle_image::{Digest, Image, Reference, load, pull, push};
use support::debian::Debian;
use support::{Home, MANIFEST, Sample, file, noise, tar};

fn options() -> Options {
    let retry = Retry { attempts: 3, first_pause: Duration::from_millis(1) };
    Options { credentials: Arc::new(Anonymous), authorities: None, retry, ..Options::default() }
}

fn push_options(registry: Options) -> PushOptions {
    PushOptions { registry, ..PushOptions::default() }
}

fn reference(text: &str) -> Reference {
    text.parse().unwrap()
}

/// A store that has `sample` under `name`.
fn home(sample: &Sample, name: &str) -> Home {
    let home = Home::new();
    let bytes = tar(&sample.oci(Some(name)));
    load(&home.store, load::Source::Stream(&mut bytes.as_slice()), &Silent).unwrap();
    home
}

fn pull_into(home: &Home, name: &str) -> Image {
    let options = PullOptions { registry: options(), ..PullOptions::default() };
    pull(&home.store, &reference(name), &options, &Silent).unwrap()
}

#[test]
fn what_is_pushed_is_pulled_by_tag_and_by_digest() {
    let (debian, sample) = (Debian::start(), Sample::new(1));
    let here = home(&sample, "app:1");
    let name = format!("{}/some/app:1", debian.host());
    let digest = push(&here.store, "app:1", &reference(&name), &push_options(options()), &Silent).unwrap();
    assert_eq!(digest, Digest::of(&sample.manifest()), "compressed layers are sent as they are");

    let there = Home::new();
    assert_eq!(pull_into(&there, &name).id, sample.id());
    let by_digest = format!("{}/some/app@{digest}", debian.host());
    assert_eq!(pull_into(&Home::new(), &by_digest).id, sample.id());
    let client = Client::new(&reference(&name), &options()).unwrap();
    assert_eq!(client.digest(&reference(&name)).unwrap(), Some(digest.clone()));
    // Everything is there: nothing is sent but the manifest.
    push(&here.store, "app:1", &reference(&name), &push_options(options()), &Silent).unwrap();
    let wrong = reference(&format!("{}/some/app@{}", debian.host(), Digest::of(b"other")));
    let error = push(&here.store, "app:1", &wrong, &push_options(options()), &Silent).unwrap_err();
    assert!(error.to_string().contains(digest.as_str()), "{error}");
}

#[test]
fn plain_layers_are_compressed_on_the_way_and_the_image_stays_the_same() {
    let debian = Debian::start();
    // Several chunks of it even when it is compressed, and one that is small.
    let large = tar(&[file("data", noise(3, 18 << 20)), file("zeros", vec![0; 3 << 20])]);
    let sample = Sample::of(&[large, tar(&[file("small", "2")])]).compress(<[u8]>::to_vec, "");
    let here = home(&sample, "app:1");
    for (tag, compression, suffix) in
        [("gzip", Compression::Gzip, "+gzip"), ("zstd", Compression::Zstd, "+zstd"), ("none", Compression::None, "")]
    {
        let name = format!("{}/app:{tag}", debian.host());
        let options = PushOptions { compression, ..push_options(options()) };
        let digest = push(&here.store, "app:1", &reference(&name), &options, &Silent).unwrap();
        assert_eq!(digest == Digest::of(&sample.manifest()), compression == Compression::None);
        let client = Client::new(&reference(&name), &options.registry).unwrap();
        let (bytes, _) = client.manifest(&reference(&name)).unwrap();
        let manifest: Manifest = serde_json::from_slice(&bytes).unwrap();
        for layer in &manifest.layers {
            assert!(layer.media_type.ends_with(&format!(".tar{suffix}")), "{}", layer.media_type);
        }
        let there = Home::new();
        let image = pull_into(&there, &name);
        assert_eq!((image.id, image.config.rootfs.diff_ids), (sample.id(), sample.diff_ids()));
    }
}

#[test]
fn a_large_layer_goes_in_chunks_and_comes_in_ranges() {
    let debian = Debian::start();
    let sample = Sample::of(&[tar(&[file("data", noise(5, 40 << 20))])]);
    let here = home(&sample, "app:1");
    let name = reference(&format!("{}/app:1", debian.host()));
    push(&here.store, "app:1", &name, &push_options(options()), &Silent).unwrap();
    let client = Client::new(&name, &options()).unwrap();
    let layer = Descriptor::new("", Digest::of(&sample.blobs[0]), sample.blobs[0].len() as u64);
    for offset in [0, 5 << 20] {
        let mut bytes = Vec::new();
        client.blob_from(&layer, offset).unwrap().read_to_end(&mut bytes).unwrap();
        assert!(bytes == sample.blobs[0][offset as usize..]);
    }
    assert_eq!(pull_into(&Home::new(), &name.full()).id, sample.id());
}

#[test]
fn a_layer_is_taken_from_another_repository() {
    let (debian, sample) = (Debian::start(), Sample::new(6));
    let first = format!("{}/first:1", debian.host());
    let here = home(&sample, &first);
    push(&here.store, &first, &reference(&first), &push_options(options()), &Silent).unwrap();
    let client = Client::new(&reference(&format!("{}/second", debian.host())), &options()).unwrap();
    let layer = Digest::of(&sample.blobs[0]);
    assert!(!client.has_blob(&layer).unwrap());
    assert!(client.mount(&layer, "first").unwrap());
    assert!(client.has_blob(&layer).unwrap());
    assert!(!client.mount(&Digest::of(b"absent"), "first").unwrap());
    let third = format!("{}/third:1", debian.host());
    push(&here.store, &first, &reference(&third), &push_options(options()), &Silent).unwrap();
    assert_eq!(pull_into(&Home::new(), &third).id, sample.id());
}

#[test]
fn tags_are_listed() {
    let (debian, sample) = (Debian::start(), Sample::new(7));
    let here = home(&sample, "app:1");
    for tag in ["b", "a", "1.0"] {
        let name = reference(&format!("{}/app:{tag}", debian.host()));
        push(&here.store, "app:1", &name, &push_options(options()), &Silent).unwrap();
    }
    let client = |name: &str| Client::new(&reference(&format!("{}/{name}", debian.host())), &options()).unwrap();
    let mut tags = client("app").tags().unwrap();
    tags.sort();
    assert_eq!(tags, ["1.0", "a", "b"]);
    assert!(matches!(client("absent").tags(), Err(Error::NotFound { .. })));
}

struct Bytes(&'static [u8]);

impl Open for Bytes {
    fn open(&self) -> std::io::Result<Box<dyn Read + '_>> {
        Ok(Box::new(self.0))
    }
}

#[test]
fn referrers_are_kept_under_a_tag_by_a_registry_without_a_list() {
    let debian = Debian::start();
    let name = reference(&format!("{}/app:1", debian.host()));
    let client = Client::new(&name, &options()).unwrap();
    let (config, _) = client.upload(&Upload { source: &Bytes(b"{}"), known: None, advance: &|_| {} }).unwrap();
    let config = Descriptor::new("application/vnd.example", config, 2);
    let subject = Manifest::new(config, Vec::new());
    let bytes = serde_json::to_vec(&subject).unwrap();
    let digest = client.put_manifest("1", &bytes, MANIFEST).unwrap();
    assert_eq!(client.referrers(&digest, None).unwrap(), []);

    let mut signatures = Vec::new();
    for kind in ["application/one", "application/two"] {
        let mut signature = subject.clone();
        let about = Descriptor::new(MANIFEST, digest.clone(), bytes.len() as u64);
        signature.other.insert("subject".into(), serde_json::to_value(about).unwrap());
        signature.other.insert("artifactType".into(), kind.into());
        let bytes = serde_json::to_vec(&signature).unwrap();
        let digest = Digest::of(&bytes);
        client.put_manifest(digest.as_str(), &bytes, MANIFEST).unwrap();
        client.put_manifest(digest.as_str(), &bytes, MANIFEST).unwrap();
        signatures.push(digest);
    }
    let digests =
        |kind| client.referrers(&digest, kind).unwrap().into_iter().map(|entry| entry.digest).collect::<Vec<_>>();
    assert_eq!(digests(None), signatures);
    assert_eq!(digests(Some("application/two")), signatures[1..]);
    assert_eq!(digests(Some("application/three")), []);
}

#[test]
fn a_login_is_needed_where_it_is_needed() {
    let (debian, sample) = (Debian::with_login(), Sample::new(8));
    let here = home(&sample, "app:1");
    let name = reference(&format!("{}/app:1", debian.host()));
    let login = |password: &str| Login::Password { user: "user".into(), password: password.into() };
    assert!(check_login(&debian.host(), &login("secret"), &options()).is_ok());
    assert!(matches!(check_login(&debian.host(), &login("wrong"), &options()), Err(Error::Login { .. })));

    let error = push(&here.store, "app:1", &name, &push_options(options()), &Silent).unwrap_err();
    assert!(support::chain(&error).contains("login"), "{}", support::chain(&error));
    let credentials = Arc::new(Fixed { domain: debian.host(), login: login("secret") });
    let options = Options { credentials, ..options() };
    push(&here.store, "app:1", &name, &push_options(options.clone()), &Silent).unwrap();
    let options = PullOptions { registry: options, ..PullOptions::default() };
    assert_eq!(pull(&Home::new().store, &name, &options, &Silent).unwrap().id, sample.id());
}

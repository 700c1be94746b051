//! Pulling from a registry that is honest, slow of mind, broken, or hostile.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use coracle_image::progress::Silent;
use coracle_image::pull::PullOptions;
use coracle_image::registry::{Anonymous, Fixed, Login, Options, Retry};
use coracle_image::{Digest, Image, Reference, pull};
use serde_json::json;
use support::registry::{Flaw, Registry, Request, Response, answers};
use support::{Home, INDEX, MANIFEST, Sample, chain, descriptor};

fn options() -> PullOptions {
    let retry = Retry { attempts: 3, first_pause: Duration::from_millis(1) };
    let registry = Options { credentials: Arc::new(Anonymous), authorities: None, retry, ..Options::default() };
    PullOptions { registry, ..PullOptions::default() }
}

/// Pulls; a failure is what the user would read.
fn pull_with(home: &Home, name: &str, options: &PullOptions) -> Result<Image, String> {
    pull(&home.store, &name.parse::<Reference>().unwrap(), options, &Silent).map_err(|error| chain(&error))
}

fn pull_from(home: &Home, registry: &Registry) -> Result<Image, String> {
    pull_with(home, &format!("{}/app:1", registry.host()), &options())
}

/// Pulls, expects a failure that leaves nothing, and returns what the user would read.
#[track_caller]
fn refused(registry: &Registry) -> String {
    let home = Home::new();
    let before = home.snapshot();
    let message = pull_from(&home, registry).expect_err("it was pulled");
    assert!(home.snapshot() == before, "the store has changed: {:?}", home.content());
    message
}

fn is_blob(request: &Request, bytes: &[u8]) -> bool {
    request.path.ends_with(Digest::of(bytes).as_str()) && request.path.contains("/blobs/")
}

#[test]
fn an_image_is_pulled_by_tag_and_by_digest() {
    let sample = Sample::new(1);
    let registry = Registry::with(&[("1", &sample)]);
    let home = Home::new();
    let image = pull_from(&home, &registry).unwrap();
    assert_eq!((image.id, image.config.rootfs.diff_ids), (sample.id(), sample.diff_ids()));
    assert_eq!(image.names, [format!("{}/app:1", registry.host())]);
    assert_eq!(image.manifest, Digest::of(&sample.manifest()));
    assert!(registry.requests()[0].header("user-agent").unwrap().starts_with("coracle/"));
    assert!(registry.requests()[0].header("accept").unwrap().contains(INDEX));

    let name = format!("{}/app@{}", registry.host(), Digest::of(&sample.manifest()));
    let image = pull_with(&home, &name, &options()).unwrap();
    assert_eq!(image.names.len(), 2);
    assert!(home.store.find(&name).unwrap().is_some());
}

#[test]
fn what_is_here_is_not_fetched_again() {
    let sample = Sample::new(2);
    let registry = Registry::with(&[("1", &sample)]);
    let home = Home::new();
    pull_from(&home, &registry).unwrap();
    let before = home.snapshot();
    let asked = registry.requests().len();
    pull_from(&home, &registry).unwrap();
    assert_eq!(registry.requests().len(), asked + 1, "what the tag stands for is asked, and nothing else");
    assert!(home.snapshot() == before);
}

#[test]
fn a_layer_is_made_anew_from_what_is_here_or_fetched_if_that_is_damaged() {
    let sample = Sample::new(2);
    let registry = Registry::with(&[("1", &sample)]);
    let home = Home::new();
    let image = pull_from(&home, &registry).unwrap();
    let before = home.snapshot();
    let blobs = registry.count("/blobs/");
    fs::remove_file(home.store.layer(&image.layers[0])).unwrap();
    pull_from(&home, &registry).unwrap();
    assert_eq!(registry.count("/blobs/"), blobs);
    assert!(home.snapshot() == before);
    fs::remove_file(home.store.layer(&image.layers[0])).unwrap();
    fs::write(home.store.blob(&Digest::of(&sample.blobs[0])), "rotten").unwrap();
    pull_from(&home, &registry).unwrap();
    assert_eq!(registry.count("/blobs/"), blobs + 1);
    assert!(home.snapshot() == before);
}

#[test]
fn a_layer_that_stands_in_an_image_twice_is_fetched_once() {
    let mut sample = Sample::new(3);
    sample = Sample::of(&[sample.diffs[0].clone(), sample.diffs[1].clone(), sample.diffs[0].clone()]);
    let registry = Registry::with(&[("1", &sample)]);
    let home = Home::new();
    assert_eq!(pull_from(&home, &registry).unwrap().config.rootfs.diff_ids, sample.diff_ids());
    assert_eq!(registry.count("/blobs/"), 3, "config and two layers");
}

#[test]
fn the_image_for_this_host_is_chosen_from_an_index() {
    let sample = Sample::new(4);
    let entry = |architecture: &str, bytes: &[u8]| {
        let mut entry = descriptor(MANIFEST, bytes);
        entry["platform"] = json!({ "os": "linux", "architecture": architecture });
        entry
    };
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [
        entry("arm64", b"other"), entry("amd64", &sample.manifest()), entry("unknown", b"attestation") ] });
    let serve = answers(&[("x", &sample)]);
    let index = index.to_string();
    let digest = Digest::of(index.as_bytes());
    let registry = Registry::new(move |request| match request.path.as_str() {
        "/v2/app/manifests/1" => Response::new(200, index.clone()).with("content-type", INDEX),
        _ => serve(request),
    });
    let home = Home::new();
    assert_eq!(pull_from(&home, &registry).unwrap().id, sample.id());
    let found = home.store.find(&format!("{}/app@{digest}", registry.host())).unwrap();
    assert_eq!(found.unwrap().id, sample.id(), "it is known by the index it came by");
    let before = registry.requests().len();
    pull_from(&home, &registry).unwrap();
    assert_eq!(registry.requests().len(), before + 1, "what the index leads to is here already");
    let mut other = options();
    other.platform = "linux/s390x".parse().unwrap();
    let error = pull_with(&home, &format!("{}/app:1", registry.host()), &other).unwrap_err();
    let message = error;
    assert!(message.contains("linux/s390x") && message.contains("linux/arm64, linux/amd64"), "{message}");
}

#[test]
fn a_plain_image_for_another_architecture_is_refused() {
    let mut sample = Sample::new(5);
    sample.set_config("arm64");
    let registry = Registry::with(&[("1", &sample)]);
    assert!(refused(&registry).contains("it offers linux/arm64"));
    assert_eq!(registry.count("/blobs/"), 1, "only the config is fetched to learn that");
}

/// Options of `user` with the password `secret`.
fn someone(registry: &Registry) -> PullOptions {
    let mut options = options();
    let login = Login::parse("user:secret").unwrap();
    options.registry.credentials = Arc::new(Fixed { domain: registry.host(), login });
    options
}

/// Serves `sample` to those who have a token, which is given to `user:secret` or, if `open`, to everybody.
fn token_registry(sample: &Sample, open: bool) -> Registry {
    let serve = answers(&[("1", sample)]);
    Registry::new(move |request| {
        let authorization = request.header("authorization");
        if request.path.starts_with("/token?") {
            assert!(request.path.contains("service=the%20service&scope=repository%3Aapp%3Apull"), "{}", request.path);
            return match authorization {
                Some("Basic dXNlcjpzZWNyZXQ=") => Response::new(200, r#"{"access_token":"T"}"#),
                None if open => Response::new(200, r#"{"token":"T","expires_in":300}"#),
                _ => Response::new(401, ""),
            };
        }
        if authorization == Some("Bearer T") {
            return serve(request);
        }
        let host = request.header("host").unwrap_or_default();
        let challenge =
            format!("Bearer realm=\"http://{host}/token\",service=\"the service\",scope=\"repository:app:pull\"");
        Response::new(401, "{}").with("www-authenticate", challenge)
    })
}

#[test]
fn a_token_is_fetched_when_it_is_asked_for() {
    let sample = Sample::new(6);
    let registry = token_registry(&sample, true);
    pull_from(&Home::new(), &registry).unwrap();
    assert_eq!(registry.count("/token"), 1, "one token serves the whole pull");

    let registry = token_registry(&sample, false);
    let options = someone(&registry);
    pull_with(&Home::new(), &format!("{}/app:1", registry.host()), &options).unwrap();
    let secret = |request: &&Request| request.header("authorization").is_some_and(|value| value.starts_with("Basic"));
    assert!(registry.requests().iter().filter(secret).all(|request| request.path.starts_with("/token")));
}

#[test]
fn without_a_login_a_private_image_is_denied() {
    let message = refused(&token_registry(&Sample::new(7), false));
    assert!(message.contains("denies access") && message.contains("login"), "{message}");
}

#[test]
fn a_registry_that_wants_basic_gets_basic() {
    let sample = Sample::new(8);
    let serve = answers(&[("1", &sample)]);
    let registry = Registry::new(move |request| match request.header("authorization") {
        Some("Basic dXNlcjpzZWNyZXQ=") => serve(request),
        _ => Response::new(401, "").with("www-authenticate", "Basic realm=\"x\""),
    });
    let options = someone(&registry);
    pull_with(&Home::new(), &format!("{}/app:1", registry.host()), &options).unwrap();
    assert!(refused(&registry).contains("denies access"));
}

#[test]
fn a_secret_does_not_follow_a_redirect_to_another_host() {
    let sample = Sample::new(9);
    let storage = Registry::with(&[("1", &sample)]);
    let (serve, elsewhere) = (answers(&[("1", &sample)]), storage.host());
    let registry = Registry::new(move |request| match request.header("authorization") {
        None if request.path.starts_with("/token") => Response::new(200, r#"{"token":"T"}"#),
        None => {
            let host = request.header("host").unwrap_or_default();
            Response::new(401, "").with("www-authenticate", format!("Bearer realm=\"http://{host}/token\""))
        }
        Some(_) if request.path.contains("/blobs/") => {
            Response::new(307, "").with("location", format!("http://{elsewhere}{}", request.path))
        }
        Some(_) => serve(request),
    });
    pull_from(&Home::new(), &registry).unwrap();
    assert_eq!(storage.requests().len(), 3, "config and two layers");
    assert!(storage.requests().iter().all(|request| request.header("authorization").is_none()));
}

#[test]
fn redirects_to_plain_http_elsewhere_and_in_circles_are_refused() {
    let out = Registry::new(|_| Response::new(302, "").with("location", "http://192.0.2.1/x"));
    let message = refused(&out);
    assert!(message.contains("192.0.2.1") && message.contains("insecure"), "{message}");
    let circle = Registry::new(|request| Response::new(302, "").with("location", request.path.clone()));
    assert!(refused(&circle).contains("circles"));
    let strange = Registry::new(|_| Response::new(302, "").with("location", "file:///etc/passwd"));
    assert!(refused(&strange).contains("file:///etc/passwd"));
}

#[test]
fn a_blob_that_breaks_off_is_continued_where_it_stopped() {
    let sample = Sample::new(10);
    let (serve, layer) = (answers(&[("1", &sample)]), sample.blobs[0].clone());
    let registry = Registry::new(move |request| {
        let cut = is_blob(request, &layer) && request.header("range").is_none();
        serve(request).flawed(if cut { Flaw::CutAfter(20_000) } else { Flaw::None })
    });
    pull_from(&Home::new(), &registry).unwrap();
    let requests = registry.requests();
    let ranges: Vec<&str> = requests.iter().filter_map(|request| request.header("range")).collect();
    assert_eq!(ranges, ["bytes=20000-"]);
}

#[test]
fn a_registry_without_ranges_is_coped_with() {
    let sample = Sample::new(11);
    let (serve, layer, count) = (answers(&[("1", &sample)]), sample.blobs[0].clone(), AtomicUsize::new(0));
    let registry = Registry::new(move |request| {
        if !is_blob(request, &layer) {
            return serve(request);
        }
        let first = count.fetch_add(1, Ordering::Relaxed) == 0;
        Response::new(200, layer.clone()).flawed(if first { Flaw::CutAfter(20_000) } else { Flaw::None })
    });
    pull_from(&Home::new(), &registry).unwrap();
}

#[test]
fn a_blob_that_always_breaks_off_is_given_up() {
    let sample = Sample::new(12);
    let (serve, layer) = (answers(&[("1", &sample)]), sample.blobs[0].clone());
    let name = Digest::of(&layer).to_string();
    let registry = Registry::new(move |request| {
        let cut = is_blob(request, &layer);
        serve(request).flawed(if cut { Flaw::CutAfter(0) } else { Flaw::None })
    });
    let home = Home::new();
    let message = pull_from(&home, &registry).unwrap_err();
    assert!(message.contains(&name), "{message}");
    let left = home.content();
    assert!(left.iter().all(|name| name.starts_with("partial/")), "what came whole may serve another try: {left:?}");
    assert_eq!(registry.count(&name), 3);
}

#[test]
fn another_content_and_an_endless_one_are_refused() {
    for endless in [false, true] {
        let sample = Sample::new(13);
        let (serve, layer) = (answers(&[("1", &sample)]), sample.blobs[0].clone());
        let name = Digest::of(&layer).to_string();
        let registry = Registry::new(move |request| match is_blob(request, &layer) {
            true if endless => Response::new(200, layer.clone()).flawed(Flaw::Endless),
            true => {
                let mut other = layer.clone();
                other[100] ^= 1;
                Response::new(200, other)
            }
            false => serve(request),
        });
        let message = refused(&registry);
        assert!(message.contains(&name) && message.contains("damaged"), "{message}");
        assert!(message.contains(if endless { "longer" } else { "corrupt" }), "{message}");
    }
}

#[test]
fn a_config_that_is_another_one_is_refused() {
    let sample = Sample::new(14);
    let (serve, config) = (answers(&[("1", &sample)]), sample.config.clone());
    let registry = Registry::new(move |request| match is_blob(request, &config) {
        true => Response::new(200, vec![b' '; config.len()]),
        false => serve(request),
    });
    assert!(refused(&registry).contains("config"));
}

#[test]
fn a_manifest_that_is_huge_or_another_than_asked_for_is_refused() {
    let huge = Registry::new(|_| Response::new(200, vec![b' '; 5 << 20]));
    assert!(refused(&huge).contains("larger than"));
    let endless = Registry::new(|_| Response::new(200, "").flawed(Flaw::Endless));
    assert!(refused(&endless).contains("larger than"));
    let sample = Sample::new(15);
    let manifest = sample.manifest();
    let registry = Registry::new(move |_| Response::new(200, manifest.clone()));
    let name = format!("{}/app@{}", registry.host(), Digest::of(b"other"));
    let error = pull_with(&Home::new(), &name, &options()).unwrap_err();
    assert!(error.contains("another manifest"));
}

#[test]
fn a_busy_registry_is_tried_again_but_not_for_ever() {
    for status in [429, 500, 503] {
        let sample = Sample::new(16);
        let (serve, count) = (answers(&[("1", &sample)]), AtomicUsize::new(0));
        let registry = Registry::new(move |request| match count.fetch_add(1, Ordering::Relaxed) {
            0 | 1 => Response::new(status, "").with("retry-after", "0"),
            _ => serve(request),
        });
        pull_from(&Home::new(), &registry).unwrap();
        let registry = Registry::new(move |_| Response::new(status, ""));
        let message = refused(&registry);
        assert!(message.contains(&status.to_string()), "{message}");
        assert_eq!(registry.requests().len(), 3);
    }
}

#[test]
fn absent_images_and_absent_registries_are_told_apart() {
    let message = refused(&Registry::new(|_| Response::new(404, "{}")));
    assert!(message.contains("The registry has no manifest"), "{message}");
    let message = refused(&Registry::new(|_| Response::new(418, r#"{"errors":[{"message":"a tea\u0007pot"}]}"#)));
    assert!(message.contains("418") && message.contains("a teapot"), "{message}");
    // Nobody listens on port 1.
    let error = pull_with(&Home::new(), "127.0.0.1:1/app:1", &options()).unwrap_err();
    assert!(error.contains("Cannot reach the registry host 127.0.0.1:1"), "{}", error);
}

#[test]
fn artifacts_and_schema_one_are_refused_by_name() {
    let manifest =
        json!({ "schemaVersion": 2, "layers": [], "config": descriptor("application/vnd.example+json", b"{}") });
    assert!(refused(&Registry::new(move |_| Response::new(200, manifest.to_string()))).contains("vnd.example+json"));
    let old = json!({ "schemaVersion": 1, "fsLayers": [], "history": [] });
    assert!(refused(&Registry::new(move |_| Response::new(200, old.to_string()))).contains("schema 1"));
}

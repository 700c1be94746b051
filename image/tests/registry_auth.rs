//! Tokens: asked for, refreshed, widened, and shown to nobody else.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use coracle_image::manifest::Descriptor;
use coracle_image::registry::{Anonymous, Client, Credentials, Error, Fixed, Login, Open, Options, Retry, Upload};
use coracle_image::{Digest, Reference};
use serde_json::json;
use support::pushed::Pushed;
use support::registry::{Registry, Request, Response};

fn client_as(registry: &Registry, credentials: Arc<dyn Credentials>) -> Client {
    let retry = Retry { attempts: 3, first_pause: Duration::from_millis(1) };
    let options = Options { credentials, authorities: None, retry, ..Options::default() };
    Client::new(&reference(registry), &options).unwrap()
}

fn client(registry: &Registry) -> Client {
    client_as(registry, Arc::new(Anonymous))
}

fn reference(registry: &Registry) -> Reference {
    format!("{}/app:1", registry.host()).parse().unwrap()
}

fn challenge(request: &Request, more: &str) -> Response {
    let host = request.header("host").unwrap();
    Response::new(401, "{}")
        .with("www-authenticate", format!("Bearer realm=\"http://{host}/token\",service=\"s\"{more}"))
}

fn manifest() -> Response {
    Response::new(200, "{}")
}

#[test]
fn a_token_that_is_no_longer_good_is_replaced_once() {
    let count = AtomicUsize::new(0);
    let registry = Registry::new(move |request| match request.header("authorization") {
        _ if request.path.starts_with("/token") => {
            let number = count.fetch_add(1, Ordering::SeqCst);
            Response::new(200, format!(r#"{{"token":"T{number}","expires_in":3600}}"#))
        }
        Some("Bearer T0") if request.path.ends_with("/1") => manifest(),
        Some("Bearer T1") => manifest(),
        _ => challenge(request, ""),
    });
    let client = client(&registry);
    client.manifest(&reference(&registry)).unwrap();
    client.manifest(&reference(&registry)).unwrap();
    assert_eq!(registry.count("/token"), 1);
    // The registry has forgotten the first token.
    let other: Reference = format!("{}/app:2", registry.host()).parse().unwrap();
    client.manifest(&other).unwrap();
    assert_eq!(registry.count("/token"), 2);
    client.manifest(&other).unwrap();
    assert_eq!(registry.count("/token"), 2);
}

#[test]
fn a_token_that_has_run_out_is_not_used_again() {
    let registry = Registry::new(move |request| match request.header("authorization") {
        _ if request.path.starts_with("/token") => Response::new(200, r#"{"access_token":"T","expires_in":0}"#),
        Some("Bearer T") => manifest(),
        _ => challenge(request, ""),
    });
    let client = client(&registry);
    client.manifest(&reference(&registry)).unwrap();
    client.manifest(&reference(&registry)).unwrap();
    let paths: Vec<bool> = registry.requests().iter().map(|request| request.path.starts_with("/token")).collect();
    assert_eq!(paths, [false, true, false, true, false], "the second time the challenge is known");
}

#[test]
fn a_registry_that_is_never_content_is_not_asked_for_ever() {
    let registry = Registry::new(move |request| match request.path.starts_with("/token") {
        true => Response::new(200, r#"{"token":"T"}"#),
        false => challenge(request, ""),
    });
    assert!(matches!(client(&registry).manifest(&reference(&registry)), Err(Error::Denied { .. })));
    assert_eq!(registry.requests().len(), 3);
}

#[test]
fn a_scope_that_does_not_suffice_is_widened() {
    for status in [401, 403] {
        let registry = Registry::new(move |request| match request.header("authorization") {
            _ if request.path.starts_with("/token") => {
                let wide = request.path.contains("scope=repository%3Aapp%3Adelete%2Cpull");
                Response::new(200, if wide { r#"{"token":"wide"}"# } else { r#"{"token":"narrow"}"# })
            }
            Some("Bearer wide") => manifest(),
            Some(_) => {
                let more = ",scope=\"repository:app:delete\",error=\"insufficient_scope\"";
                Response { status, ..challenge(request, more) }
            }
            None => challenge(request, ",scope=\"repository:app:pull\""),
        });
        let client = client(&registry);
        client.manifest(&reference(&registry)).unwrap();
        assert_eq!(registry.count("/token"), 2);
        client.manifest(&reference(&registry)).unwrap();
        assert_eq!(registry.count("/token"), 2, "the wide token serves the next request too");
    }
}

#[test]
fn an_identity_token_is_traded_for_others() {
    let registry = Registry::new(move |request| match request.header("authorization") {
        None if request.path == "/token" && request.method == "POST" => {
            let form = String::from_utf8(request.body.clone()).unwrap();
            assert_eq!(
                form,
                "grant_type=refresh_token&refresh_token=id%2Ftoken&client_id=coracle&service=s&\
                 scope=repository%3Aapp%3Apull"
            );
            Response::new(200, r#"{"access_token":"T","refresh_token":"new"}"#)
        }
        Some("Bearer T") => manifest(),
        _ => challenge(request, ""),
    });
    let login = Login::Token("id/token".into());
    let client = client_as(&registry, Arc::new(Fixed { domain: registry.host(), login }));
    client.manifest(&reference(&registry)).unwrap();
}

struct Bytes(&'static [u8]);

impl Open for Bytes {
    fn open(&self) -> std::io::Result<Box<dyn Read + '_>> {
        Ok(Box::new(self.0))
    }
}

#[test]
fn pushing_asks_for_what_it_needs_and_mounting_for_both_repositories() {
    let pushed = Pushed::default();
    let registry = Registry::new(move |request| match request.header("authorization") {
        _ if request.path.starts_with("/token") => {
            let scopes: Vec<&str> = request.path.split("scope=").skip(1).collect();
            Response::new(200, json!({ "token": scopes.concat().replace(['%', '&'], "") }).to_string())
        }
        Some("Bearer repository3Aapp3Apull2Cpush") => pushed.answer(request),
        Some("Bearer repository3Aapp3Apull2Cpushrepository3Aother2Fone3Apull") => {
            assert!(request.path.contains("from=other%2Fone"), "{}", request.path);
            Response::new(201, "")
        }
        _ => challenge(request, ""),
    });
    let client = client(&registry);
    let digest = Digest::of(b"content");
    assert!(!client.has_blob(&digest).unwrap());
    client.upload(&Upload { source: &Bytes(b"content"), known: Some((&digest, 7)), advance: &|_| {} }).unwrap();
    assert!(client.has_blob(&digest).unwrap());
    assert!(client.mount(&digest, "other/one").unwrap());
    assert_eq!(registry.count("/token"), 2, "one token for each set of scopes");
}

#[test]
fn a_request_without_a_body_waits_as_long_as_it_is_told() {
    for pause in ["0", "Sun, 06 Nov 1994 08:49:37 GMT", "nonsense"] {
        let (pushed, count) = (Pushed::default(), AtomicUsize::new(0));
        let registry = Registry::new(move |request| match count.fetch_add(1, Ordering::SeqCst) % 2 {
            0 => Response::new(429, "{}").with("retry-after", pause),
            _ => pushed.answer(request),
        });
        let client = client(&registry);
        let digest = Digest::of(b"content");
        client.upload(&Upload { source: &Bytes(b"content"), known: Some((&digest, 7)), advance: &|_| {} }).unwrap();
        assert!(client.has_blob(&digest).unwrap());
    }
    let busy = Registry::new(|_| Response::new(429, "{}"));
    assert!(matches!(client(&busy).has_blob(&Digest::of(b"")), Err(Error::TooManyRequests { .. })));
    assert_eq!(busy.requests().len(), 3);
}

#[test]
fn storage_that_asks_who_we_are_is_not_told() {
    let thief = Registry::new(|_| Response::new(200, r#"{"token":"T"}"#));
    let realm = format!("Bearer realm=\"http://{}/token\"", thief.host());
    let storage = Registry::new(move |_| Response::new(401, "{}").with("www-authenticate", realm.clone()));
    let elsewhere = storage.host();
    let registry = Registry::new(move |request| {
        Response::new(307, "").with("location", format!("http://{elsewhere}{}", request.path))
    });
    let login = Login::parse("user:secret").unwrap();
    let client = client_as(&registry, Arc::new(Fixed { domain: registry.host(), login }));
    let blob = Descriptor::new("", Digest::of(b"x"), 1);
    assert!(matches!(client.blob(&blob).map(drop), Err(Error::Denied { .. })));
    assert_eq!(thief.requests().len(), 0);
    assert!(storage.requests().iter().all(|request| request.header("authorization").is_none()));
}

#[test]
fn a_foreign_layer_is_fetched_from_where_it_is_without_a_login() {
    let elsewhere = Registry::new(|request| match request.path.as_str() {
        "/layer" => Response::new(200, "content"),
        _ => Response::new(404, ""),
    });
    let registry = Registry::new(|request| match request.header("authorization") {
        Some("Basic dXNlcjpzZWNyZXQ=") => Response::new(404, "{}"),
        _ => Response::new(401, "").with("www-authenticate", "Basic realm=\"x\""),
    });
    let login = Login::parse("user:secret").unwrap();
    let client = client_as(&registry, Arc::new(Fixed { domain: registry.host(), login }));
    let mut layer =
        Descriptor::new("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", Digest::of(b"content"), 7);
    let urls = ["/absent", "/layer"].map(|path| format!("http://{}{path}", elsewhere.host()));
    layer.other.insert("urls".into(), json!(urls));
    let mut bytes = Vec::new();
    client.blob(&layer).unwrap().read_to_end(&mut bytes).unwrap();
    assert_eq!(bytes, b"content");
    assert!(elsewhere.requests().iter().all(|request| request.header("authorization").is_none()));
    // Only foreign layers may be elsewhere.
    layer.media_type = "application/vnd.oci.image.layer.v1.tar+gzip".into();
    assert!(matches!(client.blob(&layer).map(drop), Err(Error::NotFound { .. })));
}

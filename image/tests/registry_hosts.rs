//! The way to a registry: mirrors, certificates, proxies.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use coracle_image::progress::Silent;
use coracle_image::pull::PullOptions;
use coracle_image::registry::{Anonymous, Fixed, Login, Options, Proxies, Retry};
use coracle_image::{Digest, Image, pull};
use support::registry::{Flaw, Registry, Response, answers};
use support::tls::{Authority, certificates};
use support::{Home, Sample, chain};

fn options() -> Options {
    let retry = Retry { attempts: 2, first_pause: Duration::from_millis(1) };
    Options {
        registries: Default::default(),
        verify: None,
        credentials: Arc::new(Anonymous),
        authorities: None,
        certificates: Vec::new(),
        proxies: Proxies::default(),
        retry,
    }
}

fn configured(text: &str) -> Options {
    Options { registries: toml::from_str(text).unwrap(), ..options() }
}

fn pull_with(name: &str, registry: Options) -> Result<Image, String> {
    let options = PullOptions { registry, ..PullOptions::default() };
    pull(&Home::new().store, &name.parse().unwrap(), &options, &Silent).map_err(|error| chain(&error))
}

/// Mirrors of `registry`, in TOML.
fn mirrors(registry: &Registry, mirrors: &[String]) -> Options {
    configured(&format!("[mirrors]\n'{}' = [{}]", registry.host(), mirrors.join(", ")))
}

fn at(registry: &Registry) -> String {
    format!("{{ location = '{}' }}", registry.host())
}

#[test]
fn mirrors_are_asked_in_order_and_then_the_registry() {
    let sample = Sample::new(1);
    let (empty, full) = (Registry::new(|_| Response::new(404, "{}")), Registry::with(&[("1", &sample)]));
    let registry = Registry::with(&[("1", &sample)]);
    let name = format!("{}/app:1", registry.host());
    let image = pull_with(&name, mirrors(&registry, &[at(&empty), at(&full)])).unwrap();
    assert_eq!((image.id, image.names), (sample.id(), vec![name.clone()]));
    assert!(empty.count("/manifests/") == 1 && full.count("/manifests/") == 1);
    assert_eq!(registry.requests().len(), 0);

    pull_with(&name, mirrors(&registry, &[at(&empty), "{ location = '127.0.0.1:1' }".into()])).unwrap();
    assert!(registry.count("/manifests/") == 1 && registry.count("/blobs/") == 3);
    let message = pull_with(&format!("{}/absent:1", registry.host()), mirrors(&registry, &[at(&empty)])).unwrap_err();
    assert!(message.contains("The registry has no manifest"), "{message}");
}

#[test]
fn a_mirror_is_asked_only_for_what_it_is_there_for() {
    let sample = Sample::new(2);
    let (by_digest, by_tag) = (Registry::with(&[("1", &sample)]), Registry::with(&[("1", &sample)]));
    let registry = Registry::with(&[("1", &sample)]);
    let location =
        |mirror: &Registry, pull: &str| format!("{{ location = '{}', pull-from = '{pull}' }}", mirror.host());
    let both = [location(&by_digest, "digest-only"), location(&by_tag, "tag-only")];
    pull_with(&format!("{}/app:1", registry.host()), mirrors(&registry, &both)).unwrap();
    assert_eq!((by_digest.count("/manifests/"), by_tag.count("/manifests/")), (0, 1));
    let name = format!("{}/app@{}", registry.host(), Digest::of(&sample.manifest()));
    pull_with(&name, mirrors(&registry, &both)).unwrap();
    assert_eq!((by_digest.count("/manifests/"), by_tag.count("/manifests/")), (1, 1));
    assert_eq!(registry.requests().len(), 0);
}

#[test]
fn a_blob_that_a_mirror_lacks_or_breaks_comes_from_the_registry() {
    let sample = Sample::new(3);
    let (serve, layer) = (answers(&[("1", &sample)]), Digest::of(&sample.blobs[0]).to_string());
    let lacking = Registry::new(
        move |request| {
            if request.path.ends_with(&layer) { Response::new(404, "{}") } else { serve(request) }
        },
    );
    let registry = Registry::with(&[("1", &sample)]);
    let name = format!("{}/app:1", registry.host());
    pull_with(&name, mirrors(&registry, &[at(&lacking)])).unwrap();
    assert_eq!(registry.requests().len(), 1, "only the layer");

    let (serve, layer) = (answers(&[("1", &sample)]), Digest::of(&sample.blobs[0]).to_string());
    let breaking = Registry::new(move |request| {
        let cut = request.path.ends_with(&layer);
        let begins = request.header("range").is_none();
        serve(request).flawed(if cut { Flaw::CutAfter(if begins { 20_000 } else { 0 }) } else { Flaw::None })
    });
    pull_with(&name, mirrors(&registry, &[at(&breaking)])).unwrap();
    let last = registry.requests().pop().unwrap();
    assert_eq!(last.header("range"), Some("bytes=20000-"), "what the mirror gave is not fetched again");
}

#[test]
fn a_mirror_may_have_its_copies_in_a_folder() {
    let sample = Sample::new(4);
    let serve = answers(&[("1", &sample)]);
    let mirror = Registry::new(move |request| {
        let mut request = request.clone();
        request.path = request.path.replace("/v2/hub/copies/app/", "/v2/app/");
        serve(&request)
    });
    let registry = Registry::new(|_| Response::new(404, "{}"));
    let location = format!("{{ location = '{}/hub/copies' }}", mirror.host());
    pull_with(&format!("{}/app:1", registry.host()), mirrors(&registry, &[location])).unwrap();
    assert!(mirror.requests().iter().all(|request| request.path.starts_with("/v2/hub/copies/app/")));
}

#[test]
fn a_private_ca_is_trusted_for_its_host_only() {
    let (authority, sample) = (Authority::new(), Sample::new(5));
    let serve = answers(&[("1", &sample)]);
    let registry = Registry::with_tls(authority.server(false), move |request| {
        let host = request.header("host").unwrap_or_default();
        match request.header("authorization") {
            Some("Basic dXNlcjpzZWNyZXQ=") if request.path.starts_with("/token") => {
                Response::new(200, r#"{"token":"T"}"#)
            }
            Some("Bearer T") => serve(request),
            _ => Response::new(401, "")
                .with("www-authenticate", format!("Bearer realm=\"https://{host}/token\",service=\"s\"")),
        }
    });
    let name = format!("{}/app:1", registry.host());
    let login = Login::parse("user:secret").unwrap();
    let base = Options { credentials: Arc::new(Fixed { domain: registry.host(), login }), ..options() };

    let message = pull_with(&name, Options { verify: Some(true), ..base.clone() }).unwrap_err();
    assert!(message.contains("No trusted connection") && message.contains("ca.crt"), "{message}");
    assert_eq!(registry.requests().len(), 0, "nothing was sent to a stranger");

    let ca = authority.path("ca.crt");
    let folder = certificates(&registry.host(), &[(&ca, "ca.crt")]);
    let trusting = Options { certificates: vec![folder.path().to_owned()], ..base.clone() };
    assert_eq!(pull_with(&name, trusting).unwrap().id, sample.id());
    let mut trusting = configured(&format!("tls = {{ '{}' = {{ ca = '{}' }} }}", registry.host(), ca.display()));
    trusting.credentials = base.credentials.clone();
    assert_eq!(pull_with(&name, trusting).unwrap().id, sample.id());
    let everywhere = Options { authorities: Some(ca), verify: Some(true), ..base.clone() };
    assert_eq!(pull_with(&name, everywhere).unwrap().id, sample.id());

    let other = Authority::new();
    let folder = certificates(&registry.host(), &[(&other.path("ca.crt"), "ca.crt")]);
    let mistaken = Options { certificates: vec![folder.path().to_owned()], ..base.clone() };
    assert!(pull_with(&name, mistaken).unwrap_err().contains("No trusted connection"));
    // This machine itself needs no certificate that anybody has signed.
    assert_eq!(pull_with(&name, base).unwrap().id, sample.id());
}

#[test]
fn a_registry_that_wants_to_know_its_clients_is_shown_a_certificate() {
    let (authority, sample) = (Authority::new(), Sample::new(6));
    let registry = Registry::with_tls(authority.server(true), answers(&[("1", &sample)]));
    authority.issue("client", "clientAuth");
    let (ca, crt, key) = (authority.path("ca.crt"), authority.path("client.crt"), authority.path("client.key"));
    let name = format!("{}/app:1", registry.host());
    let with = |files: &[(&std::path::Path, &str)]| {
        let folder = certificates(&registry.host(), files);
        pull_with(&name, Options { certificates: vec![folder.path().to_owned()], ..options() })
    };
    assert_eq!(with(&[(&ca, "ca.crt"), (&crt, "me.cert"), (&key, "me.key")]).unwrap().id, sample.id());
    assert!(with(&[(&ca, "ca.crt")]).is_err());
    let message = with(&[(&ca, "ca.crt"), (&crt, "me.cert"), (&authority.path("ca.key"), "me.key")]).unwrap_err();
    assert!(message.contains("Cannot use the certificates") && message.contains("me.key"), "{message}");
}

/// A proxy that leads every CONNECT to one address, and notes what it was asked.
fn proxy(to: u16) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let log = asked.clone();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let log = log.clone();
            thread::spawn(move || lead(&stream, to, &log));
        }
    });
    (address, asked)
}

fn lead(stream: &TcpStream, to: u16, log: &Mutex<Vec<String>>) {
    let mut head = String::new();
    let mut input = BufReader::new(stream);
    while !head.ends_with("\r\n\r\n") && input.read_line(&mut head).unwrap_or(0) > 0 {}
    log.lock().unwrap().push(head);
    let target = TcpStream::connect(("127.0.0.1", to)).unwrap();
    let mut output = stream;
    output.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
    let (back, forth) = (target.try_clone().unwrap(), stream.try_clone().unwrap());
    let copying = thread::spawn(move || copy(&back, &forth));
    copy(stream, &target);
    copying.join().unwrap();
}

fn copy(mut from: &TcpStream, mut to: &TcpStream) {
    let mut buffer = [0; 4096];
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        if to.write_all(&buffer[..read]).is_err() {
            break;
        }
    }
    // The other side may be gone.
    let _ = to.shutdown(std::net::Shutdown::Write);
}

#[test]
fn a_registry_elsewhere_is_reached_by_a_proxy_unless_it_is_excepted() {
    let (authority, sample) = (Authority::new(), Sample::new(7));
    let registry = Registry::with_tls(authority.server(false), answers(&[("1", &sample)]));
    let (address, asked) = proxy(registry.port);
    let proxies = Proxies { https: Some(format!("http://me:secret@{address}")), ..Proxies::default() };
    let base = Options { authorities: Some(authority.path("ca.crt")), proxies: proxies.clone(), ..options() };
    assert_eq!(pull_with("registry.test:5000/app:1", base.clone()).unwrap().id, sample.id());
    let heads = asked.lock().unwrap().clone();
    assert!(heads.iter().all(|head| head.starts_with("CONNECT registry.test:5000 ")), "{heads:?}");
    assert!(
        heads.iter().all(|head| head.to_lowercase().contains("proxy-authorization: basic bwu6c2vjcmv0")),
        "{heads:?}"
    );
    assert!(registry.requests().iter().all(|request| request.header("proxy-authorization").is_none()));

    let excepted = Proxies { none: "registry.test:5000".into(), ..proxies };
    assert!(pull_with("registry.test:5000/app:1", Options { proxies: excepted, ..base.clone() }).is_err());
    pull_with(&format!("{}/app:1", registry.host()), base).unwrap();
    assert_eq!(asked.lock().unwrap().len(), heads.len(), "neither this machine nor an exception goes by the proxy");
}

#[test]
fn an_insecure_registry_may_have_any_certificate_or_none_at_all() {
    let (authority, sample) = (Authority::new(), Sample::new(8));
    let plain = Registry::with(&[("1", &sample)]);
    let tls = Registry::with_tls(authority.server(false), answers(&[("1", &sample)]));
    for registry in [&plain, &tls] {
        let (address, _) = proxy(registry.port);
        let proxies = Proxies { all: Some(address), ..Proxies::default() };
        let strict = Options { proxies: proxies.clone(), ..options() };
        let message = pull_with("registry.test/app:1", strict.clone()).unwrap_err();
        let expected = if registry.port == plain.port { "does not speak HTTPS" } else { "No trusted connection" };
        assert!(message.contains(expected), "{message}");
        let listed = Options { proxies, ..configured("insecure = ['registry.test']") };
        assert_eq!(pull_with("registry.test/app:1", listed).unwrap().id, sample.id());
        assert_eq!(
            pull_with("registry.test/app:1", Options { verify: Some(false), ..strict }).unwrap().id,
            sample.id()
        );
    }
}

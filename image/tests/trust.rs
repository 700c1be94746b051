//! Images come in as the signature policy says, from registries and from archives, and otherwise not at all.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use std::collections::HashMap;
use std::fs;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use config::file::{Mirror, MirrorUse};
use coracle_image::digest::{Algorithm, Hashing};
use coracle_image::load::{self, LoadOptions, Loaded, Source, load_with};
use coracle_image::progress::Silent;
use coracle_image::pull::{Error, PullOptions};
use coracle_image::registry::{Anonymous, Options, Retry};
use coracle_image::trust::{self, Attachment, MAX_SIGNATURES, Policy, SignatureSource, Signed, SourceError};
use coracle_image::{Digest, Image, Reference, pull};
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm,
    Ed25519KeyPair, KeyPair as _,
};
use serde_json::{Value, json};
use support::registry::{Registry, Response, answers};
use support::{Home, INDEX, MANIFEST, Sample, chain, descriptor};

const COSIGN: &str = "cosign container image signature";
const SIMPLE_SIGNING: &str = "application/vnd.dev.cosign.simplesigning.v1+json";

/// A key that was made for one test.
enum Key {
    Ecdsa(EcdsaKeyPair, &'static [u8]),
    Ed25519(Ed25519KeyPair),
}

impl Key {
    fn p256() -> Key {
        Key::ecdsa(&ECDSA_P256_SHA256_ASN1_SIGNING, P256)
    }

    fn ecdsa(algorithm: &'static EcdsaSigningAlgorithm, prefix: &'static [u8]) -> Key {
        let random = SystemRandom::new();
        let document = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
        Key::Ecdsa(EcdsaKeyPair::from_pkcs8(algorithm, document.as_ref(), &random).unwrap(), prefix)
    }

    fn ed25519() -> Key {
        let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        Key::Ed25519(Ed25519KeyPair::from_pkcs8(document.as_ref()).unwrap())
    }

    fn pem(&self) -> String {
        let der = match self {
            Key::Ecdsa(pair, prefix) => [prefix, pair.public_key().as_ref()].concat(),
            Key::Ed25519(pair) => [ED25519, pair.public_key().as_ref()].concat(),
        };
        format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", STANDARD.encode(der))
    }

    fn sign(&self, payload: &[u8]) -> Attachment {
        let signature = match self {
            Key::Ecdsa(pair, _) => pair.sign(&SystemRandom::new(), payload).unwrap().as_ref().to_vec(),
            Key::Ed25519(pair) => pair.sign(payload).as_ref().to_vec(),
        };
        Attachment { payload: payload.to_vec(), signature: STANDARD.encode(signature) }
    }

    fn statement(&self, name: &str, digest: &Digest) -> Attachment {
        self.sign(&statement(name, digest))
    }
}

// What stands before the public key in a SubjectPublicKeyInfo.
const P256: &[u8] = &[
    0x30, 0x59, 0x30, 0x13, 6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1, 6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7, 3,
    0x42, 0,
];
const P384: &[u8] =
    &[0x30, 0x76, 0x30, 0x10, 6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1, 6, 5, 0x2b, 0x81, 4, 0, 0x22, 3, 0x62, 0];
const ED25519: &[u8] = &[0x30, 0x2a, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 3, 0x21, 0];

fn statement(name: &str, digest: &Digest) -> Vec<u8> {
    let critical = json!({ "identity": { "docker-reference": name }, "image": { "docker-manifest-digest": digest },
        "type": COSIGN });
    json!({ "critical": critical, "optional": null }).to_string().into_bytes()
}

/// A requirement of one of these keys, under this rule of identity.
fn signed(keys: &[&Key], identity: &Value) -> Value {
    let keys: Vec<String> = keys.iter().map(|key| STANDARD.encode(key.pem())).collect();
    json!({ "type": "sigstoreSigned", "keyDatas": keys, "signedIdentity": identity })
}

fn repository() -> Value {
    json!({ "type": "matchRepository" })
}

fn policy(default: &Value) -> Policy {
    Policy::parse(json!({ "default": default }).to_string().as_bytes()).unwrap()
}

/// Signatures out of the hand.
#[derive(Default)]
struct Hand(HashMap<String, Vec<Attachment>>);

impl Hand {
    fn of(digest: &Digest, attachments: &[Attachment]) -> Hand {
        Hand([(digest.to_string(), attachments.to_vec())].into())
    }
}

impl SignatureSource for Hand {
    fn cosign(&self, digest: &Digest) -> Result<Vec<Attachment>, SourceError> {
        Ok(self.0.get(digest.as_str()).cloned().unwrap_or_default())
    }
}

const BODY: &[u8] = b"{\"manifest\":true}";

/// Checks an image with this one signature.
fn check(requirement: &Value, name: &str, attachment: Attachment) -> Result<(), trust::Error> {
    let digest = Digest::of(BODY);
    let source = Hand::of(&digest, &[attachment]);
    policy(&json!([requirement])).check(&name.parse().unwrap(), &digest, BODY, &source)
}

#[track_caller]
fn unaccepted(result: Result<(), trust::Error>, reason: &str) {
    match result {
        Err(trust::Error::Unaccepted { reasons, .. }) => assert!(reasons.contains(reason), "{reasons}"),
        other => panic!("{other:?} instead of {reason}"),
    }
}

#[test]
fn a_good_signature_lets_an_image_in_whatever_kind_of_key_made_it() {
    for key in [Key::p256(), Key::ecdsa(&ECDSA_P384_SHA384_ASN1_SIGNING, P384), Key::ed25519()] {
        let attachment = key.statement("example.com/app", &Digest::of(BODY));
        check(&signed(&[&key], &repository()), "example.com/app:1", attachment).unwrap();
    }
}

#[test]
fn any_key_of_a_list_will_do_and_another_one_will_not() {
    let (first, second, other) = (Key::p256(), Key::ed25519(), Key::p256());
    let digest = Digest::of(BODY);
    let both = || signed(&[&first, &second], &repository());
    for key in [&first, &second] {
        check(&both(), "example.com/app:1", key.statement("example.com/app", &digest)).unwrap();
    }
    let result = check(&both(), "example.com/app:1", other.statement("example.com/app", &digest));
    unaccepted(result, "not made with a key of the policy");
}

#[test]
fn a_signature_counts_for_its_digest_and_its_name_only() {
    let key = Key::p256();
    let digest = Digest::of(BODY);
    let exact = json!({ "type": "matchRepoDigestOrExact" });
    let requirement = || signed(&[&key], &exact);
    let name = "example.com/app:1";
    check(&requirement(), name, key.statement(name, &digest)).unwrap();
    let other = Digest::of(b"another manifest");
    unaccepted(check(&requirement(), name, key.statement(name, &other)), "for another image, sha256:");
    // A signature that was made for another tag or repository cannot be played again.
    for replayed in ["example.com/app:2", "example.com/other:1", "other.com/app:1", "example.com/app", "", "\u{1b}["] {
        unaccepted(check(&requirement(), name, key.statement(replayed, &digest)), "does not accept for this image");
    }
    unaccepted(check(&requirement(), name, key.statement("example.com/app", &digest)), "cosign names no tag");
    // By digest any tag will do, and another repository will not.
    let pinned = format!("example.com/app@{digest}");
    check(&requirement(), &pinned, key.statement("example.com/app:7", &digest)).unwrap();
    unaccepted(check(&requirement(), &pinned, key.statement("example.com/apple:7", &digest)), "does not accept");
}

#[test]
fn the_statement_is_bound_to_the_whole_manifest() {
    let key = Key::p256();
    let digest = Digest::of(BODY);
    let source = Hand::of(&digest, &[key.statement("example.com/app", &digest)]);
    let policy = policy(&json!([signed(&[&key], &repository())]));
    let name: Reference = "example.com/app:1".parse().unwrap();
    policy.check(&name, &digest, BODY, &source).unwrap();
    // Other bytes under the same digest are not the image, whoever says so.
    let result = policy.check(&name, &digest, b"{\"manifest\":false}", &source);
    assert!(matches!(result, Err(trust::Error::Manifest { .. })));
    // A SHA-512 binds as well.
    let (long, _) = drained(Hashing::new(BODY, Algorithm::Sha512, None)).finish();
    let right = key.sign(&statement("example.com/app", &long));
    policy.check(&name, &digest, BODY, &Hand::of(&digest, &[right])).unwrap();
    let long = format!("sha512:{}", "0a".repeat(64));
    let wrong = key.sign(&statement("example.com/app", &long.parse().unwrap()));
    let result = policy.check(&name, &digest, BODY, &Hand::of(&digest, &[wrong]));
    unaccepted(result, "for another image, sha512:");
}

fn drained(mut hashing: Hashing<&[u8]>) -> Hashing<&[u8]> {
    hashing.drain().unwrap();
    hashing
}

#[test]
fn damaged_signatures_and_statements_are_refused() {
    let key = Key::p256();
    let digest = Digest::of(BODY);
    let good = key.statement("example.com/app", &digest);
    let try_one = |attachment| check(&signed(&[&key], &repository()), "example.com/app:1", attachment);
    let with = |signature: &str| Attachment { payload: good.payload.clone(), signature: signature.to_owned() };
    unaccepted(try_one(with("")), "no signature in it");
    unaccepted(try_one(with("!")), "not base64");
    unaccepted(try_one(with(&format!("{}\n", good.signature))), "not base64");
    unaccepted(try_one(with("AAAA")), "not made with a key");
    unaccepted(try_one(Attachment { payload: good.payload[1..].to_vec(), ..good.clone() }), "not made with a key");
    unaccepted(try_one(Attachment { payload: [&good.payload[..], b" "].concat(), ..good.clone() }), "not made with");
    // Statements that the right key has signed, and that are still not what they should be.
    for (from, to, reason) in [
        (COSIGN, "atomic container signature", "signature.critical.type"),
        ("\"optional\":null", "\"optional\":7", "signature.optional"),
        ("\"optional\":null", "\"optional\":null,\"optional\":null", "stands there twice"),
        ("{\"critical\":", "[{\"critical\":", "signature: "),
        ("docker-manifest-digest", "manifest-digest", "is missing"),
        ("sha256:", "sha256:0", "is not a digest"),
    ] {
        let text = String::from_utf8(good.payload.clone()).unwrap();
        assert!(text.contains(from));
        unaccepted(try_one(key.sign(text.replace(from, to).as_bytes())), reason);
    }
}

#[test]
fn every_requirement_must_be_met_and_one_good_signature_is_enough_for_each() {
    let (vendor, reviewer, other) = (Key::p256(), Key::ed25519(), Key::p256());
    let digest = Digest::of(BODY);
    let name: Reference = "example.com/app:1".parse().unwrap();
    let policy = policy(&json!([signed(&[&vendor], &repository()), signed(&[&reviewer], &repository())]));
    let by = |key: &Key| key.statement("example.com/app", &digest);
    let check = |attachments: &[Attachment]| policy.check(&name, &digest, BODY, &Hand::of(&digest, attachments));
    check(&[by(&other), by(&reviewer), by(&other), by(&vendor)]).unwrap();
    unaccepted(check(&[by(&vendor), by(&other)]), "not made with a key");
    unaccepted(check(&[by(&reviewer)]), "not made with a key");
    assert!(matches!(check(&[]), Err(trust::Error::Unsigned { .. })));
    let many: Vec<Attachment> = (0..100).map(|_| by(&other)).collect();
    let message = check(&many).unwrap_err().to_string();
    assert!(message.contains("(100 found)") && message.len() < 1000, "{message}");
}

#[test]
fn reject_and_the_unsupported_are_not_bought_off_by_a_signature() {
    let key = Key::p256();
    let digest = Digest::of(BODY);
    let source = Hand::of(&digest, &[key.statement("example.com/app", &digest)]);
    let name: Reference = "example.com/app:1".parse().unwrap();
    let rejected = policy(&json!([signed(&[&key], &repository()), { "type": "reject" }]));
    assert!(matches!(rejected.check(&name, &digest, BODY, &source), Err(trust::Error::Rejected { .. })));
    let gpg = json!({ "type": "signedBy", "keyType": "GPGKeys", "keyPath": "/etc/key.gpg" });
    for list in
        [json!([gpg.clone(), { "type": "insecureAcceptAnything" }]), json!([signed(&[&key], &repository()), gpg])]
    {
        let result = policy(&list).check(&name, &digest, BODY, &source);
        assert!(matches!(result, Err(trust::Error::Unsupported { .. })), "{result:?}");
    }
    let both = policy(&json!([{ "type": "insecureAcceptAnything" }, signed(&[&key], &repository())]));
    both.check(&name, &digest, BODY, &source).unwrap();
    assert!(both.check(&name, &digest, BODY, &Hand::default()).is_err());
}

#[test]
fn an_index_or_what_was_chosen_from_it_may_carry_the_signature() {
    let key = Key::p256();
    let (index, chosen) = (b"index".as_slice(), b"chosen".as_slice());
    let (index_digest, chosen_digest) = (Digest::of(index), Digest::of(chosen));
    let documents = [Signed { digest: &index_digest, bytes: index }, Signed { digest: &chosen_digest, bytes: chosen }];
    let policy = policy(&json!([signed(&[&key], &repository())]));
    let name: Reference = "example.com/app:1".parse().unwrap();
    let check = |source: &Hand| policy.check_any(&name, &documents, source);
    let by = |digest: &Digest| key.statement("example.com/app", digest);
    check(&Hand::of(&index_digest, &[by(&index_digest)])).unwrap();
    check(&Hand::of(&chosen_digest, &[by(&chosen_digest)])).unwrap();
    assert!(matches!(check(&Hand::default()), Err(trust::Error::Unsigned { .. })));
    // A signature lies with the document it is for, or it is for nothing.
    unaccepted(check(&Hand::of(&index_digest, &[by(&chosen_digest)])), "for another image");
}

#[test]
fn keys_are_files_too_and_a_bad_one_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let key = Key::p256();
    let path = folder.path().join("cosign.pub");
    let requirement = json!({ "type": "sigstoreSigned", "keyPath": path, "signedIdentity": repository() });
    let attachment = || key.statement("example.com/app", &Digest::of(BODY));
    let check = || check(&requirement, "example.com/app:1", attachment());
    assert!(matches!(check(), Err(trust::Error::ReadKey { .. })));
    fs::write(&path, "nonsense").unwrap();
    assert!(matches!(check(), Err(trust::Error::Key { .. })));
    fs::write(&path, key.pem()).unwrap();
    check().unwrap();
    // The good one of two does not save the bad one.
    let paths = json!({ "type": "sigstoreSigned", "keyPaths": [path, folder.path().join("gone")],
        "signedIdentity": repository() });
    let digest = Digest::of(BODY);
    let result = policy(&json!([paths])).check(
        &"example.com/app".parse().unwrap(),
        &digest,
        BODY,
        &Hand::of(&digest, &[attachment()]),
    );
    assert!(matches!(result, Err(trust::Error::ReadKey { .. })));
}

struct Broken;

impl SignatureSource for Broken {
    fn cosign(&self, _: &Digest) -> Result<Vec<Attachment>, SourceError> {
        Err("the line is dead".into())
    }
}

#[test]
fn signatures_that_cannot_be_had_are_not_taken_for_none() {
    let key = Key::p256();
    let digest = Digest::of(BODY);
    let name: Reference = "example.com/app".parse().unwrap();
    let result = policy(&json!([signed(&[&key], &repository())])).check(&name, &digest, BODY, &Broken);
    assert!(matches!(result, Err(trust::Error::Source { .. })));
    policy(&json!([{ "type": "insecureAcceptAnything" }])).check(&name, &digest, BODY, &Broken).unwrap();
}

/// What a registry has beside the image: tag and layers of an artifact with signatures.
fn artifact(attachments: &[Attachment]) -> Vec<u8> {
    let layer = |one: &Attachment| {
        let mut layer = descriptor(SIMPLE_SIGNING, &one.payload);
        layer["annotations"] = json!({ "dev.cosignproject.cosign/signature": one.signature });
        layer
    };
    let layers: Vec<Value> = attachments.iter().map(layer).collect();
    let config = descriptor("application/vnd.oci.image.config.v1+json", b"{}");
    json!({ "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers }).to_string().into_bytes()
}

type Signatures = dyn Fn(&str) -> Vec<(Digest, Vec<Attachment>)> + Send + Sync;

/// A registry with `sample` as `app:1`, or `index` if there is one, and signatures; these are told its host.
fn registry(sample: &Sample, index: Option<Vec<u8>>, signatures: Box<Signatures>) -> Registry {
    let serve = answers(&[("1", sample)]);
    Registry::new(move |request| {
        if let Some(index) = index.as_ref().filter(|_| request.path == "/v2/app/manifests/1") {
            return Response::new(200, index.clone()).with("content-type", INDEX);
        }
        for (digest, attachments) in signatures(request.header("host").unwrap()) {
            if request.path == format!("/v2/app/manifests/sha256-{}.sig", digest.hex()) {
                return Response::new(200, artifact(&attachments)).with("content-type", MANIFEST);
            }
            let asked = |one: &&Attachment| request.path == format!("/v2/app/blobs/{}", Digest::of(&one.payload));
            if let Some(found) = attachments.iter().find(asked) {
                return Response::new(200, found.payload.clone());
            }
        }
        serve(request)
    })
}

fn options(policy: Policy) -> PullOptions {
    let retry = Retry { attempts: 2, first_pause: Duration::from_millis(1) };
    let options = Options { credentials: Arc::new(Anonymous), authorities: None, retry, ..Options::default() };
    PullOptions { registry: options, policy: Arc::new(policy), ..PullOptions::default() }
}

fn pull_as(home: &Home, registry: &Registry, options: &PullOptions) -> Result<Image, Error> {
    let name = format!("{}/app:1", registry.host());
    pull(&home.store, &name.parse::<Reference>().unwrap(), options, &Silent)
}

fn pull_with(home: &Home, registry: &Registry, policy: Policy) -> Result<Image, Error> {
    pull_as(home, registry, &options(policy))
}

/// Pulls, expects a refusal before anything of the image but its manifest was fetched, and that it leaves nothing;
/// returns what the user would read.
#[track_caller]
fn refused(registry: &Registry, sample: &Sample, policy: Policy) -> String {
    let home = Home::new();
    let before = home.snapshot();
    let error = pull_with(&home, registry, policy).expect_err("it was pulled");
    assert!(matches!(error, Error::Trust { .. }), "{error:?}");
    assert!(home.snapshot() == before, "the store has changed: {:?}", home.content());
    for blob in sample.all_blobs() {
        assert_eq!(registry.count(&format!("/blobs/{}", Digest::of(&blob))), 0);
    }
    chain(&error)
}

/// A registry that has one signature of `sample`, for this repository.
fn signing(key: Key, sample: &Sample, repository: &'static str) -> Registry {
    let digest = Digest::of(&sample.manifest());
    registry(
        sample,
        None,
        Box::new(move |host| {
            let name = repository.replace("HOST", host);
            vec![(digest.clone(), vec![key.statement(&name, &digest)])]
        }),
    )
}

#[test]
fn a_signed_image_is_pulled_and_an_unsigned_or_wrongly_signed_one_leaves_nothing() {
    let sample = Sample::new(1);
    let key = Key::p256();
    let policy = policy(&json!([signed(&[&key], &repository())]));
    let good = signing(key, &sample, "HOST/app");
    let home = Home::new();
    assert_eq!(pull_with(&home, &good, policy.clone()).unwrap().id, sample.id());
    assert_eq!(good.count(".sig"), 1);

    let message = refused(&Registry::with(&[("1", &sample)]), &sample, policy.clone());
    assert!(message.contains("asks for a signature, and 127.0.0.1:") && message.contains("has none"), "{message}");
    let message = refused(&signing(Key::p256(), &sample, "HOST/app"), &sample, policy.clone());
    assert!(message.contains("not made with a key of the policy"), "{message}");
    // What is here already does not help: an image is judged whenever it is pulled.
    let unsigned = Registry::with(&[("1", &sample)]);
    assert!(matches!(pull_with(&home, &unsigned, policy), Err(Error::Trust { .. })));
}

#[test]
fn a_signature_for_another_repository_does_not_count() {
    let sample = Sample::new(2);
    let key = Key::p256();
    let policy = policy(&json!([signed(&[&key], &repository())]));
    let message = refused(&signing(key, &sample, "HOST/other"), &sample, policy);
    assert!(message.contains("/other") && message.contains("does not accept for this image"), "{message}");
}

#[test]
fn an_image_out_of_a_mirror_is_judged_by_the_name_it_was_asked_for() {
    let sample = Sample::new(9);
    let key = Arc::new(Key::p256());
    let original = Registry::with(&[("1", &sample)]);
    let policy = policy(&json!([signed(&[&key], &repository())]));
    let digest = Digest::of(&sample.manifest());
    let mirror = |name: String| {
        let (key, digest) = (key.clone(), digest.clone());
        registry(&sample, None, Box::new(move |_| vec![(digest.clone(), vec![key.statement(&name, &digest)])]))
    };
    let mut options = options(policy);
    for (name, good) in [(format!("{}/app", original.host()), true), ("example.com/app".to_owned(), false)] {
        let mirror = mirror(name);
        let place = Mirror { location: mirror.host(), insecure: true, pull_from: MirrorUse::All };
        options.registry.registries.mirrors = [(original.host(), vec![place])].into();
        let result = pull_as(&Home::new(), &original, &options);
        assert_eq!(result.is_ok(), good, "{result:?}");
        assert_eq!(mirror.count(".sig"), 1);
    }
}

#[test]
fn a_mirror_without_signatures_does_not_stand_in_the_way_of_the_original() {
    let sample = Sample::new(10);
    let key = Key::p256();
    let mut options = options(policy(&json!([signed(&[&key], &repository())])));
    let original = signing(key, &sample, "HOST/app");
    let mirror = Registry::with(&[("1", &sample)]);
    let place = Mirror { location: mirror.host(), insecure: true, pull_from: MirrorUse::All };
    options.registry.registries.mirrors = [(original.host(), vec![place])].into();
    pull_as(&Home::new(), &original, &options).unwrap();
    assert_eq!((mirror.count(".sig"), original.count(".sig")), (1, 1));
}

#[test]
fn what_is_rejected_by_name_is_not_even_asked_for() {
    let sample = Sample::new(3);
    let registry = Registry::with(&[("1", &sample)]);
    let message = refused(&registry, &sample, policy(&json!([{ "type": "reject" }])));
    assert!(message.contains("rejects 127.0.0.1:") && message.contains("its rule for everything"), "{message}");
    let gpg = json!({ "type": "signedBy", "keyType": "GPGKeys", "keyPath": "/etc/key.gpg" });
    let message = refused(&registry, &sample, policy(&json!([gpg])));
    assert!(message.contains("OpenPGP"), "{message}");
    assert_eq!(registry.requests().len(), 0);
}

#[test]
fn the_signature_of_an_index_is_one_of_its_images() {
    let sample = Sample::new(4);
    let mut entry = descriptor(MANIFEST, &sample.manifest());
    entry["platform"] = json!({ "os": "linux", "architecture": "amd64" });
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [entry] }).to_string().into_bytes();
    let digests = [Digest::of(&index), Digest::of(&sample.manifest())];
    for signed_one in &digests {
        let key = Key::ed25519();
        let policy = policy(&json!([signed(&[&key], &repository())]));
        let digest = signed_one.clone();
        let statement = move |host: &str| vec![(digest.clone(), vec![key.statement(&format!("{host}/app"), &digest)])];
        let registry = registry(&sample, Some(index.clone()), Box::new(statement));
        pull_with(&Home::new(), &registry, policy).unwrap();
    }
    let key = Key::ed25519();
    let policy = policy(&json!([signed(&[&key], &repository())]));
    let unsigned = registry(&sample, Some(index), Box::new(|_| Vec::new()));
    assert!(refused(&unsigned, &sample, policy).contains("has none"));
    assert_eq!(unsigned.count(".sig"), 2, "both were looked for");
}

/// A registry whose artifact with the signatures of `sample` is answered so.
fn hostile(sample: &Sample, answer: impl Fn() -> Response + Send + Sync + 'static) -> Registry {
    let serve = answers(&[("1", sample)]);
    Registry::new(move |request| if request.path.ends_with(".sig") { answer() } else { serve(request) })
}

#[test]
fn artifacts_that_are_none_or_too_large_are_refused() {
    let sample = Sample::new(5);
    let key = Key::p256();
    let policy = policy(&json!([signed(&[&key], &repository())]));
    let attachment = key.statement("example.com/app", &Digest::of(&sample.manifest()));
    let artifact_with = move |change: fn(&mut Value)| {
        let mut value: Value = serde_json::from_slice(&artifact(std::slice::from_ref(&attachment))).unwrap();
        change(&mut value);
        move || Response::new(200, value.to_string()).with("content-type", MANIFEST)
    };
    for (change, problem) in [
        ((|value| value["layers"][0]["size"] = json!((4 << 20) + 1)) as fn(&mut Value), "more than is allowed"),
        (|value| value["layers"][0]["size"] = json!(u64::MAX), "more than is allowed"),
        (|value| value["layers"] = json!(vec![value["layers"][0].clone(); MAX_SIGNATURES + 1]), "more than the 128"),
        (
            |value| {
                value["layers"][0]["size"] = json!(4 << 20);
                value["layers"] = json!(vec![value["layers"][0].clone(); 5]);
            },
            "more than is allowed",
        ),
        (|value| value["manifests"] = json!([]), "cannot be read"),
        (|value| *value = json!({ "schemaVersion": 2, "mediaType": MANIFEST }), "cannot be read"),
        (|value| value["layers"][0]["mediaType"] = json!("text/plain"), "has none"),
        // The statement itself is not there, then another one than announced.
        (|_| (), "Cannot get the signatures"),
    ] {
        let message = refused(&hostile(&sample, artifact_with(change)), &sample, policy.clone());
        assert!(message.contains(problem), "{problem}: {message}");
    }
    let index =
        || Response::new(200, json!({ "schemaVersion": 2, "manifests": [] }).to_string()).with("content-type", INDEX);
    assert!(refused(&hostile(&sample, index), &sample, policy.clone()).contains("is an index"));
    for status in [401, 403, 429, 500] {
        let message = refused(&hostile(&sample, move || Response::new(status, "{}")), &sample, policy.clone());
        assert!(message.contains("Cannot get the signatures"), "{message}");
    }
}

#[test]
fn a_statement_that_was_exchanged_on_its_way_is_refused() {
    let sample = Sample::new(6);
    let key = Key::p256();
    let policy = policy(&json!([signed(&[&key], &fixed("example.com/app"))]));
    let attachment = key.statement("example.com/app", &Digest::of(&sample.manifest()));
    for (payload, good) in [(attachment.payload.clone(), true), (vec![b' '; attachment.payload.len()], false)] {
        let serve = answers(&[("1", &sample)]);
        let attachment = attachment.clone();
        let registry = Registry::new(move |request| match request.path.as_str() {
            path if path.ends_with(".sig") => Response::new(200, artifact(std::slice::from_ref(&attachment))),
            path if path.ends_with(Digest::of(&attachment.payload).as_str()) => Response::new(200, payload.clone()),
            _ => serve(request),
        });
        if good {
            pull_with(&Home::new(), &registry, policy.clone()).unwrap();
        } else {
            assert!(refused(&registry, &sample, policy.clone()).contains("its digest is"));
        }
    }
}

fn fixed(name: &str) -> Value {
    json!({ "type": "exactRepository", "dockerRepository": name })
}

/// A policy that rejects these transports and accepts everything else.
fn rejecting(transports: &[&str]) -> Policy {
    let rules: HashMap<&str, Value> =
        transports.iter().map(|transport| (*transport, json!({ "": [{ "type": "reject" }] }))).collect();
    let text = json!({ "default": [{ "type": "insecureAcceptAnything" }], "transports": rules });
    Policy::parse(text.to_string().as_bytes()).unwrap()
}

#[test]
fn archives_and_layouts_come_in_if_their_transport_is_allowed() {
    let sample = Sample::new(7);
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, members: &[support::Member]| {
        let path = folder.path().join(name);
        fs::write(&path, support::tar(members)).unwrap();
        path
    };
    let docker = write("docker.tar", &sample.docker(&["app:1"]));
    let oci = write("oci.tar", &sample.oci(Some("app:1")));
    let mut both = sample.oci(Some("app:1"));
    both.extend(sample.docker(&["app:1"]));
    let both = write("both.tar", &both);
    let layout = folder.path().join("layout");
    support::unpack(&sample.oci(Some("app:1")), &layout);
    for (path, kinds) in [
        (&docker, &["docker-archive"][..]),
        (&oci, &["oci-archive"]),
        (&both, &["docker-archive", "oci-archive"]),
        (&layout, &["oci"]),
    ] {
        for transport in ["docker", "docker-archive", "oci", "oci-archive", "dir"] {
            let home = Home::new();
            let before = home.snapshot();
            let result = load_trusted(&home, Source::Path(path), rejecting(&[transport]));
            if kinds.contains(&transport) {
                assert!(
                    matches!(result, Err(load::Error::Trust(trust::Error::Rejected { .. }))),
                    "{path:?} {transport}"
                );
                assert!(home.snapshot() == before, "the store has changed: {:?}", home.content());
            } else {
                assert_eq!(result.unwrap()[0].image.id, sample.id(), "{path:?} {transport}");
            }
        }
    }
}

#[test]
fn an_archive_out_of_a_pipe_has_no_place_that_could_be_allowed() {
    let sample = Sample::new(8);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().canonicalize().unwrap().join("oci.tar");
    let bytes = support::tar(&sample.oci(Some("app:1")));
    fs::write(&path, &bytes).unwrap();
    let scopes = json!({ path.to_str().unwrap(): [{ "type": "insecureAcceptAnything" }] });
    let text = json!({ "default": [{ "type": "reject" }], "transports": { "oci-archive": scopes } });
    let policy = Policy::parse(text.to_string().as_bytes()).unwrap();
    load_trusted(&Home::new(), Source::Path(&path), policy.clone()).unwrap();
    let home = Home::new();
    let before = home.snapshot();
    let mut pipe = bytes.as_slice();
    let error = load_trusted(&home, Source::Stream(&mut pipe), policy).unwrap_err();
    assert!(matches!(error, load::Error::Trust(trust::Error::Rejected { .. })));
    assert!(home.snapshot() == before, "the store has changed: {:?}", home.content());
}

fn load_trusted(home: &Home, source: Source<'_>, policy: Policy) -> Result<Vec<Loaded>, load::Error> {
    let options = LoadOptions { policy: Arc::new(policy), ..LoadOptions::default() };
    load_with(&home.store, source, &options, &Silent)
}

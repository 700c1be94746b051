//! Documents of every family are read; tricks and leftovers are refused.

use serde_json::json;

use super::*;
use crate::Digest;

const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

fn descriptor(media_type: &str) -> serde_json::Value {
    json!({ "mediaType": media_type, "digest": DIGEST, "size": 2 })
}

fn read(value: &serde_json::Value, content_type: Option<&str>) -> Result<Document, Error> {
    Document::parse(&serde_json::to_vec(value).unwrap(), content_type)
}

#[test]
fn images_and_indexes_of_both_families_are_read() {
    for (kind, config) in [(media::MANIFEST, media::CONFIG), (media::DOCKER_MANIFEST, media::DOCKER_CONFIG)] {
        let text =
            json!({ "schemaVersion": 2, "mediaType": kind, "config": descriptor(config), "layers": [descriptor("l")] });
        let Document::Manifest(manifest) = read(&text, Some(kind)).unwrap() else { panic!("{kind} is an image") };
        manifest.check().unwrap();
        assert_eq!(manifest.layers.len(), 1);
    }
    for kind in [media::INDEX, media::DOCKER_LIST] {
        let text = json!({ "schemaVersion": 2, "mediaType": kind, "manifests": [descriptor(media::MANIFEST)] });
        let Document::Index(index) = read(&text, None).unwrap() else { panic!("{kind} is an index") };
        assert_eq!(index.manifests.len(), 1);
    }
}

#[test]
fn null_is_nothing() {
    let text = json!({ "schemaVersion": 2, "mediaType": null, "config": descriptor(media::CONFIG), "layers": [], "annotations": null });
    assert!(matches!(read(&text, None), Ok(Document::Manifest(_))));
    let config = json!({ "config": { "Entrypoint": null, "Env": null, "Labels": null, "Volumes": null, "User": null },
        "rootfs": null, "history": null, "created": null, "os": null, "variant": null });
    let config = ImageConfig::parse(config.to_string().as_bytes()).unwrap();
    assert_eq!(config, ImageConfig::default());
    assert_eq!(ImageConfig::parse(b"{\"config\":null}").unwrap(), ImageConfig::default());
}

#[test]
fn a_document_that_is_two_things_is_refused() {
    let both = json!({ "schemaVersion": 2, "config": descriptor(media::CONFIG), "layers": [], "manifests": [] });
    assert!(matches!(read(&both, None), Err(Error::Ambiguous)));
    let index = json!({ "schemaVersion": 2, "mediaType": media::MANIFEST, "manifests": [] });
    assert!(matches!(read(&index, None), Err(Error::Ambiguous)));
    let image = json!({ "schemaVersion": 2, "config": descriptor(media::CONFIG), "layers": [] });
    assert!(matches!(read(&image, Some(media::DOCKER_LIST)), Err(Error::Ambiguous)));
}

#[test]
fn schema_one_and_strangers_are_refused_by_name() {
    assert!(matches!(read(&json!({ "schemaVersion": 1, "fsLayers": [] }), None), Err(Error::SchemaOne)));
    assert!(matches!(read(&json!({ "schemaVersion": 2 }), None), Err(Error::Unknown)));
    assert!(matches!(read(&json!({ "manifests": [] }), None), Err(Error::Unknown)));
    assert!(matches!(read(&json!([]), None), Err(Error::Json { .. })));
    let huge = vec![b' '; 4 << 20 | 1];
    assert!(matches!(Document::parse(&huge, None), Err(Error::TooLarge { .. })));
    assert!(matches!(ImageConfig::parse(&huge), Err(Error::TooLarge { .. })));
}

#[test]
fn artifacts_encrypted_layers_and_towers_are_refused() {
    let manifest = |config: &str, layers: Vec<serde_json::Value>| {
        let text = json!({ "schemaVersion": 2, "config": descriptor(config), "layers": layers });
        let Document::Manifest(manifest) = read(&text, None).unwrap() else { panic!("an image") };
        manifest.check()
    };
    assert!(matches!(manifest("application/vnd.oci.empty.v1+json", vec![]), Err(Error::Artifact(_))));
    assert!(matches!(manifest(media::CONFIG, vec![descriptor("x.tar+gzip+encrypted")]), Err(Error::Encrypted(_))));
    assert!(matches!(manifest(media::CONFIG, vec![descriptor("l"); 501]), Err(Error::TooManyLayers(501))));
}

#[test]
fn negative_sizes_and_paths_for_digests_are_refused() {
    for (size, digest) in [(json!(-1), DIGEST), (json!(1), "sha256:../../etc/passwd")] {
        let bad = json!({ "mediaType": "l", "digest": digest, "size": size });
        let text = json!({ "schemaVersion": 2, "config": descriptor(media::CONFIG), "layers": [bad] });
        assert!(matches!(read(&text, None), Err(Error::Json { .. })));
    }
}

#[test]
fn a_config_is_read() {
    let config = ImageConfig::parse(
        br#"{"architecture":"amd64","os":"linux","created":"2024-01-01T00:00:00Z","config":{"User":"7:8",
        "ExposedPorts":{"80/tcp":{}},"Env":["A=b"],"Entrypoint":["/e"],"Cmd":"c","Volumes":{"/data":{}},
        "WorkingDir":"/w","Labels":{"k":"v"},"StopSignal":"SIGINT","Strange":1},
        "rootfs":{"type":"layers","diff_ids":[]},"history":[{"created_by":"x","empty_layer":true}]}"#,
    )
    .unwrap();
    assert_eq!(config.platform().to_string(), "linux/amd64");
    let container = &config.container;
    assert_eq!((container.user.as_str(), container.working_dir.as_str()), ("7:8", "/w"));
    assert_eq!((container.entrypoint.as_slice(), container.cmd.as_slice()), (&["/e".into()][..], &["c".into()][..]));
    assert_eq!(
        (container.exposed_ports.as_slice(), container.volumes.as_slice()),
        (&["80/tcp".into()][..], &["/data".into()][..])
    );
    assert_eq!((container.stop_signal.as_str(), container.labels["k"].as_str()), ("SIGINT", "v"));
    assert!(config.history[0].empty_layer);
}

#[test]
fn a_manifest_and_a_config_must_agree_on_the_number_of_layers() {
    let manifest = Manifest::new(Descriptor::new(media::CONFIG, Digest::of(b""), 0), Vec::new());
    let mut config = ImageConfig::default();
    manifest.check_config(&config).unwrap();
    config.rootfs.diff_ids.push(Digest::of(b""));
    assert!(matches!(manifest.check_config(&config), Err(Error::Layers { layers: 0, diff_ids: 1 })));
}

#[test]
fn a_rewritten_document_keeps_what_is_not_understood() {
    let text = json!({ "schemaVersion": 2, "mediaType": media::INDEX, "artifactType": "x",
        "manifests": [{ "mediaType": "m", "digest": DIGEST, "size": 1, "artifactType": "y" }] });
    let Document::Index(index) = read(&text, None).unwrap() else { panic!("an index") };
    assert_eq!(serde_json::to_value(&index).unwrap(), text);
}

//! Images are found, shared, renamed and removed; two stores on one folder agree.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::thread;

use coracle_image::load::{Source, load};
use coracle_image::progress::Silent;
use coracle_image::store::{Error, Removed};
use coracle_image::{Digest, Image, Store};
use support::{Home, Sample, file, gzip, tar};

fn add(home: &Home, sample: &Sample, name: &str) -> Image {
    let archive = tar(&sample.oci(Some(name)));
    load(&home.store, Source::Stream(&mut archive.as_slice()), &Silent).unwrap().remove(0).image
}

fn nobody(_: &Image) -> Option<String> {
    None
}

fn remove(home: &Home, name: &str) -> Result<Removed, Error> {
    home.store.remove(name, &nobody, false)
}

#[test]
fn an_image_is_found_by_name_digest_and_id() {
    let home = Home::new();
    let sample = Sample::new(1);
    let image = add(&home, &sample, "app:1");
    let id = sample.id();
    let digest = format!("app@{}", image.manifest);
    let full = format!("app:1@{}", image.manifest);
    for name in ["app:1", "docker.io/library/app:1", &digest, &full, id.hex(), id.short(), id.as_str(), &id.hex()[..4]]
    {
        assert_eq!(home.store.find(name).unwrap().map(|image| image.id), Some(id.clone()), "{name}");
    }
    let other = format!("other@{}", image.manifest);
    for name in ["app", "app:2", &other, &id.hex()[..3], "ffffffffffff"] {
        assert!(home.store.find(name).unwrap().is_none(), "{name}");
    }
    assert!(matches!(home.store.find("Not/A:Name!"), Err(Error::Name { .. })));
}

#[test]
fn an_id_that_fits_two_images_is_refused() {
    let home = Home::new();
    let mut prefixes = std::collections::HashMap::new();
    // By the pigeon hole, some two of these share their first four digits.
    let twins = (0..=65_536).find_map(|number: u32| {
        let config = format!("{{\"architecture\":\"amd64\",\"os\":\"linux\",\"created\":\"{number}\"}}");
        let prefix = Digest::of(config.as_bytes()).hex()[..4].to_owned();
        prefixes.insert(prefix.clone(), config.clone()).map(|earlier| (prefix, [earlier, config]))
    });
    let (prefix, configs) = twins.unwrap();
    for config in configs {
        let sample = Sample { config: config.into_bytes(), ..Sample::of(&[]) };
        add(&home, &sample, &format!("twin:{}", sample.id().short()));
    }
    assert!(matches!(home.store.find(&prefix), Err(Error::Ambiguous(_))));
    assert!(matches!(remove(&home, &prefix), Err(Error::Ambiguous(_))));
}

#[test]
fn removing_the_last_name_removes_every_file() {
    let home = Home::new();
    let image = add(&home, &Sample::new(2), "app:1");
    let mut expected = vec![image.id.clone()];
    let mut layers = image.layers;
    layers.sort();
    expected.extend(layers);
    let removed = remove(&home, "app:1").unwrap();
    assert_eq!(removed, Removed { untagged: vec!["docker.io/library/app:1".into()], deleted: expected });
    assert_eq!(home.content(), Vec::<String>::new());
    assert!(matches!(remove(&home, "app:1"), Err(Error::NotFound(_))));
}

#[test]
fn an_image_stays_as_long_as_it_has_a_name() {
    let home = Home::new();
    let image = add(&home, &Sample::new(3), "app:1");
    let again = add(&home, &Sample::new(3), "app:2");
    assert_eq!(again.names, ["docker.io/library/app:1", "docker.io/library/app:2"]);
    assert_eq!(home.store.images().unwrap().len(), 1);
    assert!(matches!(remove(&home, image.id.short()), Err(Error::SeveralNames { .. })));
    assert_eq!(remove(&home, "app:1").unwrap().deleted, []);
    assert_eq!(home.store.find("app:2").unwrap().unwrap().names, ["docker.io/library/app:2"]);
    assert_eq!(remove(&home, image.id.short()).unwrap().deleted[0], image.id);
    assert_eq!(home.content(), Vec::<String>::new());
}

#[test]
fn force_removes_all_names_at_once() {
    let home = Home::new();
    let image = add(&home, &Sample::new(3), "app:1");
    add(&home, &Sample::new(3), "app:2");
    let removed = home.store.remove(image.id.short(), &nobody, true).unwrap();
    assert_eq!(removed.untagged.len(), 2);
    assert_eq!(home.content(), Vec::<String>::new());
}

#[test]
fn a_shared_layer_stays_for_the_other_image() {
    let home = Home::new();
    let base = tar(&[file("base", "base")]);
    let one = Sample::of(&[base.clone(), tar(&[file("one", "1")])]);
    let two = Sample::of(&[base.clone(), tar(&[file("two", "2")])]);
    add(&home, &one, "one");
    add(&home, &two, "two");
    let removed = remove(&home, "one").unwrap();
    assert_eq!(removed.deleted, [one.id(), one.diff_ids()[1].clone()]);
    assert!(home.store.find("two").unwrap().is_some());
    assert!(home.store.blob(&Digest::of(&gzip(&base))).exists());
}

#[test]
fn one_config_in_two_manifests_is_one_image() {
    let home = Home::new();
    let gzipped = add(&home, &Sample::new(4), "app:gz");
    let plain = add(&home, &Sample::new(4).compress(<[u8]>::to_vec, ""), "app:plain");
    assert_ne!(gzipped.manifest, plain.manifest);
    let images = home.store.images().unwrap();
    assert_eq!(images.len(), 1);
    assert_eq!(images[0].names, ["docker.io/library/app:gz", "docker.io/library/app:plain"]);
    assert_eq!(remove(&home, "app:gz").unwrap().deleted, []);
    assert!(home.store.find("app:plain").unwrap().is_some());
    remove(&home, "app:plain").unwrap();
    assert_eq!(home.content(), Vec::<String>::new());
}

#[test]
fn a_name_that_moves_leaves_the_old_image_without_one() {
    let home = Home::new();
    let old = add(&home, &Sample::new(5), "app:1");
    let new = add(&home, &Sample::new(6), "app:1");
    assert_eq!(home.store.find("app:1").unwrap().unwrap().id, new.id);
    let old = home.store.find(old.id.hex()).unwrap().unwrap();
    assert_eq!(old.names, Vec::<String>::new());
    remove(&home, old.id.hex()).unwrap();
    assert_eq!(home.store.images().unwrap().len(), 1);
}

#[test]
fn an_image_in_use_is_not_removed_even_by_force() {
    let home = Home::new();
    let image = add(&home, &Sample::new(7), "app:1");
    add(&home, &Sample::new(7), "app:2");
    let used = |image: &Image| Some(format!("container x of {}", image.id.short()));
    // A name that is not the last may go.
    home.store.remove("app:2", &used, false).unwrap();
    let before = home.snapshot();
    assert!(matches!(home.store.remove("app:1", &used, false), Err(Error::InUse { .. })));
    assert!(home.snapshot() == before);
    let removed = home.store.remove("app:1", &used, true).unwrap();
    assert_eq!(removed.deleted, []);
    assert!(matches!(home.store.remove(image.id.hex(), &used, true), Err(Error::InUse { .. })));
    assert!(home.store.find(image.id.hex()).unwrap().is_some());
    remove(&home, image.id.hex()).unwrap();
    assert_eq!(home.content(), Vec::<String>::new());
}

#[test]
fn a_damaged_image_is_absent_and_loading_mends_it() {
    let home = Home::new();
    let sample = Sample::new(8);
    let image = add(&home, &sample, "app:1");
    for path in [home.store.layer(&image.layers[0]), home.store.blob(&image.manifest), home.store.blob(&image.id)] {
        fs::remove_file(path).unwrap();
        assert!(home.store.find("app:1").unwrap().is_none());
        assert!(home.store.images().unwrap().is_empty());
        add(&home, &sample, "app:1");
        assert!(home.store.find("app:1").unwrap().is_some());
    }
    for path in [home.store.blob(&image.manifest), home.store.blob(&image.id)] {
        fs::write(path, "{}").unwrap();
        assert!(home.store.find("app:1").unwrap().is_none());
        add(&home, &sample, "app:1");
        assert!(home.store.find("app:1").unwrap().is_some());
    }
    fs::write(home.store.blob(&image.id), "{}").unwrap();
    assert_eq!(remove(&home, "app:1").unwrap().untagged.len(), 1);
    assert!(!home.content().iter().any(|name| name.starts_with("blobs")));
}

#[test]
fn stores_on_the_same_folder_agree_while_both_write() {
    let home = Home::new();
    let other = Store::open(&home.folders).unwrap();
    thread::scope(|scope| {
        for (store, first) in [(&home.store, 0), (&other, 100)] {
            scope.spawn(move || {
                for seed in first..first + 10 {
                    let archive = tar(&Sample::new(seed).oci(Some(&format!("app:{seed}"))));
                    load(store, Source::Stream(&mut archive.as_slice()), &Silent).unwrap();
                    store.remove(&format!("app:{seed}"), &nobody, false).unwrap();
                    // The same image from both sides.
                    let archive = tar(&Sample::new(1000 + seed % 100).oci(Some(&format!("both:{}", seed % 100))));
                    load(store, Source::Stream(&mut archive.as_slice()), &Silent).unwrap();
                }
            });
        }
    });
    assert_eq!(other.images().unwrap().len(), 10);
    for number in 0..10 {
        home.store.remove(&format!("both:{number}"), &nobody, false).unwrap();
    }
    assert_eq!(home.content(), Vec::<String>::new());
}

#[test]
fn what_a_dead_process_left_is_swept_and_what_a_live_one_writes_is_not() {
    let home = Home::new();
    let temporary = home.folders.root().join("tmp");
    fs::write(temporary.join("1-0"), "left").unwrap();
    let live = fs::File::create(temporary.join("1-1")).unwrap();
    live.lock().unwrap();
    Store::open(&home.folders).unwrap();
    assert_eq!(home.content(), ["tmp/1-1"]);
    drop(live);
    Store::open(&home.folders).unwrap();
    assert_eq!(home.content(), Vec::<String>::new());
}

#[test]
fn nobody_else_looks_into_the_store() {
    let home = Home::new();
    add(&home, &Sample::new(9), "app:1");
    assert_eq!(fs::metadata(home.folders.root()).unwrap().permissions().mode() & 0o777, 0o700);
}

#[test]
fn entries_of_other_tools_survive() {
    let home = Home::new();
    let path = home.folders.root().join("index.json");
    let foreign = r#"{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","size":0,"annotations":{"org.opencontainers.image.ref.name":"theirs"},"artifactType":"x"}"#;
    fs::write(&path, format!(r#"{{"schemaVersion":2,"manifests":[{foreign}],"annotations":{{"a":"b"}}}}"#)).unwrap();
    add(&home, &Sample::new(10), "app:1");
    remove(&home, "app:1").unwrap();
    let index: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    assert_eq!(index["manifests"], serde_json::json!([serde_json::from_str::<serde_json::Value>(foreign).unwrap()]));
    assert_eq!(index["annotations"]["a"], "b");
}

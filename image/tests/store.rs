//! Images are found, shared, renamed and removed; two stores on one folder agree.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::thread;

use coracle_image::load::{LoadOptions, load_with};
use coracle_image::load::{Source, load};
use coracle_image::progress::Silent;
use coracle_image::store::{Ask, InUse, Label, PruneOptions, Pruned};
use coracle_image::store::{Error, Removed};
use coracle_image::{Digest, Image, Store};
use coracle_image::{Platform, Reference};
use serde_json::{Value, json};
use support::{Home, INDEX, MANIFEST, Member, Sample, blob_name, descriptor, file, gzip, tar, unused};

fn add(home: &Home, sample: &Sample, name: &str) -> Image {
    let archive = tar(&sample.oci(Some(name)));
    load(&home.store, Source::Stream(&mut archive.as_slice()), &Silent).unwrap().remove(0).image
}

/// The members of an archive with these samples under one name, by way of an index.
fn multi(samples: &[(&Sample, &str)], name: &str) -> (Vec<Member>, Digest) {
    let entry = |(sample, architecture): &(&Sample, &str)| {
        let mut entry = descriptor(MANIFEST, &sample.manifest());
        entry["platform"] = json!({ "os": "linux", "architecture": architecture });
        entry
    };
    let entries: Vec<Value> = samples.iter().map(entry).collect();
    let inner = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": entries }).to_string().into_bytes();
    let mut top = descriptor(INDEX, &inner);
    top["annotations"] = json!({ support::REF_NAME: name });
    let outer = json!({ "schemaVersion": 2, "manifests": [top] }).to_string();
    let mut members = vec![file("index.json", outer), file(&blob_name(&inner), &inner)];
    for (sample, _) in samples {
        members.extend(sample.all_blobs().iter().map(|blob| file(&blob_name(blob), blob)));
    }
    (members, Digest::of(&inner))
}

fn platform(architecture: &str) -> Platform {
    format!("linux/{architecture}").parse().unwrap()
}

fn add_for(home: &Home, members: &[Member], architecture: &str) -> Image {
    let archive = tar(members);
    let source = Source::Stream(&mut archive.as_slice());
    load_with(&home.store, source, &LoadOptions { platform: platform(architecture), ..LoadOptions::default() }, &Silent)
        .unwrap()
        .remove(0)
        .image
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

#[test]
fn one_name_stands_for_an_image_of_each_platform() {
    let home = Home::new();
    let (here, mut there) = (Sample::new(20), Sample::new(21));
    there.set_config("arm64");
    let (members, index) = multi(&[(&here, "amd64"), (&there, "arm64")], "app:1");
    // The other one first: that of this host is found all the same.
    let other = add_for(&home, &members, "arm64");
    assert_eq!(home.store.find("app:1").unwrap().unwrap().id, other.id);
    assert!(home.store.find_platform("app:1", &platform("amd64")).unwrap().is_none());
    let own = add_for(&home, &members, "amd64");
    assert_eq!(own.names, ["docker.io/library/app:1"]);
    for name in ["app:1".to_owned(), format!("app@{index}"), format!("app@{}", own.manifest)] {
        assert_eq!(home.store.find(&name).unwrap().unwrap().id, own.id, "{name}");
    }
    for name in ["app:1".to_owned(), format!("app@{index}")] {
        let found = home.store.find_platform(&name, &platform("arm64")).unwrap().unwrap();
        assert_eq!((found.id, found.config.architecture.as_str()), (other.id.clone(), "arm64"));
    }
    assert!(home.store.find_platform(own.id.hex(), &platform("arm64")).unwrap().is_none());
    let repository = "docker.io/library/app";
    assert_eq!(own.repo_digests, [format!("{repository}@{index}"), format!("{repository}@{}", own.manifest)]);
    // Other tools take the first entry of a name.
    let written: Value = serde_json::from_slice(&fs::read(home.folders.root().join("index.json")).unwrap()).unwrap();
    assert_eq!(written["manifests"][0]["platform"]["architecture"], "amd64");
    // A newer image takes the name from that of its own platform only.
    add(&home, &Sample::new(22), "app:1");
    assert_eq!(home.store.find(own.id.hex()).unwrap().unwrap().names, Vec::<String>::new());
    assert_eq!(home.store.find(other.id.hex()).unwrap().unwrap().names, ["docker.io/library/app:1"]);
    // The name goes for all of them.
    assert_eq!(remove(&home, "app:1").unwrap().untagged.len(), 2);
    assert!(home.store.find(other.id.hex()).unwrap().is_none());
    remove(&home, own.id.hex()).unwrap();
    assert_eq!(home.content(), Vec::<String>::new());
}

#[test]
fn a_tag_is_one_more_name_for_all_platforms() {
    let home = Home::new();
    let (here, mut there) = (Sample::new(20), Sample::new(21));
    there.set_config("arm64");
    let (members, index) = multi(&[(&here, "amd64"), (&there, "arm64")], "app:1");
    for architecture in ["amd64", "arm64"] {
        add_for(&home, &members, architecture);
    }
    let old = add(&home, &Sample::new(23), "copy:2");
    let new = |name: &str| name.parse::<Reference>().unwrap();
    home.store.tag("app:1", &new("copy:2")).unwrap();
    home.store.tag("app:1", &new("copy:2")).unwrap();
    assert_eq!(home.store.find("copy:2").unwrap().unwrap().id, here.id());
    assert_eq!(home.store.find_platform("copy:2", &platform("arm64")).unwrap().unwrap().id, there.id());
    assert_eq!(home.store.find(old.id.hex()).unwrap().unwrap().names, Vec::<String>::new());
    // Nobody has the index under the new name; under the same one it is still that.
    assert!(home.store.find(&format!("copy@{index}")).unwrap().is_none());
    home.store.tag("app:1", &new("app:2")).unwrap();
    remove(&home, "app:1").unwrap();
    assert_eq!(home.store.find(&format!("app@{index}")).unwrap().unwrap().id, here.id());
    // By id it is that image alone.
    home.store.tag(there.id().hex(), &new("only:arm")).unwrap();
    assert_eq!(home.store.find("only:arm").unwrap().unwrap().id, there.id());
    assert!(home.store.find_platform("only:arm", &platform("amd64")).unwrap().is_none());
    let digest = new(&format!("app@{}", here.id()));
    assert!(matches!(home.store.tag("app:2", &digest), Err(Error::TagDigest(_))));
    assert!(matches!(home.store.tag("none:1", &new("a:b")), Err(Error::NotFound(_))));
}

fn prune(home: &Home, options: &PruneOptions) -> Pruned {
    home.store.prune(options, &unused).unwrap()
}

#[test]
fn pruning_takes_images_without_names_and_files_without_images() {
    let home = Home::new();
    let old = add(&home, &Sample::new(30), "app:1");
    let new = add(&home, &Sample::new(31), "app:1");
    let orphan = home.store.blob(&Digest::of(b"nobody's"));
    fs::write(&orphan, "nobody's").unwrap();
    let foreign = home.folders.layers().join("README");
    fs::write(&foreign, "theirs").unwrap();
    let pruned = prune(&home, &PruneOptions::default());
    assert_eq!(pruned.untagged, Vec::<String>::new());
    assert_eq!(pruned.deleted[0], old.id);
    assert!(pruned.bytes > 30_000, "{}", pruned.bytes);
    assert!(!orphan.exists() && foreign.exists());
    assert_eq!(home.store.images().unwrap().len(), 1);
    assert_eq!(prune(&home, &PruneOptions::default()), Pruned::default());
    let all = PruneOptions { all: true, ..PruneOptions::default() };
    let pruned = prune(&home, &all);
    assert_eq!((pruned.untagged.len(), &pruned.deleted[0]), (1, &new.id));
    assert_eq!(home.content(), ["layers/README"]);
}

#[test]
fn pruning_takes_nothing_that_a_container_needs() {
    let home = Home::new();
    let image = add(&home, &Sample::new(32), "app:1");
    let other = add(&home, &Sample::new(33), "app:2");
    let layer = other.layers[0].clone();
    let (id, kept) = (image.id, layer.clone());
    let used: Ask<'_> = &|| {
        let user = || "container x".to_owned();
        Ok(InUse { images: [(id.clone(), user())].into(), layers: [(kept.clone(), user())].into() })
    };
    let all = PruneOptions { all: true, ..PruneOptions::default() };
    home.store.prune(&all, used).unwrap();
    assert!(home.store.find("app:1").unwrap().is_some());
    assert!(home.store.find("app:2").unwrap().is_none());
    assert!(home.store.layer(&layer).exists() && !home.store.layer(&other.layers[1]).is_symlink());
    let unknown = || Err("it is not known".into());
    let before = home.snapshot();
    assert!(matches!(home.store.prune(&all, &unknown), Err(Error::InUseUnknown(_))));
    assert!(home.snapshot() == before);
}

#[test]
fn pruning_heeds_age_and_labels() {
    let labelled = |seed: u64, created: &str, labels: Value| {
        let mut sample = Sample::new(seed);
        let mut config: Value = serde_json::from_slice(&sample.config).unwrap();
        config["created"] = json!(created);
        config["config"]["Labels"] = labels;
        sample.config = config.to_string().into_bytes();
        sample
    };
    let home = Home::new();
    add(&home, &labelled(1, "2020-01-01T00:00:00Z", json!({ "keep": "yes" })), "a:1");
    add(&home, &labelled(2, "2026-01-01T00:30:00.5+02:00", json!(null)), "b:1");
    add(&home, &labelled(3, "2026-01-01T00:00:00Z", json!({ "keep": "no", "x": "" })), "c:1");
    let names = || -> String { home.store.images().unwrap().iter().map(|i| i.names[0][18..19].to_owned()).collect() };
    let until = coracle_image::store::parse_time("2025-12-31T23:30:00-00:00").unwrap();
    let all = PruneOptions { all: true, until: Some(until), ..PruneOptions::default() };
    prune(&home, &PruneOptions { without_labels: vec![Label::parse("keep")], ..all.clone() });
    assert_eq!(names(), "ac");
    prune(&home, &PruneOptions { labels: vec![Label::parse("keep=no")], ..all.clone() });
    assert_eq!(names(), "ac");
    prune(&home, &PruneOptions { labels: vec![Label::parse("keep")], until: None, ..all });
    assert_eq!(names(), "");
}

#[test]
fn usage_adds_up_to_what_is_on_disk() {
    let home = Home::new();
    let base = tar(&[file("base", vec![7; 50_000])]);
    let one = Sample::of(&[base.clone(), tar(&[file("one", "1")])]);
    let two = Sample::of(&[base.clone(), tar(&[file("two", "2")])]);
    add(&home, &one, "one");
    add(&home, &two, "two");
    fs::create_dir_all(home.folders.root().join("partial")).unwrap();
    fs::write(home.folders.root().join("partial/sha256-00"), [0; 99]).unwrap();
    let usage = home.store.usage().unwrap();
    assert_eq!((usage.images.len(), usage.partials, usage.partial, usage.unreferenced), (2, 1, 99, 0));
    let files = home.snapshot();
    let content = files.iter().filter(|(name, _)| name.contains("/blobs/") || name.contains("/layers/"));
    assert_eq!(usage.bytes, content.map(|(_, bytes)| bytes.len() as u64).sum::<u64>());
    let [first, second] = usage.images.as_slice() else { panic!() };
    let shared = fs::metadata(home.store.layer(&Digest::of(&base))).unwrap().len() + gzip(&base).len() as u64;
    assert_eq!((first.shared, second.shared), (shared, shared));
    assert_eq!(first.bytes + second.bytes - shared, usage.bytes);
    assert_eq!(home.store.layer_sizes(&first.image).len(), 2);
    assert_eq!(home.store.prune_partials().unwrap(), 99);
    assert_eq!(home.store.usage().unwrap().partials, 0);
}

#[test]
fn parts_of_downloads_are_kept_for_a_week_and_while_they_are_written() {
    let home = Home::new();
    let folder = home.folders.root().join("partial");
    fs::create_dir_all(&folder).unwrap();
    let long_ago = std::time::SystemTime::now() - std::time::Duration::from_secs(8 * 24 * 3600);
    for (name, old) in [("new", false), ("old", true), ("written", true)] {
        let part = fs::File::create(folder.join(name)).unwrap();
        if old {
            part.set_modified(long_ago).unwrap();
        }
    }
    let written = fs::File::open(folder.join("written")).unwrap();
    written.lock().unwrap();
    Store::open(&home.folders).unwrap();
    assert_eq!(home.content(), ["partial/new", "partial/written"]);
    home.store.prune_partials().unwrap();
    assert_eq!(home.content(), ["partial/written"]);
}

//! What is missing or damaged is found, what can be mended is mended, and what cannot is given up.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use std::fs;
use std::os::unix::fs::FileExt;

use coracle_image::load::{Source, load};
use coracle_image::progress::Silent;
use coracle_image::store::{CheckOptions, InUse, Kind, Outcome, Problem, Report};
use coracle_image::{Digest, Image, Store};
use support::{Home, Sample, tar, unused};

const QUICK: CheckOptions = CheckOptions { repair: false, deep: false };
const DEEP: CheckOptions = CheckOptions { repair: false, deep: true };
const REPAIR: CheckOptions = CheckOptions { repair: true, deep: true };

fn add(home: &Home, sample: &Sample, name: &str) -> Image {
    let archive = tar(&sample.oci(Some(name)));
    load(&home.store, Source::Stream(&mut archive.as_slice()), &Silent).unwrap().remove(0).image
}

fn check(home: &Home, options: CheckOptions) -> Report {
    home.store.check(options, &unused).unwrap()
}

/// What is wrong, in one line.
fn words(report: &Report) -> String {
    report
        .problems
        .iter()
        .map(|problem| format!("{}: {}", problem.subject, problem.what))
        .collect::<Vec<_>>()
        .join("\n")
}

#[track_caller]
fn assert_sound(home: &Home) {
    let report = check(home, DEEP);
    assert!(report.is_sound() && report.problems.is_empty(), "{}", words(&report));
}

#[test]
fn a_store_in_order_is_sound() {
    let home = Home::new();
    assert_sound(&home);
    for seed in 0..3 {
        add(&home, &Sample::new(seed), &format!("app:{seed}"));
    }
    assert_sound(&home);
    let report = check(&home, REPAIR);
    // Of the three second layers, all the same, each depends on what is below it.
    assert_eq!((report.images, report.blobs, report.layers), (3, 10, 6));
    assert!(report.problems.is_empty());
}

#[test]
fn a_layer_file_that_is_missing_cut_or_altered_is_unpacked_again() {
    let home = Home::new();
    let image = add(&home, &Sample::new(1), "app:1");
    let path = home.store.layer(&image.layers[0]);
    let good = fs::read(&path).unwrap();
    let alter = |offset: u64| {
        let file = fs::File::options().write(true).open(&path).unwrap();
        file.write_all_at(b"\xff\xff\xff", offset).unwrap();
    };
    let damages: [(&str, bool, &dyn Fn()); 5] = [
        ("is missing", true, &|| fs::remove_file(&path).unwrap()),
        ("is cut", true, &|| fs::File::options().write(true).open(&path).unwrap().set_len(4096).unwrap()),
        ("is cut", true, &|| fs::write(&path, "").unwrap()),
        ("is damaged", true, &|| alter(1024)),
        // The data of a file: nothing but a comparison finds that.
        ("is not what its blob unpacks to", false, &|| alter(good.len() as u64 - 20_000)),
    ];
    for (what, quickly, damage) in damages {
        damage();
        let report = check(&home, DEEP);
        assert!(!report.is_sound() && words(&report).ends_with(what), "{}", words(&report));
        assert!(report.problems.len() == 1 && report.problems[0].kind == Kind::Damage);
        assert_eq!(check(&home, QUICK).is_sound(), !quickly, "{what}");
        assert!(check(&home, REPAIR).is_sound());
        assert_sound(&home);
        assert!(fs::read(&path).unwrap() == good, "{what}");
    }
    assert_eq!(home.store.find("app:1").unwrap().unwrap().id, image.id);
}

#[test]
fn an_image_whose_blob_is_damaged_is_given_up_and_can_come_again() {
    let home = Home::new();
    let sample = Sample::new(2);
    add(&home, &sample, "other:1");
    let image = add(&home, &Sample::new(3), "app:1");
    let layer = Digest::of(&Sample::new(3).blobs[0]);
    for digest in [layer, image.id, image.manifest] {
        let path = home.store.blob(&digest);
        let mut bytes = fs::read(&path).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(&path, &bytes).unwrap();
        let report = check(&home, DEEP);
        assert!(!report.is_sound() && words(&report).contains("image app:1"), "{}", words(&report));
        let report = check(&home, REPAIR);
        assert!(report.is_sound(), "{}", words(&report));
        assert!(
            matches!(&report.problems[0], Problem { outcome: Outcome::Repaired(text), .. } if text.contains("removed"))
        );
        assert!(home.store.find("app:1").unwrap().is_none());
        assert!(home.store.find("other:1").unwrap().is_some());
        assert_sound(&home);
        add(&home, &Sample::new(3), "app:1");
        assert_sound(&home);
    }
}

#[test]
fn what_a_crash_leaves_is_no_damage_and_repairing_clears_it() {
    let home = Home::new();
    add(&home, &Sample::new(4), "app:1");
    let before = home.content();
    let orphans = [home.store.blob(&Digest::of(b"x")), home.store.layer(&Digest::of(b"y"))];
    for path in &orphans {
        fs::write(path, "x").unwrap();
    }
    let report = check(&home, DEEP);
    assert!(report.is_sound() && report.problems.len() == 2);
    assert!(report.problems.iter().all(|problem| problem.kind == Kind::Leftover));
    check(&home, REPAIR);
    assert_eq!(home.content(), before);
}

#[test]
fn layers_that_containers_need_are_kept_and_missed() {
    let home = Home::new();
    let image = add(&home, &Sample::new(5), "app:1");
    let layer = image.layers[0].clone();
    let asked = layer.clone();
    let used = move || Ok(InUse { layers: [(asked.clone(), "container x".to_owned())].into(), ..InUse::default() });
    home.store.remove("app:1", &|_| None, false).unwrap();
    fs::write(home.store.layer(&layer), "kept for the container").unwrap();
    home.store.check(REPAIR, &used).unwrap();
    assert!(home.store.layer(&layer).exists());
    fs::remove_file(home.store.layer(&layer)).unwrap();
    let report = home.store.check(REPAIR, &used).unwrap();
    assert!(!report.is_sound() && words(&report).contains("container x"), "{}", words(&report));
}

#[test]
fn images_are_found_again_when_the_index_is_lost() {
    let home = Home::new();
    let image = add(&home, &Sample::new(6), "app:1");
    let index = home.folders.root().join("index.json");
    fs::write(&index, "{\"schemaVersion\":2,\"manif").unwrap();
    assert!(!check(&home, QUICK).is_sound());
    assert!(check(&home, REPAIR).is_sound());
    let found = home.store.find(image.id.hex()).unwrap().unwrap();
    assert_eq!((found.id, found.names), (image.id.clone(), Vec::new()));
    assert!(index.with_extension("json.damaged").exists());
    fs::remove_file(&index).unwrap();
    let again = Store::open(&home.folders).unwrap();
    assert!(again.find(image.id.hex()).unwrap().is_some());
    assert_sound(&home);
}

#[test]
fn a_damaged_layout_file_is_written_anew() {
    let home = Home::new();
    fs::write(home.folders.root().join("oci-layout"), "").unwrap();
    assert!(!check(&home, QUICK).is_sound());
    assert!(check(&home, REPAIR).is_sound());
    assert_sound(&home);
}

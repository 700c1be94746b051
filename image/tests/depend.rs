//! Layers that depend on what is below them: each gets an EROFS file for its place, and no other image gets that.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use std::fs;
use std::fs::File;
use std::path::Path;

use coracle_image::layer::Stack;
use coracle_image::load::{Source, load};
use coracle_image::progress::Silent;
use coracle_image::{Digest, Image};
use support::{Home, Member, Sample, chain, file, tar, unpack};

fn folder(name: &str) -> Member {
    Member { name: name.to_owned(), kind: b'5', data: Vec::new() }
}

fn link(name: &str, target: &str) -> Member {
    Member { name: name.to_owned(), kind: b'1', data: target.as_bytes().to_vec() }
}

fn load_as(home: &Home, sample: &Sample, name: &str) -> Result<Image, String> {
    let layout = tempfile::tempdir().unwrap();
    unpack(&sample.oci(Some(name)), layout.path());
    load(&home.store, Source::Path(layout.path()), &Silent)
        .map(|mut loaded| loaded.remove(0).image)
        .map_err(|error| chain(&error))
}

/// What the file at `path` in the whole image holds.
fn content(home: &Home, image: &Image, path: &str) -> Vec<u8> {
    let files = image.layers.iter().map(|layer| File::open(home.store.layer(layer)).unwrap()).collect();
    let stack = Stack::open(files).unwrap();
    let found = stack.find(path.as_bytes()).unwrap().unwrap();
    let mut bytes = vec![0; found.inode.size as usize];
    let read = stack.read_at(&found, &mut bytes, 0).unwrap();
    assert_eq!(read, bytes.len());
    bytes
}

/// A base with `a` holding `text`, and a layer with `b`, a hard link to it.
fn linked(text: &str) -> Sample {
    Sample::of(&[tar(&[folder("d"), file("d/a", text)]), tar(&[folder("d"), link("d/b", "d/a")])])
}

#[test]
fn a_hard_link_into_a_lower_layer_has_the_content_of_its_own_image() {
    let home = Home::new();
    let (one, two) = (linked("one"), linked("other"));
    assert_eq!(one.diff_ids()[1], two.diff_ids()[1], "the same layer over different ones");
    let (one, two) = (load_as(&home, &one, "one").unwrap(), load_as(&home, &two, "two").unwrap());
    assert_eq!(content(&home, &one, "d/b"), b"one");
    assert_eq!(content(&home, &two, "d/b"), b"other");
    assert_ne!(one.layers[1], two.layers[1]);
    let diff_ids = &one.config.rootfs.diff_ids;
    assert_eq!(one.layers[1], Digest::of(format!("{} {}", diff_ids[0], diff_ids[1]).as_bytes()), "its chain id");
    assert_eq!(one.layers[0], diff_ids[0], "the lower one depends on nothing");

    home.store.remove("one", &|_: &Image| None, false).unwrap();
    assert!(!home.store.layer(&one.layers[1]).exists());
    assert_eq!(content(&home, &two, "d/b"), b"other");
}

#[test]
fn a_lowest_layer_without_its_folders_does_not_stand_for_itself_higher_up() {
    let home = Home::new();
    let bare = tar(&[file("d/f", "x")]);
    let lowest = load_as(&home, &Sample::of(std::slice::from_ref(&bare)), "lowest").unwrap();
    let base = tar(&[folder("d"), file("d/g", "y")]);
    let above = load_as(&home, &Sample::of(&[base, bare]), "above").unwrap();
    assert_ne!(lowest.layers[0], above.layers[1]);
    assert_eq!(content(&home, &above, "d/f"), b"x");
    assert_eq!(content(&home, &above, "d/g"), b"y");
}

#[test]
fn a_dependent_layer_that_stands_in_an_image_twice_is_written_for_both_places() {
    let home = Home::new();
    let again = tar(&[folder("d"), link("d/b", "d/a")]);
    let other = tar(&[folder("d"), file("d/a", "second")]);
    let base = tar(&[folder("d"), file("d/a", "first")]);
    let sample = Sample::of(&[base, again.clone(), other, again]);
    let image = load_as(&home, &sample, "twice").unwrap();
    assert_ne!(image.layers[1], image.layers[3]);
    assert_eq!(content(&home, &image, "d/b"), b"second");
    // Known by now, and used again.
    let again = load_as(&home, &sample, "again").unwrap();
    assert_eq!(again.layers, image.layers);
}

#[test]
fn a_link_to_nothing_in_any_layer_is_refused_and_leaves_nothing() {
    let home = Home::new();
    let sample = Sample::of(&[tar(&[folder("d")]), tar(&[folder("d"), link("d/b", "d/a")])]);
    let error = load_as(&home, &sample, "bad").unwrap_err();
    assert!(error.contains("d/b") && error.contains("d/a"), "{error}");
    assert_eq!(home.content(), Vec::<String>::new());
}

#[test]
fn a_layer_whose_file_is_gone_is_written_again_from_its_blob() {
    let home = Home::new();
    let sample = linked("one");
    let image = load_as(&home, &sample, "one").unwrap();
    let before = fs::read(home.store.layer(&image.layers[1])).unwrap();
    remove(&home.store.layer(&image.layers[1]));
    let image = load_as(&home, &sample, "one").unwrap();
    assert!(fs::read(home.store.layer(&image.layers[1])).unwrap() == before, "the same bytes as before");
}

fn remove(path: &Path) {
    fs::remove_file(path).unwrap();
}

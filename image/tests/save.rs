//! Images go out as they came in, the same bytes every time; other tools read what is written, and write what is read.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use std::fs::{self, File};
use std::path::Path;
use std::process::Command;

use coracle_image::load::{Loaded, Source, load};
use coracle_image::progress::Silent;
use coracle_image::save::{Error, Format, Target, save, save_folder};
use coracle_image::{Image, Platform};
use support::{Home, Sample, chain, file, gzip, tar, zstd};

fn add(home: &Home, sample: &Sample, name: &str) -> Image {
    let archive = tar(&sample.oci(Some(name)));
    load(&home.store, Source::Stream(&mut archive.as_slice()), &Silent).unwrap().remove(0).image
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn stream(home: &Home, wanted: &[&str], format: Format) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    save(&home.store, &names(wanted), None, format, Target::Stream(&mut bytes)).map(|()| bytes)
}

fn to_file(home: &Home, wanted: &[&str], format: Format, name: &str) -> std::path::PathBuf {
    let path = home.folder.path().join(name);
    save(&home.store, &names(wanted), None, format, Target::File(&File::create(&path).unwrap())).unwrap();
    path
}

fn load_path(home: &Home, path: &Path) -> Vec<Loaded> {
    load(&home.store, Source::Path(path), &Silent).unwrap()
}

#[test]
fn archives_of_both_forms_come_back_the_same() {
    let home = Home::new();
    let one = add(&home, &Sample::new(1), "one:1");
    add(&home, &Sample::new(1), "one:2");
    let two = add(&home, &Sample::new(2).compress(zstd, "+zstd"), "example.org/two:v1");
    let wanted = ["one:1", "one:2", "one:1", "example.org/two:v1"];
    for format in [Format::Docker, Format::Oci] {
        let bytes = stream(&home, &wanted, format).unwrap();
        assert!(bytes == stream(&home, &wanted, format).unwrap());
        let path = to_file(&home, &wanted, format, "archive.tar");
        assert!(bytes == fs::read(&path).unwrap(), "by pipe or by file");
        let other = Home::new();
        let loaded = load_path(&other, &path);
        let [first, second] = loaded.as_slice() else { panic!("{loaded:?}") };
        assert_eq!((&first.image.id, &second.image.id), (&one.id, &two.id));
        assert_eq!(first.names, ["docker.io/library/one:1", "docker.io/library/one:2"]);
        assert_eq!(second.names, ["example.org/two:v1"]);
        if format == Format::Oci {
            assert_eq!((&first.image.manifest, &second.image.manifest), (&one.manifest, &two.manifest));
        }
        // What came from an archive goes out the same.
        assert!(bytes == stream(&other, &wanted, format).unwrap());
    }
}

#[test]
fn a_folder_is_an_oci_layout_and_is_not_written_over() {
    let home = Home::new();
    let image = add(&home, &Sample::new(3), "app:1");
    let folder = home.folder.path().join("layout");
    save_folder(&home.store, &names(&["app:1"]), None, &folder).unwrap();
    let other = Home::new();
    let loaded = load_path(&other, &folder);
    assert_eq!((&loaded[0].image.manifest, loaded[0].names.as_slice()), (&image.manifest, image.names.as_slice()));
    let again = save_folder(&home.store, &names(&["app:1"]), None, &folder);
    assert!(matches!(again, Err(Error::Exists(_))));
    fs::write(home.store.blob(&image.config.rootfs.diff_ids[0]), "").unwrap();
    let next = home.folder.path().join("next");
    assert!(matches!(save_folder(&home.store, &names(&["none"]), None, &next), Err(Error::NotFound(_))));
    let left: Vec<_> = fs::read_dir(home.folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| name != "next" && !name.to_str().unwrap().ends_with(".part")), "{left:?}");
}

#[test]
fn images_are_saved_by_id_without_names_and_for_a_platform_only_if_they_are_for_it() {
    let home = Home::new();
    let image = add(&home, &Sample::new(4), "app:1");
    let digest = format!("app@{}", image.manifest);
    for name in [image.id.short(), image.id.as_str(), &digest] {
        let bytes = stream(&home, &[name], Format::Docker).unwrap();
        let other = Home::new();
        let loaded = load(&other.store, Source::Stream(&mut bytes.as_slice()), &Silent).unwrap();
        assert_eq!((&loaded[0].image.id, loaded[0].names.len()), (&image.id, 0), "{name}");
    }
    let arm: Platform = "linux/arm64".parse().unwrap();
    let refused =
        save(&home.store, &names(&["app:1"]), Some(&arm), Format::Oci, Target::Stream(&mut Vec::new())).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "There is no image app:1 for linux/arm64 here: pull it with --platform linux/arm64"
    );
    assert!(matches!(stream(&home, &[], Format::Docker), Err(Error::NoImages)));
}

#[test]
fn a_damaged_blob_is_not_saved_as_if_it_were_sound() {
    let home = Home::new();
    let sample = Sample::new(5);
    add(&home, &sample, "app:1");
    let path = home.store.blob(&coracle_image::Digest::of(&sample.blobs[0]));
    let mut bytes = fs::read(&path).unwrap();
    // A byte of the gzip header that decompressors do not look at.
    bytes[4] ^= 1;
    fs::write(&path, bytes).unwrap();
    for format in [Format::Docker, Format::Oci] {
        let error = stream(&home, &["app:1"], format).unwrap_err();
        assert!(chain(&error).contains("corrupt"), "{}", chain(&error));
        let file = tempfile::tempfile().unwrap();
        save(&home.store, &names(&["app:1"]), None, format, Target::File(&file)).unwrap_err();
    }
}

#[test]
fn an_image_that_is_removed_while_it_is_saved_is_saved_whole() {
    struct Remover<'a> {
        home: &'a Home,
        bytes: Vec<u8>,
    }
    impl std::io::Write for Remover<'_> {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            if self.bytes.is_empty() {
                self.home.store.remove("app:1", &|_| None, false).unwrap();
            }
            self.bytes.extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let home = Home::new();
    add(&home, &Sample::new(6), "app:1");
    let expected = stream(&home, &["app:1"], Format::Docker).unwrap();
    let mut output = Remover { home: &home, bytes: Vec::new() };
    save(&home.store, &names(&["app:1"]), None, Format::Docker, Target::Stream(&mut output)).unwrap();
    assert!(output.bytes == expected);
    assert_eq!(home.content(), Vec::<String>::new());
}

/// Runs a program of this machine and returns what it prints.
#[track_caller]
fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    let output = output.unwrap_or_else(|error| panic!("{program} cannot be run ({error}): scripts/setup installs it"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?} failed: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn skopeo_copies_out_of_the_store_and_reads_what_is_saved() {
    let home = Home::new();
    let sample = Sample::new(7);
    let image = add(&home, &sample, "app:1");
    let store = format!("oci:{}:docker.io/library/app:1", home.folders.root().display());
    let path = |name: &str| home.folder.path().join(name).display().to_string();
    let copied = path("copied.tar");
    run("skopeo", &["copy", "--insecure-policy", "-q", &store, &format!("docker-archive:{copied}:app:1")]);
    let other = Home::new();
    let loaded = load_path(&other, Path::new(&copied));
    assert_eq!((&loaded[0].image.id, loaded[0].names.as_slice()), (&image.id, image.names.as_slice()));
    // Our own archives.
    to_file(&home, &["app:1"], Format::Docker, "docker.tar");
    to_file(&home, &["app:1"], Format::Oci, "oci.tar");
    for kind in ["docker-archive", "oci-archive"] {
        let source = format!("{kind}:{}", path(&format!("{}.tar", kind.split('-').next().unwrap())));
        let folder = path(kind);
        run("skopeo", &["copy", "--insecure-policy", "-q", &source, &format!("dir:{folder}")]);
        let manifest: serde_json::Value =
            serde_json::from_slice(&fs::read(format!("{folder}/manifest.json")).unwrap()).unwrap();
        assert_eq!(manifest["config"]["digest"], image.id.as_str(), "{kind}");
        // Skopeo's own archives, compressed too.
        let theirs = path(&format!("theirs-{kind}.tar"));
        run("skopeo", &["copy", "--insecure-policy", "-q", &source, &format!("{kind}:{theirs}:example.org/app:2")]);
        let bytes = fs::read(&theirs).unwrap();
        for bytes in [bytes.clone(), gzip(&bytes), zstd(&bytes)] {
            let other = Home::new();
            fs::write(&theirs, bytes).unwrap();
            let loaded = load_path(&other, Path::new(&theirs));
            assert_eq!((&loaded[0].image.id, loaded[0].names[0].as_str()), (&image.id, "example.org/app:2"), "{kind}");
        }
    }
}

#[test]
fn podman_loads_what_is_saved_and_its_archives_are_loaded() {
    let home = Home::new();
    let base = tar(&[file("etc/os-release", "ID=podman\n")]);
    let one = Sample::of(&[base.clone(), tar(&[file("one", "1")])]);
    let two = Sample::of(&[base, tar(&[file("two", "2")])]);
    add(&home, &one, "example.org/one:1");
    add(&home, &two, "two:1");
    let path = |name: &str| home.folder.path().join(name).display().to_string();
    let (root, runroot) = (path("podman"), path("podman-run"));
    let podman = |arguments: &[&str]| {
        let own = ["--root", &root, "--runroot", &runroot, "--storage-driver", "vfs"];
        run("podman", &[&own, arguments].concat())
    };
    to_file(&home, &["example.org/one:1", "two:1"], Format::Docker, "docker.tar");
    to_file(&home, &["example.org/one:1"], Format::Oci, "oci.tar");
    let loaded = podman(&["load", "-q", "-i", &path("docker.tar")]);
    assert!(loaded.contains("example.org/one:1") && loaded.contains("docker.io/library/two:1"), "{loaded}");
    let id = |name: &str| podman(&["inspect", "--type", "image", "--format", "{{.Id}}", name]).trim().to_owned();
    assert_eq!(id("two:1"), two.id().hex());
    podman(&["rmi", "-f", "example.org/one:1"]);
    let loaded = podman(&["load", "-q", "-i", &path("oci.tar")]);
    assert!(loaded.contains("example.org/one:1"), "{loaded}");
    assert_eq!(id("example.org/one:1"), one.id().hex());
    for (format, names) in
        [("docker-archive", ["example.org/one:1", "two:1"].as_slice()), ("oci-archive", &["example.org/one:1"])]
    {
        let theirs = path(&format!("podman-{format}.tar"));
        let multiple = if names.len() > 1 { ["-m"].as_slice() } else { &[] };
        podman(&[["save", "-q", "--format", format, "-o", &theirs].as_slice(), multiple, names].concat());
        let bytes = fs::read(&theirs).unwrap();
        for bytes in [bytes.clone(), zstd(&bytes)] {
            let other = Home::new();
            let loaded = load(&other.store, Source::Stream(&mut bytes.as_slice()), &Silent).unwrap();
            assert_eq!(loaded.len(), names.len(), "{format}");
            let found = other.store.find(names[0]).unwrap();
            let found = found.unwrap_or_else(|| panic!("{format}: no {} in {loaded:#?}", names[0]));
            assert!([one.id(), two.id()].contains(&found.id), "{format}");
        }
    }
}

//! Archives of every kind come in; broken and hostile ones leave the store as it was.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use std::fs;
use std::path::Path;

use coracle_image::load::{Error, Loaded, Source};
use coracle_image::progress::Silent;
use coracle_image::{Digest, load};
use serde_json::json;
use support::{
    Home, MANIFEST, Member, REF_NAME, Sample, blob_name, chain, descriptor, file, gzip, symlink, tar, unpack, zstd,
};

fn load_path(home: &Home, path: &Path) -> Result<Vec<Loaded>, Error> {
    load(&home.store, Source::Path(path), &Silent)
}

fn load_bytes(home: &Home, bytes: &[u8]) -> Result<Vec<Loaded>, Error> {
    let path = home.folder.path().join("archive");
    fs::write(&path, bytes).unwrap();
    load_path(home, &path)
}

/// Loads, expects a failure, and that nothing of the attempt is left. Returns what the user would read.
#[track_caller]
fn refused(home: &Home, members: &[Member]) -> String {
    refused_bytes(home, &tar(members))
}

#[track_caller]
fn refused_bytes(home: &Home, bytes: &[u8]) -> String {
    let before = home.snapshot();
    let error = load_bytes(home, bytes).expect_err("it was loaded");
    assert!(home.snapshot() == before, "the store has changed: {:?}", home.content());
    chain(&error)
}

#[track_caller]
fn check(home: &Home, loaded: &[Loaded], sample: &Sample, names: &[&str]) {
    let [loaded] = loaded else { panic!("{} images", loaded.len()) };
    assert_eq!(loaded.names, names);
    let image = &loaded.image;
    assert_eq!(image.id, sample.id());
    assert_eq!(image.names, names);
    assert_eq!(image.config.rootfs.diff_ids, sample.diff_ids());
    assert_eq!(image.config.container.cmd, ["/bin/sh"]);
    assert_eq!(image.created.as_deref(), Some("2024-05-06T07:08:09Z"));
    let found = home.store.find(image.id.short()).unwrap().unwrap();
    assert_eq!((found.id, found.manifest), (image.id.clone(), image.manifest.clone()));
    for layer in &image.layers {
        assert!(fs::metadata(home.store.layer(layer)).unwrap().len() > 0);
    }
    let listed = home.store.images().unwrap();
    assert_eq!(listed.iter().map(|image| image.id.clone()).collect::<Vec<Digest>>(), [sample.id()]);
}

#[test]
fn a_docker_archive_is_loaded_by_file_and_by_pipe_plain_and_compressed() {
    let sample = Sample::new(1);
    let plain = tar(&sample.docker(&["busybox:1.36"]));
    let mut manifests = Vec::new();
    for bytes in [plain.clone(), gzip(&plain), zstd(&plain)] {
        let home = Home::new();
        let loaded = load_bytes(&home, &bytes).unwrap();
        check(&home, &loaded, &sample, &["docker.io/library/busybox:1.36"]);
        manifests.push(loaded[0].image.manifest.clone());
        let home = Home::new();
        let loaded = load(&home.store, Source::Stream(&mut bytes.as_slice()), &Silent).unwrap();
        check(&home, &loaded, &sample, &["docker.io/library/busybox:1.36"]);
        manifests.push(loaded[0].image.manifest.clone());
    }
    manifests.dedup();
    assert_eq!(manifests.len(), 1, "the manifest of a docker archive is always the same");
}

#[test]
fn an_oci_archive_and_an_oci_folder_keep_their_digests() {
    let samples = [Sample::new(2), Sample::new(2).compress(zstd, "+zstd"), Sample::new(2).compress(<[u8]>::to_vec, "")];
    for sample in samples {
        let members = sample.oci(Some("example.org/app:v1"));
        let home = Home::new();
        let loaded = load_bytes(&home, &tar(&members)).unwrap();
        check(&home, &loaded, &sample, &["example.org/app:v1"]);
        assert_eq!(loaded[0].image.manifest, Digest::of(&sample.manifest()));
        let home = Home::new();
        let folder = home.folder.path().join("layout");
        unpack(&members, &folder);
        check(&home, &load_path(&home, &folder).unwrap(), &sample, &["example.org/app:v1"]);
    }
}

#[test]
fn the_store_is_itself_an_oci_layout_that_can_be_loaded() {
    let sample = Sample::new(3);
    let (first, second) = (Home::new(), Home::new());
    load_bytes(&first, &tar(&sample.docker(&["a:1"]))).unwrap();
    let loaded = load_path(&second, first.folders.root()).unwrap();
    check(&second, &loaded, &sample, &["docker.io/library/a:1"]);
    assert_eq!(first.store.images().unwrap()[0].manifest, loaded[0].image.manifest);
}

#[test]
fn old_archives_link_to_layers_and_may_compress_them() {
    let mut sample = Sample::new(4);
    sample.diffs[1] = sample.diffs[0].clone();
    sample.set_config("amd64");
    let mut members = sample.docker(&["old:1"]);
    let target = format!("../{:064}/layer.tar", 0);
    let last = members.len() - 1;
    members[last] = symlink(&format!("{:064}/layer.tar", 1), &target);
    let home = Home::new();
    check(&home, &load_bytes(&home, &tar(&members)).unwrap(), &sample, &["docker.io/library/old:1"]);

    let sample = Sample::new(4);
    let mut members = sample.docker(&["old:2"]);
    members[2].data = gzip(&sample.diffs[0]);
    let home = Home::new();
    check(&home, &load_bytes(&home, &tar(&members)).unwrap(), &sample, &["docker.io/library/old:2"]);
    assert!(home.store.blob(&Digest::of(&gzip(&sample.diffs[0]))).exists());
}

#[test]
fn an_archive_that_is_both_is_read_as_oci_with_the_full_name() {
    let sample = Sample::new(5);
    let mut members = sample.oci(Some("latest"));
    let mut entry = descriptor(MANIFEST, &sample.manifest());
    entry["annotations"] = json!({ REF_NAME: "latest", "io.containerd.image.name": "docker.io/library/both:latest" });
    members[1] = file("index.json", json!({ "schemaVersion": 2, "manifests": [entry] }).to_string());
    members.push(file("manifest.json", "[]"));
    let home = Home::new();
    check(&home, &load_bytes(&home, &tar(&members)).unwrap(), &sample, &["docker.io/library/both:latest"]);
}

#[test]
fn an_image_without_a_name_is_found_by_its_id() {
    let sample = Sample::new(6);
    for members in [sample.docker(&[]), sample.oci(None), sample.oci(Some("latest"))] {
        let home = Home::new();
        check(&home, &load_bytes(&home, &tar(&members)).unwrap(), &sample, &[]);
    }
}

#[test]
fn loading_again_changes_nothing() {
    let home = Home::new();
    let bytes = tar(&Sample::new(7).docker(&["again:1"]));
    load_bytes(&home, &bytes).unwrap();
    let before = home.snapshot();
    load_bytes(&home, &bytes).unwrap();
    assert!(home.snapshot() == before);
}

#[test]
fn an_image_without_layers_is_an_image() {
    let home = Home::new();
    let sample = Sample::of(&[]);
    check(
        &home,
        &load_bytes(&home, &tar(&sample.docker(&["empty:1"]))).unwrap(),
        &sample,
        &["docker.io/library/empty:1"],
    );
}

#[test]
fn the_image_for_this_host_is_chosen_and_no_other_taken() {
    let mine = Sample::new(8);
    let mut other = Sample::new(9);
    other.set_config("riscv64");
    let entry = |sample: &Sample, architecture: &str| {
        let mut entry = descriptor(MANIFEST, &sample.manifest());
        entry["platform"] = json!({ "os": "linux", "architecture": architecture });
        entry
    };
    let nested =
        json!({ "schemaVersion": 2, "manifests": [entry(&other, "riscv64"), entry(&mine, "amd64")] }).to_string();
    let index = json!({ "schemaVersion": 2, "manifests": [descriptor(support::INDEX, nested.as_bytes())] });
    let mut members = vec![file("index.json", index.to_string()), file(&blob_name(nested.as_bytes()), &nested)];
    members.extend(mine.all_blobs().iter().map(|blob| file(&blob_name(blob), blob)));
    let home = Home::new();
    check(&home, &load_bytes(&home, &tar(&members)).unwrap(), &mine, &[]);

    let home = Home::new();
    let message = refused(&home, &other.oci(Some("other:1")));
    assert!(message.contains("linux/riscv64") && message.contains("linux/amd64"), "{message}");
    assert!(refused(&home, &other.docker(&["other:1"])).contains("linux/riscv64"));
}

#[test]
fn damaged_layers_are_named_and_leave_no_trace() {
    let home = Home::new();
    load_bytes(&home, &tar(&Sample::new(10).docker(&["kept:1"]))).unwrap();
    let sample = Sample::new(11);
    let layer = Digest::of(&sample.blobs[0]).to_string();

    let mut members = sample.oci(Some("bad:1"));
    *members[4].data.last_mut().unwrap() ^= 1;
    let message = refused(&home, &members);
    assert!(message.contains(&layer) && message.contains("damaged"), "{message}");

    let mut members = sample.oci(Some("bad:1"));
    let half = members[4].data.len() / 2;
    members[4].data.truncate(half);
    let message = refused(&home, &members);
    assert!(message.contains(&layer) && message.contains("cut"), "{message}");

    let mut members = sample.oci(Some("bad:1"));
    members[4].data.extend_from_slice(b"more");
    let message = refused(&home, &members);
    assert!(message.contains(&layer) && message.contains("longer"), "{message}");

    let mut members = sample.docker(&["bad:1"]);
    members[2].data[600] ^= 1;
    let message = refused(&home, &members);
    assert!(message.contains(&sample.diff_ids()[0].to_string()), "{message}");
}

#[test]
fn layers_that_are_as_announced_and_still_wrong_are_named() {
    let home = Home::new();
    // A gzip stream that ends early, under its right digest.
    let mut sample = Sample::new(12);
    let half = sample.blobs[0].len() / 2;
    sample.blobs[0].truncate(half);
    let message = refused(&home, &sample.oci(Some("bad:1")));
    assert!(message.contains(&Digest::of(&sample.blobs[0]).to_string()) && message.contains("unpack"), "{message}");

    // Not a tar file at all, under its right digests.
    let sample = Sample::of(&[support::noise(1, 5000)]);
    let message = refused(&home, &sample.oci(Some("bad:1")));
    assert!(message.contains(&Digest::of(&sample.blobs[0]).to_string()) && message.contains("unpack"), "{message}");

    // A config that announces another content.
    let mut sample = Sample::new(13);
    sample.diffs[1] = tar(&[file("x", "y")]);
    sample.set_config("amd64");
    let message = refused(&home, &sample.oci(Some("bad:1")));
    assert!(message.contains(&Digest::of(&sample.blobs[1]).to_string()) && message.contains("announces"), "{message}");
}

#[test]
fn an_image_cannot_pass_off_its_layer_as_one_that_is_here() {
    let home = Home::new();
    let honest = Sample::new(14);
    load_bytes(&home, &tar(&honest.oci(Some("honest:1")))).unwrap();
    // It claims the diff ids of the honest image for blobs of its own.
    let mut liar = Sample::new(15);
    liar.diffs = honest.diffs;
    liar.set_config("amd64");
    let message = refused(&home, &liar.oci(Some("liar:1")));
    assert!(message.contains("announces"), "{message}");
}

#[test]
fn incomplete_archives_say_what_they_lack() {
    let home = Home::new();
    let sample = Sample::new(16);
    for skip in 0..sample.all_blobs().len() {
        let mut members = sample.oci(Some("bad:1"));
        let removed = members.remove(2 + skip);
        let message = refused(&home, &members);
        assert!(message.contains(&removed.name), "{message}");
    }
    let mut members = sample.docker(&["bad:1"]);
    let removed = members.remove(3);
    assert!(refused(&home, &members).contains(&removed.name));
}

#[test]
fn other_files_are_told_apart() {
    let home = Home::new();
    assert!(refused_bytes(&home, b"").contains("not an image archive"));
    assert!(refused_bytes(&home, &[7; 4096]).contains("not an image archive"));
    assert!(refused_bytes(&home, &gzip(b"hello")).contains("not an image archive"));
    assert!(refused_bytes(&home, b"\xfd7zXZ\0rest").contains("xz"));
    assert!(refused(&home, &[file("etc/passwd", "root")]).contains("neither manifest.json nor index.json"));
    assert!(refused(&home, &[file("repositories", "{}")]).contains("1.10"));
    assert!(refused(&home, &[file("manifest.json", "{")]).contains("manifest.json"));
    assert!(refused(&home, &[file("index.json", "[]")]).contains("index.json"));
    let whole = tar(&Sample::new(17).docker(&["bad:1"]));
    assert!(refused_bytes(&home, &whole[..whole.len() / 2]).contains("cut off"));
    let error = load_path(&home, Path::new("/nonexistent/archive.tar")).unwrap_err();
    assert!(chain(&error).contains("/nonexistent/archive.tar"));
}

#[test]
fn hostile_names_and_links_lead_nowhere() {
    let home = Home::new();
    let sample = Sample::new(18);
    for target in ["/etc/passwd", "../../../../etc/passwd", "layer.tar"] {
        let mut members = sample.docker(&["bad:1"]);
        let name = members[2].name.clone();
        members[2] = symlink(&name, target);
        assert!(refused(&home, &members).contains("has no"));
    }
    let mut members = sample.docker(&["bad:1"]);
    members[1] = file("manifest.json", json!([{ "Config": "../../etc/passwd", "Layers": [] }]).to_string());
    assert!(refused(&home, &members).contains("has no ../../etc/passwd"));

    // A folder whose blobs are links out of it.
    let folder = home.folder.path().join("layout");
    unpack(&sample.oci(Some("bad:1")), &folder);
    let blob = folder.join(blob_name(&sample.blobs[0]));
    let outside = home.folder.path().join("outside");
    fs::rename(&blob, &outside).unwrap();
    std::os::unix::fs::symlink(&outside, &blob).unwrap();
    let before = home.snapshot();
    assert!(load_path(&home, &folder).is_err());
    assert!(home.snapshot() == before);
}

#[test]
fn a_bad_name_in_an_archive_is_an_error_not_a_name() {
    let home = Home::new();
    assert!(refused(&home, &Sample::new(19).docker(&["Bad/../name:1"])).contains("manifest.json"));
}

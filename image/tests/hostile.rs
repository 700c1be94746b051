//! Images made to do harm, one for each way in which unpacking or importing images has been broken into before. Each is
//! refused with an error that names the layer and the entry, or comes in as what it is; nothing outside the store is
//! touched, and what was in the store before stays sound.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;
mod tar_builder;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use coracle_image::layer::{Base, Limits, Stack, decompress, verify, write};
use coracle_image::load::{Error, Loaded, Source};
use coracle_image::progress::Silent;
use coracle_image::pull::PullOptions;
use coracle_image::registry::{Anonymous, Options, Retry};
use coracle_image::{Digest, Image, Reference, load, pull};
use serde_json::{Value, json};
use support::registry::{Flaw, Registry, Response, answers};
use support::{Home, MANIFEST, Member, Sample, blob_name, chain, descriptor, gzip};
use tar_builder::{Entry, tar};

/// A store, and around it what no image may touch.
struct Ship {
    home: Home,
    canary: PathBuf,
}

impl Ship {
    fn new() -> Ship {
        let home = Home::new();
        let canary = home.folder.path().join("canary");
        fs::create_dir_all(canary.join("folder")).unwrap();
        fs::write(canary.join("secret"), "sings").unwrap();
        fs::set_permissions(canary.join("secret"), fs::Permissions::from_mode(0o640)).unwrap();
        symlink("secret", canary.join("link")).unwrap();
        Ship { home, canary }
    }

    /// Everything outside the store: names, modes, owners, content.
    fn outside(&self) -> BTreeMap<PathBuf, (u32, u32, u64, Vec<u8>)> {
        let mut seen = BTreeMap::new();
        let mut folders = vec![self.home.folder.path().to_path_buf()];
        while let Some(folder) = folders.pop() {
            for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
                let stat = fs::symlink_metadata(&path).unwrap();
                if path == self.home.folders.root() || path.ends_with("archive") {
                    continue;
                }
                let content = if stat.is_file() { fs::read(&path).unwrap() } else { Vec::new() };
                if stat.is_dir() {
                    folders.push(path.clone());
                }
                seen.insert(path, (stat.mode(), stat.uid(), stat.nlink(), content));
            }
        }
        seen
    }

    fn try_load(&self, members: &[Member]) -> Result<Vec<Loaded>, Error> {
        let path = self.home.folder.path().join("archive");
        fs::write(&path, support::tar(members)).unwrap();
        let before = self.outside();
        let result = load(&self.home.store, Source::Path(&path), &Silent);
        assert!(self.outside() == before, "something outside the store has changed");
        result
    }

    /// Loads an image of one layer.
    fn loads(&self, layer: Vec<Entry>) -> Image {
        self.loads_all(&[tar(layer)])
    }

    fn loads_all(&self, layers: &[Vec<u8>]) -> Image {
        let loaded = self.try_load(&Sample::of(layers).oci(Some("hostile"))).unwrap();
        loaded.into_iter().next().unwrap().image
    }

    /// What the user reads when such an image is refused; the store is as before.
    #[track_caller]
    fn refuses(&self, members: &[Member]) -> String {
        let before = self.home.snapshot();
        let error = self.try_load(members).expect_err("it was loaded");
        assert!(self.home.snapshot() == before, "the store has changed: {:?}", self.home.content());
        chain(&error)
    }

    /// The same for an image of one layer: the error names the layer and the entry.
    #[track_caller]
    fn refuses_layer(&self, layer: Vec<Entry>, entry: &str, why: &str) {
        let sample = Sample::of(&[tar(layer)]);
        let text = self.refuses(&sample.oci(Some("hostile")));
        let digest = Digest::of(&sample.blobs[0]);
        for part in [digest.as_str(), &format!("{entry:?}"), why] {
            assert!(text.contains(part), "{part} is not in: {text}");
        }
    }

    /// The merged tree of an image.
    fn stack(&self, image: &Image) -> Stack {
        Stack::open(image.layers.iter().map(|key| File::open(self.home.store.layer(key)).unwrap()).collect()).unwrap()
    }
}

fn read(stack: &Stack, path: &str) -> Option<String> {
    let found = stack.find(path.as_bytes()).unwrap()?;
    let mut content = vec![0; found.inode.size as usize];
    stack.read_at(&found, &mut content, 0).unwrap();
    Some(String::from_utf8(content).unwrap())
}

fn file(name: &str, data: impl AsRef<[u8]>) -> Entry {
    Entry::file(name, data)
}

#[test]
fn files_behind_symbolic_links_stay_in_the_image() {
    // CVE-2018-15664, CVE-2020-27833, RUSTSEC-2021-0080, CVE-2021-32760.
    let ship = Ship::new();
    let outside = ship.canary.to_str().unwrap();
    let image = ship.loads(vec![
        Entry::symlink("a", outside),
        Entry::symlink("b", "a/folder"),
        Entry::symlink("up", "../../../../../../.."),
        file("a/secret", "overwritten"),
        file("b/new", "created"),
        file(&format!("up{outside}/climbed"), "created"),
    ]);
    let stack = ship.stack(&image);
    assert_eq!(read(&stack, &format!("{outside}/secret")).unwrap(), "overwritten");
    assert_eq!(read(&stack, &format!("{outside}/folder/new")).unwrap(), "created");
    assert_eq!(read(&stack, &format!("{outside}/climbed")).unwrap(), "created");
}

#[test]
fn links_of_a_lower_layer_stay_in_the_image_too() {
    let ship = Ship::new();
    let outside = ship.canary.to_str().unwrap();
    let lower = tar([Entry::symlink("a", outside), Entry::symlink("up", "../../..")]);
    let upper = tar([file("a/secret", "overwritten"), file("up/x", "top"), Entry::link("h", "a/secret")]);
    let image = ship.loads_all(&[lower, upper]);
    let stack = ship.stack(&image);
    assert_eq!(read(&stack, &format!("{outside}/secret")).unwrap(), "overwritten");
    assert_eq!((read(&stack, "x").unwrap(), read(&stack, "h").unwrap()), ("top".into(), "overwritten".into()));
}

#[test]
fn a_folder_over_a_symbolic_link_changes_no_mode_behind_it() {
    // RUSTSEC-2026-0067, CVE-2026-33056.
    let ship = Ship::new();
    let outside = ship.canary.to_str().unwrap();
    let image = ship.loads(vec![Entry::symlink("a", outside), Entry::directory("a").mode(0o777)]);
    assert!(ship.stack(&image).find(b"a").unwrap().unwrap().inode.is_directory());
}

#[test]
fn the_root_cannot_become_a_link() {
    // CVE-2021-29136.
    for name in ["/.", ".", "/", "./."] {
        Ship::new().refuses_layer(vec![Entry::symlink(name, "/etc")], name, "replace the root");
    }
}

#[test]
fn names_and_hard_links_that_lead_out_are_refused() {
    // CVE-2026-50163 and every "zip slip".
    let ship = Ship::new();
    let outside = ship.canary.join("secret");
    let outside = outside.to_str().unwrap();
    for name in ["../canary/secret", "a/../../../canary/new", "/../new"] {
        ship.refuses_layer(vec![file(name, "x")], name, "lead out of the layer");
    }
    ship.refuses_layer(vec![Entry::link("h", "../../canary/secret")], "h", "lead out of the layer");
    ship.refuses_layer(vec![Entry::link("h", outside)], "h", "neither this layer nor one below has");
    let through = vec![Entry::symlink("a", ship.canary.to_str().unwrap()), Entry::link("h", "a/secret")];
    ship.refuses_layer(through, "h", "neither this layer nor one below has");
}

#[test]
fn a_size_in_two_places_smuggles_nothing_in() {
    // CVE-2025-62518, RUSTSEC-2025-0111, RUSTSEC-2026-0068.
    let ship = Ship::new();
    let inner = file("etc/smuggled", "x").blocks();
    let outer = file("outer", &inner).size_field(*b"00000000000\0").pax("size", inner.len().to_string());
    let stack = ship.stack(&ship.loads(vec![outer, file("next", "n")]));
    assert_eq!((read(&stack, "etc/smuggled"), read(&stack, "next").unwrap()), (None, "n".into()));
    assert_eq!(stack.find(b"outer").unwrap().unwrap().inode.size, inner.len() as u64);
}

#[test]
fn headers_that_announce_gigabytes_cost_no_memory() {
    // CVE-2017-14992, CVE-2023-25153.
    let ship = Ship::new();
    let digest = |layer: &[u8]| Digest::of(&gzip(layer));
    for kind in *b"xgLK" {
        let layer = tar([Entry::new(kind, "bomb").size_field(*b"37777777777\0")]);
        let text = ship.refuses(&Sample::of(std::slice::from_ref(&layer)).oci(Some("hostile")));
        assert!(
            text.contains("An extended header has 4294967295 bytes") && text.contains(digest(&layer).as_str()),
            "{text}"
        );
    }
    let lying = file("lying", "x").size_field(*b"77777777777\0");
    ship.refuses_layer(vec![lying], "lying", "");
    let sparse = file("sparse", "").pax("GNU.sparse.size", u64::MAX.to_string()).pax("GNU.sparse.map", "0,0");
    ship.refuses_layer(vec![sparse], "sparse", "more than the");
}

#[test]
fn links_that_lead_in_circles_end() {
    // CVE-2021-20291 and its like: a layer that makes whoever unpacks it hang.
    let ship = Ship::new();
    let circle = vec![Entry::symlink("a", "b"), Entry::symlink("b", "a"), file("a/x", "")];
    ship.refuses_layer(circle, "a/x", "lead in a circle");
    let mut doubling = vec![Entry::directory("l0")];
    doubling.extend((1..40).map(|n| Entry::symlink(format!("l{n}"), format!("l{0}/../l{0}", n - 1))));
    doubling.push(file("l39/x", ""));
    ship.refuses_layer(doubling, "l39/x", "lead in a circle");
    let hard = (0..4000).map(|n| Entry::link(format!("h{n}"), format!("h{}", n + 1)));
    assert!(ship.refuses(&Sample::of(&[tar(hard)]).oci(None)).contains("hard link to"));
}

#[test]
fn one_broken_layer_of_many_ends_the_others() {
    let ship = Ship::new();
    let layers: Vec<Vec<u8>> = (0..12u8)
        .map(|n| match n {
            7 => tar([file("..", "")]),
            n => tar([Entry::file(format!("f{n}"), vec![n; 300_000])]),
        })
        .collect();
    assert!(ship.refuses(&Sample::of(&layers).oci(Some("hostile"))).contains("lead out of the layer"));
}

#[test]
fn what_the_image_says_of_users_and_volumes_reads_nothing_of_the_host() {
    // CVE-2022-23648, CVE-2024-9676, CVE-2024-40635.
    let ship = Ship::new();
    let secret = ship.canary.join("secret");
    let layer = tar([
        Entry::symlink("etc/passwd", secret.to_str().unwrap()),
        Entry::symlink("v", ship.canary.to_str().unwrap()),
    ]);
    let mut sample = Sample::of(&[layer]);
    let mut config: Value = serde_json::from_slice(&sample.config).unwrap();
    config["config"]["Volumes"] = json!({ "/v": {}, "/../../../etc": {} });
    config["config"]["User"] = json!("4294967296:99999999999999999999");
    sample.config = config.to_string().into_bytes();
    let image = ship.try_load(&sample.oci(Some("hostile"))).unwrap().remove(0).image;
    assert_eq!(image.config.container.user, "4294967296:99999999999999999999", "as it is, for the guest to refuse");
    assert_eq!(read(&ship.stack(&image), "etc/passwd").unwrap(), secret.to_str().unwrap(), "the link itself");
}

#[test]
fn digests_that_are_paths_are_refused() {
    // CVE-2024-3727.
    let ship = Ship::new();
    let sample = Sample::new(1);
    for digest in [
        "sha256:../../../canary/secret",
        "../../canary/secret",
        "sha256:",
        "sha256:ABC",
        "md5:00",
        "sha256:/etc/passwd",
    ] {
        let mut manifest: Value = serde_json::from_slice(&sample.manifest()).unwrap();
        manifest["layers"][0]["digest"] = json!(digest);
        let text = ship.refuses(&layout(manifest.to_string().as_bytes(), &sample));
        assert!(text.contains("manifest"), "{text}");
    }
    let mut config: Value = serde_json::from_slice(&sample.config).unwrap();
    config["rootfs"]["diff_ids"][0] = json!("sha256:../../../canary/secret");
    let broken = Sample { config: config.to_string().into_bytes(), ..sample };
    assert!(ship.refuses(&broken.oci(Some("hostile"))).contains("config"));
}

/// A layout with this as its only manifest.
fn layout(manifest: &[u8], sample: &Sample) -> Vec<Member> {
    let index = json!({ "schemaVersion": 2, "manifests": [descriptor(MANIFEST, manifest)] });
    let mut members = vec![
        support::file("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#),
        support::file("index.json", index.to_string()),
        support::file(&blob_name(manifest), manifest),
    ];
    members.extend(sample.all_blobs().iter().skip(1).map(|blob| support::file(&blob_name(blob), blob)));
    members
}

#[test]
fn a_document_that_is_two_things_at_once_is_refused() {
    // CVE-2021-41190.
    let ship = Ship::new();
    let sample = Sample::new(1);
    let mut both: Value = serde_json::from_slice(&sample.manifest()).unwrap();
    both["manifests"] = json!([descriptor(MANIFEST, b"x")]);
    ship.refuses(&layout(both.to_string().as_bytes(), &sample));
    for (field, value) in
        [("size", json!(-1)), ("size", json!(u64::MAX)), ("size", json!("1")), ("mediaType", json!(7))]
    {
        let mut manifest: Value = serde_json::from_slice(&sample.manifest()).unwrap();
        manifest["layers"][0][field] = value;
        ship.refuses(&layout(manifest.to_string().as_bytes(), &sample));
    }
}

#[test]
fn a_layer_cannot_pass_itself_off_as_another() {
    let ship = Ship::new();
    let trusted = ship.loads(vec![file("bin/sh", "trusted")]);
    let mut sample = Sample::of(&[tar([file("bin/sh", "evil")])]);
    let mut config: Value = serde_json::from_slice(&sample.config).unwrap();
    config["rootfs"]["diff_ids"][0] = json!(trusted.config.rootfs.diff_ids[0]);
    sample.config = config.to_string().into_bytes();
    assert!(ship.refuses(&sample.oci(Some("evil"))).contains("does not unpack to what the image announces"));
    assert_eq!(read(&ship.stack(&trusted), "bin/sh").unwrap(), "trusted");
}

#[test]
fn media_types_that_lie_do_no_harm() {
    let ship = Ship::new();
    for (suffix, how) in
        [("+zstd", gzip as fn(&[u8]) -> Vec<u8>), ("+gzip", support::zstd), ("", gzip), ("+gzip", <[u8]>::to_vec)]
    {
        let sample = Sample::of(&[tar([file("a", format!("x{suffix}"))])]).compress(how, suffix);
        let image = ship.try_load(&sample.oci(None)).unwrap().remove(0).image;
        assert_eq!(read(&ship.stack(&image), "a").unwrap(), format!("x{suffix}"));
    }
    for start in [&b"BZh9"[..], b"\xfd7zXZ\0"] {
        let sample = Sample { blobs: vec![[start, &[0; 100]].concat()], ..Sample::of(&[tar([])]) };
        assert!(ship.refuses(&sample.oci(None)).contains("only gzip and zstd are layer formats"));
    }
}

#[test]
fn layers_of_nothing_come_in_as_what_they_are() {
    let ship = Ship::new();
    let empty: fn(&[u8]) -> Vec<u8> = <[u8]>::to_vec;
    let sample = Sample::of(&[Vec::new(), vec![0; 1024]]).compress(empty, "");
    let image = ship.try_load(&sample.oci(Some("empty"))).unwrap().remove(0).image;
    assert_eq!(image.layers.len(), 2);
    assert!(ship.stack(&image).find(b"").unwrap().unwrap().inode.is_directory());
}

#[test]
fn a_document_of_gigabytes_is_not_read() {
    // CVE-2020-1702.
    let ship = Ship::new();
    let path = ship.home.folder.path().join("archive");
    for name in ["manifest.json", "index.json"] {
        // 4 GiB, nothing of which is on the disk.
        let archive = File::create(&path).unwrap();
        let header = Entry::new(b'0', name).size_field(*b"40000000000\0").header();
        archive.write_all_at(&header, 0).unwrap();
        archive.set_len((4 << 30) + 2048).unwrap();
        let error = load(&ship.home.store, Source::Path(&path), &Silent).unwrap_err();
        assert!(chain(&error).contains("larger than"), "{}", chain(&error));
    }
}

#[test]
fn a_bomb_ends_at_the_limit() {
    let limits = Limits { bytes: 1 << 20, entries: 1000, metadata: 1 << 20 };
    let bomb = |bytes: Vec<u8>| {
        let mut tar = decompress(Box::new(io::Cursor::new(bytes))).unwrap();
        let output = tempfile::tempfile().unwrap();
        let error = write(&mut tar, &output, &limits, Base::Nothing).unwrap_err();
        assert!(output.metadata().unwrap().len() <= 2 << 20);
        chain(&error)
    };
    let zeros = tar([Entry::file("zeros", vec![0; 64 << 20])]);
    for compress in [gzip as fn(&[u8]) -> Vec<u8>, support::zstd] {
        let text = bomb(compress(&zeros));
        assert!(text.contains("\"zeros\"") && text.contains("more than the 1048576 bytes"), "{text}");
    }
    let after = [tar([]), vec![0; 64 << 20]].concat();
    assert!(
        bomb(gzip(&after)).contains("more than the 1048576 bytes"),
        "what follows the end of the archive counts too"
    );
    let many = tar((0..1500).map(|n| Entry::new(b'5', format!("{n}"))));
    assert!(bomb(gzip(&many)).contains("1000 files and folders"));
    let deep = tar([file(&"d/".repeat(1500), "")]);
    assert!(bomb(gzip(&deep)).contains("1000 files and folders"));
    let attributes = tar((0..100).map(|n| Entry::new(b'5', format!("{n}")).xattr("user.a", vec![1; 60_000])));
    assert!(bomb(support::zstd(&attributes)).contains("1048576"));
}

fn pull_from(home: &Home, registry: &Registry) -> Result<Image, coracle_image::pull::Error> {
    let retry = Retry { attempts: 2, first_pause: Duration::from_millis(1) };
    let registry_options = Options { credentials: Arc::new(Anonymous), authorities: None, retry, ..Options::default() };
    let options = PullOptions { registry: registry_options, ..PullOptions::default() };
    pull(&home.store, &format!("{}/app:1", registry.host()).parse::<Reference>().unwrap(), &options, &Silent)
}

#[test]
fn a_registry_whose_bodies_never_end_is_given_up() {
    for part in ["/manifests/", "/blobs/"] {
        let ship = Ship::new();
        let sample = Sample::new(3);
        let honest = answers(&[("1", &sample)]);
        let registry = Registry::new(move |request| {
            let answer = honest(request);
            if request.path.contains(part) { answer.flawed(Flaw::Endless) } else { answer }
        });
        let before = ship.outside();
        let text = chain(&pull_from(&ship.home, &registry).unwrap_err());
        assert!(!text.is_empty() && ship.outside() == before);
        assert!(ship.home.store.images().unwrap().is_empty());
    }
}

#[test]
fn a_layer_larger_than_announced_is_refused_by_name() {
    let ship = Ship::new();
    let sample = Sample::new(4);
    let digest = Digest::of(&sample.blobs[0]);
    let (honest, larger) = (answers(&[("1", &sample)]), [&sample.blobs[0][..], b"more"].concat());
    let path = format!("/blobs/{digest}");
    let registry = Registry::new(move |request| match request.path.ends_with(&path) {
        true => Response::new(200, larger.clone()),
        false => honest(request),
    });
    let text = chain(&pull_from(&ship.home, &registry).unwrap_err());
    assert!(text.contains(digest.as_str()), "{text}");
    assert!(ship.home.store.images().unwrap().is_empty());
}

#[test]
fn a_full_disk_leaves_the_store_sound_and_usable() {
    // A mount of its own, which only this thread and those it starts can see.
    let thread = std::thread::spawn(|| {
        use nix::mount::{MsFlags, mount};
        // SAFETY: takes no memory; only this thread and those it starts get another mount namespace.
        assert_eq!(unsafe { libc::unshare(libc::CLONE_NEWNS) }, 0, "this test needs root");
        let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
        mount(None::<&str>, "/", None::<&str>, private, None::<&str>).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let size = |flags, size: &str| {
            mount(Some("tmpfs"), folder.path(), Some("tmpfs"), flags, Some(&*format!("size={size}"))).unwrap();
        };
        size(MsFlags::empty(), "2m");
        let folders = config::Folders::new(Some(folder.path().join("root")), Some(folder.path().join("run")));
        let store = coracle_image::Store::open(&folders).unwrap();
        let load_bytes = |members: &[Member]| {
            let bytes = support::tar(members);
            load(&store, Source::Stream(&mut &*bytes), &Silent)
        };
        let small = Sample::of(&[tar([file("a", "small")])]);
        load_bytes(&small.oci(Some("small"))).unwrap();
        let before = files(folder.path());
        // The archive fits, and with each size another of the layers' files does not.
        for kilobytes in [300, 500, 700, 900, 1500, 3000] {
            let noise = support::noise(kilobytes, kilobytes as usize * 1000);
            let large = Sample::of(&[tar([Entry::file("n", noise)]), tar([file("b", "x")])]);
            if let Err(error) = load_bytes(&large.oci(Some("large"))) {
                let text = chain(&error);
                assert!(text.contains("No space left") || text.contains("disk full"), "{text}");
            } else {
                store.remove("large", &|_| None, false).unwrap();
            }
            assert!(files(folder.path()) == before, "{kilobytes}: {:?}", files(folder.path()).keys());
        }
        let large = Sample::of(&[tar([Entry::file("n", support::noise(9, 1_000_000))])]);
        load_bytes(&large.oci(Some("large"))).unwrap_err();
        size(MsFlags::MS_REMOUNT, "20m");
        load_bytes(&large.oci(Some("large"))).unwrap();
        let images = store.images().unwrap();
        assert_eq!(images.len(), 2);
        for key in images.iter().flat_map(|image| &image.layers) {
            verify(File::open(store.layer(key)).unwrap()).unwrap();
        }
        nix::mount::umount2(folder.path(), nix::mount::MntFlags::MNT_DETACH).unwrap();
    });
    thread.join().unwrap();
}

/// Every file below a folder with its content.
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
            } else {
                let mut content = Vec::new();
                File::open(&path).unwrap().read_to_end(&mut content).unwrap();
                files.insert(path, content);
            }
        }
    }
    files
}

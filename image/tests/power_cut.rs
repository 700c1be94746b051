//! The power goes at any moment: what was committed is there afterwards, and nothing that is half written is taken for
//! whole. On real file systems of the kernel, over a disk that loses what it was not told to keep.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

#[path = "power/disk.rs"]
mod disk;
#[path = "power/mounted.rs"]
mod mounted;
mod support;

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;

use config::Folders;
use coracle_image::load::{Source, load};
use coracle_image::progress::Silent;
use coracle_image::store::{CheckOptions, Kind, PruneOptions};
use coracle_image::{Reference, Store};
use disk::{Disk, Event};
use mounted::Mounted;
use support::{Random, Sample, chain, file, noise, tar, unused};

/// Moments at which the power goes, for each file system.
const CUTS: usize = 110;
/// What a disk writes whole or not at all, in bytes.
const SECTOR: usize = 512;
/// The images there are.
const IMAGES: u64 = 4;
/// Operations that are cut short.
const OPERATIONS: u64 = 40;

fn sample(number: u64) -> Sample {
    let base = tar(&[file("base", noise(1, 50_000))]);
    let own = tar(&[file("own", noise(number + 2, 150_000)), file("small", number.to_string())]);
    Sample::of(&[base, own])
}

fn name(number: u64) -> String {
    format!("app:{number}")
}

fn folders(mount: &Path, run: &Path) -> Folders {
    Folders::new(Some(mount.join("store")), Some(run.to_owned()))
}

fn add(store: &Store, number: u64) {
    let archive = tar(&sample(number).oci(Some(&name(number))));
    load(store, Source::Stream(&mut archive.as_slice()), &Silent).unwrap();
}

/// Works with a store, and tells `mark` before and after all that changes what must be there.
fn work(store: &Store, random: &mut Random, mark: &dyn Fn(String)) {
    for _ in 0..OPERATIONS {
        let number = random.below(IMAGES);
        match random.below(8) {
            0..4 => {
                mark(format!("add {number}"));
                add(store, number);
                mark(format!("added {number}"));
            }
            4..6 => {
                mark(format!("remove {number}"));
                if store.find(&name(number)).unwrap().is_some() {
                    store.remove(&name(number), &|_| None, false).unwrap();
                }
                mark(format!("removed {number}"));
            }
            6 => {
                // A further name, and away with it: what it is a name of stays.
                if store.find(&name(number)).unwrap().is_some() {
                    let other: Reference = format!("other:{number}").parse().unwrap();
                    store.tag(&name(number), &other).unwrap();
                    store.remove(&other.full(), &|_| None, false).unwrap();
                }
            }
            _ => drop(store.prune(&PruneOptions::default(), &unused).unwrap()),
        }
    }
}

/// What must be there after what was marked: true for there, false for not there; nothing is said of what was going on.
fn expected(log: &[Event]) -> BTreeMap<u64, bool> {
    let mut expected = BTreeMap::new();
    for event in log {
        let Event::Mark(text) = event else { continue };
        let (what, number) = text.split_once(' ').unwrap();
        let number = number.parse().unwrap();
        match what {
            "added" => drop(expected.insert(number, true)),
            "removed" => drop(expected.insert(number, false)),
            _ => drop(expected.remove(&number)),
        }
    }
    expected
}

/// The disk as it was at the last flush before the power went, by sectors that were ever written.
#[derive(Default)]
struct Safe {
    sectors: HashMap<usize, Vec<u8>>,
    /// Writes since then, by their places in the log.
    loose: Vec<usize>,
    position: usize,
}

impl Safe {
    /// Goes on to `cut`.
    fn advance(&mut self, log: &[Event], cut: usize) {
        while self.position < cut {
            match &log[self.position] {
                Event::Write { .. } => self.loose.push(self.position),
                Event::Flush => {
                    for place in std::mem::take(&mut self.loose) {
                        write(&mut self.sectors, &log[place], |_| true);
                    }
                }
                Event::Mark(_) => {}
            }
            self.position += 1;
        }
    }

    /// What is on the disk when the power goes now: what is safe, and of the rest whatever chance had written already.
    fn after_cut(&self, log: &[Event], random: &mut Random) -> HashMap<usize, Vec<u8>> {
        let mut sectors = self.sectors.clone();
        for place in &self.loose {
            match random.below(4) {
                0 => {}
                1 => write(&mut sectors, &log[*place], |_| random.below(2) == 0),
                _ => write(&mut sectors, &log[*place], |_| true),
            }
        }
        sectors
    }
}

fn write(sectors: &mut HashMap<usize, Vec<u8>>, event: &Event, mut wanted: impl FnMut(usize) -> bool) {
    let Event::Write { offset, data } = event else { return };
    assert!(offset % SECTOR == 0 && data.len() % SECTOR == 0, "{offset} {}", data.len());
    for (index, sector) in data.chunks(SECTOR).enumerate() {
        if wanted(index) {
            sectors.insert(offset / SECTOR + index, sector.to_vec());
        }
    }
}

/// Has a store worked with on `kind`, and looks at it after the power went at each of many moments.
fn cut_the_power_on(kind: &str, make: &[&str], size: u64, options: &str, seed: u64) {
    mounted::leave_the_mounts_of_others_alone();
    let home = tempfile::tempdir().unwrap();
    let path = |name: &str| home.path().join(name);
    let fresh = path("fresh");
    File::create(&fresh).unwrap().set_len(size).unwrap();
    let made = Command::new(make[0]).args(&make[1..]).arg(&fresh).output();
    let made = made.unwrap_or_else(|error| panic!("{} cannot be run ({error}): scripts/setup installs it", make[0]));
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let content = std::fs::read(&fresh).unwrap();

    let mut random = Random::new(seed);
    let log = {
        let disk = Disk::new(&path("disk"), content.clone());
        let mounted = Mounted::new(&disk.path, kind, &path("mount"), options);
        let store = Store::open(&folders(&mounted.target, &path("run"))).unwrap();
        disk.mark("opened 9".into());
        work(&store, &mut random, &|text| disk.mark(text));
        let log = disk.state.lock().unwrap().log.clone();
        drop(mounted);
        log
    };
    let flushes = log.iter().filter(|event| matches!(event, Event::Flush)).count();
    let writes = log.iter().filter(|event| matches!(event, Event::Write { .. })).count();
    assert!(flushes > 50 && writes > 200, "{flushes} flushes and {writes} writes: the disk was not really used");

    // From the moment on at which there was a store.
    let opened = log.iter().position(|event| matches!(event, Event::Mark(_))).unwrap();
    // Half of them anywhere, half where most is at risk: right before a flush.
    let risky: Vec<usize> = (opened + 1..log.len()).filter(|place| matches!(log[*place], Event::Flush)).collect();
    let mut below = |limit: usize| usize::try_from(random.below(u64::try_from(limit).unwrap())).unwrap();
    let mut cuts: Vec<usize> = (0..CUTS)
        .map(|number| if number % 2 == 0 { opened + 1 + below(log.len() - opened) } else { risky[below(risky.len())] })
        .collect();
    cuts.sort_unstable();
    let mut safe = Safe::default();
    let mut loose = 0;
    for cut in cuts {
        safe.advance(&log, cut);
        loose += safe.loose.len();
        let image = path("image");
        let device = File::create(&image).unwrap();
        std::io::copy(&mut content.as_slice(), &mut SparseWriter::new(&device)).unwrap();
        device.set_len(size).unwrap();
        for (sector, bytes) in safe.after_cut(&log, &mut random) {
            device.write_all_at(bytes.as_slice(), u64::try_from(sector * SECTOR).unwrap()).unwrap();
        }
        drop(device);
        let mounted = Mounted::new(&image, kind, &path("after"), options);
        look(
            &mounted.target,
            &path("run-after"),
            &expected(&log[..cut]),
            &format!("{kind}, cut at {cut}"),
            &mut random,
        );
    }
    assert!(loose > 0, "the power never went while anything was unsafe");
    println!("{kind}: {writes} writes, {flushes} flushes, {CUTS} cuts, {loose} writes at risk");
}

/// Looks at the store as the next command after the power came back would find it, and goes on working with it.
fn look(mount: &Path, run: &Path, expected: &BTreeMap<u64, bool>, when: &str, random: &mut Random) {
    let store = Store::open(&folders(mount, run)).unwrap_or_else(|error| panic!("{when}: {}", chain(&error)));
    let report = store.check(CheckOptions { repair: false, deep: true }, &unused);
    let report = report.unwrap_or_else(|error| panic!("{when}: {}", chain(&error)));
    let damage: Vec<_> = report.problems.iter().filter(|problem| problem.kind == Kind::Damage).collect();
    assert!(damage.is_empty(), "{when}: {damage:#?}");
    for number in 0..IMAGES {
        let there = store.find(&name(number)).unwrap();
        if let Some(expected) = expected.get(&number) {
            assert_eq!(there.is_some(), *expected, "{when}: image {number}");
        }
    }
    let number = random.below(IMAGES);
    add(&store, number);
    assert_eq!(store.find(&name(number)).unwrap().unwrap().id, sample(number).id(), "{when}");
    let repaired = store.check(CheckOptions { repair: true, deep: false }, &unused).unwrap();
    assert!(repaired.is_sound(), "{when}: {:#?}", repaired.problems);
}

/// Leaves out what is zero: a fresh file system is mostly that.
struct SparseWriter<'a> {
    file: &'a File,
    position: u64,
}

impl<'a> SparseWriter<'a> {
    fn new(file: &'a File) -> SparseWriter<'a> {
        SparseWriter { file, position: 0 }
    }
}

impl std::io::Write for SparseWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let part = &bytes[..bytes.len().min(4096)];
        if part.iter().any(|byte| *byte != 0) {
            self.file.write_all_at(part, self.position)?;
        }
        self.position += part.len() as u64;
        Ok(part.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn no_image_is_lost_or_torn_when_the_power_goes_on_ext4() {
    let make = ["mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0,nodiscard"];
    cut_the_power_on("ext4", &make, 64 << 20, "", 1);
}

#[test]
fn no_image_is_lost_or_torn_when_the_power_goes_on_xfs() {
    // As small as mkfs.xfs makes one.
    cut_the_power_on("xfs", &["mkfs.xfs", "-q", "-f", "-K"], 300 << 20, "nouuid", 2);
}

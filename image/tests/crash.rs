//! Processes die at any moment, and several work at once: nothing that was committed is lost, nothing is torn.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use config::Folders;
use coracle_image::load::{Source, load};
use coracle_image::progress::Silent;
use coracle_image::pull::PullOptions;
use coracle_image::store::{CheckOptions, Kind, PruneOptions};
use coracle_image::{Reference, Store, pull};
use support::registry::Registry;
use support::{Random, Sample, file, noise, tar, unused, zstd};

/// How often a process is killed.
const KILLS: u64 = 500;
/// The longest a process lives after it has begun: a few operations.
const LIFE: Duration = Duration::from_millis(60);
/// What tells a process that it is a worker, and what it works on.
const WORKER: &str = "CORACLE_TEST_WORKER";
/// The images there are.
const IMAGES: u64 = 4;

/// They share their lowest layer, and one is compressed otherwise.
fn sample(number: u64) -> Sample {
    let base = tar(&[file("base", noise(1, 20_000))]);
    let own = tar(&[file("own", noise(number + 2, 60_000))]);
    let sample = Sample::of(&[base, own]);
    if number == 0 { sample.compress(zstd, "+zstd") } else { sample }
}

fn nobody(_: &coracle_image::Image) -> Option<String> {
    None
}

/// What a worker is told.
struct Task {
    root: PathBuf,
    registry: String,
    seed: u64,
    /// How many operations; for ever if 0.
    operations: u64,
}

impl Task {
    fn start(&self) -> Child {
        let task = format!("{}\n{}\n{}\n{}", self.root.display(), self.registry, self.seed, self.operations);
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "a_worker_works", "--nocapture", "--test-threads=1"]).env(WORKER, task);
        command.stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn().unwrap()
    }

    fn folders(root: &Path) -> Folders {
        Folders::new(Some(root.join("root")), Some(root.join("run")))
    }
}

/// What the other tests start as processes of their own; by itself it has nothing to do.
#[test]
fn a_worker_works() {
    let Ok(task) = std::env::var(WORKER) else { return };
    let [root, registry, seed, operations] = task.lines().collect::<Vec<_>>()[..] else { panic!("{task}") };
    let (mut random, operations) = (Random::new(seed.parse().unwrap()), operations.parse::<u64>().unwrap());
    let store = Store::open(&Task::folders(Path::new(root))).unwrap();
    let say = |text: &str| {
        // One write each: whoever is killed has said all or nothing of it.
        std::io::stdout().write_all(format!("@{text}\n").as_bytes()).unwrap();
    };
    say("ready");
    let mut done = 0;
    while operations == 0 || done < operations {
        done += 1;
        let number = random.below(IMAGES);
        match random.below(10) {
            0..4 => {
                say(&format!("add {number}"));
                let name: Reference = format!("{registry}/app:{number}").parse().unwrap();
                pull(&store, &name, &PullOptions::default(), &Silent).unwrap();
                say(&format!("added {number}"));
            }
            4..7 => {
                say(&format!("add {number}"));
                let archive = tar(&sample(number).oci(Some(&format!("{registry}/app:{number}"))));
                load(&store, Source::Stream(&mut archive.as_slice()), &Silent).unwrap();
                say(&format!("added {number}"));
            }
            7..9 => {
                say(&format!("remove {number}"));
                match store.remove(&format!("{registry}/app:{number}"), &nobody, false) {
                    Ok(_) | Err(coracle_image::store::Error::NotFound(_)) => {}
                    Err(error) => panic!("{}", support::chain(&error)),
                }
                say(&format!("removed {number}"));
            }
            _ => {
                let all = random.below(2) == 0;
                say(if all { "remove all" } else { "prune" });
                store.prune(&PruneOptions { all, ..PruneOptions::default() }, &unused).unwrap();
                say("pruned");
            }
        }
    }
}

/// Which images must be there after what was said.
fn apply(line: &str, committed: &mut BTreeSet<u64>) {
    match line.split_once(' ').unwrap_or((line, "")) {
        ("added", number) => drop(committed.insert(number.parse().unwrap())),
        ("remove", "all") => committed.clear(),
        ("remove", number) => drop(committed.remove(&number.parse().unwrap())),
        _ => {}
    }
}

/// Whether nothing is torn.
#[track_caller]
fn assert_whole(store: &Store, when: &str) {
    let report = store.check(CheckOptions { repair: false, deep: true }, &unused).unwrap();
    let damage: Vec<_> = report.problems.iter().filter(|problem| problem.kind == Kind::Damage).collect();
    assert!(damage.is_empty(), "{when}: {damage:#?}");
}

#[test]
fn whenever_a_process_is_killed_no_image_is_torn_or_lost() {
    let home = tempfile::tempdir().unwrap();
    let samples: Vec<(String, Sample)> = (0..IMAGES).map(|number| (number.to_string(), sample(number))).collect();
    let registry = Registry::with(&samples.iter().map(|(tag, sample)| (tag.as_str(), sample)).collect::<Vec<_>>());
    let folders = Task::folders(home.path());
    let mut random = Random::new(2026);
    let mut committed = BTreeSet::new();
    let mut interrupted = BTreeSet::new();
    for seed in 0..KILLS {
        let task = Task { root: home.path().to_owned(), registry: registry.host(), seed, operations: 0 };
        let mut worker = task.start();
        let mut said = BufReader::new(worker.stdout.take().unwrap());
        let mut line = String::new();
        while !line.contains("@ready") {
            line.clear();
            assert_ne!(said.read_line(&mut line).unwrap(), 0, "the worker ended by itself");
        }
        // The moment is what is tried out here; nothing waits for anything.
        thread::sleep(LIFE * u32::try_from(random.below(10_000)).unwrap() / 10_000);
        worker.kill().unwrap();
        assert!(worker.wait().unwrap().code().is_none(), "the worker failed by itself");
        let mut rest = String::new();
        said.read_to_string(&mut rest).unwrap();
        let said: Vec<&str> = rest.lines().filter_map(|line| line.strip_prefix('@')).collect();
        said.iter().for_each(|line| apply(line, &mut committed));
        interrupted.extend(said.last().and_then(|line| line.split(' ').next()).map(str::to_owned));

        let when = format!("kill {seed} after {said:?}");
        let store = Store::open(&folders).unwrap();
        assert_whole(&store, &when);
        for number in &committed {
            let found = store.find(&format!("{}/app:{number}", registry.host())).unwrap();
            assert_eq!(found.map(|image| image.id), Some(sample(*number).id()), "{when}: image {number} is lost");
        }
        let again = random.below(IMAGES);
        let name: Reference = format!("{}/app:{again}", registry.host()).parse().unwrap();
        let image = pull(&store, &name, &PullOptions::default(), &Silent).unwrap();
        assert_eq!(image.id, sample(again).id(), "{when}");
        committed.insert(again);
    }
    for operation in ["add", "remove", "prune"] {
        assert!(interrupted.contains(operation), "no process was killed in {operation}: {interrupted:?}");
    }
    // Nothing but what images need is left after cleaning up.
    let store = Store::open(&folders).unwrap();
    store.prune(&PruneOptions { all: true, ..PruneOptions::default() }, &unused).unwrap();
    store.prune_partials().unwrap();
    let usage = store.usage().unwrap();
    assert_eq!((usage.bytes, usage.partial, usage.temporary), (0, 0, 0));
}

#[test]
fn several_processes_at_once_leave_the_store_sound() {
    let home = tempfile::tempdir().unwrap();
    let samples: Vec<(String, Sample)> = (0..IMAGES).map(|number| (number.to_string(), sample(number))).collect();
    let registry = Registry::with(&samples.iter().map(|(tag, sample)| (tag.as_str(), sample)).collect::<Vec<_>>());
    let task = |seed| Task { root: home.path().to_owned(), registry: registry.host(), seed, operations: 60 };
    let workers: Vec<Child> = (0..4).map(|seed| task(9000 + seed).start()).collect();
    let store = Store::open(&Task::folders(home.path())).unwrap();
    // Looking while they work finds nothing wrong either.
    for round in 0..10 {
        assert_whole(&store, &format!("while they work, round {round}"));
        store.usage().unwrap();
        store.images().unwrap();
    }
    for worker in workers {
        let output = worker.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    }
    assert_whole(&store, "at the end");
    store.prune(&PruneOptions { all: true, ..PruneOptions::default() }, &unused).unwrap();
    store.prune_partials().unwrap();
    assert_eq!(store.usage().unwrap().bytes, 0);
}

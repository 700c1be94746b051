//! The targets of `fuzz/` for a moment, with a mutator that always does the same: what a long run would find in its first
//! seconds is found on every machine.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs, unreachable_pub)]

#[path = "../../fuzz/src/targets.rs"]
mod targets;

use std::panic::{AssertUnwindSafe, catch_unwind};

/// How many inputs each target gets, unless CORACLE_FUZZ_RUNS says more.
const RUNS: u64 = 3000;
/// Longest input.
const MAX: usize = 64 << 10;

/// Numbers that look like chance (xorshift64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % end.max(1)
    }
}

/// Changes an input in one of the ways that have found most elsewhere.
fn mutate(input: &mut Vec<u8>, other: &[u8], dice: &mut Dice) {
    let at = dice.below(input.len() + 1);
    let longest = 1 << dice.below(10);
    let length = dice.below(longest);
    let piece = |from: &[u8], dice: &mut Dice| {
        let start = dice.below(from.len());
        from[start..(start + length).min(from.len())].to_vec()
    };
    match dice.below(8) {
        0 | 1 => input.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 1 << dice.below(8)),
        2 => {
            let byte = [0, 1, 0x7f, 0x80, 0xff, b'0', b'7', b'9', b'/', b'.', b'\n', b'='][dice.below(12)];
            input.iter_mut().skip(at).take(1 + length % 12).for_each(|place| *place = byte);
        }
        3 => input.iter_mut().skip(at).take(1).for_each(|byte| *byte = dice.below(256) as u8),
        4 => drop(input.drain(at..(at + length).min(input.len()))),
        5 => {
            let own = piece(&input.clone(), dice);
            input.splice(at..at, own);
        }
        6 => {
            let piece = piece(other, dice);
            let end = (at + piece.len()).min(input.len());
            input.splice(at..end, piece);
        }
        _ => input.truncate(at),
    }
    input.truncate(MAX);
}

fn smoke(name: &str) {
    let target = targets::ALL.into_iter().find(|target| target.name == name).unwrap();
    let mut corpus = (target.seeds)();
    for seed in &corpus {
        (target.run)(seed);
    }
    let runs = std::env::var("CORACLE_FUZZ_RUNS").map_or(RUNS, |runs| runs.parse().unwrap());
    for run in 0..runs {
        let mut dice = Dice((run + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let mut input = corpus[dice.below(corpus.len())].clone();
        for _ in 0..1 + dice.below(6) {
            let other = corpus[dice.below(corpus.len())].clone();
            mutate(&mut input, &other, &mut dice);
        }
        let result = catch_unwind(AssertUnwindSafe(|| (target.run)(&input)));
        assert!(result.is_ok(), "run {run} of {name}: {}", input.escape_ascii());
        // Some are gone on with, so that changes add up.
        if dice.below(50) == 0 && !input.is_empty() {
            let place = dice.below(64);
            if place < corpus.len() && place >= (target.seeds)().len() {
                corpus[place] = input;
            } else if corpus.len() < 64 {
                corpus.push(input);
            }
        }
    }
}

macro_rules! targets {
    ($($test:ident $name:literal)*) => {
        $(#[test]
        fn $test() {
            smoke($name);
        })*

        #[test]
        fn every_target_is_run_here() {
            assert_eq!(targets::ALL.map(|target| target.name), [$($name),*]);
        }
    };
}

targets! {
    no_name_is_misunderstood "name"
    no_manifest_does_harm "manifest"
    no_tar_does_harm "tar"
    no_compressed_data_does_harm "compression"
    no_tree_is_written_wrong "tree"
    no_image_makes_its_reader_fall "erofs"
}

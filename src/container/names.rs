//! Container names: what is allowed, and what a container is called when nobody named it.

use anyhow::{Result, ensure};

/// Longest name: it also becomes a file name and the host name's source.
const MAX: usize = 128;

const ADJECTIVES: [&str; 48] = [
    "able", "amber", "ample", "bold", "brave", "breezy", "bright", "brisk", "calm", "clear", "clever", "coastal",
    "crisp", "curious", "deft", "eager", "early", "fair", "fleet", "gentle", "glad", "golden", "hardy", "honest",
    "jolly", "keen", "kind", "light", "lively", "loyal", "lucid", "lucky", "merry", "mild", "neat", "nimble",
    "patient", "quick", "quiet", "ready", "sandy", "silver", "snug", "steady", "swift", "tidal", "warm", "wise",
];
const NOUNS: [&str; 48] = [
    "anchor", "bay", "beacon", "boat", "bow", "brook", "buoy", "canoe", "cape", "cove", "creek", "current", "deck",
    "delta", "dinghy", "ebb", "estuary", "ferry", "fjord", "harbour", "haven", "heron", "hull", "inlet", "island",
    "keel", "kelp", "lagoon", "lake", "mast", "mooring", "oar", "osprey", "otter", "paddle", "pebble", "petrel",
    "pier", "pilot", "reed", "reef", "river", "rudder", "sail", "shore", "skiff", "tern", "tide",
];

/// The name that `random` stands for; from the second `attempt` on with a number, so that it ends.
pub(crate) fn generate(random: u64, attempt: u32) -> String {
    let pick = |words: &[&'static str], random: u64| words.get((random % words.len() as u64) as usize).copied();
    let adjective = pick(&ADJECTIVES, random).unwrap_or_default();
    let noun = pick(&NOUNS, random >> 32).unwrap_or_default();
    match attempt {
        0 => format!("{adjective}_{noun}"),
        _ => format!("{adjective}_{noun}{}", (random >> 16 & 0xffff).wrapping_add(attempt.into())),
    }
}

/// Refuses what Docker refuses: anything but `[a-zA-Z0-9][a-zA-Z0-9_.-]+`.
pub(crate) fn check(name: &str) -> Result<()> {
    let mut bytes = name.bytes();
    let first = bytes.next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    let rest = bytes.all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte));
    ensure!(
        first && rest && (2..=MAX).contains(&name.len()),
        "{name:?} is not a container name: write 2 to {MAX} letters, digits, _ . or -, the first a letter or a digit"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generated_names_are_names() {
        for random in [0, 1, u64::MAX, 0x0123_4567_89ab_cdef] {
            for attempt in 0..3 {
                check(&generate(random, attempt)).unwrap();
            }
        }
        assert_ne!(generate(7, 1), generate(7, 2));
    }

    #[test]
    fn names_are_checked_as_docker_checks_them() {
        for name in ["web", "web-1", "0x", "a.b_c-d"] {
            check(name).unwrap();
        }
        for name in ["", "a", ".hidden", "-x", "a/b", "a b", "ä1", "../..", &"a".repeat(129)] {
            assert!(check(name).is_err(), "{name:?} was taken for a name");
        }
    }
}

//! The right image of an index is chosen, and never another architecture.

use super::*;
use crate::Digest;

fn entry(platform: &str) -> Descriptor {
    let mut descriptor = Descriptor::new("m", Digest::of(platform.as_bytes()), 1);
    descriptor.platform = (!platform.is_empty()).then(|| platform.parse().unwrap());
    descriptor
}

#[track_caller]
fn chosen(entries: &[&str], wanted: &str) -> Option<String> {
    let entries: Vec<Descriptor> = entries.iter().map(|platform| entry(platform)).collect();
    choose(&entries, &wanted.parse().unwrap()).map(|e| e.platform.as_ref().map_or("?".into(), Platform::to_string))
}

#[test]
fn the_wanted_architecture_is_found_among_many() {
    let entries = ["linux/arm64/v8", "linux/386", "linux/amd64", "unknown/unknown", "windows/amd64"];
    assert_eq!(chosen(&entries, "linux/amd64").as_deref(), Some("linux/amd64"));
    assert_eq!(chosen(&entries, "linux/arm64").as_deref(), Some("linux/arm64/v8"));
}

#[test]
fn a_newer_variant_is_not_taken_unasked() {
    assert_eq!(chosen(&["linux/amd64/v3", "linux/amd64"], "linux/amd64").as_deref(), Some("linux/amd64"));
    assert_eq!(chosen(&["linux/amd64/v3"], "linux/amd64"), None);
    assert_eq!(chosen(&["linux/amd64", "linux/amd64/v3"], "linux/amd64/v3").as_deref(), Some("linux/amd64/v3"));
    assert_eq!(
        chosen(&["linux/arm/v5", "linux/arm/v7", "linux/arm/v6"], "linux/arm/v6").as_deref(),
        Some("linux/arm/v6")
    );
}

#[test]
fn no_other_architecture_is_taken_in_silence() {
    assert_eq!(chosen(&["linux/arm64", "unknown/unknown"], "linux/amd64"), None);
    assert_eq!(chosen(&["windows/amd64"], "linux/amd64"), None);
}

#[test]
fn an_entry_without_a_platform_is_the_last_resort() {
    assert_eq!(chosen(&["", "linux/amd64"], "linux/amd64").as_deref(), Some("linux/amd64"));
    assert_eq!(chosen(&["linux/arm64", ""], "linux/amd64").as_deref(), Some("?"));
}

#[test]
fn platforms_parse_as_people_write_them() {
    assert_eq!("linux/arm64/v8".parse::<Platform>().unwrap().to_string(), "linux/arm64/v8");
    assert_eq!("linux/x86_64".parse::<Platform>().unwrap().to_string(), "linux/amd64");
    for text in ["", "linux", "linux/", "linux/a/b/c", "linux/a b"] {
        assert!(text.parse::<Platform>().is_err(), "{text:?} was taken for a platform");
    }
}

#[test]
fn what_is_offered_is_named_without_attestations() {
    let entries: Vec<Descriptor> = ["linux/arm64", "unknown/unknown", "linux/s390x"].map(entry).into();
    assert_eq!(offered(&entries), "linux/arm64, linux/s390x");
}

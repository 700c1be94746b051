//! Containers are picked as Docker picks them.

use std::path::PathBuf;
use std::time::Duration;

use config::wire::Process;

use super::*;
use crate::container::record::{Record, State};
use crate::container::volume::Volume;

fn container() -> Container {
    let record = Record {
        id: "ab".repeat(32),
        name: "web-1".into(),
        image: "shop:2".into(),
        image_id: "sha256:1".into(),
        layers: vec!["sha256:a".into(), "sha256:b".into()],
        created: SystemTime::UNIX_EPOCH + Duration::from_secs(100),
        hostname: "boat".into(),
        process: Process::default(),
        stdin_once: false,
        volumes: vec![Volume {
            name: Some("kept".into()),
            source: PathBuf::from("/v/kept/_data"),
            target: "/data".into(),
            read_only: false,
        }],
        memory: 0,
        vcpus: 1,
        kernel: None,
        stop_signal: 15,
        remove: false,
        labels: [("tier".to_owned(), "front".to_owned())].into(),
        entrypoint: 0,
        log: Default::default(),
    };
    Container { record, state: State::running(1).exited(3, String::new()) }
}

fn fits(filter: &Filter) -> bool {
    filter.fits(&container())
}

#[test]
fn names_fit_in_part() {
    for pattern in ["web", "b-", "^web", "1$", "^web-1$", "/web", "^/web-1$", ""] {
        assert!(fits_name(pattern, "web-1"), "{pattern}");
    }
    for pattern in ["^eb", "web$", "^web$", "/eb", "Web"] {
        assert!(!fits_name(pattern, "web-1"), "{pattern}");
    }
}

#[test]
fn of_several_values_of_one_key_one_must_fit() {
    assert!(fits(&Filter { names: vec!["db".into(), "web".into()], ..Filter::default() }));
    assert!(!fits(&Filter { names: vec!["web".into()], ids: vec!["cd".into()], ..Filter::default() }));
    assert!(fits(&Filter { states: vec!["running".into(), "exited".into()], ..Filter::default() }));
    assert!(!fits(&Filter { states: vec!["created".into()], ..Filter::default() }));
    let label = |text: &str| Label::parse(text);
    assert!(fits(&Filter { labels: vec![label("tier"), label("tier=front")], ..Filter::default() }));
    assert!(!fits(&Filter { labels: vec![label("tier"), label("tier=back")], ..Filter::default() }));
}

#[test]
fn an_exit_code_is_that_of_a_process_that_ran() {
    let filter = Filter { codes: vec![0, 3], ..Filter::default() };
    let mut container = container();
    assert!(filter.fits(&container));
    for state in [State::running(1), State::created(), State::created().exited(3, "never ran".into())] {
        container.state = state;
        assert!(!filter.fits(&container));
    }
}

#[test]
fn an_ancestor_is_the_image_or_one_it_is_made_from() {
    let of = |name: &str, image: Option<(&str, &[&str])>| {
        let image = image.map(|(id, layers)| (id.to_owned(), layers.iter().map(|&layer| layer.to_owned()).collect()));
        fits(&Filter { ancestors: vec![Ancestor { name: name.into(), image }], ..Filter::default() })
    };
    assert!(of("shop:2", None));
    assert!(!of("shop", None));
    assert!(of("shop", Some(("sha256:1", &[]))));
    assert!(of("base", Some(("sha256:0", &["sha256:a"]))));
    assert!(!of("other", Some(("sha256:0", &["sha256:b"]))));
    assert!(!of("empty", Some(("sha256:0", &[]))));
}

#[test]
fn volumes_go_by_name_source_and_target() {
    for volume in ["kept", "/v/kept/_data", "/data"] {
        assert!(fits(&Filter { volumes: vec![volume.into()], ..Filter::default() }), "{volume}");
    }
    assert!(!fits(&Filter { volumes: vec!["/v".into()], ..Filter::default() }));
}

#[test]
fn containers_are_older_or_younger_than_others() {
    let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    assert!(fits(&Filter { before: vec![at(101)], since: vec![at(99)], ..Filter::default() }));
    assert!(!fits(&Filter { before: vec![at(100)], ..Filter::default() }));
    assert!(!fits(&Filter { since: vec![at(100)], ..Filter::default() }));
}

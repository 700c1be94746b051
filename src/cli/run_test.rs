//! The arguments of `run`, and what is refused before anything is made.

use clap::Parser;

use super::*;

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    arguments: Arguments,
}

fn parse(line: &[&str]) -> Arguments {
    Line::try_parse_from([&["run"], line].concat()).unwrap().arguments
}

#[test]
fn flags_after_the_image_belong_to_the_command() {
    let arguments = parse(&["--rm", "-it", "busybox", "-e", "ls", "-la", "--rm", "--", "--name"]);
    let flags = arguments.container;
    assert!(flags.rm && flags.interactive && flags.tty);
    assert_eq!(flags.words, ["busybox", "-e", "ls", "-la", "--rm", "--", "--name"]);
    assert!(flags.env.is_empty());
}

#[test]
fn flags_are_dockers() {
    let line = "-d -m 1g --cpus 2 -e A=1 --env B -w /tmp -u 1:2 -v /a:/b --volume c:/d:ro --name web --hostname boat x";
    let arguments = parse(&line.split(' ').collect::<Vec<_>>());
    assert!(arguments.detach);
    let flags = arguments.container;
    assert_eq!(flags.env, ["A=1", "B"]);
    assert_eq!(flags.volume, ["/a:/b", "c:/d:ro"]);
    assert_eq!(flags.user.as_deref(), Some("1:2"));
    assert_eq!(flags.words, ["x"]);
}

#[test]
fn an_image_is_needed() {
    assert!(Line::try_parse_from(["run", "--rm"]).is_err());
    assert!(Line::try_parse_from(["run", "--bogus", "busybox"]).is_err());
}

#[test]
fn too_little_memory_is_refused_with_the_least_there_can_be() {
    assert_eq!(memory("256m").unwrap(), 256 << 20);
    let error = memory("4m").unwrap_err().to_string();
    assert!(error.contains(&format!("-m {}m", LEAST_MEMORY >> 20)), "{error}");
    assert!(memory("lots").is_err());
}

#[test]
fn processors_are_whole() {
    for (text, number) in [("1", 1), ("2", 2), ("0.5", 1), ("1.5", 2), ("64", 64)] {
        assert_eq!(processors(text).unwrap(), number, "{text}");
    }
    for text in ["0", "-1", "65", "NaN", "inf", "two", ""] {
        assert!(processors(text).is_err(), "{text:?}");
    }
}

#[test]
fn a_label_without_a_value_has_an_empty_one() {
    let read = labels(&["a=1=2".into(), "b".into(), "a=3".into()]).unwrap();
    assert_eq!(read, [("a".into(), "3".into()), ("b".into(), String::new())].into());
    assert!(labels(&["=x".into()]).is_err());
}

#[test]
fn the_log_is_as_long_as_was_asked_for() {
    assert_eq!(log_limits(&[]).unwrap(), Limits { size: 10_000_000, files: 3 });
    let limits = log_limits(&["max-size=1m".into(), "max-file=2".into()]).unwrap();
    assert_eq!(limits, Limits { size: 1 << 20, files: 2 });
    for text in ["max-size=lots", "max-size=0", "max-file=0", "max-file=-1", "compress=true", "max-size"] {
        assert!(log_limits(&[text.into()]).is_err(), "{text}");
    }
}

//! `-v` in all its spellings.

use super::*;

fn parse(text: &str) -> (Source, String, bool) {
    let Request { source, target, read_only } = Request::parse(text).unwrap();
    (source, target, read_only)
}

#[test]
fn a_source_is_a_path_or_a_name() {
    assert_eq!(parse("/srv/data:/data"), (Source::Path("/srv/data".into()), "/data".into(), false));
    assert_eq!(parse("./here:/data:ro"), (Source::Path("./here".into()), "/data".into(), true));
    assert_eq!(parse(".:/data:rw"), (Source::Path(".".into()), "/data".into(), false));
    assert_eq!(parse("cache:/var/cache"), (Source::Name("cache".into()), "/var/cache".into(), false));
}

#[test]
fn a_target_alone_is_a_new_volume() {
    assert_eq!(parse("/data/"), (Source::New, "/data".into(), false));
}

#[test]
fn mounts_are_read_in_dockers_words() {
    let parse = |text: &str| {
        let Request { source, target, read_only } = Request::parse_mount(text).unwrap();
        (source, target, read_only)
    };
    assert_eq!(parse("type=bind,source=/srv,target=/data"), (Source::Path("/srv".into()), "/data".into(), false));
    assert_eq!(parse("dst=/data,src=./x,type=bind,readonly"), (Source::Path("./x".into()), "/data".into(), true));
    assert_eq!(parse("source=kept,destination=/d,ro=false"), (Source::Name("kept".into()), "/d".into(), false));
    assert_eq!(parse("type=volume,dst=/d,ro=true"), (Source::New, "/d".into(), true));
    for text in [
        "",
        "type=bind,source=/srv",
        "type=bind,target=/d",
        "type=bind,source=srv,target=/d",
        "type=volume,source=/srv,target=/d",
        "type=tmpfs,target=/d",
        "type=npipe,target=/d",
        "target=d",
        "target=/d,readonly=maybe",
        "target=/d,colour=red",
    ] {
        let error = Request::parse_mount(text).unwrap_err().to_string();
        assert!(error.contains(&format!("{text:?}")), "{error}");
    }
}

#[test]
fn targets_are_cleaned() {
    assert_eq!(parse("v1://a/./b/").1, "/a/b");
}

#[test]
fn what_is_no_volume_is_refused() {
    for text in
        ["", "a", "/", "/a:", "/a:b", "/a:/", "/a:/b/../c", "a/b:/c", "/a:/b:ro:x", "/a:/b:maybe", ":/b", "x:/b"]
    {
        assert!(Request::parse(text).is_err(), "{text:?} was taken for a volume");
    }
}

#[test]
fn an_absent_source_is_named_and_not_made() {
    let folder = tempfile::tempdir().unwrap();
    let folders = Folders::new(Some(folder.path().join("root")), Some(folder.path().join("run")));
    let absent = folder.path().join("absent");
    let error = Request::parse(&format!("{}:/x", absent.display())).unwrap().resolve(&folders).unwrap_err();
    assert!(error.to_string().contains("absent"), "{error}");
    assert!(!absent.exists());
}

#[test]
fn a_named_volume_is_made_once() {
    let folder = tempfile::tempdir().unwrap();
    let folders = Folders::new(Some(folder.path().join("root")), Some(folder.path().join("run")));
    let make = || Request::parse("cache:/x").unwrap().resolve(&folders).unwrap();
    let volume = make();
    assert_eq!(volume.name.as_deref(), Some("cache"));
    fs::write(volume.source.join("kept"), "").unwrap();
    assert!(make().source.join("kept").exists());
}

use super::*;
use crate::testing::{folder, with_own_mounts};
use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use tempfile::TempDir;

fn volume(source: &str, target: &str, read_only: bool) -> Mount {
    Mount { source: source.into(), target: target.into(), read_only }
}

/// A shared folder and a container's root beside it.
fn folders() -> TempDir {
    let top = TempDir::new_in("/dev/shm").unwrap();
    fs::create_dir_all(top.path().join("shares/data")).unwrap();
    fs::create_dir(top.path().join("root")).unwrap();
    fs::write(top.path().join("shares/data/content"), "of the volume").unwrap();
    fs::write(top.path().join("shares/file"), "of the host").unwrap();
    top
}

/// Mounts `mounts` into the root, and says how many can be written to.
fn mount_all(top: &Path, mounts: &[Mount]) -> Result<usize, Error> {
    let mut written = Written::default();
    let volumes = take_from(top.join("shares").to_str().unwrap(), mounts)?;
    attach(&folder(&top.join("root")), volumes, &mut written)?;
    Ok(written.count())
}

#[test]
fn folders_and_files_appear_at_their_places() {
    let top = folders();
    with_own_mounts(|| {
        let mounts = [volume("data", "/srv/data", false), volume("file", "/srv/data/file", false)];
        assert_eq!(mount_all(top.path(), &mounts).unwrap(), 1);
        assert_eq!(fs::read_to_string(top.path().join("root/srv/data/content")).unwrap(), "of the volume");
        assert_eq!(fs::read_to_string(top.path().join("root/srv/data/file")).unwrap(), "of the host");
        fs::write(top.path().join("root/srv/data/new"), "written").unwrap();
        assert_eq!(fs::read_to_string(top.path().join("shares/data/new")).unwrap(), "written");
    });
    assert!(fs::read_dir(top.path().join("root/srv/data")).unwrap().next().is_none());
}

#[test]
fn a_read_only_volume_cannot_be_written_to() {
    let top = folders();
    with_own_mounts(|| {
        assert_eq!(mount_all(top.path(), &[volume("data", "/data", true)]).unwrap(), 0);
        let error = fs::write(top.path().join("root/data/new"), "").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ReadOnlyFilesystem);
    });
}

#[test]
fn a_source_that_is_no_plain_name_is_refused() {
    let top = folders();
    for source in ["", ".", "..", "a/b", "../root"] {
        let refused = take_from(top.path().to_str().unwrap(), &[volume(source, "/data", false)]);
        assert!(matches!(refused, Err(Error::Name(_))), "{source}");
    }
}

#[test]
fn a_volume_that_is_not_there_is_named() {
    let top = folders();
    let error = take_from(top.path().to_str().unwrap(), &[volume("none", "/data", false)]).unwrap_err();
    assert_eq!(error.to_string(), "Take the volume for \"/data\"");
}

#[test]
fn without_volumes_nothing_is_mounted() {
    let mut written = Written::default();
    assert!(take(&[], &mut written).unwrap().is_empty());
    assert_eq!(written.count(), 0);
}

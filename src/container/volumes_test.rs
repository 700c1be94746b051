//! Volumes are there from when they are made until they are removed.

use super::*;
use crate::container::volume::Request;

struct Host {
    _folder: tempfile::TempDir,
    folders: Folders,
}

fn host() -> Host {
    let folder = tempfile::tempdir().unwrap();
    let folders = Folders::new(Some(folder.path().join("root")), Some(folder.path().join("run")));
    Host { _folder: folder, folders }
}

fn labels(key: &str, value: &str) -> BTreeMap<String, String> {
    [(key.to_owned(), value.to_owned())].into()
}

#[test]
fn a_volume_is_made_once_and_keeps_its_labels() {
    let host = host();
    let made = create(&host.folders, Some("kept"), labels("a", "b")).unwrap();
    fs::write(made.data.join("file"), "x").unwrap();
    let again = create(&host.folders, Some("kept"), labels("a", "c")).unwrap();
    assert_eq!((again.labels, again.created), (labels("a", "b"), made.created));
    assert!(made.data.join("file").exists());
    assert!(create(&host.folders, Some("../x"), BTreeMap::new()).is_err());
}

#[test]
fn a_volume_that_nobody_named_is_marked_as_such() {
    let host = host();
    let made = create(&host.folders, None, BTreeMap::new()).unwrap();
    assert_eq!(made.name.len(), id::LENGTH);
    assert!(find(&host.folders, &made.name).unwrap().labels.contains_key(ANONYMOUS));
}

#[test]
fn a_volume_that_a_container_made_has_no_labels() {
    let host = host();
    let volume = Request::parse("cache:/data").unwrap().resolve(&host.folders).unwrap();
    let found = find(&host.folders, "cache").unwrap();
    assert_eq!((found.data, found.labels), (volume.source, BTreeMap::new()));
    assert_eq!(all(&host.folders).unwrap().len(), 1);
}

#[test]
fn a_volume_with_a_broken_note_is_still_one() {
    let host = host();
    let made = create(&host.folders, Some("kept"), labels("a", "b")).unwrap();
    fs::write(made.data.parent().unwrap().join(NOTE), "{").unwrap();
    assert_eq!(find(&host.folders, "kept").unwrap().labels, BTreeMap::new());
}

#[test]
fn a_removed_volume_is_gone_with_all_that_was_left_of_others() {
    let host = host();
    create(&host.folders, Some("one"), BTreeMap::new()).unwrap();
    fs::create_dir_all(host.folders.volumes().join(".gone-other/_data")).unwrap();
    assert_eq!(all(&host.folders).unwrap().len(), 1);
    remove(&host.folders, "one").unwrap();
    assert_eq!(fs::read_dir(host.folders.volumes()).unwrap().count(), 0);
    let error = remove(&host.folders, "one").unwrap_err().to_string();
    assert_eq!(error, "No such volume: one");
    assert!(remove(&host.folders, ".gone-x").is_err());
}

#[test]
fn nothing_is_removed_while_somebody_holds_the_volumes() {
    let host = host();
    create(&host.folders, Some("one"), BTreeMap::new()).unwrap();
    let hold = Hold::take(&host.folders).unwrap();
    assert!(open(&host.folders).unwrap().try_lock().is_err());
    Hold::take(&host.folders).unwrap();
    drop(hold);
    remove(&host.folders, "one").unwrap();
}

#[test]
fn of_a_containers_volumes_those_go_with_it_that_nobody_named() {
    let host = host();
    let resolve = |text: &str| Request::parse(text).unwrap().resolve(&host.folders).unwrap();
    remove_anonymous(&host.folders, &[resolve("/a"), resolve("kept:/b"), resolve("/c")]).unwrap();
    let left: Vec<String> = all(&host.folders).unwrap().into_iter().map(|volume| volume.name).collect();
    assert_eq!(left, ["kept"]);
}

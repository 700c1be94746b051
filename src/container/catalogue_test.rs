//! Containers are found by what people call them, and what is dead is not shown as alive.

use std::time::SystemTime;

use config::wire::Process;

use super::*;

struct Host {
    _folder: tempfile::TempDir,
    folders: Folders,
}

fn host() -> Host {
    let folder = tempfile::tempdir().unwrap();
    let folders = Folders::new(Some(folder.path().join("root")), Some(folder.path().join("run")));
    Host { _folder: folder, folders }
}

/// Makes a container that has not been started; it lives as long as the lock.
fn create(folders: &Folders, name: Option<&str>, remove: bool) -> (Record, Lock) {
    let reservation = Reservation::make(folders, name).unwrap();
    let record = Record {
        id: reservation.id.clone(),
        name: reservation.name.clone(),
        image: "busybox".into(),
        image_id: "sha256:0".into(),
        layers: Vec::new(),
        created: SystemTime::now(),
        hostname: "boat".into(),
        process: Process::default(),
        stdin_once: false,
        volumes: Vec::new(),
        memory: 1 << 28,
        vcpus: 1,
        kernel: None,
        stop_signal: 15,
        remove,
        labels: Default::default(),
        entrypoint: 0,
        log: Default::default(),
    };
    let lock = reservation.record(&record).unwrap();
    (record, lock)
}

#[test]
fn a_container_is_found_by_name_id_and_beginning_of_the_id() {
    let host = host();
    let (record, _lock) = create(&host.folders, Some("web"), false);
    for text in ["web", &record.id, id::short(&record.id), &record.id[..1]] {
        assert_eq!(find(&host.folders, text).unwrap().record.id, record.id, "{text}");
    }
    for text in ["we", "webs", "", "../web", "zz"] {
        assert!(find(&host.folders, text).is_err(), "{text:?}");
    }
}

#[test]
fn a_beginning_that_is_anothers_too_is_refused() {
    let host = host();
    let containers: Vec<_> = (0..17).map(|_| create(&host.folders, None, false)).collect();
    let mut first: Vec<char> = containers.iter().filter_map(|(record, _)| record.id.chars().next()).collect();
    first.sort_unstable();
    let twice = first.windows(2).find(|pair| pair[0] == pair[1]).unwrap()[0];
    let error = find(&host.folders, &twice.to_string()).unwrap_err();
    assert!(error.to_string().starts_with("More than one"), "{error}");
    assert_eq!(all(&host.folders).unwrap().len(), 17);
}

#[test]
fn a_name_is_given_once_until_its_container_is_removed() {
    let host = host();
    let (record, lock) = create(&host.folders, Some("web"), false);
    let error = Reservation::make(&host.folders, Some("web")).err().unwrap();
    assert!(error.to_string().contains("taken"), "{error}");
    assert!(remove(&host.folders, &record).is_err());
    drop(lock);
    remove(&host.folders, &record).unwrap();
    assert!(!folder(&host.folders, &record.id).exists());
    assert!(!host.folders.container_run(&record.id).exists());
    create(&host.folders, Some("web"), false);
}

#[test]
fn a_reservation_that_comes_to_nothing_leaves_nothing() {
    let host = host();
    let reservation = Reservation::make(&host.folders, Some("web")).unwrap();
    let run = host.folders.container_run(&reservation.id);
    assert!(run.exists());
    drop(reservation);
    assert!(!run.exists());
    assert!(owner(&host.folders, "web").is_none());
}

#[test]
fn a_container_whose_monitor_died_is_shown_as_ended() {
    let host = host();
    let (record, lock) = create(&host.folders, Some("web"), false);
    let path = folder(&host.folders, &record.id);
    record.write_state(&path, &State::running(1)).unwrap();
    assert_eq!(find(&host.folders, "web").unwrap().state.status, Status::Running);
    fs::write(messages(&host.folders, &record.id), "one\nlast words\n").unwrap();
    drop(lock);
    let state = find(&host.folders, "web").unwrap().state;
    assert_eq!((state.status, state.exit_code), (Status::Exited, KILLED));
    assert!(state.error.contains("last words"), "{}", state.error);
    assert!(!host.folders.container_run(&record.id).exists());
}

#[test]
fn a_container_that_was_to_be_removed_is_gone_when_its_monitor_died() {
    let host = host();
    let (record, lock) = create(&host.folders, Some("web"), true);
    record.write_state(&folder(&host.folders, &record.id), &State::running(1)).unwrap();
    drop(lock);
    assert!(all(&host.folders).unwrap().is_empty());
    assert!(!folder(&host.folders, &record.id).exists());
    create(&host.folders, Some("web"), true);
}

#[test]
fn a_container_that_was_never_completed_is_swept() {
    let host = host();
    let (record, lock) = create(&host.folders, Some("web"), false);
    let path = folder(&host.folders, &record.id);
    fs::remove_file(path.join(record::SPEC)).unwrap();
    assert!(all(&host.folders).unwrap().is_empty());
    assert!(path.exists(), "somebody may still be making it");
    drop(lock);
    assert!(all(&host.folders).unwrap().is_empty());
    assert!(!path.exists());
    create(&host.folders, Some("web"), false);
}

/// A container that was made by `create`: the record of nobody's.
fn create_and_rest(folders: &Folders, name: &str, remove: bool) -> Record {
    let (record, lock) = create(folders, Some(name), remove);
    record.write_state(&folder(folders, &record.id), &State::created()).unwrap();
    rest(folders, &record.id, lock);
    record
}

#[test]
fn a_container_that_was_made_and_not_started_stays() {
    let host = host();
    for (name, remove) in [("kept", false), ("passing", true)] {
        let record = create_and_rest(&host.folders, name, remove);
        assert_eq!(find(&host.folders, name).unwrap().state.status, Status::Created);
        assert!(!host.folders.container_run(&record.id).exists());
        super::remove(&host.folders, &record).unwrap();
        assert!(look(&host.folders, name).unwrap().is_none());
    }
}

#[test]
fn a_container_is_found_by_its_new_name_only() {
    let host = host();
    let record = create_and_rest(&host.folders, "old", false);
    rename(&host.folders, &record, "new").unwrap();
    assert_eq!(find(&host.folders, "new").unwrap().record.id, record.id);
    assert!(look(&host.folders, "old").unwrap().is_none());
    let other = create_and_rest(&host.folders, "old", false);
    let error = rename(&host.folders, &other, "new").unwrap_err().to_string();
    assert!(error.contains("taken"), "{error}");
    assert!(rename(&host.folders, &other, "old").is_err());
    assert!(rename(&host.folders, &other, "a/b").is_err());
    // By what it was called when it was looked up.
    super::remove(&host.folders, &record).unwrap();
    assert!(owner(&host.folders, "new").is_none());
    rename(&host.folders, &other, "new").unwrap();
}

#[test]
fn a_name_that_was_reserved_when_the_power_went_is_free() {
    let host = host();
    let record = create_and_rest(&host.folders, "old", false);
    std::os::unix::fs::symlink(&record.id, names_folder(&host.folders).join("new")).unwrap();
    assert!(look(&host.folders, "new").unwrap().is_none());
    let other = create_and_rest(&host.folders, "new", false);
    assert_eq!(find(&host.folders, "new").unwrap().record.id, other.id);
    // And for the container itself.
    std::os::unix::fs::symlink(&record.id, names_folder(&host.folders).join("newer")).unwrap();
    rename(&host.folders, &record, "newer").unwrap();
    assert_eq!(find(&host.folders, "newer").unwrap().record.id, record.id);
}

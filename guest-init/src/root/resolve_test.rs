use super::*;
use crate::testing::{folder, place_of};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use tempfile::TempDir;

/// A root with something outside of it that must never be reached or changed.
struct Roots {
    top: TempDir,
    root: OwnedFd,
}

fn roots() -> Roots {
    let top = TempDir::new_in("/dev/shm").unwrap();
    fs::create_dir_all(top.path().join("root/etc")).unwrap();
    fs::create_dir(top.path().join("outside")).unwrap();
    fs::write(top.path().join("root/etc/hosts"), "").unwrap();
    let root = folder(&top.path().join("root"));
    Roots { top, root }
}

impl Roots {
    fn inside(&self, path: &str) -> PathBuf {
        self.top.path().join("root").join(path)
    }

    fn find(&self, path: &str, kind: Kind) -> Result<PathBuf, Error> {
        target(self.root.as_fd(), path, kind).map(place_of)
    }

    fn outside_is_untouched(&self) -> bool {
        let names: Vec<_> = fs::read_dir(self.top.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.len() == 2 && fs::read_dir(self.top.path().join("outside")).unwrap().next().is_none()
    }
}

#[test]
fn what_exists_is_found() {
    let roots = roots();
    assert_eq!(roots.find("/etc", Kind::Folder).unwrap(), roots.inside("etc"));
    assert_eq!(roots.find("/etc/hosts", Kind::File).unwrap(), roots.inside("etc/hosts"));
}

#[test]
fn missing_folders_are_created_on_the_way() {
    let roots = roots();
    assert_eq!(roots.find("/var//lib/./data/", Kind::Folder).unwrap(), roots.inside("var/lib/data"));
    assert!(roots.inside("var/lib/data").is_dir());
}

#[test]
fn a_missing_file_is_created_empty_in_a_created_folder() {
    let roots = roots();
    assert_eq!(roots.find("/run/secrets/key", Kind::File).unwrap(), roots.inside("run/secrets/key"));
    assert_eq!(fs::metadata(roots.inside("run/secrets/key")).unwrap().len(), 0);
    assert!(roots.inside("run/secrets").is_dir());
}

#[test]
fn an_absolute_link_leads_from_the_root_not_from_the_machines_root() {
    let roots = roots();
    symlink("/etc", roots.inside("link")).unwrap();
    assert_eq!(roots.find("/link", Kind::Folder).unwrap(), roots.inside("etc"));
    assert_eq!(roots.find("/link/new", Kind::Folder).unwrap(), roots.inside("etc/new"));
}

#[test]
fn no_number_of_parents_leads_outside() {
    let roots = roots();
    for text in ["../outside", "../../../../../../../outside", "/../outside", "etc/../../outside"] {
        let link = roots.inside("up");
        symlink(text, &link).unwrap();
        assert_eq!(roots.find("/up", Kind::Folder).unwrap(), roots.inside("outside"), "{text}");
        assert_eq!(roots.find("/up/new", Kind::Folder).unwrap(), roots.inside("outside/new"), "{text}");
        fs::remove_file(link).unwrap();
        fs::remove_dir_all(roots.inside("outside")).unwrap();
    }
    assert_eq!(roots.find("/../../outside", Kind::Folder).unwrap(), roots.inside("outside"));
    assert!(roots.outside_is_untouched());
}

#[test]
fn a_link_to_the_real_outside_path_stays_inside() {
    let roots = roots();
    symlink(roots.top.path().join("outside"), roots.inside("out")).unwrap();
    let found = roots.find("/out/data", Kind::File).unwrap();
    assert!(found.starts_with(roots.inside("")), "{found:?}");
    assert!(roots.outside_is_untouched());
}

#[test]
fn a_dangling_link_is_followed_to_where_its_target_belongs() {
    let roots = roots();
    symlink("/mnt/data", roots.inside("data")).unwrap();
    assert_eq!(roots.find("/data", Kind::Folder).unwrap(), roots.inside("mnt/data"));
    symlink("../mnt/file", roots.inside("etc/file")).unwrap();
    assert_eq!(roots.find("/etc/file", Kind::File).unwrap(), roots.inside("mnt/file"));
}

#[test]
fn links_in_a_circle_end_in_an_error() {
    let roots = roots();
    symlink("b", roots.inside("a")).unwrap();
    symlink("a", roots.inside("b")).unwrap();
    for path in ["/a", "/a/new"] {
        let error = roots.find(path, Kind::Folder).unwrap_err();
        assert!(matches!(error, Error::System { source: Errno::ELOOP, .. }), "{error}");
    }
    assert_eq!(create(roots.root.as_fd(), "/a/new", Kind::Folder).unwrap_err(), Errno::ELOOP);
}

#[test]
fn links_that_double_at_every_step_end_in_an_error() {
    let roots = roots();
    for number in 0..60 {
        symlink(format!("l{0}/../l{0}", number + 1), roots.inside(&format!("l{number}"))).unwrap();
    }
    assert_eq!(create(roots.root.as_fd(), "/l0", Kind::Folder).unwrap_err(), Errno::ELOOP);
}

#[test]
fn magic_links_are_not_followed() {
    let root = folder(Path::new("/"));
    let path = format!("/proc/{}/root/etc", std::process::id());
    let error = target(root.as_fd(), &path, Kind::Folder).unwrap_err();
    assert!(matches!(error, Error::System { source: Errno::ELOOP, .. }), "{error}");
}

#[test]
fn a_file_in_the_way_is_an_error() {
    let roots = roots();
    let error = roots.find("/etc/hosts/below", Kind::Folder).unwrap_err();
    assert!(matches!(error, Error::System { source: Errno::ENOTDIR, .. }), "{error}");
}

#[test]
fn a_file_is_no_place_for_a_folder_nor_a_folder_for_a_file() {
    let roots = roots();
    assert!(matches!(roots.find("/etc/hosts", Kind::Folder), Err(Error::Kind { found: "not a folder", .. })));
    assert!(matches!(roots.find("/etc", Kind::File), Err(Error::Kind { found: "a folder", .. })));
}

#[test]
fn nothing_is_mounted_over_the_root_by_any_of_its_names() {
    let roots = roots();
    symlink("..", roots.inside("top")).unwrap();
    for path in ["/", "/..", "/etc/..", "/top", "/new/.."] {
        assert!(matches!(roots.find(path, Kind::Folder), Err(Error::Root(_))), "{path}");
    }
}

#[test]
fn a_name_that_is_too_long_is_an_error() {
    let roots = roots();
    let error = roots.find(&format!("/{}", "x".repeat(300)), Kind::Folder).unwrap_err();
    assert!(matches!(error, Error::System { source: Errno::ENAMETOOLONG, .. }), "{error}");
}

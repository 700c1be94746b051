use super::*;
use crate::testing::folder;
use std::path::Path;
use tempfile::TempDir;

#[test]
fn a_file_system_is_flushed_once_however_often_it_is_mounted() {
    let top = TempDir::new_in("/dev/shm").unwrap();
    let mut done = Vec::new();
    flush_once(&folder(top.path()), &mut done).unwrap();
    flush_once(&folder(Path::new("/dev/shm")), &mut done).unwrap();
    assert_eq!(done.len(), 1);
}

#[test]
fn a_folder_known_by_its_path_is_opened_to_be_flushed() {
    let top = TempDir::new_in("/dev/shm").unwrap();
    let path = nix::fcntl::open(top.path(), OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty()).unwrap();
    assert_eq!(syncfs(&path), Err(Errno::EBADF));
    let mut done = Vec::new();
    flush_path(&path, &mut done).unwrap();
    assert_eq!(done, [fstat(&path).unwrap().st_dev]);
}

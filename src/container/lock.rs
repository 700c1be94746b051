//! The lock that tells whether a container lives: its monitor holds it, and the kernel lets go of it whatever ends
//! the monitor.
//!
//! It is an open-file-description lock (fcntl(2)): it goes from the command line to the monitor with its descriptor,
//! and can be asked about without being taken.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use config::Folders;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};

use super::make_private_folder;

/// A container's lock, held.
#[derive(Debug)]
pub(crate) struct Lock(File);

impl Lock {
    /// Takes the lock of container `id`; `None` if somebody else has it.
    pub(crate) fn take(folders: &Folders, id: &str) -> io::Result<Option<Lock>> {
        let path = path(folders, id);
        loop {
            make_private_folder(&folders.container_run(id))?;
            let file = match File::options().read(true).write(true).create(true).truncate(false).open(&path) {
                // Swept away by another process between the two calls.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                result => result?,
            };
            match fcntl(&file, FcntlArg::F_OFD_SETLK(&whole())) {
                Err(Errno::EAGAIN | Errno::EACCES) => return Ok(None),
                result => result?,
            };
            if fs::metadata(&path).is_ok_and(|found| file.metadata().is_ok_and(|ours| ours.ino() == found.ino())) {
                return Ok(Some(Lock(file)));
            }
        }
    }

    /// Takes over a lock that another process of ours held and sent here.
    pub(crate) fn received(fd: OwnedFd) -> Lock {
        Lock(fd.into())
    }
}

impl AsFd for Lock {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Whether the container's lock is held, which is to say: whether its monitor lives, or is about to.
pub(crate) fn is_held(folders: &Folders, id: &str) -> io::Result<bool> {
    let file = match File::open(path(folders, id)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        result => result?,
    };
    let mut question = whole();
    fcntl(&file, FcntlArg::F_OFD_GETLK(&mut question))?;
    Ok(i32::from(question.l_type) != libc::F_UNLCK)
}

fn path(folders: &Folders, id: &str) -> PathBuf {
    folders.container_run(id).join("lock")
}

/// Exclusive, over the whole file.
fn whole() -> libc::flock {
    libc::flock {
        l_type: libc::F_WRLCK as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_held_until_its_last_copy_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let folders = Folders::new(Some(folder.path().join("root")), Some(folder.path().join("run")));
        assert!(!is_held(&folders, "a").unwrap());
        let lock = Lock::take(&folders, "a").unwrap().unwrap();
        assert!(is_held(&folders, "a").unwrap());
        assert!(Lock::take(&folders, "a").unwrap().is_none());
        let copy = lock.as_fd().try_clone_to_owned().unwrap();
        drop(lock);
        assert!(is_held(&folders, "a").unwrap());
        drop(Lock::received(copy));
        assert!(!is_held(&folders, "a").unwrap());
        assert!(Lock::take(&folders, "a").unwrap().is_some());
    }
}

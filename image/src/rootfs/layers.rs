//! The read-only layers, each mounted once per boot and shared by all containers.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use config::Folders;
use nix::sys::statfs::{FsType, statfs};

use super::mount_api::{Context, OptionPath, unmount};
use super::{Error, loop_device};
use crate::Digest;
use crate::store::layer_file;

/// What statfs says of EROFS (linux/magic.h).
const EROFS_MAGIC: FsType = FsType(0xe0f5_e1e2);
/// Images are hostile: seen from the host, no program of theirs is set-user-id, no device of theirs opens.
const ATTRIBUTES: u64 =
    libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV | libc::MOUNT_ATTR_NOEXEC;

/// Makes sure that each layer is mounted read-only: straight from its file where the kernel can (6.12 and later), over
/// a loop device elsewhere. Returns their mount points in the order of `layers`.
///
/// A layer that is mounted already costs one system call.
pub fn mount_layers(folders: &Folders, layers: &[Digest]) -> Result<Vec<PathBuf>, Error> {
    let targets: Vec<PathBuf> = layers.iter().map(|layer| mount_point(folders, layer)).collect();
    if targets.iter().all(|target| is_mounted(target)) {
        return Ok(targets);
    }
    let _lock = lock(folders)?;
    for (layer, target) in layers.iter().zip(&targets) {
        if !is_mounted(target) {
            mount_layer(folders, layer, target)?;
        }
    }
    Ok(targets)
}

/// Unmounts a layer, for its removal. It is fine if it is not mounted.
pub fn unmount_layer(folders: &Folders, layer: &Digest) -> Result<(), Error> {
    let target = mount_point(folders, layer);
    if !target.exists() {
        return Ok(());
    }
    let _lock = lock(folders)?;
    unmount(&target).map_err(|source| Error::Unmount { path: target.clone(), source })?;
    match fs::remove_dir(&target) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => Err(Error::File { path: target, source }),
        _ => Ok(()),
    }
}

/// A folder that is empty for ever: what stands below the container's own files when its image has no layers.
pub(super) fn empty_layer(folders: &Folders) -> Result<PathBuf, Error> {
    let path = folders.layer_mounts().join("empty");
    create_folder(&path, 0o755)?;
    Ok(path)
}

/// Creates a folder; those above it, if they are missing too, are for root only.
pub(super) fn create_folder(path: &Path, mode: u32) -> Result<(), Error> {
    let create = || match DirBuilder::new().mode(mode).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    };
    let with_parents = |error: io::Error| match path.parent() {
        Some(parent) if error.kind() == io::ErrorKind::NotFound => {
            DirBuilder::new().recursive(true).mode(0o700).create(parent).and_then(|()| create())
        }
        _ => Err(error),
    };
    create().or_else(with_parents).map_err(|source| Error::File { path: path.to_owned(), source })
}

fn mount_point(folders: &Folders, layer: &Digest) -> PathBuf {
    folders.layer_mounts().join(layer.hex())
}

fn is_mounted(target: &Path) -> bool {
    statfs(target).is_ok_and(|status| status.filesystem_type() == EROFS_MAGIC)
}

/// Two processes must not mount one layer at once.
fn lock(folders: &Folders) -> Result<File, Error> {
    let path = folders.layer_mounts();
    create_folder(&path, 0o700)?;
    let file = File::open(&path).and_then(|file| file.lock().map(|()| file));
    file.map_err(|source| Error::File { path, source })
}

fn mount_layer(folders: &Folders, layer: &Digest, target: &Path) -> Result<(), Error> {
    let path = layer_file(folders, layer);
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(Error::NoLayer(layer.clone())),
        Err(source) => return Err(Error::File { path, source }),
    };
    create_folder(target, 0o755)?;
    match mount_erofs(&path, target) {
        // What EROFS says when it is given a file and wants a block device.
        Err((error, _)) if error.raw_os_error() == Some(libc::ENOTBLK) => {
            let attached = loop_device::attach(&file);
            let (device, _handle) = attached.map_err(|source| Error::Loop { layer: layer.clone(), source })?;
            mount_erofs(&device, target)
        }
        other => other,
    }
    .map_err(|(source, message)| match source.raw_os_error() {
        Some(libc::ENODEV) => Error::NoFileSystem("erofs"),
        _ => Error::Layer { layer: layer.clone(), message, source },
    })
}

fn mount_erofs(source: &Path, target: &Path) -> Result<(), (io::Error, String)> {
    let plain = |error| (error, String::new());
    let context = Context::open(c"erofs").map_err(plain)?;
    let value = OptionPath::new(source).map_err(plain)?;
    let mounted = context.set(c"source", value.as_c_str()).and_then(|()| context.flag(c"ro"));
    mounted.and_then(|()| context.mount(ATTRIBUTES, target)).map_err(|error| (error, super::detail(&context)))
}

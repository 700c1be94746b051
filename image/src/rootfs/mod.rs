//! Root file systems: the read-only layers of an image with a container's own folder over them, by the host kernel's
//! EROFS and overlay. No external program, a handful of system calls.

mod layers;
mod loop_device;
mod mount_api;

use std::borrow::Cow;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use config::Folders;
use nix::mount::MsFlags;

pub use layers::{mount_layers, unmount_layer};

use crate::Digest;
use mount_api::{Context, OptionPath, unmount};

/// Why there is no root file system.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The image is not whole.
    #[error("Layer {0} is not in the store: pull or load the image again")]
    NoLayer(Digest),
    /// The kernel lacks a file system.
    #[error("This kernel has no {0}: load its module, or use a kernel that has it")]
    NoFileSystem(&'static str),
    /// A layer.
    #[error("Cannot mount layer {layer}{message}")]
    Layer {
        /// Its diff id.
        layer: Digest,
        /// What the kernel says of it, with a colon in front, or nothing.
        message: String,
        /// Why.
        source: io::Error,
    },
    /// The way round an older kernel.
    #[error("Cannot put layer {layer} behind a loop device, which kernels before 6.12 need")]
    Loop {
        /// Its diff id.
        layer: Digest,
        /// Why.
        source: io::Error,
    },
    /// The container's view.
    #[error("Cannot mount the root file system at {path}{message}")]
    Overlay {
        /// Where.
        path: PathBuf,
        /// What the kernel says of it, with a colon in front, or nothing.
        message: String,
        /// Why.
        source: io::Error,
    },
    /// Undoing it.
    #[error("Cannot unmount {path}")]
    Unmount {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Folders and locks.
    #[error("Cannot use {path}")]
    File {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// What a container expects of its root: names and inode numbers that behave as on a local disk.
///
/// * `redirect_dir=on`: a folder of the image can be renamed, which would else fail with EXDEV.
/// * `index=off`: upper folders are copied and moved between hosts; the index would bind them to one.
/// * `metacopy=off`: a chown copies data too, and in return no forged attribute can point to other data.
/// * `xino=on`: one st_dev, and inode numbers that are unique across layers.
const OPTIONS: [(&std::ffi::CStr, &std::ffi::CStr); 4] =
    [(c"redirect_dir", c"on"), (c"index", c"off"), (c"metacopy", c"off"), (c"xino", c"on")];

/// Seen from the host, no program of a container is set-user-id, no device of one opens.
const ATTRIBUTES: u64 = libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV;

/// Whether what a container writes is to survive a crash of the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// fsync reaches the disk, and unmounting waits for it: the container can be started again.
    Kept,
    /// Nothing is waited for (overlay's `volatile`): for a container that is removed when it ends. Its upper folder
    /// cannot be mounted a second time.
    Discarded,
}

/// A mounted root file system; unmounted when dropped.
#[derive(Debug)]
pub struct Rootfs {
    target: Option<PathBuf>,
}

impl Rootfs {
    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        self.target.as_deref().unwrap_or(Path::new(""))
    }

    /// Leaves it mounted; see [`unmount_rootfs`].
    pub fn leave(mut self) {
        self.target = None;
    }

    /// Unmounts it now.
    pub fn unmount(mut self) -> Result<(), Error> {
        self.target.take().map_or(Ok(()), |target| unmount_rootfs(&target))
    }
}

impl Drop for Rootfs {
    fn drop(&mut self) {
        if let Some(target) = self.target.take()
            && let Err(error) = unmount_rootfs(&target)
        {
            log::warn!("{error}");
        }
    }
}

/// Unmounts the root file system at `target`, if there is one: for one that outlived its process.
pub fn unmount_rootfs(target: &Path) -> Result<(), Error> {
    unmount(target).map_err(|source| Error::Unmount { path: target.to_owned(), source })
}

/// Mounts the layers `layers` (diff ids, lowest first; none is fine) with `upper` over them at `target`, so that what
/// is written is [`Durability::Kept`]. `upper` and `work` must be on one file system; all three are created if absent.
pub fn mount(folders: &Folders, layers: &[Digest], upper: &Path, work: &Path, target: &Path) -> Result<Rootfs, Error> {
    mount_as(folders, layers, &Writable { upper, work, durability: Durability::Kept }, target)
}

/// Where a container's own files go.
#[derive(Clone, Copy, Debug)]
pub struct Writable<'a> {
    /// Its own files.
    pub upper: &'a Path,
    /// Overlay's workshop, on the same file system.
    pub work: &'a Path,
    /// Whether they are to survive a crash.
    pub durability: Durability,
}

/// As [`mount`], with a choice of [`Durability`].
pub fn mount_as(folders: &Folders, layers: &[Digest], writable: &Writable<'_>, target: &Path) -> Result<Rootfs, Error> {
    let mut lowers = mount_layers(folders, layers)?;
    if lowers.is_empty() {
        lowers.push(layers::empty_layer(folders)?);
    }
    lowers.reverse();
    prepare(writable, &lowers)?;
    layers::create_folder(target, 0o755)?;
    mount_overlay(&lowers, writable, target)?;
    Ok(Rootfs { target: Some(target.to_owned()) })
}

/// Creates the container's folders. The root of an overlay is its upper folder, so a new one gets owner, mode and time
/// of the image's root. `lowers` are highest first.
fn prepare(writable: &Writable<'_>, lowers: &[PathBuf]) -> Result<(), Error> {
    layers::create_folder(writable.upper, 0o755)?;
    layers::create_folder(writable.work, 0o700)?;
    // Overlay makes this folder at the first mount.
    if writable.work.join("work").exists() {
        return Ok(());
    }
    let Some(root) = image_root(lowers)? else { return Ok(()) };
    let change = || {
        std::os::unix::fs::chown(writable.upper, Some(root.uid()), Some(root.gid()))?;
        fs::set_permissions(writable.upper, fs::Permissions::from_mode(root.mode() & 0o7777))?;
        File::open(writable.upper)?.set_modified(root.modified()?)
    };
    change().map_err(|source| Error::File { path: writable.upper.to_owned(), source })
}

/// The root of the highest layer that says anything of it; most layers do not.
fn image_root(lowers: &[PathBuf]) -> Result<Option<fs::Metadata>, Error> {
    let mut found = None;
    for path in lowers {
        let root = fs::metadata(path).map_err(|source| Error::File { path: path.to_owned(), source })?;
        // What a layer's file has for a folder that only other entries imply.
        let implied = (root.mode() & 0o7777, root.uid(), root.gid(), root.mtime()) == (0o755, 0, 0, 0);
        if !implied {
            return Ok(Some(root));
        }
        found = Some(root);
    }
    Ok(found)
}

/// `lowers` are highest first.
fn mount_overlay(lowers: &[PathBuf], writable: &Writable<'_>, target: &Path) -> Result<(), Error> {
    let fail = |source: io::Error, message| match source.raw_os_error() {
        Some(libc::ENODEV) => Error::NoFileSystem("overlay"),
        _ => Error::Overlay { path: target.to_owned(), message, source },
    };
    let context = Context::open(c"overlay").map_err(|error| fail(error, String::new()))?;
    let set = |name, path: &Path| {
        // The kernel looks the path up at once: it need not stay open.
        context.set(name, OptionPath::new(path)?.as_c_str())
    };
    let configure = || {
        lowers.iter().try_for_each(|path| set(c"lowerdir+", path))?;
        set(c"upperdir", writable.upper)?;
        set(c"workdir", writable.work)?;
        OPTIONS.iter().try_for_each(|(name, value)| context.set(name, value))?;
        if writable.durability == Durability::Discarded { context.flag(c"volatile") } else { Ok(()) }
    };
    match configure().and_then(|()| context.mount(ATTRIBUTES, target)) {
        Ok(()) => Ok(()),
        // Before 6.5 there is no `lowerdir+`.
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) && !knows_lowerdir_plus() => {
            mount_old(lowers, writable, target).map_err(|error| fail(error, String::new()))
        }
        Err(error) => Err(fail(error, detail(&context))),
    }
}

/// Whether this kernel takes lower folders one by one.
fn knows_lowerdir_plus() -> bool {
    let probe = |context: Context| context.set(c"lowerdir+", c"/");
    Context::open(c"overlay").and_then(probe).is_ok()
}

/// The old system call, whose options must fit into a page: by their descriptors even 200 layers do.
fn mount_old(lowers: &[PathBuf], writable: &Writable<'_>, target: &Path) -> io::Result<()> {
    let paths = lowers.iter().map(PathBuf::as_path).chain([writable.upper, writable.work]);
    let opened: Vec<OptionPath> = paths.map(OptionPath::opened).collect::<io::Result<_>>()?;
    let texts: Vec<Cow<'_, str>> = opened.iter().map(|path| path.as_c_str().to_string_lossy()).collect();
    let [lowers @ .., upper, work] = texts.as_slice() else { return Ok(()) };
    let mut options = format!("lowerdir={},upperdir={upper},workdir={work}", lowers.join(":"));
    for (name, value) in OPTIONS {
        options.push_str(&format!(",{}={}", name.to_string_lossy(), value.to_string_lossy()));
    }
    if writable.durability == Durability::Discarded {
        options.push_str(",volatile");
    }
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    Ok(nix::mount::mount(Some("overlay"), target, Some("overlay"), flags, Some(options.as_str()))?)
}

/// What the kernel says of the last failure, with a colon in front, or nothing.
fn detail(context: &Context) -> String {
    let message = context.message();
    if message.is_empty() { message } else { format!(": {message}") }
}

//! What is inside the binary: the guest kernel and the guest's init.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use anyhow::{Context, Result};
use config::Folders;

/// The guest's first process, an ELF file.
pub(crate) const GUEST_INIT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/guest-init"));
/// The guest kernel, an ELF `vmlinux` as zstd.
const KERNEL: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/vmlinux.zst"));
/// Names the kernel: the same configuration and source have the same.
pub(crate) const KERNEL_HASH: &str = env!("CORACLE_KERNEL_HASH");

/// The guest kernel, unpacked: inflated once into the run-time folder, so that no later start pays for it and all
/// microVMs share its pages.
pub(crate) fn kernel(folders: &Folders) -> Result<File> {
    let folder = folders.cache();
    let path = folder.join(format!("vmlinux-{KERNEL_HASH}"));
    let size = unpacked_size();
    if let Ok(file) = File::open(&path)
        && file.metadata().is_ok_and(|metadata| size.is_none_or(|size| size == metadata.len()))
    {
        return Ok(file);
    }
    unpack(&folder, &path)
        .and_then(|()| File::open(&path))
        .with_context(|| format!("Cannot unpack the guest kernel to {}", path.display()))
}

/// Written beside and renamed, so that nobody sees half a kernel. The folder is a tmpfs: there is nothing to sync.
fn unpack(folder: &Path, path: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let beside = folder.join(format!("vmlinux-{KERNEL_HASH}.{}", std::process::id()));
    let write = || {
        let mut file = File::create(&beside)?;
        zstd::stream::copy_decode(KERNEL, &mut file)?;
        file.flush()?;
        fs::rename(&beside, path)
    };
    write().inspect_err(|_| drop(fs::remove_file(&beside)))
}

/// The size that is written in the first zstd frame, which is the only one.
fn unpacked_size() -> Option<u64> {
    zstd::zstd_safe::get_frame_content_size(KERNEL).ok().flatten()
}

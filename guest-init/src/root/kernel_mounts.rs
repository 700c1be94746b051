//! The file systems that only the kernel can give: what every program expects to find in `/proc`, `/sys` and `/dev`.

use nix::errno::Errno;
use nix::fcntl::AT_FDCWD;
use nix::mount::{MsFlags, mount as mount_at};
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use nix::unistd::{mkdir, symlinkat};

const SAFE: MsFlags = MsFlags::MS_NOSUID.union(MsFlags::MS_NODEV).union(MsFlags::MS_NOEXEC);

/// One file system.
struct KernelMount {
    kind: &'static str,
    target: &'static str,
    flags: MsFlags,
    options: Option<&'static str>,
}

/// In this order: `/dev` is empty when it is mounted, and sysfs brings the folder for cgroups.
const MOUNTS: [KernelMount; 7] = [
    KernelMount { kind: "proc", target: "/proc", flags: SAFE, options: None },
    KernelMount { kind: "sysfs", target: "/sys", flags: SAFE, options: None },
    KernelMount { kind: "cgroup2", target: "/sys/fs/cgroup", flags: SAFE, options: Some("nsdelegate") },
    KernelMount { kind: "tmpfs", target: "/dev", flags: MsFlags::MS_NOSUID, options: Some("mode=755,size=64m") },
    KernelMount {
        kind: "devpts",
        target: "/dev/pts",
        flags: MsFlags::MS_NOSUID.union(MsFlags::MS_NOEXEC),
        options: Some("newinstance,ptmxmode=0666,mode=0620,gid=5"),
    },
    KernelMount { kind: "tmpfs", target: "/dev/shm", flags: SAFE, options: Some("mode=1777,size=64m") },
    KernelMount { kind: "mqueue", target: "/dev/mqueue", flags: SAFE, options: None },
];

/// Character devices of `/dev` that everybody may use: name, major and minor number (Documentation/admin-guide/devices).
const DEVICES: [(&str, u64, u64); 6] = [
    ("/dev/null", 1, 3),
    ("/dev/zero", 1, 5),
    ("/dev/full", 1, 7),
    ("/dev/random", 1, 8),
    ("/dev/urandom", 1, 9),
    ("/dev/tty", 5, 0),
];

/// Symbolic links of `/dev`: name and text.
const LINKS: [(&str, &str); 6] = [
    ("/dev/ptmx", "pts/ptmx"),
    ("/dev/fd", "/proc/self/fd"),
    ("/dev/stdin", "/proc/self/fd/0"),
    ("/dev/stdout", "/proc/self/fd/1"),
    ("/dev/stderr", "/proc/self/fd/2"),
    ("/dev/core", "/proc/kcore"),
];

/// Which part of it failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A mount, or its mount point.
    #[error("Mount {kind} on {target}")]
    Mount {
        /// File system type.
        kind: &'static str,
        /// Mount point.
        target: &'static str,
        /// The kernel's answer.
        #[source]
        source: Errno,
    },
    /// A device or a link in `/dev`.
    #[error("Create {0}")]
    Create(&'static str, #[source] Errno),
}

/// Mounts all of them in the current root, creating mount points the image lacks.
pub fn mount() -> Result<(), Error> {
    for entry in &MOUNTS {
        let &KernelMount { kind, target, .. } = entry;
        mount_one(entry).map_err(|source| Error::Mount { kind, target, source })?;
        if target == "/dev" {
            populate_dev()?;
        }
    }
    Ok(())
}

/// Most mount points are there, so one is created only when it turns out to be missing.
fn mount_one(entry: &KernelMount) -> Result<(), Errno> {
    let attempt = || mount_at(Some(entry.kind), entry.target, Some(entry.kind), entry.flags, entry.options);
    match attempt() {
        Err(Errno::ENOENT) => {
            mkdir(entry.target, Mode::from_bits_truncate(0o755))?;
            attempt()
        }
        other => other,
    }
}

fn populate_dev() -> Result<(), Error> {
    let everybody = Mode::from_bits_truncate(0o666);
    for (path, major, minor) in DEVICES {
        mknod(path, SFlag::S_IFCHR, everybody, makedev(major, minor)).map_err(|error| Error::Create(path, error))?;
    }
    for (path, text) in LINKS {
        symlinkat(text, AT_FDCWD, path).map_err(|error| Error::Create(path, error))?;
    }
    for path in ["/dev/pts", "/dev/shm", "/dev/mqueue"] {
        mkdir(path, Mode::from_bits_truncate(0o755)).map_err(|error| Error::Create(path, error))?;
    }
    Ok(())
}

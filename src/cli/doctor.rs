//! `coracle doctor`: what this host can and cannot do, and what to do about it.

use std::fs;
use std::io;
use std::path::Path;

use anyhow::Result;
use config::size;
use nix::sys::utsname::uname;
use nix::unistd::Uid;
use vmm::layout::LEAST_MEMORY;

use super::{Context, PARTLY, ui};

/// First kernel that mounts EROFS from a file; older ones need a loop device for each layer.
const FILE_BACKED_EROFS: (u32, u32) = (6, 12);
/// Oldest kernel with all system calls we use (the mount calls of 5.2, and `mount_setattr`'s attributes of 5.12).
const OLDEST: (u32, u32) = (5, 12);

/// Say what this host can and cannot do
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {}

/// What was found.
#[derive(Debug, PartialEq, Eq)]
enum Finding {
    Good(String),
    /// It goes, but not well.
    Weak(String),
    /// Containers cannot run.
    Bad(String),
}

use Finding::{Bad, Good, Weak};

pub(super) fn run(context: &Context, _: &Arguments) -> Result<u8> {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let filesystems = fs::read_to_string("/proc/filesystems").unwrap_or_default();
    let release = uname().map(|name| name.release().to_string_lossy().into_owned()).unwrap_or_default();
    let modules = Path::new("/lib/modules").join(&release);
    let findings = [
        ("processor", processor(&cpuinfo)),
        ("kvm", kvm()),
        ("kernel", kernel(&release)),
        ("erofs", file_system("erofs", &filesystems, &modules)),
        ("overlay", file_system("overlay", &filesystems, &modules)),
        ("user", user()),
        ("root folder", folder(context.folders.root())),
        ("run folder", folder(context.folders.run())),
        ("memory", memory(&fs::read_to_string("/proc/meminfo").unwrap_or_default())),
    ];
    let mut code = 0;
    for (what, finding) in findings {
        let (verdict, text) = match finding {
            Good(text) => ("ok", text),
            Weak(text) => ("warn", text),
            Bad(text) => {
                code = PARTLY;
                ("fail", text)
            }
        };
        ui::line(&format!("{verdict:<5} {what}: {text}"))?;
    }
    Ok(code)
}

fn processor(cpuinfo: &str) -> Finding {
    if vmm::host::has_virtualisation(cpuinfo) {
        return Good("it has hardware virtualisation".to_owned());
    }
    Bad("it shows no hardware virtualisation (no vmx or svm in /proc/cpuinfo): switch it on in the firmware, or, in a \
         virtual machine, switch on nested virtualisation outside"
        .to_owned())
}

fn kvm() -> Finding {
    match vmm::host::check() {
        Ok(()) => Good("/dev/kvm can be used".to_owned()),
        Err(error) => Bad(format!("{:#}", anyhow::Error::from(error))),
    }
}

fn kernel(release: &str) -> Finding {
    match version(release) {
        Some(version) if version >= FILE_BACKED_EROFS => Good(format!("{release} mounts layers from their files")),
        Some(version) if version >= OLDEST => {
            Weak(format!("{release} needs a loop device for each layer; 6.12 and later do not"))
        }
        Some(_) => Bad(format!("{release} is too old: use 5.12 or later, better 6.12")),
        None => Weak(format!("its version {release:?} cannot be read")),
    }
}

fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => Some((major, minor)),
        _ => None,
    }
}

/// `filesystems` is the text of /proc/filesystems; `modules` is where the kernel's modules are.
fn file_system(name: &str, filesystems: &str, modules: &Path) -> Finding {
    if filesystems.lines().any(|line| line.split_whitespace().next_back() == Some(name)) {
        return Good("the kernel has it".to_owned());
    }
    let mentions = |list: &str| {
        let file = format!("/{name}.ko");
        fs::read_to_string(modules.join(list)).is_ok_and(|text| text.contains(&file))
    };
    if mentions("modules.dep") || mentions("modules.builtin") {
        return Good("the kernel loads it when it is needed".to_owned());
    }
    Bad(format!("the kernel has no {name}: load its module (modprobe {name}), or use a kernel that has it"))
}

fn user() -> Finding {
    if Uid::effective().is_root() {
        return Good("root, which mounting takes".to_owned());
    }
    Bad("not root: mounting images takes root; use sudo".to_owned())
}

/// Whether a folder can be written to; it is not made if it is not there.
fn folder(path: &Path) -> Finding {
    let existing = path.ancestors().find(|path| path.exists()).unwrap_or(path);
    match tempfile_in(existing) {
        Ok(()) => Good(format!("{} can be written to", path.display())),
        Err(error) => Bad(format!("{} cannot be written to ({error}); choose another", path.display())),
    }
}

/// Makes a file without a name, or asks where the file system has none of those.
fn tempfile_in(folder: &Path) -> io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    match fs::File::options().write(true).custom_flags(libc::O_TMPFILE).open(folder) {
        Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => {
            Ok(nix::unistd::access(folder, nix::unistd::AccessFlags::W_OK)?)
        }
        result => result.map(drop),
    }
}

fn memory(meminfo: &str) -> Finding {
    let available = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let kibibytes: Option<u64> = available.and_then(|text| text.trim().trim_end_matches(" kB").parse().ok());
    match kibibytes.map(|kibibytes| kibibytes.saturating_mul(1024)) {
        Some(bytes) if bytes >= LEAST_MEMORY => Good(format!("{} can be used", size::human(bytes))),
        Some(bytes) => Weak(format!(
            "only {} are free; the smallest container takes {}",
            size::human(bytes),
            size::human(LEAST_MEMORY)
        )),
        None => Weak("it cannot be read from /proc/meminfo".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_are_judged_by_their_version() {
        assert!(matches!(kernel("6.12.48+deb13-cloud-amd64"), Good(_)));
        assert!(matches!(kernel("7.0.0"), Good(_)));
        assert!(matches!(kernel("6.1.0-18-amd64"), Weak(_)));
        assert!(matches!(kernel("4.19.0"), Bad(_)));
        assert!(matches!(kernel("next"), Weak(_)));
    }

    #[test]
    fn a_file_system_is_there_or_can_be_loaded_or_is_missing() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("modules.dep"), "kernel/fs/erofs/erofs.ko.xz: kernel/lib/lz4.ko.xz\n").unwrap();
        let found = |name| file_system(name, "nodev\tproc\n\text4\nnodev\toverlay\n", folder.path());
        assert!(matches!(found("overlay"), Good(_)));
        assert!(matches!(found("erofs"), Good(_)));
        assert!(matches!(found("over"), Bad(_)));
    }

    #[test]
    fn a_processor_without_virtualisation_is_bad() {
        assert!(matches!(processor("flags : fpu svm\n"), Good(_)));
        assert!(matches!(processor("flags : fpu\n"), Bad(_)));
    }

    #[test]
    fn little_memory_is_weak() {
        assert!(matches!(memory("MemTotal: 9 kB\nMemAvailable:   1024000 kB\n"), Good(_)));
        assert!(matches!(memory("MemAvailable:   1024 kB\n"), Weak(_)));
        assert!(matches!(memory(""), Weak(_)));
    }

    #[test]
    fn a_folder_that_is_not_there_is_judged_by_its_parent() {
        let folder_of_test = tempfile::tempdir().unwrap();
        assert!(matches!(folder(&folder_of_test.path().join("a/b")), Good(_)));
    }
}

//! Linux's mount API of 5.2 and later as far as it is needed: a file system is configured option by option, so that no
//! path, however long or strange, has to fit into one string of options.

use std::ffi::{CStr, CString};
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::path::Path;

use nix::mount::{MntFlags, umount2};

/// Longest value of an option, its terminating zero included (`VFS_PARAM_STRING` copies no more).
const MAX_VALUE: usize = 256;

// From linux/mount.h.
const FSOPEN_CLOEXEC: libc::c_uint = 1;
const FSCONFIG_SET_FLAG: libc::c_uint = 0;
const FSCONFIG_SET_STRING: libc::c_uint = 1;
const FSCONFIG_CMD_CREATE: libc::c_uint = 6;
const FSMOUNT_CLOEXEC: libc::c_uint = 1;
const MOVE_MOUNT_F_EMPTY_PATH: libc::c_uint = 4;

/// A file system that is being configured.
pub(super) struct Context(OwnedFd);

impl Context {
    /// Begins with a file system of this type.
    pub(super) fn open(kind: &CStr) -> io::Result<Context> {
        // SAFETY: `kind` is a valid C string; the kernel reads nothing else.
        let fd = unsafe { libc::syscall(libc::SYS_fsopen, kind.as_ptr(), FSOPEN_CLOEXEC) };
        owned(fd).map(Context)
    }

    /// Sets an option that has a value.
    pub(super) fn set(&self, name: &CStr, value: &CStr) -> io::Result<()> {
        self.configure(FSCONFIG_SET_STRING, name.as_ptr(), value.as_ptr())
    }

    /// Sets an option that has none.
    pub(super) fn flag(&self, name: &CStr) -> io::Result<()> {
        self.configure(FSCONFIG_SET_FLAG, name.as_ptr(), std::ptr::null())
    }

    /// Makes the file system and attaches it to `target`; `attributes` are `MOUNT_ATTR_` flags.
    pub(super) fn mount(&self, attributes: u64, target: &Path) -> io::Result<()> {
        self.configure(FSCONFIG_CMD_CREATE, std::ptr::null(), std::ptr::null())?;
        let context = self.0.as_raw_fd();
        // SAFETY: takes no pointers.
        let fd = unsafe { libc::syscall(libc::SYS_fsmount, context, FSMOUNT_CLOEXEC, attributes) };
        let mount = owned(fd)?;
        let target = c_string(target.as_os_str().as_encoded_bytes())?;
        let (from, empty, to) = (mount.as_raw_fd(), c"".as_ptr(), target.as_ptr());
        let flags = MOVE_MOUNT_F_EMPTY_PATH;
        // SAFETY: both paths are valid C strings that outlive the call.
        let moved = unsafe { libc::syscall(libc::SYS_move_mount, from, empty, libc::AT_FDCWD, to, flags) };
        check(moved).map(|_| ())
    }

    fn configure(
        &self,
        command: libc::c_uint,
        name: *const libc::c_char,
        value: *const libc::c_char,
    ) -> io::Result<()> {
        let context = self.0.as_raw_fd();
        // SAFETY: `name` and `value` are null or valid C strings, as the command demands.
        let done = unsafe { libc::syscall(libc::SYS_fsconfig, context, command, name, value, 0) };
        check(done).map(|_| ())
    }

    /// What the kernel has to say of the last failure, if anything; it is more than its error number.
    pub(super) fn message(&self) -> String {
        let mut buffer = [0u8; 512];
        let mut lines: Vec<String> = Vec::new();
        while let Ok(length) = nix::unistd::read(&self.0, &mut buffer)
            && length > 0
            && lines.len() < 8
        {
            let text = String::from_utf8_lossy(buffer.get(..length).unwrap_or_default());
            // Each begins with `e `, `w ` or `i `.
            lines.push(text.trim_end().get(2..).unwrap_or_default().to_owned());
        }
        lines.join("; ")
    }
}

/// The text by which the kernel is told of a path: itself, or if that would be too long or could be taken for an
/// escape, the entry in /proc of the open file, which is kept open as long as this lives.
pub(super) struct OptionPath {
    text: CString,
    _file: Option<File>,
}

impl OptionPath {
    /// `path` must exist.
    pub(super) fn new(path: &Path) -> io::Result<OptionPath> {
        let bytes = path.as_os_str().as_encoded_bytes();
        if bytes.len() < MAX_VALUE && !bytes.iter().any(|byte| b"\\,:".contains(byte)) {
            return Ok(OptionPath { text: c_string(bytes)?, _file: None });
        }
        OptionPath::opened(path)
    }

    /// The entry in /proc, which is always short.
    pub(super) fn opened(path: &Path) -> io::Result<OptionPath> {
        let file = File::open(path)?;
        let text = CString::new(format!("/proc/self/fd/{}", file.as_raw_fd()))?;
        Ok(OptionPath { text, _file: Some(file) })
    }

    pub(super) fn as_c_str(&self) -> &CStr {
        &self.text
    }
}

/// Takes whatever is mounted at `path` out of sight at once; it ends when its last user does. Nothing mounted or no
/// such path is fine.
pub(super) fn unmount(path: &Path) -> io::Result<()> {
    match umount2(path, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW) {
        Err(nix::Error::EINVAL | nix::Error::ENOENT) => Ok(()),
        other => other.map_err(io::Error::from),
    }
}

fn c_string(bytes: &[u8]) -> io::Result<CString> {
    CString::new(bytes).map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "The path has a zero byte"))
}

fn check(result: libc::c_long) -> io::Result<libc::c_long> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

fn owned(result: libc::c_long) -> io::Result<OwnedFd> {
    let fd = RawFd::try_from(check(result)?).map_err(io::Error::other)?;
    // SAFETY: the kernel has just returned this descriptor; nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

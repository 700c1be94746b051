//! What a VMM process gives up before its guest runs: the file system, the capabilities and the system calls it does
//! not need, so that a guest that breaks out of its machine finds itself in an empty room.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, TargetArch};

/// Why the process could not be jailed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A system call.
    #[error("Cannot {what}")]
    System {
        /// What was tried.
        what: &'static str,
        /// Why.
        source: io::Error,
    },
    /// The filter itself.
    #[error("Cannot make the filter of system calls")]
    Filter(#[source] seccompiler::BackendError),
    /// Its installation.
    #[error("Cannot install the filter of system calls")]
    Install(#[source] seccompiler::Error),
}

/// Capabilities that the virtio-fs server needs to act for any user of the guest (capabilities(7)).
const KEPT: [u8; 7] = [
    0,  // CAP_CHOWN: the guest's chown
    1,  // CAP_DAC_OVERRIDE: files of every user
    2,  // CAP_DAC_READ_SEARCH: hard links to open files
    3,  // CAP_FOWNER: modes and times of every user's files
    4,  // CAP_FSETID: setgid bits survive writing by their owner
    27, // CAP_MKNOD: device nodes, which the guest's kernel alone opens
    31, // CAP_SETFCAP: file capabilities
];
/// Highest capability of any kernel so far is 40; asking for one that does not exist ends the loop.
const MOST_CAPABILITIES: u8 = 63;
/// `_LINUX_CAPABILITY_VERSION_3`: 64-bit sets.
const CAPABILITY_VERSION: u32 = 0x2008_0522;

/// Shuts the process into the folder `room`, which should be empty. All that it needs must be open by now; threads must
/// not have been started, as what they may do would stay as it was.
pub(crate) fn enter(room: impl AsFd) -> Result<(), Error> {
    change_root(room)?;
    drop_capabilities()?;
    set_no_new_privileges()?;
    seccompiler::apply_filter(&filter()?).map_err(Error::Install)
}

fn change_root(room: impl AsFd) -> Result<(), Error> {
    // SAFETY: changes the working folder to a descriptor that is open.
    check(unsafe { libc::fchdir(room.as_fd().as_raw_fd()) }, "enter the jail's folder")?;
    // SAFETY: a C string that is constant.
    check(unsafe { libc::chroot(c".".as_ptr()) }, "make the jail's folder the root")
}

/// The kernel's `struct __user_cap_header_struct`.
#[repr(C)]
struct Header {
    version: u32,
    pid: libc::c_int,
}

/// The kernel's `struct __user_cap_data_struct`: one half of each set.
#[repr(C)]
struct Sets {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

fn drop_capabilities() -> Result<(), Error> {
    for capability in (0..=MOST_CAPABILITIES).filter(|capability| !KEPT.contains(capability)) {
        // SAFETY: takes numbers only.
        if unsafe { libc::prctl(libc::PR_CAPBSET_DROP, libc::c_ulong::from(capability), 0, 0, 0) } != 0 {
            let error = io::Error::last_os_error();
            if error.raw_os_error() == Some(libc::EINVAL) {
                break;
            }
            return Err(Error::System { what: "drop a capability", source: error });
        }
    }
    let kept = KEPT.iter().fold(0u32, |set, capability| set | 1 << capability);
    let header = Header { version: CAPABILITY_VERSION, pid: 0 };
    let half = |set| Sets { effective: set, permitted: set, inheritable: 0 };
    let sets = [half(kept), half(0)];
    // SAFETY: both structures have the layout of version 3 and live through the call.
    let result = unsafe { libc::syscall(libc::SYS_capset, &raw const header, sets.as_ptr()) };
    check(result as libc::c_int, "give up capabilities")
}

fn set_no_new_privileges() -> Result<(), Error> {
    // SAFETY: takes numbers only.
    check(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) }, "give up gaining privileges")
}

/// Everything else fails with "operation not permitted": a call we forgot costs the guest a request, not its life.
fn filter() -> Result<BpfProgram, Error> {
    let rules = ALLOWED.iter().map(|call| (*call, Vec::new())).collect();
    let refuse = SeccompAction::Errno(libc::EPERM as u32);
    SeccompFilter::new(rules, refuse, SeccompAction::Allow, TargetArch::x86_64)
        .and_then(BpfProgram::try_from)
        .map_err(Error::Filter)
}

fn check(result: libc::c_int, what: &'static str) -> Result<(), Error> {
    if result < 0 { Err(Error::System { what, source: io::Error::last_os_error() }) } else { Ok(()) }
}

/// The system calls of a running VMM: no exec, no mount, no ptrace, no socket that reaches anything.
const ALLOWED: &[libc::c_long] = &[
    // Running the guest, and threads.
    libc::SYS_ioctl,
    libc::SYS_clone,
    libc::SYS_clone3,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_futex,
    libc::SYS_set_robust_list,
    libc::SYS_set_tid_address,
    libc::SYS_rseq,
    libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity,
    libc::SYS_tkill,
    libc::SYS_tgkill,
    libc::SYS_gettid,
    libc::SYS_getpid,
    libc::SYS_geteuid,
    libc::SYS_getegid,
    libc::SYS_prctl,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_restart_syscall,
    // Memory.
    libc::SYS_brk,
    libc::SYS_mmap,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_mprotect,
    libc::SYS_madvise,
    libc::SYS_membarrier,
    // Time and chance.
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_nanosleep,
    libc::SYS_getrandom,
    // Waiting and talking over what is open.
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_wait,
    libc::SYS_epoll_pwait,
    libc::SYS_eventfd2,
    libc::SYS_poll,
    libc::SYS_ppoll,
    libc::SYS_sendmsg,
    libc::SYS_sendto,
    libc::SYS_recvmsg,
    libc::SYS_recvfrom,
    libc::SYS_socketpair,
    libc::SYS_shutdown,
    libc::SYS_close,
    libc::SYS_dup,
    libc::SYS_dup3,
    libc::SYS_fcntl,
    // Files, below the folders that are open.
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_pread64,
    libc::SYS_preadv,
    libc::SYS_preadv2,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_pwrite64,
    libc::SYS_pwritev,
    libc::SYS_pwritev2,
    libc::SYS_lseek,
    libc::SYS_openat,
    libc::SYS_openat2,
    libc::SYS_open,
    libc::SYS_fstat,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_statfs,
    libc::SYS_fstatfs,
    libc::SYS_getdents64,
    libc::SYS_mkdirat,
    libc::SYS_mknodat,
    libc::SYS_unlinkat,
    libc::SYS_renameat2,
    libc::SYS_linkat,
    libc::SYS_symlinkat,
    libc::SYS_readlinkat,
    libc::SYS_fchmod,
    libc::SYS_fchmodat,
    libc::SYS_fchmodat2,
    libc::SYS_chmod,
    libc::SYS_fchown,
    libc::SYS_fchownat,
    libc::SYS_utimensat,
    libc::SYS_truncate,
    libc::SYS_ftruncate,
    libc::SYS_fallocate,
    libc::SYS_fadvise64,
    libc::SYS_copy_file_range,
    libc::SYS_fsync,
    libc::SYS_fdatasync,
    libc::SYS_syncfs,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_setxattr,
    libc::SYS_lsetxattr,
    libc::SYS_fsetxattr,
    libc::SYS_getxattr,
    libc::SYS_lgetxattr,
    libc::SYS_fgetxattr,
    libc::SYS_listxattr,
    libc::SYS_llistxattr,
    libc::SYS_flistxattr,
    libc::SYS_removexattr,
    libc::SYS_lremovexattr,
    libc::SYS_fremovexattr,
    libc::SYS_umask,
];

#[cfg(test)]
#[path = "jail_test.rs"]
mod tests;

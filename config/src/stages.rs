//! Where time goes: named moments of a start, written to a file when `CORACLE_STAGES` names one.
//!
//! Each line is `NANOSECONDS NAME`, nanoseconds of CLOCK_MONOTONIC, so that the processes of one start can be put
//! in one order.

use std::fs::File;
use std::io::Write;
use std::sync::OnceLock;

/// The environment variable that names the file.
pub const VARIABLE: &str = "CORACLE_STAGES";

static OUTPUT: OnceLock<Option<File>> = OnceLock::new();

/// Opens the file if one is asked for. Called before a process gives up its view of the file system; later calls of
/// [`mark`] would otherwise not find it.
pub fn open() -> bool {
    output().is_some()
}

/// Notes that the moment called `name` has come. Costs nothing when nobody asked.
pub fn mark(name: &str) {
    let Some(mut file) = output() else { return };
    let now = monotonic_ns();
    // A measurement that cannot be written must not end a container.
    let _ = file.write_all(format!("{now} {name}\n").as_bytes());
}

fn output() -> Option<&'static File> {
    let open = || File::options().append(true).create(true).open(std::env::var_os(VARIABLE)?).ok();
    OUTPUT.get_or_init(open).as_ref()
}

/// CLOCK_MONOTONIC in nanoseconds.
fn monotonic_ns() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a valid timespec for the kernel to fill.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

//! The end of the machine.

use std::panic;
use std::process::abort;

use config::wire::{POWER_OFF, POWER_PORT};
use nix::sys::reboot::{RebootMode, reboot};

use crate::kernel_log;

/// Ends the virtual machine, by the agreed port if the VMM listens there, else by a restart.
pub fn off() -> ! {
    let port = libc::c_ulong::from(POWER_PORT);
    // SAFETY: ioperm takes three integers and touches no memory.
    let allowed = unsafe { libc::syscall(libc::SYS_ioperm, port, 1, 1) } == 0;
    if allowed {
        // SAFETY: ioperm allowed this port; writing to it touches no memory of this program.
        unsafe { core::arch::asm!("out dx, al", in("dx") POWER_PORT, in("al") POWER_OFF, options(nomem, nostack)) };
    }
    // Without ACPI there is no power to switch off: the kernel would only halt, and the machine would stay. A restart
    // ends a virtual machine whose VMM does not start it again.
    let _ = reboot(RebootMode::RB_AUTOBOOT);
    // PID 1 that ends makes the kernel panic, and the kernel is told to reboot on a panic.
    abort()
}

/// From now on a panic is written to the kernel log and ends the virtual machine, instead of leaving it hanging.
pub fn off_on_panic() {
    panic::set_hook(Box::new(|information| {
        kernel_log::write(&information.to_string());
        off()
    }));
}

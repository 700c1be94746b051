//! A processor: a thread that runs the guest until the machine ends.

use std::cell::Cell;
use std::io;
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};

use kvm_bindings::kvm_run;
use kvm_ioctls::{VcpuExit, VcpuFd};
use nix::sys::pthread::{Pthread, pthread_kill};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use std::os::unix::thread::JoinHandleExt;

use crate::bus::Bus;
use crate::console::Console;
use crate::ports::{Ports, Request};
use crate::spec::Exit;
use crate::virtio::worker::STACK;

/// Brings a processor out of the guest. Nothing else in the process uses it.
const KICK: Signal = Signal::SIGUSR1;

thread_local! {
    /// The page this thread shares with KVM, while it runs a processor.
    static RUN: Cell<*mut kvm_run> = const { Cell::new(ptr::null_mut()) };
}

/// What all processors of a machine share.
pub(crate) struct Shared {
    /// Devices in memory.
    pub(crate) bus: Bus,
    /// Devices at I/O ports.
    pub(crate) ports: Mutex<Ports>,
    /// The kernel's messages.
    pub(crate) console: Console,
    /// Set when the processors are to return.
    pub(crate) stop: AtomicBool,
}

/// A processor's thread. Dropped, the processor is stopped and waited for.
pub(crate) struct Vcpu {
    thread: Option<JoinHandle<()>>,
    shared: Arc<Shared>,
}

/// Lets processors be brought out of the guest by [`KICK`]; once per process is enough, more does no harm.
pub(crate) fn prepare() -> io::Result<()> {
    let action = SigAction::new(SigHandler::Handler(kicked), SaFlags::empty(), SigSet::empty());
    // SAFETY: the handler only writes to memory of its own thread.
    unsafe { sigaction(KICK, &action) }?;
    Ok(())
}

/// Makes the next KVM_RUN of this thread return at once: whether the signal comes before it, or during it, the
/// processor leaves the guest.
extern "C" fn kicked(_signal: libc::c_int) {
    let run = RUN.get();
    if !run.is_null() {
        // SAFETY: the page belongs to this thread's processor, which clears the pointer before it goes.
        unsafe { (*run).immediate_exit = 1 };
    }
}

impl Vcpu {
    /// Starts processor `number`; how it ended goes to `ended`.
    pub(crate) fn start(number: u8, fd: VcpuFd, shared: Arc<Shared>, ended: Sender<Exit>) -> io::Result<Vcpu> {
        let own = Arc::clone(&shared);
        let thread = Builder::new().name(format!("vcpu{number}")).stack_size(STACK).spawn(move || {
            if let Some(exit) = run(fd, &own) {
                // Nobody listens any more when another processor ended the machine first.
                let _ = ended.send(exit);
            }
        })?;
        Ok(Vcpu { thread: Some(thread), shared })
    }
}

impl Drop for Vcpu {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            // SAFETY: the thread has not been joined, so its handle is valid.
            let target = thread.as_pthread_t() as Pthread;
            // Fails only if the thread has ended already.
            let _ = pthread_kill(target, KICK);
            let _ = thread.join();
        }
    }
}

/// Runs the guest until it ends (how), or until it is stopped (nothing).
fn run(mut fd: VcpuFd, shared: &Shared) -> Option<Exit> {
    RUN.set(ptr::from_mut(fd.get_kvm_run()));
    let exit = run_until_exit(&mut fd, shared);
    RUN.set(ptr::null_mut());
    exit
}

fn run_until_exit(fd: &mut VcpuFd, shared: &Shared) -> Option<Exit> {
    let ports = || shared.ports.lock().unwrap_or_else(PoisonError::into_inner);
    while !shared.stop.load(Ordering::SeqCst) {
        match fd.run() {
            Ok(VcpuExit::MmioWrite(address, data)) => shared.bus.write(address, data),
            Ok(VcpuExit::MmioRead(address, data)) => shared.bus.read(address, data),
            Ok(VcpuExit::IoIn(port, data)) => ports().read(port, data),
            Ok(VcpuExit::IoOut(port, data)) => match ports().write(port, data) {
                None => {}
                Some(Request::PowerOff) => return Some(Exit::Shutdown),
                // A kernel that panics asks for a reset too.
                Some(Request::Reset) => return Some(shared.console.panic().map_or(Exit::Reset, Exit::Panic)),
            },
            Ok(VcpuExit::Shutdown) => return Some(shared.console.panic().map_or(Exit::TripleFault, Exit::Panic)),
            Ok(VcpuExit::InternalError) => return Some(Exit::Dead(internal_error(fd))),
            Ok(VcpuExit::FailEntry(reason, cpu)) => {
                return Some(Exit::Dead(format!("the processor refused to enter the guest: {reason:#x} on CPU {cpu}")));
            }
            Ok(VcpuExit::SystemEvent(kind, _)) => return Some(Exit::Dead(format!("system event {kind}"))),
            Ok(VcpuExit::Intr | VcpuExit::Hlt) => {}
            Ok(other) => return Some(Exit::Dead(format!("KVM stopped with {other:?}, which it never should"))),
            Err(error) if matches!(error.errno(), libc::EINTR | libc::EAGAIN) => {}
            Err(error) => return Some(Exit::Dead(format!("KVM cannot run the guest: {error}"))),
        }
    }
    None
}

/// What KVM says of an internal error (api.rst, section 5, KVM_EXIT_INTERNAL_ERROR).
fn internal_error(fd: &mut VcpuFd) -> String {
    let address = fd.get_regs().map_or(0, |registers| registers.rip);
    // SAFETY: this member of the union is the valid one after this exit, and has no invalid values.
    let internal = unsafe { fd.get_kvm_run().__bindgen_anon_1.internal };
    format!("KVM cannot emulate what the guest does at {address:#x} (internal error {})", internal.suberror)
}

//! guest-init: the life of a microVM from the kernel's first process to power-off, step by step.
//!
//! The entry point is C's `main`: the standard library's own would abort where there is no `/dev/null` yet, and
//! would install handlers that PID 1 has no use for.
#![no_main]

use config::wire::{ExitStatus, MAIN_PROCESS, Start, StartError, Stream, ToHost};
use guest_init::control::Control;
use guest_init::reap::Children;
use guest_init::root::{flush, kernel_mounts, own_files, volumes};
use guest_init::stdio::{Connections, Stdio};
use guest_init::step::step;
use guest_init::supervise::{End, supervise};
use guest_init::{kernel_log, machine, power, process, root, vsock};

/// What the kernel starts. It never returns: the machine is off, or the kernel would panic.
// SAFETY: the C library's start code calls `main`, and no other symbol of that name is linked.
#[unsafe(no_mangle)]
pub extern "C" fn main() -> libc::c_int {
    kernel_log::open();
    power::off_on_panic();
    if let Err(failure) = life() {
        kernel_log::write(&failure.message);
    }
    power::off()
}

/// From a booted kernel to a reported end.
fn life() -> Result<(), StartError> {
    let mut control = step("connect to the host", Control::connect())?;
    step("say that the guest is ready", control.ready())?;
    step("bring up the loopback interface", machine::bring_up_loopback())?;
    let start = step("learn what this guest is to become", control.receive_start())?;
    let mut written = flush::Written::default();
    let end = match container(&mut control, &start, &mut written) {
        Ok(End::Exited(status)) => Some(ended(status)),
        Ok(End::HostGone) => None,
        Err(error) => {
            kernel_log::write(&error.message);
            Some(ToHost::NotStarted { process: MAIN_PROCESS, error })
        }
    };
    written.flush();
    match end {
        Some(message) => step("report the end", control.finish(&message)),
        None => Ok(()),
    }
}

/// Turns the guest into the container, runs its process, and stays until nothing of it is left.
fn container(control: &mut Control, start: &Start, written: &mut flush::Written) -> Result<End, StartError> {
    let main = &start.process;
    let connect = |stream: Stream| vsock::Connecting::start(config::wire::stream_port(MAIN_PROCESS, stream));
    let connections = step("open the streams to the host", Connections::start(main, connect))?;
    step("set the clock", machine::set_clock(start.realtime_ns))?;
    step("set the host name", machine::set_hostname(&start.hostname))?;
    step("mount the root", root::mount())?;
    let own_files = step("write the container's own files", own_files::write(&start.hostname))?;
    let volumes = step("find the volumes", volumes::take(&start.mounts, written))?;
    step("enter the root", root::enter())?;
    let top = step("open the root", root::open())?;
    step("mount the kernel's file systems", kernel_mounts::mount())?;
    step("mount the container's own files", volumes::attach(&top, own_files, written))?;
    step("mount the volumes", volumes::attach(&top, volumes, written))?;
    written.add(top);
    let children = step("watch for the end of processes", Children::watch())?;
    let identity = process::identity(main)?;
    let stdio = step("open the standard streams", Stdio::open(connections, main.terminal, identity.uid))?;
    if let Some(terminal) = &stdio.terminal {
        step("make the terminal the console", terminal.become_console())?;
    }
    let pid = process::start(main, &identity, &stdio.child)?;
    step("say that the process runs", control.send(&ToHost::Started { process: MAIN_PROCESS }))?;
    step("look after the process", supervise(control, &children, pid, stdio))
}

fn ended(status: ExitStatus) -> ToHost {
    ToHost::Exited { process: MAIN_PROCESS, status }
}

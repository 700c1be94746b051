//! The machine is a recipe: one function that builds a microVM from top to bottom and runs it to its end.

use std::io;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc;
use std::sync::{Arc, Mutex};

use config::cmdline::{self, CommandLine};
use config::stages;
use kvm_ioctls::{IoEventAddress, Kvm, NoDatamatch, VmFd};
use vmm_sys_util::eventfd::{EFD_CLOEXEC, EFD_NONBLOCK, EventFd};

use crate::boot::{cpu, elf, mptable, params};
use crate::bus::Bus;
use crate::console::Console;
use crate::fs;
use crate::host;
use crate::interrupt::Interrupt;
use crate::jail;
use crate::layout;
use crate::memory::{self, Memory};
use crate::ports::Ports;
use crate::spec::{Exit, Share, Spec};
use crate::vcpu::{self, Shared, Vcpu};
use crate::virtio::Device;
use crate::virtio::console::ConsoleDevice;
use crate::virtio::fs::FsDevice;
use crate::virtio::mmio::{self, Transport};
use crate::virtio::rng::Rng;
use crate::virtio::vsock::VsockDevice;

/// Parameters of every guest kernel: say little, on our console; when all is lost, reset at once; do not probe or wait
/// for what is not there.
/// "noreplace-smp" leaves the text as it is with one processor, so that its pages stay shared with other microVMs.
/// "quiet" comes before the early console, or that one prints, an exit per character, what was said until then.
const KERNEL_PARAMETERS: &str = "quiet console=hvc0 earlyprintk=serial,0x3f8,115200 panic=-1 reboot=k nomodule \
                                 random.trust_cpu=on tsc=reliable no_timer_check noreplace-smp rdinit=/init";

/// Parameters of small guests: per-processor data page by page, instead of in a huge page most of which is cleared, given
/// back and, on the host, still there.
const SMALL_GUEST_PARAMETERS: &str = "percpu_alloc=page";

/// Why there is no microVM.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// See [`host::Error`].
    #[error("This host cannot run microVMs")]
    Host(#[from] host::Error),
    /// A KVM call on the whole machine.
    #[error("KVM refused to {what}")]
    Kvm {
        /// What was tried.
        what: &'static str,
        /// Why.
        source: kvm_ioctls::Error,
    },
    /// See [`memory::Error`].
    #[error("Cannot set up guest memory")]
    Memory(#[from] memory::Error),
    /// See [`elf::Error`].
    #[error("Cannot load the guest kernel")]
    Kernel(#[from] elf::Error),
    /// See [`params::Error`].
    #[error("Cannot prepare the guest kernel's start")]
    Parameters(#[from] params::Error),
    /// See [`cmdline::Error`].
    #[error("Cannot make the guest kernel's command line")]
    CommandLine(#[from] cmdline::Error),
    /// See [`cpu::Error`].
    #[error("Cannot set up a processor")]
    Cpu(#[from] cpu::Error),
    /// The table of processors.
    #[error("Cannot write the table of processors to guest memory")]
    Table(#[source] vm_memory::guest_memory::Error),
    /// More or fewer processors than a machine can have.
    #[error("{0} vCPUs were asked for; a microVM has 1 to {most}", most = layout::MOST_VCPUS)]
    Vcpus(u8),
    /// See [`jail::Error`].
    #[error("Cannot shut the microVM's process in")]
    Jail(#[from] jail::Error),
    /// See [`fs::Error`].
    #[error("Cannot serve the share {tag:?}")]
    Share {
        /// Its tag.
        tag: String,
        /// Why.
        source: fs::Error,
    },
    /// A tag that does not fit the device.
    #[error("The share's tag {0:?} is empty or longer than 36 bytes")]
    Tag(String),
    /// More devices than interrupt lines.
    #[error("More than {most} devices were asked for", most = layout::LAST_IRQ - layout::MMIO_IRQ + 1)]
    TooManyDevices,
    /// A queue that cannot be made.
    #[error("Cannot make a virtio queue")]
    Queue(#[from] virtio_queue::Error),
    /// Threads, events.
    #[error("Cannot {what}")]
    System {
        /// What was tried.
        what: &'static str,
        /// Why.
        source: io::Error,
    },
}

/// Builds the microVM that `spec` describes and runs it until it ends.
///
/// The calling thread waits; processors and devices have threads of their own. The processors' are gone when this
/// returns, those of the devices when what it returns is dropped.
pub fn run(spec: Spec) -> Result<Ended, Error> {
    if spec.vcpus == 0 || spec.vcpus > layout::MOST_VCPUS {
        return Err(Error::Vcpus(spec.vcpus));
    }
    let kvm = host::open()?;
    let vm = create_vm(&kvm)?;
    stages::mark("vm-created");

    let memory = memory::create(spec.memory)?;
    memory::register(&vm, &memory)?;
    let kernel = elf::load(&spec.kernel, &memory)?;
    stages::mark("kernel-mapped");

    let console = Console::new(spec.console);
    let mut devices = Devices::new(&vm, &memory);
    devices.add(Box::new(ConsoleDevice::new(console.clone())))?;
    devices.add(Box::new(Rng::default()))?;
    if let Some(broker) = spec.vsock {
        devices.add(Box::new(VsockDevice::new(broker)))?;
    }
    for share in spec.shares {
        devices.add(share_device(share)?)?;
    }
    let Devices { bus, mut command_line, .. } = devices;
    command_line.flags(KERNEL_PARAMETERS);
    if spec.memory < memory::HUGE_PAGES_FROM {
        command_line.flags(SMALL_GUEST_PARAMETERS);
    }
    command_line.flags(&spec.command_line);
    stages::mark("devices-made");

    params::write(&memory, &command_line.finish()?, &spec.init, kernel.end)?;
    drop(spec.init);
    mptable::write(&memory, spec.vcpus).map_err(Error::Table)?;
    cpu::write_tables(&memory)?;

    let supported = cpu::supported(&kvm)?;
    let ports = Mutex::new(Ports::new(console.clone()));
    let shared = Arc::new(Shared { bus, ports, console, stop: AtomicBool::new(false) });
    vcpu::prepare().map_err(|source| Error::System { what: "prepare to stop processors", source })?;
    let mut processors = Vec::with_capacity(spec.vcpus.into());
    for number in 0..spec.vcpus {
        let fd = vm.create_vcpu(number.into()).map_err(|source| Error::Kvm { what: "create a vCPU", source })?;
        cpu::set_cpuid(&fd, &supported, number, spec.vcpus)?;
        cpu::set_msrs(&fd, number)?;
        if number == 0 {
            cpu::enter(&fd, kernel.entry)?;
        }
        processors.push(fd);
    }
    stages::mark("vcpus-made");

    if let Some(room) = spec.jail {
        jail::enter(room)?;
        stages::mark("jailed");
    }
    let (ended, exit) = mpsc::channel();
    let mut running = Vec::with_capacity(processors.len());
    for (number, fd) in (0..).zip(processors) {
        let vcpu = Vcpu::start(number, fd, Arc::clone(&shared), ended.clone())
            .map_err(|source| Error::System { what: "start a vCPU thread", source })?;
        running.push(vcpu);
    }
    drop(ended);
    // The channel closes without an exit only if every processor's thread died.
    let exit = exit.recv().unwrap_or_else(|_| Exit::Dead("every vCPU thread ended".into()));
    stages::mark("guest-ended");
    drop(running);
    Ok(Ended { exit, _devices: shared, _vm: vm, _memory: memory })
}

/// A machine that has come to its end: no processor runs, and no device works any more once this is dropped.
///
/// Dropping it gives the machine's memory and KVM's part of it back, which takes KVM tens of milliseconds. Whoever waits
/// for the exit need not wait for that too.
pub struct Ended {
    /// How it ended.
    pub exit: Exit,
    // In the order in which they must go.
    _devices: Arc<Shared>,
    _vm: VmFd,
    _memory: Memory,
}

fn create_vm(kvm: &Kvm) -> Result<VmFd, Error> {
    let failed = |what| move |source| Error::Kvm { what, source };
    let vm = kvm.create_vm().map_err(failed("create a virtual machine"))?;
    vm.set_tss_address(layout::KVM_TSS as usize).map_err(failed("place its TSS"))?;
    vm.set_identity_map_address(layout::KVM_IDENTITY_MAP).map_err(failed("place its identity map"))?;
    vm.create_irq_chip().map_err(failed("create its interrupt controllers"))?;
    Ok(vm)
}

fn share_device(share: Share) -> Result<Box<dyn Device>, Error> {
    let server = fs::Server::new(share.tree).map_err(|source| Error::Share { tag: share.tag.clone(), source })?;
    let device = FsDevice::new(&share.tag, server).ok_or(Error::Tag(share.tag))?;
    Ok(Box::new(device))
}

/// Devices being attached: each gets the next window and interrupt line, and a word on the command line.
struct Devices<'a> {
    vm: &'a VmFd,
    memory: &'a Memory,
    bus: Bus,
    command_line: CommandLine,
    count: u32,
}

impl<'a> Devices<'a> {
    fn new(vm: &'a VmFd, memory: &'a Memory) -> Devices<'a> {
        Devices { vm, memory, bus: Bus::default(), command_line: CommandLine::default(), count: 0 }
    }

    fn add(&mut self, device: Box<dyn Device>) -> Result<(), Error> {
        let irq = layout::MMIO_IRQ + self.count;
        if irq > layout::LAST_IRQ {
            return Err(Error::TooManyDevices);
        }
        let window = layout::MMIO + u64::from(self.count) * layout::MMIO_SIZE;
        let line = event()?;
        self.vm.register_irqfd(&line, irq).map_err(|source| Error::Kvm { what: "connect an interrupt", source })?;
        let kick = device.has_thread().then(|| self.kick(window)).transpose()?;
        self.bus.add(Transport::new(device, self.memory.clone(), Interrupt::new(line), kick)?);
        let size = layout::MMIO_SIZE >> 10;
        self.command_line.set("virtio_mmio.device", format_args!("{size}K@{window:#x}:{irq}"));
        self.count += 1;
        Ok(())
    }

    /// An event that KVM signals, without leaving the kernel, whenever the driver notifies the device at `window`.
    fn kick(&self, window: u64) -> Result<EventFd, Error> {
        let kick = event()?;
        self.vm
            .register_ioevent(&kick, &IoEventAddress::Mmio(window + mmio::NOTIFY), NoDatamatch)
            .map_err(|source| Error::Kvm { what: "watch a device's notifications", source })?;
        Ok(kick)
    }
}

fn event() -> Result<EventFd, Error> {
    EventFd::new(EFD_NONBLOCK | EFD_CLOEXEC).map_err(|source| Error::System { what: "create an event", source })
}

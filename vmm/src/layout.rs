//! Every address, interrupt and size of the machine, in one table.

use vm_memory::GuestAddress;

// Guest physical memory below 1 MiB, as the x86 boot protocol leaves it to us.

/// Global descriptor table for the jump into 64-bit mode.
pub(crate) const GDT: GuestAddress = GuestAddress(0x500);
/// `boot_params`, the "zero page" (Linux Documentation/arch/x86/zero-page.rst).
pub(crate) const ZERO_PAGE: GuestAddress = GuestAddress(0x7000);
/// First stack of the boot processor.
pub(crate) const BOOT_STACK: u64 = 0x8ff0;
/// Page tables that map the first GiB onto itself: PML4, PDPT, PD, a page each.
pub(crate) const PAGE_TABLES: GuestAddress = GuestAddress(0x9000);
/// Kernel command line, up to `config::cmdline::MAX_LENGTH` bytes.
pub(crate) const COMMAND_LINE: GuestAddress = GuestAddress(0x2_0000);
/// MP table, where firmware would be and the kernel looks for it (Intel MP specification 1.4, section 4).
pub(crate) const MP_TABLE: GuestAddress = GuestAddress(0xf_0000);
/// End of base memory; the classic hole for video and firmware follows.
pub(crate) const BASE_MEMORY_END: u64 = 0xa_0000;
/// Where memory goes on after that hole.
pub(crate) const HIGH_MEMORY: u64 = 0x10_0000;

/// Memory ends here and goes on at [`ABOVE_4G`]: what lies between belongs to devices.
pub(crate) const DEVICE_HOLE: u64 = 0xd000_0000;
/// Second range of memory, when there is more than fits below the hole.
pub(crate) const ABOVE_4G: u64 = 1 << 32;

/// First virtio-mmio window.
pub(crate) const MMIO: u64 = DEVICE_HOLE;
/// Size of each window: a page, so that the kernel can map each alone.
pub(crate) const MMIO_SIZE: u64 = 0x1000;
/// Interrupt of the first virtio-mmio device; the others follow. Lines below 5 belong to legacy devices.
pub(crate) const MMIO_IRQ: u32 = 5;
/// Last interrupt line of the IO-APIC that we give out: the 16 ISA lines are enough for every device we have.
pub(crate) const LAST_IRQ: u32 = 15;

/// Local APIC of each processor (Intel SDM volume 3, section 11.4.1).
pub(crate) const LOCAL_APIC: u32 = 0xfee0_0000;
/// IO-APIC, where KVM's in-kernel one is.
pub(crate) const IO_APIC: u32 = 0xfec0_0000;
/// Three pages Intel processors without unrestricted guest mode need for real mode.
pub(crate) const KVM_TSS: u64 = 0xfffb_d000;
/// One page for the same purpose.
pub(crate) const KVM_IDENTITY_MAP: u64 = 0xfffb_c000;

/// Least guest memory: the kernel with its page tables and our initramfs take about 40 MiB to come up.
pub const LEAST_MEMORY: u64 = 48 << 20;
/// Most vCPUs: what the guest kernel is built for (`CONFIG_NR_CPUS`).
pub const MOST_VCPUS: u8 = 64;

/// First serial port, where the kernel writes before it has a console device (`earlyprintk=serial`).
pub(crate) const SERIAL_PORT: u16 = 0x3f8;
/// Number of ports a serial port takes.
pub(crate) const SERIAL_PORTS: u16 = 8;
/// Command port of the keyboard controller: the kernel's `reboot=k` resets the machine through it.
pub(crate) const KEYBOARD_COMMAND: u16 = 0x64;
/// The command that pulses the reset line.
pub(crate) const KEYBOARD_RESET: u8 = 0xfe;

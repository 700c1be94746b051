//! The state in which the first processor enters the kernel, and what each processor says it is.

use kvm_bindings::{CpuId, KVM_MAX_CPUID_ENTRIES, Msrs, kvm_cpuid_entry2, kvm_msr_entry, kvm_regs, kvm_segment};
use kvm_ioctls::{Cap, Kvm, VcpuFd};
use vm_memory::{Bytes, GuestAddress};

use crate::layout;
use crate::memory::Memory;

/// Why a processor could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A KVM call.
    #[error("KVM refused to {what} of vCPU {vcpu}")]
    Kvm {
        /// What was tried.
        what: &'static str,
        /// Which processor.
        vcpu: u8,
        /// Why.
        source: kvm_ioctls::Error,
    },
    /// What this processor supports could not be read.
    #[error("KVM does not say what this processor supports")]
    Supported(#[source] kvm_ioctls::Error),
    /// Tables in guest memory.
    #[error("Cannot write the boot tables to guest memory")]
    Tables(#[source] vm_memory::guest_memory::Error),
}

// Control register and EFER bits (Intel SDM volume 3, section 2.5; AMD APM volume 2, section 3.1).
const CR0_PROTECTION: u64 = 1;
const CR0_EXTENSION_TYPE: u64 = 1 << 4;
const CR0_PAGING: u64 = 1 << 31;
const CR4_PHYSICAL_ADDRESS_EXTENSION: u64 = 1 << 5;
const EFER_LONG_MODE_ENABLE: u64 = 1 << 8;
const EFER_LONG_MODE_ACTIVE: u64 = 1 << 10;
/// Bit 1 of the flags register is always set; interrupts are off.
const FLAGS: u64 = 2;

// Page table entries: present, writable, and a 2 MiB page.
const TABLE: u64 = 0b11;
const LARGE_PAGE: u64 = 0b1000_0011;

const MSR_MISC_ENABLE: u32 = 0x1a0;
/// Fast string operations on, as firmware leaves them.
const MISC_ENABLE_FAST_STRINGS: u64 = 1;
const MSR_MTRR_DEFAULT_TYPE: u32 = 0x2ff;
/// MTRRs on, all memory write-back.
const MTRR_WRITE_BACK: u64 = 1 << 11 | 6;

/// What this host lets guests have, ready to be given to each processor.
pub(crate) fn supported(kvm: &Kvm) -> Result<CpuId, Error> {
    let mut cpuid = kvm.get_supported_cpuid(KVM_MAX_CPUID_ENTRIES).map_err(Error::Supported)?;
    if kvm.check_extension(Cap::TscDeadlineTimer) {
        // Needs no calibration and no exit to read; KVM offers it apart (api.rst, section 4.46).
        for entry in cpuid.as_mut_slice().iter_mut().filter(|entry| entry.function == 1) {
            entry.ecx |= 1 << 24;
        }
    }
    fix_xsave_size(cpuid.as_mut_slice());
    Ok(cpuid)
}

/// Leaf 0xd says how large the state of all features is that may be switched on; KVM reports the host's size, which
/// can hold features that guests do not get, and Linux warns of that. Each feature's own leaf has its size (EAX) and
/// offset (EBX) (Intel SDM volume 1, section 13.2).
fn fix_xsave_size(entries: &mut [kvm_cpuid_entry2]) {
    let leaf = |entry: &&kvm_cpuid_entry2| entry.function == 0xd;
    let Some(features) = entries.iter().filter(leaf).find(|entry| entry.index == 0).map(|entry| entry.eax) else {
        return;
    };
    let enabled = |entry: &&kvm_cpuid_entry2| (2..32).contains(&entry.index) && features >> entry.index & 1 == 1;
    let ends = entries.iter().filter(leaf).filter(enabled).map(|entry| entry.eax.saturating_add(entry.ebx));
    let size = ends.max().unwrap_or(0).max(XSAVE_LEGACY);
    for entry in entries.iter_mut().filter(|entry| entry.function == 0xd && entry.index == 0) {
        entry.ecx = size;
    }
}

/// The legacy area and the header, which every XSAVE image has.
const XSAVE_LEGACY: u32 = 512 + 64;

/// Tells processor `vcpu` of `count` what it is.
pub(crate) fn set_cpuid(fd: &VcpuFd, supported: &CpuId, vcpu: u8, count: u8) -> Result<(), Error> {
    let mut cpuid = supported.clone();
    for entry in cpuid.as_mut_slice() {
        describe(entry, u32::from(vcpu), u32::from(count));
    }
    fd.set_cpuid2(&cpuid).map_err(|source| Error::Kvm { what: "set the CPUID", vcpu, source })
}

/// Topology: every processor is a core of its own in one package.
fn describe(entry: &mut kvm_cpuid_entry2, vcpu: u32, count: u32) {
    let bits = count.next_power_of_two().trailing_zeros();
    match entry.function {
        1 => {
            // APIC id, logical processors, and a hypervisor is present.
            entry.ebx = entry.ebx & 0x0000_ffff | vcpu << 24 | count << 16;
            entry.ecx |= 1 << 31;
            let several = 1 << 28;
            entry.edx = if count > 1 { entry.edx | several } else { entry.edx & !several };
        }
        4 => {
            // Cores per package, and private caches (Intel).
            entry.eax = entry.eax & 0x0000_3fff | (count.next_power_of_two() - 1) << 26;
        }
        0xb | 0x1f => {
            entry.edx = vcpu;
            entry.ecx = entry.index & 0xff;
            match entry.index {
                0 => (entry.eax, entry.ebx, entry.ecx) = (0, 1, 0x100),
                1 => (entry.eax, entry.ebx, entry.ecx) = (bits, count, 0x201),
                _ => (entry.eax, entry.ebx) = (0, 0),
            }
        }
        0x8000_0008 => entry.ecx = bits << 12 | (count - 1),
        0x8000_001e => (entry.eax, entry.ebx, entry.ecx) = (vcpu, vcpu, 0),
        _ => {}
    }
}

/// Writes the tables that 64-bit mode starts with: a GDT and an identity map of the first GiB.
pub(crate) fn write_tables(memory: &Memory) -> Result<(), Error> {
    let write = |values: &[u64], at: GuestAddress| {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        memory.write_slice(&bytes, at).map_err(Error::Tables)
    };
    write(&GDT, layout::GDT)?;
    let tables = layout::PAGE_TABLES.0;
    let (pointers, directory) = (tables + 0x1000, tables + 0x2000);
    write(&[pointers | TABLE], GuestAddress(tables))?;
    write(&[directory | TABLE], GuestAddress(pointers))?;
    let pages: Vec<u64> = (0..512).map(|page| page << 21 | LARGE_PAGE).collect();
    write(&pages, GuestAddress(directory))
}

/// Null, null, code and data: the boot protocol wants code at selector 0x10 and data at 0x18.
const GDT: [u64; 4] = [0, 0, 0x00af_9b00_0000_ffff, 0x00cf_9300_0000_ffff];

/// Puts the first processor at `entry` in 64-bit mode, as Linux Documentation/arch/x86/boot.rst ("64-bit boot
/// protocol") demands.
pub(crate) fn enter(fd: &VcpuFd, entry: u64) -> Result<(), Error> {
    let failed = |what| move |source| Error::Kvm { what, vcpu: 0, source };
    let mut special = fd.get_sregs().map_err(failed("read the registers"))?;
    special.gdt.base = layout::GDT.0;
    special.gdt.limit = (GDT.len() * 8 - 1) as u16;
    let data = segment(3, 0x3, false);
    special.cs = segment(2, 0xb, true);
    (special.ds, special.es, special.fs, special.gs, special.ss) = (data, data, data, data, data);
    special.cr0 = CR0_PROTECTION | CR0_EXTENSION_TYPE | CR0_PAGING;
    special.cr3 = layout::PAGE_TABLES.0;
    special.cr4 = CR4_PHYSICAL_ADDRESS_EXTENSION;
    special.efer = EFER_LONG_MODE_ENABLE | EFER_LONG_MODE_ACTIVE;
    fd.set_sregs(&special).map_err(failed("set the special registers"))?;
    let registers = kvm_regs {
        rflags: FLAGS,
        rip: entry,
        rsp: layout::BOOT_STACK,
        rsi: layout::ZERO_PAGE.0,
        ..kvm_regs::default()
    };
    fd.set_regs(&registers).map_err(failed("set the registers"))
}

/// Model-specific registers that firmware would have set.
pub(crate) fn set_msrs(fd: &VcpuFd, vcpu: u8) -> Result<(), Error> {
    let entry = |index, data| kvm_msr_entry { index, data, ..kvm_msr_entry::default() };
    let wanted = [entry(MSR_MISC_ENABLE, MISC_ENABLE_FAST_STRINGS), entry(MSR_MTRR_DEFAULT_TYPE, MTRR_WRITE_BACK)];
    let failed = |errno| Error::Kvm { what: "set the MSRs", vcpu, source: kvm_ioctls::Error::new(errno) };
    let list = Msrs::from_entries(&wanted).map_err(|_| failed(libc::ENOMEM))?;
    let written = fd.set_msrs(&list).map_err(|source| Error::Kvm { what: "set the MSRs", vcpu, source })?;
    if written == wanted.len() { Ok(()) } else { Err(failed(libc::EINVAL)) }
}

/// A flat segment: `kind` as in the descriptor's type field.
fn segment(index: u16, kind: u8, code: bool) -> kvm_segment {
    kvm_segment {
        base: 0,
        limit: u32::MAX,
        selector: index * 8,
        type_: kind,
        present: 1,
        dpl: 0,
        db: u8::from(!code),
        s: 1,
        l: u8::from(code),
        g: 1,
        ..kvm_segment::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory;

    #[test]
    fn the_identity_map_maps_the_kernel_onto_itself() {
        let memory = memory::create(64 << 20).unwrap();
        write_tables(&memory).unwrap();
        let read = |at: u64| memory.read_obj::<u64>(GuestAddress(at)).unwrap();
        let pointers = read(layout::PAGE_TABLES.0) & !0xfff;
        let directory = read(pointers) & !0xfff;
        let page = read(directory + 8 * 8);
        assert_eq!(page & !0xfff, 16 << 20);
        assert_eq!(page & LARGE_PAGE, LARGE_PAGE);
    }

    #[test]
    fn the_xsave_size_is_that_of_the_features_offered() {
        let entry =
            |index, eax, ebx| kvm_cpuid_entry2 { function: 0xd, index, eax, ebx, ecx: 0x340, ..Default::default() };
        let mut entries = [entry(0, 7, 0x240), entry(1, 5, 0), entry(2, 0x100, 0x240), entry(9, 8, 0xa80)];
        fix_xsave_size(&mut entries);
        assert_eq!(entries[0].ecx, 0x340);
        entries[0].eax = 3;
        fix_xsave_size(&mut entries);
        assert_eq!(entries[0].ecx, 0x240);
    }

    #[test]
    fn each_processor_has_an_id_of_its_own() {
        let mut entry = kvm_cpuid_entry2 { function: 1, ebx: 0xffff_ffff, ..kvm_cpuid_entry2::default() };
        describe(&mut entry, 3, 4);
        assert_eq!((entry.ebx >> 24, entry.ebx >> 16 & 0xff), (3, 4));
        let mut entry = kvm_cpuid_entry2 { function: 0xb, index: 1, ..kvm_cpuid_entry2::default() };
        describe(&mut entry, 3, 5);
        assert_eq!((entry.eax, entry.ebx, entry.edx), (3, 5, 3));
    }
}

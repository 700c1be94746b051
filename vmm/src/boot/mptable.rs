//! The MP table: how a kernel without ACPI learns of processors and the IO-APIC (Intel MP specification 1.4, section 4).

use vm_memory::{Bytes, GuestAddress};

use crate::layout;
use crate::memory::Memory;

/// Version 1.4, as all entries below have it.
const SPECIFICATION: u8 = 4;
/// Version register of a local APIC that is part of the processor.
const APIC_VERSION: u8 = 0x14;
const PROCESSOR: u8 = 0;
const BUS: u8 = 1;
const IO_APIC: u8 = 2;
const INTERRUPT: u8 = 3;
const LOCAL_INTERRUPT: u8 = 4;
const ENABLED: u8 = 1;
const BOOT_PROCESSOR: u8 = 2;
/// Interrupt types of section 4.3.4: a vectored one, and one from an 8259.
const VECTORED: u8 = 0;
const NON_MASKABLE: u8 = 1;
const EXTERNAL: u8 = 3;
/// Number of the only bus.
const ISA_BUS: u8 = 0;

/// Writes the table for `vcpus` processors, APIC ids 0 and up.
pub(crate) fn write(memory: &Memory, vcpus: u8) -> Result<(), vm_memory::guest_memory::Error> {
    memory.write_slice(&build(vcpus, layout::MP_TABLE.0 as u32), GuestAddress(layout::MP_TABLE.0))
}

/// The floating pointer and, right behind it, the table, for guest physical address `address`.
fn build(vcpus: u8, address: u32) -> Vec<u8> {
    let (entries, count) = entries(vcpus);
    let mut table = Vec::with_capacity(44 + entries.len());
    table.extend_from_slice(b"PCMP");
    table.extend_from_slice(&(44 + entries.len() as u16).to_le_bytes());
    table.extend_from_slice(&[SPECIFICATION, 0]);
    table.extend_from_slice(b"CORACLE microVM     ");
    table.extend_from_slice(&[0; 6]); // no OEM table
    table.extend_from_slice(&count.to_le_bytes());
    table.extend_from_slice(&layout::LOCAL_APIC.to_le_bytes());
    table.extend_from_slice(&[0; 4]);
    table.extend_from_slice(&entries);
    table[7] = checksum(&table);

    let mut pointer = Vec::with_capacity(16 + table.len());
    pointer.extend_from_slice(b"_MP_");
    pointer.extend_from_slice(&(address + 16).to_le_bytes());
    pointer.extend_from_slice(&[1, SPECIFICATION, 0, 0, 0, 0, 0, 0]);
    pointer[10] = checksum(&pointer);
    pointer.extend_from_slice(&table);
    pointer
}

fn entries(vcpus: u8) -> (Vec<u8>, u16) {
    let mut entries = Vec::new();
    for id in 0..vcpus {
        let flags = ENABLED | if id == 0 { BOOT_PROCESSOR } else { 0 };
        entries.extend_from_slice(&[PROCESSOR, id, APIC_VERSION, flags]);
        entries.extend_from_slice(&[0x00, 0x06, 0, 0]); // family 6
        entries.extend_from_slice(&[0x01, 0x02, 0, 0]); // has an FPU and an APIC
        entries.extend_from_slice(&[0; 8]);
    }
    entries.extend_from_slice(&[BUS, ISA_BUS]);
    entries.extend_from_slice(b"ISA   ");
    let io_apic = vcpus; // the first id that no processor has
    entries.extend_from_slice(&[IO_APIC, io_apic, APIC_VERSION, ENABLED]);
    entries.extend_from_slice(&layout::IO_APIC.to_le_bytes());
    for line in 0..=layout::LAST_IRQ as u8 {
        entries.extend_from_slice(&[INTERRUPT, VECTORED, 0, 0, ISA_BUS, line, io_apic, line]);
    }
    entries.extend_from_slice(&[LOCAL_INTERRUPT, EXTERNAL, 0, 0, ISA_BUS, 0, 0, 0]);
    entries.extend_from_slice(&[LOCAL_INTERRUPT, NON_MASKABLE, 0, 0, ISA_BUS, 0, 0xff, 1]);
    let count = u16::from(vcpus) + 1 + 1 + layout::LAST_IRQ as u16 + 1 + 2;
    (entries, count)
}

/// The byte that makes the sum of all bytes zero.
fn checksum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte)).wrapping_neg()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pointer_and_table_sum_to_zero_and_say_their_length() {
        for vcpus in [1, 2, layout::MOST_VCPUS] {
            let bytes = build(vcpus, 0xf_0000);
            let (pointer, table) = bytes.split_at(16);
            assert_eq!(checksum(pointer), 0);
            assert_eq!(checksum(table), 0);
            assert_eq!(usize::from(u16::from_le_bytes([table[4], table[5]])), table.len());
            let mut counted = 0;
            let mut rest = &table[44..];
            while let Some(kind) = rest.first() {
                rest = &rest[if *kind == PROCESSOR { 20 } else { 8 }..];
                counted += 1;
            }
            assert_eq!(u16::from_le_bytes([table[34], table[35]]), counted);
        }
    }

    #[test]
    fn the_largest_table_ends_before_high_memory() {
        let end = layout::MP_TABLE.0 + build(layout::MOST_VCPUS, 0).len() as u64;
        assert!(end <= layout::HIGH_MEMORY, "{end:#x}");
    }
}

//! A kernel lands where it says; a file that is none is refused by name.

use std::io::Write;

use super::*;
use crate::memory;

const BASE: u64 = 16 << 20;

/// An ELF file with one segment whose data starts at `offset` in the file.
fn elf(offset: u64, address: u64, data: &[u8], in_memory: u64) -> Vec<u8> {
    let mut file = vec![0; offset as usize];
    file[..20].copy_from_slice(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\x3e\0");
    file[24..32].copy_from_slice(&address.to_le_bytes());
    file[32..40].copy_from_slice(&64u64.to_le_bytes());
    file[54..56].copy_from_slice(&56u16.to_le_bytes());
    file[56..58].copy_from_slice(&1u16.to_le_bytes());
    file[64..68].copy_from_slice(&PT_LOAD.to_le_bytes());
    for (at, value) in [(72, offset), (80, address), (88, address), (96, data.len() as u64), (104, in_memory)] {
        file[at..at + 8].copy_from_slice(&value.to_le_bytes());
    }
    file.extend_from_slice(data);
    file
}

fn load_bytes(bytes: &[u8]) -> (Memory, Result<Kernel, Error>) {
    let memory = memory::create(64 << 20).unwrap();
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    let result = load(&file, &memory);
    (memory, result)
}

#[test]
fn a_segment_lands_at_its_address_and_what_follows_it_stays_zero() {
    let data: Vec<u8> = (0..3 * 4096 + 100).map(|byte| (byte % 251) as u8 + 1).collect();
    for offset in [4096, 4096 + 8] {
        let mut image = elf(offset, BASE, &data, 5 * 4096);
        image.extend_from_slice(&[0xee; 4096]);
        let (memory, kernel) = load_bytes(&image);
        let kernel = kernel.unwrap();
        assert_eq!((kernel.entry, kernel.end), (BASE, BASE + 5 * 4096));
        let mut landed = vec![0; 5 * 4096];
        memory.read_slice(&mut landed, GuestAddress(BASE)).unwrap();
        assert_eq!(landed[..data.len()], data, "offset {offset}");
        assert!(landed[data.len()..].iter().all(|byte| *byte == 0), "bss holds file content, offset {offset}");
    }
}

#[test]
fn writing_to_a_loaded_kernel_leaves_the_file_alone() {
    let image = elf(4096, BASE, &[7; 8192], 8192);
    let memory = memory::create(64 << 20).unwrap();
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&image).unwrap();
    load(&file, &memory).unwrap();
    memory.write_slice(&[9; 8192], GuestAddress(BASE)).unwrap();
    let mut after = vec![0; image.len()];
    file.read_exact_at(&mut after, 0).unwrap();
    assert_eq!(after, image);
}

#[test]
fn what_is_no_kernel_is_refused() {
    let too_high = elf(4096, 1 << 40, &[1], 1);
    let too_low = elf(4096, 0x1000, &[1], 1);
    let mut lying = elf(4096, BASE, &[1], 1);
    lying[96..104].copy_from_slice(&u64::MAX.to_le_bytes());
    let mut wrapping = elf(4096, u64::MAX - 10, &[1], 4096);
    wrapping[24..32].copy_from_slice(&BASE.to_le_bytes());
    let mut entry_outside = elf(4096, BASE, &[1], 1);
    entry_outside[24] = 0xff;
    let mut another = elf(4096, BASE, &[1], 1);
    another[18] = 0xb7;
    let cases: [&[u8]; 9] =
        [b"", b"MZ", &[0; 4096], b"\x7fELF", &too_high, &too_low, &lying, &wrapping, &entry_outside];
    for (number, case) in cases.into_iter().chain([another.as_slice()]).enumerate() {
        assert!(load_bytes(case).1.is_err(), "case {number} was taken for a kernel");
    }
}

#[test]
fn every_cut_of_a_kernel_is_an_error_and_never_a_panic() {
    let image = elf(200, BASE, &[5; 64], 64);
    for length in 0..image.len() {
        assert!(load_bytes(&image[..length]).1.is_err(), "cut at {length}");
    }
    assert!(load_bytes(&image).1.is_ok());
}

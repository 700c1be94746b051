//! What the kernel is told at its entry: command line, initial file system and memory map, in the zero page.

use linux_loader::bootparam::{boot_e820_entry, boot_params};
use vm_memory::{Bytes, GuestAddress, GuestMemoryBackend, GuestMemoryRegion};

use crate::boot::initramfs;
use crate::layout;
use crate::memory::{self, Memory};

/// Value of the magic fields of the boot protocol (Linux Documentation/arch/x86/boot.rst).
const BOOT_FLAG: u16 = 0xaa55;
const HEADER_MAGIC: u32 = 0x5372_6448;
/// "Another boot loader", without an assigned number.
const LOADER_UNDEFINED: u8 = 0xff;
/// Memory types of the map.
const E820_RAM: u32 = 1;
const E820_RESERVED: u32 = 2;
const PAGE: u64 = 4096;

/// Why the parameters could not be written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The initial file system needs room behind the kernel.
    #[error("Guest memory has no room for an initial file system of {0} bytes behind the kernel; give more with -m")]
    NoRoom(u64),
    /// Writing to guest memory failed.
    #[error("Cannot write the {what} to guest memory")]
    Write {
        /// What was being written.
        what: &'static str,
        /// Why.
        source: vm_memory::guest_memory::Error,
    },
}

/// Writes `command_line`, an initial file system with `init`, and the zero page; `kernel_end` is the first address behind
/// the kernel.
pub(crate) fn write(memory: &Memory, command_line: &str, init: &[u8], kernel_end: u64) -> Result<(), Error> {
    let failed = |what| move |source| Error::Write { what, source };
    let mut line = command_line.as_bytes().to_vec();
    line.push(0);
    memory.write_slice(&line, layout::COMMAND_LINE).map_err(failed("kernel command line"))?;
    let (before, behind) = initramfs::around(init);
    let size = (before.len() + init.len() + behind.len()) as u64;
    let at = initramfs_address(memory, size, kernel_end)?;
    memory::expect_dense(memory, page_table_start(memory, at), low_end(memory));
    let mut next = at;
    for part in [&before, init, &behind] {
        memory.write_slice(part, GuestAddress(next)).map_err(failed("initial file system"))?;
        next += part.len() as u64;
    }

    let mut page = boot_params::default();
    page.hdr.boot_flag = BOOT_FLAG;
    page.hdr.header = HEADER_MAGIC;
    page.hdr.type_of_loader = LOADER_UNDEFINED;
    page.hdr.cmd_line_ptr = layout::COMMAND_LINE.0 as u32;
    page.hdr.cmdline_size = command_line.len() as u32;
    page.hdr.ramdisk_image = at as u32;
    page.hdr.ramdisk_size = size as u32;
    let map = memory_map(memory);
    page.e820_table[..map.len()].copy_from_slice(&map);
    page.e820_entries = map.len() as u8;
    memory.write_obj(page, layout::ZERO_PAGE).map_err(failed("boot parameters"))
}

/// The kernel's first allocation is its table of pages, 64 bytes for each of 4096, as high as it goes below the initial
/// file system, and it fills all of that.
fn page_table_start(memory: &Memory, initramfs: u64) -> u64 {
    let bytes: u64 = memory.iter().map(GuestMemoryRegion::len).sum();
    initramfs.saturating_sub(bytes / (PAGE / 64))
}

/// The end of the first range of memory.
fn low_end(memory: &Memory) -> u64 {
    memory.iter().next().map_or(0, |region| region.last_addr().0 + 1)
}

/// As high as possible in the first range of memory, so that it is far from where the kernel allocates first.
fn initramfs_address(memory: &Memory, size: u64, kernel_end: u64) -> Result<u64, Error> {
    let at = low_end(memory).checked_sub(size).ok_or(Error::NoRoom(size))? & !(PAGE - 1);
    if at < kernel_end { Err(Error::NoRoom(size)) } else { Ok(at) }
}

fn memory_map(memory: &Memory) -> Vec<boot_e820_entry> {
    let entry = |start, end: u64, kind| boot_e820_entry { addr: start, size: end - start, r#type: kind };
    let mut map = vec![
        entry(0, layout::BASE_MEMORY_END, E820_RAM),
        entry(layout::MP_TABLE.0, layout::HIGH_MEMORY, E820_RESERVED),
    ];
    for region in memory.iter() {
        let start = region.start_addr().0.max(layout::HIGH_MEMORY);
        map.push(entry(start, region.last_addr().0 + 1, E820_RAM));
    }
    map
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory;

    #[test]
    fn the_kernel_reads_back_what_it_is_told() {
        let memory = memory::create(64 << 20).unwrap();
        write(&memory, "quiet", b"init", 32 << 20).unwrap();
        let page: boot_params = memory.read_obj(layout::ZERO_PAGE).unwrap();
        let mut line = [0; 6];
        memory.read_slice(&mut line, GuestAddress(u64::from(page.hdr.cmd_line_ptr))).unwrap();
        assert_eq!(&line, b"quiet\0");
        let mut archive = [0; 6];
        memory.read_slice(&mut archive, GuestAddress(u64::from(page.hdr.ramdisk_image))).unwrap();
        assert_eq!(&archive, b"070701");
        assert_eq!(page.e820_entries, 3);
        let last = page.e820_table[2];
        assert_eq!(({ last.addr }, { last.addr } + { last.size }), (layout::HIGH_MEMORY, 64 << 20));
    }

    #[test]
    fn an_initramfs_that_would_overwrite_the_kernel_is_refused() {
        let memory = memory::create(64 << 20).unwrap();
        assert!(matches!(write(&memory, "", &[0; 8192], 64 << 20), Err(Error::NoRoom(_))));
    }
}

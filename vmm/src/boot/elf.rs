//! Puts an ELF kernel into guest memory by mapping the file there, so that no start pays for copying it.

use std::fs::File;
use std::io::{self, Seek, SeekFrom};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::FileExt;

use vm_memory::{Bytes, GuestAddress, GuestMemoryBackend};

use crate::layout;
use crate::memory::{self, Memory};

/// Size of the ELF header and of each program header (System V ABI, 64-bit object file format).
const HEADER: usize = 64;
const PROGRAM_HEADER: usize = 56;
/// A kernel has a handful of segments; a file with more is not one.
const MOST_SEGMENTS: u16 = 64;
/// Loadable segment.
const PT_LOAD: u32 = 1;
/// Flag of a segment whose pages the program writes to.
const PF_WRITE: u32 = 2;
/// x86-64.
const EM_X86_64: u16 = 62;
/// The size of a page.
const PAGE: u64 = 4096;

/// Why a file is not a kernel that we can enter.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It could not be read.
    #[error("Cannot read the guest kernel")]
    Read(#[source] io::Error),
    /// Not an ELF file for this processor.
    #[error("The guest kernel is {0}; a microVM takes an uncompressed 64-bit ELF vmlinux for x86-64")]
    Format(&'static str),
    /// A segment that lies outside of guest memory, or below where a kernel may be.
    #[error(
        "The guest kernel wants {length} bytes at {address:#x}, which is not guest memory; give the container more with -m"
    )]
    Segment {
        /// Guest physical address.
        address: u64,
        /// Bytes.
        length: u64,
    },
    /// The mapping failed.
    #[error("Cannot map the guest kernel into memory")]
    Map(#[source] io::Error),
    /// Writing to guest memory failed.
    #[error("Cannot write the guest kernel to memory at {0:#x}")]
    Write(u64, #[source] vm_memory::guest_memory::Error),
}

/// One loadable segment.
#[derive(Debug, PartialEq, Eq)]
struct Segment {
    offset: u64,
    address: u64,
    in_file: u64,
    in_memory: u64,
    writable: bool,
}

/// What the kernel says of itself.
pub(crate) struct Kernel {
    /// Guest physical address of its 64-bit entry.
    pub(crate) entry: u64,
    /// Guest physical address of the first data it writes to; `end` if it has none.
    pub(crate) data: u64,
    /// First guest physical address behind it.
    pub(crate) end: u64,
}

/// Maps `file` into `memory`.
pub(crate) fn load(file: &File, memory: &Memory) -> Result<Kernel, Error> {
    let size = file.metadata().map_err(Error::Read)?.len();
    let mut header = [0; HEADER];
    if size < HEADER as u64 {
        return Err(Error::Format("too short"));
    }
    file.read_exact_at(&mut header, 0).map_err(Error::Read)?;
    let (entry, table, count) = parse_header(&header)?;
    let mut headers = vec![0; PROGRAM_HEADER * usize::from(count)];
    if table.checked_add(headers.len() as u64).is_none_or(|end| end > size) {
        return Err(Error::Format("cut short"));
    }
    file.read_exact_at(&mut headers, table).map_err(Error::Read)?;

    let segments: Vec<_> = headers.chunks_exact(PROGRAM_HEADER).filter_map(parse_segment).collect();
    let mut kernel = Kernel { entry, data: u64::MAX, end: 0 };
    let mut entered = false;
    for segment in &segments {
        let last = check(segment, size, memory)?;
        entered |= (segment.address..last).contains(&entry);
        kernel.end = kernel.end.max(last);
        kernel.data = if segment.writable { kernel.data.min(segment.address) } else { kernel.data };
    }
    if !entered {
        return Err(Error::Format("one whose entry point is outside of it"));
    }
    kernel.data = kernel.data.min(kernel.end);
    // Before anything is copied there, or small pages are already in place.
    memory::expect_dense(memory, kernel.data, kernel.end);
    segments.iter().try_for_each(|segment| place(file, segment, memory))?;
    Ok(kernel)
}

/// Entry address, offset of the program headers, and their number.
fn parse_header(header: &[u8; HEADER]) -> Result<(u64, u64, u16), Error> {
    if header[..4] != *b"\x7fELF" {
        return Err(Error::Format(match &header[..] {
            [b'M', b'Z', ..] => "a bzImage",
            [0x28, 0xb5, 0x2f, 0xfd, ..] => "compressed with zstd",
            [0x1f, 0x8b, ..] => "compressed with gzip",
            _ => "no ELF file",
        }));
    }
    let is_64_bit = header[4] == 2;
    let little_endian = header[5] == 1;
    if !is_64_bit || !little_endian || u16_at(header, 18) != EM_X86_64 {
        return Err(Error::Format("an ELF file for another processor"));
    }
    let count = u16_at(header, 56);
    if usize::from(u16_at(header, 54)) != PROGRAM_HEADER || count == 0 || count > MOST_SEGMENTS {
        return Err(Error::Format("an ELF file without a sane table of segments"));
    }
    Ok((u64_at(header, 24), u64_at(header, 32), count))
}

fn parse_segment(header: &[u8]) -> Option<Segment> {
    (u32_at(header, 0) == PT_LOAD).then(|| Segment {
        offset: u64_at(header, 8),
        address: u64_at(header, 24),
        in_file: u64_at(header, 32),
        in_memory: u64_at(header, 40),
        writable: u32_at(header, 4) & PF_WRITE != 0,
    })
}

/// Checks that a segment lies inside the file and inside memory; returns the address behind it.
fn check(segment: &Segment, size: u64, memory: &Memory) -> Result<u64, Error> {
    let outside = || Error::Segment { address: segment.address, length: segment.in_memory };
    let end = segment.address.checked_add(segment.in_memory).ok_or_else(outside)?;
    if segment.in_file > segment.in_memory || segment.offset.checked_add(segment.in_file).is_none_or(|end| end > size) {
        return Err(Error::Format("an ELF file whose segments are longer than it"));
    }
    let length = usize::try_from(segment.in_memory).map_err(|_| outside())?;
    if segment.address < layout::HIGH_MEMORY || !memory.check_range(GuestAddress(segment.address), length) {
        return Err(outside());
    }
    Ok(end)
}

/// Maps the whole pages of a segment and copies the ends that share a page with something else. Data is copied whole: the
/// kernel writes to most of it at once, and a private copy made then costs a fault, a copy and a flush for each page.
fn place(file: &File, segment: &Segment, memory: &Memory) -> Result<(), Error> {
    let file_end = segment.address + segment.in_file;
    let first = segment.address.next_multiple_of(PAGE);
    let last = file_end - file_end % PAGE;
    let aligned = segment.offset % PAGE == segment.address % PAGE;
    if segment.writable || !aligned || first >= last {
        return copy(file, segment, segment.address, file_end, memory);
    }
    map(file, segment.offset + (first - segment.address), first, last - first, memory)?;
    copy(file, segment, segment.address, first, memory)?;
    copy(file, segment, last, file_end, memory)
}

/// Copies the part of a segment between two guest addresses.
fn copy(file: &File, segment: &Segment, from: u64, to: u64, memory: &Memory) -> Result<(), Error> {
    let mut source = file;
    source.seek(SeekFrom::Start(segment.offset + (from - segment.address))).map_err(Error::Read)?;
    memory
        .read_exact_volatile_from(GuestAddress(from), &mut file.as_fd(), (to - from) as usize)
        .map_err(|error| Error::Write(from, error))
}

/// Replaces whole pages of guest memory by private pages of `file`.
fn map(file: &File, offset: u64, address: u64, length: u64, memory: &Memory) -> Result<(), Error> {
    let wrong = |_| Error::Segment { address, length };
    let slice = memory.get_slice(GuestAddress(address), length as usize).map_err(wrong)?;
    let target = slice.ptr_guard_mut().as_ptr().cast::<libc::c_void>();
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    let flags = libc::MAP_PRIVATE | libc::MAP_FIXED | libc::MAP_NORESERVE;
    // SAFETY: `target` and `length` are whole pages inside a mapping that we own, and nothing else refers to them yet.
    let mapped =
        unsafe { libc::mmap(target, length as usize, protection, flags, file.as_raw_fd(), offset as libc::off_t) };
    if mapped == libc::MAP_FAILED {
        return Err(Error::Map(io::Error::last_os_error()));
    }
    Ok(())
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from(u16_at(bytes, at)) | u32::from(u16_at(bytes, at + 2)) << 16
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}

#[cfg(test)]
#[path = "elf_test.rs"]
mod tests;

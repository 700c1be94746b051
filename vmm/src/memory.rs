//! Guest memory: private anonymous pages, given by the host only when the guest first touches them.

use kvm_bindings::kvm_userspace_memory_region;
use kvm_ioctls::VmFd;
use vm_memory::{GuestAddress, GuestMemoryBackend, GuestMemoryMmap, GuestMemoryRegion};

use crate::layout;

/// Guest memory as all devices see it.
pub(crate) type Memory = GuestMemoryMmap<()>;

/// Why there is no memory.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Less than the kernel needs.
    #[error("Guest memory of {0} bytes is too little; a microVM needs at least {least} MiB", least = layout::LEAST_MEMORY >> 20)]
    TooLittle(u64),
    /// The address space or the host's overcommit limit does not hold it.
    #[error("Cannot reserve {0} bytes of guest memory; ask for less with -m")]
    Map(u64, #[source] vm_memory::mmap::FromRangesError),
    /// KVM did not take it.
    #[error("KVM refused the guest memory at {0:#x}")]
    Kvm(u64, #[source] kvm_ioctls::Error),
}

/// The ranges of `size` bytes of memory: address and length each.
pub(crate) fn ranges(size: u64) -> Vec<(u64, u64)> {
    let low = size.min(layout::DEVICE_HOLE);
    let mut ranges = vec![(0, low)];
    if size > low {
        ranges.push((layout::ABOVE_4G, size - low));
    }
    ranges
}

/// Reserves `size` bytes, rounded down to whole pages.
pub(crate) fn create(size: u64) -> Result<Memory, Error> {
    if size < layout::LEAST_MEMORY {
        return Err(Error::TooLittle(size));
    }
    let size = size & !0xfff;
    let ranges: Vec<_> =
        ranges(size).into_iter().map(|(start, length)| (GuestAddress(start), length as usize)).collect();
    let memory = Memory::from_ranges(&ranges).map_err(|error| Error::Map(size, error))?;
    for region in memory.iter() {
        name(region.as_ptr() as usize, region.len() as usize);
        let advice = if size < HUGE_PAGES_FROM { libc::MADV_NOHUGEPAGE } else { libc::MADV_HUGEPAGE };
        advise(region.as_ptr(), region.len() as usize, advice);
    }
    Ok(memory)
}

/// Gives the memory to the virtual machine.
pub(crate) fn register(vm: &VmFd, memory: &Memory) -> Result<(), Error> {
    for (slot, region) in memory.iter().enumerate() {
        let description = kvm_userspace_memory_region {
            slot: slot as u32,
            flags: 0,
            guest_phys_addr: region.start_addr().0,
            memory_size: region.len(),
            userspace_addr: region.as_ptr() as u64,
        };
        // SAFETY: the range is mapped for as long as `memory` lives, which the machine keeps longer than the VM.
        unsafe { vm.set_user_memory_region(description) }.map_err(|error| Error::Kvm(region.start_addr().0, error))?;
    }
    Ok(())
}

/// Guests of less than this get small pages, but where memory is known to be used densely. A small guest touches its
/// memory so sparsely that huge pages would cost up to 2 MiB, and the clearing of it, for each byte; a large one is there
/// to work, and huge pages halve the cost of its page walks.
pub(crate) const HUGE_PAGES_FROM: u64 = 1 << 30;
/// The size of a huge page.
const HUGE_PAGE: u64 = 2 << 20;

/// Says that the guest will soon write to most of the memory from `start` to `end`: one fault per huge page instead of
/// 512 then. Whole huge pages only; what is not memory is left out.
pub(crate) fn expect_dense(memory: &Memory, start: u64, end: u64) {
    let (start, end) = (start.next_multiple_of(HUGE_PAGE), end & !(HUGE_PAGE - 1));
    let length = end.saturating_sub(start) as usize;
    if length > 0
        && let Ok(slice) = memory.get_slice(GuestAddress(start), length)
    {
        advise(slice.ptr_guard_mut().as_ptr(), length, libc::MADV_HUGEPAGE);
    }
}

/// Chooses the size of the pages behind a mapping.
fn advise(start: *mut u8, length: usize, advice: libc::c_int) {
    // SAFETY: the range is ours, and the advice changes no content. A kernel without huge pages refuses it, rightly.
    unsafe { libc::madvise(start.cast(), length, advice) };
}

/// Names the mapping in /proc/PID/smaps, so that guest memory can be told from the VMM's own.
fn name(start: usize, length: usize) {
    const NAME: &std::ffi::CStr = c"guest-memory";
    // SAFETY: names a range that we mapped; the kernel copies the name. Kernels without this call ignore it.
    unsafe { libc::prctl(libc::PR_SET_VMA, libc::PR_SET_VMA_ANON_NAME, start, length, NAME.as_ptr()) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_goes_around_the_device_hole() {
        assert_eq!(ranges(1 << 30), [(0, 1 << 30)]);
        let split = ranges(6 << 30);
        assert_eq!(split, [(0, layout::DEVICE_HOLE), (1 << 32, (6 << 30) - layout::DEVICE_HOLE)]);
    }

    #[test]
    fn too_little_memory_is_refused() {
        assert!(matches!(create(4 << 20), Err(Error::TooLittle(_))));
    }
}

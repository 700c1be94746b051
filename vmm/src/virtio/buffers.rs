//! The memory a descriptor chain lends to a device, checked, as slices that can be read and written in place.

use virtio_queue::DescriptorChain;
use vm_memory::{GuestMemoryBackend, VolatileSlice};

use crate::memory::Memory;

/// Most bytes of one chain that a device looks at. The largest request is a virtio-fs write or read of 1 MiB and
/// its headers; Linux never sends more, and less makes no sense to a device here.
const MOST_BYTES: usize = 4 << 20;

/// The parts of one descriptor chain, in order.
#[derive(Default)]
pub(crate) struct Buffers<'a> {
    /// What the driver wrote for the device.
    pub(crate) readable: Vec<VolatileSlice<'a>>,
    /// Where the device writes for the driver.
    pub(crate) writable: Vec<VolatileSlice<'a>>,
}

impl<'a> Buffers<'a> {
    /// Resolves `chain`. `None` if a part lies outside of guest memory, if a readable part follows a writable one
    /// (section 2.7.4.2), or if all of them together are absurdly long.
    pub(crate) fn of(memory: &'a Memory, chain: DescriptorChain<&Memory>) -> Option<Buffers<'a>> {
        let mut buffers = Buffers::default();
        let mut bytes = 0usize;
        for descriptor in chain {
            let length = descriptor.len() as usize;
            bytes = bytes.checked_add(length).filter(|bytes| *bytes <= MOST_BYTES)?;
            let list = if descriptor.is_write_only() {
                &mut buffers.writable
            } else if buffers.writable.is_empty() {
                &mut buffers.readable
            } else {
                return None;
            };
            for slice in memory.get_slices(descriptor.addr(), length) {
                list.push(slice.ok()?);
            }
        }
        Some(buffers)
    }
}

/// Bytes in all of `slices`.
pub(crate) fn length(slices: &[VolatileSlice<'_>]) -> usize {
    slices.iter().map(VolatileSlice::len).sum()
}

/// What is left of `slices` from `offset` on, at most `limit` bytes.
pub(crate) fn part<'a>(slices: &[VolatileSlice<'a>], offset: usize, limit: usize) -> Vec<VolatileSlice<'a>> {
    let (mut skip, mut left) = (offset, limit);
    let mut parts = Vec::with_capacity(slices.len());
    for slice in slices {
        let start = skip.min(slice.len());
        skip -= start;
        let take = left.min(slice.len() - start);
        if take > 0
            && let Ok(part) = slice.subslice(start, take)
        {
            parts.push(part);
            left -= take;
        }
    }
    parts
}

/// Copies from the start of `slices`; returns how many bytes there were, at most `bytes.len()`.
pub(crate) fn read(slices: &[VolatileSlice<'_>], bytes: &mut [u8]) -> usize {
    let mut done = 0;
    for slice in slices {
        done += slice.copy_to(&mut bytes[done..]);
    }
    done
}

/// Copies to the start of `slices`; returns how many bytes fitted.
pub(crate) fn write(slices: &[VolatileSlice<'_>], bytes: &[u8]) -> usize {
    let mut done = 0;
    for slice in slices {
        let take = slice.len().min(bytes.len() - done);
        slice.copy_from(&bytes[done..done + take]);
        done += take;
    }
    done
}

/// `slices` as the kernel takes them for vectored I/O. They stay valid as long as the guest memory they came from.
pub(crate) fn vectors(slices: &[VolatileSlice<'_>]) -> Vec<libc::iovec> {
    let vector = |slice: &VolatileSlice<'_>| libc::iovec {
        iov_base: slice.ptr_guard_mut().as_ptr().cast(),
        iov_len: slice.len(),
    };
    slices.iter().map(vector).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_can_begin_and_end_inside_slices() {
        let mut memory = [*b"abcd", *b"efgh", *b"ijkl"];
        let slices: Vec<_> = memory.iter_mut().map(|part| VolatileSlice::from(&mut part[..])).collect();
        let mut bytes = [0; 6];
        assert_eq!(read(&part(&slices, 3, 6), &mut bytes), 6);
        assert_eq!(&bytes, b"defghi");
        assert_eq!(length(&part(&slices, 10, 100)), 2);
        assert!(part(&slices, 12, 1).is_empty());
        assert_eq!(write(&part(&slices, 1, 5), b"12345678"), 5);
        assert_eq!(memory, [*b"a123", *b"45gh", *b"ijkl"]);
    }
}

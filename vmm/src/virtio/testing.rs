//! The driver's side of a queue, for tests: lays descriptors into guest memory as a guest would, or as it should not.

use virtio_queue::{Queue, QueueT};
use vm_memory::{Bytes, GuestAddress};

use crate::memory::{self, Memory};

/// Entries of each test queue.
pub(crate) const SIZE: u16 = 16;
/// The device may write this part.
pub(crate) const WRITE: u16 = 2;
const NEXT: u16 = 1;

/// Guest memory for tests: the least there is.
pub(crate) fn memory() -> Memory {
    memory::create(crate::layout::LEAST_MEMORY).unwrap()
}

/// A queue whose rings lie at `base`, and the descriptors used so far.
pub(crate) struct Driver<'a> {
    memory: &'a Memory,
    base: u64,
    descriptors: u16,
    added: u16,
}

impl<'a> Driver<'a> {
    pub(crate) fn new(memory: &'a Memory, base: u64) -> Driver<'a> {
        Driver { memory, base, descriptors: 0, added: 0 }
    }

    pub(crate) fn available(&self) -> u64 {
        self.base + 0x1000
    }

    pub(crate) fn used(&self) -> u64 {
        self.base + 0x2000
    }

    /// The device's side of the queue.
    pub(crate) fn queue(&self) -> Queue {
        let mut queue = Queue::new(SIZE).unwrap();
        queue.set_desc_table_address(Some(self.base as u32), Some(0));
        queue.set_avail_ring_address(Some(self.available() as u32), Some(0));
        queue.set_used_ring_address(Some(self.used() as u32), Some(0));
        queue.set_ready(true);
        assert!(queue.is_valid(self.memory));
        queue
    }

    /// Offers one chain of parts: address, length and flags each.
    pub(crate) fn offer(&mut self, parts: &[(u64, u32, u16)]) {
        let head = self.descriptors;
        for (number, (address, length, flags)) in parts.iter().enumerate() {
            let more = number + 1 < parts.len();
            let index = self.descriptors % SIZE;
            let at = self.base + u64::from(index) * 16;
            self.memory.write_obj(*address, GuestAddress(at)).unwrap();
            self.memory.write_obj(*length, GuestAddress(at + 8)).unwrap();
            let flags = flags | if more { NEXT } else { 0 };
            self.memory.write_obj(flags, GuestAddress(at + 12)).unwrap();
            self.memory.write_obj((index + 1) % SIZE, GuestAddress(at + 14)).unwrap();
            self.descriptors += 1;
        }
        let slot = self.available() + 4 + u64::from(self.added % SIZE) * 2;
        self.memory.write_obj(head % SIZE, GuestAddress(slot)).unwrap();
        self.added += 1;
        self.memory.write_obj(self.added, GuestAddress(self.available() + 2)).unwrap();
    }

    /// How many chains the device has given back.
    pub(crate) fn returned(&self) -> u16 {
        self.memory.read_obj(GuestAddress(self.used() + 2)).unwrap()
    }

    /// How many bytes the device says it wrote into chain `number`, counted from the first.
    pub(crate) fn written(&self, number: u16) -> u32 {
        self.memory.read_obj(GuestAddress(self.used() + 8 + u64::from(number % SIZE) * 8)).unwrap()
    }
}

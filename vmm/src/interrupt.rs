//! The one interrupt line a virtio-mmio device has.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use vmm_sys_util::eventfd::EventFd;

/// Bit 0 of the interrupt status register: a queue was used (virtio specification 1.2, section 4.2.2).
const USED_BUFFER: u32 = 1;

/// Raises a device's interrupt; cheap to clone and to send to the thread that works for the device.
#[derive(Clone)]
pub(crate) struct Interrupt {
    status: Arc<AtomicU32>,
    line: Arc<EventFd>,
}

impl Interrupt {
    /// Takes the event descriptor that KVM turns into an edge on the device's line.
    pub(crate) fn new(line: EventFd) -> Interrupt {
        Interrupt { status: Arc::default(), line: Arc::new(line) }
    }

    /// Tells the guest that used buffers wait in one of the device's queues.
    pub(crate) fn used_buffers(&self) {
        self.status.fetch_or(USED_BUFFER, Ordering::SeqCst);
        // Fails only if the counter would overflow, and then an interrupt is pending anyway.
        let _ = self.line.write(1);
    }

    /// The interrupt status register.
    pub(crate) fn status(&self) -> u32 {
        self.status.load(Ordering::SeqCst)
    }

    /// The guest has seen `bits`.
    pub(crate) fn acknowledge(&self, bits: u32) {
        self.status.fetch_and(!bits, Ordering::SeqCst);
    }
}

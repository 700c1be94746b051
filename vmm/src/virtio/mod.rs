//! virtio devices (virtio specification 1.2): what a device is, apart from its transport.

pub(crate) mod buffers;
pub(crate) mod console;
pub(crate) mod drain;
pub(crate) mod fs;
pub(crate) mod mmio;
pub(crate) mod rng;
#[cfg(test)]
pub(crate) mod testing;
pub(crate) mod vsock;
pub(crate) mod worker;

use std::io;

use virtio_queue::Queue;
use vmm_sys_util::eventfd::EventFd;

use crate::interrupt::Interrupt;
use crate::memory::Memory;

/// What a device gets when its driver is ready.
pub(crate) struct Ready {
    /// Guest memory.
    pub(crate) memory: Memory,
    /// Its queues, valid, in the order of [`Device::queues`].
    pub(crate) queues: Vec<Queue>,
    /// How it calls the driver.
    pub(crate) interrupt: Interrupt,
    /// Becomes readable when the driver has notified any queue; only for devices that work in a thread.
    pub(crate) kick: Option<EventFd>,
}

/// A virtio device.
pub(crate) trait Device: Send {
    /// Device type (section 5).
    fn kind(&self) -> u32;

    /// Feature bits of this device type; the transport adds those that all devices have.
    fn features(&self) -> u64 {
        0
    }

    /// Largest size of each queue.
    fn queues(&self) -> &'static [u16];

    /// Its configuration space.
    fn config(&self) -> &[u8] {
        &[]
    }

    /// Whether it works in a thread of its own and takes notifications through [`Ready::kick`]. Other devices are
    /// quick and are served by the processor that notified them.
    fn has_thread(&self) -> bool {
        false
    }

    /// The driver is ready; work may begin.
    fn activate(&mut self, ready: Ready) -> io::Result<()>;

    /// The driver notified `queue`; called only for devices without a thread.
    fn notify(&mut self, queue: usize) {
        let _ = queue;
    }

    /// The driver gave up the device: forget everything since activation.
    fn reset(&mut self);
}

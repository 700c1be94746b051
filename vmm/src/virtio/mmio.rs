//! The memory-mapped transport (section 4.2): registers, the life of a driver, and nothing of any one device.

use virtio_bindings::virtio_config::{
    VIRTIO_CONFIG_S_DRIVER_OK, VIRTIO_CONFIG_S_FAILED, VIRTIO_CONFIG_S_FEATURES_OK, VIRTIO_CONFIG_S_NEEDS_RESET,
    VIRTIO_F_VERSION_1,
};
use virtio_bindings::virtio_ring::{VIRTIO_RING_F_EVENT_IDX, VIRTIO_RING_F_INDIRECT_DESC};
use virtio_queue::{Queue, QueueT};
use vmm_sys_util::eventfd::EventFd;

use super::{Device, Ready};
use crate::interrupt::Interrupt;
use crate::memory::Memory;

/// Register offsets (section 4.2.2).
mod register {
    pub(super) const MAGIC: u64 = 0x00;
    pub(super) const VERSION: u64 = 0x04;
    pub(super) const DEVICE: u64 = 0x08;
    pub(super) const VENDOR: u64 = 0x0c;
    pub(super) const DEVICE_FEATURES: u64 = 0x10;
    pub(super) const DEVICE_FEATURES_SELECT: u64 = 0x14;
    pub(super) const DRIVER_FEATURES: u64 = 0x20;
    pub(super) const DRIVER_FEATURES_SELECT: u64 = 0x24;
    pub(super) const QUEUE_SELECT: u64 = 0x30;
    pub(super) const QUEUE_SIZE_MAX: u64 = 0x34;
    pub(super) const QUEUE_SIZE: u64 = 0x38;
    pub(super) const QUEUE_READY: u64 = 0x44;
    pub(super) const NOTIFY: u64 = 0x50;
    pub(super) const INTERRUPT_STATUS: u64 = 0x60;
    pub(super) const INTERRUPT_ACKNOWLEDGE: u64 = 0x64;
    pub(super) const STATUS: u64 = 0x70;
    pub(super) const DESCRIPTORS_LOW: u64 = 0x80;
    pub(super) const DESCRIPTORS_HIGH: u64 = 0x84;
    pub(super) const AVAILABLE_LOW: u64 = 0x90;
    pub(super) const AVAILABLE_HIGH: u64 = 0x94;
    pub(super) const USED_LOW: u64 = 0xa0;
    pub(super) const USED_HIGH: u64 = 0xa4;
    pub(super) const SHARED_MEMORY_LENGTH_LOW: u64 = 0xb0;
    pub(super) const SHARED_MEMORY_LENGTH_HIGH: u64 = 0xb4;
    pub(super) const SHARED_MEMORY_BASE_LOW: u64 = 0xb8;
    pub(super) const SHARED_MEMORY_BASE_HIGH: u64 = 0xbc;
    pub(super) const CONFIG: u64 = 0x100;
}

/// Offset of the notify register, for those who watch writes to it.
pub(crate) const NOTIFY: u64 = register::NOTIFY;

/// "virt", little-endian.
const MAGIC: u32 = 0x7472_6976;
/// The transport's version: not the legacy one.
const VERSION: u32 = 2;
/// "CORA", little-endian.
const VENDOR: u32 = 0x4152_4f43;
/// Features of every device.
const COMMON_FEATURES: u64 = 1 << VIRTIO_F_VERSION_1 | 1 << VIRTIO_RING_F_INDIRECT_DESC | 1 << VIRTIO_RING_F_EVENT_IDX;

/// One device behind its registers.
pub(crate) struct Transport {
    device: Box<dyn Device>,
    memory: Memory,
    interrupt: Interrupt,
    kick: Option<EventFd>,
    features: u64,
    device_features_select: u32,
    driver_features_select: u32,
    driver_features: u64,
    queue_select: usize,
    queues: Vec<Queue>,
    status: u32,
}

impl Transport {
    /// `kick` is what the device's thread waits on, if it has one.
    pub(crate) fn new(
        device: Box<dyn Device>,
        memory: Memory,
        interrupt: Interrupt,
        kick: Option<EventFd>,
    ) -> Result<Transport, virtio_queue::Error> {
        let features = device.features() | COMMON_FEATURES;
        let queues = fresh_queues(device.as_ref())?;
        Ok(Transport {
            device,
            memory,
            interrupt,
            kick,
            features,
            device_features_select: 0,
            driver_features_select: 0,
            driver_features: 0,
            queue_select: 0,
            queues,
            status: 0,
        })
    }

    /// The driver reads `data.len()` bytes at `offset` of the window; `data` is zero before.
    pub(crate) fn read(&self, offset: u64, data: &mut [u8]) {
        if let Some(start) = offset.checked_sub(register::CONFIG) {
            let rest = usize::try_from(start).ok().and_then(|start| self.device.config().get(start..)).unwrap_or(&[]);
            let length = rest.len().min(data.len());
            data[..length].copy_from_slice(&rest[..length]);
        } else if let Ok(data) = <&mut [u8; 4]>::try_from(data) {
            *data = self.register(offset).to_le_bytes();
        }
    }

    fn register(&self, offset: u64) -> u32 {
        match offset {
            register::MAGIC => MAGIC,
            register::VERSION => VERSION,
            register::DEVICE => self.device.kind(),
            register::VENDOR => VENDOR,
            register::DEVICE_FEATURES => half(self.features, self.device_features_select),
            register::QUEUE_SIZE_MAX => self.selected().map_or(0, |queue| queue.max_size().into()),
            register::QUEUE_READY => self.selected().is_some_and(Queue::ready).into(),
            register::INTERRUPT_STATUS => self.interrupt.status(),
            register::STATUS => self.status,
            // No shared memory region: length and base are all ones (section 4.2.2.1).
            register::SHARED_MEMORY_LENGTH_LOW
            | register::SHARED_MEMORY_LENGTH_HIGH
            | register::SHARED_MEMORY_BASE_LOW
            | register::SHARED_MEMORY_BASE_HIGH => u32::MAX,
            _ => 0,
        }
    }

    /// The driver writes `data` at `offset` of the window.
    pub(crate) fn write(&mut self, offset: u64, data: &[u8]) {
        let Ok(bytes) = <[u8; 4]>::try_from(data) else { return };
        let value = u32::from_le_bytes(bytes);
        match offset {
            register::DEVICE_FEATURES_SELECT => self.device_features_select = value,
            register::DRIVER_FEATURES_SELECT => self.driver_features_select = value,
            register::DRIVER_FEATURES if !self.has(VIRTIO_CONFIG_S_FEATURES_OK) => self.accept_features(value),
            register::QUEUE_SELECT => self.queue_select = value as usize,
            register::NOTIFY if self.is_active() => self.device.notify(value as usize),
            register::INTERRUPT_ACKNOWLEDGE => self.interrupt.acknowledge(value),
            register::STATUS => self.set_status(value),
            _ => self.configure_queue(offset, value),
        }
    }

    fn has(&self, status: u32) -> bool {
        self.status & status != 0
    }

    fn is_active(&self) -> bool {
        self.has(VIRTIO_CONFIG_S_DRIVER_OK) && !self.has(VIRTIO_CONFIG_S_NEEDS_RESET)
    }

    fn selected(&self) -> Option<&Queue> {
        self.queues.get(self.queue_select)
    }

    fn accept_features(&mut self, value: u32) {
        match self.driver_features_select {
            0 => self.driver_features = self.driver_features & !u64::from(u32::MAX) | u64::from(value),
            1 => self.driver_features = self.driver_features & u64::from(u32::MAX) | u64::from(value) << 32,
            _ => {}
        }
    }

    /// Queues can be set up only before the device works: a queue that changes under a running device is how guests
    /// have written outside of their memory elsewhere.
    fn configure_queue(&mut self, offset: u64, value: u32) {
        if self.has(VIRTIO_CONFIG_S_DRIVER_OK) || !self.has(VIRTIO_CONFIG_S_FEATURES_OK) {
            return;
        }
        let Some(queue) = self.queues.get_mut(self.queue_select) else { return };
        if offset == register::QUEUE_READY {
            queue.set_ready(value == 1);
            return;
        }
        if queue.ready() {
            return;
        }
        match offset {
            // A size that is no power of two or too large is not taken, and the queue keeps its largest size.
            register::QUEUE_SIZE => queue.set_size(u16::try_from(value).unwrap_or(0)),
            register::DESCRIPTORS_LOW => queue.set_desc_table_address(Some(value), None),
            register::DESCRIPTORS_HIGH => queue.set_desc_table_address(None, Some(value)),
            register::AVAILABLE_LOW => queue.set_avail_ring_address(Some(value), None),
            register::AVAILABLE_HIGH => queue.set_avail_ring_address(None, Some(value)),
            register::USED_LOW => queue.set_used_ring_address(Some(value), None),
            register::USED_HIGH => queue.set_used_ring_address(None, Some(value)),
            _ => {}
        }
    }

    /// The life of a driver (section 3.1.1): each step only after the one before, and zero starts over.
    fn set_status(&mut self, value: u32) {
        if value == 0 {
            self.reset();
            return;
        }
        // Bits are only ever added, and this one is ours to set.
        let mut value =
            (self.status | value) & !VIRTIO_CONFIG_S_NEEDS_RESET | self.status & VIRTIO_CONFIG_S_NEEDS_RESET;
        if !self.has(VIRTIO_CONFIG_S_FEATURES_OK) && !self.features_are_acceptable() {
            value &= !VIRTIO_CONFIG_S_FEATURES_OK;
        }
        if value & VIRTIO_CONFIG_S_FEATURES_OK == 0 || value & VIRTIO_CONFIG_S_FAILED != 0 {
            value &= !VIRTIO_CONFIG_S_DRIVER_OK | self.status;
        }
        let starts = value & VIRTIO_CONFIG_S_DRIVER_OK != 0 && !self.has(VIRTIO_CONFIG_S_DRIVER_OK);
        self.status = value;
        if starts && !self.activate() {
            self.status |= VIRTIO_CONFIG_S_NEEDS_RESET;
        }
    }

    fn features_are_acceptable(&self) -> bool {
        let offered_only = self.driver_features & !self.features == 0;
        offered_only && self.driver_features & 1 << VIRTIO_F_VERSION_1 != 0
    }

    fn activate(&mut self) -> bool {
        if !self.queues.iter().all(|queue| queue.is_valid(&self.memory)) {
            log::warn!("virtio device {}: the driver set up a queue outside of its memory", self.device.kind());
            return false;
        }
        let Ok(fresh) = fresh_queues(self.device.as_ref()) else { return false };
        let kick = match self.kick.as_ref().map(EventFd::try_clone).transpose() {
            Ok(kick) => kick,
            Err(error) => {
                log::error!("virtio device {}: cannot share its event: {error}", self.device.kind());
                return false;
            }
        };
        let mut queues = std::mem::replace(&mut self.queues, fresh);
        // The registers go on showing the queues as ready; what works with them is the device's alone.
        self.queues.iter_mut().for_each(|queue| queue.set_ready(true));
        let event_index = self.driver_features & 1 << VIRTIO_RING_F_EVENT_IDX != 0;
        queues.iter_mut().for_each(|queue| queue.set_event_idx(event_index));
        let ready = Ready { memory: self.memory.clone(), queues, interrupt: self.interrupt.clone(), kick };
        match self.device.activate(ready) {
            Ok(()) => true,
            Err(error) => {
                log::error!("virtio device {}: cannot start: {error}", self.device.kind());
                false
            }
        }
    }

    fn reset(&mut self) {
        self.device.reset();
        self.queues.iter_mut().for_each(QueueT::reset);
        self.interrupt.acknowledge(u32::MAX);
        self.driver_features = 0;
        self.device_features_select = 0;
        self.driver_features_select = 0;
        self.queue_select = 0;
        self.status = 0;
    }
}

fn fresh_queues(device: &dyn Device) -> Result<Vec<Queue>, virtio_queue::Error> {
    device.queues().iter().map(|size| Queue::new(*size)).collect()
}

/// The lower or upper 32 bits.
fn half(value: u64, select: u32) -> u32 {
    match select {
        0 => value as u32,
        1 => (value >> 32) as u32,
        _ => 0,
    }
}

#[cfg(test)]
#[path = "mmio_test.rs"]
mod tests;

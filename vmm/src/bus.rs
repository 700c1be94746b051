//! Which device an access to device memory is for: a table of equal windows.

use std::sync::{Mutex, PoisonError};

use crate::layout::{MMIO, MMIO_SIZE};
use crate::virtio::mmio::Transport;

/// The devices of a machine, a window each, in order.
#[derive(Default)]
pub(crate) struct Bus {
    devices: Vec<Mutex<Transport>>,
}

impl Bus {
    /// Adds a device behind the others.
    pub(crate) fn add(&mut self, device: Transport) {
        self.devices.push(Mutex::new(device));
    }

    /// A guest reads `data.len()` bytes at guest physical `address`; what is not there reads as zero.
    pub(crate) fn read(&self, address: u64, data: &mut [u8]) {
        data.fill(0);
        if let Some((device, offset)) = self.find(address) {
            device.lock().unwrap_or_else(PoisonError::into_inner).read(offset, data);
        }
    }

    /// A guest writes `data` at guest physical `address`; what is not there takes it in silence.
    pub(crate) fn write(&self, address: u64, data: &[u8]) {
        if let Some((device, offset)) = self.find(address) {
            device.lock().unwrap_or_else(PoisonError::into_inner).write(offset, data);
        }
    }

    fn find(&self, address: u64) -> Option<(&Mutex<Transport>, u64)> {
        let offset = address.checked_sub(MMIO)?;
        let device = self.devices.get(usize::try_from(offset / MMIO_SIZE).ok()?)?;
        Some((device, offset % MMIO_SIZE))
    }
}

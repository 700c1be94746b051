//! Entropy device (section 5.4): the host's random numbers for the guest.

use std::io;

use virtio_bindings::virtio_ids::VIRTIO_ID_RNG;

use super::buffers::{self, Buffers};
use super::drain::drain;
use super::{Device, Ready};

const QUEUES: &[u16] = &[16];
/// Most random bytes for one request: a guest reseeds with 64, and must not make the host work for more at a time.
const MOST_BYTES: usize = 4096;

/// The device.
#[derive(Default)]
pub(crate) struct Rng {
    ready: Option<Ready>,
}

impl Device for Rng {
    fn kind(&self) -> u32 {
        VIRTIO_ID_RNG
    }

    fn queues(&self) -> &'static [u16] {
        QUEUES
    }

    fn activate(&mut self, ready: Ready) -> io::Result<()> {
        self.ready = Some(ready);
        Ok(())
    }

    fn notify(&mut self, queue: usize) {
        let Some(Ready { memory, queues, interrupt, .. }) = &mut self.ready else { return };
        let Some(queue) = queues.get_mut(queue) else { return };
        if let Err(error) = drain(queue, memory, interrupt, fill) {
            log::warn!("virtio-rng: the driver broke the queue: {error}");
            self.ready = None;
        }
    }

    fn reset(&mut self) {
        self.ready = None;
    }
}

/// Fills the writable part with random bytes; returns how many.
fn fill(buffers: &Buffers<'_>) -> usize {
    let mut bytes = [0u8; MOST_BYTES];
    let wanted = buffers::length(&buffers.writable).min(MOST_BYTES);
    // SAFETY: `bytes` has room for `wanted` bytes.
    let got = unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), wanted, 0) };
    buffers::write(&buffers.writable, &bytes[..usize::try_from(got).unwrap_or(0)])
}

//! Console device (section 5.3): output only, for the kernel's own messages.

use std::io;

use virtio_bindings::virtio_ids::VIRTIO_ID_CONSOLE;

use super::buffers::{self, Buffers};
use super::drain::drain;
use super::{Device, Ready};
use crate::console::Console;

/// Receive and transmit queue of port 0.
const QUEUES: &[u16] = &[16, 64];
const TRANSMIT: usize = 1;
/// Most bytes taken of one buffer; the driver sends a line at a time.
const MOST_BYTES: usize = 4096;

/// The device. It has no thread: when the kernel panics it waits, with interrupts off, for each line to be taken.
pub(crate) struct ConsoleDevice {
    console: Console,
    ready: Option<Ready>,
}

impl ConsoleDevice {
    /// What the guest writes goes to `console`.
    pub(crate) fn new(console: Console) -> ConsoleDevice {
        ConsoleDevice { console, ready: None }
    }
}

impl Device for ConsoleDevice {
    fn kind(&self) -> u32 {
        VIRTIO_ID_CONSOLE
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
        // Nothing is ever received, so the receive queue's buffers just wait.
        let Some(queue) = queues.get_mut(queue).filter(|_| queue == TRANSMIT) else { return };
        let console = &self.console;
        if let Err(error) = drain(queue, memory, interrupt, |buffers| print(console, buffers)) {
            log::warn!("virtio-console: the driver broke the queue: {error}");
            self.ready = None;
        }
    }

    fn reset(&mut self) {
        self.ready = None;
    }
}

/// Prints what a buffer holds; nothing is written to it.
fn print(console: &Console, buffers: &Buffers<'_>) -> usize {
    let mut bytes = [0; MOST_BYTES];
    let length = buffers::read(&buffers.readable, &mut bytes);
    console.write(&bytes[..length]);
    0
}

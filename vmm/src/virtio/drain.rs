//! Serving all that waits in a queue: the loop that most devices have.

use virtio_queue::{DescriptorChain, Error, Queue, QueueOwnedT, QueueT};

use super::buffers::Buffers;
use crate::interrupt::Interrupt;
use crate::memory::Memory;

/// Lets `serve` answer each chain in `queue`; it returns how many bytes it wrote. A chain that makes no sense (see
/// [`Buffers::of`]) is given back with nothing written.
///
/// Errors are a ring that lies outside of memory, or one the driver has broken; the device cannot go on with it.
pub(crate) fn drain(
    queue: &mut Queue,
    memory: &Memory,
    interrupt: &Interrupt,
    mut serve: impl FnMut(&Buffers<'_>) -> usize,
) -> Result<(), Error> {
    loop {
        queue.disable_notification(memory)?;
        while let Some(chain) = next(queue, memory)? {
            let head = chain.head_index();
            let written = Buffers::of(memory, chain).map_or(0, |buffers| serve(&buffers));
            queue.add_used(memory, head, written as u32)?;
            if queue.needs_notification(memory)? {
                interrupt.used_buffers();
            }
        }
        // The driver may have added more before it could know that it has to notify again.
        if !queue.enable_notification(memory)? {
            return Ok(());
        }
    }
}

/// The next chain that waits in `queue`. Unlike [`QueueT::pop_descriptor_chain`] it tells an empty ring from a broken one:
/// a driver that claims more entries than the ring has would else keep the device busy for ever.
pub(crate) fn next<'a>(queue: &mut Queue, memory: &'a Memory) -> Result<Option<DescriptorChain<&'a Memory>>, Error> {
    Ok(queue.iter(memory)?.next())
}

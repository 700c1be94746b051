//! File system device (section 5.11): carries requests between its queues and our FUSE server.

use std::io;
use std::os::fd::AsRawFd;
use std::sync::Arc;

use virtio_bindings::virtio_ids::VIRTIO_ID_FS;
use virtio_queue::Queue;
use vmm_sys_util::epoll::{ControlOperation, Epoll, EpollEvent, EventSet};
use vmm_sys_util::eventfd::EventFd;

use super::drain::drain;
use super::worker::{self, STOP, Worker};
use super::{Device, Ready};
use crate::fs::Server;
use crate::interrupt::Interrupt;
use crate::memory::Memory;

/// The high priority queue (FORGET) and one request queue. Linux sends no request of more pages than the request
/// queue has entries, less a few for headers: 512 lets it use the 256 pages (1 MiB) that our server takes.
const QUEUES: &[u16] = &[64, 512];
/// Longest tag (section 5.11.4).
const TAG: usize = 36;
/// Tag, then the number of request queues.
const CONFIG: usize = TAG + 4;
const KICK: u64 = 0;

/// The device.
pub(crate) struct FsDevice {
    server: Arc<Server>,
    config: [u8; CONFIG],
    worker: Option<Worker>,
}

impl FsDevice {
    /// A device the guest mounts by `tag`; `None` if the tag is empty or longer than 36 bytes.
    pub(crate) fn new(tag: &str, server: Server) -> Option<FsDevice> {
        let mut config = [0; CONFIG];
        config.get_mut(..TAG)?.get_mut(..tag.len())?.copy_from_slice(tag.as_bytes());
        config[TAG..].copy_from_slice(&(QUEUES.len() as u32 - 1).to_le_bytes());
        (!tag.is_empty()).then(|| FsDevice { server: Arc::new(server), config, worker: None })
    }
}

impl Device for FsDevice {
    fn kind(&self) -> u32 {
        VIRTIO_ID_FS
    }

    fn queues(&self) -> &'static [u16] {
        QUEUES
    }

    fn config(&self) -> &[u8] {
        &self.config
    }

    fn has_thread(&self) -> bool {
        true
    }

    fn activate(&mut self, ready: Ready) -> io::Result<()> {
        let server = Arc::clone(&self.server);
        self.worker = Some(Worker::start("virtio-fs", move |epoll| serve(&epoll, &server, ready))?);
        Ok(())
    }

    fn reset(&mut self) {
        self.worker = None;
    }
}

fn serve(epoll: &Epoll, server: &Server, ready: Ready) {
    let Ready { memory, mut queues, interrupt, kick: Some(kick) } = ready else { return };
    if let Err(error) = serve_until_stopped(epoll, server, &memory, &mut queues, &interrupt, &kick) {
        log::error!("virtio-fs: the device stopped: {error}");
    }
}

fn serve_until_stopped(
    epoll: &Epoll,
    server: &Server,
    memory: &Memory,
    queues: &mut [Queue],
    interrupt: &Interrupt,
    kick: &EventFd,
) -> io::Result<()> {
    epoll.ctl(ControlOperation::Add, kick.as_raw_fd(), EpollEvent::new(EventSet::IN, KICK))?;
    let mut events = [EpollEvent::default(); 2];
    loop {
        if worker::wait(epoll, &mut events)?.iter().any(|event| event.data() == STOP) {
            return Ok(());
        }
        kick.read()?;
        for queue in &mut *queues {
            drain(queue, memory, interrupt, |buffers| server.handle(&buffers.readable, &buffers.writable))
                .map_err(io::Error::other)?;
        }
    }
}

#[cfg(test)]
#[path = "fs_test.rs"]
mod tests;

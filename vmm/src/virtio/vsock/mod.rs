//! Socket device (section 5.10), in process: every connection of the guest becomes a stream socket that is handed to
//! whoever holds the other end of the broker socket.

mod broker;
mod connection;
mod muxer;
mod packet;

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;

use virtio_bindings::virtio_ids::VIRTIO_ID_VSOCK;
use vmm_sys_util::epoll::{ControlOperation, Epoll, EpollEvent, EventSet};

use self::muxer::{KICK, Muxer};
use super::worker::{self, STOP, Worker};
use super::{Device, Ready};

/// Receive, transmit and event queue. Linux's receive buffers hold 4 KiB each.
const QUEUES: &[u16] = &[128, 128, 8];
/// Events taken from the kernel at a time.
const EVENTS: usize = 32;

/// The device.
pub(crate) struct VsockDevice {
    broker: Arc<OwnedFd>,
    config: [u8; 8],
    worker: Option<Worker>,
}

impl VsockDevice {
    /// Connections are handed out over `broker`; see [`Spec::vsock`](crate::Spec::vsock).
    pub(crate) fn new(broker: OwnedFd) -> VsockDevice {
        let config = u64::from(config::wire::GUEST_CID).to_le_bytes();
        VsockDevice { broker: Arc::new(broker), config, worker: None }
    }
}

impl Device for VsockDevice {
    fn kind(&self) -> u32 {
        VIRTIO_ID_VSOCK
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
        let broker = Arc::clone(&self.broker);
        self.worker = Some(Worker::start("vsock", move |epoll| {
            if let Err(error) = serve(epoll, ready, broker) {
                log::error!("vsock: the device stopped: {error}");
            }
        })?);
        Ok(())
    }

    fn reset(&mut self) {
        self.worker = None;
    }
}

fn serve(epoll: Epoll, ready: Ready, broker: Arc<OwnedFd>) -> io::Result<()> {
    let Ready { memory, queues, interrupt, kick: Some(kick) } = ready else { return Ok(()) };
    epoll.ctl(ControlOperation::Add, kick.as_raw_fd(), EpollEvent::new(EventSet::IN, KICK))?;
    let mut muxer = Muxer::new(memory, queues, interrupt, epoll, broker).ok_or(io::ErrorKind::InvalidInput)?;
    let mut events = [EpollEvent::default(); EVENTS];
    loop {
        for event in worker::wait(muxer.epoll(), &mut events)? {
            match event.data() {
                STOP => return Ok(()),
                KICK => _ = kick.read()?,
                token => muxer.stream_event(token, event.event_set()),
            }
        }
        muxer.work().map_err(io::Error::other)?;
    }
}

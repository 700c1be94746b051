//! The thread that works for a device, and its end.

use std::io;
use std::os::fd::AsRawFd;
use std::thread::{Builder, JoinHandle};

use vmm_sys_util::epoll::{ControlOperation, Epoll, EpollEvent, EventSet};
use vmm_sys_util::eventfd::{EFD_CLOEXEC, EFD_NONBLOCK, EventFd};

/// Token of the stop event; devices use others.
pub(crate) const STOP: u64 = u64::MAX;

/// Stack of a thread: far more than the depth of our calls needs, and too small for the host to give it a huge page at the
/// first touch, as it does with the usual 2 MiB.
pub(crate) const STACK: usize = 256 << 10;

/// A running thread; dropped, it is told to stop and waited for.
pub(crate) struct Worker {
    stop: EventFd,
    thread: Option<JoinHandle<()>>,
}

impl Worker {
    /// Starts `work` in a thread called `name`. The [`Epoll`] it is given reports [`STOP`] when it is to return.
    pub(crate) fn start(name: &str, work: impl FnOnce(Epoll) + Send + 'static) -> io::Result<Worker> {
        let stop = EventFd::new(EFD_NONBLOCK | EFD_CLOEXEC)?;
        let epoll = Epoll::new()?;
        epoll.ctl(ControlOperation::Add, stop.as_raw_fd(), EpollEvent::new(EventSet::IN, STOP))?;
        let thread = Builder::new().name(name.to_owned()).stack_size(STACK).spawn(move || work(epoll))?;
        Ok(Worker { stop, thread: Some(thread) })
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // Fails only if it was told before.
        let _ = self.stop.write(1);
        if let Some(thread) = self.thread.take() {
            // A panic in the thread has been printed by then; the guest goes on without the device.
            let _ = thread.join();
        }
    }
}

/// Waits for events, also when a signal comes in between.
pub(crate) fn wait<'a>(epoll: &Epoll, events: &'a mut [EpollEvent]) -> io::Result<&'a [EpollEvent]> {
    loop {
        match epoll.wait(-1, events) {
            Ok(count) => return Ok(&events[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

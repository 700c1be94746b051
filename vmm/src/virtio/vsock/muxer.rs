//! All connections of one guest: which packet belongs to which, and what is to be sent next.

use std::collections::{HashMap, VecDeque};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;

use config::wire::{GUEST_CID, HOST_CID};
use virtio_queue::{Error, Queue, QueueOwnedT, QueueT};
use vmm_sys_util::epoll::{ControlOperation, Epoll, EpollEvent, EventSet};

use super::broker;
use super::connection::{BUFFER, Broken, Connection, Read};
use super::packet::{HEADER, Header, Operation, SHUTDOWN_BOTH, SHUTDOWN_RECEIVE, SHUTDOWN_SEND, STREAM};
use crate::interrupt::Interrupt;
use crate::memory::Memory;
use crate::virtio::buffers::{self, Buffers};
use crate::virtio::drain;

/// Token of the driver's notifications; connections have their number, from 1.
pub(super) const KICK: u64 = 0;
/// Most connections at a time: each costs the host two descriptors and up to 256 KiB.
const MOST_CONNECTIONS: usize = 512;
/// While so many answers wait for the guest to take them, nothing more of the guest is looked at.
const MOST_ANSWERS: usize = 1024;
/// Most data in one packet to the guest (Linux's `VIRTIO_VSOCK_MAX_PKT_BUF_SIZE`).
const MOST_DATA: usize = 64 << 10;

/// Names a connection: the guest's port and the host's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Key {
    guest: u32,
    host: u32,
}

/// See the module's description.
pub(super) struct Muxer {
    memory: Memory,
    receive: Queue,
    transmit: Queue,
    interrupt: Interrupt,
    epoll: Epoll,
    broker: Arc<OwnedFd>,
    connections: HashMap<Key, Connection>,
    tokens: HashMap<u64, Key>,
    next_token: u64,
    /// Packets without data that wait for a buffer of the guest.
    answers: VecDeque<(Key, Operation, u32)>,
    /// Connections whose stream may have data for the guest.
    senders: VecDeque<Key>,
}

impl Muxer {
    /// `None` if there are not three queues.
    pub(super) fn new(
        memory: Memory,
        queues: Vec<Queue>,
        interrupt: Interrupt,
        epoll: Epoll,
        broker: Arc<OwnedFd>,
    ) -> Option<Muxer> {
        let [receive, transmit, _events] = <[Queue; 3]>::try_from(queues).ok()?;
        Some(Muxer {
            memory,
            receive,
            transmit,
            interrupt,
            epoll,
            broker,
            connections: HashMap::new(),
            tokens: HashMap::new(),
            next_token: KICK + 1,
            answers: VecDeque::new(),
            senders: VecDeque::new(),
        })
    }

    pub(super) fn epoll(&self) -> &Epoll {
        &self.epoll
    }

    /// A stream can be read, can be written, or has lost its other end.
    pub(super) fn stream_event(&mut self, token: u64, events: EventSet) {
        let Some(key) = self.tokens.get(&token).copied() else { return };
        let Some(connection) = self.connections.get_mut(&key) else { return };
        if events.intersects(EventSet::IN | EventSet::READ_HANG_UP | EventSet::HANG_UP | EventSet::ERROR) {
            connection.readable = true;
            self.want_to_send(key);
        }
        if events.contains(EventSet::OUT) {
            self.flush(key);
        }
    }

    /// Takes what the guest sent, and sends what it has room for.
    pub(super) fn work(&mut self) -> Result<(), Error> {
        loop {
            let transmitted = self.take_transmitted()?;
            let received = self.fill_receive()?;
            if !transmitted && !received {
                return Ok(());
            }
        }
    }

    /// Whether anything was taken.
    fn take_transmitted(&mut self) -> Result<bool, Error> {
        let memory = self.memory.clone();
        let mut used = false;
        loop {
            self.transmit.disable_notification(&memory)?;
            while self.answers.len() < MOST_ANSWERS {
                let Some(chain) = drain::next(&mut self.transmit, &memory)? else { break };
                let head = chain.head_index();
                if let Some(buffers) = Buffers::of(&memory, chain) {
                    self.packet(&buffers);
                }
                self.transmit.add_used(&memory, head, 0)?;
                used = true;
            }
            let more = self.transmit.enable_notification(&memory)?;
            if !more || self.answers.len() >= MOST_ANSWERS {
                break;
            }
        }
        if used && self.transmit.needs_notification(&memory)? {
            self.interrupt.used_buffers();
        }
        Ok(used)
    }

    /// One packet of the guest. What makes no sense is dropped, or answered by a reset where there is someone to tell.
    fn packet(&mut self, buffers: &Buffers<'_>) {
        let mut bytes = [0; HEADER];
        if buffers::read(&buffers.readable, &mut bytes) < HEADER {
            return;
        }
        let header = Header::parse(&bytes);
        let data = buffers::part(&buffers.readable, HEADER, header.length as usize);
        if header.source_cid != u64::from(GUEST_CID) || header.destination_cid != u64::from(HOST_CID) {
            return;
        }
        let key = Key { guest: header.source_port, host: header.destination_port };
        if header.kind != STREAM || buffers::length(&data) != header.length as usize {
            self.refuse(key, header.operation);
            return;
        }
        if let Some(connection) = self.connections.get_mut(&key) {
            connection.credit(header.buffer, header.forwarded);
        }
        match header.operation {
            Some(Operation::Request) => self.request(key, &header),
            Some(Operation::Reset) => self.forget(key),
            _ if !self.connections.contains_key(&key) => self.refuse(key, header.operation),
            Some(Operation::Data) => self.data(key, &data),
            Some(Operation::Shutdown) => self.shutdown(key, header.flags),
            Some(Operation::CreditUpdate) => self.want_to_send(key),
            Some(Operation::CreditRequest) => self.answer(key, Operation::CreditUpdate, 0),
            // We never ask for a connection, so there is nothing to respond to.
            Some(Operation::Response) | None => self.refuse(key, header.operation),
        }
    }

    fn request(&mut self, key: Key, header: &Header) {
        if self.connections.contains_key(&key) || self.connections.len() >= MOST_CONNECTIONS {
            self.refuse(key, Some(Operation::Request));
            return;
        }
        let token = self.next_token;
        let opened = broker::connect(&*self.broker, key.host).and_then(|stream| {
            let events = EventSet::IN | EventSet::OUT | EventSet::READ_HANG_UP | EventSet::EDGE_TRIGGERED;
            self.epoll.ctl(ControlOperation::Add, stream.as_raw_fd(), EpollEvent::new(events, token))?;
            Ok(stream)
        });
        let stream = match opened {
            Ok(stream) => stream,
            Err(error) => {
                log::warn!("vsock: cannot serve the guest's connection to port {}: {error}", key.host);
                self.refuse(key, Some(Operation::Request));
                return;
            }
        };
        let mut connection = Connection::new(stream);
        connection.credit(header.buffer, header.forwarded);
        self.connections.insert(key, connection);
        self.tokens.insert(token, key);
        self.next_token += 1;
        self.answer(key, Operation::Response, 0);
    }

    fn data(&mut self, key: Key, data: &[vm_memory::VolatileSlice<'_>]) {
        let Some(connection) = self.connections.get_mut(&key) else { return };
        match connection.send(data) {
            Ok(()) => {}
            Err(Broken::Gone) => return self.host_is_gone(key),
            Err(Broken::Overrun) => return self.reset(key),
        }
        if connection.owes_credit() {
            self.answer(key, Operation::CreditUpdate, 0);
        }
        // The guest's packet may also have told of new room.
        self.want_to_send(key);
    }

    fn shutdown(&mut self, key: Key, flags: u32) {
        let Some(connection) = self.connections.get_mut(&key) else { return };
        connection.guest_shutdown |= flags & SHUTDOWN_BOTH;
        self.flush(key);
    }

    /// Passes on what waits for the stream, and ends the connection if that was the last of it.
    fn flush(&mut self, key: Key) {
        let Some(connection) = self.connections.get_mut(&key) else { return };
        if connection.flush().is_err() {
            return self.host_is_gone(key);
        }
        if connection.is_over() {
            self.reset(key);
        } else if connection.owes_credit() {
            self.answer(key, Operation::CreditUpdate, 0);
        }
    }

    /// The host's end takes nothing more; there may still be something to read from it.
    fn host_is_gone(&mut self, key: Key) {
        let Some(connection) = self.connections.get_mut(&key) else { return };
        connection.host_shutdown |= SHUTDOWN_RECEIVE;
        connection.readable = true;
        if connection.is_over() {
            self.reset(key);
        } else {
            self.answer(key, Operation::Shutdown, SHUTDOWN_RECEIVE);
            self.want_to_send(key);
        }
    }

    /// Ends a connection and tells the guest.
    fn reset(&mut self, key: Key) {
        self.forget(key);
        self.answer(key, Operation::Reset, 0);
    }

    /// Answers a packet that belongs to no connection; a reset is not answered by a reset.
    fn refuse(&mut self, key: Key, operation: Option<Operation>) {
        if operation != Some(Operation::Reset) {
            self.reset(key);
        }
    }

    fn forget(&mut self, key: Key) {
        if self.connections.remove(&key).is_some() {
            self.tokens.retain(|_, other| *other != key);
            // What was to be said of it would reach a later connection of the same ports.
            self.answers.retain(|(other, _, _)| *other != key);
            self.senders.retain(|other| *other != key);
        }
    }

    fn answer(&mut self, key: Key, operation: Operation, flags: u32) {
        self.answers.push_back((key, operation, flags));
    }

    fn want_to_send(&mut self, key: Key) {
        if let Some(connection) = self.connections.get_mut(&key)
            && connection.readable
            && !connection.queued
            && connection.room() > 0
        {
            connection.queued = true;
            self.senders.push_back(key);
        }
    }

    /// Fills the guest's receive buffers; whether anything was sent.
    fn fill_receive(&mut self) -> Result<bool, Error> {
        let memory = self.memory.clone();
        let mut used = false;
        loop {
            self.receive.disable_notification(&memory)?;
            while !(self.answers.is_empty() && self.senders.is_empty()) {
                let Some(chain) = drain::next(&mut self.receive, &memory)? else { break };
                let head = chain.head_index();
                let buffers = Buffers::of(&memory, chain).unwrap_or_default();
                let length = self.next_packet(&buffers);
                if length == 0 && buffers::length(&buffers.writable) > HEADER {
                    // Nothing to send after all: the buffer is for the next packet.
                    self.receive.go_to_previous_position();
                    continue;
                }
                self.receive.add_used(&memory, head, length as u32)?;
                used = true;
            }
            let more = self.receive.enable_notification(&memory)?;
            if !more || (self.answers.is_empty() && self.senders.is_empty()) {
                break;
            }
        }
        if used && self.receive.needs_notification(&memory)? {
            self.interrupt.used_buffers();
        }
        Ok(used)
    }

    /// Writes the next packet into a buffer of the guest; returns its length, zero if there was none, or if the buffer
    /// is too small for any.
    fn next_packet(&mut self, buffers: &Buffers<'_>) -> usize {
        let room = buffers::length(&buffers.writable);
        if room <= HEADER {
            return 0;
        }
        if let Some((key, operation, flags)) = self.answers.pop_front() {
            return self.write_header(buffers, key, operation, flags, 0);
        }
        while let Some(key) = self.senders.pop_front() {
            let Some(connection) = self.connections.get_mut(&key) else { continue };
            connection.queued = false;
            let limit = connection.room().min(MOST_DATA).min(room - HEADER);
            if limit == 0 || !connection.readable {
                continue;
            }
            match connection.receive(&buffers::part(&buffers.writable, HEADER, limit)) {
                Read::Bytes(0) => self.want_to_send(key),
                Read::Bytes(length) => {
                    self.want_to_send(key);
                    return self.write_header(buffers, key, Operation::Data, 0, length);
                }
                Read::Empty => connection.readable = false,
                Read::End => {
                    connection.readable = false;
                    connection.host_shutdown |= SHUTDOWN_SEND;
                    if connection.is_over() {
                        self.reset(key);
                    } else {
                        self.answer(key, Operation::Shutdown, SHUTDOWN_SEND);
                    }
                    let (key, operation, flags) = self.answers.pop_front().unwrap_or((key, Operation::Reset, 0));
                    return self.write_header(buffers, key, operation, flags, 0);
                }
            }
        }
        0
    }

    fn write_header(
        &mut self,
        buffers: &Buffers<'_>,
        key: Key,
        operation: Operation,
        flags: u32,
        length: usize,
    ) -> usize {
        let header = Header {
            source_cid: HOST_CID.into(),
            destination_cid: GUEST_CID.into(),
            source_port: key.host,
            destination_port: key.guest,
            length: length as u32,
            kind: STREAM,
            operation: Some(operation),
            flags,
            buffer: BUFFER,
            forwarded: self.connections.get_mut(&key).map_or(0, Connection::tell),
        };
        buffers::write(&buffers.writable, &header.bytes()) + length
    }
}

#[cfg(test)]
#[path = "muxer_test.rs"]
mod tests;

//! A guest's connections reach the broker and carry bytes both ways; a guest that breaks the rules loses its connection.

use std::io::{IoSliceMut, Read as _, Write as _};
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::net::UnixStream;

use nix::sys::socket::{AddressFamily, ControlMessageOwned, MsgFlags, SockFlag, SockType, recvmsg, socketpair};
use proptest::prelude::*;
use vm_memory::{Bytes, GuestAddress};
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

use super::*;
use crate::virtio::testing::{Driver, WRITE, memory};

const RECEIVE: u64 = 0x10_0000;
const TRANSMIT: u64 = 0x11_0000;
const EVENTS: u64 = 0x12_0000;
const PACKET: u64 = 0x20_0000;
const BUFFERS: u64 = 0x30_0000;
const BUFFER_LENGTH: u32 = 4096;
const GUEST_PORT: u32 = 4242;
const HOST_PORT: u32 = 1024;

/// A device with the guest's and the server's side of it.
struct Bench<'a> {
    muxer: Muxer,
    memory: &'a Memory,
    receive: Driver<'a>,
    transmit: Driver<'a>,
    broker: OwnedFd,
    seen: u16,
}

impl<'a> Bench<'a> {
    fn new(memory: &'a Memory) -> Bench<'a> {
        let flags = SockFlag::SOCK_CLOEXEC;
        let (own, broker) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags).unwrap();
        let receive = Driver::new(memory, RECEIVE);
        let transmit = Driver::new(memory, TRANSMIT);
        let queues = vec![receive.queue(), transmit.queue(), Driver::new(memory, EVENTS).queue()];
        let interrupt = Interrupt::new(EventFd::new(EFD_NONBLOCK).unwrap());
        let muxer = Muxer::new(memory.clone(), queues, interrupt, Epoll::new().unwrap(), Arc::new(own)).unwrap();
        Bench { muxer, memory, receive, transmit, broker, seen: 0 }
    }

    /// Gives the device `count` buffers to send to the guest with.
    fn give_buffers(&mut self, count: u64) {
        for number in 0..count {
            self.receive.offer(&[(BUFFERS + number * u64::from(BUFFER_LENGTH), BUFFER_LENGTH, WRITE)]);
        }
    }

    fn header(operation: Operation, length: u32) -> Header {
        Header {
            source_cid: GUEST_CID.into(),
            destination_cid: HOST_CID.into(),
            source_port: GUEST_PORT,
            destination_port: HOST_PORT,
            length,
            kind: STREAM,
            operation: Some(operation),
            flags: 0,
            buffer: 65536,
            forwarded: 0,
        }
    }

    fn send(&mut self, header: &Header, data: &[u8]) {
        self.memory.write_slice(&header.bytes(), GuestAddress(PACKET)).unwrap();
        self.memory.write_slice(data, GuestAddress(PACKET + HEADER as u64)).unwrap();
        self.transmit.offer(&[(PACKET, (HEADER + data.len()) as u32, 0)]);
        self.muxer.work().unwrap();
    }

    /// The next packet the guest was sent.
    fn next(&mut self) -> Option<(Header, Vec<u8>)> {
        self.muxer.work().unwrap();
        if self.receive.returned() == self.seen {
            return None;
        }
        let at = BUFFERS + u64::from(self.seen) * u64::from(BUFFER_LENGTH);
        let length = self.receive.written(self.seen) as usize;
        self.seen += 1;
        let mut bytes = vec![0; length];
        self.memory.read_slice(&mut bytes, GuestAddress(at)).unwrap();
        let header = Header::parse(bytes[..HEADER].try_into().unwrap());
        Some((header, bytes[HEADER..].to_vec()))
    }

    fn next_operation(&mut self) -> Option<Operation> {
        self.next().and_then(|(header, _)| header.operation)
    }

    /// Takes the connection that was handed out, and the port it is for.
    fn accept(&mut self) -> (u32, UnixStream) {
        let mut port = [0; 4];
        let mut space = nix::cmsg_space!([i32; 1]);
        let mut parts = [IoSliceMut::new(&mut port)];
        let message =
            recvmsg::<()>(self.broker.as_raw_fd(), &mut parts, Some(&mut space), MsgFlags::MSG_DONTWAIT).unwrap();
        let descriptor = message.cmsgs().unwrap().find_map(|control| match control {
            ControlMessageOwned::ScmRights(descriptors) => descriptors.first().copied(),
            _ => None,
        });
        // SAFETY: the descriptor was just received and belongs to nobody else.
        let stream = unsafe { UnixStream::from_raw_fd(descriptor.unwrap()) };
        (u32::from_le_bytes(port), stream)
    }

    fn connected(memory: &'a Memory) -> (Bench<'a>, UnixStream) {
        let mut bench = Bench::new(memory);
        bench.give_buffers(8);
        bench.send(&Bench::header(Operation::Request, 0), &[]);
        assert_eq!(bench.next_operation(), Some(Operation::Response));
        let (port, stream) = bench.accept();
        assert_eq!(port, HOST_PORT);
        (bench, stream)
    }

    /// Lets the device see what happened to its streams.
    fn stream_events(&mut self) {
        let mut events = [EpollEvent::default(); 8];
        let count = self.muxer.epoll.wait(0, &mut events).unwrap();
        for event in &events[..count] {
            self.muxer.stream_event(event.data(), event.event_set());
        }
    }
}

#[test]
fn bytes_arrive_in_both_directions() {
    let memory = memory();
    let (mut bench, mut stream) = Bench::connected(&memory);
    bench.send(&Bench::header(Operation::Data, 5), b"hello");
    let mut bytes = [0; 5];
    stream.read_exact(&mut bytes).unwrap();
    assert_eq!(&bytes, b"hello");
    stream.write_all(b"welcome").unwrap();
    bench.stream_events();
    let (header, data) = bench.next().unwrap();
    assert_eq!((header.operation, data.as_slice()), (Some(Operation::Data), b"welcome".as_slice()));
    assert_eq!(header.forwarded, 5, "the guest is told that its data was taken");
}

#[test]
fn an_end_of_data_is_passed_on_after_the_data() {
    let memory = memory();
    let (mut bench, mut stream) = Bench::connected(&memory);
    stream.write_all(b"last").unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    bench.stream_events();
    assert_eq!(bench.next().unwrap().1, b"last");
    let (header, _) = bench.next().unwrap();
    assert_eq!((header.operation, header.flags), (Some(Operation::Shutdown), SHUTDOWN_SEND));
    // The other direction still works.
    bench.send(&Bench::header(Operation::Data, 2), b"ok");
    let mut bytes = [0; 2];
    stream.read_exact(&mut bytes).unwrap();
    let mut shutdown = Bench::header(Operation::Shutdown, 0);
    shutdown.flags = SHUTDOWN_SEND;
    bench.send(&shutdown, &[]);
    assert_eq!(stream.read(&mut bytes).unwrap(), 0);
    assert_eq!(bench.next_operation(), Some(Operation::Reset));
}

#[test]
fn no_more_is_sent_than_the_guest_has_room_for() {
    let memory = memory();
    let mut bench = Bench::new(&memory);
    bench.give_buffers(8);
    let mut request = Bench::header(Operation::Request, 0);
    request.buffer = 10;
    bench.send(&request, &[]);
    bench.next().unwrap();
    let (_, mut stream) = bench.accept();
    stream.write_all(&[7; 25]).unwrap();
    bench.stream_events();
    assert_eq!(bench.next().unwrap().1.len(), 10);
    assert!(bench.next().is_none());
    let mut update = Bench::header(Operation::CreditUpdate, 0);
    (update.buffer, update.forwarded) = (10, 10);
    bench.send(&update, &[]);
    assert_eq!(bench.next().unwrap().1.len(), 10);
    assert!(bench.next().is_none());
}

#[test]
fn data_beyond_the_room_it_was_told_of_costs_the_guest_its_connection() {
    let memory = memory();
    let (mut bench, stream) = Bench::connected(&memory);
    let data = vec![1; 60 << 10];
    // The host reads nothing: its socket and then our buffer fill up.
    for _ in 0..10 {
        bench.send(&Bench::header(Operation::Data, data.len() as u32), &data);
    }
    let mut operations = Vec::new();
    while let Some(operation) = bench.next_operation() {
        operations.push(operation);
    }
    assert!(operations.contains(&Operation::Reset), "{operations:?}");
    assert!(bench.muxer.connections.is_empty());
    drop(stream);
}

#[test]
fn packets_of_no_connection_are_refused_and_resets_are_not_answered() {
    let memory = memory();
    let mut bench = Bench::new(&memory);
    bench.give_buffers(8);
    bench.send(&Bench::header(Operation::Data, 1), b"x");
    assert_eq!(bench.next_operation(), Some(Operation::Reset));
    bench.send(&Bench::header(Operation::Reset, 0), &[]);
    assert_eq!(bench.next_operation(), None);
    let mut spoofed = Bench::header(Operation::Request, 0);
    spoofed.source_cid = 77;
    bench.send(&spoofed, &[]);
    assert_eq!(bench.next_operation(), None);
}

#[test]
fn a_length_that_lies_is_refused() {
    let memory = memory();
    let (mut bench, mut stream) = Bench::connected(&memory);
    bench.send(&Bench::header(Operation::Data, u32::MAX), b"short");
    assert_eq!(bench.next_operation(), Some(Operation::Reset));
    let mut bytes = [0; 8];
    assert_eq!(stream.read(&mut bytes).unwrap(), 0, "nothing of it may have arrived");
}

#[test]
fn a_guest_cannot_open_connections_without_end() {
    let memory = memory();
    let mut bench = Bench::new(&memory);
    for port in 0..MOST_CONNECTIONS as u32 + 200 {
        let mut request = Bench::header(Operation::Request, 0);
        request.source_port = port;
        bench.send(&request, &[]);
        while recvmsg::<()>(bench.broker.as_raw_fd(), &mut [], None, MsgFlags::MSG_DONTWAIT).is_ok() {}
    }
    assert!(bench.muxer.connections.len() <= MOST_CONNECTIONS);
    assert!(bench.muxer.answers.len() <= MOST_ANSWERS + 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_sequence_of_packets_does_harm(packets in proptest::collection::vec(
        (proptest::collection::vec(any::<u8>(), 0..80), any::<bool>(), 0u16..9), 1..12))
    {
        let memory = memory();
        let mut bench = Bench::new(&memory);
        bench.give_buffers(8);
        for (mut bytes, valid, operation) in packets {
            if valid && bytes.len() >= HEADER {
                bytes[..8].copy_from_slice(&u64::from(GUEST_CID).to_le_bytes());
                bytes[8..16].copy_from_slice(&u64::from(HOST_CID).to_le_bytes());
                bytes[28..30].copy_from_slice(&STREAM.to_le_bytes());
                bytes[30..32].copy_from_slice(&operation.to_le_bytes());
            }
            bench.memory.write_slice(&bytes, GuestAddress(PACKET)).unwrap();
            bench.transmit.offer(&[(PACKET, bytes.len() as u32, 0)]);
            bench.muxer.work().unwrap();
            bench.stream_events();
        }
        prop_assert!(bench.muxer.connections.len() <= MOST_CONNECTIONS);
    }
}

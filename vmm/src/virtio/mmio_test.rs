//! A driver that keeps to the order gets a device; one that does not gets nothing it could use.

use std::sync::{Arc, Mutex};

use vmm_sys_util::eventfd::EFD_NONBLOCK;

use super::*;
use crate::virtio::testing::{Driver, SIZE, memory};

/// Notes what happens to it.
#[derive(Clone, Default)]
struct Notes(Arc<Mutex<Vec<String>>>);

impl Notes {
    fn add(&self, note: impl Into<String>) {
        self.0.lock().unwrap().push(note.into());
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

struct Recorder {
    notes: Notes,
}

impl Device for Recorder {
    fn kind(&self) -> u32 {
        42
    }

    fn queues(&self) -> &'static [u16] {
        &[SIZE]
    }

    fn config(&self) -> &[u8] {
        &[1, 2, 3, 4, 5]
    }

    fn activate(&mut self, ready: Ready) -> std::io::Result<()> {
        self.notes.add(format!("activated with {} queues", ready.queues.len()));
        Ok(())
    }

    fn notify(&mut self, queue: usize) {
        self.notes.add(format!("notified {queue}"));
    }

    fn reset(&mut self) {
        self.notes.add("reset");
    }
}

fn device() -> (Transport, Notes, Memory) {
    let memory = memory();
    let notes = Notes::default();
    let interrupt = Interrupt::new(EventFd::new(EFD_NONBLOCK).unwrap());
    let recorder = Box::new(Recorder { notes: notes.clone() });
    (Transport::new(recorder, memory.clone(), interrupt, None).unwrap(), notes, memory)
}

fn read(transport: &Transport, offset: u64) -> u32 {
    let mut data = [0; 4];
    transport.read(offset, &mut data);
    u32::from_le_bytes(data)
}

fn write(transport: &mut Transport, offset: u64, value: u32) {
    transport.write(offset, &value.to_le_bytes());
}

const ACKNOWLEDGE_AND_DRIVER: u32 = 3;
const FEATURES_OK: u32 = VIRTIO_CONFIG_S_FEATURES_OK;
const DRIVER_OK: u32 = VIRTIO_CONFIG_S_DRIVER_OK;

fn negotiate(transport: &mut Transport) {
    write(transport, register::STATUS, ACKNOWLEDGE_AND_DRIVER);
    write(transport, register::DRIVER_FEATURES_SELECT, 1);
    write(transport, register::DRIVER_FEATURES, 1);
    write(transport, register::STATUS, ACKNOWLEDGE_AND_DRIVER | FEATURES_OK);
}

fn set_up_queue(transport: &mut Transport, memory: &Memory, base: u64) {
    let driver = Driver::new(memory, base);
    write(transport, register::QUEUE_SELECT, 0);
    write(transport, register::QUEUE_SIZE, SIZE.into());
    write(transport, register::DESCRIPTORS_LOW, base as u32);
    write(transport, register::AVAILABLE_LOW, driver.available() as u32);
    write(transport, register::USED_LOW, driver.used() as u32);
    write(transport, register::QUEUE_READY, 1);
}

#[test]
fn a_driver_that_keeps_to_the_order_gets_a_device() {
    let (mut transport, notes, memory) = device();
    assert_eq!(read(&transport, register::MAGIC), MAGIC);
    assert_eq!(read(&transport, register::DEVICE), 42);
    negotiate(&mut transport);
    set_up_queue(&mut transport, &memory, 0x10000);
    write(&mut transport, register::STATUS, ACKNOWLEDGE_AND_DRIVER | FEATURES_OK | DRIVER_OK);
    write(&mut transport, register::NOTIFY, 0);
    assert_eq!(notes.take(), ["activated with 1 queues", "notified 0"]);
    assert_eq!(read(&transport, register::QUEUE_READY), 1);
    write(&mut transport, register::STATUS, 0);
    assert_eq!(notes.take(), ["reset"]);
    assert_eq!(read(&transport, register::STATUS), 0);
    assert_eq!(read(&transport, register::QUEUE_READY), 0);
}

#[test]
fn nothing_works_before_features_are_agreed() {
    let (mut transport, notes, memory) = device();
    set_up_queue(&mut transport, &memory, 0x10000);
    write(&mut transport, register::STATUS, ACKNOWLEDGE_AND_DRIVER | DRIVER_OK);
    write(&mut transport, register::NOTIFY, 0);
    assert!(notes.take().is_empty());
    assert_eq!(read(&transport, register::STATUS), ACKNOWLEDGE_AND_DRIVER);
}

#[test]
fn features_that_were_not_offered_are_not_accepted() {
    let (mut transport, _, _) = device();
    write(&mut transport, register::STATUS, ACKNOWLEDGE_AND_DRIVER);
    write(&mut transport, register::DRIVER_FEATURES_SELECT, 1);
    write(&mut transport, register::DRIVER_FEATURES, u32::MAX);
    write(&mut transport, register::STATUS, ACKNOWLEDGE_AND_DRIVER | FEATURES_OK);
    assert_eq!(read(&transport, register::STATUS) & FEATURES_OK, 0);
}

#[test]
fn a_queue_outside_of_memory_leaves_the_device_dead_not_the_host() {
    for base in [0xffff_f000u32, 0x7fff_fff0] {
        let (mut transport, notes, _) = device();
        negotiate(&mut transport);
        for register in [register::DESCRIPTORS_LOW, register::AVAILABLE_LOW, register::USED_LOW] {
            write(&mut transport, register, base);
        }
        write(&mut transport, register::QUEUE_READY, 1);
        write(&mut transport, register::STATUS, ACKNOWLEDGE_AND_DRIVER | FEATURES_OK | DRIVER_OK);
        write(&mut transport, register::NOTIFY, 0);
        assert!(notes.take().is_empty(), "{base:#x}");
        assert_ne!(read(&transport, register::STATUS) & VIRTIO_CONFIG_S_NEEDS_RESET, 0);
    }
}

#[test]
fn a_queue_cannot_change_under_a_running_device() {
    let (mut transport, notes, memory) = device();
    negotiate(&mut transport);
    set_up_queue(&mut transport, &memory, 0x10000);
    write(&mut transport, register::STATUS, ACKNOWLEDGE_AND_DRIVER | FEATURES_OK | DRIVER_OK);
    write(&mut transport, register::QUEUE_READY, 0);
    write(&mut transport, register::QUEUE_SIZE, 0xffff);
    write(&mut transport, register::STATUS, ACKNOWLEDGE_AND_DRIVER | FEATURES_OK | DRIVER_OK);
    assert_eq!(read(&transport, register::QUEUE_READY), 1);
    assert_eq!(notes.take(), ["activated with 1 queues"], "a second DRIVER_OK must not start the device again");
}

#[test]
fn accesses_of_any_size_at_any_offset_are_harmless() {
    let (mut transport, _, _) = device();
    for offset in 0..0x1000 {
        for size in [1, 2, 4, 8] {
            let mut data = vec![0; size];
            transport.read(offset, &mut data);
            if offset == 0x104 {
                assert_eq!(data[0], 5);
                assert!(data[1..].iter().all(|byte| *byte == 0), "beyond the configuration there is nothing");
            }
            transport.write(offset, &vec![0xff; size]);
        }
    }
    write(&mut transport, register::QUEUE_SELECT, u32::MAX);
    assert_eq!(read(&transport, register::QUEUE_SIZE_MAX), 0);
}

//! I/O ports: the few a kernel without PCI and ACPI still pokes, and the one guest-init ends the machine with.

use config::wire::{POWER_OFF, POWER_PORT};

use crate::console::Console;
use crate::layout::{KEYBOARD_COMMAND, KEYBOARD_RESET, SERIAL_PORT, SERIAL_PORTS};

/// Line status register of a serial port, and its value when everything written has left (16550 data sheet).
const LINE_STATUS: u16 = 5;
const TRANSMITTER_EMPTY: u8 = 0x60;
/// Line control register; while its top bit is set, port 0 is the divisor, not data.
const LINE_CONTROL: u16 = 3;
const DIVISOR_ACCESS: u8 = 0x80;

/// What a write to a port asks of the machine.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Request {
    /// End: the guest is finished.
    PowerOff,
    /// End: the guest wants a reset.
    Reset,
}

/// The ports of one machine.
pub(crate) struct Ports {
    console: Console,
    divisor_access: bool,
}

impl Ports {
    /// What is written to the first serial port goes to `console`.
    pub(crate) fn new(console: Console) -> Ports {
        Ports { console, divisor_access: false }
    }

    /// A port was written.
    pub(crate) fn write(&mut self, port: u16, data: &[u8]) -> Option<Request> {
        let value = *data.first()?;
        match port {
            POWER_PORT if value == POWER_OFF => return Some(Request::PowerOff),
            KEYBOARD_COMMAND if value == KEYBOARD_RESET => return Some(Request::Reset),
            SERIAL_PORT if !self.divisor_access => self.console.write(data),
            _ if serial(port) == Some(LINE_CONTROL) => self.divisor_access = value & DIVISOR_ACCESS != 0,
            _ => {}
        }
        None
    }

    /// A port was read: ports that are not there float high, those of the serial port read zero.
    pub(crate) fn read(&self, port: u16, data: &mut [u8]) {
        data.fill(match serial(port) {
            Some(LINE_STATUS) => TRANSMITTER_EMPTY,
            Some(_) => 0,
            // An absent keyboard controller must not look busy, or the kernel waits for it.
            None if port == KEYBOARD_COMMAND => 0,
            None => 0xff,
        });
    }
}

/// The register of the serial port that `port` is.
fn serial(port: u16) -> Option<u16> {
    port.checked_sub(SERIAL_PORT).filter(|register| *register < SERIAL_PORTS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ways_to_end_are_told_apart() {
        let mut ports = Ports::new(Console::new(None));
        assert_eq!(ports.write(POWER_PORT, &[POWER_OFF]), Some(Request::PowerOff));
        assert_eq!(ports.write(KEYBOARD_COMMAND, &[KEYBOARD_RESET]), Some(Request::Reset));
        assert_eq!(ports.write(POWER_PORT, &[0]), None);
        assert_eq!(ports.write(KEYBOARD_COMMAND, &[]), None);
    }

    #[test]
    fn the_divisor_is_not_printed() {
        let console = Console::new(None);
        let mut ports = Ports::new(console.clone());
        ports.write(SERIAL_PORT + LINE_CONTROL, &[DIVISOR_ACCESS]);
        ports.write(SERIAL_PORT, b"!");
        ports.write(SERIAL_PORT + LINE_CONTROL, &[3]);
        for byte in b"Kernel panic - not syncing: x\n" {
            ports.write(SERIAL_PORT, &[*byte]);
        }
        assert_eq!(console.panic().as_deref(), Some("x"));
    }
}

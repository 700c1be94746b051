//! The header of a vsock packet (section 5.10.6), read from and written to bytes.

/// Length of the header.
pub(super) const HEADER: usize = 44;
/// The only socket type we speak: a stream (`VIRTIO_VSOCK_TYPE_STREAM`).
pub(super) const STREAM: u16 = 1;
/// Shutdown flag: the sender receives no more.
pub(super) const SHUTDOWN_RECEIVE: u32 = 1;
/// Shutdown flag: the sender sends no more.
pub(super) const SHUTDOWN_SEND: u32 = 2;
/// Both.
pub(super) const SHUTDOWN_BOTH: u32 = SHUTDOWN_RECEIVE | SHUTDOWN_SEND;

/// What a packet is for (section 5.10.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub(super) enum Operation {
    Request = 1,
    Response = 2,
    Reset = 3,
    Shutdown = 4,
    Data = 5,
    CreditUpdate = 6,
    CreditRequest = 7,
}

impl Operation {
    fn parse(value: u16) -> Option<Operation> {
        use Operation::{CreditRequest, CreditUpdate, Data, Request, Reset, Response, Shutdown};
        [Request, Response, Reset, Shutdown, Data, CreditUpdate, CreditRequest]
            .into_iter()
            .find(|operation| *operation as u16 == value)
    }
}

/// A packet's header; `operation` is `None` for one that does not exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) source_cid: u64,
    pub(super) destination_cid: u64,
    pub(super) source_port: u32,
    pub(super) destination_port: u32,
    /// Bytes of data behind the header.
    pub(super) length: u32,
    pub(super) kind: u16,
    pub(super) operation: Option<Operation>,
    pub(super) flags: u32,
    /// Room the sender has for data in all.
    pub(super) buffer: u32,
    /// Bytes the sender's program has taken so far, modulo 2^32.
    pub(super) forwarded: u32,
}

impl Header {
    pub(super) fn parse(bytes: &[u8; HEADER]) -> Header {
        let u16_at = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
        let u32_at = |at: usize| u32::from(u16_at(at)) | u32::from(u16_at(at + 2)) << 16;
        let u64_at = |at: usize| u64::from(u32_at(at)) | u64::from(u32_at(at + 4)) << 32;
        Header {
            source_cid: u64_at(0),
            destination_cid: u64_at(8),
            source_port: u32_at(16),
            destination_port: u32_at(20),
            length: u32_at(24),
            kind: u16_at(28),
            operation: Operation::parse(u16_at(30)),
            flags: u32_at(32),
            buffer: u32_at(36),
            forwarded: u32_at(40),
        }
    }

    pub(super) fn bytes(&self) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        bytes[0..8].copy_from_slice(&self.source_cid.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.destination_cid.to_le_bytes());
        bytes[16..20].copy_from_slice(&self.source_port.to_le_bytes());
        bytes[20..24].copy_from_slice(&self.destination_port.to_le_bytes());
        bytes[24..28].copy_from_slice(&self.length.to_le_bytes());
        bytes[28..30].copy_from_slice(&self.kind.to_le_bytes());
        bytes[30..32].copy_from_slice(&self.operation.map_or(0, |operation| operation as u16).to_le_bytes());
        bytes[32..36].copy_from_slice(&self.flags.to_le_bytes());
        bytes[36..40].copy_from_slice(&self.buffer.to_le_bytes());
        bytes[40..44].copy_from_slice(&self.forwarded.to_le_bytes());
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_survives_the_wire() {
        let header = Header {
            source_cid: 3,
            destination_cid: 2,
            source_port: 1 << 30,
            destination_port: 1024,
            length: 65536,
            kind: STREAM,
            operation: Some(Operation::CreditRequest),
            flags: SHUTDOWN_BOTH,
            buffer: u32::MAX,
            forwarded: 7,
        };
        assert_eq!(Header::parse(&header.bytes()), header);
    }

    #[test]
    fn an_operation_that_does_not_exist_is_none() {
        let mut bytes = [0; HEADER];
        for value in [0u16, 8, u16::MAX] {
            bytes[30..32].copy_from_slice(&value.to_le_bytes());
            assert_eq!(Header::parse(&bytes).operation, None);
        }
    }
}

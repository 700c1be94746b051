//! A fingerprint of an image's content, which becomes its UUID: overlayfs tells layers apart by it, and whoever reads an
//! image again finds every flipped bit. It is fast, and no protection against anybody.

use super::format::BLOCK;

/// Odd numbers with about as many ones as zeros, to multiply with.
const FACTORS: [u64; 4] = [0x9e37_79b9_7f4a_7c15, 0xc2b2_ae3d_27d4_eb4f, 0x1656_67b1_9e37_79f9, 0x27d4_eb2f_1656_67c5];

/// The fingerprint of the blocks that were added so far, whatever their order.
#[derive(Default)]
pub(super) struct Fingerprint {
    sum: u128,
}

impl Fingerprint {
    /// Adds the blocks from this one on. Blocks of zeros count as nothing, so that a hole and zeros are the same. What
    /// is left over after the last whole block is not for here.
    pub(super) fn add(&mut self, first: u64, bytes: &[u8]) {
        let (blocks, _) = bytes.as_chunks::<BLOCK>();
        for (number, block) in (first..).zip(blocks) {
            if !is_zero(block) {
                self.sum = self.sum.wrapping_add(hash(number, block));
            }
        }
    }

    /// As a UUID of version 8, which has no meaning but its maker's (RFC 9562), for an image of so many blocks.
    pub(super) fn uuid(&self, blocks: u32) -> [u8; 16] {
        let mut bits = mix(self.sum.wrapping_add(u128::from(blocks)));
        bits = (bits & !(0xf << 76)) | (0x8 << 76);
        bits = (bits & !(0x3 << 62)) | (0x2 << 62);
        bits.to_be_bytes()
    }
}

/// Whether all bytes are zero.
pub(super) fn is_zero(bytes: &[u8]) -> bool {
    // Almost always the first piece decides.
    bytes.chunks(64).all(|piece| piece.iter().fold(0, |all, byte| all | byte) == 0)
}

/// Four lanes, so that one multiplication need not wait for another. Each step can be undone, so no change of a single
/// word is ever lost.
fn hash(number: u64, block: &[u8; BLOCK]) -> u128 {
    let mut lanes = FACTORS.map(|factor| factor ^ number);
    let (words, _) = block.as_chunks::<8>();
    let (rows, _) = words.as_chunks::<4>();
    for row in rows {
        for ((lane, factor), word) in lanes.iter_mut().zip(FACTORS).zip(row) {
            *lane = (*lane ^ u64::from_le_bytes(*word)).wrapping_mul(factor).rotate_left(29);
        }
    }
    let [first, second, third, fourth] = lanes;
    let high = first ^ second.rotate_left(32).wrapping_mul(FACTORS[2]);
    let low = third ^ fourth.rotate_left(32).wrapping_mul(FACTORS[3]);
    mix((u128::from(high) << 64) | u128::from(low))
}

/// Spreads every bit over all others.
fn mix(bits: u128) -> u128 {
    let factor = (u128::from(FACTORS[0]) << 64) | u128::from(FACTORS[1]);
    let bits = (bits ^ (bits >> 67)).wrapping_mul(factor);
    let bits = (bits ^ (bits >> 59)).wrapping_mul(factor);
    bits ^ (bits >> 64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(bytes: &[u8]) -> [u8; 16] {
        let mut fingerprint = Fingerprint::default();
        fingerprint.add(1, bytes);
        fingerprint.uuid(9)
    }

    fn sample() -> Vec<u8> {
        (0..3 * BLOCK).map(|at| (at * 7 + at / 256) as u8).collect()
    }

    #[test]
    fn every_flipped_bit_is_found() {
        let mut bytes = sample();
        let sound = of(&bytes);
        for at in 0..bytes.len() {
            bytes[at] ^= 1 << (at % 8);
            assert_ne!(of(&bytes), sound, "byte {at}");
            bytes[at] ^= 1 << (at % 8);
        }
    }

    #[test]
    fn pieces_holes_and_order_do_not_matter_but_places_do() {
        let bytes = sample();
        let mut pieces = Fingerprint::default();
        pieces.add(3, &bytes[2 * BLOCK..]);
        pieces.add(7, &[0; BLOCK]);
        pieces.add(1, &bytes[..2 * BLOCK]);
        assert_eq!(pieces.uuid(9), of(&bytes));
        assert_ne!(pieces.uuid(8), of(&bytes));
        assert_ne!(of(&[&bytes[BLOCK..], &bytes[..BLOCK]].concat()), of(&bytes));
    }
}

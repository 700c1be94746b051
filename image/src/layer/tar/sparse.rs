//! Maps of sparse files: which pieces of the file are stored, all others being zeros (GNU tar manual, "Storing Sparse
//! Files").

use super::header::Header;
use super::input::{Block, Input};
use super::{BLOCK, Error, number, padding};

/// Most pieces of one file: its map takes 16 MiB of memory then.
pub(super) const MAX_REGIONS: usize = 1 << 20;
/// Longest line of a map in front of the data: the digits of a 64-bit number.
const MAX_DIGITS: usize = 20;

/// A piece of a file that is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::layer) struct Region {
    /// Where in the file it begins.
    pub(in crate::layer) offset: u64,
    /// How many bytes it has.
    pub(in crate::layer) length: u64,
}

/// Pairs up a list of offsets and lengths.
pub(super) fn listed(numbers: impl Iterator<Item = Option<u64>>) -> Result<Vec<Region>, Error> {
    let mut map = Vec::new();
    let mut numbers = numbers.fuse();
    while let Some(offset) = numbers.next() {
        let (Some(offset), Some(Some(length))) = (offset, numbers.next()) else {
            return Err(Error::SparseMap);
        };
        push(&mut map, offset, length)?;
    }
    Ok(map)
}

/// Reads the map and the real size out of GNU tar's own header, and the blocks that continue it.
pub(super) fn old_gnu(
    header: &Header,
    mut next: impl FnMut() -> Result<Block, Error>,
) -> Result<(u64, Vec<Region>), Error> {
    let mut map = Vec::new();
    let (pieces, mut more) = header.sparse_map();
    push_old(&mut map, pieces)?;
    while more {
        let block = next()?;
        let (pieces, rest) = block.split_at(504);
        push_old(&mut map, pieces)?;
        more = rest.first() != Some(&0);
    }
    Ok((header.real_size()?, map))
}

/// Reads the map in front of the data: one number on each line, first how many pieces there are. `left` is how much
/// of the data there is, and then how much of it is left.
pub(super) fn in_data(input: &mut Input<'_>, left: &mut u64) -> Result<Vec<Region>, Error> {
    let mut lines = Lines { input, left, used: 0 };
    let count = lines.number()?;
    let mut map = Vec::new();
    for _ in 0..count {
        let (offset, length) = (lines.number()?, lines.number()?);
        push(&mut map, offset, length)?;
    }
    let rest = padding(lines.used);
    *left = left.checked_sub(rest).ok_or(Error::SparseMap)?;
    input.skip(rest)?;
    Ok(map)
}

/// Whether the pieces are in order, within the file, and together as long as the data.
pub(super) fn check(map: &[Region], size: u64, stored: u64) -> Result<(), Error> {
    let (mut end, mut sum) = (0u64, 0u64);
    for region in map {
        if region.offset < end {
            return Err(Error::SparseMap);
        }
        end = region.offset.checked_add(region.length).filter(|end| *end <= size).ok_or(Error::SparseMap)?;
        // No overflow: the pieces do not overlap.
        sum = sum.saturating_add(region.length);
    }
    if sum == stored { Ok(()) } else { Err(Error::SparseMap) }
}

fn push(map: &mut Vec<Region>, offset: u64, length: u64) -> Result<(), Error> {
    if map.len() >= MAX_REGIONS {
        return Err(Error::SparseLong);
    }
    map.push(Region { offset, length });
    Ok(())
}

/// Adds pieces of 12 bytes offset and 12 bytes length each; an empty one ends them.
fn push_old(map: &mut Vec<Region>, pieces: &[u8]) -> Result<(), Error> {
    for piece in pieces.chunks_exact(24).take_while(|piece| piece.first() != Some(&0)) {
        let (offset, length) = piece.split_at(12);
        let number = |bytes| number::field(bytes).and_then(|value| u64::try_from(value).ok()).ok_or(Error::SparseMap);
        push(map, number(offset)?, number(length)?)?;
    }
    Ok(())
}

struct Lines<'a, 'b> {
    input: &'a mut Input<'b>,
    left: &'a mut u64,
    used: u64,
}

impl Lines<'_, '_> {
    fn number(&mut self) -> Result<u64, Error> {
        let mut digits = Vec::with_capacity(MAX_DIGITS);
        loop {
            *self.left = self.left.checked_sub(1).ok_or(Error::SparseMap)?;
            self.used += 1;
            match self.input.lend(1)? {
                b"\n" => return number::decimal(&digits).ok_or(Error::SparseMap),
                [] => return Err(Error::Cut { missing: BLOCK }),
                digit if digits.len() < MAX_DIGITS => digits.extend_from_slice(digit),
                _ => return Err(Error::SparseMap),
            }
        }
    }
}

//! The content of a folder: blocks of sorted entries, each block its entries first and then their names.

use super::format::{BLOCK, ENTRY};

/// A name in a folder, and what has it.
pub(super) struct Entry<'a> {
    pub(super) name: &'a [u8],
    /// Number of the inode.
    pub(super) inode: u64,
    pub(super) kind: u8,
}

/// How long the content is, for names of these lengths in their order.
pub(super) fn size(lengths: impl IntoIterator<Item = usize>) -> u64 {
    let (mut blocks, mut used) = (0u64, 0);
    for length in lengths {
        if used + ENTRY + length > BLOCK {
            blocks += 1;
            used = 0;
        }
        used += ENTRY + length;
    }
    blocks * BLOCK as u64 + used as u64
}

/// The content for these sorted entries. All blocks but the last one are filled up with zeros.
pub(super) fn encode(entries: &[Entry<'_>]) -> Vec<u8> {
    let mut content = Vec::new();
    let mut left = entries;
    while !left.is_empty() {
        content.resize(content.len().next_multiple_of(BLOCK), 0);
        let (now, later) = left.split_at(fitting(left));
        let mut name_offset = now.len() * ENTRY;
        for entry in now {
            content.extend(entry.inode.to_le_bytes());
            content.extend((name_offset as u16).to_le_bytes());
            content.extend([entry.kind, 0]);
            name_offset += entry.name.len();
        }
        now.iter().for_each(|entry| content.extend_from_slice(entry.name));
        left = later;
    }
    content
}

/// How many of the entries fit into one block. A name is much shorter than a block.
fn fitting(entries: &[Entry<'_>]) -> usize {
    let mut used = 0;
    let fits = |entry: &&Entry<'_>| {
        used += ENTRY + entry.name.len();
        used <= BLOCK
    };
    entries.iter().take_while(fits).count().max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_size_is_that_of_what_is_encoded() {
        for (count, length) in [(2, 1), (14, 250), (16, 250), (17, 244), (3000, 7), (100, 255)] {
            let name = vec![b'n'; length];
            let entries: Vec<Entry<'_>> = (0..count).map(|inode| Entry { name: &name, inode, kind: 1 }).collect();
            assert_eq!(encode(&entries).len() as u64, size(entries.iter().map(|entry| entry.name.len())));
        }
    }

    #[test]
    fn entries_come_first_and_tell_where_their_names_are() {
        let entries = [Entry { name: b".", inode: 7, kind: 2 }, Entry { name: b"ab", inode: 8, kind: 1 }];
        let expected = [&[7, 0, 0, 0, 0, 0, 0, 0, 24, 0, 2, 0, 8, 0, 0, 0, 0, 0, 0, 0, 25, 0, 1, 0][..], b".ab"];
        assert_eq!(encode(&entries), expected.concat());
    }
}

//! The content of a folder: blocks of sorted entries, each block its entries first and then their names.

use super::format::{BLOCK, ENTRY};
use super::reader::field;

/// Longest name of a file in bytes (Linux, `NAME_MAX`).
const MAX_NAME: usize = 255;

/// A name in a folder, and what has it.
#[derive(Debug, PartialEq, Eq)]
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

/// The entries in one block. `None` if it is not as `encode` makes it: at least one entry, names that can be, in order.
pub(super) fn decode(block: &[u8]) -> Option<Vec<Entry<'_>>> {
    let start = |head: &[u8]| usize::from(u16::from_le_bytes(field(head, 8)));
    let heads_end = start(block.get(..ENTRY)?);
    let heads = block.get(..heads_end).filter(|heads| heads.len().is_multiple_of(ENTRY))?;
    let ends = heads.chunks_exact(ENTRY).skip(1).map(start).chain([block.len()]);
    let mut entries: Vec<Entry<'_>> = Vec::with_capacity(heads.len() / ENTRY);
    let mut name_start = heads_end;
    for (head, end) in heads.chunks_exact(ENTRY).zip(ends) {
        let name = block.get(name_start..end)?;
        // What fills up a block is behind its last name.
        let name = if end == block.len() { until_zero(name) } else { name };
        let in_order = entries.last().is_none_or(|last| last.name < name);
        if name.is_empty() || name.len() > MAX_NAME || name.contains(&0) || name.contains(&b'/') || !in_order {
            return None;
        }
        entries.push(Entry { name, inode: u64::from_le_bytes(field(head, 0)), kind: *head.get(10)? });
        name_start = end;
    }
    (!entries.is_empty()).then_some(entries)
}

fn until_zero(name: &[u8]) -> &[u8] {
    name.split(|byte| *byte == 0).next().unwrap_or_default()
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

    #[test]
    fn what_is_encoded_can_be_decoded_block_by_block() {
        let names: Vec<String> = (10_000..13_000).map(|number| number.to_string()).collect();
        let entries = names.iter().map(|name| Entry { name: name.as_bytes(), inode: name.len() as u64, kind: 1 });
        let entries: Vec<Entry<'_>> = entries.collect();
        let content = encode(&entries);
        let decoded: Vec<Entry<'_>> = content.chunks(BLOCK).flat_map(|block| decode(block).unwrap()).collect();
        assert_eq!(decoded, entries);
    }

    #[test]
    fn what_no_folder_has_is_refused() {
        let encoded = |names: &[&[u8]]| {
            encode(&names.iter().map(|name| Entry { name, inode: 1, kind: 1 }).collect::<Vec<Entry<'_>>>())
        };
        for names in [&[&b"b"[..], b"a"][..], &[b"a", b"a"], &[b"a/b"], &[b"", b"a"], &[b"a\0b", b"c"], &[&[b'a'; 256]]]
        {
            assert_eq!(decode(&encoded(names)), None, "{names:?}");
        }
        assert_eq!(decode(&[]), None);
        assert_eq!(decode(&[0; BLOCK]), None);
        assert_eq!(decode(&[12; 12]), None);
    }
}

//! Container ids: 64 random hexadecimal digits, of which people see 12.

use std::fmt::Write;
use std::fs::File;
use std::io::{self, Read};

/// Digits of a whole id.
pub(crate) const LENGTH: usize = 64;
/// Digits shown, enough to be unambiguous on one host.
const SHORT: usize = 12;
/// Where randomness comes from: never blocks once the host is up.
const RANDOM: &str = "/dev/urandom";

/// A new id, and as much randomness again for a name.
pub(crate) fn random() -> io::Result<(String, u64)> {
    let mut bytes = [0; LENGTH / 2 + 8];
    File::open(RANDOM)?.read_exact(&mut bytes)?;
    let (id, rest) = bytes.split_at(LENGTH / 2);
    let mut text = String::with_capacity(LENGTH);
    for byte in id {
        let _ = write!(text, "{byte:02x}");
    }
    Ok((text, rest.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte))))
}

/// The part of `id` that is shown.
pub(crate) fn short(id: &str) -> &str {
    id.get(..SHORT).unwrap_or(id)
}

/// Whether `text` could be the beginning of an id.
pub(crate) fn is_prefix(text: &str) -> bool {
    (1..=LENGTH).contains(&text.len()) && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_long_hexadecimal_and_never_the_same() {
        let (one, _) = random().unwrap();
        let (other, _) = random().unwrap();
        assert_eq!(one.len(), LENGTH);
        assert!(is_prefix(&one));
        assert_ne!(one, other);
        assert_eq!(short(&one), &one[..12]);
    }

    #[test]
    fn only_lower_case_hexadecimal_begins_an_id() {
        assert!(is_prefix("0af"));
        for text in ["", "0AF", "xyz", "../", &"0".repeat(65)] {
            assert!(!is_prefix(text), "{text:?}");
        }
    }
}

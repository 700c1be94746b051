//! Numbers as tar headers and pax records write them.

/// Reads a field of a header: octal digits between blanks and NULs, or, if its first bit is set, a binary number in
/// two's complement (GNU tar). An empty field is 0. `None` if it is neither, or does not fit.
pub(super) fn field(bytes: &[u8]) -> Option<i64> {
    match bytes.first() {
        Some(first) if first & 0x80 != 0 => binary(bytes),
        _ => octal(bytes),
    }
}

fn octal(bytes: &[u8]) -> Option<i64> {
    let blank = |byte: &u8| matches!(byte, b' ' | 0);
    let start = bytes.iter().position(|byte| !blank(byte)).unwrap_or(bytes.len());
    let digits = bytes.get(start..)?;
    let end = digits.iter().position(blank).unwrap_or(digits.len());
    digits.get(..end)?.iter().try_fold(0i64, |value, digit| match digit {
        b'0'..=b'7' => value.checked_mul(8)?.checked_add(i64::from(digit - b'0')),
        _ => None,
    })
}

fn binary(bytes: &[u8]) -> Option<i64> {
    let (first, rest) = bytes.split_first()?;
    // The first bit marks the field; the sign is in the second one.
    let start = if first & 0x40 != 0 { i64::from(first | 0x80) - 256 } else { i64::from(first & 0x3f) };
    rest.iter().try_fold(start, |value, byte| value.checked_mul(256)?.checked_add(i64::from(*byte)))
}

/// Reads decimal digits, nothing else around them.
pub(super) fn decimal(bytes: &[u8]) -> Option<u64> {
    if bytes.is_empty() {
        return None;
    }
    bytes.iter().try_fold(0u64, |value, digit| match digit {
        b'0'..=b'9' => value.checked_mul(10)?.checked_add(u64::from(digit - b'0')),
        _ => None,
    })
}

/// Reads a decimal number with a sign.
pub(super) fn signed(bytes: &[u8]) -> Option<i64> {
    match bytes.strip_prefix(b"-") {
        None => i64::try_from(decimal(bytes)?).ok(),
        Some(digits) => 0i64.checked_sub_unsigned(decimal(digits)?),
    }
}

/// Reads seconds with a fraction: the whole seconds and the nanoseconds after them. Digits beyond nanoseconds are cut
/// off, not rounded.
pub(super) fn seconds(bytes: &[u8]) -> Option<(i64, u32)> {
    let point = bytes.iter().position(|byte| *byte == b'.').unwrap_or(bytes.len());
    let (whole, fraction) = bytes.split_at(point);
    let fraction = fraction.get(1..).unwrap_or_default();
    if !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let digits = fraction.iter().copied().chain(std::iter::repeat(b'0')).take(9);
    let nanoseconds = digits.fold(0u32, |value, digit| value * 10 + u32::from(digit - b'0'));
    let value = signed(whole)?;
    if whole.starts_with(b"-") && nanoseconds > 0 {
        return Some((value.checked_sub(1)?, 1_000_000_000 - nanoseconds));
    }
    Some((value, nanoseconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn octal_fields_may_be_padded_in_every_known_way() {
        assert_eq!(field(b"0000644\0"), Some(0o644));
        assert_eq!(field(b"   644 \0"), Some(0o644));
        assert_eq!(field(b"77777777777"), Some(0o77_777_777_777));
        assert_eq!(field(b"\0\0\0\0"), Some(0));
        assert_eq!(field(b"12\0garbage"), Some(0o12));
        assert_eq!(field(b"0008"), None);
        assert_eq!(field(b"-1"), None);
        assert_eq!(field(&[b'7'; 30]), None);
    }

    #[test]
    fn binary_fields_have_a_sign() {
        assert_eq!(field(b"\x80\0\0\0\0\x20\0\0"), Some(0x20_0000));
        assert_eq!(field(&[0xff; 12]), Some(-1));
        assert_eq!(field(&[&[0xff; 11][..], &[0xfe]].concat()), Some(-2));
        assert_eq!(field(&[&[0x80, 0, 0, 0][..], &[0xff; 8]].concat()), None);
        assert_eq!(field(&[&[0xc0][..], &[0; 11]].concat()), None);
    }

    #[test]
    fn times_are_cut_not_rounded_and_may_lie_before_1970() {
        assert_eq!(seconds(b"1700000000"), Some((1_700_000_000, 0)));
        assert_eq!(seconds(b"1.9999999999"), Some((1, 999_999_999)));
        assert_eq!(seconds(b"1.5"), Some((1, 500_000_000)));
        assert_eq!(seconds(b"-1.25"), Some((-2, 750_000_000)));
        assert_eq!(seconds(b"-0.5"), Some((-1, 500_000_000)));
        assert_eq!(seconds(b"-3"), Some((-3, 0)));
        assert_eq!(seconds(b"-9223372036854775808"), Some((i64::MIN, 0)));
        for bad in [&b""[..], b".", b"1.x", b"1e3", b"--1", b"+1", b"9223372036854775808", b"1.2.3"] {
            assert_eq!(seconds(bad), None);
        }
    }
}

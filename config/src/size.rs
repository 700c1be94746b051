//! Sizes in bytes as Docker's users write and read them.

/// A size that does not parse.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0:?} is not a size: write a whole number and one of b, k, m, g, for example 256m")]
pub struct Error(String);

/// Parses `256m`, `1g`, `512k`, `1073741824`, `256MiB`; binary units, as Docker's `-m` has them.
pub fn parse(text: &str) -> Result<u64, Error> {
    let wrong = || Error(text.to_owned());
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let shift = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        "t" | "tb" | "tib" => 40,
        _ => return Err(wrong()),
    };
    number.checked_mul(1 << shift).ok_or_else(wrong)
}

/// Writes a size in decimal units with three significant digits, as `docker images` does: `4.26MB`.
pub fn human(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["B", "kB", "MB", "GB", "TB", "PB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1000.0 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    let decimals = match value {
        _ if unit == 0 => 0,
        v if v < 10.0 => 2,
        v if v < 100.0 => 1,
        _ => 0,
    };
    let text = format!("{value:.decimals$}");
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{text}{}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_parse_as_docker_reads_them() {
        assert_eq!(parse("256m"), Ok(256 << 20));
        assert_eq!(parse("1G"), Ok(1 << 30));
        assert_eq!(parse("4096"), Ok(4096));
        assert_eq!(parse("64MiB"), Ok(64 << 20));
    }

    #[test]
    fn what_is_not_a_size_is_refused() {
        for text in ["", "m", "-1", "1.5g", "12q", "99999999999g", "1 m"] {
            assert!(parse(text).is_err(), "{text:?} was taken for a size");
        }
    }

    #[test]
    fn sizes_read_as_docker_writes_them() {
        assert_eq!(human(0), "0B");
        assert_eq!(human(999), "999B");
        assert_eq!(human(4_260_000), "4.26MB");
        assert_eq!(human(141_000_000), "141MB");
        assert_eq!(human(1_000), "1kB");
    }
}

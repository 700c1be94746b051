//! Signals by name or number, as `kill -s` and an image's stop signal have them.

use std::str::FromStr;

use anyhow::{Result, anyhow};
use nix::sys::signal::Signal;

/// Highest signal of Linux.
const HIGHEST: i32 = 64;

/// Reads `TERM`, `SIGTERM`, `sigterm` or `15`.
pub(crate) fn parse(text: &str) -> Result<i32> {
    let wrong = || anyhow!("{text:?} is not a signal: write a name such as TERM or a number from 1 to {HIGHEST}");
    if let Ok(number) = text.parse::<i32>() {
        return if (1..=HIGHEST).contains(&number) { Ok(number) } else { Err(wrong()) };
    }
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    Signal::from_str(&format!("SIG{name}")).map(|signal| signal as i32).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_go_by_name_and_number() {
        for text in ["TERM", "SIGTERM", "sigterm", "15"] {
            assert_eq!(parse(text).unwrap(), 15, "{text}");
        }
        assert_eq!(parse("QUIT").unwrap(), 3);
        assert_eq!(parse("64").unwrap(), 64);
    }

    #[test]
    fn what_is_no_signal_is_named() {
        for text in ["", "0", "65", "-9", "SIG", "SIGSIGTERM", "BOAT"] {
            assert!(parse(text).unwrap_err().to_string().contains(&format!("{text:?}")), "{text:?}");
        }
    }
}

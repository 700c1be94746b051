//! How often and how patiently a failed request is tried again.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Longest pause of ours, and longest one a registry can ask for; beyond that the user decides.
pub(super) const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// How often and how patiently a failed request is tried again.
#[derive(Clone, Copy, Debug)]
pub struct Retry {
    /// Tries in all.
    pub attempts: u32,
    /// Pause after the first; it doubles each time, up to a minute.
    pub first_pause: Duration,
}

impl Default for Retry {
    /// Five tries within about eight seconds: long enough for a restarting registry or a flapping link.
    fn default() -> Retry {
        Retry { attempts: 5, first_pause: Duration::from_millis(500) }
    }
}

impl Retry {
    /// The pause after try number `attempt`, counted from 1; `None` when there is no further one.
    pub(super) fn pause(&self, attempt: u32) -> Option<Duration> {
        let doubled = || self.first_pause.saturating_mul(1 << attempt.saturating_sub(1).min(16)).min(LONGEST_PAUSE);
        (attempt >= 1 && attempt < self.attempts).then(doubled)
    }
}

/// The pause that a `Retry-After` header asks for: seconds or a date (RFC 9110, section 10.2.3).
pub(super) fn retry_after(value: &str, now: SystemTime) -> Option<Duration> {
    let value = value.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    // A date that has passed asks for no pause.
    Some(date(value)?.duration_since(now).unwrap_or_default())
}

/// A date as HTTP writes it: `Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110, section 5.6.7; the obsolete forms are not
/// read).
fn date(text: &str) -> Option<SystemTime> {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let words: Vec<&str> = text.split_once(", ")?.1.split([' ', ':']).collect();
    let [day, month, year, hour, minute, second, "GMT"] = words.as_slice() else { return None };
    let number = |word: &str, range: std::ops::RangeInclusive<u64>| word.parse().ok().filter(|n| range.contains(n));
    let (day, year) = (number(day, 1..=31)?, number(year, 1970..=9999)?);
    let month = MONTHS.iter().position(|name| name == month)? as u64;
    let (hour, minute, second) = (number(hour, 0..=23)?, number(minute, 0..=59)?, number(second, 0..=60)?);
    // Years that begin in March have their leap day last (the proleptic Gregorian calendar in days).
    let (year, month) = if month < 2 { (year - 1, month + 10) } else { (year, month - 2) };
    let days = year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day;
    const DAYS_TO_1970: u64 = 719_469;
    let seconds = days.checked_sub(DAYS_TO_1970)? * 86_400 + hour * 3600 + minute * 60 + second;
    UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(text: &str) -> Option<u64> {
        date(text).map(|time| time.duration_since(UNIX_EPOCH).unwrap().as_secs())
    }

    #[test]
    fn dates_are_those_of_the_calendar() {
        assert_eq!(seconds("Thu, 01 Jan 1970 00:00:00 GMT"), Some(0));
        assert_eq!(seconds("Sun, 06 Nov 1994 08:49:37 GMT"), Some(784_111_777));
        assert_eq!(seconds("Thu, 29 Feb 2024 23:59:59 GMT"), Some(1_709_251_199));
        assert_eq!(seconds("Fri, 31 Dec 2027 12:00:00 GMT"), Some(1_830_254_400));
        for text in ["", "soon", "Sun, 06 Nov 1994", "Sun, 06 Nix 1994 08:49:37 GMT", "Sun, 99 Nov 1994 08:49:37 GMT"] {
            assert_eq!(seconds(text), None, "{text:?} was read");
        }
    }

    #[test]
    fn a_pause_is_asked_for_in_seconds_or_by_a_date() {
        let now = UNIX_EPOCH + Duration::from_secs(784_111_700);
        assert_eq!(retry_after(" 7 ", now), Some(Duration::from_secs(7)));
        assert_eq!(retry_after("Sun, 06 Nov 1994 08:49:37 GMT", now), Some(Duration::from_secs(77)));
        assert_eq!(retry_after("Sun, 06 Nov 1994 08:00:00 GMT", now), Some(Duration::ZERO));
        assert_eq!(retry_after("-1", now), None);
    }

    #[test]
    fn pauses_double_and_end() {
        let retry = Retry { attempts: 4, first_pause: Duration::from_secs(25) };
        let pauses: Vec<_> = (1..5).map(|attempt| retry.pause(attempt).map(|pause| pause.as_secs())).collect();
        assert_eq!(pauses, [Some(25), Some(50), Some(60), None]);
        assert_eq!(Retry { attempts: 0, ..retry }.pause(1), None);
    }
}

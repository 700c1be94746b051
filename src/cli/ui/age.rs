//! Spans of time as Docker words them.

use std::time::{Duration, SystemTime};

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// How long ago `time` was: `About a minute`, `3 hours`.
pub(crate) fn since(time: SystemTime) -> String {
    words(SystemTime::now().duration_since(time).unwrap_or_default())
}

fn words(span: Duration) -> String {
    let seconds = span.as_secs();
    match seconds {
        0 => "Less than a second".to_owned(),
        1 => "1 second".to_owned(),
        2..MINUTE => format!("{seconds} seconds"),
        MINUTE..120 => "About a minute".to_owned(),
        120..HOUR => format!("{} minutes", seconds / MINUTE),
        HOUR..7200 => "About an hour".to_owned(),
        _ if seconds < 2 * DAY => format!("{} hours", seconds / HOUR),
        _ if seconds < 14 * DAY => format!("{} days", seconds / DAY),
        _ if seconds < 60 * DAY => format!("{} weeks", seconds / (7 * DAY)),
        _ if seconds < 730 * DAY => format!("{} months", seconds / (30 * DAY)),
        _ => format!("{} years", seconds / (365 * DAY)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_worded_as_docker_words_them() {
        let seconds = |seconds| words(Duration::from_secs(seconds));
        assert_eq!(words(Duration::from_millis(900)), "Less than a second");
        assert_eq!(seconds(1), "1 second");
        assert_eq!(seconds(59), "59 seconds");
        assert_eq!(seconds(60), "About a minute");
        assert_eq!(seconds(3599), "59 minutes");
        assert_eq!(seconds(3600), "About an hour");
        assert_eq!(seconds(47 * 3600), "47 hours");
        assert_eq!(seconds(13 * 86400), "13 days");
        assert_eq!(seconds(21 * 86400), "3 weeks");
        assert_eq!(seconds(90 * 86400), "3 months");
        assert_eq!(seconds(3 * 365 * 86400), "3 years");
    }
}

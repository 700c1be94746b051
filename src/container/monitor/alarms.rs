//! What happens when a time is up.

use std::time::{Duration, Instant};

use nix::poll::PollTimeout;

/// How long a guest may take to come up; on a host whose KVM is itself emulated it takes seconds.
pub(super) const BOOT: Duration = Duration::from_secs(60);
/// How long whoever is attached to a process that was sent SIGKILL may take to read the rest.
pub(super) const LAST_OUTPUT: Duration = Duration::from_secs(5);
/// How long a process may take to die of SIGKILL before the power is cut. Its guest also writes back what it cached,
/// which a slow disk takes a while for.
pub(super) const DEATH: Duration = Duration::from_secs(30);
/// How long a guest may take to switch itself off once its process has ended.
pub(super) const POWER_OFF: Duration = Duration::from_secs(10);

/// Something that is done at its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Alarm {
    /// The guest did not come up.
    Boot,
    /// The stop signal did not end the process.
    Kill,
    /// The process is dying, and somebody who is attached does not read.
    LetGo,
    /// The process has ended, and its guest goes on.
    PowerOff,
    /// Not even SIGKILL ended the process.
    CutPower,
}

/// All alarms that are set.
#[derive(Debug, Default)]
pub(super) struct Alarms(Vec<(Instant, Alarm)>);

impl Alarms {
    /// Sets an alarm.
    pub(super) fn set(&mut self, after: Duration, alarm: Alarm) {
        // A time beyond what the clock can tell never comes.
        self.0.extend(Instant::now().checked_add(after).map(|time| (time, alarm)));
    }

    /// Forgets all alarms but those that `keep` keeps.
    pub(super) fn retain(&mut self, keep: impl Fn(Alarm) -> bool) {
        self.0.retain(|(_, alarm)| keep(*alarm));
    }

    /// Takes the alarms that are due.
    pub(super) fn due(&mut self) -> Vec<Alarm> {
        let now = Instant::now();
        self.0.extract_if(.., |(time, _)| *time <= now).map(|(_, alarm)| alarm).collect()
    }

    /// How long to wait for the next one.
    pub(super) fn timeout(&self) -> PollTimeout {
        let Some(next) = self.0.iter().map(|(time, _)| *time).min() else { return PollTimeout::NONE };
        // A millisecond more, so that the alarm is due when it is over.
        let left = next.saturating_duration_since(Instant::now()).saturating_add(Duration::from_millis(1));
        PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alarm_is_due_once_at_its_time() {
        let mut alarms = Alarms::default();
        assert_eq!(alarms.timeout(), PollTimeout::NONE);
        alarms.set(Duration::from_secs(3600), Alarm::Boot);
        alarms.set(Duration::ZERO, Alarm::Kill);
        assert_eq!(alarms.timeout(), PollTimeout::from(1u8));
        assert_eq!(alarms.due(), [Alarm::Kill]);
        assert_eq!(alarms.due(), []);
        alarms.retain(|alarm| alarm != Alarm::Boot);
        assert_eq!(alarms.timeout(), PollTimeout::NONE);
        alarms.set(Duration::MAX, Alarm::Kill);
        assert_eq!(alarms.timeout(), PollTimeout::NONE);
    }
}

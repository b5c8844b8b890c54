//! When time counts. An instant is open or it is not; everything else about a clock follows from that.

use chrono::TimeDelta;

use crate::time::Timestamp;

/// The set of open instants.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Calendar {
    /// Around the clock, every day.
    #[default]
    AlwaysOpen,
}

impl Calendar {
    /// Measures the open time in `[from, to)`; nothing when `to` is not after `from`.
    #[must_use]
    pub fn open_between(&self, from: Timestamp, to: Timestamp) -> TimeDelta {
        match self {
            Self::AlwaysOpen => (to - from).max(TimeDelta::zero()),
        }
    }

    /// Finds the first instant at which at least `span` of open time has passed since `from`; `None` if never.
    #[must_use]
    pub fn reach(&self, from: Timestamp, span: TimeDelta) -> Option<Timestamp> {
        match self {
            Self::AlwaysOpen => from.checked_add_signed(span),
        }
    }

    /// Finds the instant after which more than `span` of open time has passed since `from`; `None` if never.
    ///
    /// It is later than `reach` only where the span runs out exactly at a closing time.
    #[must_use]
    pub fn exceed(&self, from: Timestamp, span: TimeDelta) -> Option<Timestamp> {
        match self {
            Self::AlwaysOpen => from.checked_add_signed(span),
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;

    #[test]
    fn no_time_passes_backwards() {
        let (calendar, now) = (Calendar::AlwaysOpen, DateTime::UNIX_EPOCH);
        assert_eq!(calendar.open_between(now, now - TimeDelta::seconds(1)), TimeDelta::zero());
        assert_eq!(calendar.open_between(now, now + TimeDelta::seconds(1)), TimeDelta::seconds(1));
    }

    #[test]
    fn what_lies_beyond_the_end_of_the_calendar_is_never_reached() {
        let calendar = Calendar::AlwaysOpen;
        assert_eq!(calendar.reach(DateTime::<chrono::Utc>::MAX_UTC, TimeDelta::seconds(1)), None);
        assert_eq!(calendar.exceed(DateTime::<chrono::Utc>::MAX_UTC, TimeDelta::seconds(1)), None);
    }
}

//! When time counts. An instant is open or it is not; everything else about a clock follows from that.
//!
//! An instant is open iff its local wall time lies in a `[start, end)` window of that local date. This alone settles
//! what happens where a zone changes its offset: a window that is skipped never opens, one that is repeated opens
//! twice. An override of a date beats the week.

mod definition;
mod hours;
pub(crate) mod zone;

use std::sync::Arc;

use chrono::{DateTime, TimeDelta};

pub(crate) use definition::time_of_day;
pub use definition::{Definition, Week, read_week};
pub(crate) use hours::DAY_US;
pub use hours::Hours;

use crate::ids::VersionId;
use crate::time::Timestamp;

/// The last microsecond both databases can keep: the end of the year 9999. What comes later never comes.
const END_US: i64 = 253_402_300_799_999_999;

/// How far to look for a closing time: what is open for longer is open for good.
const LONGEST_OPEN: TimeDelta = TimeDelta::days(400);

/// The set of open instants.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Calendar {
    /// Around the clock, every day.
    #[default]
    AlwaysOpen,
    /// By the hours of a week, with exceptions, in a time zone.
    Hours(Arc<Hours>),
}

/// A half-open interval `[from, to)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interval {
    /// First instant.
    pub from: Timestamp,
    /// First instant after it.
    pub to: Timestamp,
}

impl Calendar {
    /// The version of the definition it was made from; none for one that is not stored.
    #[must_use]
    pub fn version(&self) -> Option<VersionId> {
        match self {
            Self::AlwaysOpen => None,
            Self::Hours(hours) => hours.version,
        }
    }

    /// The name of the time zone it counts in.
    #[must_use]
    pub fn zone(&self) -> chrono_tz::Tz {
        match self {
            Self::AlwaysOpen => chrono_tz::UTC,
            Self::Hours(hours) => hours.zone,
        }
    }

    /// Measures the open time in `[from, to)`; nothing when `to` is not after `from`.
    #[must_use]
    pub fn open_between(&self, from: Timestamp, to: Timestamp) -> TimeDelta {
        match self {
            Self::AlwaysOpen => (to - from).max(TimeDelta::zero()),
            Self::Hours(hours) => {
                TimeDelta::microseconds(hours.open_between(from.timestamp_micros(), to.timestamp_micros()))
            }
        }
    }

    /// Finds the first instant at which at least `span` of open time has passed since `from`; `None` if never.
    #[must_use]
    pub fn reach(&self, from: Timestamp, span: TimeDelta) -> Option<Timestamp> {
        match self {
            Self::AlwaysOpen => from.checked_add_signed(span).filter(|at| at.timestamp_micros() <= END_US),
            Self::Hours(hours) => instant(hours.reach(from.timestamp_micros(), span.num_microseconds()?)?),
        }
    }

    /// Finds the instant after which more than `span` of open time has passed since `from`; `None` if never.
    ///
    /// It is later than `reach` only where the span runs out exactly at a closing time.
    #[must_use]
    pub fn exceed(&self, from: Timestamp, span: TimeDelta) -> Option<Timestamp> {
        match self {
            Self::AlwaysOpen => self.reach(from, span),
            Self::Hours(hours) => instant(hours.exceed(from.timestamp_micros(), span.num_microseconds()?)?),
        }
    }

    /// Tells whether an instant is open.
    #[must_use]
    pub fn is_open(&self, at: Timestamp) -> bool {
        self.exceed(at, TimeDelta::zero()) == Some(at)
    }

    /// Lists the open intervals within `[from, to)`, in order; those that touch are one.
    pub fn open_intervals(&self, from: Timestamp, to: Timestamp) -> impl Iterator<Item = Interval> + '_ {
        let mut cursor = Some(from);
        std::iter::from_fn(move || {
            let opens = self.exceed(cursor?, TimeDelta::zero()).filter(|opens| *opens < to)?;
            let closes = self.closes_within(opens, to - opens);
            cursor = closes;
            Some(Interval { from: opens, to: closes.unwrap_or(to) })
        })
    }

    /// Finds the first instant from `at` on that is not open: `at` itself when it is closed; `None` when it stays
    /// open for more than a year.
    #[must_use]
    pub fn next_closing(&self, at: Timestamp) -> Option<Timestamp> {
        if self.is_open(at) { self.closes_within(at, LONGEST_OPEN) } else { Some(at) }
    }

    fn closes_within(&self, at: Timestamp, span: TimeDelta) -> Option<Timestamp> {
        match self {
            Self::AlwaysOpen => None,
            Self::Hours(hours) => {
                instant(hours.closes_within(at.timestamp_micros(), span.num_microseconds()?)?)
            }
        }
    }
}

fn instant(us: i64) -> Option<Timestamp> {
    DateTime::from_timestamp_micros(us).filter(|_| us <= END_US)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn berlin() -> Calendar {
        let weekly = ["mon", "tue", "wed", "thu", "fri"].map(|day| (day.into(), vec!["09:00-17:00".into()]));
        let overrides = [("2026-12-25".into(), Vec::new())];
        let definition =
            Definition { tz: "Europe/Berlin".into(), weekly: weekly.into(), overrides: overrides.into() };
        definition.read(None).unwrap()
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn no_time_passes_backwards() {
        for calendar in [Calendar::AlwaysOpen, berlin()] {
            let now = at("2026-03-04T12:00:00Z");
            assert_eq!(calendar.open_between(now, now - TimeDelta::seconds(1)), TimeDelta::zero());
            assert_eq!(calendar.open_between(now, now + TimeDelta::seconds(1)), TimeDelta::seconds(1));
        }
    }

    #[test]
    fn what_lies_beyond_the_end_of_the_calendar_is_never_reached() {
        for calendar in [Calendar::AlwaysOpen, berlin()] {
            let last = at("9999-12-31T23:59:59Z");
            assert_eq!(calendar.reach(last, TimeDelta::hours(1)), None);
            assert_eq!(calendar.exceed(last, TimeDelta::hours(1)), None);
            assert_eq!(calendar.reach(last, TimeDelta::MAX), None);
        }
    }

    #[test]
    fn a_closing_time_is_reached_but_not_exceeded() {
        let (calendar, friday) = (berlin(), at("2026-01-30T08:00:00Z"));
        let day = TimeDelta::hours(8);
        assert_eq!(calendar.reach(friday, day), Some(at("2026-01-30T16:00:00Z")));
        assert_eq!(calendar.exceed(friday, day), Some(at("2026-02-02T08:00:00Z")));
    }

    #[test]
    fn a_century_of_office_hours_is_the_sum_of_its_days() {
        let calendar = berlin();
        let (from, to) = (at("2000-01-03T00:00:00Z"), at("2100-01-04T00:00:00Z"));
        let weeks = (to - from).num_weeks();
        let holidays = 1;
        assert_eq!(calendar.open_between(from, to), TimeDelta::hours(weeks * 40 - holidays * 8));
        let last = calendar.open_between(from, to);
        assert_eq!(calendar.reach(from, last), Some(at("2100-01-01T16:00:00Z")));
    }

    #[test]
    fn open_intervals_are_those_of_the_week() {
        let (from, to) = (at("2026-12-24T12:00:00Z"), at("2026-12-28T09:00:00Z"));
        let calendar = berlin();
        let found: Vec<_> = calendar.open_intervals(from, to).map(|open| (open.from, open.to)).collect();
        assert_eq!(found, [(from, at("2026-12-24T16:00:00Z")), (at("2026-12-28T08:00:00Z"), to)]);
        assert_eq!(calendar.next_closing(from), Some(at("2026-12-24T16:00:00Z")));
        assert_eq!(calendar.next_closing(at("2026-12-25T12:00:00Z")), Some(at("2026-12-25T12:00:00Z")));
        assert_eq!(Calendar::AlwaysOpen.open_intervals(from, to).count(), 1);
        assert_eq!(Calendar::AlwaysOpen.next_closing(from), None);
    }

    #[test]
    fn midnight_between_two_windows_closes_nothing() {
        let weekly = [("mon".into(), vec!["22:00-24:00".into()]), ("tue".into(), vec!["00:00-06:00".into()])];
        let definition =
            Definition { tz: "Europe/Berlin".into(), weekly: weekly.into(), overrides: [].into() };
        let calendar = definition.read(None).unwrap();
        assert_eq!(calendar.next_closing(at("2026-05-04T21:00:00Z")), Some(at("2026-05-05T04:00:00Z")));
    }
}

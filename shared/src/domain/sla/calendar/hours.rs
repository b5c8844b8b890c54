//! Open hours in a time zone, measured without walking through them.
//!
//! Where a zone keeps its offset, local time runs as evenly as UTC, so the open time between two instants is the
//! difference of one function: the open local time since a fixed Monday, which has a closed form (whole weeks, days of
//! a week, overrides so far, windows of a day). Its inverse is a binary search over days. Only changes of the offset
//! are walked through, a few a year.

use chrono_tz::Tz;

use super::zone::spans;
use super::{END_US, Week};
use crate::ids::VersionId;

pub(crate) const DAY_US: i64 = 86_400_000_000;

/// The Monday before the Unix epoch, in days since it.
const MONDAY: i64 = -3;

/// Open hours, ready to be measured. Made by [`Definition::read`](super::Definition::read).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hours {
    /// The version of the definition they were made from.
    pub(super) version: Option<VersionId>,
    pub(super) zone: Tz,
    week: Week,
    /// Open time of a week before each weekday, and at last of all of it.
    before_weekday: [i64; 8],
    /// By date.
    overrides: Vec<Override>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Override {
    /// Days since the epoch.
    day: i64,
    windows: Windows,
    /// What all overrides up to and including this one add to the week's hours; often negative.
    gained: i64,
}

/// `[start, end)` in microseconds since local midnight, ascending, without overlap.
pub(super) type Windows = Vec<(i64, i64)>;

/// What to look for on the axis of open time.
#[derive(Clone, Copy)]
enum Goal {
    /// The first instant at which this much has passed.
    Reach(i64),
    /// The instant after which more than this has passed.
    Exceed(i64),
}

impl Goal {
    const fn met_by(self, open: i64) -> bool {
        match self {
            Self::Reach(goal) => open >= goal,
            Self::Exceed(goal) => open > goal,
        }
    }

    const fn amount(self) -> i64 {
        match self {
            Self::Reach(goal) | Self::Exceed(goal) => goal,
        }
    }

    const fn plus(self, open: i64) -> Self {
        match self {
            Self::Reach(goal) => Self::Reach(goal + open),
            Self::Exceed(goal) => Self::Exceed(goal + open),
        }
    }
}

impl Hours {
    /// Prepares hours; `overrides` come by date, as days since the epoch.
    pub(super) fn new(
        version: Option<VersionId>,
        zone: Tz,
        week: Week,
        overrides: impl IntoIterator<Item = (i64, Windows)>,
    ) -> Self {
        let mut before_weekday = [0; 8];
        for (i, windows) in week.0.iter().enumerate() {
            before_weekday[i + 1] = before_weekday[i] + length(windows);
        }
        let mut gained = 0;
        let overrides = overrides.into_iter().map(|(day, windows)| {
            gained += length(&windows) - length(&week.0[weekday(day)]);
            Override { day, windows, gained }
        });
        let overrides = overrides.collect();
        Self { version, zone, week, before_weekday, overrides }
    }

    pub(super) fn open_between(&self, from: i64, to: i64) -> i64 {
        let mut open = 0;
        for span in spans(self.zone, from) {
            let (start, end) = (span.from.max(from), span.to.min(to));
            if start >= end {
                break;
            }
            open += self.opened(end + span.offset) - self.opened(start + span.offset);
        }
        open
    }

    pub(super) fn reach(&self, from: i64, span: i64) -> Option<i64> {
        if span <= 0 { Some(from) } else { self.find(from, Goal::Reach(span)) }
    }

    pub(super) fn exceed(&self, from: i64, span: i64) -> Option<i64> {
        self.find(from, Goal::Exceed(span))
    }

    fn find(&self, from: i64, goal: Goal) -> Option<i64> {
        let mut passed = 0;
        for span in spans(self.zone, from) {
            let (start, end) = (span.from.max(from), span.to.min(END_US));
            if start >= end {
                return None;
            }
            let opened = self.opened(start + span.offset);
            let open = self.opened(end + span.offset) - opened;
            if goal.met_by(passed + open) {
                return Some(self.local(start + span.offset, goal.plus(opened - passed)) - span.offset);
            }
            passed += open;
        }
        None
    }

    /// The first instant after `at`, which is open, that is not; `None` when it stays open for all of `span`.
    pub(super) fn closes_within(&self, at: i64, span: i64) -> Option<i64> {
        let end = at.saturating_add(span).min(END_US);
        for piece in spans(self.zone, at) {
            let mut local = piece.from.max(at) + piece.offset;
            let local_end = piece.to.min(end) + piece.offset;
            while local < local_end {
                let (day, time) = (local.div_euclid(DAY_US), local.rem_euclid(DAY_US));
                let window = self.windows(day).iter().find(|(start, end)| (*start..*end).contains(&time));
                let Some((_, closes)) = window else { return Some(local - piece.offset) };
                local = day * DAY_US + closes;
            }
            if piece.to >= end {
                break;
            }
        }
        None
    }

    /// The open local time since the Monday before the epoch until a local time, both in microseconds.
    fn opened(&self, local: i64) -> i64 {
        let (day, time) = (local.div_euclid(DAY_US), local.rem_euclid(DAY_US));
        let today: i64 = self.windows(day).iter().map(|(start, end)| (time.min(*end) - start).max(0)).sum();
        self.opened_before(day) + today
    }

    fn opened_before(&self, day: i64) -> i64 {
        let place = self.overrides.partition_point(|o| o.day < day);
        let gained = place.checked_sub(1).map_or(0, |last| self.overrides[last].gained);
        (day - MONDAY).div_euclid(7) * self.before_weekday[7] + self.before_weekday[weekday(day)] + gained
    }

    fn windows(&self, day: i64) -> &Windows {
        match self.overrides.binary_search_by_key(&day, |o| o.day) {
            Ok(place) => &self.overrides[place].windows,
            Err(_) => &self.week.0[weekday(day)],
        }
    }

    /// The local time from `from` on at which the goal is met, which the caller knows to come.
    fn local(&self, from: i64, goal: Goal) -> i64 {
        let (mut low, mut high) = (from.div_euclid(DAY_US), (END_US / DAY_US) + 2);
        // Most goals are met within days, so the distance is doubled before it is halved.
        let mut step = 1;
        while low + step < high {
            if goal.met_by(self.opened_before(low + step)) {
                high = low + step;
            } else {
                low += step;
                step *= 2;
            }
        }
        while high - low > 1 {
            let middle = i64::midpoint(low, high);
            if goal.met_by(self.opened_before(middle)) { high = middle } else { low = middle }
        }
        let mut opened = self.opened_before(low);
        for (start, end) in self.windows(low) {
            if goal.met_by(opened + end - start) {
                return low * DAY_US + start + goal.amount() - opened;
            }
            opened += end - start;
        }
        high * DAY_US
    }
}

fn weekday(day: i64) -> usize {
    usize::try_from((day - MONDAY).rem_euclid(7)).unwrap_or_default()
}

fn length(windows: &Windows) -> i64 {
    windows.iter().map(|(start, end)| end - start).sum()
}

//! Which instants are open, asked one by one.

use std::collections::HashMap;

use chrono::{DateTime, Datelike, NaiveDate, Offset, TimeZone, Timelike, Utc};
use chrono_tz::Tz;
use serde_json::Value;

/// `[start, end)` in seconds since local midnight.
type Windows = Vec<(u32, u32)>;

/// A calendar, read from its JSON.
pub(super) struct Hours {
    zone: Tz,
    /// Monday first.
    weekly: [Windows; 7],
    overrides: HashMap<NaiveDate, Windows>,
}

/// A stretch of time cut into cells, each of which is open as a whole or not at all.
pub(super) struct Horizon {
    /// Seconds since the epoch at which the first cell begins.
    pub(super) from: i64,
    /// Seconds of a cell.
    pub(super) cell: i64,
    pub(super) open: Vec<bool>,
    /// Whether anything opens again and again after it.
    pub(super) opens_weekly: bool,
    /// Whether anything may open after it.
    pub(super) opens_later: bool,
}

impl Hours {
    /// Reads a definition; none is around the clock.
    pub(super) fn read(calendar: &Value) -> Self {
        if calendar.is_null() {
            let weekly = std::array::from_fn(|_| vec![(0, 86_400)]);
            return Self { zone: Tz::UTC, weekly, overrides: HashMap::new() };
        }
        let days = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
        let overrides = calendar["overrides"].as_object().into_iter().flatten();
        Self {
            zone: calendar["tz"].as_str().expect("a zone").parse().expect("a zone"),
            weekly: days.map(|day| windows(&calendar["weekly"][day])),
            overrides: overrides
                .map(|(date, texts)| (date.parse().expect("a date"), windows(texts)))
                .collect(),
        }
    }

    /// Rule 1: an instant is open iff its local wall time lies in a window of that local date.
    fn is_open(&self, second: i64) -> bool {
        let local = utc(second).with_timezone(&self.zone).naive_local();
        let time = local.num_seconds_from_midnight();
        let weekday = usize::try_from(local.weekday().num_days_from_monday()).expect("a weekday");
        let windows = self.overrides.get(&local.date()).unwrap_or(&self.weekly[weekday]);
        windows.iter().any(|(start, end)| (*start..*end).contains(&time))
    }

    /// Asks every cell of a stretch; `seconds` is how long it is at least.
    pub(super) fn horizon(&self, from: i64, seconds: i64) -> Horizon {
        let cell = self.cell(from, from + seconds);
        let from = from - from.rem_euclid(cell);
        let cells = seconds / cell + 1;
        let end = utc(from + cells * cell).with_timezone(&self.zone).date_naive();
        let opens_weekly = self.weekly.iter().any(|windows| !windows.is_empty());
        let mut overrides = self.overrides.iter();
        let opens_later =
            opens_weekly || overrides.any(|(date, windows)| !windows.is_empty() && *date >= end);
        let open = (0..cells).map(|i| self.is_open(from + i * cell)).collect();
        Horizon { from, cell, open, opens_weekly, opens_later }
    }

    /// Finds the length of cells: windows, offsets and their changes all fall between two.
    fn cell(&self, from: i64, to: i64) -> i64 {
        let windows = self.weekly.iter().chain(self.overrides.values()).flatten();
        let windows = windows.flat_map(|(start, end)| [i64::from(*start), i64::from(*end)]);
        let offsets = changes(self.zone, from, to).into_iter().flat_map(|(at, offset)| [at, offset]);
        let first = i64::from(offset(self.zone, from));
        windows.chain(offsets).chain([first]).fold(60, gcd)
    }
}

/// Lists when a zone changes its offset, with the offset from then on, found to the second between two full hours.
pub(super) fn changes(zone: Tz, from: i64, to: i64) -> Vec<(i64, i64)> {
    let mut changes = Vec::new();
    let mut before = offset(zone, from);
    for hour in (from..to).step_by(3_600) {
        let after = offset(zone, hour + 3_600);
        if after != before {
            let at = (hour..=hour + 3_600).find(|second| offset(zone, *second) != before);
            changes.extend(at.map(|at| (at, i64::from(after))));
            before = after;
        }
    }
    changes
}

/// Seconds by which local time is ahead.
fn offset(zone: Tz, second: i64) -> i32 {
    zone.offset_from_utc_datetime(&utc(second).naive_utc()).fix().local_minus_utc()
}

fn utc(second: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(second, 0).expect("an instant")
}

fn gcd(a: i64, b: i64) -> i64 {
    if b == 0 { a.abs() } else { gcd(b, a % b) }
}

fn windows(texts: &Value) -> Windows {
    let time = |text: &str| {
        let parts: Vec<u32> = text.split(':').map(|part| part.parse().expect("a number")).collect();
        parts[0] * 3_600 + parts[1] * 60 + parts.get(2).unwrap_or(&0)
    };
    let window = |text: &Value| {
        let (start, end) = text.as_str().expect("text").split_once('-').expect("a window");
        (time(start), time(end))
    };
    texts.as_array().into_iter().flatten().map(window).collect()
}

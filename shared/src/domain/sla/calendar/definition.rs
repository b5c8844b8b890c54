//! A calendar as people write it.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::NaiveDate;
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};

use super::Calendar;
use super::hours::{DAY_US, Hours, Windows};
use crate::domain::Problem;
use crate::ids::VersionId;

const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

/// At most as many exceptions to a calendar: a century of holidays.
const MAX_OVERRIDES: usize = 5_000;

/// A calendar's definition, as in the API and in the database. A day that is not named is closed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Definition {
    /// Name of a time zone of the IANA database, such as `Europe/Berlin`.
    pub tz: String,
    /// Windows such as `09:00-17:00` or `22:00:30-24:00`, by `mon` to `sun`.
    #[serde(default)]
    pub weekly: BTreeMap<String, Vec<String>>,
    /// Windows by date (`2026-12-24`), instead of the week's; none: closed all day.
    #[serde(default)]
    pub overrides: BTreeMap<String, Vec<String>>,
}

/// Windows by weekday, Monday first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Week(pub(super) [Windows; 7]);

impl Week {
    /// Tells whether a weekday (0 is Monday) is open at a time, in microseconds since midnight.
    #[must_use]
    pub fn is_open(&self, weekday: usize, time_us: i64) -> bool {
        let windows = self.0.get(weekday).map_or(&[][..], Vec::as_slice);
        windows.iter().any(|(start, end)| (*start..*end).contains(&time_us))
    }

    /// Lists a weekday's windows (0 is Monday), `[start, end)` in microseconds since midnight, ascending.
    #[must_use]
    pub fn windows(&self, weekday: usize) -> &[(i64, i64)] {
        self.0.get(weekday).map_or(&[], Vec::as_slice)
    }
}

impl Definition {
    /// Makes the calendar, to be known as `version` where it is stored.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn read(&self, version: Option<VersionId>) -> Result<Calendar, Vec<Problem>> {
        let mut problems = Vec::new();
        let zone = zone("tz", &self.tz).map_err(|problem| problems.push(problem)).unwrap_or_default();
        let week = read_week("weekly", &self.weekly).unwrap_or_else(|mut wrong| {
            problems.append(&mut wrong);
            Week::default()
        });
        if self.overrides.len() > MAX_OVERRIDES {
            let message = format!("Must not name more than {MAX_OVERRIDES} dates.");
            problems.push(Problem::new("overrides", message));
        }
        let mut overrides = Vec::new();
        for (date, windows) in &self.overrides {
            let field = format!("overrides.{date}");
            let windows = read_windows(&field, windows, &mut problems);
            match day(date) {
                Some(day) => overrides.push((day, windows)),
                None => problems.push(Problem::new(field, "Must be a date such as 2026-12-24.")),
            }
        }
        overrides.sort_unstable();
        if problems.is_empty() {
            Ok(Calendar::Hours(Arc::new(Hours::new(version, zone.0, week, overrides))))
        } else {
            Err(problems)
        }
    }

    /// Lists what is wrong with it.
    #[must_use]
    pub fn problems(&self) -> Vec<Problem> {
        self.read(None).err().unwrap_or_default()
    }
}

struct Zone(Tz);

impl Default for Zone {
    fn default() -> Self {
        Self(Tz::UTC)
    }
}

fn zone(field: &str, name: &str) -> Result<Zone, Problem> {
    let why = "Must be a time zone of the IANA database, such as Europe/Berlin.";
    name.parse().map(Zone).map_err(|_| Problem::new(field, why))
}

/// Days since the epoch of a date as ISO 8601 writes it, in years of four digits.
fn day(date: &str) -> Option<i64> {
    let shape = date.len() == 10 && date.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
    let date: NaiveDate = date.parse().ok().filter(|_| shape)?;
    Some((date - NaiveDate::default()).num_days())
}

/// Reads windows by the names of weekdays; `field` is what they are called.
///
/// # Errors
/// Everything that is wrong with them.
pub fn read_week(field: &str, weekly: &BTreeMap<String, Vec<String>>) -> Result<Week, Vec<Problem>> {
    let (mut week, mut problems) = (Week::default(), Vec::new());
    for (name, windows) in weekly {
        let field = format!("{field}.{name}");
        let windows = read_windows(&field, windows, &mut problems);
        match DAYS.iter().position(|day| day == name) {
            Some(weekday) => week.0[weekday] = windows,
            None => problems.push(Problem::new(field, format!("Must be one of: {}.", DAYS.join(", ")))),
        }
    }
    if problems.is_empty() { Ok(week) } else { Err(problems) }
}

fn read_windows(field: &str, windows: &[String], problems: &mut Vec<Problem>) -> Windows {
    let mut read = Vec::new();
    for (i, text) in windows.iter().enumerate() {
        let field = || format!("{field}[{i}]");
        match window(text) {
            Some((start, end)) if start < end => read.push((start, end, i)),
            Some(_) => problems.push(Problem::new(
                field(),
                "Must end after it begins; a window over midnight is two, one of them ending at 24:00.",
            )),
            None => {
                let why = "Must be a window such as 09:00-17:00 or 09:00:30-24:00.";
                problems.push(Problem::new(field(), why));
            }
        }
    }
    read.sort_unstable();
    for pair in read.windows(2) {
        if let [(_, end, first), (start, _, second)] = pair
            && start < end
        {
            let (one, other) = (first.min(second), first.max(second));
            problems.push(Problem::new(
                format!("{field}[{other}]"),
                format!("Must not overlap {} of the same day.", windows[*one]),
            ));
        }
    }
    read.into_iter().map(|(start, end, _)| (start, end)).collect()
}

fn window(text: &str) -> Option<(i64, i64)> {
    let (start, end) = text.split_once('-')?;
    Some((time_of_day(start)?, time_of_day(end)?))
}

/// Microseconds since midnight of `HH:MM` or `HH:MM:SS`, up to `24:00`.
pub(crate) fn time_of_day(text: &str) -> Option<i64> {
    let mut parts = text.split(':').map(|part| {
        let digits = part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_digit());
        part.parse::<i64>().ok().filter(|_| digits)
    });
    let (hours, minutes, seconds) = (parts.next()??, parts.next()??, parts.next().unwrap_or(Some(0))?);
    let us = (hours * 3_600 + minutes * 60 + seconds) * 1_000_000;
    (parts.next().is_none() && minutes < 60 && seconds < 60 && us <= DAY_US).then_some(us)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(weekly: &[(&str, &[&str])]) -> Vec<String> {
        let own = |windows: &[&str]| windows.iter().map(ToString::to_string).collect();
        let weekly = weekly.iter().map(|(day, windows)| (day.to_string(), own(windows))).collect();
        let definition = Definition { tz: "UTC".into(), weekly, overrides: BTreeMap::new() };
        definition.problems().into_iter().map(|problem| problem.field).collect()
    }

    #[test]
    fn everything_that_is_wrong_is_said_at_once() {
        let windows = |text: &str| vec![text.to_owned()];
        let definition = Definition {
            tz: "Mars/Olympus".into(),
            weekly: [("mon".into(), windows("17:00-09:00")), ("noday".into(), Vec::new())].into(),
            overrides: [("2026-02-30".into(), Vec::new()), ("2026-12-24".into(), windows("9-12"))].into(),
        };
        let fields: Vec<_> = definition.problems().into_iter().map(|problem| problem.field).collect();
        let expected =
            ["tz", "weekly.mon[0]", "weekly.noday", "overrides.2026-02-30", "overrides.2026-12-24[0]"];
        assert_eq!(fields, expected);
    }

    #[test]
    fn windows_may_touch_but_not_overlap() {
        assert!(wrong(&[("mon", &["12:00-17:00", "09:00-12:00"])]).is_empty());
        assert_eq!(wrong(&[("mon", &["11:59:59-17:00", "09:00-12:00"])]), ["weekly.mon[1]"]);
        assert_eq!(wrong(&[("mon", &["09:00-12:00", "09:00-12:00"])]), ["weekly.mon[1]"]);
        assert_eq!(wrong(&[("mon", &["09:00-09:00"])]), ["weekly.mon[0]"]);
    }

    #[test]
    fn times_are_of_two_digits_and_end_at_midnight() {
        assert_eq!(time_of_day("24:00"), Some(DAY_US));
        assert_eq!(time_of_day("23:59:59"), Some(DAY_US - 1_000_000));
        for odd in
            ["24:01", "24:00:01", "9:00", "+9:00", "09:60", "09:00:60", "09", "", "09:00:00:00", "25:00"]
        {
            assert_eq!(time_of_day(odd), None, "{odd}");
        }
    }

    #[test]
    fn dates_are_of_four_digit_years() {
        assert_eq!(day("1970-01-02"), Some(1));
        assert_eq!(day("2028-02-29"), Some(21_243));
        for odd in ["2026-2-28", "2026-02-29", "+12026-01-01", "20260228", " 2026-02-28"] {
            assert_eq!(day(odd), None, "{odd}");
        }
    }
}

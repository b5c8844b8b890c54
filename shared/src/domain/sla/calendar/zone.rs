//! The intervals in which a time zone keeps one offset.
//!
//! chrono-tz tells the offset at an instant but not when it changes, so the changes of a year are looked for once, on a
//! grid of six hours with a binary search to the second. No zone has ever changed twice within six hours.

use std::sync::{LazyLock, OnceLock};

use chrono::{DateTime, Datelike, NaiveDate, Offset, TimeZone};
use chrono_tz::{TZ_VARIANTS, Tz};

/// Before the first year no zone had an offset other than its local mean time, after the last none changes any more.
const YEARS: std::ops::Range<i32> = 1800..2101;

const GRID_SECONDS: i64 = 6 * 3_600;
const SECOND_US: i64 = 1_000_000;

/// An interval with one offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    /// First microsecond since the Unix epoch.
    pub(crate) from: i64,
    /// First microsecond after it.
    pub(crate) to: i64,
    /// Local time less UTC, in microseconds.
    pub(crate) offset: i64,
}

type Year = OnceLock<Box<[Span]>>;

/// For each zone the years that somebody has asked for.
static KNOWN: LazyLock<Vec<OnceLock<Box<[Year]>>>> =
    LazyLock::new(|| TZ_VARIANTS.iter().map(|_| OnceLock::new()).collect());

/// Lists the spans from the one that contains `from` on, without end but that of time. A span that crosses the turn
/// of a year comes in two pieces.
pub(crate) fn spans(zone: Tz, from: i64) -> impl Iterator<Item = Span> {
    let first = year_of(from);
    let years = (first..=YEARS.end).flat_map(move |year| year_spans(zone, year).iter().copied());
    years.skip_while(move |span| span.to <= from)
}

fn year_of(us: i64) -> i32 {
    let year = DateTime::from_timestamp_micros(us).map_or(0, |at| at.year());
    year.clamp(YEARS.start - 1, YEARS.end)
}

fn year_spans(zone: Tz, year: i32) -> &'static [Span] {
    let years =
        KNOWN[zone as usize].get_or_init(|| (YEARS.start - 1..=YEARS.end).map(|_| OnceLock::new()).collect());
    let place = usize::try_from(year - (YEARS.start - 1)).unwrap_or_default();
    years[place].get_or_init(|| find(zone, year))
}

fn find(zone: Tz, year: i32) -> Box<[Span]> {
    let begins = |year| {
        NaiveDate::from_ymd_opt(year, 1, 1)
            .unwrap_or_default()
            .and_time(chrono::NaiveTime::MIN)
            .and_utc()
            .timestamp()
    };
    let (start, end) = (begins(year), begins(year + 1));
    if year < YEARS.start {
        return Box::new([Span {
            from: i64::MIN,
            to: end * SECOND_US,
            offset: offset(zone, end) * SECOND_US,
        }]);
    }
    if year >= YEARS.end {
        return Box::new([Span {
            from: start * SECOND_US,
            to: i64::MAX,
            offset: offset(zone, start) * SECOND_US,
        }]);
    }
    let mut spans = Vec::new();
    let (mut from, mut current) = (start, offset(zone, start));
    let mut known = start;
    while known < end {
        let next = (known + GRID_SECONDS).min(end - 1).max(known + 1);
        if next < end && offset(zone, next) != current {
            let change = first_other(zone, known, next, current);
            spans.push(Span { from: from * SECOND_US, to: change * SECOND_US, offset: current * SECOND_US });
            (from, current, known) = (change, offset(zone, change), change);
        } else {
            known = next;
        }
    }
    spans.push(Span { from: from * SECOND_US, to: end * SECOND_US, offset: current * SECOND_US });
    spans.into()
}

/// The first second in `(same, other]` whose offset is not `current`.
fn first_other(zone: Tz, mut same: i64, mut other: i64, current: i64) -> i64 {
    while other - same > 1 {
        let middle = i64::midpoint(same, other);
        if offset(zone, middle) == current { same = middle } else { other = middle }
    }
    other
}

/// Seconds by which local time is ahead at a second since the epoch.
fn offset(zone: Tz, second: i64) -> i64 {
    let at = DateTime::from_timestamp(second, 0).unwrap_or_default().naive_utc();
    zone.offset_from_utc_datetime(&at).fix().local_minus_utc().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn us(text: &str) -> i64 {
        text.parse::<DateTime<chrono::Utc>>().unwrap().timestamp_micros()
    }

    #[test]
    fn summer_time_begins_and_ends_to_the_second() {
        let hours = |span: &Span| (span.from, span.to, span.offset / SECOND_US / 3_600);
        let found: Vec<_> =
            spans(chrono_tz::Europe::Berlin, us("2026-02-01T00:00:00Z")).take(3).map(|s| hours(&s)).collect();
        let changes =
            ["2026-01-01T00:00:00Z", "2026-03-29T01:00:00Z", "2026-10-25T01:00:00Z", "2027-01-01T00:00:00Z"]
                .map(us);
        assert_eq!(
            found,
            [(changes[0], changes[1], 1), (changes[1], changes[2], 2), (changes[2], changes[3], 1)]
        );
    }

    #[test]
    fn time_is_covered_without_gaps_from_the_first_year_to_the_last() {
        for zone in [chrono_tz::UTC, chrono_tz::Pacific::Apia, chrono_tz::Africa::Casablanca] {
            let mut end = i64::MIN;
            for span in spans(zone, i64::MIN) {
                assert_eq!(span.from, end);
                assert!(span.to > span.from, "{span:?}");
                end = span.to;
            }
            assert_eq!(end, i64::MAX);
        }
    }

    #[test]
    fn no_zone_changes_outside_the_years() {
        for zone in TZ_VARIANTS {
            let begins = |year: &str| us(&format!("{year}-01-01T00:00:00Z")) / SECOND_US;
            let (first, last) = (offset(zone, begins("1700")), offset(zone, begins("2101")));
            for day in (0..36_500).step_by(40) {
                assert_eq!(offset(zone, begins("1700") + day * 86_400), first, "{zone} on day {day}");
                assert_eq!(offset(zone, begins("2101") + day * 86_400), last, "{zone} on day {day}");
            }
        }
    }
}

//! Reads holidays from an iCalendar file (RFC 5545).

use std::collections::BTreeSet;

use chrono::{Days, NaiveDate};
use icalendar::parser::{Component, Property, read_components, unfold};
use serde::Serialize;

/// Components are nested no deeper in any calendar; the parser would follow a hostile file until its stack ends.
const DEEPEST: usize = 5;

/// An event that lasts longer is a mistake.
const LONGEST: u64 = 366;

/// At most as many events are told of that were not read.
const MOST_SKIPPED: usize = 1_000;

/// What a file says.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Holidays {
    /// How many events were read.
    pub(crate) events: usize,
    /// The dates they cover.
    pub(crate) dates: BTreeSet<NaiveDate>,
    /// The events that were not read, and why.
    pub(crate) skipped: Vec<Skipped>,
}

/// An event that was not read.
#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct Skipped {
    summary: String,
    reason: String,
}

/// Reads the events of all calendars in a file that last whole days and happen once.
///
/// # Errors
/// What is wrong with a file that is no calendar.
pub(crate) fn read(text: &str) -> Result<Holidays, &'static str> {
    let text = unfold(text.trim_start_matches('\u{feff}'));
    if deepest(&text) > DEEPEST {
        return Err("The file nests components too deeply for a calendar.");
    }
    let calendars = read_components(&text).unwrap_or_default();
    if calendars.is_empty() || calendars.iter().any(|root| root.name != "VCALENDAR") {
        return Err("The file is not an iCalendar file: it must be BEGIN:VCALENDAR to END:VCALENDAR.");
    }
    let mut holidays = Holidays::default();
    let parts = calendars.iter().flat_map(|calendar| &calendar.components);
    for event in parts.filter(|part| part.name != "VTIMEZONE") {
        match dates(event) {
            Ok(dates) => {
                holidays.events += 1;
                holidays.dates.extend(dates);
            }
            Err(reason) => {
                let summary = event.find_prop("SUMMARY").map(|summary| plain(summary.val.as_str()));
                let summary = summary.unwrap_or_default();
                holidays.skipped.push(Skipped { summary, reason: reason.into() });
            }
        }
    }
    if let Some(more) = holidays.skipped.len().checked_sub(MOST_SKIPPED).filter(|more| *more > 0) {
        holidays.skipped.truncate(MOST_SKIPPED);
        let reason = format!("{more} more events were not imported.");
        holidays.skipped.push(Skipped { summary: "…".into(), reason });
    }
    Ok(holidays)
}

/// How deep components are nested, at least as deep as the parser sees it: an end that fits nothing ends nothing.
fn deepest(text: &str) -> usize {
    let (mut open, mut deepest) = (Vec::new(), 0);
    for line in text.split(['\r', '\n']).map(str::trim) {
        let after = |word: &str| {
            let start = line.get(..word.len()).filter(|start| start.eq_ignore_ascii_case(word));
            start.map(|_| &line[word.len()..])
        };
        if let Some(name) = after("BEGIN:") {
            open.push(name);
            deepest = deepest.max(open.len());
        } else if let Some(name) = after("END:") {
            open.pop_if(|last| last.eq_ignore_ascii_case(name));
        }
    }
    deepest
}

/// The dates an event covers, or why they are not taken.
fn dates(event: &Component<'_>) -> Result<impl Iterator<Item = NaiveDate>, &'static str> {
    let has = |name: &str| event.find_prop(name).is_some();
    if event.name != "VEVENT" {
        return Err("It is not an event.");
    }
    if has("RRULE") || has("RDATE") || has("RECURRENCE-ID") {
        return Err("It recurs; add each of its dates.");
    }
    if event.find_prop("STATUS").is_some_and(|status| status.val.as_str().eq_ignore_ascii_case("CANCELLED")) {
        return Err("It is cancelled.");
    }
    let start = event.find_prop("DTSTART").ok_or("It has no start.")?;
    let start = date(start).ok_or("It does not last whole days.")?;
    let days = match (event.find_prop("DTEND"), event.find_prop("DURATION")) {
        (Some(end), _) => {
            let end = date(end).ok_or("It does not last whole days.")?;
            // The end is the first date after it; some programs write the start once more for a single day.
            u64::try_from((end - start).num_days().max(i64::from(end == start)))
                .ok()
                .filter(|days| *days > 0)
                .ok_or("It ends before it starts.")?
        }
        (None, Some(duration)) => whole_days(duration.val.as_str()).ok_or("It does not last whole days.")?,
        (None, None) => 1,
    };
    if days > LONGEST {
        return Err("It lasts more than a year.");
    }
    Ok((0..days).filter_map(move |day| start.checked_add_days(Days::new(day))))
}

/// Reads a date; a time is none.
fn date(property: &Property<'_>) -> Option<NaiveDate> {
    let text = property.val.as_str().trim();
    let digits = text.len() == 8 && text.bytes().all(|byte| byte.is_ascii_digit());
    NaiveDate::parse_from_str(text, "%Y%m%d").ok().filter(|_| digits)
}

/// Reads `P2D` or `P1W`.
fn whole_days(text: &str) -> Option<u64> {
    let text = text.trim().trim_start_matches('+').strip_prefix('P')?;
    let (number, days_each) =
        text.strip_suffix('D').map(|n| (n, 1)).or(text.strip_suffix('W').map(|n| (n, 7)))?;
    number.parse::<u64>().ok()?.checked_mul(days_each).filter(|days| *days > 0)
}

/// A text without escapes and control characters, and not too long.
fn plain(text: &str) -> String {
    let text = text.replace("\\,", ",").replace("\\;", ";").replace("\\n", " ").replace("\\N", " ");
    text.replace("\\\\", "\\").chars().filter(|c| !c.is_control()).take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(events: &[&str]) -> String {
        let event = |lines: &&str| format!("BEGIN:VEVENT\r\n{lines}\r\nEND:VEVENT\r\n");
        let events: String = events.iter().map(event).collect();
        format!("BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//a//b//EN\r\n{events}END:VCALENDAR\r\n")
    }

    fn texts(events: &[&str]) -> (Vec<String>, Vec<(String, String)>) {
        let read = read(&file(events)).unwrap();
        let skipped = read.skipped.into_iter().map(|s| (s.summary, s.reason)).collect();
        (read.dates.iter().map(ToString::to_string).collect(), skipped)
    }

    #[test]
    fn each_date_of_an_event_is_read_and_its_end_is_not_one() {
        let events = [
            "SUMMARY:New Year\r\nDTSTART;VALUE=DATE:20260101",
            "SUMMARY:Christmas\r\nDTSTART;VALUE=DATE:20261225\r\nDTEND;VALUE=DATE:20261227",
            "DTSTART;VALUE=DATE:20260501\r\nDTEND;VALUE=DATE:20260501",
            "DTSTART;VALUE=DATE:20261230\r\nDURATION:P3D",
            "DTSTART:20260202",
        ];
        let expected = [
            "2026-01-01",
            "2026-02-02",
            "2026-05-01",
            "2026-12-25",
            "2026-12-26",
            "2026-12-30",
            "2026-12-31",
            "2027-01-01",
        ];
        assert_eq!(texts(&events), (expected.map(String::from).to_vec(), Vec::new()));
        assert_eq!(read(&file(&events)).unwrap().events, 5);
    }

    #[test]
    fn what_is_not_read_is_told_with_its_reason() {
        let (dates, skipped) = texts(&[
            "SUMMARY:Standup\\, daily\r\nDTSTART:20260105T090000Z\r\nDTEND:20260105T091500Z",
            "SUMMARY:Easter\r\nDTSTART;VALUE=DATE:20260405\r\nRRULE:FREQ=YEARLY",
            "SUMMARY:Off\r\nDTSTART;VALUE=DATE:20260405\r\nSTATUS:CANCELLED",
            "SUMMARY:Odd",
            "SUMMARY:Back\r\nDTSTART;VALUE=DATE:20260405\r\nDTEND;VALUE=DATE:20260404",
            "SUMMARY:Long\r\nDTSTART;VALUE=DATE:20260405\r\nDTEND;VALUE=DATE:20280405",
            "SUMMARY:Short\r\nDTSTART;VALUE=DATE:20260405\r\nDURATION:PT3H",
            "DTSTART;VALUE=DATE:20260230",
        ]);
        assert_eq!(dates, [""; 0]);
        let expected = [
            ("Standup, daily", "It does not last whole days."),
            ("Easter", "It recurs; add each of its dates."),
            ("Off", "It is cancelled."),
            ("Odd", "It has no start."),
            ("Back", "It ends before it starts."),
            ("Long", "It lasts more than a year."),
            ("Short", "It does not last whole days."),
            ("", "It does not last whole days."),
        ];
        assert_eq!(skipped, expected.map(|(summary, reason)| (summary.to_owned(), reason.to_owned())));
    }

    #[test]
    fn folded_lines_and_time_zones_do_not_disturb() {
        let zone = "BEGIN:VTIMEZONE\r\nTZID:X\r\nBEGIN:STANDARD\r\nDTSTART:19700101T000000\r\nEND:STANDARD\r\nEND:VTIMEZONE\r\n";
        let text = file(&["SUMMARY:A very\r\n  long name\r\nDTSTART;VALUE=DATE:2026\r\n 0101"]);
        let text = text.replace("BEGIN:VEVENT", &format!("{zone}BEGIN:VEVENT"));
        let read = read(&format!("\u{feff}{text}")).unwrap();
        assert_eq!((read.events, read.dates.len(), read.skipped.len()), (1, 1, 0));
    }

    #[test]
    fn what_is_no_calendar_is_refused() {
        for text in ["", "hello", "{}", "BEGIN:", "BEGIN:VEVENT\r\nEND:VEVENT\r\n", "BEGIN:VCALENDAR\r\n"] {
            assert!(read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_hostile_file_is_refused_before_it_is_parsed() {
        let deep = "BEGIN:VCALENDAR\r\n".repeat(60_000);
        assert!(read(&deep).unwrap_err().contains("too deeply"));
        for part in
            ["begin:VEVENT\n", "BEGIN:VEVENT\r\nEND:VALARM\r\n", "\r\n\tBEGIN:VEVENT\r\n", "BEGIN:VEVENT\r"]
        {
            assert!(read(&part.repeat(40_000)).is_err(), "{part}");
        }
    }

    #[test]
    fn not_every_event_of_a_huge_file_is_told_of() {
        let read = read(&file(&["SUMMARY:x"; 1_003])).unwrap();
        assert_eq!(
            (read.skipped.len(), read.skipped[1_000].reason.as_str()),
            (1_001, "3 more events were not imported.")
        );
    }
}

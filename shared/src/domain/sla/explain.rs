//! Why a clock is due when it is: every stretch of time behind it, and what it counted for.

use chrono::TimeDelta;

use super::clock::{Clock, Event, Hold, Mode, Recorded};
use crate::time::Timestamp;

crate::domain::text_enum! {
    /// What a stretch of time counts for.
    Stretch {
        /// The clock ran within opening hours: it counts.
        Open = "open",
        /// The clock ran outside opening hours.
        Closed = "closed",
        /// Somebody, or the ticket's status, held the clock.
        Paused = "paused",
        /// What the clock measures was done.
        Stopped = "stopped",
        /// Before a change that let counting begin again.
        Discounted = "discounted",
    }
}

/// A stretch of time `[from, to)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// What it counts for.
    pub kind: Stretch,
    /// First instant.
    pub from: Timestamp,
    /// First instant after it.
    pub to: Timestamp,
    /// What the clock has counted at its end.
    pub elapsed: TimeDelta,
}

/// Explains a clock: lists at most `most` segments from its start until `until`, without gaps, and tells whether
/// there are more.
#[must_use]
pub fn explain(clock: &Clock, events: &[Recorded], until: Timestamp, most: usize) -> (Vec<Segment>, bool) {
    let mut segments: Vec<Segment> = Vec::new();
    for (kind, from, to) in phases(clock, events, until) {
        if kind != Stretch::Open {
            push(&mut segments, clock, kind, from, to);
            continue;
        }
        let mut at = from;
        for open in clock.calendar.open_intervals(from, to) {
            push(&mut segments, clock, Stretch::Closed, at, open.from);
            push(&mut segments, clock, Stretch::Open, open.from, open.to);
            at = open.to;
            if segments.len() > most {
                break;
            }
        }
        if segments.len() <= most {
            push(&mut segments, clock, Stretch::Closed, at, to);
        }
        if segments.len() > most {
            break;
        }
    }
    let more = segments.len() > most;
    segments.truncate(most);
    (segments, more)
}

fn push(segments: &mut Vec<Segment>, clock: &Clock, kind: Stretch, from: Timestamp, to: Timestamp) {
    if from >= to {
        return;
    }
    let elapsed = if kind == Stretch::Discounted { TimeDelta::zero() } else { clock.elapsed(to) };
    match segments.last_mut() {
        Some(last) if last.kind == kind && last.to == from => (last.to, last.elapsed) = (to, elapsed),
        _ => segments.push(Segment { kind, from, to, elapsed }),
    }
}

/// What the clock did from its start until `until`: `Open` stands for running, in whatever hours.
fn phases(clock: &Clock, events: &[Recorded], until: Timestamp) -> Vec<(Stretch, Timestamp, Timestamp)> {
    let began_again = |recorded: &&Recorded| {
        matches!(recorded.event, Event::Retargeted { mode: Mode::CarryFraction | Mode::Restart, .. })
    };
    let counted_from = events.iter().rev().find(began_again).map_or(clock.started_at, |recorded| recorded.at);
    let mut phases = Vec::new();
    let (mut manual, mut status, mut stopped, mut at) = (false, false, false, clock.started_at);
    for recorded in events {
        let kind = phase(manual || status, stopped);
        match recorded.event {
            Event::Paused { hold: Hold::Manual, .. } => manual = true,
            Event::Paused { hold: Hold::Status, .. } => status = true,
            Event::Resumed { hold: Hold::Manual } => manual = false,
            Event::Resumed { hold: Hold::Status } => status = false,
            Event::Stopped | Event::Cancelled => stopped = true,
            Event::Reopened => stopped = false,
            _ if recorded.at == counted_from => {}
            _ => continue,
        }
        let kind = if recorded.at <= counted_from { Stretch::Discounted } else { kind };
        phases.push((kind, at, recorded.at));
        at = recorded.at;
    }
    phases.push((phase(manual || status, stopped), at, until));
    phases
}

const fn phase(held: bool, stopped: bool) -> Stretch {
    match (stopped, held) {
        (true, _) => Stretch::Stopped,
        (false, true) => Stretch::Paused,
        (false, false) => Stretch::Open,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::sla::calendar::Definition;
    use crate::domain::sla::{Calendar, Command, Plan};

    fn at(text: &str) -> Timestamp {
        format!("2026-03-{text}Z").parse().unwrap()
    }

    fn office() -> Calendar {
        let weekly = ["mon", "tue", "wed", "thu", "fri"].map(|day| (day.into(), vec!["09:00-17:00".into()]));
        let (tz, overrides) = ("UTC".into(), [].into());
        Definition { tz, weekly: weekly.into(), overrides }.read(None).unwrap()
    }

    fn hours(hours: i64) -> TimeDelta {
        TimeDelta::hours(hours)
    }

    fn told(clock: &Clock, events: &[Recorded], until: &str) -> Vec<(&'static str, Timestamp, i64)> {
        let (segments, more) = explain(clock, events, at(until), 100);
        assert!(!more && segments.is_sorted_by(|a, b| a.to == b.from), "{segments:?}");
        segments.iter().map(|s| (s.kind.as_str(), s.to, s.elapsed.num_minutes())).collect()
    }

    #[test]
    fn every_stretch_is_listed_with_what_had_been_counted_by_its_end() {
        let plan = Plan { target: hours(8), warn_at: Vec::new(), calendar: office() };
        let (mut clock, started) = Clock::start(plan, at("06T15:00:00"));
        let mut events = vec![started];
        let pause = |hold| Event::Paused { hold, reason: None };
        events.extend(clock.take(pause(Hold::Manual), at("09T10:00:00")));
        events.extend(clock.take(pause(Hold::Status), at("09T11:00:00")));
        events.extend(clock.take(Event::Resumed { hold: Hold::Manual }, at("09T12:00:00")));
        events.extend(clock.take(Event::Resumed { hold: Hold::Status }, at("09T13:00:00")));
        events.extend(clock.take(Event::Stopped, at("09T14:30:00")));
        let expected = [
            ("open", at("06T17:00:00"), 120),
            ("closed", at("09T09:00:00"), 120),
            ("open", at("09T10:00:00"), 180),
            ("paused", at("09T13:00:00"), 180),
            ("open", at("09T14:30:00"), 270),
            ("stopped", at("10T00:00:00"), 270),
        ];
        assert_eq!(told(&clock, &events, "10T00:00:00"), expected);
    }

    #[test]
    fn what_a_restart_forgot_is_discounted() {
        let plan = |target| Plan { target, warn_at: Vec::new(), calendar: Calendar::AlwaysOpen };
        let (mut clock, started) = Clock::start(plan(hours(8)), at("02T09:00:00"));
        let mut events = vec![started];
        events.extend(clock.take(Event::Paused { hold: Hold::Manual, reason: None }, at("02T10:00:00")));
        events.extend(clock.take(Event::Resumed { hold: Hold::Manual }, at("02T11:00:00")));
        events.extend(clock.take(Command::Retarget(plan(hours(2)), Mode::Restart), at("02T12:00:00")));
        let expected = [("discounted", at("02T12:00:00"), 0), ("open", at("02T13:00:00"), 60)];
        assert_eq!(told(&clock, &events, "02T13:00:00"), expected);
    }

    #[test]
    fn a_long_story_is_cut() {
        let plan = Plan { target: hours(10_000), warn_at: Vec::new(), calendar: office() };
        let (clock, started) = Clock::start(plan, at("02T00:00:00"));
        let due = clock.due_at().unwrap();
        let (segments, more) = explain(&clock, &[started], due, 7);
        assert_eq!((segments.len(), more), (7, true));
    }
}

//! A clock's whole story computed from a case: what `dogwatch sla simulate` does.
//!
//! The case names the calendar, the start, the target and all that happens; the answer says how the clock stands at
//! one instant, and when it will be due. At one instant pauses end and begin, then targets change in the order given,
//! then the clock stops. Changing to the same target is no change, but for `restart`.

use chrono::{DateTime, TimeDelta};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::calendar::Definition;
use super::clock::micros;
use super::{Calendar, Clock, Command, Event, Hold, Mode, Plan, State};
use crate::domain::{Problem, span};
use crate::time::Timestamp;

/// The first and the last instant that RFC 3339 can write.
const YEARS_US: std::ops::RangeInclusive<i64> = -62_167_219_200_000_000..=253_402_300_799_999_999;

/// What happens to one clock.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// Text or a number, given back in the answer.
    id: Value,
    /// Around the clock, where there is none.
    #[serde(default)]
    calendar: Option<Definition>,
    start: Instant,
    target: Target,
    /// Half-open intervals in any order; they may overlap, and begin before the start. Without an end: for good.
    #[serde(default)]
    pauses: Vec<(Instant, Option<Instant>)>,
    /// In any order.
    #[serde(default)]
    retargets: Vec<Retarget>,
    #[serde(default)]
    stop: Option<Instant>,
    /// Shares of the target.
    #[serde(default)]
    warn: Vec<f64>,
    /// As of when to answer.
    at: Instant,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Retarget {
    at: Instant,
    target: Target,
    mode: Mode,
}

/// An instant as RFC 3339 writes it, cut to microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
struct Instant(Timestamp);

impl TryFrom<String> for Instant {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let read = DateTime::parse_from_rfc3339(&text).ok().map(|at| at.timestamp_micros());
        let read = read.filter(|us| YEARS_US.contains(us)).and_then(DateTime::from_timestamp_micros);
        read.map(Self).ok_or_else(|| format!("`{text}` is not an instant like 2026-03-06T14:00:00Z"))
    }
}

/// A length of time as people write it, longer than nothing.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(try_from = "String")]
struct Target(TimeDelta);

impl TryFrom<String> for Target {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let read = span::parse(&text).filter(|span| *span > TimeDelta::zero());
        read.map(Self).ok_or_else(|| format!("`{text}` is not {}, longer than nothing", span::EXPECTED))
    }
}

/// How the clock of a case stands. Spans are whole milliseconds, rounded down.
#[derive(Clone, Debug, Serialize)]
pub struct Answer {
    id: Value,
    state: State,
    due_at: Option<Timestamp>,
    breach_at: Option<Timestamp>,
    breached_at: Option<Timestamp>,
    elapsed_ms: i64,
    remaining_ms: i64,
    overrun_ms: i64,
    warnings: Vec<Warning>,
    /// The clock runs for good, and its calendar never opens long enough.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    unreachable: bool,
}

#[derive(Clone, Debug, Serialize)]
struct Warning {
    fraction: f64,
    at: Option<Timestamp>,
}

#[derive(Serialize)]
struct Refusal {
    id: Value,
    error: String,
}

/// Answers a case given as one line of JSON: appends one line of JSON, with the answer or what is wrong.
pub fn answer_line(line: &[u8], answers: &mut Vec<u8>) {
    let answer = match serde_json::from_slice::<Case>(line) {
        Ok(case) => case.answer().map_err(|problem| Refusal::new(case.id, &problem)),
        Err(error) => Err(Refusal::of_line(line, &error)),
    };
    // Numbers and texts always have a form in JSON, and memory takes what is written to it.
    let _ = match answer {
        Ok(answer) => serde_json::to_writer(&mut *answers, &answer),
        Err(refusal) => serde_json::to_writer(&mut *answers, &refusal),
    };
    answers.push(b'\n');
}

impl Case {
    /// Runs a clock through the case.
    ///
    /// # Errors
    /// The first thing that is wrong with the case.
    pub fn answer(&self) -> Result<Answer, Problem> {
        let calendar = match &self.calendar {
            None => Calendar::AlwaysOpen,
            Some(definition) => definition.read(None).map_err(|problems| first("calendar", problems))?,
        };
        self.check()?;
        let at = self.at.0;
        let plan =
            |target: Target| Plan { target: target.0, warn_at: Vec::new(), calendar: calendar.clone() };
        let (mut clock, _) = Clock::start(plan(self.target), self.start.0);
        let mut commands = self.commands(plan).into_iter().peekable();
        while let Some((when, _, command)) = commands.next_if(|(when, ..)| *when <= at) {
            clock.take(command, when);
        }
        let mut whole = clock.clone();
        clock.fire(at);
        for (when, _, command) in commands {
            whole.take(command, when);
        }
        let (elapsed, due_at) = (clock.elapsed(at), whole.due_at());
        let warning = |fraction| Warning { fraction, at: whole.reach(share(whole.target, fraction)) };
        Ok(Answer {
            id: self.id.clone(),
            state: clock.state(),
            due_at,
            breach_at: whole.breach_at(),
            breached_at: clock.breached_at,
            elapsed_ms: elapsed.num_milliseconds(),
            remaining_ms: (clock.target - elapsed).num_milliseconds().max(0),
            overrun_ms: (elapsed - clock.target).num_milliseconds().max(0),
            warnings: self.warn.iter().copied().map(warning).collect(),
            unreachable: due_at.is_none() && whole.running_since.is_some(),
        })
    }

    fn check(&self) -> Result<(), Problem> {
        let wrong = |field: String, message: &str| Err(Problem::new(field, message));
        if !self.id.is_string() && !self.id.is_number() {
            return wrong("id".into(), "Must be text or a number.");
        }
        for (i, (from, to)) in self.pauses.iter().enumerate() {
            if to.is_some_and(|to| to < *from) {
                return wrong(format!("pauses[{i}]"), "Must not end before it begins.");
            }
        }
        for (i, change) in self.retargets.iter().enumerate() {
            if change.at < self.start {
                return wrong(format!("retargets[{i}].at"), "Must not be before the start.");
            }
        }
        for (i, fraction) in self.warn.iter().enumerate() {
            if !(*fraction > 0.0 && *fraction <= 1.0) {
                return wrong(format!("warn[{i}]"), "Must be a share of the target: more than 0, at most 1.");
            }
        }
        if self.stop.is_some_and(|stop| stop < self.start) {
            return wrong("stop".into(), "Must not be before the start.");
        }
        Ok(())
    }

    /// What happens, in order, with its rank among what happens at the same instant.
    fn commands(&self, plan: impl Fn(Target) -> Plan) -> Vec<(Timestamp, u8, Command)> {
        let hold = Hold::Manual;
        let mut commands = Vec::new();
        for (from, to) in self.pauses() {
            commands.push((from.0, 0, Event::Paused { hold, reason: None }.into()));
            commands.extend(to.map(|to| (to.0, 0, Event::Resumed { hold }.into())));
        }
        commands.extend(
            self.retargets
                .iter()
                .map(|change| (change.at.0, 1, Command::Retarget(plan(change.target), change.mode))),
        );
        commands.extend(self.stop.map(|at| (at.0, 2, Event::Stopped.into())));
        commands.sort_by_key(|(at, rank, _)| (*at, *rank));
        commands
    }

    /// The pauses from the start on, by their beginning, with gaps between them.
    fn pauses(&self) -> Vec<(Instant, Option<Instant>)> {
        let clipped = self.pauses.iter().map(|(from, to)| (*from.max(&self.start), *to));
        let mut given: Vec<_> = clipped.filter(|(from, to)| to.is_none_or(|to| to > *from)).collect();
        given.sort_unstable();
        let mut united: Vec<(Instant, Option<Instant>)> = Vec::with_capacity(given.len());
        for (from, to) in given {
            match united.last_mut() {
                Some((_, end)) if end.is_none_or(|end| from <= end) => {
                    *end = if let (Some(end), Some(to)) = (*end, to) { Some(end.max(to)) } else { None };
                }
                _ => united.push((from, to)),
            }
        }
        united
    }
}

impl Refusal {
    fn new(id: Value, problem: &Problem) -> Self {
        let id = if id.is_string() || id.is_number() { id } else { Value::Null };
        Self { id, error: format!("{}: {}", problem.field, problem.message) }
    }

    /// Finds out what is wrong with a line that is no case; `error` is what its reader said.
    fn of_line(line: &[u8], error: &serde_json::Error) -> Self {
        let Ok(value) = serde_json::from_slice::<Value>(line) else {
            return Self { id: Value::Null, error: format!("The line is not JSON: {error}.") };
        };
        let Value::Object(mut fields) = value else {
            return Self { id: Value::Null, error: "The line must be a JSON object.".into() };
        };
        // Without its place in the line, which says little of a line that a program wrote.
        let case = serde_json::from_value::<Case>(fields.clone().into());
        let error = case.err().map_or_else(|| error.to_string(), |error| error.to_string());
        let named = READERS.iter().find_map(|(name, read)| Some((*name, read(fields.get(*name)?.clone())?)));
        let id = fields.remove("id").unwrap_or_default();
        match named {
            Some((name, error)) => Self::new(id, &Problem::new(name, format!("{error}."))),
            None => Self::new(id, &Problem::new("case", format!("{error}."))),
        }
    }
}

/// Says what is wrong with a value, if anything is.
type Reader = fn(Value) -> Option<serde_json::Error>;

/// How each field is read on its own, to find out which of them is wrong.
const READERS: [(&str, Reader); 8] = [
    ("calendar", wrong::<Option<Definition>>),
    ("start", wrong::<Instant>),
    ("target", wrong::<Target>),
    ("pauses", wrong::<Vec<(Instant, Option<Instant>)>>),
    ("retargets", wrong::<Vec<Retarget>>),
    ("stop", wrong::<Option<Instant>>),
    ("warn", wrong::<Vec<f64>>),
    ("at", wrong::<Instant>),
];

fn wrong<T: serde::de::DeserializeOwned>(value: Value) -> Option<serde_json::Error> {
    serde_json::from_value::<T>(value).err()
}

fn first(within: &str, problems: Vec<Problem>) -> Problem {
    let problem = problems.into_iter().next().unwrap_or_else(|| Problem::new("", "Is not understood."));
    Problem { field: format!("{within}.{}", problem.field), ..problem }
}

/// A share of a target to the nearest microsecond; exact for shares of up to six decimals.
#[expect(clippy::cast_possible_truncation, reason = "a share is between 0 and 1")]
fn share(target: TimeDelta, fraction: f64) -> TimeDelta {
    const PARTS: i128 = 1_000_000_000_000_000;
    let parts = i128::from(micros(target)) * i128::from((fraction * 1e15).round() as i64);
    TimeDelta::microseconds(i64::try_from((parts + PARTS / 2) / PARTS).unwrap_or(i64::MAX))
}

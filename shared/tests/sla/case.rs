//! One worked example: what `dogwatch sla simulate` takes and answers.

use std::collections::BTreeMap;

use chrono::TimeDelta;
use serde::Deserialize;
use serde_json::{Value, json};
use shared::domain::sla::{Calendar, Clock, Event, Fraction, Hold, Mode};
use shared::time::Timestamp;

/// An example with the part of the answer that it is about.
#[derive(Debug, Deserialize)]
pub(crate) struct Vector {
    pub(crate) case: Case,
    pub(crate) expect: serde_json::Map<String, Value>,
    pub(crate) note: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Case {
    pub(crate) id: String,
    calendar: Option<Week>,
    start: Timestamp,
    target: String,
    pauses: Vec<(Timestamp, Option<Timestamp>)>,
    retargets: Vec<Retarget>,
    stop: Option<Timestamp>,
    warn: Vec<f64>,
    at: Timestamp,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Week {
    #[serde(rename = "tz")]
    _tz: String,
    weekly: BTreeMap<String, Vec<String>>,
    overrides: BTreeMap<String, Vec<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Retarget {
    at: Timestamp,
    target: String,
    mode: Mode,
}

/// How pauses are told to the clock.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Pauses {
    /// One hold, over the union of all intervals.
    United,
    /// In turn by either hold; for at most two at a time.
    InTurn,
}

impl Case {
    /// The calendar, if the engine has such a calendar yet.
    pub(crate) fn calendar(&self) -> Option<Calendar> {
        let all_day = |windows: &Vec<String>| *windows == ["00:00-24:00"];
        let always = |week: &Week| {
            week.overrides.is_empty() && week.weekly.len() == 7 && week.weekly.values().all(all_day)
        };
        self.calendar.as_ref().is_none_or(always).then_some(Calendar::AlwaysOpen)
    }

    /// Computes the whole answer.
    pub(crate) fn answer(&self, calendar: &Calendar, pauses: Pauses) -> Value {
        let events = self.events(pauses);
        let whole = self.clock(&events, calendar);
        let until: Vec<_> = events.iter().filter(|(at, _)| *at <= self.at).cloned().collect();
        let mut clock = self.clock(&until, calendar);
        clock.fire(self.at, calendar);
        let elapsed = clock.elapsed(self.at, calendar);
        let positive = |span: TimeDelta| span.num_milliseconds().max(0);
        let due_at = whole.due_at(calendar);
        let fraction = |f: Fraction| f64::from(f.0) / 1e6;
        let warnings = whole.warnings(calendar).map(|(f, at)| json!({"fraction": fraction(f), "at": at}));
        let mut answer = json!({
            "id": self.id, "state": clock.state(), "due_at": due_at, "breach_at": whole.breach_at(calendar),
            "breached_at": clock.breached_at, "elapsed_ms": elapsed.num_milliseconds(),
            "remaining_ms": positive(clock.target - elapsed), "overrun_ms": positive(elapsed - clock.target),
            "warnings": warnings.collect::<Vec<_>>(),
        });
        if whole.running_since.is_some() && due_at.is_none() {
            answer["unreachable"] = true.into();
        }
        answer
    }

    fn clock(&self, events: &[(Timestamp, Event)], calendar: &Calendar) -> Clock {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "examples warn between 0 and 1"
        )]
        let warn_at = self.warn.iter().map(|fraction| Fraction((fraction * 1e6).round() as u32)).collect();
        let (mut clock, _) = Clock::start(span(&self.target), warn_at, self.start);
        for (at, event) in events {
            clock.take(event.clone(), *at, calendar);
        }
        clock
    }

    /// What happens, in order; at one instant pauses end, then others begin, targets change, and the clock stops.
    fn events(&self, pauses: Pauses) -> Vec<(Timestamp, Event)> {
        let mut events = Vec::new();
        for (i, (from, to)) in self.pauses(pauses).into_iter().enumerate() {
            let hold = match pauses {
                Pauses::InTurn if i % 2 == 1 => Hold::Status,
                _ => Hold::Manual,
            };
            events.extend(to.map(|to| (to, 0, Event::Resumed { hold })));
            events.push((from, 1, Event::Paused { hold, reason: None }));
        }
        events.extend(self.retargets.iter().map(|change| {
            let target_us = span(&change.target).num_microseconds().expect("a short target");
            (change.at, 2, Event::Retargeted { target_us, mode: change.mode })
        }));
        events.extend(self.stop.map(|at| (at, 3, Event::Stopped)));
        events.sort_by_key(|(at, rank, _)| (*at, *rank));
        events.into_iter().map(|(at, _, event)| (at, event)).collect()
    }

    fn pauses(&self, pauses: Pauses) -> Vec<(Timestamp, Option<Timestamp>)> {
        let mut given = self.pauses.clone();
        given.retain(|(from, to)| *to != Some(*from));
        given.sort();
        if matches!(pauses, Pauses::InTurn) {
            return given;
        }
        let mut united: Vec<(Timestamp, Option<Timestamp>)> = Vec::new();
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

/// Reads `90s`, `60m`, `1h30m`, `2d`.
fn span(text: &str) -> TimeDelta {
    let mut span = TimeDelta::zero();
    let mut number = 0;
    for c in text.chars() {
        let unit = match c {
            '0'..='9' => {
                number = number * 10 + i64::from(c.to_digit(10).unwrap_or(0));
                continue;
            }
            's' => 1,
            'm' => 60,
            'h' => 3_600,
            'd' => 86_400,
            _ => panic!("not a span: {text}"),
        };
        span += TimeDelta::seconds(number * unit);
        number = 0;
    }
    span
}

/// Compares what an example is about; instants are compared as instants.
pub(crate) fn check(vector: &Vector, answer: &Value) {
    for (key, expected) in &vector.expect {
        let found = answer.get(key).cloned().unwrap_or(Value::Null);
        let case = &vector.case.id;
        assert_eq!(instants(found), instants(expected.clone()), "{key} of {case}: {}", vector.note);
    }
}

fn instants(value: Value) -> Value {
    match value {
        Value::String(text) => text.parse::<Timestamp>().map_or(Value::String(text), |at| json!(at)),
        Value::Array(values) => values.into_iter().map(instants).collect(),
        Value::Object(fields) => fields.into_iter().map(|(key, value)| (key, instants(value))).collect(),
        other => other,
    }
}

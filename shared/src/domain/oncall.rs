//! Who is on call: rotations in layers, and exceptions above them.
//!
//! This file says what a schedule may look like, [`Rota`] who it puts on call at an instant.

mod rota;

use std::collections::{BTreeMap, HashSet};

use chrono::{Datelike, NaiveDate};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Problem;
use super::definition::Reference;
use super::sla::calendar::{DAY_US, read_week, time_of_day};
use crate::ids::{OverrideId, UserId};
use crate::time::Timestamp;

pub use rota::{Because, OnCall, Rota, Shift};

const MOST_LAYERS: usize = 20;
const MOST_USERS: usize = 100;
const MOST_OVERRIDES: usize = 1_000;
const MOST_WINDOWS: usize = 24;

/// An on-call schedule as it is written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Definition {
    /// IANA name of the zone whose wall clocks hand-offs and hours are read on.
    pub tz: String,
    /// The rotations. Of those that have somebody at an instant the last counts.
    pub layers: Vec<Layer>,
    /// Exceptions in the order in which they were added; the latest that covers an instant beats everything else.
    #[serde(default)]
    pub overrides: Vec<Override>,
}

/// A rotation: its users take turns.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layer {
    /// Name; unique in the schedule.
    pub name: String,
    /// Who takes turns, in this order and again from the first; somebody may be named twice.
    pub users: Vec<UserId>,
    /// The local date of the first hand-off. Before that the layer has nobody.
    pub start: NaiveDate,
    /// The local wall time of hand-offs, such as `09:00`.
    pub handoff: String,
    /// How long a turn takes.
    pub turn: Turn,
    /// When the layer has anybody, by weekday as in a calendar; always when not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hours: Option<BTreeMap<String, Vec<String>>>,
}

/// How long a turn takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Turn {
    /// One local date.
    #[default]
    Daily,
    /// Seven local dates.
    Weekly,
    /// As many local dates, however long they are where clocks change.
    Days(i64),
    /// As many hours that really pass.
    Hours(i64),
}

/// Somebody else for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Override {
    /// Identifier.
    pub id: OverrideId,
    /// Who is on call instead.
    pub user: UserId,
    /// From this instant.
    #[schema(value_type = String, format = DateTime)]
    pub from: Timestamp,
    /// Until right before this instant.
    #[schema(value_type = String, format = DateTime)]
    pub to: Timestamp,
}

impl Definition {
    /// Lists the people it refers to, with the fields that do.
    pub fn references(&self) -> impl Iterator<Item = (String, Reference)> {
        let layers = self.layers.iter().enumerate().flat_map(|(i, layer)| {
            let users = layer.users.iter().enumerate();
            users.map(move |(j, user)| (format!("layers[{i}].users[{j}]"), Reference::User(*user)))
        });
        let overrides = self.overrides.iter().enumerate();
        layers.chain(overrides.map(|(i, o)| (format!("overrides[{i}].user"), Reference::User(o.user))))
    }

    /// Lists everything that is wrong with it; none when [`Rota::new`] can use it.
    #[must_use]
    pub fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut complain = |field: String, message: &str| problems.push(Problem::new(field, message));
        if self.tz.parse::<chrono_tz::Tz>().is_err() {
            complain("tz".into(), "There is no such time zone; write an IANA name such as Europe/Berlin.");
        }
        if !(1..=MOST_LAYERS).contains(&self.layers.len()) {
            complain("layers".into(), &format!("Needs 1 to {MOST_LAYERS} layers."));
        }
        let mut names = HashSet::new();
        for (i, layer) in self.layers.iter().enumerate() {
            if !names.insert(&layer.name) {
                complain(format!("layers[{i}].name"), "Another layer has this name.");
            }
            for problem in layer.problems() {
                complain(format!("layers[{i}].{}", problem.field), &problem.message);
            }
        }
        if self.overrides.len() > MOST_OVERRIDES {
            let message = format!("Must be at most {MOST_OVERRIDES}; delete those that are over.");
            complain("overrides".into(), &message);
        }
        let mut ids = HashSet::new();
        for (i, exception) in self.overrides.iter().enumerate() {
            if !ids.insert(exception.id) {
                complain(format!("overrides[{i}].id"), "Another override has this id.");
            }
            if exception.from >= exception.to {
                complain(format!("overrides[{i}].to"), "Must be after from.");
            }
        }
        problems
    }
}

impl Layer {
    fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        if !(1..=MOST_USERS).contains(&self.users.len()) {
            problems.push(Problem::new("users", format!("Needs 1 to {MOST_USERS} users who take turns.")));
        }
        if !(1970..2200).contains(&self.start.year()) {
            problems.push(Problem::new("start", "Must be a date from 1970 to 2199, like 2026-01-05."));
        }
        if handoff_us(&self.handoff).is_none() {
            problems.push(Problem::new("handoff", "Must be a time of day like 09:00."));
        }
        let (length, most) = match self.turn {
            Turn::Daily | Turn::Weekly => (1, 1),
            Turn::Days(days) => (days, 366),
            Turn::Hours(hours) => (hours, 366 * 24),
        };
        if !(1..=most).contains(&length) {
            problems.push(Problem::new("turn", format!("Must be 1 to {most}.")));
        }
        let hours = self.hours.as_ref().map(|hours| read_week("hours", hours));
        problems.extend(hours.and_then(Result::err).unwrap_or_default());
        for (day, windows) in self.hours.iter().flatten() {
            if windows.len() > MOST_WINDOWS {
                let message = format!("Must be at most {MOST_WINDOWS} windows a day.");
                problems.push(Problem::new(format!("hours.{day}"), message));
            }
        }
        problems
    }
}

/// Microseconds since local midnight of a hand-off; midnight itself is the beginning of a day, not its end.
fn handoff_us(text: &str) -> Option<i64> {
    time_of_day(text).filter(|us| *us < DAY_US)
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, TimeDelta};

    use super::*;

    fn layer(name: &str) -> Layer {
        let (start, handoff) = (NaiveDate::from_ymd_opt(2026, 1, 5).unwrap(), "09:00".into());
        Layer {
            name: name.into(),
            users: vec![UserId::new()],
            start,
            handoff,
            turn: Turn::Weekly,
            hours: None,
        }
    }

    fn schedule() -> Definition {
        let (tz, layers) = ("Europe/Berlin".into(), vec![layer("first")]);
        Definition { tz, layers, overrides: Vec::new() }
    }

    fn fields(definition: &Definition) -> Vec<String> {
        definition.problems().into_iter().map(|problem| problem.field).collect()
    }

    #[test]
    fn a_schedule_is_its_json() {
        let user = UserId::new();
        let (id, at) = (OverrideId::new(), DateTime::UNIX_EPOCH);
        let mut schedule = schedule();
        schedule.layers[0].users = vec![user];
        schedule.overrides.push(Override { id, user, from: at, to: at + TimeDelta::hours(1) });
        for (turn, json) in [
            (Turn::Daily, serde_json::json!("daily")),
            (Turn::Weekly, serde_json::json!("weekly")),
            (Turn::Days(3), serde_json::json!({ "days": 3 })),
            (Turn::Hours(12), serde_json::json!({ "hours": 12 })),
        ] {
            schedule.layers[0].turn = turn;
            let expected = serde_json::json!({
                "tz": "Europe/Berlin",
                "layers": [
                    { "name": "first", "users": [user], "start": "2026-01-05", "handoff": "09:00", "turn": json },
                ],
                "overrides": [
                    { "id": id, "user": user, "from": "1970-01-01T00:00:00Z", "to": "1970-01-01T01:00:00Z" },
                ],
            });
            assert_eq!(serde_json::to_value(&schedule).unwrap(), expected);
            assert_eq!(serde_json::from_value::<Definition>(expected).unwrap(), schedule);
        }
    }

    #[test]
    fn everything_that_is_wrong_is_listed_at_once() {
        assert_eq!(schedule().problems(), []);
        let mut bad = schedule();
        bad.tz = "Berlin".into();
        bad.layers.push(layer("first"));
        bad.layers[1].users.clear();
        bad.layers[1].start = NaiveDate::from_ymd_opt(1969, 12, 31).unwrap();
        bad.layers[1].handoff = "24:00".into();
        bad.layers[1].turn = Turn::Days(0);
        let windows = ["17:00-09:00", "09:00-12:00", "11:00-13:00"].map(String::from).to_vec();
        bad.layers[1].hours = Some([("mon".into(), windows), ("noday".into(), Vec::new())].into());
        let at = DateTime::UNIX_EPOCH;
        let exception = Override { id: OverrideId::new(), user: UserId::new(), from: at, to: at };
        bad.overrides = vec![exception, exception];
        assert_eq!(
            fields(&bad),
            [
                "tz",
                "layers[1].name",
                "layers[1].users",
                "layers[1].start",
                "layers[1].handoff",
                "layers[1].turn",
                "layers[1].hours.mon[0]",
                "layers[1].hours.mon[2]",
                "layers[1].hours.noday",
                "overrides[0].to",
                "overrides[1].id",
                "overrides[1].to",
            ]
        );
        assert_eq!(fields(&Definition { layers: Vec::new(), ..schedule() }), ["layers"]);
    }

    #[test]
    fn a_day_has_no_more_windows_than_hours() {
        let mut bad = schedule();
        let windows = |n: usize| (0..n).map(|i| format!("12:{i:02}:00-12:{i:02}:30")).collect::<Vec<_>>();
        bad.layers[0].hours = Some([("mon".into(), windows(24)), ("tue".into(), windows(25))].into());
        assert_eq!(fields(&bad), ["layers[0].hours.tue"]);
    }

    #[test]
    fn a_turn_takes_some_time_and_no_eternity() {
        for turn in [Turn::Days(0), Turn::Days(-1), Turn::Days(367), Turn::Hours(0), Turn::Hours(i64::MAX)] {
            let mut bad = schedule();
            bad.layers[0].turn = turn;
            assert_eq!(fields(&bad), ["layers[0].turn"], "{turn:?}");
        }
    }

    #[test]
    fn a_hand_off_is_a_time_of_day() {
        for handoff in ["", "9:00", "09:0", "24:00", "09:60", "+9:00", "09.00", "noon"] {
            let mut bad = schedule();
            bad.layers[0].handoff = handoff.into();
            assert_eq!(fields(&bad), ["layers[0].handoff"], "{handoff}");
        }
    }
}

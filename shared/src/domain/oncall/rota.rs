//! Who is on call at an instant, and when that changes.
//!
//! Computed in microseconds since the epoch, UTC or local, within spans of time in which a zone keeps its offset: there
//! local time is UTC plus a constant, and nothing is skipped or repeated.

use std::collections::BTreeSet;

use chrono::{DateTime, NaiveDate};
use chrono_tz::Tz;
use serde::Serialize;

use super::{Definition, Layer, Override, Turn, handoff_us};
use crate::domain::Problem;
use crate::domain::sla::calendar::zone::spans;
use crate::domain::sla::calendar::{DAY_US, Week, read_week};
use crate::ids::{OverrideId, UserId};
use crate::time::Timestamp;

const HOUR_US: i64 = 3_600_000_000;

/// The Monday before the Unix epoch, in days since it.
const MONDAY: i64 = -3;

/// A schedule that has been found right, ready to be asked.
#[derive(Clone, Debug)]
pub struct Rota {
    zone: Tz,
    layers: Vec<Rotation>,
    overrides: Vec<Override>,
}

#[derive(Clone, Debug)]
struct Rotation {
    name: String,
    users: Vec<UserId>,
    turns: Turns,
    hours: Option<Week>,
}

/// Where turns begin.
#[derive(Clone, Copy, Debug)]
enum Turns {
    /// At a local time of every so many local dates, from a first one on (days since the epoch).
    Dates { first: i64, handoff: i64, dates: i64 },
    /// Each so long after the one before.
    Elapsed { first: i64, length: i64 },
}

/// Somebody on call, and why they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OnCall<'a> {
    /// Who.
    pub user: UserId,
    /// Why.
    pub because: Because<'a>,
}

/// Why somebody is on call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Because<'a> {
    /// An exception says so.
    Override(OverrideId),
    /// It is their turn in the layer of this name.
    Layer(&'a str),
}

/// A stretch of time with one person, or with nobody, on call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Shift {
    /// From this instant.
    pub from: Timestamp,
    /// Until right before this instant.
    pub to: Timestamp,
    /// Who is on call.
    pub user: Option<UserId>,
}

impl Rota {
    /// Makes a schedule ready to be asked.
    ///
    /// # Errors
    /// Everything that is wrong with the definition.
    pub fn new(definition: &Definition) -> Result<Self, Vec<Problem>> {
        let problems = definition.problems();
        if !problems.is_empty() {
            return Err(problems);
        }
        let zone = definition.tz.parse().unwrap_or(Tz::UTC);
        let layers = definition.layers.iter().filter_map(|layer| Rotation::new(zone, layer)).collect();
        Ok(Self { zone, layers, overrides: definition.overrides.clone() })
    }

    /// Tells who is on call.
    #[must_use]
    pub fn on_call(&self, at: Timestamp) -> Option<UserId> {
        self.who(at).map(|who| who.user)
    }

    /// Tells who is on call, and why.
    #[must_use]
    pub fn who(&self, at: Timestamp) -> Option<OnCall<'_>> {
        let covers = |o: &&Override| (o.from..o.to).contains(&at);
        if let Some(exception) = self.overrides.iter().rev().find(covers) {
            return Some(OnCall { user: exception.user, because: Because::Override(exception.id) });
        }
        let at = at.timestamp_micros();
        let local = at + spans(self.zone, at).next()?.offset;
        self.layers.iter().rev().find_map(|layer| {
            let user = layer.holder(at, local)?;
            Some(OnCall { user, because: Because::Layer(&layer.name) })
        })
    }

    /// Lists who is on call in `[from, to)`, one after the other and without holes; neighbours differ.
    #[must_use]
    pub fn shifts(&self, from: Timestamp, to: Timestamp) -> Vec<Shift> {
        let mut shifts: Vec<Shift> = Vec::new();
        for at in self.changes(from, to) {
            let user = self.on_call(at);
            let last = shifts.last_mut();
            if last.as_ref().is_some_and(|last| last.user == user) {
                continue;
            }
            if let Some(last) = last {
                last.to = at;
            }
            shifts.push(Shift { from: at, to, user });
        }
        shifts
    }

    /// Lists the stretches of `[from, to)` in which nobody is on call.
    #[must_use]
    pub fn gaps(&self, from: Timestamp, to: Timestamp) -> Vec<(Timestamp, Timestamp)> {
        let shifts = self.shifts(from, to).into_iter();
        shifts.filter(|shift| shift.user.is_none()).map(|shift| (shift.from, shift.to)).collect()
    }

    /// Returns `from` and every instant behind it and before `to` at which somebody else may come on call: between
    /// two of them nothing changes.
    fn changes(&self, from: Timestamp, to: Timestamp) -> BTreeSet<Timestamp> {
        let mut changes: BTreeSet<Timestamp> = self.overrides.iter().flat_map(|o| [o.from, o.to]).collect();
        let (begin, end) = (from.timestamp_micros(), to.timestamp_micros());
        let mut add = |us| changes.extend(DateTime::from_timestamp_micros(us));
        for span in spans(self.zone, begin).take_while(|span| span.from < end) {
            add(span.from);
            let (first, last) = (span.from.max(begin) + span.offset, span.to.min(end) + span.offset);
            for day in first.div_euclid(DAY_US)..=last.div_euclid(DAY_US) {
                for wall in self.layers.iter().flat_map(|layer| layer.wall_times(day)) {
                    let at = day * DAY_US + wall - span.offset;
                    if (span.from..span.to).contains(&at) {
                        add(at);
                    }
                }
            }
        }
        for layer in &self.layers {
            layer.elapsed_turns(begin, end).for_each(&mut add);
        }
        changes.insert(from);
        changes.retain(|at| (from..to).contains(at));
        changes
    }
}

impl Rotation {
    fn new(zone: Tz, layer: &Layer) -> Option<Self> {
        let (handoff, first) = (handoff_us(&layer.handoff)?, (layer.start - NaiveDate::default()).num_days());
        let turns = match layer.turn {
            Turn::Daily => Turns::Dates { first, handoff, dates: 1 },
            Turn::Weekly => Turns::Dates { first, handoff, dates: 7 },
            Turn::Days(dates) => Turns::Dates { first, handoff, dates },
            Turn::Hours(hours) => Turns::Elapsed {
                first: first_instant(zone, first * DAY_US + handoff)?,
                length: hours * HOUR_US,
            },
        };
        let hours = layer.hours.as_ref().map(|hours| read_week("hours", hours)).transpose().ok()?;
        Some(Self { name: layer.name.clone(), users: layer.users.clone(), turns, hours })
    }

    /// Whose turn it is at an instant, whose local time is given too.
    fn holder(&self, at: i64, local: i64) -> Option<UserId> {
        let (day, time) = (local.div_euclid(DAY_US), local.rem_euclid(DAY_US));
        if self.hours.as_ref().is_some_and(|hours| !hours.is_open(weekday(day), time)) {
            return None;
        }
        let turn = match self.turns {
            // By the wall clock alone: where it shows a time twice, or never, this still says one thing.
            Turns::Dates { first, handoff, dates } => {
                (day - first - i64::from(time < handoff)).div_euclid(dates)
            }
            Turns::Elapsed { first, length } => (at - first).div_euclid(length),
        };
        // Before the first hand-off turns are negative.
        let turn = usize::try_from(turn).ok()?;
        self.users.get(turn % self.users.len()).copied()
    }

    /// The local times of a day (since the epoch) at which something may change.
    fn wall_times(&self, day: i64) -> impl Iterator<Item = i64> {
        let handoff = match self.turns {
            Turns::Dates { handoff, .. } => Some(handoff),
            Turns::Elapsed { .. } => None,
        };
        let windows = self.hours.as_ref().map_or(&[][..], |hours| hours.windows(weekday(day)));
        windows.iter().flat_map(|(start, end)| [*start, *end]).chain(handoff)
    }

    /// The beginnings of turns that are so long, in `[from, to)` and perhaps one before.
    fn elapsed_turns(&self, from: i64, to: i64) -> impl Iterator<Item = i64> {
        let (first, length) = match self.turns {
            Turns::Elapsed { first, length } => (first, length),
            Turns::Dates { .. } => (to, DAY_US),
        };
        let passed = (from - first).div_euclid(length).max(0);
        (0..).map(move |turn| first + (passed + turn) * length).take_while(move |at| *at < to)
    }
}

fn weekday(day: i64) -> usize {
    usize::try_from((day - MONDAY).rem_euclid(7)).unwrap_or_default()
}

/// The first instant at which wall clocks show a time, or where they skip it a later one.
fn first_instant(zone: Tz, wall: i64) -> Option<i64> {
    let reached = spans(zone, wall - 3 * DAY_US).map(|span| (span, span.from.max(wall - span.offset)));
    reached.into_iter().find(|(span, at)| *at < span.to).map(|(_, at)| at)
}

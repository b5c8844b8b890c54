//! Who is on call at an instant, and when that changes.

use std::collections::BTreeSet;

use chrono::{MappedLocalTime, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, TimeZone};
use chrono_tz::{GapInfo, Tz};
use serde::Serialize;

use super::{Definition, Layer, Override, Turn, wall_time};
use crate::domain::Problem;
use crate::ids::{OverrideId, UserId};
use crate::time::Timestamp;

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
    start: NaiveDate,
    handoff: NaiveTime,
    turns: Turns,
}

#[derive(Clone, Copy, Debug)]
enum Turns {
    /// As many local dates each.
    Dates(i64),
    /// So long each, from the first hand-off on.
    Elapsed(Timestamp, TimeDelta),
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
        let zone = definition.tz.parse().ok();
        let layers = zone.and_then(|zone| {
            let rotation = |layer| Rotation::new(zone, layer);
            definition.layers.iter().map(rotation).collect::<Option<Vec<_>>>()
        });
        match (zone, layers) {
            (Some(zone), Some(layers)) if problems.is_empty() => {
                Ok(Self { zone, layers, overrides: definition.overrides.clone() })
            }
            _ => Err(problems),
        }
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
        let local = at.with_timezone(&self.zone).naive_local();
        let holder = |layer| {
            let Rotation { name, .. } = layer;
            layer.holder(at, local).map(|user| OnCall { user, because: Because::Layer(name) })
        };
        self.layers.iter().rev().find_map(holder)
    }

    /// Lists who is on call in `[from, to)`, one after the other and without holes; neighbours differ.
    #[must_use]
    pub fn shifts(&self, from: Timestamp, to: Timestamp) -> Vec<Shift> {
        let mut shifts: Vec<Shift> = Vec::new();
        for at in self.changes(from, to) {
            let user = self.on_call(at);
            match shifts.last_mut() {
                Some(last) if last.user == user => {}
                last => {
                    if let Some(last) = last {
                        last.to = at;
                    }
                    shifts.push(Shift { from: at, to, user });
                }
            }
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
        let local_date = |at: Timestamp| at.with_timezone(&self.zone).date_naive();
        let (mut date, last) = (local_date(from), local_date(to));
        while date <= last {
            for layer in &self.layers {
                for wall in layer.wall_times(date) {
                    changes.extend(instants(self.zone, wall));
                }
            }
            let Some(next) = date.succ_opt() else { break };
            date = next;
        }
        for layer in &self.layers {
            changes.extend(layer.elapsed_turns(from, to));
        }
        changes.extend(clock_changes(self.zone, from, to));
        changes.insert(from);
        changes.retain(|at| (from..to).contains(at));
        changes
    }
}

impl Rotation {
    fn new(zone: Tz, layer: &Layer) -> Option<Self> {
        let (start, handoff) = (layer.start, wall_time(&layer.handoff)?);
        let turns = match layer.turn {
            Turn::Daily => Turns::Dates(1),
            Turn::Weekly => Turns::Dates(7),
            Turn::Days(days) => Turns::Dates(days),
            Turn::Hours(hours) => {
                let first = instants(zone, start.and_time(handoff)).into_iter().next()?;
                Turns::Elapsed(first, TimeDelta::try_hours(hours)?)
            }
        };
        Some(Self { name: layer.name.clone(), users: layer.users.clone(), start, handoff, turns })
    }

    /// Whose turn it is at an instant with this local time.
    fn holder(&self, at: Timestamp, local: NaiveDateTime) -> Option<UserId> {
        let turn = match self.turns {
            // By the wall clock alone: where it shows a time twice, or not at all, this still says one thing.
            Turns::Dates(dates) => {
                let before_handoff = i64::from(local.time() < self.handoff);
                ((local.date() - self.start).num_days() - before_handoff).div_euclid(dates)
            }
            Turns::Elapsed(first, length) => (at - first).num_seconds().div_euclid(length.num_seconds()),
        };
        let turn = usize::try_from(turn).ok()?;
        self.users.get(turn % self.users.len()).copied()
    }

    /// The wall times of a date at which something may change.
    fn wall_times(&self, date: NaiveDate) -> Vec<NaiveDateTime> {
        match self.turns {
            Turns::Dates(_) => vec![date.and_time(self.handoff)],
            Turns::Elapsed(..) => Vec::new(),
        }
    }

    /// The beginnings of turns by elapsed time that are not long before `from` and before `to`.
    fn elapsed_turns(&self, from: Timestamp, to: Timestamp) -> impl Iterator<Item = Timestamp> {
        let (first, length) = match self.turns {
            Turns::Elapsed(first, length) => (first, length),
            Turns::Dates(_) => (to, TimeDelta::days(1)),
        };
        let passed = (from - first).num_seconds().div_euclid(length.num_seconds()).max(0);
        let begin = first + TimeDelta::seconds(passed * length.num_seconds());
        std::iter::successors(Some(begin), move |at| at.checked_add_signed(length))
            .take_while(move |at| *at < to)
    }
}

/// The instants at which the wall clocks of a zone show a time, earliest first; where they skip it, the instant at
/// which they do.
fn instants(zone: Tz, wall: NaiveDateTime) -> Vec<Timestamp> {
    match zone.from_local_datetime(&wall) {
        MappedLocalTime::Single(at) => vec![at.to_utc()],
        MappedLocalTime::Ambiguous(first, second) => vec![first.to_utc(), second.to_utc()],
        MappedLocalTime::None => {
            let gap = GapInfo::new(&wall, &zone).and_then(|gap| gap.end);
            gap.map(|end| end.to_utc()).into_iter().collect()
        }
    }
}

/// The instants in `[from, to)` at which the wall clocks of a zone are changed. (No zone changes them twice in a day.)
fn clock_changes(zone: Tz, from: Timestamp, to: Timestamp) -> Vec<Timestamp> {
    let offset = |at: Timestamp| at.with_timezone(&zone).naive_local() - at.naive_utc();
    let mut changes = Vec::new();
    // Whole seconds, as clocks change at them.
    let mut day = from - TimeDelta::nanoseconds(i64::from(from.timestamp_subsec_nanos()));
    while day < to {
        let (mut before, mut after) = (day, day + TimeDelta::days(1));
        if offset(before) != offset(after) {
            while (after - before).num_seconds() > 1 {
                let middle = before + TimeDelta::seconds((after - before).num_seconds() / 2);
                if offset(middle) == offset(before) { before = middle } else { after = middle }
            }
            changes.push(after);
        }
        day += TimeDelta::days(1);
    }
    changes
}

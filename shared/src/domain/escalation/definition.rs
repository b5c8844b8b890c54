//! An escalation policy as people write it, and when its steps come.

use chrono::TimeDelta;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::domain::definition::{Kind, Reference};
use crate::domain::role::Role;
use crate::domain::sla::Fraction;
use crate::domain::span;
use crate::ids::{DefinitionId, UserId};

/// An escalation policy's definition, as in the API and in the database.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Definition {
    /// What is done, in order: first the steps before the breach, then those after it.
    pub steps: Vec<Step>,
    /// How often the steps after the breach come again; none: once is all.
    #[serde(default)]
    pub repeat: Option<Repeat>,
}

/// What is done at one time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// When.
    pub when: When,
    /// Who is told.
    #[serde(default)]
    pub targets: Vec<Target>,
    /// What happens to the ticket.
    #[serde(default)]
    pub actions: Vec<Action>,
}

/// When a step comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum When {
    /// Before the breach, when this share of the target has been consumed: above 0 and below 1.
    Fraction(#[serde(serialize_with = "write_share", deserialize_with = "read_share")] Fraction),
    /// So long after the breach, by the wall clock.
    After(#[serde(with = "span::text")] TimeDelta),
}

fn write_share<S: Serializer>(share: &Fraction, to: S) -> Result<S::Ok, S::Error> {
    (f64::from(share.0) / 1e6).serialize(to)
}

fn read_share<'de, D: Deserializer<'de>>(from: D) -> Result<Fraction, D::Error> {
    let share = Fraction::of_number(f64::deserialize(from)?);
    share.ok_or_else(|| serde::de::Error::custom("a share must be above 0 and at most 1"))
}

/// Who is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Target {
    /// Who works on the ticket.
    Assignee,
    /// Who opened it.
    Reporter,
    /// Everybody in a team, and its address if it has one.
    Team {
        /// The team.
        id: DefinitionId,
    },
    /// Everybody with a role.
    Role {
        /// The role.
        role: Role,
    },
    /// Who is on call when the step comes.
    OnCall {
        /// The schedule.
        schedule_id: DefinitionId,
    },
    /// One person.
    User {
        /// The person.
        id: UserId,
    },
    /// A mail address.
    Address {
        /// The address.
        email: String,
    },
    /// A program that takes HTTP requests.
    Webhook {
        /// Where it listens.
        url: String,
        /// What requests are signed with.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        secret: Option<String>,
    },
}

/// What happens to the ticket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Action {
    /// It is given to somebody.
    Reassign(Assignee),
    /// It becomes one level more urgent, if there is one.
    RaisePriority,
    /// Its status becomes `escalated`, if it may.
    SetEscalated,
}

/// Whom a ticket is given to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Assignee {
    /// This person.
    UserId(UserId),
    /// Who is on call in this schedule when the step comes.
    ScheduleId(DefinitionId),
}

/// How often the steps after the breach come again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Repeat {
    /// As many rounds after the first.
    pub times: i64,
    /// From the beginning of a round to that of the next.
    #[serde(with = "span::text")]
    pub every: TimeDelta,
}

/// When a step after the breach comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// Its place in [`Definition::steps`].
    pub step_index: usize,
    /// How long after the breach, by the wall clock.
    pub offset_from_breach: TimeDelta,
}

impl Definition {
    /// Returns the step after the breach that follows when `done` of them have been taken, counted on through all
    /// repeats; `None` when that was the last.
    #[must_use]
    pub fn step(&self, done: i64) -> Option<Timing> {
        let steps: Vec<(usize, TimeDelta)> = self.delays().collect();
        let done = usize::try_from(done).ok()?;
        let (step_index, delay) = *steps.get(done.checked_rem(steps.len())?)?;
        let round = i32::try_from(done / steps.len()).ok()?;
        let (times, every) =
            self.repeat.map_or((0, TimeDelta::zero()), |repeat| (repeat.times, repeat.every));
        if i64::from(round) > times {
            return None;
        }
        Some(Timing { step_index, offset_from_breach: every.checked_mul(round)?.checked_add(&delay)? })
    }

    /// Lists the steps before the breach, by their places, with the shares of the target they come at.
    pub fn fraction_steps(&self) -> impl Iterator<Item = (usize, Fraction)> {
        self.steps.iter().enumerate().filter_map(|(i, step)| match step.when {
            When::Fraction(share) => Some((i, share)),
            When::After(_) => None,
        })
    }

    /// Lists the steps after the breach, by their places, with their delays.
    pub(super) fn delays(&self) -> impl Iterator<Item = (usize, TimeDelta)> {
        self.steps.iter().enumerate().filter_map(|(i, step)| match step.when {
            When::After(delay) => Some((i, delay)),
            When::Fraction(_) => None,
        })
    }

    /// Lists the schedules and teams it refers to, with the fields that do.
    pub fn references(&self) -> impl Iterator<Item = (String, Reference)> {
        self.steps.iter().enumerate().flat_map(|(i, step)| {
            let targets = step.targets.iter().enumerate().filter_map(move |(j, target)| {
                let (name, reference) = target.reference()?;
                Some((format!("steps[{i}].targets[{j}].{name}"), reference))
            });
            let actions = step.actions.iter().enumerate().filter_map(move |(j, action)| {
                let (name, reference) = action.reference()?;
                Some((format!("steps[{i}].actions[{j}].{name}"), reference))
            });
            targets.chain(actions)
        })
    }
}

impl Target {
    fn reference(&self) -> Option<(&'static str, Reference)> {
        match self {
            Self::Team { id } => Some(("id", Reference::Definition(Kind::Team, *id))),
            Self::OnCall { schedule_id } => {
                Some(("schedule_id", Reference::Definition(Kind::Schedule, *schedule_id)))
            }
            Self::User { id } => Some(("id", Reference::User(*id))),
            Self::Assignee
            | Self::Reporter
            | Self::Role { .. }
            | Self::Address { .. }
            | Self::Webhook { .. } => None,
        }
    }
}

impl Action {
    fn reference(&self) -> Option<(&'static str, Reference)> {
        match self {
            Self::Reassign(Assignee::UserId(id)) => Some(("user_id", Reference::User(*id))),
            Self::Reassign(Assignee::ScheduleId(id)) => {
                Some(("schedule_id", Reference::Definition(Kind::Schedule, *id)))
            }
            Self::RaisePriority | Self::SetEscalated => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(json: Value) -> Definition {
        serde_json::from_value(json).unwrap()
    }

    /// A policy of steps at these times, each telling the assignee.
    fn at(times: &[Value]) -> Value {
        let step = |when: &Value| json!({ "when": when, "targets": [{ "type": "assignee" }] });
        json!({ "steps": times.iter().map(step).collect::<Vec<_>>() })
    }

    #[test]
    fn a_policy_is_its_json() {
        let (user, team, schedule) = (UserId::new(), DefinitionId::new(), DefinitionId::new());
        let json = json!({
            "steps": [
                { "when": { "fraction": 0.75 }, "targets": [{ "type": "assignee" }, { "type": "reporter" }], "actions": [] },
                {
                    "when": { "after": "0s" },
                    "targets": [
                        { "type": "team", "id": team },
                        { "type": "role", "role": "team_lead" },
                        { "type": "on_call", "schedule_id": schedule },
                        { "type": "user", "id": user },
                        { "type": "address", "email": "boss@example.org" },
                        { "type": "webhook", "url": "https://example.org/hook", "secret": "s" },
                        { "type": "webhook", "url": "https://example.org/other" },
                    ],
                    "actions": [
                        { "type": "reassign", "user_id": user },
                        { "type": "raise_priority" },
                        { "type": "set_escalated" },
                    ],
                },
                { "when": { "after": "4h30m" }, "targets": [], "actions": [{ "type": "reassign", "schedule_id": schedule }] },
            ],
            "repeat": { "times": 3, "every": "5h" },
        });
        let policy = read(json.clone());
        assert_eq!(serde_json::to_value(&policy).unwrap(), json);
        assert_eq!(policy.problems(), []);
        let fields: Vec<_> = policy.references().map(|(field, _)| field).collect();
        assert_eq!(
            fields,
            [
                "steps[1].targets[0].id",
                "steps[1].targets[2].schedule_id",
                "steps[1].targets[3].id",
                "steps[1].actions[0].user_id",
                "steps[2].actions[0].schedule_id",
            ]
        );
    }

    #[test]
    fn steps_after_the_breach_come_again_and_those_before_it_do_not() {
        let mut json = at(&[json!({ "fraction": 0.5 }), json!({ "after": "0s" }), json!({ "after": "30m" })]);
        let once = read(json.clone());
        json["repeat"] = json!({ "times": 2, "every": "1h" });
        let policy = read(json);
        let timings = |policy: &Definition| -> Vec<(usize, i64)> {
            let steps = (0..).map_while(|done| policy.step(done));
            steps.map(|timing| (timing.step_index, timing.offset_from_breach.num_minutes())).collect()
        };
        assert_eq!(timings(&once), [(1, 0), (2, 30)]);
        assert_eq!(timings(&policy), [(1, 0), (2, 30), (1, 60), (2, 90), (1, 120), (2, 150)]);
        assert_eq!(policy.fraction_steps().collect::<Vec<_>>(), [(0, Fraction::percent(50))]);
        assert_eq!((policy.step(-1), policy.step(6), policy.step(i64::MAX)), (None, None, None));
        assert_eq!(read(at(&[json!({ "fraction": 0.5 })])).step(0), None);
    }
}

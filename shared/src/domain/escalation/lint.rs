//! What is doubtful about an escalation policy as things stand: it may be well-formed and still reach nobody.

use std::collections::{HashMap, HashSet};

use chrono::{SecondsFormat, TimeDelta};
use serde::Serialize;
use utoipa::ToSchema;

use super::definition::{Action, Assignee, Definition, Target};
use crate::domain::oncall::{self, Rota};
use crate::domain::role::Role;
use crate::domain::team;
use crate::ids::{DefinitionId, UserId};
use crate::time::Timestamp;

/// How far ahead to look for hours without anybody on call.
const AHEAD: TimeDelta = TimeDelta::days(30);

/// At most as many such stretches are spelled out.
const SPELLED_OUT: usize = 5;

crate::domain::text_enum! {
    /// How bad a finding is.
    Severity {
        /// It will not work.
        Error = "error",
        /// It may not work at some time.
        Warning = "warning",
    }
}

/// Something doubtful.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// Where, such as `steps[0].targets[1]`.
    pub field: String,
    /// What is doubtful, as one sentence or two.
    pub message: String,
}

/// What a policy refers to, as it is now. What is missing does not exist.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// Schedules.
    pub schedules: HashMap<DefinitionId, oncall::Definition>,
    /// Teams.
    pub teams: HashMap<DefinitionId, team::Definition>,
    /// People whose account is enabled, so that their address may be used.
    pub enabled: HashSet<UserId>,
    /// The roles that some of them have.
    pub roles: HashSet<Role>,
}

/// Lists what is doubtful about a policy that has no problems.
#[must_use]
pub fn lint(policy: &Definition, facts: &Facts, now: Timestamp) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut add = |field: &str, found: Vec<Doubt>| {
        let finding = |(severity, message)| Finding { severity, field: field.into(), message };
        findings.extend(found.into_iter().map(finding));
    };
    for (i, step) in policy.steps.iter().enumerate() {
        for (j, target) in step.targets.iter().enumerate() {
            add(&format!("steps[{i}].targets[{j}]"), facts.doubts_about(target, now));
        }
        for (j, action) in step.actions.iter().enumerate() {
            let doubts = match action {
                Action::Reassign(Assignee::UserId(id)) => facts.doubts_about_user(*id),
                Action::Reassign(Assignee::ScheduleId(id)) => facts.doubts_about_schedule(*id, now),
                Action::RaisePriority | Action::SetEscalated => Vec::new(),
            };
            add(&format!("steps[{i}].actions[{j}]"), doubts);
        }
    }
    if policy.step(0).is_none() {
        let why = "No step comes after the breach: whoever missed the steps before it hears no more.";
        add("steps", vec![(Severity::Warning, why.into())]);
    }
    findings
}

type Doubt = (Severity, String);

fn error(message: &str) -> Vec<Doubt> {
    vec![(Severity::Error, message.into())]
}

impl Facts {
    fn doubts_about(&self, target: &Target, now: Timestamp) -> Vec<Doubt> {
        match target {
            Target::Team { id } => self.doubts_about_team(*id),
            Target::Role { role } if !self.roles.contains(role) => {
                error("Nobody who can sign in has this role.")
            }
            Target::OnCall { schedule_id } => self.doubts_about_schedule(*schedule_id, now),
            Target::User { id } => self.doubts_about_user(*id),
            Target::Assignee
            | Target::Reporter
            | Target::Role { .. }
            | Target::Address { .. }
            | Target::Webhook { .. } => Vec::new(),
        }
    }

    fn doubts_about_user(&self, id: UserId) -> Vec<Doubt> {
        if self.enabled.contains(&id) { Vec::new() } else { error("The user is disabled or gone.") }
    }

    fn doubts_about_team(&self, id: DefinitionId) -> Vec<Doubt> {
        let Some(team) = self.teams.get(&id) else { return error("There is no such team.") };
        let disabled = team.members.iter().filter(|member| !self.enabled.contains(member)).count();
        if team.email.is_some() {
            // Its own address reaches somebody, whoever its members are.
            return Vec::new();
        }
        match (team.members.len(), disabled) {
            (0, _) => error("The team has neither members nor an address."),
            (members, disabled) if members == disabled => error("All members of the team are disabled."),
            (_, 0) => Vec::new(),
            (members, disabled) => {
                vec![(
                    Severity::Warning,
                    format!("Of the {members} members of the team {disabled} are disabled."),
                )]
            }
        }
    }

    fn doubts_about_schedule(&self, id: DefinitionId, now: Timestamp) -> Vec<Doubt> {
        let Some(schedule) = self.schedules.get(&id) else { return error("There is no such schedule.") };
        let Ok(rota) = Rota::new(schedule) else { return error("The schedule cannot be used.") };
        let shifts = rota.shifts(now, now + AHEAD);
        let gaps: Vec<_> =
            shifts.iter().filter(|shift| shift.user.is_none()).map(|s| (s.from, s.to)).collect();
        if gaps == [(now, now + AHEAD)] {
            return error("Nobody is on call in the next 30 days.");
        }
        let mut doubts = Vec::new();
        if !gaps.is_empty() {
            doubts.push((Severity::Warning, format!("Nobody is on call {}.", spell_out(&gaps))));
        }
        let out = |user: UserId| !self.enabled.contains(&user);
        let of_disabled = shifts.iter().filter(|shift| shift.user.is_some_and(out));
        let of_disabled: Vec<_> = of_disabled.map(|shift| (shift.from, shift.to)).collect();
        if !of_disabled.is_empty() {
            let when = spell_out(&of_disabled);
            doubts
                .push((Severity::Warning, format!("Somebody whose account is disabled is on call {when}.")));
        }
        doubts
    }
}

fn spell_out(stretches: &[(Timestamp, Timestamp)]) -> String {
    let time = |at: Timestamp| at.to_rfc3339_opts(SecondsFormat::Secs, true);
    let one = |(from, to): &(Timestamp, Timestamp)| format!("from {} to {}", time(*from), time(*to));
    let mut texts: Vec<String> = stretches.iter().take(SPELLED_OUT).map(one).collect();
    if let Some(more) = stretches.len().checked_sub(SPELLED_OUT).filter(|more| *more > 0) {
        texts.push(format!("and {more} more times in the next 30 days"));
    }
    texts.join(", ")
}

#[cfg(test)]
mod tests {
    use chrono::NaiveDate;
    use serde_json::{Value, json};

    use super::*;
    use crate::domain::oncall::{Layer, Turn};

    fn now() -> Timestamp {
        "2026-03-02T08:00:00Z".parse().unwrap()
    }

    fn found(step: &Value, facts: &Facts) -> Vec<(Severity, String, String)> {
        let policy = serde_json::from_value(json!({ "steps": [step] })).unwrap();
        lint(&policy, facts, now()).into_iter().map(|f| (f.severity, f.field, f.message)).collect()
    }

    fn about(target: &Value, facts: &Facts) -> Vec<(Severity, String)> {
        let found = found(&json!({ "when": { "after": "0s" }, "targets": [target] }), facts);
        assert!(found.iter().all(|(_, field, _)| field == "steps[0].targets[0]"), "{found:?}");
        found.into_iter().map(|(severity, _, message)| (severity, message)).collect()
    }

    #[test]
    fn a_target_that_reaches_somebody_is_not_doubtful() {
        let user = UserId::new();
        let facts = Facts { enabled: [user].into(), roles: [Role::TeamLead].into(), ..Facts::default() };
        for target in [
            json!({ "type": "assignee" }),
            json!({ "type": "user", "id": user }),
            json!({ "type": "role", "role": "team_lead" }),
            json!({ "type": "address", "email": "a@example.org" }),
        ] {
            assert_eq!(about(&target, &facts), []);
        }
    }

    #[test]
    fn a_target_that_reaches_nobody_is_an_error() {
        let (empty, gone) = (DefinitionId::new(), DefinitionId::new());
        let facts = Facts { teams: [(empty, team::Definition::default())].into(), ..Facts::default() };
        for target in [
            json!({ "type": "user", "id": UserId::new() }),
            json!({ "type": "role", "role": "manager" }),
            json!({ "type": "team", "id": gone }),
            json!({ "type": "team", "id": empty }),
            json!({ "type": "on_call", "schedule_id": gone }),
        ] {
            let doubts = about(&target, &facts);
            assert!(matches!(doubts[..], [(Severity::Error, _)]), "{target} {doubts:?}");
        }
        let step =
            json!({ "when": { "after": "0s" }, "actions": [{ "type": "reassign", "schedule_id": gone }] });
        assert_eq!(found(&step, &facts)[0].1, "steps[0].actions[0]");
    }

    #[test]
    fn a_team_with_disabled_members_is_doubtful_unless_it_has_an_address() {
        let (id, well) = (DefinitionId::new(), UserId::new());
        let mut team = team::Definition { members: vec![well, UserId::new()], email: None };
        let mut facts = Facts { enabled: [well].into(), ..Facts::default() };
        facts.teams.insert(id, team.clone());
        let target = json!({ "type": "team", "id": id });
        let message = "Of the 2 members of the team 1 are disabled.".to_owned();
        assert_eq!(about(&target, &facts), [(Severity::Warning, message)]);
        team.email = Some("ops@example.org".into());
        facts.teams.insert(id, team);
        assert_eq!(about(&target, &facts), []);
    }

    #[test]
    fn hours_without_anybody_on_call_are_spelled_out() {
        let (id, user) = (DefinitionId::new(), UserId::new());
        let days = ["mon", "tue", "wed", "thu", "fri"];
        let mut layer = Layer {
            name: "office".into(),
            users: vec![user],
            start: NaiveDate::from_ymd_opt(2026, 1, 5).unwrap(),
            handoff: "09:00".into(),
            turn: Turn::Weekly,
            hours: Some(days.map(|day| (day.into(), vec!["00:00-24:00".into()])).into()),
        };
        let mut facts = Facts { enabled: [user].into(), ..Facts::default() };
        let mut with = |layer: &Layer, enabled: &[UserId]| {
            let (layers, overrides) = (vec![layer.clone()], Vec::new());
            facts.schedules.insert(id, oncall::Definition { tz: "Europe/Berlin".into(), layers, overrides });
            facts.enabled = enabled.iter().copied().collect();
            about(&json!({ "type": "on_call", "schedule_id": id }), &facts)
        };
        let doubts = with(&layer, &[user]);
        assert_eq!(doubts[0].0, Severity::Warning);
        let start = "Nobody is on call from 2026-03-06T23:00:00Z to 2026-03-08T23:00:00Z, from ";
        assert!(doubts[0].1.starts_with(start) && doubts.len() == 1, "{doubts:?}");
        layer.hours = Some([].into());
        assert_eq!(
            with(&layer, &[user]),
            [(Severity::Error, "Nobody is on call in the next 30 days.".into())]
        );
        layer.hours = None;
        assert_eq!(with(&layer, &[user]), []);
        let doubts = with(&layer, &[]);
        assert!(
            doubts[0].1.starts_with("Somebody whose account is disabled is on call from 2026-03-02"),
            "{doubts:?}"
        );
    }

    #[test]
    fn a_policy_that_falls_silent_at_the_breach_is_doubtful() {
        let step = json!({ "when": { "fraction": 0.5 }, "targets": [{ "type": "assignee" }] });
        let found = found(&step, &Facts::default());
        assert!(matches!(&found[..], [(Severity::Warning, field, _)] if field == "steps"), "{found:?}");
    }
}

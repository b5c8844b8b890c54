//! Escalation policies.

use serde_json::Value;
use shared::domain::definition::{Kind, Reference};
use shared::domain::escalation::{
    Action, Assignee, Definition, Facts, Finding, Repeat, Step, Target, When, lint,
};
use shared::domain::sla::Fraction;
use shared::domain::{Problem, oncall, span};
use shared::ids::DefinitionId;
use shared::store::{Tx, definitions, users};
use shared::time::Timestamp;

use super::{Defined, ids, stored};
use crate::error::ApiError;
use crate::form::Form;

/// What is shown of a webhook's secret. A body that has it at the same URL keeps the secret.
const MASK: &str = "********";

impl Defined for Definition {
    const KIND: Kind = Kind::EscalationPolicy;

    fn read(form: &mut Form, before: Option<Self>) -> Self {
        let secrets = before.as_ref().map(secrets).unwrap_or_default();
        let (steps, repeat) = before.map(|old| (old.steps, old.repeat)).unzip();
        let steps = form.kept("steps", steps, |f, at| {
            f.items(at, |f, at| f.nested(at, |step| read_step(step, &secrets)))
        });
        let repeat = form.changed("repeat", repeat.flatten(), |f, at| f.nested(at, read_repeat));
        Self { steps: steps.unwrap_or_default(), repeat }
    }

    fn problems(&self) -> Vec<Problem> {
        self.problems()
    }

    fn references(&self) -> Vec<(String, Reference)> {
        self.references().collect()
    }

    fn mask(body: &mut Value) {
        let lists = body["steps"].as_array_mut().into_iter().flatten();
        let targets = lists.filter_map(|step| step["targets"].as_array_mut()).flatten();
        for secret in targets.filter_map(|target| target.get_mut("secret")) {
            *secret = MASK.into();
        }
    }

    async fn findings(
        &self,
        tx: &mut Tx,
        _: DefinitionId,
        now: Timestamp,
    ) -> Result<Option<Vec<Finding>>, ApiError> {
        Ok(Some(find_doubts(tx, self, now).await?))
    }
}

/// Finds out what is doubtful about a policy as things stand.
pub(crate) async fn find_doubts(
    tx: &mut Tx,
    policy: &Definition,
    now: Timestamp,
) -> Result<Vec<Finding>, ApiError> {
    let references: Vec<_> = policy.references().collect();
    let mut facts = Facts { roles: users::roles(&mut *tx).await?.into_iter().collect(), ..Facts::default() };
    for found in definitions::of_ids(&mut *tx, Kind::Team, &ids(&references, Kind::Team)).await? {
        facts.teams.insert(found.id, stored(found.body.0)?);
    }
    for found in definitions::of_ids(&mut *tx, Kind::Schedule, &ids(&references, Kind::Schedule)).await? {
        facts.schedules.insert(found.id, stored(found.body.0)?);
    }
    let of_teams = facts.teams.values().flat_map(|team| team.members.iter().copied());
    let of_schedules = facts.schedules.values().flat_map(oncall::Definition::references);
    let named = references.into_iter().chain(of_schedules).filter_map(|(_, reference)| match reference {
        Reference::User(id) => Some(id),
        Reference::Definition(..) => None,
    });
    let mut people: Vec<_> = of_teams.chain(named).collect();
    people.sort_unstable();
    people.dedup();
    let found = users::of_ids(&mut *tx, &people).await?;
    facts.enabled = found.iter().filter(|user| user.disabled_at.is_none()).map(|user| user.id).collect();
    Ok(lint(policy, &facts, now))
}

/// The secrets of a policy's webhooks, by URL.
fn secrets(policy: &Definition) -> Vec<(String, String)> {
    let targets = policy.steps.iter().flat_map(|step| &step.targets);
    let known = targets.filter_map(|target| match target {
        Target::Webhook { url, secret: Some(secret) } => Some((url.clone(), secret.clone())),
        _ => None,
    });
    known.collect()
}

fn read_step(form: &mut Form, secrets: &[(String, String)]) -> Option<Step> {
    let when = form.required("when", |f, at| f.nested(at, read_when));
    let targets = form.changed("targets", None, |f, at| {
        f.items(at, |f, at| f.nested(at, |target| read_target(target, secrets)))
    });
    let actions = form.changed("actions", None, |f, at| f.items(at, |f, at| f.nested(at, read_action)));
    Some(Step { when: when?, targets: targets.unwrap_or_default(), actions: actions.unwrap_or_default() })
}

fn read_when(form: &mut Form) -> Option<When> {
    let share = form.decimal("fraction").flatten();
    let delay = form.line("after", 30).flatten();
    match (share, delay) {
        (Some(share), None) => {
            let fraction = Fraction::of_number(share);
            if fraction.is_none() {
                form.complain("invalid", "fraction", "Must be a share of the target above 0 and below 1.");
            }
            fraction.map(When::Fraction)
        }
        (None, Some(text)) => length(form, "after", &text).map(When::After),
        (Some(_), Some(_)) => {
            form.complain("invalid", "after", "Give either fraction or after.");
            None
        }
        (None, None) => {
            form.complain_unless_known("required", "after", "Give either fraction or after.");
            None
        }
    }
}

fn length(form: &mut Form, field: &str, text: &str) -> Option<chrono::TimeDelta> {
    let length = span::parse(text);
    if length.is_none() {
        form.complain("invalid", field, format!("Must be {}.", span::EXPECTED));
    }
    length
}

fn read_target(form: &mut Form, secrets: &[(String, String)]) -> Option<Target> {
    let kind = form.required("type", |f, at| f.line(at, 20))?;
    match kind.as_str() {
        "assignee" => Some(Target::Assignee),
        "reporter" => Some(Target::Reporter),
        "team" => form.required("id", |f, at| f.parse(at, "the id of a team")).map(|id| Target::Team { id }),
        "role" => form.required("role", Form::word).map(|role| Target::Role { role }),
        "on_call" => form
            .required("schedule_id", |f, at| f.parse(at, "the id of a schedule"))
            .map(|schedule_id| Target::OnCall { schedule_id }),
        "user" => form.required("id", |f, at| f.parse(at, "the id of a user")).map(|id| Target::User { id }),
        "address" => form.required("email", Form::address).map(|email| Target::Address { email }),
        "webhook" => {
            let url = form.required("url", |f, at| f.line(at, 2_000));
            let secret = form.line("secret", 255).flatten();
            let url = url?;
            let kept = secrets.iter().find(|(known, _)| *known == url && secret.as_deref() == Some(MASK));
            let secret = kept.map(|(_, secret)| secret.clone()).or(secret);
            if secret.as_deref() == Some(MASK) {
                form.complain("invalid", "secret", "No secret is known for this URL; give one.");
            }
            Some(Target::Webhook { url, secret })
        }
        _ => {
            let known = "Must be assignee, reporter, team, role, on_call, user, address or webhook.";
            form.complain("unknown_value", "type", known);
            form.ignore_rest();
            None
        }
    }
}

fn read_action(form: &mut Form) -> Option<Action> {
    let kind = form.required("type", |f, at| f.line(at, 20))?;
    match kind.as_str() {
        "raise_priority" => Some(Action::RaisePriority),
        "set_escalated" => Some(Action::SetEscalated),
        "reassign" => {
            let user = form.parse("user_id", "the id of a user").flatten();
            let schedule = form.parse("schedule_id", "the id of a schedule").flatten();
            match (user, schedule) {
                (Some(user), None) => Some(Action::Reassign(Assignee::UserId(user))),
                (None, Some(schedule)) => Some(Action::Reassign(Assignee::ScheduleId(schedule))),
                (Some(_), Some(_)) => {
                    form.complain("invalid", "schedule_id", "Give either user_id or schedule_id.");
                    None
                }
                (None, None) => {
                    form.complain_unless_known("required", "user_id", "Give either user_id or schedule_id.");
                    None
                }
            }
        }
        _ => {
            form.complain("unknown_value", "type", "Must be reassign, raise_priority or set_escalated.");
            form.ignore_rest();
            None
        }
    }
}

fn read_repeat(form: &mut Form) -> Option<Repeat> {
    // Every number is read, so that the rules can say which are possible.
    let times = form.required("times", |f, at| f.number(at, i64::MIN..=i64::MAX).map(Some));
    let every = form.required("every", |f, at| f.line(at, 30));
    let every = every.and_then(|text| length(form, "every", &text));
    Some(Repeat { times: times?, every: every? })
}

//! Whom a cause concerns, as things are now.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::json;
use shared::domain::cause::Cause;
use shared::domain::definition::Kind;
use shared::domain::escalation::{Action, Assignee, Definition, Target};
use shared::domain::job::ErrorClass;
use shared::domain::oncall::{self, Rota};
use shared::domain::team;
use shared::domain::ticket::{Priority, Status};
use shared::ids::{DefinitionId, UserId, VersionId};
use shared::metrics::STEPS_WITHOUT_RECIPIENT;
use shared::store::comments::{self, Comment};
use shared::store::desk::{self, Actor};
use shared::store::notifications::Recipient;
use shared::store::tickets::Ticket;
use shared::store::{Tx, definitions, escalations, rulebook, users, versions};

use crate::context::{Context, JobError};

/// A step of an escalation policy.
pub(super) struct Step {
    version: VersionId,
    policy: Arc<Definition>,
    /// Its place in the policy.
    place: usize,
}

impl Step {
    /// The step that a cause stands for; none where the built-in policy, or none, applies.
    pub(super) async fn of(tx: &mut Tx, cause: &Cause) -> Result<Option<Self>, JobError> {
        let (version, place) = match cause {
            Cause::EarlyStep { policy, step, .. } => (Some(*policy), Place::Before(*step)),
            Cause::EscalationStep { escalation, step, .. } => {
                let escalation = escalations::get(&mut *tx, *escalation).await?;
                (escalation.and_then(|escalation| escalation.policy_version_id), Place::After(*step))
            }
            _ => return Ok(None),
        };
        let Some(version) = version else { return Ok(None) };
        let policy = versions::escalation_policies(tx, [version]).await?.get(version)?;
        let place = match place {
            Place::Before(step) => usize::try_from(step - 1).ok(),
            Place::After(step) => policy.step(step - 1).map(|timing| timing.step_index),
        };
        Ok(place.filter(|place| *place < policy.steps.len()).map(|place| Self { version, policy, place }))
    }

    /// Does to the ticket what the step says, and returns the ticket as it is then.
    pub(super) async fn act(
        &self,
        cx: &Context,
        tx: &mut Tx,
        mut ticket: Ticket,
    ) -> Result<Ticket, JobError> {
        let (desk, rules) = (&cx.worker.process.desk, Actor::default());
        for action in &self.policy.steps[self.place].actions {
            ticket = match action {
                Action::Reassign(to) => {
                    let to = match to {
                        Assignee::UserId(user) => Some(*user),
                        Assignee::ScheduleId(schedule) => on_call(cx, tx, *schedule).await?,
                    };
                    let Some(to) = to else { continue };
                    desk.edit(tx, ticket.id, None, &rules, |ticket| ticket.assignee_id = Some(to)).await
                }
                Action::RaisePriority => {
                    let raised = raised(ticket.priority);
                    desk.edit(tx, ticket.id, None, &rules, |ticket| ticket.priority = raised).await
                }
                Action::SetEscalated if ticket.status.next().contains(&Status::Escalated) => {
                    desk.move_to(tx, ticket.id, None, &rules, Status::Escalated).await
                }
                Action::SetEscalated => continue,
            }
            .map_err(|error| match error {
                desk::Error::Store(error) => JobError::from(error),
                other => JobError::dead(other.to_string()),
            })?;
        }
        Ok(ticket)
    }

    /// Everybody the step tells.
    async fn tells(
        &self,
        cx: &Context,
        tx: &mut Tx,
        ticket: &Ticket,
        to: &mut Found,
    ) -> Result<(), JobError> {
        for (i, target) in self.policy.steps[self.place].targets.iter().enumerate() {
            match target {
                Target::Assignee => to.person(tx, ticket.assignee_id).await?,
                Target::Reporter => to.person(tx, Some(ticket.reporter_id)).await?,
                Target::User { id } => to.person(tx, Some(*id)).await?,
                Target::OnCall { schedule_id } => {
                    let user = on_call(cx, tx, *schedule_id).await?;
                    to.person(tx, user).await?;
                }
                Target::Team { id } => to.team(tx, *id).await?,
                Target::Role { role } => {
                    for user in users::with_role(&mut *tx, *role).await? {
                        to.address(&user.email);
                    }
                }
                Target::Address { email } => to.address(email),
                Target::Webhook { url, .. } => {
                    let origin = json!({ "policy": self.version, "step": self.place, "target": i });
                    to.0.insert((1, url.clone()), Recipient::webhook(url, Some(origin)));
                }
            }
        }
        Ok(())
    }
}

enum Place {
    Before(i64),
    After(i64),
}

/// Recipients, each once, in one order.
#[derive(Default)]
struct Found(BTreeMap<(u8, String), Recipient>);

impl Found {
    fn address(&mut self, address: &str) {
        let address = address.to_lowercase();
        self.0.insert((0, address.clone()), Recipient::mail(address));
    }

    async fn person(&mut self, tx: &mut Tx, id: Option<UserId>) -> Result<(), JobError> {
        let Some(id) = id else { return Ok(()) };
        if let Some(user) = users::get(tx, id).await?.filter(|user| user.disabled_at.is_none()) {
            self.address(&user.email);
        }
        Ok(())
    }

    /// Whoever a comment is for: the reporter, unless it is by them or among staff, and then the assignee.
    async fn other_side(&mut self, tx: &mut Tx, ticket: &Ticket, comment: &Comment) -> Result<(), JobError> {
        let by_reporter = comment.author_id == Some(ticket.reporter_id);
        if !comment.internal && !by_reporter {
            return self.person(tx, Some(ticket.reporter_id)).await;
        }
        let to = ticket.assignee_id.filter(|assignee| comment.author_id != Some(*assignee));
        let Some(to) = to else { return Ok(()) };
        let user = users::get(&mut *tx, to).await?;
        match user {
            Some(user) if comment.internal && !user.role.is_staff() => Ok(()),
            _ => self.person(tx, Some(to)).await,
        }
    }

    async fn team(&mut self, tx: &mut Tx, id: DefinitionId) -> Result<(), JobError> {
        let Some(team) = definitions::get(&mut *tx, Kind::Team, id).await? else { return Ok(()) };
        let team: team::Definition = read(team)?;
        for member in team.members {
            self.person(tx, Some(member)).await?;
        }
        if let Some(address) = &team.email {
            self.address(address);
        }
        Ok(())
    }
}

/// Those concerned: by a step of a policy whom it names; else the assignee always, the reporter but for escalation
/// steps, and `ONCALL_EMAIL` of everything about a service level whose policy does not say who is called. A step that
/// reaches nobody goes to `ONCALL_EMAIL` rather than to nobody.
pub(super) async fn concerned(
    cx: &Context,
    tx: &mut Tx,
    cause: &Cause,
    ticket: &Ticket,
    step: Option<&Step>,
) -> Result<Vec<Recipient>, JobError> {
    let mut found = Found::default();
    let oncall = cx.worker.process.config.oncall_email.as_deref();
    if let Some(step) = step {
        step.tells(cx, tx, ticket, &mut found).await?;
        let names_somebody = !step.policy.steps[step.place].targets.is_empty();
        if found.0.is_empty() && names_somebody {
            tracing::warn!(
                ticket.key = ticket.key(),
                step = step.place + 1,
                "a step of an escalation policy reaches nobody"
            );
            STEPS_WITHOUT_RECIPIENT.increment(1);
            found.0.extend(
                oncall.map(|address| ((0, address.to_lowercase()), Recipient::mail(address.to_lowercase()))),
            );
        }
        return Ok(found.0.into_values().collect());
    }
    if let Cause::Commented { comment, .. } = cause {
        if let Some(comment) = comments::get(&mut *tx, *comment).await? {
            found.other_side(tx, ticket, &comment.comment).await?;
        }
        return Ok(found.0.into_values().collect());
    }
    let (reporter, about_a_clock) = match cause {
        Cause::Created { .. } | Cause::Resolved { .. } | Cause::Commented { .. } => {
            (Some(ticket.reporter_id), false)
        }
        Cause::Warning { .. } | Cause::Breached { .. } => (Some(ticket.reporter_id), true),
        Cause::EarlyStep { .. } | Cause::EscalationStep { .. } => (None, true),
    };
    found.person(tx, ticket.assignee_id).await?;
    found.person(tx, reporter).await?;
    if let Some(address) = oncall.filter(|_| about_a_clock)
        && !policy_calls(cx, tx, ticket).await?
    {
        found.address(address);
    }
    Ok(found.0.into_values().collect())
}

/// Tells whether the ticket's policy says who is called.
async fn policy_calls(cx: &Context, tx: &mut Tx, ticket: &Ticket) -> Result<bool, JobError> {
    if ticket.sla_policy_version_id.is_none() {
        return Ok(false);
    }
    let desk = &cx.worker.process.desk;
    let book = desk.book.open(&mut *tx, &desk.rules).await?;
    Ok(rulebook::by_version(tx, &book, ticket.sla_policy_version_id).await?.calls.is_some())
}

/// Who is on call now.
async fn on_call(cx: &Context, tx: &mut Tx, schedule: DefinitionId) -> Result<Option<UserId>, JobError> {
    let Some(schedule) = definitions::get(tx, Kind::Schedule, schedule).await? else { return Ok(None) };
    let schedule: oncall::Definition = read(schedule)?;
    Ok(Rota::new(&schedule).ok().and_then(|rota| rota.on_call(cx.now())))
}

fn read<T: serde::de::DeserializeOwned>(definition: definitions::Definition) -> Result<T, JobError> {
    let name = definition.name;
    serde_json::from_value(definition.body.0).map_err(|error| {
        JobError::retry(
            ErrorClass::Other,
            format!("the {} {name} cannot be read: {error}", definition.kind.noun()),
        )
    })
}

const fn raised(priority: Priority) -> Priority {
    match priority {
        Priority::Critical | Priority::High => Priority::Critical,
        Priority::Medium => Priority::High,
        Priority::Low => Priority::Medium,
    }
}

//! The service desk: everything that happens to a ticket, each within one transaction of the caller's.
//!
//! Rows are locked in one order, ticket before clocks before escalation, and the time is read under the lock, so
//! the events of a clock are stored in the order in which they happened.

mod audit;
mod clocks;
mod escalation;
mod fields;
mod replan;

use std::sync::Arc;

use super::db::Tx;
use super::rulebook::{self, Book};
use super::tickets::{self, Ticket};
use super::{clocks as sla_clocks, escalations, jobs};
use crate::domain::Rules;
use crate::domain::cause::Cause;
use crate::domain::escalation::StopReason;
use crate::domain::job::Notify;
use crate::domain::rulebook::{InForce, Rulebook};
use crate::domain::sla::{Command, Metric};
use crate::domain::ticket::{Category, Priority, REOPEN_WINDOW, Status, clock_events};
use crate::ids::{DefinitionId, TicketId, UserId};
use crate::time::{Clock, Timestamp};

pub use audit::{Audit, Mismatch};
pub use escalation::Swept;
pub use replan::{Move, Preview};

/// The rules in force and the clock they are applied by.
#[derive(Clone, Debug)]
pub struct Desk {
    /// Tells the time.
    pub clock: Clock,
    /// What is promised, and who is called, where nothing else is defined.
    pub rules: Rules,
    /// What is defined.
    pub book: Book,
}

/// Who does something.
#[derive(Clone, Debug, Default)]
pub struct Actor {
    /// The user; nobody, when rules do it.
    pub id: Option<UserId>,
    /// Whether an answer by them is a response.
    pub staff: bool,
    /// Where the request came from.
    pub ip: Option<String>,
}

/// A ticket to open.
#[derive(Clone, Debug)]
pub struct Draft {
    /// One line, 1-255 characters.
    pub title: String,
    /// Any text.
    pub description: String,
    /// How urgent it is.
    pub priority: Priority,
    /// What kind of request it is.
    pub category: Category,
    /// Where it happened.
    pub environment: Option<String>,
    /// What it happened to.
    pub affected_service: Option<String>,
    /// Name of whom to ask.
    pub contact_name: Option<String>,
    /// Address of whom to ask.
    pub contact_email: Option<String>,
    /// Who works on it.
    pub assignee_id: Option<UserId>,
    /// The team it is given to.
    pub team_id: Option<DefinitionId>,
    /// Labels, without repetition.
    pub labels: Vec<String>,
    /// Whose request it is.
    pub reporter_id: UserId,
    /// Who opens it.
    pub actor: Actor,
    /// Trace context of the request.
    pub traceparent: Option<String>,
}

/// Why something was not done.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no such ticket or clock.
    #[error("there is no such {0}")]
    NotFound(&'static str),
    /// The caller has seen an older version.
    #[error("the ticket is at version {current} by now: read it again and repeat the change")]
    Stale {
        /// The version now.
        current: i64,
    },
    /// The workflow does not lead there.
    #[error("a ticket that is {from} cannot become {to}; it can become: {}", list(.from.next()))]
    Transition {
        /// Where it stands.
        from: Status,
        /// Where it should go.
        to: Status,
    },
    /// It was closed too long ago.
    #[error("the ticket was closed more than {} days ago and cannot be reopened: open a new one", REOPEN_WINDOW.num_days())]
    ReopenWindow,
    /// The clock has ended.
    #[error("the clock is {0} and can be neither paused nor resumed")]
    Ended(&'static str),
    /// The clock waits for the ticket.
    #[error("the clock is paused because the ticket is {0}: move the ticket to resume it")]
    HeldByStatus(Status),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] super::Error),
}

/// The result of a desk call.
pub type Result<T> = std::result::Result<T, Error>;

fn list(statuses: &[Status]) -> String {
    statuses.iter().map(|status| status.as_str()).collect::<Vec<_>>().join(", ")
}

impl Desk {
    /// A desk over the given clock, with built-in rules.
    #[must_use]
    pub fn new(clock: Clock, rules: Rules) -> Self {
        Self { clock, rules, book: Book::default() }
    }

    /// The rules in force now.
    pub async fn rulebook(&self, tx: &mut Tx) -> Result<Arc<Rulebook>> {
        Ok(self.book.open(tx, &self.rules).await?)
    }

    /// The policy that a ticket came under.
    async fn policy_of(&self, tx: &mut Tx, ticket: &Ticket) -> Result<Arc<InForce>> {
        let book = self.rulebook(tx).await?;
        Ok(rulebook::by_version(tx, &book, ticket.sla_policy_version_id).await?)
    }

    /// Opens tickets with their clocks, history and announcement, all in a few statements.
    pub async fn open(&self, tx: &mut Tx, drafts: Vec<Draft>) -> Result<Vec<Ticket>> {
        let book = self.rulebook(tx).await?;
        let now = self.clock.now();
        let (mut opened, mut labels, mut history, mut started, mut announced) =
            (Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for mut draft in drafts {
            let actor = draft.actor.clone();
            let draft_labels = std::mem::take(&mut draft.labels);
            let mut ticket = fields::new_ticket(draft, now);
            let policy = book.policy_for(&ticket.facts(&draft_labels));
            ticket.sla_policy_version_id = policy.version;
            labels.extend(draft_labels.into_iter().map(|label| (ticket.id, label)));
            history.push(fields::change(&ticket, "status", None, Some(Status::New.as_str().into()), &actor));
            for metric in [Metric::FirstResponse, Metric::Resolution] {
                started.extend(clocks::start(policy, &ticket, metric, &actor, now));
            }
            let notify = Notify { cause: Cause::Created { ticket: ticket.id } };
            announced.push(jobs::NewJob::of(&notify).traced(ticket.traceparent.clone()));
            opened.push(ticket);
        }
        tickets::insert(tx, &mut opened).await?;
        tickets::label(tx, labels).await?;
        tickets::remember(tx, &history).await?;
        sla_clocks::insert(tx, &started).await?;
        jobs::enqueue(tx, announced, now).await?;
        Ok(opened)
    }

    /// Changes a ticket's fields. Where they bring it under another policy, or to another target of the same one,
    /// its clocks are retargeted in that policy's mode.
    pub async fn edit(
        &self,
        tx: &mut Tx,
        id: TicketId,
        expected: Option<i64>,
        actor: &Actor,
        edit: impl FnOnce(&mut Ticket),
    ) -> Result<Ticket> {
        let before = locked(tx, id, expected).await?;
        let now = self.clock.now().max(before.updated_at);
        let mut ticket = before.clone();
        edit(&mut ticket);
        let labels = tickets::labels(&mut *tx, id).await?;
        if ticket.facts(&labels) != before.facts(&labels) {
            self.bring_under_its_policy(tx, &mut ticket, &labels, actor, now).await?;
        }
        self.store(tx, &before, ticket, actor, now).await
    }

    /// Moves a ticket to another status, with all that this does to its clocks, escalation and people.
    pub async fn move_to(
        &self,
        tx: &mut Tx,
        id: TicketId,
        expected: Option<i64>,
        actor: &Actor,
        to: Status,
    ) -> Result<Ticket> {
        let before = locked(tx, id, expected).await?;
        let now = self.clock.now().max(before.updated_at);
        let from = before.status;
        if !from.next().contains(&to) {
            return Err(Error::Transition { from, to });
        }
        if from == Status::Closed && before.closed_at.is_some_and(|at| now - at > REOPEN_WINDOW) {
            return Err(Error::ReopenWindow);
        }
        let mut ticket = before.clone();
        ticket.status = to;
        match to {
            Status::InProgress if actor.staff => ticket.responded_at = ticket.responded_at.or(Some(now)),
            Status::Resolved => ticket.resolved_at = Some(now),
            Status::Closed => ticket.closed_at = Some(now),
            Status::Reopened => {
                (ticket.resolved_at, ticket.closed_at) = (None, None);
                (ticket.acknowledged_at, ticket.acknowledged_by) = (None, None);
            }
            _ => {}
        }
        let policy = self.policy_of(tx, &before).await?;
        let pauses = &policy.policy.pause_statuses;
        let by_status = |stored: &sla_clocks::Stored| {
            let events = clock_events(stored.metric, from, to, pauses, actor.staff);
            let mut commands: Vec<Command> = events.into_iter().map(Command::from).collect();
            if to == Status::Reopened {
                // The priority may have changed while the clock was stopped.
                commands.extend(clocks::retarget(&policy, ticket.priority, stored, false));
            }
            commands
        };
        self.tell_clocks(tx, &ticket, actor, now, by_status).await?;
        let ticket = self.store(tx, &before, ticket, actor, now).await?;
        if to == Status::Resolved {
            escalations::stop(tx, id, StopReason::Resolved, now).await?;
            let notify = Notify { cause: Cause::Resolved { ticket: id, version: ticket.version } };
            jobs::enqueue(tx, vec![jobs::NewJob::of(&notify)], now).await?;
        } else if pauses.contains(&to) {
            escalations::stop(tx, id, StopReason::Paused, now).await?;
        } else if pauses.contains(&from) || to == Status::Reopened {
            self.escalate_again(tx, id, now).await?;
        }
        Ok(ticket)
    }

    /// Takes a ticket on: stops its escalation. Acknowledging twice changes nothing; the first stays on record.
    pub async fn acknowledge(
        &self,
        tx: &mut Tx,
        id: TicketId,
        expected: Option<i64>,
        actor: &Actor,
    ) -> Result<Ticket> {
        let before = locked(tx, id, expected).await?;
        if before.acknowledged_at.is_some() {
            return Ok(before);
        }
        let now = self.clock.now().max(before.updated_at);
        let mut ticket = before.clone();
        (ticket.acknowledged_at, ticket.acknowledged_by) = (Some(now), actor.id);
        // Waits for a sweep that is just opening the escalation, and keeps others out until this is committed.
        sla_clocks::lock_of_ticket(tx, id).await?;
        escalations::stop(tx, id, StopReason::Acknowledged, now).await?;
        self.store(tx, &before, ticket, actor, now).await
    }

    async fn store(
        &self,
        tx: &mut Tx,
        before: &Ticket,
        mut ticket: Ticket,
        actor: &Actor,
        now: Timestamp,
    ) -> Result<Ticket> {
        if *before == ticket {
            return Ok(ticket);
        }
        let mut changes = fields::differences(before, &ticket, actor);
        ticket.updated_at = now;
        if !tickets::update(tx, &mut ticket).await? {
            return Err(Error::Stale { current: before.version });
        }
        for change in &mut changes {
            (change.version, change.at) = (ticket.version, now);
        }
        tickets::remember(tx, &changes).await?;
        Ok(ticket)
    }
}

async fn locked(tx: &mut Tx, id: TicketId, expected: Option<i64>) -> Result<Ticket> {
    let ticket = tickets::lock(tx, id).await?.ok_or(Error::NotFound("ticket"))?;
    match expected {
        Some(version) if version != ticket.version => Err(Error::Stale { current: ticket.version }),
        _ => Ok(ticket),
    }
}

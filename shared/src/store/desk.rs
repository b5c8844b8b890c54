//! The service desk: everything that happens to a ticket, each within one transaction of the caller's.
//!
//! Rows are locked in one order, ticket before clocks before escalation, and the time is read under the lock, so
//! the events of a clock are stored in the order in which they happened.

mod actor;
mod amend;
mod assignment;
mod attachments;
mod audit;
mod bulk;
mod clocks;
mod comments;
mod escalation;
mod fields;
mod import;
mod replan;
mod verdicts;

use std::sync::Arc;

use super::db::Tx;
use super::rulebook::{self, Book};
use super::tickets::{self, Ticket};
use super::{clocks as sla_clocks, escalations, events, jobs};
use crate::domain::Rules;
use crate::domain::access::{Action, Standing};
use crate::domain::cause::Cause;
use crate::domain::escalation::StopReason;
use crate::domain::event::EventKind;
use crate::domain::job::Notify;
use crate::domain::rulebook::{InForce, Rulebook};
use crate::domain::sla::{Command, Event, Metric};
use crate::domain::span;
use crate::domain::ticket::{Category, Priority, Status, clock_events};
use crate::ids::{DefinitionId, ImportId, TicketId, UserId};
use crate::metrics::ACKNOWLEDGED_AFTER;
use crate::time::{Clock, Timestamp};

pub use actor::{Actor, Who};
pub use assignment::Assignment;
pub use attachments::NewFile;
pub use audit::{Audit, Mismatch};
pub use bulk::Refusal;
pub use comments::Remark;
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
    #[error("the {what} is at version {current} by now: read it again and repeat the change")]
    Stale {
        /// What was changed.
        what: &'static str,
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
    /// Nothing is added to it any more.
    #[error("the ticket is closed: reopen it first")]
    Closed,
    /// It was closed too long ago.
    #[error("the ticket was closed more than {0} ago and cannot be reopened: open a new one")]
    ReopenWindow(String),
    /// The caller's role does not allow it.
    #[error("{0}")]
    Forbidden(&'static str),
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
        self.open_out_of(tx, drafts, None).await
    }

    /// Opens tickets. Nobody is mailed about those that come out of an import: their history names it instead.
    async fn open_out_of(
        &self,
        tx: &mut Tx,
        drafts: Vec<Draft>,
        import: Option<ImportId>,
    ) -> Result<Vec<Ticket>> {
        let book = self.rulebook(tx).await?;
        let now = self.clock.now();
        let (mut opened, mut labels, mut history, mut started, mut announced, mut happened) =
            (Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for mut draft in drafts {
            let actor = draft.actor.clone();
            let nobody = Standing { reporter: draft.reporter_id, assignee: None, team: None };
            let given = Standing { assignee: draft.assignee_id, team: draft.team_id, ..nobody };
            if !actor.may_give(&nobody, &given) {
                return Err(Error::Forbidden(assignment::REFUSED));
            }
            let draft_labels = std::mem::take(&mut draft.labels);
            let mut ticket = fields::new_ticket(draft, now);
            let policy = book.policy_for(&ticket.facts(&draft_labels));
            ticket.sla_policy_version_id = policy.version;
            labels.extend(draft_labels.into_iter().map(|label| (ticket.id, label)));
            history.push(fields::change(&ticket, "status", None, Some(Status::New.as_str().into()), &actor));
            for metric in [Metric::FirstResponse, Metric::Resolution] {
                started.extend(clocks::start(policy, &ticket, metric, &actor, now));
            }
            let mut event = fields::event(EventKind::TicketCreated, &ticket, &actor, &[]);
            if let Some(import) = import {
                history.push(fields::change(&ticket, "import", None, Some(import.to_string()), &actor));
                event.data["import"] = import.to_string().into();
            } else {
                let notify = Notify { cause: Cause::Created { ticket: ticket.id } };
                announced.push(jobs::NewJob::of(&notify).traced(ticket.traceparent.clone()));
            }
            happened.push(event);
            opened.push(ticket);
        }
        tickets::insert(tx, &mut opened).await?;
        tickets::label(tx, labels).await?;
        tickets::remember(tx, &history).await?;
        sla_clocks::insert(tx, &started).await?;
        jobs::enqueue(tx, announced, now).await?;
        events::publish(tx, happened);
        Ok(opened)
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
        let action = if to.is_done() { Action::Resolve } else { Action::Update };
        let before = locked(tx, id, expected, actor, action).await?;
        let now = self.clock.now().max(before.updated_at);
        let from = before.status;
        if !from.next().contains(&to) {
            return Err(Error::Transition { from, to });
        }
        let window = self.rules.reopen_window.0;
        if from == Status::Closed && before.closed_at.is_some_and(|at| now - at > window) {
            return Err(Error::ReopenWindow(span::format(window)));
        }
        let mut ticket = before.clone();
        ticket.status = to;
        match to {
            Status::InProgress if actor.is_staff() => ticket.responded_at = ticket.responded_at.or(Some(now)),
            Status::Resolved => ticket.resolved_at = Some(now),
            Status::Closed => ticket.closed_at = Some(now),
            Status::Reopened => {
                (ticket.resolved_at, ticket.closed_at) = (None, None);
                (ticket.acknowledged_at, ticket.acknowledged_by) = (None, None);
                ticket.acknowledged_as = None;
            }
            _ => {}
        }
        let policy = self.policy_of(tx, &before).await?;
        let pauses = &policy.policy.pause_statuses;
        let by_status = |stored: &sla_clocks::Stored| {
            let events = clock_events(stored.metric, from, to, pauses, actor.is_staff());
            let mut commands: Vec<Command> = events.into_iter().map(Command::from).collect();
            if to == Status::Reopened {
                // The priority may have changed while the clock was stopped.
                commands.extend(clocks::retarget(&policy, ticket.priority, stored, false));
            }
            commands
        };
        self.tell_clocks(tx, &ticket, actor, now, by_status).await?;
        let ticket = self.store(tx, &before, ticket, actor, now).await?;
        self.tell_of_move(tx, &ticket, from, actor).await?;
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
        let before = locked(tx, id, expected, actor, Action::Acknowledge).await?;
        if before.acknowledged_at.is_some() {
            return Ok(before);
        }
        let now = self.clock.now().max(before.updated_at);
        let mut ticket = before.clone();
        (ticket.acknowledged_at, ticket.acknowledged_by) = (Some(now), actor.id());
        ticket.acknowledged_as = actor.address().map(str::to_owned);
        // Waits for a sweep that is just opening the escalation, and keeps others out until this is committed.
        sla_clocks::lock_of_ticket(tx, id).await?;
        if let Some(opened) = escalations::stop(tx, id, StopReason::Acknowledged, now).await? {
            let (priority, after) = (ticket.priority.as_str(), (now - opened).as_seconds_f64());
            tx.measure(move || ACKNOWLEDGED_AFTER.of([priority]).record(after));
        }
        self.store(tx, &before, ticket, actor, now).await
    }

    async fn store(
        &self,
        tx: &mut Tx,
        before: &Ticket,
        ticket: Ticket,
        actor: &Actor,
        now: Timestamp,
    ) -> Result<Ticket> {
        if *before == ticket {
            return Ok(ticket);
        }
        let changes = fields::differences(before, &ticket, actor);
        self.record(tx, before, ticket, changes, actor, now).await
    }

    /// Stores a changed ticket with the changes that are put on record and published.
    async fn record(
        &self,
        tx: &mut Tx,
        before: &Ticket,
        mut ticket: Ticket,
        mut changes: Vec<tickets::Change>,
        actor: &Actor,
        now: Timestamp,
    ) -> Result<Ticket> {
        ticket.updated_at = now;
        if !tickets::update(tx, &mut ticket).await? {
            return Err(Error::Stale { what: "ticket", current: before.version });
        }
        for change in &mut changes {
            (change.version, change.at) = (ticket.version, now);
        }
        tickets::remember(tx, &changes).await?;
        events::publish(tx, [fields::event(fields::kind(before, &ticket), &ticket, actor, &changes)]);
        Ok(ticket)
    }

    /// Deletes a ticket: it is shown to nobody any more, its clocks no longer count, nobody is called. What was put on
    /// record stays.
    pub async fn delete(
        &self,
        tx: &mut Tx,
        id: TicketId,
        expected: Option<i64>,
        actor: &Actor,
    ) -> Result<Ticket> {
        let before = locked(tx, id, expected, actor, Action::Delete).await?;
        let now = self.clock.now().max(before.updated_at);
        let ticket = Ticket { deleted_at: Some(now), ..before.clone() };
        let cancelled = |stored: &sla_clocks::Stored| match stored.clock.is_open() {
            true => vec![Event::Cancelled.into()],
            false => Vec::new(),
        };
        self.tell_clocks(tx, &ticket, actor, now, cancelled).await?;
        escalations::stop(tx, id, StopReason::Deleted, now).await?;
        self.store(tx, &before, ticket, actor, now).await
    }
}

/// What is answered to those who may see a ticket, but not do this to it.
#[must_use]
pub const fn refusal(action: Action) -> &'static str {
    match action {
        Action::Create | Action::View | Action::Comment => "Your role does not allow this.",
        Action::Update => "Your role allows changes only to tickets that are yours: have it assigned to you.",
        Action::Assign => assignment::REFUSED,
        Action::Resolve => "Your role does not allow resolving or closing this ticket.",
        Action::Delete => "Only an admin may delete tickets.",
        Action::Acknowledge => "Only staff may acknowledge tickets.",
        Action::HoldClocks => "Your role does not allow pausing or resuming the clocks of this ticket.",
        Action::CommentInternally => "Only staff may read and write internal comments.",
    }
}

/// Finds a ticket, keeps others from changing it, and makes sure that the actor may do this to it.
async fn locked(
    tx: &mut Tx,
    id: TicketId,
    expected: Option<i64>,
    actor: &Actor,
    action: Action,
) -> Result<Ticket> {
    let ticket = tickets::lock(tx, id).await?.ok_or(Error::NotFound("ticket"))?;
    let standing = ticket.standing();
    if ticket.deleted_at.is_some() || !actor.sees(&standing) {
        return Err(Error::NotFound("ticket"));
    }
    if action != Action::Assign && !actor.may(action, &standing) {
        return Err(Error::Forbidden(refusal(action)));
    }
    match expected {
        Some(version) if version != ticket.version => {
            Err(Error::Stale { what: "ticket", current: ticket.version })
        }
        _ => Ok(ticket),
    }
}

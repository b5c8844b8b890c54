//! The service desk: everything that happens to a ticket, each within one transaction of the caller's.
//!
//! Rows are locked in one order, ticket before clocks before escalation, and the time is read under the lock, so
//! the events of a clock are stored in the order in which they happened.

use std::borrow::Cow;
use std::collections::HashSet;

use chrono::TimeDelta;

use super::db::Tx;
use super::tickets::{self, Ticket};
use super::{clocks, escalations, jobs};
use crate::domain::Rules;
use crate::domain::cause::Cause;
use crate::domain::escalation::StopReason;
use crate::domain::job::Notify;
use crate::domain::sla::{Calendar, Clock as SlaClock, Command, Event, Hold, Metric, Mode, Plan};
use crate::domain::ticket::{Category, Priority, REOPEN_WINDOW, Status, clock_events};
use crate::ids::{ClockId, HistoryId, TicketId, UserId};
use crate::time::{Clock, Timestamp};

/// The rules in force and the clock they are applied by.
#[derive(Clone, Debug)]
pub struct Desk {
    /// Tells the time.
    pub clock: Clock,
    /// What is promised, and who is called.
    pub rules: Rules,
}

/// Who does something.
#[derive(Clone, Debug)]
pub struct Actor {
    /// The user.
    pub id: UserId,
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
    /// Labels, without repetition.
    pub labels: Vec<String>,
    /// Who opens it; they become the reporter.
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
    #[error("the clock is paused because the ticket is pending_info: move the ticket to resume it")]
    HeldByStatus,
    /// The database failed.
    #[error(transparent)]
    Store(#[from] super::Error),
}

/// The result of a desk call.
pub type Result<T> = std::result::Result<T, Error>;

fn list(statuses: &[Status]) -> String {
    statuses.iter().map(|status| status.as_str()).collect::<Vec<_>>().join(", ")
}

/// What one round of the sweep found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Clocks that were due.
    pub clocks: usize,
    /// Warnings recorded.
    pub warnings: usize,
    /// Breaches recorded: the metric, and how long after the instant.
    pub breaches: Vec<(Metric, TimeDelta)>,
    /// Escalation steps taken.
    pub steps: usize,
}

impl Desk {
    /// Opens tickets with their clocks, history and announcement, all in a few statements.
    pub async fn open(&self, tx: &mut Tx, drafts: Vec<Draft>) -> Result<Vec<Ticket>> {
        let now = self.clock.now();
        let (mut opened, mut labels, mut history, mut started, mut announced) =
            (Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for mut draft in drafts {
            let actor = draft.actor.clone();
            let draft_labels = std::mem::take(&mut draft.labels);
            let ticket = new_ticket(draft, now);
            labels.extend(draft_labels.into_iter().map(|label| (ticket.id, label)));
            history.push(change(&ticket, "status", None, Some(Status::New.as_str().into()), &actor));
            started.extend(self.start_clocks(&ticket, &actor, now));
            let notify = Notify { cause: Cause::Created { ticket: ticket.id } };
            announced.push(jobs::NewJob::of(&notify).traced(ticket.traceparent.clone()));
            opened.push(ticket);
        }
        tickets::insert(tx, &mut opened).await?;
        tickets::label(tx, labels).await?;
        tickets::remember(tx, &history).await?;
        clocks::insert(tx, &started).await?;
        jobs::enqueue(tx, announced, now).await?;
        Ok(opened)
    }

    fn start_clocks(&self, ticket: &Ticket, actor: &Actor, now: Timestamp) -> Vec<clocks::Change> {
        let start = |metric: &Metric| {
            let target = self.rules.sla.target(ticket.priority, *metric)?;
            let plan =
                Plan { target, warn_at: self.rules.sla.warn_at.clone(), calendar: Calendar::AlwaysOpen };
            let (clock, started) = SlaClock::start(plan, now);
            let stored = clocks::Stored { id: ClockId::new(), ticket_id: ticket.id, metric: *metric, clock };
            Some(clocks::Change { stored, events: vec![started], actor: Some(actor.id) })
        };
        Metric::ALL.iter().filter_map(start).collect()
    }

    /// Changes a ticket's fields. A new priority retargets its clocks with their whole history.
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
        if ticket.priority != before.priority {
            let retarget =
                |stored: &clocks::Stored| self.retarget(ticket.priority, stored.metric).into_iter().collect();
            self.tell_clocks(tx, &ticket, actor, now, retarget).await?;
        }
        self.store(tx, &before, ticket, actor, now).await
    }

    fn retarget(&self, priority: Priority, metric: Metric) -> Option<Command> {
        let target = self.rules.sla.target(priority, metric)?;
        let plan = Plan { target, warn_at: self.rules.sla.warn_at.clone(), calendar: Calendar::AlwaysOpen };
        Some(Command::Retarget(plan, Mode::Retroactive))
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
        let by_status = |stored: &clocks::Stored| {
            let events = clock_events(stored.metric, from, to, actor.staff);
            let mut events: Vec<Command> = events.into_iter().map(Command::from).collect();
            if to == Status::Reopened {
                // The priority may have changed while the clock was stopped.
                events.extend(self.retarget(ticket.priority, stored.metric));
            }
            events
        };
        self.tell_clocks(tx, &ticket, actor, now, by_status).await?;
        let ticket = self.store(tx, &before, ticket, actor, now).await?;
        match to {
            Status::PendingInfo => {
                escalations::stop(tx, id, StopReason::Paused, now).await?;
            }
            Status::Resolved => {
                escalations::stop(tx, id, StopReason::Resolved, now).await?;
                let notify = Notify { cause: Cause::Resolved { ticket: id, version: ticket.version } };
                jobs::enqueue(tx, vec![jobs::NewJob::of(&notify)], now).await?;
            }
            _ if from == Status::PendingInfo || to == Status::Reopened => {
                self.escalate_again(tx, id, now).await?;
            }
            _ => {}
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
        (ticket.acknowledged_at, ticket.acknowledged_by) = (Some(now), Some(actor.id));
        // Waits for a sweep that is just opening the escalation, and keeps others out until this is committed.
        clocks::lock_of_ticket(tx, id).await?;
        escalations::stop(tx, id, StopReason::Acknowledged, now).await?;
        self.store(tx, &before, ticket, actor, now).await
    }

    /// Stops a clock until it is resumed; pausing a paused clock changes nothing.
    pub async fn pause(
        &self,
        tx: &mut Tx,
        id: ClockId,
        actor: &Actor,
        reason: String,
    ) -> Result<clocks::Stored> {
        let event = Event::Paused { hold: Hold::Manual, reason: Some(reason) };
        let stored = self.tell_clock(tx, id, actor, event).await?;
        if overrunning(tx, stored.ticket_id).await?.is_none() {
            escalations::stop(tx, stored.ticket_id, StopReason::Paused, stored.clock.last_at).await?;
        }
        Ok(stored)
    }

    /// Lets a paused clock go on; resuming a running clock changes nothing.
    pub async fn resume(&self, tx: &mut Tx, id: ClockId, actor: &Actor) -> Result<clocks::Stored> {
        let stored = self.tell_clock(tx, id, actor, Event::Resumed { hold: Hold::Manual }).await?;
        if stored.clock.held_by_status {
            return Err(Error::HeldByStatus);
        }
        self.escalate_again(tx, stored.ticket_id, stored.clock.last_at).await?;
        Ok(stored)
    }

    async fn tell_clock(
        &self,
        tx: &mut Tx,
        id: ClockId,
        actor: &Actor,
        event: Event,
    ) -> Result<clocks::Stored> {
        let ticket = tickets::of_clock(&mut *tx, id).await?.ok_or(Error::NotFound("sla clock"))?;
        locked(tx, ticket, None).await?;
        let of_ticket = clocks::lock_of_ticket(tx, ticket).await?;
        let mut stored = of_ticket.into_iter().find(|s| s.id == id).ok_or(Error::NotFound("sla clock"))?;
        if !stored.clock.is_open() {
            return Err(Error::Ended(stored.clock.state().as_str()));
        }
        let now = self.clock.now();
        let events = stored.clock.take(event, now);
        let change = clocks::Change { stored: stored.clone(), events, actor: Some(actor.id) };
        self.settle(tx, &[change], now).await?;
        Ok(stored)
    }

    async fn tell_clocks(
        &self,
        tx: &mut Tx,
        ticket: &Ticket,
        actor: &Actor,
        now: Timestamp,
        events_for: impl Fn(&clocks::Stored) -> Vec<Command>,
    ) -> Result<()> {
        let mut changes = Vec::new();
        for mut stored in clocks::lock_of_ticket(tx, ticket.id).await? {
            let wanted = events_for(&stored);
            let events = wanted.into_iter().flat_map(|event| stored.clock.take(event, now)).collect();
            changes.push(clocks::Change { stored, events, actor: Some(actor.id) });
        }
        self.settle(tx, &changes, now).await
    }

    /// Stores changed clocks, tells people of what fired, and opens escalations for breaches.
    async fn settle(&self, tx: &mut Tx, changes: &[clocks::Change], now: Timestamp) -> Result<()> {
        clocks::save(tx, changes).await?;
        let (mut announced, mut breached) = (Vec::new(), Vec::new());
        for clocks::Change { stored, events, .. } in changes {
            let (ticket, clock) = (stored.ticket_id, stored.id);
            for recorded in events {
                let cause = match recorded.event {
                    Event::Warned { fraction } => {
                        Cause::Warning { ticket, clock, revision: stored.clock.revision, fraction }
                    }
                    Event::Breached { .. } => {
                        breached.push((ticket, clock));
                        Cause::Breached { ticket, clock }
                    }
                    _ => continue,
                };
                let priority = cause.priority();
                // In a trace of its own, which the worker links to the ticket's: the sweep's means nothing to it.
                announced.push(jobs::NewJob::of(&Notify { cause }).priority(priority).traced(None));
            }
        }
        // A clock that stopped as it was found breached needs no escalation: nobody has to be called any more.
        let running: HashSet<_> =
            changes.iter().filter(|c| c.stored.clock.running_since.is_some()).map(|c| c.stored.id).collect();
        breached.retain(|(_, clock)| running.contains(clock));
        // In one order, so that two sweeps that breach clocks of the same tickets wait for each other, not deadlock.
        breached.sort_unstable();
        let first_step = now + self.rules.escalation.wait_after(0);
        escalations::open(tx, breached, now, first_step).await?;
        jobs::enqueue(tx, announced, now).await?;
        Ok(())
    }

    async fn escalate_again(&self, tx: &mut Tx, ticket: TicketId, now: Timestamp) -> Result<()> {
        let overrun = overrunning(tx, ticket).await?;
        let first_step = now + self.rules.escalation.wait_after(0);
        escalations::open(tx, overrun.map(|clock| (ticket, clock)), now, first_step).await?;
        Ok(())
    }

    async fn store(
        &self,
        tx: &mut Tx,
        before: &Ticket,
        mut ticket: Ticket,
        actor: &Actor,
        now: Timestamp,
    ) -> Result<Ticket> {
        let mut changes = differences(before, &ticket, actor);
        if changes.is_empty() {
            return Ok(ticket);
        }
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

    /// Records the warnings and breaches of up to `limit` clocks that are due, with what follows from them.
    pub async fn sweep(&self, tx: &mut Tx, limit: i64) -> Result<Swept> {
        let now = self.clock.now();
        let mut swept = Swept::default();
        let mut changes = Vec::new();
        for mut stored in clocks::claim_due(tx, now, limit).await? {
            let events = stored.clock.fire(now);
            for recorded in &events {
                match recorded.event {
                    Event::Warned { .. } => swept.warnings += 1,
                    Event::Breached { .. } => swept.breaches.push((stored.metric, now - recorded.at)),
                    _ => {}
                }
            }
            changes.push(clocks::Change { stored, events, actor: None });
        }
        swept.clocks = changes.len();
        self.settle(tx, &changes, now).await?;
        Ok(swept)
    }

    /// Takes the next step of up to `limit` escalations that are due. Steps missed in an outage are not made up
    /// for: one call now, the next after its usual wait.
    pub async fn escalate(&self, tx: &mut Tx, limit: i64) -> Result<usize> {
        let now = self.clock.now();
        let mut due = escalations::claim_due(tx, now, limit).await?;
        let mut announced = Vec::new();
        for escalation in &mut due {
            escalation.steps_done += 1;
            escalation.next_step_at = Some(now + self.rules.escalation.wait_after(escalation.steps_done));
            let (ticket, step) = (escalation.ticket_id, escalation.steps_done);
            let cause = Cause::EscalationStep { ticket, escalation: escalation.id, step };
            let priority = cause.priority();
            announced.push(jobs::NewJob::of(&Notify { cause }).priority(priority).traced(None));
        }
        escalations::advance(tx, &due).await?;
        jobs::enqueue(tx, announced, now).await?;
        Ok(due.len())
    }
}

async fn locked(tx: &mut Tx, id: TicketId, expected: Option<i64>) -> Result<Ticket> {
    let ticket = tickets::lock(tx, id).await?.ok_or(Error::NotFound("ticket"))?;
    match expected {
        Some(version) if version != ticket.version => Err(Error::Stale { current: ticket.version }),
        _ => Ok(ticket),
    }
}

/// Finds a clock of the ticket that is breached and still runs: the reason to call somebody.
async fn overrunning(tx: &mut Tx, ticket: TicketId) -> Result<Option<ClockId>> {
    let of_ticket = clocks::of_ticket(tx, ticket).await?;
    let overrun = of_ticket.iter().find(|s| s.clock.breached_at.is_some() && s.clock.running_since.is_some());
    Ok(overrun.map(|stored| stored.id))
}

fn new_ticket(draft: Draft, now: Timestamp) -> Ticket {
    Ticket {
        id: TicketId::new(),
        number: 0,
        title: draft.title,
        description: draft.description,
        status: Status::New,
        priority: draft.priority,
        category: draft.category,
        environment: draft.environment,
        affected_service: draft.affected_service,
        contact_name: draft.contact_name,
        contact_email: draft.contact_email,
        reporter_id: draft.actor.id,
        assignee_id: draft.assignee_id,
        version: 1,
        created_at: now,
        updated_at: now,
        responded_at: None,
        acknowledged_at: None,
        acknowledged_by: None,
        resolved_at: None,
        closed_at: None,
        traceparent: draft.traceparent,
    }
}

fn change(
    ticket: &Ticket,
    field: &str,
    old: Option<String>,
    new: Option<String>,
    actor: &Actor,
) -> tickets::Change {
    tickets::Change {
        id: HistoryId::new(),
        ticket_id: ticket.id,
        version: ticket.version,
        field: field.into(),
        old_value: old,
        new_value: new,
        actor_id: Some(actor.id),
        ip: actor.ip.clone(),
        at: ticket.updated_at,
    }
}

/// The fields of the API that differ, with both values.
fn differences(before: &Ticket, after: &Ticket, actor: &Actor) -> Vec<tickets::Change> {
    fn fields(t: &Ticket) -> [(&'static str, Option<Cow<'_, str>>); 10] {
        let text = |value: &'static str| Some(Cow::Borrowed(value));
        [
            ("title", Some(Cow::Borrowed(&*t.title))),
            ("description", Some(Cow::Borrowed(&*t.description))),
            ("status", text(t.status.as_str())),
            ("priority", text(t.priority.as_str())),
            ("category", text(t.category.as_str())),
            ("environment", t.environment.as_deref().map(Cow::Borrowed)),
            ("affected_service", t.affected_service.as_deref().map(Cow::Borrowed)),
            ("contact", contact(t).map(Cow::Owned)),
            ("assignee_id", t.assignee_id.map(|id| Cow::Owned(id.to_string()))),
            ("acknowledged_by", t.acknowledged_by.map(|id| Cow::Owned(id.to_string()))),
        ]
    }
    let pairs = fields(before).into_iter().zip(fields(after));
    let changed = pairs.filter(|((_, old), (_, new))| old != new);
    changed
        .map(|((field, old), (_, new))| {
            change(after, field, old.map(Cow::into_owned), new.map(Cow::into_owned), actor)
        })
        .collect()
}

fn contact(ticket: &Ticket) -> Option<String> {
    match (&ticket.contact_name, &ticket.contact_email) {
        (None, None) => None,
        (name, email) => {
            Some(format!("{} <{}>", name.as_deref().unwrap_or(""), email.as_deref().unwrap_or("")))
        }
    }
}

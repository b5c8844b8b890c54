//! What happens to a ticket's clocks.

use std::collections::HashSet;

use serde_json::json;

use super::verdicts::{Verdicts, verdicts_in};
use super::{Actor, Desk, Error, Result, locked};
use crate::domain::access::Action;
use crate::domain::cause::Cause;
use crate::domain::escalation::StopReason;
use crate::domain::event::EventKind;
use crate::domain::job::Notify;
use crate::domain::rulebook::InForce;
use crate::domain::sla::{Clock, Command, Event, Fraction, Hold, Metric};
use crate::domain::ticket::Priority;
use crate::ids::{ClockId, TicketId};
use crate::store::clocks::{self, Change, Stored};
use crate::store::db::Tx;
use crate::store::events::{self, NewEvent};
use crate::store::tickets::{self, Ticket};
use crate::store::{escalations, jobs, rulebook};
use crate::time::Timestamp;

impl Desk {
    /// Stops a clock until it is resumed; pausing a paused clock changes nothing.
    pub async fn pause(&self, tx: &mut Tx, id: ClockId, actor: &Actor, reason: String) -> Result<Stored> {
        let event = Event::Paused { hold: Hold::Manual, reason: Some(reason) };
        let (_, stored) = self.tell_clock(tx, id, actor, event).await?;
        if self.overrunning(tx, stored.ticket_id).await?.is_none() {
            escalations::stop(tx, stored.ticket_id, StopReason::Paused, stored.clock.last_at).await?;
        }
        Ok(stored)
    }

    /// Lets a paused clock go on; resuming a running clock changes nothing.
    pub async fn resume(&self, tx: &mut Tx, id: ClockId, actor: &Actor) -> Result<Stored> {
        let (ticket, stored) = self.tell_clock(tx, id, actor, Event::Resumed { hold: Hold::Manual }).await?;
        if stored.clock.held_by_status {
            return Err(Error::HeldByStatus(ticket.status));
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
    ) -> Result<(Ticket, Stored)> {
        let ticket = tickets::of_clock(&mut *tx, id).await?.ok_or(Error::NotFound("sla clock"))?;
        let ticket = locked(tx, ticket, None, actor, Action::HoldClocks).await?;
        let of_ticket = clocks::lock_of_ticket(tx, ticket.id).await?;
        let mut stored = of_ticket.into_iter().find(|s| s.id == id).ok_or(Error::NotFound("sla clock"))?;
        if !stored.clock.is_open() {
            return Err(Error::Ended(stored.clock.state().as_str()));
        }
        let now = self.clock.now();
        let events = stored.clock.take(event, now);
        let change = Change { stored: stored.clone(), events, actor: actor.id() };
        self.settle(tx, &[change], now).await?;
        Ok((ticket, stored))
    }

    pub(super) async fn tell_clocks(
        &self,
        tx: &mut Tx,
        ticket: &Ticket,
        actor: &Actor,
        now: Timestamp,
        commands_for: impl Fn(&Stored) -> Vec<Command>,
    ) -> Result<()> {
        let mut changes = Vec::new();
        for mut stored in clocks::lock_of_ticket(tx, ticket.id).await? {
            let commands = commands_for(&stored);
            let events = commands.into_iter().flat_map(|command| stored.clock.take(command, now)).collect();
            changes.push(Change { stored, events, actor: actor.id() });
        }
        self.settle(tx, &changes, now).await
    }

    /// Finds the policy of a changed ticket and promises what it says: clocks are retargeted, those for which it
    /// promises nothing are cancelled, and those that it adds count from now.
    pub(super) async fn bring_under_its_policy(
        &self,
        tx: &mut Tx,
        ticket: &mut Ticket,
        labels: &[String],
        actor: &Actor,
        now: Timestamp,
    ) -> Result<()> {
        let book = self.rulebook(tx).await?;
        let before = rulebook::by_version(&mut *tx, &book, ticket.sla_policy_version_id).await?;
        let found = book.policy_for(&ticket.facts(labels));
        // Under the same policy as before, what was promised then goes on, until a re-plan says otherwise.
        let moved = found.definition != before.definition;
        let policy = if moved { found } else { &before };
        ticket.sla_policy_version_id = policy.version;
        let mut changes = Vec::new();
        let mut counted = HashSet::new();
        for mut stored in clocks::lock_of_ticket(tx, ticket.id).await? {
            counted.insert(stored.metric);
            let commands = replan(policy, ticket, &stored, moved);
            let events = commands.into_iter().flat_map(|command| stored.clock.take(command, now)).collect();
            changes.push(Change { stored, events, actor: actor.id() });
        }
        self.settle(tx, &changes, now).await?;
        let wanted = [
            (Metric::FirstResponse, ticket.responded_at.is_none()),
            (Metric::Resolution, ticket.resolved_at.is_none()),
        ];
        let added = wanted
            .into_iter()
            .filter(|(metric, open)| *open && !ticket.status.is_done() && !counted.contains(metric));
        let added: Vec<_> =
            added.filter_map(|(metric, _)| start(policy, ticket, metric, actor, now)).collect();
        Ok(clocks::insert(tx, &added).await?)
    }

    /// Stores changed clocks, tells people of what fired, and opens escalations for breaches.
    pub(super) async fn settle(&self, tx: &mut Tx, changes: &[Change], now: Timestamp) -> Result<()> {
        clocks::save(tx, changes).await?;
        let decided = changes.iter().filter(|change| verdicts_in(change).next().is_some());
        let promises = self.promises_of(tx, decided.map(|change| change.stored.ticket_id)).await?;
        let (mut causes, mut breached, mut verdicts) = (Vec::new(), Vec::new(), Verdicts::default());
        for change in changes {
            let Change { stored, events, .. } = change;
            let (ticket, clock) = (stored.ticket_id, stored.id);
            let Some(promise) = promises.get(&ticket) else { continue };
            verdicts.add(change, promise.priority, now);
            for recorded in events {
                match recorded.event {
                    Event::Warned { fraction } => {
                        causes.extend(warned(stored, fraction, promise.policy.as_deref()));
                    }
                    Event::Breached { .. } => {
                        // A clock that stopped as it was found breached needs no escalation: nobody has to be
                        // called any more.
                        breached.extend(stored.clock.running_since.map(|_| (ticket, clock, recorded.at)));
                        causes.push(Cause::Breached { ticket, clock });
                    }
                    _ => {}
                }
            }
        }
        events::publish(tx, changes.iter().flat_map(happened));
        tx.measure(move || verdicts.count());
        self.open_escalations(tx, breached, &promises).await?;
        // In traces of their own, which the worker links to the ticket's: the sweep's means nothing to it.
        let announced = causes.into_iter().map(|cause| {
            let priority = cause.priority();
            jobs::NewJob::of(&Notify { cause }).priority(priority).traced(None)
        });
        jobs::enqueue(tx, announced.collect(), now).await?;
        Ok(())
    }

    /// Finds a clock of the ticket that is breached and still runs: the reason to call somebody.
    pub(super) async fn overrunning(&self, tx: &mut Tx, ticket: TicketId) -> Result<Option<ClockId>> {
        let of_ticket = clocks::of_ticket(tx, ticket).await?;
        let overruns = |s: &&Stored| s.clock.breached_at.is_some() && s.clock.running_since.is_some();
        Ok(of_ticket.iter().find(overruns).map(|stored| stored.id))
    }
}

/// What others are told of a changed clock.
fn happened(change: &Change) -> impl Iterator<Item = NewEvent> {
    let Change { stored, events, actor } = change;
    events.iter().filter_map(|recorded| {
        let kind = kind_of(stored, &recorded.event)?;
        let data = json!({ "clock_id": stored.id, "metric": stored.metric });
        Some(NewEvent {
            kind,
            ticket: stored.ticket_id,
            internal: false,
            actor: *actor,
            data,
            at: recorded.at,
        })
    })
}

/// What others call an event of a clock; none where it is no news.
pub(super) const fn kind_of(stored: &Stored, event: &Event) -> Option<EventKind> {
    Some(match event {
        Event::Warned { .. } => EventKind::SlaWarning,
        Event::Breached { .. } => EventKind::SlaBreached,
        Event::Paused { .. } => EventKind::SlaPaused,
        Event::Resumed { .. } => EventKind::SlaResumed,
        Event::Retargeted { .. } => EventKind::SlaRetargeted,
        Event::Cancelled => EventKind::SlaCancelled,
        Event::Stopped if stored.clock.breached_at.is_none() => EventKind::SlaMet,
        _ => return None,
    })
}

/// What a share of the target means under a policy: a warning, a call before the breach, or both.
fn warned(stored: &Stored, fraction: Fraction, policy: Option<&InForce>) -> Vec<Cause> {
    let (ticket, clock, revision) = (stored.ticket_id, stored.id, stored.clock.revision);
    let calls = policy.and_then(|policy| policy.calls.as_ref());
    let steps = calls.into_iter().flat_map(|calls| {
        let steps = calls.policy.fraction_steps().filter(|(_, at)| *at == fraction);
        steps.map(|(place, _)| {
            let step = i64::try_from(place).unwrap_or(i64::MAX).saturating_add(1);
            Cause::EarlyStep { ticket, clock, revision, policy: calls.version, step }
        })
    });
    let mut causes: Vec<Cause> = steps.collect();
    // A share that neither names any more was promised by a former version.
    if causes.is_empty() || policy.is_some_and(|policy| policy.policy.warn_at.contains(&fraction)) {
        causes.insert(0, Cause::Warning { ticket, clock, revision, fraction });
    }
    causes
}

/// Starts a clock, held where the ticket's status pauses it; none where the policy promises nothing.
pub(super) fn start(
    policy: &InForce,
    ticket: &Ticket,
    metric: Metric,
    actor: &Actor,
    now: Timestamp,
) -> Option<Change> {
    let plan = policy.plan(ticket.priority, metric, policy.calendar.clone())?;
    let (mut clock, started) = Clock::start(plan, now);
    let mut events = vec![started];
    if policy.policy.pause_statuses.contains(&ticket.status) {
        events.extend(clock.take(Event::Paused { hold: Hold::Status, reason: None }, now));
    }
    let stored = Stored { id: ClockId::new(), ticket_id: ticket.id, metric, clock };
    Some(Change { stored, events, actor: actor.id() })
}

/// What a clock is told when a policy applies at a priority: to count by the policy's calendar where `fresh`, else
/// by its own. None where the policy promises nothing.
pub(super) fn retarget(
    policy: &InForce,
    priority: Priority,
    stored: &Stored,
    fresh: bool,
) -> Option<Command> {
    let calendar = if fresh { policy.calendar.clone() } else { stored.clock.calendar.clone() };
    let plan = policy.plan(priority, stored.metric, calendar)?;
    Some(Command::Retarget(plan, policy.policy.mode))
}

/// What an open clock is told when its ticket comes under a policy, in order.
pub(super) fn replan(policy: &InForce, ticket: &Ticket, stored: &Stored, fresh: bool) -> Vec<Command> {
    let mut commands =
        vec![retarget(policy, ticket.priority, stored, fresh).unwrap_or_else(|| Event::Cancelled.into())];
    if fresh {
        let hold = Hold::Status;
        let holds = policy.policy.pause_statuses.contains(&ticket.status);
        commands.push(if holds {
            Event::Paused { hold, reason: None }.into()
        } else {
            Event::Resumed { hold }.into()
        });
    }
    commands
}

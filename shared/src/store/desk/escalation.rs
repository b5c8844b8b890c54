//! What falls due by itself: warnings, breaches, and the steps of escalations.

use std::collections::HashMap;
use std::sync::Arc;

use chrono::TimeDelta;
use serde_json::json;

use super::{Desk, Result};
use crate::domain::cause::Cause;
use crate::domain::escalation::{Definition, Policy, StopReason};
use crate::domain::event::EventKind;
use crate::domain::job::Notify;
use crate::domain::rulebook::InForce;
use crate::domain::sla::{Event, Metric};
use crate::domain::ticket::Priority;
use crate::ids::{ClockId, TicketId};
use crate::store::clocks::{self, Change};
use crate::store::db::Tx;
use crate::store::escalations::{self, Opening};
use crate::store::events::{self, NewEvent};
use crate::store::rulebook::Read;
use crate::store::{jobs, tickets, versions};
use crate::time::Timestamp;

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

/// What a ticket was promised.
#[derive(Clone, Debug)]
pub(super) struct Promise {
    /// How urgent it is.
    pub(super) priority: Priority,
    /// The policy that it came under; none for the built-in one.
    pub(super) policy: Option<Arc<InForce>>,
}

impl Desk {
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
            changes.push(Change { stored, events, actor: None });
        }
        swept.clocks = changes.len();
        self.settle(tx, &changes, now).await?;
        Ok(swept)
    }

    /// What tickets were promised.
    pub(super) async fn promises_of(
        &self,
        tx: &mut Tx,
        tickets: impl IntoIterator<Item = TicketId>,
    ) -> Result<HashMap<TicketId, Promise>> {
        let mut ids: Vec<TicketId> = tickets.into_iter().collect();
        ids.sort_unstable();
        ids.dedup();
        let promised = tickets::promises_of(tx, &ids).await?;
        let book = match promised.iter().any(|(_, _, version)| version.is_some()) {
            true => Some(self.rulebook(tx).await?),
            false => None,
        };
        let mut read = book.as_deref().map(Read::of);
        let mut promises = HashMap::new();
        for (ticket, priority, version) in promised {
            let policy = match (&mut read, version) {
                (Some(read), Some(version)) => Some(read.by_version(tx, Some(version)).await?),
                _ => None,
            };
            promises.insert(ticket, Promise { priority, policy });
        }
        Ok(promises)
    }

    /// Opens escalations whose steps count from the breach, however late it was seen. Their policy is pinned to its
    /// present version.
    pub(super) async fn open_escalations(
        &self,
        tx: &mut Tx,
        breached: Vec<(TicketId, ClockId, Timestamp)>,
        promises: &HashMap<TicketId, Promise>,
    ) -> Result<()> {
        let opening = |(ticket, clock, since): (TicketId, ClockId, Timestamp)| {
            let policy = promises.get(&ticket).and_then(|promise| promise.policy.as_ref());
            let calls = policy.and_then(|policy| policy.calls.as_ref());
            let steps = self.steps(calls.map(|calls| &calls.policy));
            let first_step_at = steps.at(since, 0)?;
            Some(Opening { ticket, clock, policy: calls.map(|calls| calls.version), since, first_step_at })
        };
        Ok(escalations::open(tx, breached.into_iter().filter_map(opening)).await?)
    }

    /// Calls people again where a clock overruns that somebody let go on; the steps count from `now`.
    pub(super) async fn escalate_again(&self, tx: &mut Tx, ticket: TicketId, now: Timestamp) -> Result<()> {
        let Some(clock) = self.overrunning(tx, ticket).await? else { return Ok(()) };
        let promises = self.promises_of(tx, [ticket]).await?;
        self.open_escalations(tx, vec![(ticket, clock, now)], &promises).await
    }

    const fn steps<'a>(&self, policy: Option<&'a Definition>) -> Steps<'a> {
        match policy {
            Some(policy) => Steps::Defined(policy),
            None => Steps::BuiltIn(self.rules.escalation),
        }
    }

    /// Takes the steps that are due of up to `limit` escalations. Of several missed in an outage that call the same
    /// people only the last is announced.
    pub async fn escalate(&self, tx: &mut Tx, limit: i64) -> Result<usize> {
        let now = self.clock.now();
        let mut due = escalations::claim_due(tx, now, limit).await?;
        let pinned = due.iter().filter_map(|escalation| escalation.policy_version_id);
        let policies = versions::escalation_policies(&mut *tx, pinned).await?;
        let (mut announced, mut happened) = (Vec::new(), Vec::new());
        for escalation in &mut due {
            let policy = escalation.policy_version_id.map(|version| policies.get(version)).transpose()?;
            let steps = self.steps(policy.as_deref());
            // The last step that called the same people, by their place in the policy.
            let mut calls: Vec<(usize, i64)> = Vec::new();
            let at = |done| steps.at(escalation.opened_at, done);
            while at(escalation.steps_done).is_some_and(|step_at| step_at <= now) {
                let place = steps.place(escalation.steps_done);
                escalation.steps_done += 1;
                calls.retain(|(other, _)| *other != place);
                calls.push((place, escalation.steps_done));
            }
            escalation.next_step_at = at(escalation.steps_done);
            if escalation.next_step_at.is_none() {
                (escalation.stopped_at, escalation.stop_reason) = (Some(now), Some(StopReason::Exhausted));
            }
            for (_, step) in calls {
                let (ticket, escalation) = (escalation.ticket_id, escalation.id);
                let data = json!({ "escalation_id": escalation, "step": step });
                let kind = EventKind::SlaEscalated;
                happened.push(NewEvent { kind, ticket, internal: true, actor: None, data, at: now });
                let cause = Cause::EscalationStep { ticket, escalation, step };
                let priority = cause.priority();
                announced.push(jobs::NewJob::of(&Notify { cause }).priority(priority).traced(None));
            }
        }
        escalations::advance(tx, &due).await?;
        events::publish(tx, happened);
        jobs::enqueue(tx, announced, now).await?;
        Ok(due.len())
    }
}

/// The steps after a breach.
enum Steps<'a> {
    BuiltIn(Policy),
    Defined(&'a Definition),
}

impl Steps<'_> {
    /// When the step after `done` others comes; none when there is none.
    fn at(&self, since: Timestamp, done: i64) -> Option<Timestamp> {
        let offset = match self {
            Self::BuiltIn(policy) => policy.offset(done),
            Self::Defined(policy) => policy.step(done)?.offset_from_breach,
        };
        since.checked_add_signed(offset)
    }

    /// The place in the policy of the step after `done` others.
    fn place(&self, done: i64) -> usize {
        match self {
            Self::BuiltIn(_) => 0,
            Self::Defined(policy) => policy.step(done).map_or(0, |timing| timing.step_index),
        }
    }
}

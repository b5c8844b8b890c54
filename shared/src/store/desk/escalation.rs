//! What falls due by itself: warnings, breaches, and the steps of escalations.

use chrono::TimeDelta;

use super::{Desk, Result};
use crate::domain::cause::Cause;
use crate::domain::escalation::StopReason;
use crate::domain::job::Notify;
use crate::domain::sla::{Event, Metric};
use crate::ids::{ClockId, TicketId};
use crate::store::clocks::{self, Change};
use crate::store::db::Tx;
use crate::store::escalations::{self, Opening};
use crate::store::jobs;
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

    /// Opens escalations whose steps count from the breach, however late it was seen.
    pub(super) async fn open_escalations(
        &self,
        tx: &mut Tx,
        breached: Vec<(TicketId, ClockId, Timestamp)>,
    ) -> Result<()> {
        let opening = |(ticket, clock, since): (TicketId, ClockId, Timestamp)| {
            let first_step_at = since + self.rules.escalation.offset(0);
            Opening { ticket, clock, policy: None, since, first_step_at }
        };
        Ok(escalations::open(tx, breached.into_iter().map(opening)).await?)
    }

    /// Calls people again where a clock overruns that somebody let go on; the steps count from `now`.
    pub(super) async fn escalate_again(&self, tx: &mut Tx, ticket: TicketId, now: Timestamp) -> Result<()> {
        let overrun = self.overrunning(tx, ticket).await?;
        self.open_escalations(tx, overrun.into_iter().map(|clock| (ticket, clock, now)).collect()).await
    }

    /// Takes the steps that are due of up to `limit` escalations. Of several steps missed in an outage only the last
    /// is announced, once: each would call the same people about the same thing.
    pub async fn escalate(&self, tx: &mut Tx, limit: i64) -> Result<usize> {
        let now = self.clock.now();
        let mut due = escalations::claim_due(tx, now, limit).await?;
        let mut announced = Vec::new();
        for escalation in &mut due {
            let at = |done| escalation.opened_at.checked_add_signed(self.rules.escalation.offset(done));
            while at(escalation.steps_done).is_some_and(|step_at| step_at <= now) {
                escalation.steps_done += 1;
            }
            escalation.next_step_at = at(escalation.steps_done);
            if escalation.next_step_at.is_none() {
                (escalation.stopped_at, escalation.stop_reason) = (Some(now), Some(StopReason::Exhausted));
            }
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

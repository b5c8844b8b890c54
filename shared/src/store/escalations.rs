//! Who has not been called yet: one open escalation a ticket.

use sqlx::FromRow;

use super::Result;
use super::db::Tx;
use super::query::{Target, Value, query};
use crate::domain::escalation::StopReason;
use crate::ids::{ClockId, EscalationId, TicketId, VersionId};
use crate::time::Timestamp;

/// The escalation of one breach.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct Escalation {
    /// Identifier.
    pub id: EscalationId,
    /// The ticket.
    pub ticket_id: TicketId,
    /// The clock that breached.
    pub clock_id: ClockId,
    /// The version of the policy that says who is called; none for the built-in one.
    pub policy_version_id: Option<VersionId>,
    /// The instant that its steps count from: the breach, or when somebody let the clock go on.
    pub opened_at: Timestamp,
    /// How many steps have been taken.
    pub steps_done: i64,
    /// When the next one is due; `None` once stopped.
    pub next_step_at: Option<Timestamp>,
    /// When it was stopped.
    pub stopped_at: Option<Timestamp>,
    /// Why it was stopped.
    pub stop_reason: Option<StopReason>,
}

/// An escalation to open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opening {
    /// The ticket.
    pub ticket: TicketId,
    /// The clock that breached.
    pub clock: ClockId,
    /// The version of the policy that says who is called; none for the built-in one.
    pub policy: Option<VersionId>,
    /// The instant that its steps count from.
    pub since: Timestamp,
    /// When the first step is due.
    pub first_step_at: Timestamp,
}

// In one order, so that two sweeps that find different clocks of the same tickets do not deadlock.
const OPEN: &str = "
    WITH v (id, ticket_id, clock_id, policy_version_id, opened_at, next_step_at) AS ({rows})
    INSERT INTO escalations (id, ticket_id, clock_id, policy_version_id, opened_at, steps_done, next_step_at)
    SELECT v.id, v.ticket_id, v.clock_id, v.policy_version_id, v.opened_at, 0, v.next_step_at
    FROM v JOIN tickets t ON t.id = v.ticket_id
    WHERE t.acknowledged_at IS NULL
    ORDER BY v.ticket_id, v.opened_at
    ON CONFLICT DO NOTHING";

/// Opens escalations: not for a ticket that somebody has acknowledged, nor where one is open already.
pub async fn open(tx: &mut Tx, openings: impl IntoIterator<Item = Opening>) -> Result<()> {
    let row = |o: Opening| -> [Value; 6] {
        [
            EscalationId::new().into(),
            o.ticket.into(),
            o.clock.into(),
            o.policy.into(),
            o.since.into(),
            o.first_step_at.into(),
        ]
    };
    query(OPEN).rows(openings.into_iter().map(row)).execute(tx).await?;
    Ok(())
}

/// Claims up to `limit` escalations whose next step is due, earliest first; other sweeps skip them.
pub async fn claim_due(tx: &mut Tx, now: Timestamp, limit: i64) -> Result<Vec<Escalation>> {
    let select =
        "SELECT * FROM escalations WHERE next_step_at <= $1 ORDER BY next_step_at LIMIT $2 {skip_locked}";
    query(select).bind(now).bind(limit).all(tx).await
}

const ADVANCE: &str = "
    WITH v (id, steps_done, next_step_at, stopped_at, stop_reason) AS ({rows})
    UPDATE escalations SET steps_done = v.steps_done, next_step_at = v.next_step_at, stopped_at = v.stopped_at,
        stop_reason = v.stop_reason
    FROM v WHERE escalations.id = v.id";

/// Stores the steps taken by escalations that this transaction has claimed.
pub async fn advance(tx: &mut Tx, taken: &[Escalation]) -> Result<()> {
    let row = |e: &Escalation| -> [Value; 5] {
        [e.id.into(), e.steps_done.into(), e.next_step_at.into(), e.stopped_at.into(), e.stop_reason.into()]
    };
    query(ADVANCE).rows(taken.iter().map(row)).execute(tx).await?;
    Ok(())
}

const STOP: &str = "
    UPDATE escalations SET stopped_at = $2, stop_reason = $3, next_step_at = NULL
    WHERE ticket_id = $1 AND stopped_at IS NULL RETURNING opened_at";

/// Stops a ticket's open escalation; returns the instant that its steps counted from, `None` when there is none.
pub async fn stop(
    tx: &mut Tx,
    ticket: TicketId,
    reason: StopReason,
    at: Timestamp,
) -> Result<Option<Timestamp>> {
    let stopped: Option<(Timestamp,)> = query(STOP).bind(ticket).bind(at).bind(reason).optional(tx).await?;
    Ok(stopped.map(|(opened_at,)| opened_at))
}

/// Finds an escalation.
pub async fn get(on: impl Into<Target<'_>>, id: EscalationId) -> Result<Option<Escalation>> {
    query("SELECT * FROM escalations WHERE id = $1").bind(id).optional(on).await
}

/// Lists a ticket's escalations, oldest first.
pub async fn of_ticket(on: impl Into<Target<'_>>, ticket: TicketId) -> Result<Vec<Escalation>> {
    query("SELECT * FROM escalations WHERE ticket_id = $1 ORDER BY id").bind(ticket).all(on).await
}

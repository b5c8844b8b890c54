//! Whether a cause still applies when it is time to tell it.

use shared::domain::cause::Cause;
use shared::domain::escalation::StopReason;
use shared::store::tickets::Ticket;
use shared::store::{clocks, escalations};
use shared::telemetry;

use crate::context::{Context, JobError};
use crate::mail::Subject;

/// Reads the present state and tells what the mail is about, or why it should not be sent any more.
pub(super) async fn still_applies(
    cx: &Context,
    cause: &Cause,
    ticket: &Ticket,
) -> Result<Result<Subject, &'static str>, JobError> {
    Ok(match cause {
        Cause::Created { .. } => Ok(Subject::Created(clocks::of_ticket(cx.db(), ticket.id).await?)),
        Cause::Resolved { .. } if ticket.resolved_at.is_none() => Err("the ticket was reopened"),
        Cause::Resolved { .. } => Ok(Subject::Resolved),
        Cause::Warning { clock, revision, fraction, .. } => {
            let Some(stored) = clocks::get(cx.db(), *clock).await? else {
                return Ok(Err("the clock is gone"));
            };
            let recorded = stored.clock.warn_at.get(..stored.clock.warned).unwrap_or_default();
            match &stored.clock {
                c if c.breached_at.is_some() => Err("superseded by the breach"),
                c if c.stopped_at.is_some() => Err("the clock was stopped"),
                c if c.is_held() => Err("the clock is paused"),
                c if c.revision != *revision => Err("the target changed"),
                _ if recorded.last() != Some(fraction) => Err("superseded by a later warning"),
                _ => Ok(Subject::Warning(stored, *fraction)),
            }
        }
        Cause::Breached { clock, .. } => {
            clocks::get(cx.db(), *clock).await?.map(Subject::Breached).ok_or("the clock is gone")
        }
        Cause::EscalationStep { escalation, step, .. } => {
            let Some(escalation) = escalations::get(cx.db(), *escalation).await? else {
                return Ok(Err("the escalation is gone"));
            };
            let stopped = match escalation.stop_reason {
                Some(StopReason::Acknowledged) => Some("somebody acknowledged the ticket"),
                Some(StopReason::Paused) => Some("the clock is paused"),
                Some(StopReason::Resolved) => Some("the ticket was resolved"),
                // The last call is still to be made.
                Some(StopReason::Exhausted) | None => None,
            };
            match (stopped, clocks::get(cx.db(), escalation.clock_id).await?) {
                (Some(reason), _) => Err(reason),
                (None, _) if escalation.steps_done > *step => Err("superseded by a later step"),
                (None, Some(stored)) => Ok(Subject::Escalation(stored, *step)),
                (None, None) => Err("the clock is gone"),
            }
        }
    })
}

/// Links a trace that began without the ticket's, such as a breach's, to the ticket's.
pub(super) fn link_to_the_ticket(cause: &Cause, ticket: &Ticket) {
    if matches!(cause, Cause::Created { .. }) {
        return;
    }
    if let Some(context) = ticket.traceparent.as_deref().and_then(telemetry::parse_traceparent) {
        telemetry::link_trace(&tracing::Span::current(), context);
    }
}

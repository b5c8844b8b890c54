//! Whether a cause still applies when it is time to tell it.

use shared::domain::cause::Cause;
use shared::domain::escalation::StopReason;
use shared::store::escalations::Escalation;
use shared::store::tickets::Ticket;
use shared::store::{clocks, comments, escalations, users, versions};
use shared::telemetry;

use crate::context::{Context, JobError};
use crate::mail::Subject;

/// Reads the present state and tells what the mail to `recipient` is about, or why it should not be sent any more.
pub(super) async fn still_applies(
    cx: &Context,
    cause: &Cause,
    ticket: &Ticket,
    recipient: &str,
) -> Result<Result<Subject, &'static str>, JobError> {
    if ticket.deleted_at.is_some() {
        return Ok(Err("the ticket was deleted"));
    }
    Ok(match cause {
        Cause::Created { .. } => Ok(Subject::Created(clocks::of_ticket(cx.db(), ticket.id).await?)),
        Cause::Resolved { .. } if ticket.resolved_at.is_none() => Err("the ticket was reopened"),
        Cause::Resolved { .. } => Ok(Subject::Resolved),
        Cause::Commented { comment, .. } => {
            let Some(found) = comments::get(cx.db(), *comment).await? else {
                return Ok(Err("the comment was deleted"));
            };
            // It may have been held overnight, and its reader be no staff any more.
            if found.comment.internal
                && !users::by_email(cx.db(), recipient).await?.is_some_and(|user| user.role.is_staff())
            {
                return Ok(Err("the recipient may not read internal comments"));
            }
            Ok(Subject::Commented(found))
        }
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
        Cause::EarlyStep { clock, revision, policy, step, .. } => {
            let Some(stored) = clocks::get(cx.db(), *clock).await? else {
                return Ok(Err("the clock is gone"));
            };
            let policy = versions::escalation_policies(cx.db(), [*policy]).await?.get(*policy)?;
            let at = policy.fraction_steps().find(|(place, _)| i64::try_from(*place + 1) == Ok(*step));
            match (&stored.clock, at) {
                _ if ticket.acknowledged_at.is_some() => Err("somebody acknowledged the ticket"),
                (c, _) if c.breached_at.is_some() => Err("superseded by the breach"),
                (c, _) if c.stopped_at.is_some() => Err("the clock was stopped"),
                (c, _) if c.is_held() => Err("the clock is paused"),
                (c, _) if c.revision != *revision => Err("the target changed"),
                (_, Some((_, fraction))) => Ok(Subject::EarlyCall(stored, fraction)),
                (_, None) => Err("the escalation policy has no such step"),
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
                Some(StopReason::Deleted) => Some("the ticket was deleted"),
                // The last call is still to be made, unless somebody did something since.
                Some(StopReason::Exhausted) if ticket.acknowledged_at.is_some() => {
                    Some("somebody acknowledged the ticket")
                }
                Some(StopReason::Exhausted) if ticket.status.is_done() => Some("the ticket was resolved"),
                Some(StopReason::Exhausted) | None => None,
            };
            match (stopped, clocks::get(cx.db(), escalation.clock_id).await?) {
                (Some(reason), _) => Err(reason),
                (None, Some(stored)) if stored.clock.is_held() => Err("the clock is paused"),
                (None, _) if called_again(cx, &escalation, *step).await? => Err("superseded by a later step"),
                (None, Some(stored)) => Ok(Subject::Escalation(stored, *step)),
                (None, None) => Err("the clock is gone"),
            }
        }
    })
}

/// Tells whether a later step has been taken that calls the same people.
async fn called_again(cx: &Context, escalation: &Escalation, step: i64) -> Result<bool, JobError> {
    let Some(version) = escalation.policy_version_id else { return Ok(escalation.steps_done > step) };
    let policy = versions::escalation_policies(cx.db(), [version]).await?.get(version)?;
    // A step is counted from 1; the policy asks how many have been taken before it.
    let place = |step: i64| policy.step(step - 1).map(|timing| timing.step_index);
    Ok((step + 1..=escalation.steps_done).any(|later| place(later) == place(step)))
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

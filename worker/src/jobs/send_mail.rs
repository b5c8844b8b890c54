//! Mails one recipient about one cause, unless it no longer applies.

use std::time::Duration;

use shared::domain::cause::Cause;
use shared::domain::escalation::StopReason;
use shared::domain::job::{Ending, SendMail};
use shared::store::notifications::{self, Notification, State};
use shared::store::tickets::{self, Ticket};
use shared::store::{clocks, escalations};
use shared::telemetry;

use crate::context::{Context, JobError, Outcome};
use crate::mail::{Letter, SendError, Subject};
use crate::registry::Run;

/// How long to wait before a mail that went out is put on record again.
const RECORD_AGAIN: Duration = Duration::from_millis(500);

impl Run for SendMail {
    async fn run(&self, cx: &Context) -> Result<Outcome, JobError> {
        let Some(notification) = notifications::get(cx.db(), self.notification).await? else {
            return Ok(Outcome::Skip("the notification is gone".into()));
        };
        match notification.state {
            State::Pending => {}
            State::Failed => reopen(cx, &notification).await?,
            State::Sent | State::Suppressed => {
                return Ok(Outcome::Skip(format!("the notification was {} before", notification.state)));
            }
        }
        let ticket = tickets::get(cx.db(), notification.ticket_id).await?;
        let ticket = ticket.ok_or_else(|| JobError::Dead("the ticket is gone".into()))?;
        link_to_the_ticket(&notification.cause, &ticket);
        let subject = match still_applies(cx, &notification.cause, &ticket).await? {
            Ok(subject) => subject,
            Err(reason) => return settle(cx, &notification, State::Suppressed, reason.into()).await,
        };
        let letter = Letter::write(&notification, &ticket, &subject, &cx.worker.process.config.public_url);
        cx.still_mine().await?;
        let event = notification.cause.event();
        let sent = cx.worker.mailer.send(&letter).await;
        metrics::counter!("dogwatch_mails_total", "event" => event, "outcome" => outcome(&sent)).increment(1);
        match sent {
            Ok(()) => {
                tracing::info!(notification.id = %notification.id, ticket.key = ticket.key(), event, "mailed");
                record_sent(cx, &notification).await
            }
            Err(SendError::Refused(why)) => settle(cx, &notification, State::Failed, why).await,
            Err(SendError::Failed(why)) if cx.is_last_attempt() => {
                settle(cx, &notification, State::Failed, why).await
            }
            Err(SendError::Failed(why)) => Err(JobError::Retry(why)),
        }
    }
}

fn outcome(sent: &Result<(), SendError>) -> &'static str {
    match sent {
        Ok(()) => "sent",
        Err(SendError::Failed(_)) => "retried",
        Err(SendError::Refused(_)) => "failed",
    }
}

/// Makes a notification that was given up pending again: its job runs only because an operator retries it.
async fn reopen(cx: &Context, notification: &Notification) -> Result<(), JobError> {
    cx.still_mine().await?;
    let mut tx = cx.db().begin().await?;
    notifications::reopen(&mut tx, notification.id).await?;
    let _ = tx.commit().await?;
    Ok(())
}

/// Puts on record that the mail went out. While the database is away only this is tried again, as long as the
/// attempt may take, since another attempt would mail twice.
async fn record_sent(cx: &Context, notification: &Notification) -> Result<Outcome, JobError> {
    loop {
        match settle(cx, notification, State::Sent, String::new()).await {
            Err(JobError::Retry(error)) => {
                tracing::warn!(notification.id = %notification.id, error, "mailed, but could not put it on record yet");
                tokio::time::sleep(RECORD_AGAIN).await;
            }
            settled => return settled,
        }
    }
}

/// Puts the notification and the job on record as one.
async fn settle(
    cx: &Context,
    notification: &Notification,
    state: State,
    why: String,
) -> Result<Outcome, JobError> {
    let why = (!why.is_empty()).then_some(why);
    let ending = match state {
        State::Failed => Ending::Dead,
        State::Suppressed => Ending::Discarded,
        State::Pending | State::Sent => Ending::Done,
    };
    match state {
        State::Failed => {
            let why = telemetry::masked(why.as_deref().unwrap_or_default());
            tracing::error!(notification.id = %notification.id, why, "gave up mailing; see `dogwatch jobs list --dead`");
        }
        State::Suppressed => {
            metrics::counter!("dogwatch_notifications_suppressed_total", "reason" => "superseded")
                .increment(1);
            tracing::info!(notification.id = %notification.id, why, "did not mail");
        }
        State::Pending | State::Sent => {}
    }
    let mut tx = cx.db().begin().await?;
    notifications::settle(&mut tx, notification.id, state, why.as_deref(), cx.now()).await?;
    cx.commit(tx, ending, why).await
}

/// Reads the present state and tells what the mail is about, or why it should not be sent any more.
async fn still_applies(
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

//! Mails one recipient about one cause, unless it no longer applies.

use std::time::Duration;

use shared::domain::job::{Ending, ErrorClass, SendMail};
use shared::ids::NotificationId;
use shared::metrics::{MAILS, NOTIFICATION_LATENCY, NOTIFICATIONS_SUPPRESSED};
use shared::store::notifications::{self, Channel, Notification, State};
use shared::store::tickets;

use super::applies::{link_to_the_ticket, still_applies};
use super::reader::Reader;
use crate::context::{Context, JobError, Outcome};
use crate::mail::{Letter, SendError, Subject};
use crate::registry::Run;

/// How long to wait before a mail that went out is put on record again.
pub(super) const RECORD_AGAIN: Duration = Duration::from_millis(500);

impl Run for SendMail {
    async fn run(&self, cx: &Context) -> Result<Outcome, JobError> {
        let notification = match to_tell(cx, self.notification).await? {
            Ok(notification) => notification,
            Err(skipped) => return Ok(skipped),
        };
        let ticket = tickets::get(cx.db(), notification.ticket_id).await?;
        let ticket = ticket.ok_or_else(|| JobError::dead("the ticket is gone"))?;
        link_to_the_ticket(&notification.cause, &ticket);
        let subject = match still_applies(cx, &notification.cause, &ticket, &notification.recipient).await? {
            Ok(subject) => subject,
            Err(reason) => return settle(cx, &notification, State::Suppressed, reason.into()).await,
        };
        let reader = Reader::of(cx, &notification.recipient).await?;
        let story = reader.story(cx, &notification, ticket, subject).await?;
        let letter = Letter::write(&story, reader.zone, &cx.worker.process.config.public_url);
        cx.still_mine().await?;
        let event = notification.cause.event();
        let sent = cx.worker.mailer.send(&letter).await;
        MAILS.of([event, outcome(&sent)]).increment(1);
        match sent {
            Ok(()) => {
                tracing::info!(notification.id = %notification.id, ticket.key = story.ticket.key(), event, "mailed");
                measure_latency(cx, &notification, &story.subject);
                record_sent(cx, &notification).await
            }
            Err(SendError::Refused(why)) => settle(cx, &notification, State::Failed, why).await,
            Err(SendError::Failed(why)) if cx.is_last_attempt() => {
                settle(cx, &notification, State::Failed, why).await
            }
            Err(SendError::Failed(why)) => Err(JobError::retry(ErrorClass::Mail, why)),
        }
    }
}

/// Measures how long it took to tell somebody: a breach from its own instant, since that is what was promised.
pub(super) fn measure_latency(cx: &Context, notification: &Notification, subject: &Subject) {
    let breach = match subject {
        Subject::Breached(stored) => stored.clock.breached_at,
        _ => None,
    };
    let since = cx.now() - breach.unwrap_or(notification.created_at);
    NOTIFICATION_LATENCY.of([notification.cause.event()]).record(since.as_seconds_f64().max(0.0));
}

/// The label of what became of a mail.
pub(super) fn outcome(sent: &Result<(), SendError>) -> &'static str {
    match sent {
        Ok(()) => "sent",
        Err(SendError::Failed(_)) => "retried",
        Err(SendError::Refused(_)) => "failed",
    }
}

/// Finds a notification that is still to be told, or says why there is nothing to do.
pub(super) async fn to_tell(
    cx: &Context,
    id: NotificationId,
) -> Result<Result<Notification, Outcome>, JobError> {
    let Some(notification) = notifications::get(cx.db(), id).await? else {
        return Ok(Err(Outcome::Skip("the notification is gone".into())));
    };
    match notification.state {
        State::Pending => {}
        State::Failed => reopen(cx, &notification).await?,
        // Its digest job tells it, when it is time.
        State::Held => return Ok(Err(Outcome::Skip("the notification is held".into()))),
        State::Sent | State::Suppressed => {
            return Ok(Err(Outcome::Skip(format!("the notification was {} before", notification.state))));
        }
    }
    Ok(Ok(notification))
}

/// Makes a notification that was given up pending again: its job runs only because an operator retries it.
async fn reopen(cx: &Context, notification: &Notification) -> Result<(), JobError> {
    cx.still_mine().await?;
    let mut tx = cx.db().begin().await?;
    notifications::reopen(&mut tx, notification.id).await?;
    let _ = tx.commit().await?;
    Ok(())
}

/// Puts on record that the notification went out. While the database is away only this is tried again, as long as the
/// attempt may take, since another attempt would tell it twice.
pub(super) async fn record_sent(cx: &Context, notification: &Notification) -> Result<Outcome, JobError> {
    loop {
        match settle(cx, notification, State::Sent, String::new()).await {
            Err(JobError::Retry(error)) => {
                tracing::warn!(notification.id = %notification.id, %error, "told, but could not put it on record yet");
                tokio::time::sleep(RECORD_AGAIN).await;
            }
            settled => return settled,
        }
    }
}

/// Puts the notification and the job on record as one.
pub(super) async fn settle(
    cx: &Context,
    notification: &Notification,
    state: State,
    why: String,
) -> Result<Outcome, JobError> {
    let why = (!why.is_empty()).then_some(why);
    let ending = match state {
        State::Failed => Ending::Dead,
        State::Suppressed => Ending::Discarded,
        State::Pending | State::Held | State::Sent => Ending::Done,
    };
    match state {
        State::Failed => {
            cx.count_failure(if notification.channel == Channel::Email {
                ErrorClass::Mail
            } else {
                ErrorClass::Webhook
            });
            tracing::error!(notification.id = %notification.id, why, "gave up telling; see `dogwatch jobs list --dead`");
        }
        State::Suppressed => {
            NOTIFICATIONS_SUPPRESSED.of(["superseded"]).increment(1);
            tracing::info!(notification.id = %notification.id, why, "did not tell");
        }
        State::Pending | State::Held | State::Sent => {}
    }
    let mut tx = cx.db().begin().await?;
    notifications::settle(&mut tx, notification.id, state, why.as_deref(), cx.now()).await?;
    cx.commit(tx, ending, why).await
}

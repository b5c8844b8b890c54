//! Posts one notification to one webhook, unless it no longer applies.

use shared::config::Secret;
use shared::domain::job::{ErrorClass, SendWebhook};
use shared::metrics::WEBHOOKS;
use shared::store::notifications::{Notification, State};
use shared::store::tickets;

use super::applies::{link_to_the_ticket, still_applies};
use super::send_mail::{measure_latency, record_sent, settle, to_tell};
use crate::context::{Context, JobError, Outcome};
use crate::registry::Run;
use crate::webhook::{Event, PostError, secret};

impl Run for SendWebhook {
    async fn run(&self, cx: &Context) -> Result<Outcome, JobError> {
        let notification = match to_tell(cx, self.notification).await? {
            Ok(notification) => notification,
            Err(skipped) => return Ok(skipped),
        };
        let secret = secret::of(cx.db(), &notification).await?;
        tell(cx, &notification, secret).await
    }
}

/// Posts a pending notification, signed where there is a secret.
pub(crate) async fn tell(
    cx: &Context,
    notification: &Notification,
    secret: Option<Secret>,
) -> Result<Outcome, JobError> {
    let ticket = tickets::get(cx.db(), notification.ticket_id).await?;
    let ticket = ticket.ok_or_else(|| JobError::dead("the ticket is gone"))?;
    link_to_the_ticket(&notification.cause, &ticket);
    let subject = match still_applies(cx, &notification.cause, &ticket, &notification.recipient).await? {
        Ok(subject) => subject,
        Err(reason) => return settle(cx, notification, State::Suppressed, reason.into()).await,
    };
    let event = Event::new(notification, &ticket, &subject, &cx.worker.process.config.public_url);
    let body = serde_json::to_string(&event).map_err(|error| JobError::dead(error.to_string()))?;
    cx.still_mine().await?;
    let poster = &cx.worker.poster;
    let sent = poster.post(notification.id, &notification.recipient, secret.as_ref(), body, cx.now()).await;
    let outcome = match &sent {
        Ok(()) => "sent",
        Err(PostError::Failed(_)) => "retried",
        Err(PostError::Refused(_)) => "failed",
    };
    let event = notification.cause.event();
    WEBHOOKS.of([event, outcome]).increment(1);
    match sent {
        Ok(()) => {
            tracing::info!(notification.id = %notification.id, ticket.key = ticket.key(), event, "posted a webhook");
            measure_latency(cx, notification, &subject);
            record_sent(cx, notification).await
        }
        Err(PostError::Failed(why)) if !cx.is_last_attempt() => {
            Err(JobError::retry(ErrorClass::Webhook, why))
        }
        Err(PostError::Failed(why) | PostError::Refused(why)) => {
            settle(cx, notification, State::Failed, why).await
        }
    }
}

//! Posts one event to one webhook, and decides what becomes of it by the answer.

use shared::domain::job::{DeliverWebhook, Ending};
use shared::domain::webhook::{Verdict, judge};
use shared::metrics::{WEBHOOK_DELIVERIES, WEBHOOKS_DISABLED};
use shared::store::deliveries::{self, Delivery, State};
use shared::store::webhooks::{self, Webhook};

use crate::context::{Context, JobError, Outcome};
use crate::registry::Run;
use crate::webhook::{Answer, PostError};

/// Why nothing more is sent to a receiver that said so.
const GONE: &str = "The receiver answered 410 Gone.";

impl Run for DeliverWebhook {
    async fn run(&self, cx: &Context) -> Result<Outcome, JobError> {
        let found = deliveries::get(cx.db(), self.delivery).await?;
        let pending = |d: &Delivery| d.state == State::Pending && d.turn == self.turn;
        let Some(delivery) = found.filter(pending) else {
            return Ok(Outcome::Skip("the delivery was settled or sent anew".into()));
        };
        let Some(webhook) = webhooks::get(cx.db(), delivery.webhook_id).await?.filter(|w| w.enabled) else {
            let why = "The webhook was disabled or deleted before this could be sent.";
            let cancelled =
                Delivery { last_error: Some(why.into()), ..settled(cx, delivery, State::Cancelled) };
            return record(cx, cancelled, None).await;
        };
        cx.still_mine().await?;
        let (id, secrets) = (delivery.id.to_string(), webhook.secrets(cx.now()));
        let poster = &cx.worker.poster;
        let answer = poster.send(&id, &webhook.url, &secrets, delivery.body.clone(), cx.now()).await;
        let delivery = after(cx, delivery, answer);
        record(cx, delivery, Some(&webhook)).await
    }
}

/// How a delivery stands after an attempt.
fn after(cx: &Context, mut delivery: Delivery, answer: Result<Answer, PostError>) -> Delivery {
    delivery.attempts += 1;
    let tried = delivery.attempts - delivery.attempts_before;
    let status = answer.as_ref().ok().map(|answer| answer.status.as_u16());
    let verdict = match &answer {
        // Asking again changes nothing about an address that must not be used.
        Err(PostError::Refused(_)) => Verdict::Failed,
        _ => judge(status, tried, rand::random()),
    };
    delivery.last_status = status.map(i64::from);
    (delivery.last_response, delivery.last_error) = match answer {
        Ok(answer) => {
            let error =
                (verdict != Verdict::Delivered).then(|| format!("The receiver answered {}.", answer.status));
            (Some(answer.text), error)
        }
        Err(PostError::Failed(why) | PostError::Refused(why)) => (None, Some(why)),
    };
    match verdict {
        Verdict::Delivered => settled(cx, delivery, State::Delivered),
        Verdict::Gone | Verdict::Failed => settled(cx, delivery, State::Failed),
        Verdict::Again(wait) => Delivery { next_attempt_at: Some(cx.now() + wait), ..delivery },
    }
}

fn settled(cx: &Context, delivery: Delivery, state: State) -> Delivery {
    Delivery { state, next_attempt_at: None, settled_at: Some(cx.now()), ..delivery }
}

/// Puts an attempt on record with what it says about the webhook, and with the job's end.
async fn record(
    cx: &Context,
    mut delivery: Delivery,
    webhook: Option<&Webhook>,
) -> Result<Outcome, JobError> {
    let now = cx.now();
    let mut tx = cx.db().begin().await?;
    if !deliveries::save(&mut tx, &mut delivery, now).await? {
        tx.rollback().await?;
        return Ok(Outcome::Skip("the delivery was sent anew meanwhile".into()));
    }
    let gone = delivery.last_status == Some(410) && delivery.state == State::Failed;
    let disabled = match webhook {
        Some(webhook) if delivery.state == State::Delivered => {
            webhooks::recovered(&mut tx, webhook.id).await?;
            None
        }
        Some(webhook) if gone => webhooks::disable(&mut tx, webhook.id, GONE, now).await?.then_some("gone"),
        Some(webhook) => webhooks::failed(&mut tx, webhook.id, now).await?.then_some("failing"),
        None => None,
    };
    let (outcome, ending) = match delivery.state {
        State::Delivered => ("delivered", Ending::Done),
        State::Pending => ("retried", Ending::Done),
        State::Failed => ("failed", Ending::Discarded),
        State::Cancelled => ("cancelled", Ending::Discarded),
    };
    let recorded = cx.commit(tx, ending, delivery.last_error.clone()).await?;
    WEBHOOK_DELIVERIES.of([outcome]).increment(1);
    if let Some(reason) = disabled {
        WEBHOOKS_DISABLED.of([reason]).increment(1);
        tracing::warn!(webhook.id = %delivery.webhook_id, reason, "disabled a webhook");
    }
    Ok(recorded)
}

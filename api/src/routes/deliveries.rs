//! What became of what webhooks were told.

use axum::response::Response;
use serde::Serialize;
use shared::domain::access::Area;
use shared::ids::{DeliveryId, TicketId, WebhookId};
use shared::store::deliveries::{self, Delivery, Filter, State};
use shared::time::Timestamp as DateTime;
use utoipa::ToSchema;

use super::webhooks::find;
use crate::call::{Call, Listing, Name, Names};
use crate::cursor;
use crate::envelope::Envelope;
use crate::error::ApiError;
use crate::openapi::queries;

/// One event on its way to one webhook.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Delivery)]
pub(super) struct DeliveryView {
    /// Also the `webhook-id` of every try.
    id: DeliveryId,
    webhook_id: WebhookId,
    /// The id of the event; null for a test.
    event_id: Option<i64>,
    r#type: String,
    ticket_id: Option<TicketId>,
    state: State,
    attempts: i64,
    /// The receiver's last status.
    last_status: Option<i64>,
    last_error: Option<String>,
    /// The beginning of the receiver's last answer.
    last_response: Option<String>,
    next_attempt_at: Option<DateTime>,
    created_at: DateTime,
    settled_at: Option<DateTime>,
}

impl From<Delivery> for DeliveryView {
    fn from(delivery: Delivery) -> Self {
        Self {
            id: delivery.id,
            webhook_id: delivery.webhook_id,
            event_id: delivery.seq,
            r#type: delivery.kind,
            ticket_id: delivery.ticket_id,
            state: delivery.state,
            attempts: delivery.attempts,
            last_status: delivery.last_status,
            last_error: delivery.last_error,
            last_response: delivery.last_response,
            next_attempt_at: delivery.next_attempt_at,
            created_at: delivery.created_at,
            settled_at: delivery.settled_at,
        }
    }
}

/// Lists what became of each delivery to a webhook, newest first.
#[utoipa::path(
    get, path = "/webhooks/{id}/deliveries", tag = "webhooks",
    params(queries::Deliveries, queries::Page, queries::Count),
    responses((status = 200, description = "A page of deliveries.", body = Vec<DeliveryView>)),
)]
pub(super) async fn list_deliveries(
    Listing { call, mut query }: Listing,
    Name(name): Name,
) -> Result<Envelope<Vec<DeliveryView>>, ApiError> {
    call.sees(Area::Webhooks)?;
    let state = query.word("state").flatten();
    let before = query.parse("cursor", "a next_cursor from such a list").flatten();
    let limit = query.number("limit", 1..=100).unwrap_or(20);
    let count: Option<bool> = query.parse("count", "true or false").flatten();
    query.finish()?;
    let webhook = find(&call, &name).await?.id;
    let db = &call.app.process.db;
    let filter = Filter { webhook, state, before, limit: limit + 1 };
    let mut found = deliveries::list(db, &filter).await?;
    let mut meta = cursor::cut(&mut found, limit, |last| last.id.to_string());
    if count.unwrap_or(false) {
        meta["total"] = deliveries::count(db, &filter).await?.into();
    }
    Ok(Envelope::ok(found.into_iter().map(DeliveryView::from).collect()).meta(meta))
}

/// Sends a delivery again, with the same `webhook-id`, and as often as one that is new would be.
#[utoipa::path(
    post, path = "/webhooks/{id}/deliveries/{delivery}/resend", tag = "webhooks",
    responses((status = 202, description = "The delivery, on its way again.", body = DeliveryView)),
)]
pub(super) async fn resend_delivery(call: Call, Names(name, id): Names) -> Result<Response, ApiError> {
    call.changes(Area::Webhooks)?;
    let webhook = find(&call, &name).await?;
    let id: DeliveryId = id.parse().map_err(|_| ApiError::NotFound("delivery"))?;
    refuse_disabled(webhook.enabled)?;
    let mut tx = call.begin().await?;
    let found = deliveries::lock(&mut tx, id).await?.filter(|found| found.webhook_id == webhook.id);
    let mut delivery = found.ok_or(ApiError::NotFound("delivery"))?;
    deliveries::resend(&mut tx, &mut delivery, call.by().now).await?;
    call.commit(tx, Envelope::accepted(DeliveryView::from(delivery))).await
}

/// Sends an event of the type `webhook.test`, which says nothing but that the webhook works.
#[utoipa::path(
    post, path = "/webhooks/{id}/test", tag = "webhooks",
    responses((status = 202, description = "The delivery, on its way.", body = DeliveryView)),
)]
pub(super) async fn test_webhook(call: Call, Name(name): Name) -> Result<Response, ApiError> {
    call.changes(Area::Webhooks)?;
    let webhook = find(&call, &name).await?;
    refuse_disabled(webhook.enabled)?;
    let mut tx = call.begin().await?;
    let made = deliveries::test(&mut tx, webhook.id, call.by().now).await?;
    let made = made.ok_or(ApiError::NotFound("webhook"))?;
    call.commit(tx, Envelope::accepted(DeliveryView::from(made))).await
}

fn refuse_disabled(enabled: bool) -> Result<(), ApiError> {
    if enabled {
        return Ok(());
    }
    Err(ApiError::Conflict("webhook_disabled", "The webhook is disabled: enable it first.".into()))
}

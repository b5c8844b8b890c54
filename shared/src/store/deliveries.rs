//! What webhooks are told: one delivery per webhook and event, whatever happens to the processes.

use serde_json::json;
use sqlx::FromRow;

use super::db::Tx;
use super::events::{self, Only, Told};
use super::query::{Query, Target, Value, query};
use super::webhooks::{self, Webhook};
use super::{Result, jobs};
use crate::domain::job::DeliverWebhook;
use crate::domain::webhook::TEST;
use crate::ids::{DeliveryId, TicketId, WebhookId};
use crate::time::Timestamp;

crate::domain::text_enum! {
    /// What became of a delivery.
    #[schema(as = DeliveryState)]
    State {
        /// To be tried, or tried again.
        Pending = "pending",
        /// The receiver took it.
        Delivered = "delivered",
        /// Given up after the last try, or for good.
        Failed = "failed",
        /// Not tried any more, since the webhook was disabled or deleted.
        Cancelled = "cancelled",
    }
}

impl From<State> for Value {
    fn from(state: State) -> Self {
        Self::from(state.as_str())
    }
}

/// One event on its way to one webhook.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct Delivery {
    /// Identifier; also the `webhook-id` of every try.
    pub id: DeliveryId,
    /// Where to.
    pub webhook_id: WebhookId,
    /// The event; none for a test.
    pub seq: Option<i64>,
    /// Its type.
    pub kind: String,
    /// Its ticket; none for a test.
    pub ticket_id: Option<TicketId>,
    /// The request's body, the same for every try.
    pub body: String,
    /// What became of it.
    pub state: State,
    /// Goes up with every job for it; only the job of the present turn may post.
    pub turn: i64,
    /// How often it was tried.
    pub attempts: i64,
    /// How often before it was last sent anew.
    pub attempts_before: i64,
    /// The receiver's last status.
    pub last_status: Option<i64>,
    /// What went wrong last.
    pub last_error: Option<String>,
    /// The beginning of the receiver's last answer.
    pub last_response: Option<String>,
    /// When it is tried next, while it is pending.
    pub next_attempt_at: Option<Timestamp>,
    /// When it was decided on.
    pub created_at: Timestamp,
    /// When it was settled.
    pub settled_at: Option<Timestamp>,
}

/// What one round of handing out events did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FannedOut {
    /// How far the webhooks were behind at its beginning.
    pub behind: i64,
    /// Events handed out.
    pub events: i64,
    /// Deliveries made of them.
    pub deliveries: usize,
}

const CURSOR: &str = "SELECT seq FROM webhook_cursor WHERE id = 1 {skip_locked}";
const MOVE: &str = "UPDATE webhook_cursor SET seq = $1 WHERE id = 1";

/// Makes deliveries of up to `limit` events that no webhook was told of yet, and a job for each. Does nothing while
/// another scheduler does it.
pub async fn fan_out(tx: &mut Tx, limit: i64, now: Timestamp) -> Result<FannedOut> {
    let cursor: Option<(i64,)> = query(CURSOR).optional(&mut *tx).await?;
    let Some((cursor,)) = cursor else { return Ok(FannedOut::default()) };
    // Before the webhooks: one that is not seen below was made after everything up to here had happened.
    let head = events::head(&mut *tx).await?;
    if head == cursor {
        return Ok(FannedOut::default());
    }
    let webhooks = webhooks::enabled(&mut *tx).await?;
    let until = if webhooks.is_empty() { head } else { head.min(cursor.saturating_add(limit)) };
    let mut made = Vec::new();
    if !webhooks.is_empty() {
        for told in events::told(&mut *tx, cursor, until, Only::default()).await? {
            let body = body(&told);
            let of_event = |webhook: &Webhook| Delivery::new(webhook.id, Some(&told), body.clone(), now);
            made.extend(webhooks.iter().filter(|webhook| webhook.wants(&told)).map(of_event));
        }
    }
    let deliveries = insert(tx, made, now).await?.len();
    query(MOVE).bind(until).execute(tx).await?;
    Ok(FannedOut { behind: head - cursor, events: until - cursor, deliveries })
}

/// What is posted about an event.
fn body(told: &Told) -> String {
    json!({ "type": told.event.kind, "timestamp": told.event.at, "data": told.view() }).to_string()
}

impl Delivery {
    fn new(webhook: WebhookId, told: Option<&Told>, body: String, now: Timestamp) -> Self {
        Self {
            id: DeliveryId::new(),
            webhook_id: webhook,
            seq: told.map(|told| told.event.seq),
            kind: told.map_or(TEST, |told| told.event.kind.as_str()).to_owned(),
            ticket_id: told.map(|told| told.event.ticket_id),
            body,
            state: State::Pending,
            turn: 1,
            attempts: 0,
            attempts_before: 0,
            last_status: None,
            last_error: None,
            last_response: None,
            next_attempt_at: Some(now),
            created_at: now,
            settled_at: None,
        }
    }

    /// The job that makes its next try.
    fn job(&self) -> jobs::NewJob {
        jobs::NewJob::of(&DeliverWebhook { delivery: self.id, turn: self.turn }).traced(None)
    }
}

const INSERT: &str = "
    INSERT INTO webhook_deliveries (id, webhook_id, seq, kind, ticket_id, body, state, turn, attempts, attempts_before,
        next_attempt_at, created_at)
    {rows}
    ON CONFLICT DO NOTHING
    RETURNING id";

/// Inserts deliveries that were not made before, with their jobs; returns those that were inserted.
async fn insert(tx: &mut Tx, made: Vec<Delivery>, now: Timestamp) -> Result<Vec<Delivery>> {
    let row = |d: &Delivery| -> [Value; 12] {
        [
            d.id.into(),
            d.webhook_id.into(),
            d.seq.into(),
            d.kind.as_str().into(),
            d.ticket_id.into(),
            d.body.as_str().into(),
            d.state.into(),
            d.turn.into(),
            d.attempts.into(),
            d.attempts_before.into(),
            d.next_attempt_at.into(),
            d.created_at.into(),
        ]
    };
    let inserted: Vec<(DeliveryId,)> = query(INSERT).rows(made.iter().map(row)).all(&mut *tx).await?;
    let inserted: std::collections::HashSet<DeliveryId> = inserted.into_iter().map(|(id,)| id).collect();
    let made: Vec<Delivery> = made.into_iter().filter(|made| inserted.contains(&made.id)).collect();
    jobs::enqueue(tx, made.iter().map(Delivery::job).collect(), now).await?;
    Ok(made)
}

/// Makes a delivery that only shows whether a webhook works.
pub async fn test(tx: &mut Tx, webhook: WebhookId, now: Timestamp) -> Result<Option<Delivery>> {
    let body = json!({ "type": TEST, "timestamp": now, "data": { "webhook_id": webhook } }).to_string();
    let made = vec![Delivery::new(webhook, None, body, now)];
    Ok(insert(tx, made, now).await?.pop())
}

/// Finds a delivery.
pub async fn get(on: impl Into<Target<'_>>, id: DeliveryId) -> Result<Option<Delivery>> {
    query("SELECT * FROM webhook_deliveries WHERE id = $1").bind(id).optional(on).await
}

/// Finds a delivery and keeps others from changing it until the transaction ends.
pub async fn lock(tx: &mut Tx, id: DeliveryId) -> Result<Option<Delivery>> {
    query("SELECT * FROM webhook_deliveries WHERE id = $1 {for_update}").bind(id).optional(tx).await
}

/// Which deliveries of a webhook to list; `None` lets all through.
#[derive(Clone, Copy, Debug)]
pub struct Filter {
    /// Where to.
    pub webhook: WebhookId,
    /// What became of them.
    pub state: Option<State>,
    /// Only what was decided on before this one.
    pub before: Option<DeliveryId>,
    /// At most as many.
    pub limit: i64,
}

/// Lists deliveries, newest first.
pub async fn list(on: impl Into<Target<'_>>, filter: &Filter) -> Result<Vec<Delivery>> {
    conditions(query("SELECT * FROM webhook_deliveries WHERE webhook_id = "), filter)
        .page(true, filter.before, filter.limit)
        .all(on)
        .await
}

/// Counts the deliveries that a filter lets through, on all pages.
pub async fn count(on: impl Into<Target<'_>>, filter: &Filter) -> Result<i64> {
    let select = query("SELECT COUNT(*) FROM webhook_deliveries WHERE webhook_id = ");
    let (count,): (i64,) = conditions(select, filter).one(on).await?;
    Ok(count)
}

fn conditions(select: Query, filter: &Filter) -> Query {
    let select = select.push_bind(filter.webhook);
    match filter.state {
        Some(state) => select.push(" AND state = ").push_bind(state),
        None => select,
    }
}

const SAVE: &str = "
    UPDATE webhook_deliveries SET state = $3, turn = $4, attempts = $5, attempts_before = $6, last_status = $7,
        last_error = $8, last_response = $9, next_attempt_at = $10, settled_at = $11
    WHERE id = $1 AND turn = $2";

/// Stores how a delivery stands after its `turn`; `false` when it was sent anew meanwhile. What is pending then gets
/// a job of the next turn.
pub async fn save(tx: &mut Tx, delivery: &mut Delivery, now: Timestamp) -> Result<bool> {
    let turn = delivery.turn;
    delivery.turn += 1;
    let d = &*delivery;
    let save = query(SAVE).bind(d.id).bind(turn).bind(d.state).bind(d.turn).bind(d.attempts);
    let save = save.bind(d.attempts_before).bind(d.last_status).bind(d.last_error.as_deref());
    let save = save.bind(d.last_response.as_deref()).bind(d.next_attempt_at).bind(d.settled_at);
    if save.execute(tx).await? == 0 {
        return Ok(false);
    }
    if let Some(at) = d.next_attempt_at {
        jobs::enqueue(tx, vec![d.job().at(at)], now).await?;
    }
    Ok(true)
}

/// Sends a locked delivery anew, as often as one that is new would be.
pub async fn resend(tx: &mut Tx, delivery: &mut Delivery, now: Timestamp) -> Result<()> {
    delivery.attempts_before = delivery.attempts;
    (delivery.state, delivery.next_attempt_at, delivery.settled_at) = (State::Pending, Some(now), None);
    save(tx, delivery, now).await?;
    Ok(())
}

const PRUNE: &str = "
    DELETE FROM webhook_deliveries WHERE id IN (
        SELECT id FROM webhook_deliveries WHERE settled_at < $1 ORDER BY settled_at LIMIT $2)";

/// Forgets up to `limit` deliveries that were settled before `before`.
pub async fn prune(tx: &mut Tx, before: Timestamp, limit: i64) -> Result<u64> {
    query(PRUNE).bind(before).bind(limit).execute(tx).await
}

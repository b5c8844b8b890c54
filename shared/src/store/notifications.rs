//! Who has been told what: one row per cause, recipient and channel, whatever happens to the processes.

use sqlx::FromRow;
use sqlx::types::Json;

use super::db::Tx;
use super::query::{Query, Target, Value, query};
use super::{Db, Result};
use crate::domain::cause::Cause;
use crate::ids::{NotificationId, TicketId};
use crate::time::Timestamp;

crate::domain::text_enum! {
    /// What became of a notification.
    #[schema(as = NotificationState)]
    State {
        /// Not settled yet.
        Pending = "pending",
        /// Waiting for `release_at`, for a reason that is on record.
        Held = "held",
        /// Accepted by the mail server, or by the receiver of the webhook.
        Sent = "sent",
        /// Not sent, for a reason that is on record.
        Suppressed = "suppressed",
        /// Refused for good, for a reason that is on record.
        Failed = "failed",
    }
}

crate::domain::text_enum! {
    /// How a notification leaves.
    Channel {
        /// By mail.
        Email = "email",
        /// By an HTTP request.
        Webhook = "webhook",
    }
}

impl From<State> for Value {
    fn from(state: State) -> Self {
        Self::from(state.as_str())
    }
}

impl From<Channel> for Value {
    fn from(channel: Channel) -> Self {
        Self::from(channel.as_str())
    }
}

/// Where to tell somebody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipient {
    /// How.
    pub channel: Channel,
    /// The mail address in lower case, or the URL.
    pub address: String,
    /// What named them, such as a step of an escalation policy: where the secret of a webhook is found.
    pub origin: Option<serde_json::Value>,
}

impl Recipient {
    /// Somebody who is told by mail.
    #[must_use]
    pub fn mail(address: impl Into<String>) -> Self {
        Self { channel: Channel::Email, address: address.into(), origin: None }
    }

    /// A program that is told over HTTP.
    #[must_use]
    pub fn webhook(url: impl Into<String>, origin: Option<serde_json::Value>) -> Self {
        Self { channel: Channel::Webhook, address: url.into(), origin }
    }
}

/// One message to one recipient about one cause.
#[derive(Clone, Debug, PartialEq, FromRow)]
pub struct Notification {
    /// Identifier; the `Message-ID` or the `webhook-id` is made from it.
    pub id: NotificationId,
    /// The ticket.
    pub ticket_id: TicketId,
    /// What happened.
    pub cause: Json<Cause>,
    /// The mail address or the URL.
    pub recipient: String,
    /// How it leaves.
    pub channel: Channel,
    /// What named the recipient.
    pub origin: Option<Json<serde_json::Value>>,
    /// What became of it.
    pub state: State,
    /// Why, when held, suppressed or failed; with what, when it was sent in a digest.
    pub reason: Option<String>,
    /// When it was decided on.
    pub created_at: Timestamp,
    /// Until when it was held, if it was.
    pub release_at: Option<Timestamp>,
    /// When it was settled.
    pub settled_at: Option<Timestamp>,
}

const COLUMNS: &str = "
    SELECT id, ticket_id, cause, recipient, channel, origin, state, reason, created_at, release_at, settled_at
    FROM notifications";

const INSERT: &str = "
    INSERT INTO notifications (id, ticket_id, event, cause, cause_key, recipient, channel, origin, state, created_at)
    {rows}
    ON CONFLICT DO NOTHING
    RETURNING id, recipient, channel";

/// A notification that was not decided on before.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct Decided {
    /// Identifier.
    pub id: NotificationId,
    /// The mail address or the URL.
    pub recipient: String,
    /// How it leaves.
    pub channel: Channel,
}

/// Decides to tell each recipient about a cause; returns what was not decided before.
pub async fn decide(
    tx: &mut Tx,
    cause: &Cause,
    recipients: &[Recipient],
    now: Timestamp,
) -> Result<Vec<Decided>> {
    let rows = recipients.iter().map(|recipient| -> [Value; 10] {
        [
            NotificationId::new().into(),
            cause.ticket().into(),
            cause.event().into(),
            Value::Json(serde_json::to_value(cause).ok()),
            cause.key().into(),
            recipient.address.as_str().into(),
            recipient.channel.into(),
            recipient.origin.clone().into(),
            State::Pending.into(),
            now.into(),
        ]
    });
    query(INSERT).rows(rows).all(tx).await
}

/// Finds a notification.
pub async fn get(on: impl Into<Target<'_>>, id: NotificationId) -> Result<Option<Notification>> {
    query(COLUMNS).push(" WHERE id = ").push_bind(id).optional(on).await
}

/// Lists a ticket's notifications, oldest first.
pub async fn of_ticket(db: &Db, ticket: TicketId) -> Result<Vec<Notification>> {
    query(COLUMNS).push(" WHERE ticket_id = ").push_bind(ticket).push(" ORDER BY id").all(db).await
}

/// Lists the newest notifications of all tickets.
pub async fn latest(db: &Db, limit: i64) -> Result<Vec<Notification>> {
    query(COLUMNS).push(" ORDER BY id DESC LIMIT ").push_bind(limit).all(db).await
}

/// Which notifications to list; `None` lets all through.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// What became of them.
    pub state: Option<State>,
    /// Their ticket.
    pub ticket: Option<TicketId>,
    /// The mail address or the URL.
    pub recipient: Option<String>,
    /// The event's name, as [`Cause::event`] gives it.
    pub event: Option<String>,
    /// Only what was decided before this one.
    pub before: Option<NotificationId>,
    /// At most as many.
    pub limit: i64,
}

/// Lists notifications, newest first.
pub async fn list(db: &Db, filter: &Filter) -> Result<Vec<Notification>> {
    conditions(query(COLUMNS), filter).page(true, filter.before, filter.limit).all(db).await
}

/// Counts the notifications that a filter lets through, on all pages.
pub async fn count(db: &Db, filter: &Filter) -> Result<i64> {
    let (count,): (i64,) = conditions(query("SELECT COUNT(*) FROM notifications"), filter).one(db).await?;
    Ok(count)
}

fn conditions(mut select: Query, filter: &Filter) -> Query {
    select = select.push(" WHERE TRUE");
    if let Some(state) = filter.state {
        select = select.push(" AND state = ").push_bind(state);
    }
    if let Some(ticket) = filter.ticket {
        select = select.push(" AND ticket_id = ").push_bind(ticket);
    }
    if let Some(recipient) = filter.recipient.as_deref() {
        select = select.push(" AND recipient = ").push_bind(recipient);
    }
    if let Some(event) = filter.event.as_deref() {
        select = select.push(" AND event = ").push_bind(event);
    }
    select
}

const SETTLE: &str = "
    UPDATE notifications SET state = $2, reason = $3, settled_at = $4
    WHERE id = $1 AND state = 'pending'";

/// Puts what became of a pending notification on record; `false` when it was settled already.
pub async fn settle(
    tx: &mut Tx,
    id: NotificationId,
    state: State,
    reason: Option<&str>,
    now: Timestamp,
) -> Result<bool> {
    Ok(query(SETTLE).bind(id).bind(state).bind(reason).bind(now).execute(tx).await? == 1)
}

const REOPEN: &str = "
    UPDATE notifications SET state = 'pending', reason = NULL, settled_at = NULL
    WHERE id = $1 AND state = 'failed'";

/// Makes a notification that was given up pending again; `false` when it was not given up.
pub async fn reopen(tx: &mut Tx, id: NotificationId) -> Result<bool> {
    Ok(query(REOPEN).bind(id).execute(tx).await? == 1)
}

//! Who has been told what: one row per cause, recipient and channel, whatever happens to the processes.

use sqlx::FromRow;
use sqlx::types::Json;

use super::db::Tx;
use super::query::{Target, Value, query};
use super::{Db, Result};
use crate::domain::cause::Cause;
use crate::ids::{NotificationId, TicketId};
use crate::time::Timestamp;

crate::domain::text_enum! {
    /// What became of a notification.
    State {
        /// Not settled yet.
        Pending = "pending",
        /// Accepted by the mail server.
        Sent = "sent",
        /// Not sent, for a reason that is on record.
        Suppressed = "suppressed",
        /// Refused for good, for a reason that is on record.
        Failed = "failed",
    }
}

impl From<State> for Value {
    fn from(state: State) -> Self {
        Self::from(state.as_str())
    }
}

/// One message to one recipient about one cause.
#[derive(Clone, Debug, PartialEq, FromRow)]
pub struct Notification {
    /// Identifier; the `Message-ID` is made from it.
    pub id: NotificationId,
    /// The ticket.
    pub ticket_id: TicketId,
    /// What happened.
    pub cause: Json<Cause>,
    /// The address.
    pub recipient: String,
    /// What became of it.
    pub state: State,
    /// Why, when suppressed or failed.
    pub reason: Option<String>,
    /// When it was decided on.
    pub created_at: Timestamp,
    /// When it was settled.
    pub settled_at: Option<Timestamp>,
}

const COLUMNS: &str =
    "SELECT id, ticket_id, cause, recipient, state, reason, created_at, settled_at FROM notifications";

const INSERT: &str = "
    INSERT INTO notifications (id, ticket_id, cause, cause_key, recipient, channel, state, created_at)
    {rows}
    ON CONFLICT DO NOTHING
    RETURNING id";

/// Decides to tell each recipient about a cause; returns what was not decided before.
pub async fn decide(
    tx: &mut Tx,
    cause: &Cause,
    recipients: &[String],
    now: Timestamp,
) -> Result<Vec<NotificationId>> {
    let rows = recipients.iter().map(|recipient| -> [Value; 8] {
        [
            NotificationId::new().into(),
            cause.ticket().into(),
            Value::Json(serde_json::to_value(cause).ok()),
            cause.key().into(),
            recipient.as_str().into(),
            "email".into(),
            State::Pending.into(),
            now.into(),
        ]
    });
    let decided: Vec<(NotificationId,)> = query(INSERT).rows(rows).all(tx).await?;
    Ok(decided.into_iter().map(|(id,)| id).collect())
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

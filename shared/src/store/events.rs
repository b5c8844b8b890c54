//! The log of what happened, in the order in which it was committed.
//!
//! Numbers are given out as the last act of a transaction, under the lock of one row that is held until the commit: a
//! reader that has seen a number has seen, or never will see, every number before it (docs/adr/0011).

use serde_json::Value as Json;
use sqlx::FromRow;

use super::Result;
use super::db::Tx;
use super::query::{Target, Value, query};
use crate::domain::event::EventKind;
use crate::ids::{TicketId, UserId};
use crate::time::Timestamp;

/// Something that happened to a ticket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewEvent {
    /// What.
    pub kind: EventKind,
    /// To which ticket.
    pub ticket: TicketId,
    /// Whether only staff may know.
    pub internal: bool,
    /// Who did it; nobody, when rules did.
    pub actor: Option<UserId>,
    /// What there is to say beside the ticket: identifiers and words, never the texts of people.
    pub data: Json,
    /// When.
    pub at: Timestamp,
}

/// An event on record.
#[derive(Clone, Debug, PartialEq, FromRow)]
pub struct Event {
    /// Its place in the log, from 1, without gaps.
    pub seq: i64,
    /// What happened.
    pub kind: EventKind,
    /// To which ticket.
    pub ticket_id: TicketId,
    /// Whether only staff may know.
    pub internal: bool,
    /// Who did it; nobody, when rules did.
    pub actor_id: Option<UserId>,
    /// What there is to say beside the ticket.
    pub data: sqlx::types::Json<Json>,
    /// When.
    pub at: Timestamp,
}

/// Takes note of what happened, to be written when the transaction is committed.
pub fn publish(tx: &mut Tx, events: impl IntoIterator<Item = NewEvent>) {
    tx.events.extend(events);
}

const TAKE: &str = "UPDATE event_head SET seq = seq + $1 WHERE id = 1 RETURNING seq";
const INSERT: &str = "INSERT INTO events (seq, kind, ticket_id, internal, actor_id, data, at) {rows}";

/// Writes what was published; the last act before a commit.
pub(super) async fn write(tx: &mut Tx) -> Result<()> {
    let events = std::mem::take(&mut tx.events);
    if events.is_empty() {
        return Ok(());
    }
    let count = i64::try_from(events.len()).unwrap_or(i64::MAX);
    let (head,): (i64,) = query(TAKE).bind(count).one(&mut *tx).await?;
    let row = |(seq, e): (i64, NewEvent)| -> [Value; 7] {
        [
            seq.into(),
            e.kind.into(),
            e.ticket.into(),
            e.internal.into(),
            e.actor.into(),
            e.data.into(),
            e.at.into(),
        ]
    };
    query(INSERT).rows((head - count + 1..).zip(events).map(row)).execute(tx).await?;
    Ok(())
}

/// Lists events behind a place, in order.
pub async fn after(on: impl Into<Target<'_>>, seq: i64, limit: i64) -> Result<Vec<Event>> {
    query("SELECT * FROM events WHERE seq > $1 ORDER BY seq LIMIT $2").bind(seq).bind(limit).all(on).await
}

/// The place of the latest event; 0 when there is none.
pub async fn head(on: impl Into<Target<'_>>) -> Result<i64> {
    let (seq,): (i64,) = query("SELECT seq FROM event_head WHERE id = 1").one(on).await?;
    Ok(seq)
}

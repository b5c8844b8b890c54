//! The log of what happened, in the order in which it was committed.
//!
//! Numbers are given out as the last act of a transaction, under the lock of one row that is held until the commit: a
//! reader that has seen a number has seen, or never will see, every number before it (docs/adr/0011).

use serde_json::{Value as Json, json};
use sqlx::FromRow;

use super::Result;
use super::db::Tx;
use super::query::{Target, Value, query};
use crate::domain::access::{Action, Caller, Standing};
use crate::domain::event::EventKind;
use crate::domain::ticket::{Category, Priority, Status};
use crate::ids::{DefinitionId, TicketId, UserId};
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

/// The place from which on the log is whole: what came before was forgotten.
pub async fn floor(on: impl Into<Target<'_>>) -> Result<i64> {
    let floor = "
        SELECT COALESCE((SELECT MIN(seq) FROM events), seq + 1) FROM event_head WHERE id = 1";
    let (seq,): (i64,) = query(floor).one(on).await?;
    Ok(seq)
}

/// An event, with its ticket as it is now.
#[derive(Clone, Debug, PartialEq, FromRow)]
pub struct Told {
    /// What happened.
    #[sqlx(flatten)]
    pub event: Event,
    /// The ticket's number.
    pub number: i64,
    /// Its title.
    pub title: String,
    /// Where it stands.
    pub status: Status,
    /// How urgent it is.
    pub priority: Priority,
    /// What kind of request it is.
    pub category: Category,
    /// Who works on it.
    pub assignee_id: Option<UserId>,
    /// The team it is given to.
    pub team_id: Option<DefinitionId>,
    /// Whose request it is.
    pub reporter_id: UserId,
    /// Its version.
    pub version: i64,
    /// When it was deleted.
    pub deleted_at: Option<Timestamp>,
}

impl Told {
    /// Tells whether somebody may be told. Of a ticket that was deleted nothing is told but that.
    #[must_use]
    pub fn is_for(&self, caller: &Caller) -> bool {
        let ticket = Standing { reporter: self.reporter_id, assignee: self.assignee_id, team: self.team_id };
        self.stands()
            && caller.may(Action::View, &ticket)
            && (!self.event.internal || caller.may(Action::CommentInternally, &ticket))
    }

    /// Tells whether there still is something to tell.
    #[must_use]
    pub const fn stands(&self) -> bool {
        self.deleted_at.is_none() || matches!(self.event.kind, EventKind::TicketDeleted)
    }

    /// What is told: `{"id","type","at","actor_id","ticket":{…}}`, and beside it what only this kind of event has to
    /// say. The title of a ticket that was deleted is not told any more.
    #[must_use]
    pub fn view(&self) -> Json {
        let title = self.deleted_at.is_none().then_some(&self.title);
        let ticket = json!({
            "id": self.event.ticket_id,
            "number": format!("INC-{}", self.number),
            "title": title,
            "status": self.status,
            "priority": self.priority,
            "category": self.category,
            "assignee_id": self.assignee_id,
            "team_id": self.team_id,
            "reporter_id": self.reporter_id,
            "version": self.version,
        });
        let mut view = self.event.data.0.clone();
        if !view.is_object() {
            view = json!({});
        }
        view["id"] = self.event.seq.into();
        view["type"] = self.event.kind.as_str().into();
        view["at"] = json!(self.event.at);
        view["actor_id"] = json!(self.event.actor_id);
        view["ticket"] = ticket;
        view
    }
}

const TOLD: &str = "
    SELECT e.seq, e.kind, e.ticket_id, e.internal, e.actor_id, e.data, e.at, t.number, t.title, t.status, t.priority,
        t.category, t.assignee_id, t.team_id, t.reporter_id, t.version, t.deleted_at
    FROM events e JOIN tickets t ON t.id = e.ticket_id
    WHERE e.seq > $1 AND e.seq <= $2";

/// Which events to read; `None` lets all through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Only {
    /// Those that an end user may be told of, who reported the tickets.
    pub visible_to: Option<UserId>,
    /// Those of a ticket.
    pub ticket: Option<TicketId>,
}

/// Lists the events behind one place up to another, in order, with their tickets.
pub async fn told(on: impl Into<Target<'_>>, after: i64, until: i64, only: Only) -> Result<Vec<Told>> {
    let mut select = query(TOLD).bind(after).bind(until);
    if let Some(user) = only.visible_to {
        select = select.push(" AND NOT e.internal AND t.reporter_id = ").push_bind(user);
    }
    if let Some(ticket) = only.ticket {
        select = select.push(" AND e.ticket_id = ").push_bind(ticket);
    }
    select.push(" ORDER BY e.seq").all(on).await
}

// From the front only, since what is on record later may have happened earlier; and nothing that webhooks have yet to be
// told.
const OLD: &str = "
    FROM events WHERE seq <= (SELECT seq FROM webhook_cursor WHERE id = 1)
        AND seq < COALESCE((SELECT MIN(seq) FROM events WHERE at >= $1), 9223372036854775807)";

/// Counts what [`prune`] would forget.
pub async fn old(on: impl Into<Target<'_>>, before: Timestamp) -> Result<i64> {
    let (count,): (i64,) = query("SELECT COUNT(*)").push(OLD).bind(before).one(on).await?;
    Ok(count)
}

/// Forgets up to `limit` of the first events, as far as they happened before `before`.
pub async fn prune(tx: &mut Tx, before: Timestamp, limit: i64) -> Result<u64> {
    let delete = query("DELETE FROM events WHERE seq IN (SELECT seq").push(OLD).bind(before);
    delete.push(" ORDER BY seq LIMIT ").push_bind(limit).push(")").execute(tx).await
}

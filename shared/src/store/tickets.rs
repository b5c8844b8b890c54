//! Tickets, their labels and their history.

use sqlx::FromRow;

use super::db::Tx;
use super::query::{Query, Target, Value, query};
use super::{Db, Result};
use crate::domain::access::Standing;
use crate::domain::search::{Phrases, Search};
use crate::domain::sla;
use crate::domain::sla::policy::Facts;
use crate::domain::ticket::{Category, Priority, Status};
use crate::ids::{ClockId, DefinitionId, HistoryId, TicketId, UserId, VersionId};
use crate::time::Timestamp;

/// A ticket.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct Ticket {
    /// Identifier.
    pub id: TicketId,
    /// Number for people, as in `INC-1042`.
    pub number: i64,
    /// One line, 1-255 characters.
    pub title: String,
    /// Any text.
    pub description: String,
    /// Where it stands.
    pub status: Status,
    /// How urgent it is.
    pub priority: Priority,
    /// What kind of request it is.
    pub category: Category,
    /// Where it happened.
    pub environment: Option<String>,
    /// What it happened to.
    pub affected_service: Option<String>,
    /// Name of whom to ask.
    pub contact_name: Option<String>,
    /// Address of whom to ask.
    pub contact_email: Option<String>,
    /// Who opened it.
    pub reporter_id: UserId,
    /// Who works on it.
    pub assignee_id: Option<UserId>,
    /// The team it is given to.
    pub team_id: Option<DefinitionId>,
    /// The version of the policy it came under; none for the built-in one.
    pub sla_policy_version_id: Option<VersionId>,
    /// 1 at first, one more with every change.
    pub version: i64,
    /// When it was opened.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// When staff first responded.
    pub responded_at: Option<Timestamp>,
    /// When somebody took it on.
    pub acknowledged_at: Option<Timestamp>,
    /// Who took it on.
    pub acknowledged_by: Option<UserId>,
    /// When it was resolved.
    pub resolved_at: Option<Timestamp>,
    /// When it was closed.
    pub closed_at: Option<Timestamp>,
    /// The address of whoever took it on without having an account.
    pub acknowledged_as: Option<String>,
    /// When it was deleted; it is shown to nobody since.
    pub deleted_at: Option<Timestamp>,
    /// W3C trace context of the request that opened it.
    pub traceparent: Option<String>,
}

impl Ticket {
    /// The name people use, `INC-1042`.
    #[must_use]
    pub fn key(&self) -> String {
        format!("INC-{}", self.number)
    }

    /// What decides who may do something to it.
    #[must_use]
    pub const fn standing(&self) -> Standing {
        Standing { reporter: self.reporter_id, assignee: self.assignee_id, team: self.team_id }
    }

    /// What a policy is chosen by.
    #[must_use]
    pub fn facts<'a>(&'a self, labels: &'a [String]) -> Facts<'a> {
        Facts {
            category: self.category,
            priority: self.priority,
            team: self.team_id,
            labels,
            environment: self.environment.as_deref(),
            contact: self.contact_email.as_deref(),
        }
    }
}

const INSERT: &str = "
    INSERT INTO tickets (id, title, description, status, priority, category, environment, affected_service, contact_name,
        contact_email, reporter_id, assignee_id, team_id, sla_policy_version_id, version, created_at, updated_at,
        traceparent)
    {rows}
    RETURNING id, number";

/// Inserts tickets and gives each its number.
pub async fn insert(tx: &mut Tx, tickets: &mut [Ticket]) -> Result<()> {
    let row = |t: &Ticket| -> [Value; 18] {
        [
            t.id.into(),
            t.title.as_str().into(),
            t.description.as_str().into(),
            t.status.into(),
            t.priority.into(),
            t.category.into(),
            t.environment.as_deref().into(),
            t.affected_service.as_deref().into(),
            t.contact_name.as_deref().into(),
            t.contact_email.as_deref().into(),
            t.reporter_id.into(),
            t.assignee_id.into(),
            t.team_id.into(),
            t.sla_policy_version_id.into(),
            t.version.into(),
            t.created_at.into(),
            t.updated_at.into(),
            t.traceparent.as_deref().into(),
        ]
    };
    let numbers: Vec<(TicketId, i64)> = query(INSERT).rows(tickets.iter().map(row)).all(tx).await?;
    let numbers: std::collections::HashMap<TicketId, i64> = numbers.into_iter().collect();
    for ticket in tickets {
        ticket.number = numbers.get(&ticket.id).copied().unwrap_or_default();
    }
    Ok(())
}

const UPDATE: &str = "
    UPDATE tickets SET title = $3, description = $4, status = $5, priority = $6, category = $7, environment = $8,
        affected_service = $9, contact_name = $10, contact_email = $11, assignee_id = $12, updated_at = $13,
        responded_at = $14, acknowledged_at = $15, acknowledged_by = $16, resolved_at = $17, closed_at = $18,
        team_id = $19, sla_policy_version_id = $20, acknowledged_as = $21, deleted_at = $22,
        version = version + 1
    WHERE id = $1 AND version = $2";

/// Stores a changed ticket and moves its version on; `false` when its version was not the stored one.
pub async fn update(tx: &mut Tx, ticket: &mut Ticket) -> Result<bool> {
    let t = &*ticket;
    let update =
        query(UPDATE).bind(t.id).bind(t.version).bind(&*t.title).bind(&*t.description).bind(t.status);
    let update = update.bind(t.priority).bind(t.category).bind(t.environment.as_deref());
    let update = update.bind(t.affected_service.as_deref()).bind(t.contact_name.as_deref());
    let update =
        update.bind(t.contact_email.as_deref()).bind(t.assignee_id).bind(t.updated_at).bind(t.responded_at);
    let update = update.bind(t.acknowledged_at).bind(t.acknowledged_by).bind(t.resolved_at).bind(t.closed_at);
    let update = update.bind(t.team_id).bind(t.sla_policy_version_id);
    let update = update.bind(t.acknowledged_as.as_deref()).bind(t.deleted_at);
    let updated = update.execute(tx).await? == 1;
    ticket.version += i64::from(updated);
    Ok(updated)
}

/// Finds a ticket.
pub async fn get(on: impl Into<Target<'_>>, id: TicketId) -> Result<Option<Ticket>> {
    query("SELECT * FROM tickets WHERE id = $1").bind(id).optional(on).await
}

/// Finds a ticket's identifier by its number.
pub async fn by_number(db: &Db, number: i64) -> Result<Option<TicketId>> {
    let found: Option<(TicketId,)> =
        query("SELECT id FROM tickets WHERE number = $1").bind(number).optional(db).await?;
    Ok(found.map(|(id,)| id))
}

/// Finds a ticket and keeps others from changing it until the transaction ends.
pub async fn lock(tx: &mut Tx, id: TicketId) -> Result<Option<Ticket>> {
    query("SELECT * FROM tickets WHERE id = $1 {for_update}").bind(id).optional(tx).await
}

/// Finds several tickets.
pub async fn all_of(on: impl Into<Target<'_>>, ids: &[TicketId]) -> Result<Vec<Ticket>> {
    let select = query("SELECT * FROM tickets WHERE id IN ({rows}) ORDER BY id");
    select.rows(ids.iter().map(|id| [(*id).into()])).all(on).await
}

/// Finds several tickets and keeps others from changing them until the transaction ends, in one order.
pub async fn lock_all(tx: &mut Tx, ids: &[TicketId]) -> Result<Vec<Ticket>> {
    let select = query("SELECT * FROM tickets WHERE id IN ({rows}) ORDER BY id {for_update}");
    select.rows(ids.iter().map(|id| [(*id).into()])).all(tx).await
}

/// Tells how urgent tickets are, and the version of the policy that each came under; none for the built-in one.
pub async fn promises_of(
    tx: &mut Tx,
    ids: &[TicketId],
) -> Result<Vec<(TicketId, Priority, Option<VersionId>)>> {
    let select = query("SELECT id, priority, sla_policy_version_id FROM tickets WHERE id IN ({rows})");
    select.rows(ids.iter().map(|id| [(*id).into()])).all(tx).await
}

/// Finds the ticket that a clock belongs to.
pub async fn of_clock(on: impl Into<Target<'_>>, clock: ClockId) -> Result<Option<TicketId>> {
    let select = query("SELECT ticket_id FROM sla_clocks WHERE id = $1").bind(clock);
    Ok(select.optional::<(TicketId,)>(on).await?.map(|(id,)| id))
}

/// Adds labels to tickets; a label that is there already stays.
pub async fn label(tx: &mut Tx, labels: impl IntoIterator<Item = (TicketId, String)>) -> Result<()> {
    let rows = labels.into_iter().map(|(ticket, label)| -> [Value; 2] { [ticket.into(), label.into()] });
    query("INSERT INTO ticket_labels (ticket_id, label) {rows} ON CONFLICT DO NOTHING")
        .rows(rows)
        .execute(tx)
        .await?;
    Ok(())
}

/// Replaces a ticket's labels.
pub async fn relabel(tx: &mut Tx, ticket: TicketId, labels: &[String]) -> Result<()> {
    query("DELETE FROM ticket_labels WHERE ticket_id = $1").bind(ticket).execute(tx).await?;
    label(tx, labels.iter().map(|label| (ticket, label.clone()))).await
}

/// Lists a ticket's labels in order.
pub async fn labels(on: impl Into<Target<'_>>, ticket: TicketId) -> Result<Vec<String>> {
    let select = query("SELECT label FROM ticket_labels WHERE ticket_id = $1 ORDER BY label").bind(ticket);
    Ok(select.all::<(String,)>(on).await?.into_iter().map(|(label,)| label).collect())
}

/// Lists the labels of several tickets as (ticket, label).
pub async fn labels_of(on: impl Into<Target<'_>>, tickets: &[TicketId]) -> Result<Vec<(TicketId, String)>> {
    let select =
        query("SELECT ticket_id, label FROM ticket_labels WHERE ticket_id IN ({rows}) ORDER BY label");
    select.rows(tickets.iter().map(|id| [(*id).into()])).all(on).await
}

/// One change of one field.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct Change {
    /// Identifier.
    pub id: HistoryId,
    /// The ticket.
    pub ticket_id: TicketId,
    /// The ticket's version after it.
    pub version: i64,
    /// The field's name in the API; `ticket` for the ticket as a whole.
    pub field: String,
    /// Value before.
    pub old_value: Option<String>,
    /// Value after.
    pub new_value: Option<String>,
    /// Who did it.
    pub actor_id: Option<UserId>,
    /// From where.
    pub ip: Option<String>,
    /// Whether only staff may read it.
    pub internal: bool,
    /// When.
    pub at: Timestamp,
}

/// Puts changes on record.
pub async fn remember(tx: &mut Tx, changes: &[Change]) -> Result<()> {
    let row = |c: &Change| -> [Value; 10] {
        [
            c.id.into(),
            c.ticket_id.into(),
            c.version.into(),
            c.field.as_str().into(),
            c.old_value.as_deref().into(),
            c.new_value.as_deref().into(),
            c.actor_id.into(),
            c.ip.as_deref().into(),
            c.internal.into(),
            c.at.into(),
        ]
    };
    let insert = "INSERT INTO ticket_history (id, ticket_id, version, field, old_value, new_value, actor_id, ip, internal, at)
        {rows}";
    query(insert).rows(changes.iter().map(row)).execute(tx).await?;
    Ok(())
}

/// Lists a ticket's changes, oldest first.
pub async fn history(db: &Db, ticket: TicketId) -> Result<Vec<Change>> {
    query("SELECT * FROM ticket_history WHERE ticket_id = $1 ORDER BY id").bind(ticket).all(db).await
}

/// By what a list is ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum SortBy {
    /// When it was opened.
    #[default]
    CreatedAt,
    /// When it last changed.
    UpdatedAt,
    /// How urgent it is: critical first when ascending.
    Priority,
    /// Where it stands, in the order of the workflow.
    Status,
    /// When its resolution is due; those without a due time come last when ascending.
    DueAt,
}

/// The sort key of one ticket, as text that both engines compare alike, and its identifier.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Position {
    /// Time key, for the orders by time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
    /// Rank key, for the others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rank: Option<i64>,
    /// Breaks ties.
    pub id: TicketId,
}

/// How a ticket's service levels stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SlaFilter {
    /// A warning was recorded on a clock that still runs within its target.
    AtRisk,
    /// A clock is breached.
    Breached,
    /// A clock is paused.
    Paused,
}

/// Which tickets to list, and how.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Only what this user reported: all that an end user may see.
    pub visible_to: Option<UserId>,
    /// In which these words are found.
    pub search: Option<Search>,
    /// Given to this team.
    pub team: Option<DefinitionId>,
    /// Any of these; all when empty.
    pub status: Vec<Status>,
    /// Any of these; all when empty.
    pub priority: Vec<Priority>,
    /// Any of these; all when empty.
    pub category: Vec<Category>,
    /// Assigned to.
    pub assignee: Option<UserId>,
    /// Reported by.
    pub reporter: Option<UserId>,
    /// Labelled with.
    pub label: Option<String>,
    /// About which to ask whoever has this address, in whatever case.
    pub contact: Option<String>,
    /// With such a service level.
    pub sla: Option<SlaFilter>,
    /// Opened at or after.
    pub created_from: Option<Timestamp>,
    /// Opened before.
    pub created_to: Option<Timestamp>,
    /// Changed at or after.
    pub updated_from: Option<Timestamp>,
    /// Changed before.
    pub updated_to: Option<Timestamp>,
    /// Order.
    pub sort: SortBy,
    /// Greatest first.
    pub descending: bool,
    /// Behind this one.
    pub after: Option<Position>,
    /// Skip as many.
    pub offset: i64,
    /// At most as many.
    pub limit: i64,
}

#[derive(FromRow)]
struct Listed {
    #[sqlx(flatten)]
    ticket: Ticket,
    key_at: Option<Timestamp>,
    key_rank: Option<i64>,
}

const FROM: &str = " FROM tickets t";
const JOIN_DUE: &str = " LEFT JOIN sla_clocks due ON due.ticket_id = t.id AND due.metric = 'resolution'";

/// Lists tickets with their positions, for the next page to start behind.
pub async fn list(db: &Db, filter: &Filter) -> Result<Vec<(Ticket, Position)>> {
    let rows: Vec<Listed> = listing(query("SELECT t.*, "), filter).all(db).await?;
    let position = |row: Listed| {
        let position = Position { at: row.key_at, rank: row.key_rank, id: row.ticket.id };
        (row.ticket, position)
    };
    Ok(rows.into_iter().map(position).collect())
}

/// Lets the database learn how many tickets there are of which kind, as it does by itself in time; for tests.
#[cfg(feature = "testkit")]
pub async fn analyze(tx: &mut Tx) -> Result<()> {
    query("ANALYZE tickets").execute(tx).await?;
    Ok(())
}

/// Tells how the database would find a page, for tests that hold it to its indexes.
#[cfg(feature = "testkit")]
pub async fn plan(db: &Db, filter: &Filter) -> Result<String> {
    listing(query("SELECT t.*, "), filter).plan(db).await
}

fn listing(mut select: Query, filter: &Filter) -> Query {
    let (key_at, key_rank) = filter.sort.keys();
    select = select.push(key_at).push(" AS key_at, ").push(key_rank).push(" AS key_rank").push(FROM);
    select = if filter.sort == SortBy::DueAt { select.push(JOIN_DUE) } else { select };
    select = conditions(select, filter);
    if let Some(after) = &filter.after {
        let (key, value) = if filter.sort.by_time() {
            (key_at, Value::from(after.at))
        } else {
            (key_rank, Value::from(after.rank))
        };
        select = select.push(" AND (").push(key).push(", t.id) ").push(if filter.descending {
            "< ("
        } else {
            "> ("
        });
        select = select.push_bind(value).push(", ").push_bind(after.id).push(")");
    }
    let key = if filter.sort.by_time() { key_at } else { key_rank };
    let direction = if filter.descending { " DESC" } else { " ASC" };
    select = select.push(" ORDER BY ").push(key).push(direction).push(", t.id").push(direction);
    select.push(" LIMIT ").push_bind(filter.limit).push(" OFFSET ").push_bind(filter.offset)
}

/// Counts the tickets that a filter lets through, on all pages.
pub async fn count(db: &Db, filter: &Filter) -> Result<i64> {
    let (count,): (i64,) = conditions(query("SELECT COUNT(*)").push(FROM), filter).one(db).await?;
    Ok(count)
}

impl SortBy {
    const fn by_time(self) -> bool {
        matches!(self, Self::CreatedAt | Self::UpdatedAt | Self::DueAt)
    }

    /// The SQL of the time key and of the rank key; one of them is NULL.
    const fn keys(self) -> (&'static str, &'static str) {
        match self {
            Self::CreatedAt => ("t.created_at", "NULL"),
            Self::UpdatedAt => ("t.updated_at", "NULL"),
            // A ticket without a due time is due after all others; the key must not be NULL to be compared.
            Self::DueAt => ("COALESCE(due.due_at, '9999-01-01T00:00:00+00:00')", "NULL"),
            Self::Priority => ("NULL", "t.priority_rank"),
            Self::Status => ("NULL", "t.status_rank"),
        }
    }
}

fn conditions(query: Query, filter: &Filter) -> Query {
    let mut query = query.push(" WHERE t.deleted_at IS NULL");
    query = compared(query, " AND t.reporter_id = ", filter.visible_to);
    query = compared(query, " AND t.team_id = ", filter.team);
    if let Some(search) = &filter.search {
        query = found(query, search, filter.visible_to.is_none());
    }
    query = any_of(query, " AND t.status IN (", &filter.status);
    query = any_of(query, " AND t.priority IN (", &filter.priority);
    query = any_of(query, " AND t.category IN (", &filter.category);
    query = compared(query, " AND t.assignee_id = ", filter.assignee);
    query = compared(query, " AND t.reporter_id = ", filter.reporter);
    query = compared(query, " AND t.created_at >= ", filter.created_from);
    query = compared(query, " AND t.created_at < ", filter.created_to);
    query = compared(query, " AND t.updated_at >= ", filter.updated_from);
    query = compared(query, " AND t.updated_at < ", filter.updated_to);
    let contact = filter.contact.as_ref().map(|address| address.to_lowercase());
    query = compared(query, " AND t.contact_email IS NOT NULL AND LOWER(t.contact_email) = ", contact);
    if let Some(label) = &filter.label {
        query =
            query.push(" AND EXISTS (SELECT 1 FROM ticket_labels l WHERE l.ticket_id = t.id AND l.label = ");
        query = query.push_bind(label.as_str()).push(")");
    }
    let Some(sla) = filter.sla else { return query };
    let clocks = query.push(" AND EXISTS (SELECT 1 FROM sla_clocks c WHERE c.ticket_id = t.id");
    match sla {
        SlaFilter::AtRisk => clocks
            .push(" AND c.stopped_at IS NULL AND c.warned > 0 AND c.state <> ")
            .push_bind(sla::State::Breached),
        SlaFilter::Breached => clocks.push(" AND c.state = ").push_bind(sla::State::Breached),
        SlaFilter::Paused => clocks.push(" AND c.stopped_at IS NULL AND c.running_since IS NULL"),
    }
    .push(")")
}

/// Those in whose title and description, or in one of whose comments, all the words are found, and nowhere one that must
/// not be. Comments among staff are looked at for staff only.
fn found(query: Query, search: &Search, staff: bool) -> Query {
    let query = with_words(query.push(" AND t.id IN ("), &search.wanted(), staff);
    match search.unwanted() {
        Some(unwanted) => with_words(query.push(" AND t.id NOT IN ("), &unwanted, staff),
        None => query,
    }
}

/// Each engine finds words by an index of its own, and has its own way of writing them.
fn with_words(query: Query, words: &Phrases<'_>, staff: bool) -> Query {
    let (postgres, sqlite) = (words.to_tsquery(), words.to_fts5());
    let query = query.push_each(
        "SELECT w.id FROM tickets w WHERE words_of(w.title || ' ' || w.description) @@ to_tsquery('simple', ",
        "SELECT w.id FROM tickets w WHERE w.number IN (SELECT rowid FROM tickets_words WHERE tickets_words MATCH ",
    );
    let query = query.push_bind_each(postgres.clone(), sqlite.clone()).push(")");
    let query = query
        .push(" UNION ALL SELECT c.ticket_id FROM comments c WHERE c.deleted_at IS NULL AND NOT c.system");
    let query = if staff { query } else { query.push(" AND NOT c.internal") };
    let query = query.push_each(
        " AND words_of(c.content) @@ to_tsquery('simple', ",
        " AND c.place IN (SELECT rowid FROM comments_words WHERE comments_words MATCH ",
    );
    query.push_bind_each(postgres, sqlite).push("))")
}

fn any_of<T: Copy + Into<Value>>(mut query: Query, start: &'static str, values: &[T]) -> Query {
    for (i, value) in values.iter().enumerate() {
        query = query.push(if i == 0 { start } else { ", " }).push_bind(*value);
    }
    if values.is_empty() { query } else { query.push(")") }
}

fn compared<T: Into<Value>>(query: Query, condition: &'static str, value: Option<T>) -> Query {
    match value {
        Some(value) => query.push(condition).push_bind(value),
        None => query,
    }
}

//! SLA clocks and their events.

use std::collections::HashMap;

use chrono::TimeDelta;
use sqlx::FromRow;
use sqlx::types::Json;

use super::db::Tx;
use super::query::{Query, Target, Value, query};
use super::{Db, Result, versions};
use crate::domain::sla::clock::Run;
use crate::domain::sla::{Calendar, Clock, Event, Fraction, Metric, Recorded, State};
use crate::domain::ticket::Priority;
use crate::ids::{ClockId, TicketId, UserId, VersionId};
use crate::time::Timestamp;

/// A clock with what it belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Identifier.
    pub id: ClockId,
    /// The ticket it belongs to.
    pub ticket_id: TicketId,
    /// What it measures.
    pub metric: Metric,
    /// How it stands.
    pub clock: Clock,
}

/// A clock after it took events, with those events.
#[derive(Clone, Debug)]
pub struct Change {
    /// The clock as it now stands.
    pub stored: Stored,
    /// What happened, in order.
    pub events: Vec<Recorded>,
    /// Who made it happen; nobody, when time did.
    pub actor: Option<UserId>,
}

#[derive(FromRow)]
struct ClockRow {
    id: ClockId,
    calendar_version_id: Option<VersionId>,
    ticket_id: TicketId,
    metric: Metric,
    target_us: i64,
    warn_at: Json<Vec<Fraction>>,
    warned: i64,
    started_at: Timestamp,
    credit_us: i64,
    runs: Json<Vec<Run>>,
    running_since: Option<Timestamp>,
    held_manually: bool,
    held_by_status: bool,
    stopped_at: Option<Timestamp>,
    cancelled: bool,
    retargeted_at: Option<Timestamp>,
    revision: i64,
    breached_at: Option<Timestamp>,
    detected_at: Option<Timestamp>,
    waived_at: Option<Timestamp>,
    seq: i64,
    last_at: Timestamp,
}

impl ClockRow {
    fn with(self, calendar: Calendar) -> Stored {
        let row = self;
        let clock = Clock {
            target: TimeDelta::microseconds(row.target_us),
            warn_at: row.warn_at.0,
            calendar,
            warned: usize::try_from(row.warned).unwrap_or_default(),
            started_at: row.started_at,
            credit: TimeDelta::microseconds(row.credit_us),
            runs: row.runs.0,
            running_since: row.running_since,
            held_manually: row.held_manually,
            held_by_status: row.held_by_status,
            stopped_at: row.stopped_at,
            cancelled: row.cancelled,
            retargeted_at: row.retargeted_at,
            revision: row.revision,
            breached_at: row.breached_at,
            detected_at: row.detected_at,
            waived_at: row.waived_at,
            seq: row.seq,
            last_at: row.last_at,
        };
        Stored { id: row.id, ticket_id: row.ticket_id, metric: row.metric, clock }
    }
}

async fn stored(query: Query, on: impl Into<Target<'_>>) -> Result<Vec<Stored>> {
    let mut on = on.into();
    let rows: Vec<ClockRow> = query.all(on.again()).await?;
    let used = rows.iter().filter_map(|row| row.calendar_version_id);
    let calendars = versions::calendars(on, used).await?;
    let with = |row: ClockRow| {
        let version = row.calendar_version_id;
        let calendar = version.map_or(Ok(Calendar::AlwaysOpen), |version| calendars.get(version))?;
        Ok(row.with(calendar))
    };
    rows.into_iter().map(with).collect()
}

/// Lists a ticket's clocks, oldest first.
pub async fn of_ticket(on: impl Into<Target<'_>>, ticket: TicketId) -> Result<Vec<Stored>> {
    stored(
        query("SELECT * FROM sla_clocks WHERE ticket_id = $1 ORDER BY started_at, metric").bind(ticket),
        on,
    )
    .await
}

/// Lists the clocks of several tickets.
pub async fn of_tickets(on: impl Into<Target<'_>>, tickets: &[TicketId]) -> Result<Vec<Stored>> {
    let select = query("SELECT * FROM sla_clocks WHERE ticket_id IN ({rows}) ORDER BY id");
    stored(select.rows(tickets.iter().map(|id| [(*id).into()])), on).await
}

/// Keeps others from changing the clocks of several tickets until the transaction ends.
pub async fn lock_of_tickets(tx: &mut Tx, tickets: &[TicketId]) -> Result<()> {
    let select = query("SELECT id FROM sla_clocks WHERE ticket_id IN ({rows}) ORDER BY id {for_update}");
    select.rows(tickets.iter().map(|id| [(*id).into()])).all::<(ClockId,)>(tx).await?;
    Ok(())
}

/// Lists a ticket's clocks, oldest first, and keeps others from changing them until the transaction ends.
pub async fn lock_of_ticket(tx: &mut Tx, ticket: TicketId) -> Result<Vec<Stored>> {
    let select =
        query("SELECT * FROM sla_clocks WHERE ticket_id = $1 ORDER BY started_at, metric {for_update}");
    stored(select.bind(ticket), tx).await
}

/// Finds one clock.
pub async fn get(on: impl Into<Target<'_>>, id: ClockId) -> Result<Option<Stored>> {
    Ok(stored(query("SELECT * FROM sla_clocks WHERE id = $1").bind(id), on).await?.pop())
}

/// Claims up to `limit` clocks with a warning or a breach before `now`, earliest first; other sweeps skip them.
pub async fn claim_due(tx: &mut Tx, now: Timestamp, limit: i64) -> Result<Vec<Stored>> {
    let select = query(
        "SELECT * FROM sla_clocks WHERE next_fire_at < $1 ORDER BY next_fire_at LIMIT $2 {skip_locked}",
    );
    stored(select.bind(now).bind(limit), tx).await
}

#[derive(FromRow)]
struct EventRow {
    seq: i64,
    at: Timestamp,
    event: Json<Event>,
}

/// Lists what happened to a clock, in order.
pub async fn events(on: impl Into<Target<'_>>, id: ClockId) -> Result<Vec<Recorded>> {
    let select = query("SELECT seq, at, event FROM sla_events WHERE clock_id = $1 ORDER BY seq").bind(id);
    let rows: Vec<EventRow> = select.all(on).await?;
    Ok(rows.into_iter().map(|row| Recorded { seq: row.seq, at: row.at, event: row.event.0 }).collect())
}

const INSERT: &str = "
    INSERT INTO sla_clocks (id, ticket_id, metric, started_at, state, calendar_version_id, warn_at, target_us, warned, credit_us, runs,
        running_since, held_manually, held_by_status, stopped_at, cancelled, retargeted_at, revision, due_at,
        breached_at, detected_at, waived_at, seq, last_at, next_fire_at, elapsed_us)
    {rows}";

const UPDATE: &str = "
    WITH v (id, state, calendar_version_id, warn_at, target_us, warned, credit_us, runs, running_since, held_manually, held_by_status, stopped_at,
        cancelled, retargeted_at, revision, due_at, breached_at, detected_at, waived_at, seq, last_at, next_fire_at,
        elapsed_us)
    AS ({rows})
    UPDATE sla_clocks SET state = v.state, calendar_version_id = v.calendar_version_id, warn_at = v.warn_at,
        target_us = v.target_us, warned = v.warned, credit_us = v.credit_us,
        runs = v.runs, running_since = v.running_since, held_manually = v.held_manually,
        held_by_status = v.held_by_status, stopped_at = v.stopped_at, cancelled = v.cancelled,
        retargeted_at = v.retargeted_at, revision = v.revision, due_at = v.due_at, breached_at = v.breached_at,
        detected_at = v.detected_at, waived_at = v.waived_at, seq = v.seq, last_at = v.last_at,
        next_fire_at = v.next_fire_at, elapsed_us = v.elapsed_us
    FROM v WHERE sla_clocks.id = v.id";

const INSERT_EVENTS: &str = "INSERT INTO sla_events (clock_id, seq, at, event, actor_id) {rows}";

/// The columns that events change, in the order of `INSERT` and `UPDATE`.
fn changing(stored: &Stored) -> [Value; 22] {
    let Stored { clock, .. } = stored;
    let us = |span: TimeDelta| Value::from(span.num_microseconds().unwrap_or(i64::MAX));
    [
        clock.state().into(),
        clock.calendar.version().into(),
        json(&clock.warn_at),
        us(clock.target),
        i64::try_from(clock.warned).unwrap_or(i64::MAX).into(),
        us(clock.credit),
        json(&clock.runs),
        clock.running_since.into(),
        clock.held_manually.into(),
        clock.held_by_status.into(),
        clock.stopped_at.into(),
        clock.cancelled.into(),
        clock.retargeted_at.into(),
        clock.revision.into(),
        clock.due_at().into(),
        clock.breached_at.into(),
        clock.detected_at.into(),
        clock.waived_at.into(),
        clock.seq.into(),
        clock.last_at.into(),
        clock.next_fire_at().into(),
        clock.stopped_at.map_or(Value::Int(None), |at| us(clock.elapsed(at))),
    ]
}

fn json(value: &impl serde::Serialize) -> Value {
    Value::Json(serde_json::to_value(value).ok())
}

fn insert_row(stored: &Stored) -> [Value; 26] {
    let head =
        [stored.id.into(), stored.ticket_id.into(), stored.metric.into(), stored.clock.started_at.into()];
    joined(head, changing(stored))
}

fn update_row(stored: &Stored) -> [Value; 23] {
    joined([stored.id.into()], changing(stored))
}

fn joined<const A: usize, const B: usize, const C: usize>(a: [Value; A], b: [Value; B]) -> [Value; C] {
    let mut both = a.into_iter().chain(b);
    std::array::from_fn(|_| both.next().unwrap_or(Value::Int(None)))
}

/// Starts clocks.
pub async fn insert(tx: &mut Tx, changes: &[Change]) -> Result<()> {
    query(INSERT).rows(changes.iter().map(|change| insert_row(&change.stored))).execute(tx).await?;
    insert_events(tx, changes).await
}

/// Stores what became of clocks that this transaction has locked. Changes without events are skipped.
pub async fn save(tx: &mut Tx, changes: &[Change]) -> Result<()> {
    let changed = changes.iter().filter(|change| !change.events.is_empty());
    query(UPDATE).rows(changed.map(|change| update_row(&change.stored))).execute(tx).await?;
    insert_events(tx, changes).await
}

async fn insert_events(tx: &mut Tx, changes: &[Change]) -> Result<()> {
    let rows = changes.iter().flat_map(|change| {
        let row = move |r: &Recorded| -> [Value; 5] {
            [change.stored.id.into(), r.seq.into(), r.at.into(), json(&r.event), change.actor.into()]
        };
        change.events.iter().map(row)
    });
    query(INSERT_EVENTS).rows(rows).execute(tx).await?;
    Ok(())
}

/// A clock with the columns that are derived from it, for an audit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audited {
    /// The clock as it is stored.
    pub stored: Stored,
    /// Its state as it is stored.
    pub state: State,
    /// Its due time as it is stored.
    pub due_at: Option<Timestamp>,
    /// When it should be looked at, as it is stored.
    pub next_fire_at: Option<Timestamp>,
}

#[derive(FromRow)]
struct AuditedRow {
    #[sqlx(flatten)]
    clock: ClockRow,
    state: State,
    due_at: Option<Timestamp>,
    next_fire_at: Option<Timestamp>,
}

/// Lists up to `limit` clocks behind `after` that run or of which something was recorded since `since`, and keeps
/// others from changing them until the transaction ends. Those that somebody is changing are left out.
pub async fn claim_for_audit(
    tx: &mut Tx,
    after: Option<ClockId>,
    since: Timestamp,
    limit: i64,
) -> Result<Vec<Audited>> {
    let mut select =
        query("SELECT * FROM sla_clocks WHERE (stopped_at IS NULL OR last_at >= $1)").bind(since);
    if let Some(after) = after {
        select = select.push(" AND id > ").push_bind(after);
    }
    audited(select.push(" ORDER BY id LIMIT ").push_bind(limit).push(" {skip_locked}"), tx).await
}

/// Lists up to `limit` clocks behind `after` as the transaction sees them, and keeps nobody from changing them.
pub async fn list_for_audit(tx: &mut Tx, after: Option<ClockId>, limit: i64) -> Result<Vec<Audited>> {
    let mut select = query("SELECT * FROM sla_clocks");
    if let Some(after) = after {
        select = select.push(" WHERE id > ").push_bind(after);
    }
    audited(select.push(" ORDER BY id LIMIT ").push_bind(limit), tx).await
}

async fn audited(select: Query, tx: &mut Tx) -> Result<Vec<Audited>> {
    let rows: Vec<AuditedRow> = select.all(&mut *tx).await?;
    let used = rows.iter().filter_map(|row| row.clock.calendar_version_id);
    let calendars = versions::calendars(tx, used).await?;
    let audited = |row: AuditedRow| {
        let AuditedRow { clock, state, due_at, next_fire_at } = row;
        let version = clock.calendar_version_id;
        let calendar = version.map_or(Ok(Calendar::AlwaysOpen), |version| calendars.get(version))?;
        Ok(Audited { stored: clock.with(calendar), state, due_at, next_fire_at })
    };
    rows.into_iter().map(audited).collect()
}

/// Lists what happened to several clocks, each in order.
pub async fn events_of(
    on: impl Into<Target<'_>>,
    ids: &[ClockId],
) -> Result<HashMap<ClockId, Vec<Recorded>>> {
    let select = query(
        "SELECT clock_id, seq, at, event FROM sla_events WHERE clock_id IN ({rows}) ORDER BY clock_id, seq",
    );
    let rows: Vec<(ClockId, i64, Timestamp, Json<Event>)> =
        select.rows(ids.iter().map(|id| [(*id).into()])).all(on).await?;
    let mut events: HashMap<ClockId, Vec<Recorded>> = HashMap::new();
    for (clock, seq, at, event) in rows {
        events.entry(clock).or_default().push(Recorded { seq, at, event: event.0 });
    }
    Ok(events)
}

/// Stores clocks as their events say, over whatever the rows said.
pub async fn repair(tx: &mut Tx, clocks: &[Stored]) -> Result<()> {
    query(UPDATE).rows(clocks.iter().map(update_row)).execute(tx).await?;
    Ok(())
}

/// Clocks that have not ended, of one kind.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, FromRow)]
pub struct Open {
    /// What they measure.
    pub metric: Metric,
    /// How urgent their tickets are.
    pub priority: Priority,
    /// Where they stand: `active`, `paused` or `breached`.
    pub state: State,
    /// How many there are.
    pub clocks: i64,
    /// How many of them are past a warning.
    pub warned: i64,
}

const OPEN: &str = "
    SELECT c.metric, t.priority, c.state, COUNT(*) AS clocks, SUM(CASE WHEN c.warned > 0 THEN 1 ELSE 0 END) AS warned
    FROM sla_clocks c JOIN tickets t ON t.id = c.ticket_id
    WHERE c.stopped_at IS NULL
    GROUP BY c.metric, t.priority, c.state";

/// Counts clocks that have not ended. It reads all of them.
pub async fn open(db: &Db) -> Result<Vec<Open>> {
    query(OPEN).all(db).await
}

/// Lists how long after its instant each breach since `since` was seen.
pub async fn detection_lags(db: &Db, since: Timestamp) -> Result<Vec<TimeDelta>> {
    let select =
        "SELECT breached_at, detected_at FROM sla_clocks WHERE started_at >= $1 AND breached_at IS NOT NULL";
    let breaches: Vec<(Timestamp, Timestamp)> = query(select).bind(since).all(db).await?;
    Ok(breaches.into_iter().map(|(breached, detected)| detected - breached).collect())
}

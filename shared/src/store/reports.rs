//! What the service desk has done, counted by the database. Deleted tickets are left out.

use sqlx::FromRow;

use super::query::{Query, query};
use super::{Db, Result};
use crate::domain::sla::Metric;
use crate::domain::ticket::Priority;
use crate::ids::{ClockId, DefinitionId, TicketId, UserId};
use crate::time::Timestamp;

/// From when (included) until when (not included).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// First instant.
    pub from: Timestamp,
    /// First instant after it.
    pub to: Timestamp,
}

/// What became of the tickets that are assigned to somebody.
#[derive(Clone, Debug, PartialEq, Eq, FromRow, serde::Serialize, utoipa::ToSchema)]
pub struct Assignee {
    /// Who.
    pub user_id: UserId,
    /// What they are called.
    pub name: String,
    /// Tickets resolved within the window.
    pub resolved: i64,
    /// Tickets that were opened before its end and are not done now.
    pub open: i64,
    /// Tickets with a clock that was breached within it.
    pub breached: i64,
}

const ASSIGNEES: &str = "
    WITH late AS (
        SELECT DISTINCT ticket_id FROM sla_clocks WHERE breached_at >= $1 AND breached_at < $2
    ), counted AS (
        SELECT t.assignee_id, SUM(CASE WHEN t.resolved_at >= $1 AND t.resolved_at < $2 THEN 1 ELSE 0 END) AS resolved,
            SUM(CASE WHEN t.status NOT IN ('resolved', 'closed') AND t.created_at < $2 THEN 1 ELSE 0 END) AS open,
            COUNT(late.ticket_id) AS breached
        FROM tickets t LEFT JOIN late ON late.ticket_id = t.id
        WHERE t.deleted_at IS NULL AND t.assignee_id IS NOT NULL
        GROUP BY t.assignee_id
    )
    SELECT u.id AS user_id, u.name, c.resolved, c.open, c.breached FROM counted c JOIN users u ON u.id = c.assignee_id
    WHERE c.resolved + c.open + c.breached > 0
    ORDER BY c.resolved DESC, u.id LIMIT $3";

/// Lists those with the most resolved tickets.
pub async fn top_assignees(db: &Db, window: Window, limit: i64) -> Result<Vec<Assignee>> {
    query(ASSIGNEES).bind(window.from).bind(window.to).bind(limit).all(db).await
}

/// How long somebody's tickets took to be resolved, in milliseconds. `wall` is from opening to resolving; `clock` is
/// the open time without pauses, of those tickets that a resolution was promised for. Percentiles are by nearest rank.
#[derive(Clone, Debug, PartialEq, Eq, FromRow, serde::Serialize, utoipa::ToSchema)]
pub struct Latency {
    /// Who.
    pub user_id: UserId,
    /// What they are called.
    pub name: String,
    /// Tickets resolved within the window.
    pub resolved: i64,
    /// Mean by the wall clock, rounded down.
    pub wall_mean_ms: i64,
    /// Median by the wall clock.
    pub wall_p50_ms: i64,
    /// What nine of ten stay within, by the wall clock.
    pub wall_p90_ms: i64,
    /// Of these, those that a clock counted.
    pub clocked: i64,
    /// Mean by that clock, rounded down.
    pub clock_mean_ms: Option<i64>,
    /// Median by that clock.
    pub clock_p50_ms: Option<i64>,
    /// What nine of ten stay within, by that clock.
    pub clock_p90_ms: Option<i64>,
}

const RESOLVED: &str = " AS wall, c.elapsed_us / 1000 AS clock
        FROM tickets t LEFT JOIN sla_clocks c
            ON c.ticket_id = t.id AND c.metric = 'resolution' AND c.stopped_at IS NOT NULL AND c.state <> 'cancelled'
        WHERE t.deleted_at IS NULL AND t.assignee_id IS NOT NULL AND t.resolved_at >= $1 AND t.resolved_at < $2
    ), ranked AS (
        SELECT assignee_id, wall, clock,
            ROW_NUMBER() OVER (PARTITION BY assignee_id ORDER BY wall) AS wall_rank,
            COUNT(*) OVER (PARTITION BY assignee_id) AS walls,
            ROW_NUMBER() OVER (PARTITION BY assignee_id ORDER BY (CASE WHEN clock IS NULL THEN 1 ELSE 0 END), clock)
                AS clock_rank,
            COUNT(clock) OVER (PARTITION BY assignee_id) AS clocks
        FROM resolved
    )
    SELECT r.assignee_id AS user_id, u.name, COUNT(*) AS resolved,
        CAST(SUM(wall) AS BIGINT) / COUNT(*) AS wall_mean_ms,
        MIN(CASE WHEN wall_rank * 100 >= walls * 50 THEN wall END) AS wall_p50_ms,
        MIN(CASE WHEN wall_rank * 100 >= walls * 90 THEN wall END) AS wall_p90_ms,
        COUNT(clock) AS clocked,
        CAST(SUM(clock) AS BIGINT) / NULLIF(COUNT(clock), 0) AS clock_mean_ms,
        MIN(CASE WHEN clock_rank * 100 >= clocks * 50 THEN clock END) AS clock_p50_ms,
        MIN(CASE WHEN clock_rank * 100 >= clocks * 90 THEN clock END) AS clock_p90_ms
    FROM ranked r JOIN users u ON u.id = r.assignee_id
    GROUP BY r.assignee_id, u.name
    ORDER BY resolved DESC, r.assignee_id LIMIT $3";

/// Tells how long the tickets resolved within a window took, by assignee, those with the most first.
pub async fn latency(db: &Db, window: Window, limit: i64) -> Result<Vec<Latency>> {
    let select = query("WITH resolved AS (SELECT t.assignee_id, ").push_each(
        "CAST(ROUND(EXTRACT(EPOCH FROM t.resolved_at) * 1000) - ROUND(EXTRACT(EPOCH FROM t.created_at) * 1000) AS BIGINT)",
        // A day of SQLite is a floating-point number, good to a twentieth of a millisecond.
        "CAST(ROUND((julianday(t.resolved_at) - julianday(t.created_at)) * 86400000) AS INTEGER)",
    );
    select.push(RESOLVED).bind(window.from).bind(window.to).bind(limit).all(db).await
}

/// By what clocks are counted together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Grouping {
    /// The ticket's priority.
    pub priority: bool,
    /// The ticket's team.
    pub team: bool,
    /// The day, in UTC, on which the clock started.
    pub day: bool,
    /// What the clock measures.
    pub metric: bool,
}

/// How many promises were kept.
#[derive(Clone, Debug, PartialEq, Eq, FromRow, serde::Serialize, utoipa::ToSchema)]
#[schema(as = Counts)]
pub struct Compliance {
    /// The priority, where asked for.
    pub priority: Option<Priority>,
    /// The team, where asked for; none is also of tickets without one.
    pub team_id: Option<DefinitionId>,
    /// The day, such as `2026-03-04`, where asked for.
    pub day: Option<String>,
    /// The metric, where asked for.
    pub metric: Option<Metric>,
    /// Clocks that stopped in time.
    pub met: i64,
    /// Clocks that were exceeded.
    pub breached: i64,
    /// Clocks that count, or are paused, within their target.
    pub open: i64,
}

/// Counts the clocks that started within a window; those cancelled are left out.
pub async fn compliance(db: &Db, window: Window, by: Grouping, limit: i64) -> Result<Vec<Compliance>> {
    let text = |select: Query, asked: bool, expression: &'static str, name: &'static str| {
        select.push(if asked { expression } else { "CAST(NULL AS TEXT)" }).push(name)
    };
    let select = text(query("SELECT "), by.priority, "t.priority", " AS priority, ");
    let select = match by.team {
        true => select.push("t.team_id AS team_id, "),
        false => select.push_each("CAST(NULL AS UUID) AS team_id, ", "NULL AS team_id, "),
    };
    let select = match by.day {
        true => select.push_each(
            "to_char(c.started_at AT TIME ZONE 'UTC', 'YYYY-MM-DD') AS day, ",
            "substr(c.started_at, 1, 10) AS day, ",
        ),
        false => select.push("CAST(NULL AS TEXT) AS day, "),
    };
    let select = text(select, by.metric, "c.metric", " AS metric");
    let select = select.push(
        ", SUM(CASE WHEN c.state = 'met' THEN 1 ELSE 0 END) AS met,
            SUM(CASE WHEN c.state = 'breached' THEN 1 ELSE 0 END) AS breached,
            SUM(CASE WHEN c.state IN ('active', 'paused') THEN 1 ELSE 0 END) AS open
        FROM sla_clocks c JOIN tickets t ON t.id = c.ticket_id
        WHERE t.deleted_at IS NULL AND c.state <> 'cancelled' AND c.started_at >= $1 AND c.started_at < $2
        GROUP BY 1, 2, 3, 4 ORDER BY 3, 1, 2, 4 LIMIT $3",
    );
    select.bind(window.from).bind(window.to).bind(limit).all(db).await
}

/// A clock that was exceeded.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct Breach {
    /// The clock.
    pub clock_id: ClockId,
    /// Its ticket.
    pub ticket_id: TicketId,
    /// The ticket's number.
    pub number: i64,
    /// What the ticket is about.
    pub title: String,
    /// How urgent the ticket is.
    pub priority: Priority,
    /// Who works on the ticket.
    pub assignee_id: Option<UserId>,
    /// What the clock measures.
    pub metric: Metric,
    /// When it was due; none where a pause or a retarget has moved that out of reach since.
    pub due_at: Option<Timestamp>,
    /// When it was exceeded.
    pub breached_at: Timestamp,
    /// When the ticket was taken on.
    pub acknowledged_at: Option<Timestamp>,
}

const BREACHES: &str = "
    SELECT c.id AS clock_id, c.ticket_id, t.number, t.title, t.priority, t.assignee_id, c.metric, c.due_at, c.breached_at,
        t.acknowledged_at
    FROM sla_clocks c JOIN tickets t ON t.id = c.ticket_id
    WHERE t.deleted_at IS NULL AND c.breached_at >= $1 AND c.breached_at < $2";

/// Lists the clocks that were exceeded within a window, latest first, behind one of these.
pub async fn breaches(
    db: &Db,
    window: Window,
    after: Option<(Timestamp, ClockId)>,
    limit: i64,
) -> Result<Vec<Breach>> {
    let mut select = query(BREACHES).bind(window.from).bind(window.to);
    if let Some((at, clock)) = after {
        select = select.push(" AND (c.breached_at, c.id) < (").push_bind(at);
        select = select.push(", ").push_bind(clock).push(")");
    }
    select.push(" ORDER BY c.breached_at DESC, c.id DESC LIMIT ").push_bind(limit).all(db).await
}

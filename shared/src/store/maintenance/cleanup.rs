//! What may be removed, and its removal: nothing that is on record.

use chrono::TimeDelta;
use serde::Serialize;

use crate::ids::TicketId;
use crate::store::query::{Target, query};
use crate::store::{Db, Result, Tx, events};
use crate::time::Timestamp;

/// How long ended jobs can be looked up.
pub const KEEP_JOBS: TimeDelta = TimeDelta::days(14);

/// How long a request may be repeated under its idempotency key.
pub const KEEP_KEYS: TimeDelta = TimeDelta::hours(24);

/// How much there is to remove.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// Tickets that were resolved or closed long ago, to be deleted.
    pub tickets: i64,
    /// Labels on tickets that are deleted, or will be.
    pub labels: i64,
    /// Answers kept for requests that are not repeated any more.
    pub idempotency_keys: i64,
    /// Ended jobs.
    pub ended_jobs: i64,
    /// Old events of the log.
    pub events: i64,
}

/// Up to when things are old.
#[derive(Clone, Copy, Debug)]
pub struct Before {
    /// Tickets resolved or closed before.
    pub tickets: Timestamp,
    /// Events of the log before.
    pub events: Timestamp,
    /// The time now, from which the other spans count.
    pub now: Timestamp,
}

const OLD_TICKETS: &str = "
    FROM tickets WHERE deleted_at IS NULL AND status IN ('resolved', 'closed')
        AND resolved_at < $1 AND (closed_at IS NULL OR closed_at < $1)";
const LABELS: &str = "
    SELECT COUNT(*) FROM ticket_labels WHERE ticket_id IN (
        SELECT id FROM tickets WHERE deleted_at IS NOT NULL OR (status IN ('resolved', 'closed')
            AND resolved_at < $1 AND (closed_at IS NULL OR closed_at < $1)))";

/// Counts what there is to remove.
pub async fn summary(tx: &mut Tx, before: Before) -> Result<Summary> {
    let Before { tickets, now, .. } = before;
    let events = events::old(&mut *tx, before.events).await?;
    let mut count = async |sql: &'static str, more: &'static str, at: Timestamp| {
        let (count,): (i64,) = query(sql).push(more).bind(at).one(&mut *tx).await?;
        Ok::<i64, crate::store::Error>(count)
    };
    Ok(Summary {
        tickets: count("SELECT COUNT(*)", OLD_TICKETS, tickets).await?,
        labels: count(LABELS, "", tickets).await?,
        idempotency_keys: count(
            "SELECT COUNT(*) FROM idempotency_keys",
            " WHERE created_at < $1",
            now - KEEP_KEYS,
        )
        .await?,
        ended_jobs: count("SELECT COUNT(*) FROM job_history", " WHERE finished_at < $1", now - KEEP_JOBS)
            .await?,
        events,
    })
}

/// Lists up to `limit` tickets that were resolved or closed before `before` and are not deleted, oldest first.
pub async fn old_tickets(on: impl Into<Target<'_>>, before: Timestamp, limit: i64) -> Result<Vec<TicketId>> {
    let select =
        query("SELECT id").push(OLD_TICKETS).bind(before).push(" ORDER BY id LIMIT ").push_bind(limit);
    let tickets: Vec<(TicketId,)> = select.all(on).await?;
    Ok(tickets.into_iter().map(|(id,)| id).collect())
}

/// Removes the labels of deleted tickets. What they were is in the history.
pub async fn drop_labels(tx: &mut Tx) -> Result<u64> {
    let delete =
        "DELETE FROM ticket_labels WHERE ticket_id IN (SELECT id FROM tickets WHERE deleted_at IS NOT NULL)";
    query(delete).execute(tx).await
}

/// Gives back the room that removed rows took, and measures the tables anew for the planner.
///
/// # Errors
/// `Error::Unavailable` when a SQLite file is written by others all the while.
pub async fn vacuum(db: &Db) -> Result<()> {
    match db {
        Db::Postgres(pool) => {
            sqlx::raw_sql("VACUUM (ANALYZE)").execute(pool).await?;
        }
        Db::Sqlite { writer, .. } => {
            sqlx::raw_sql("VACUUM; PRAGMA optimize").execute(writer).await?;
        }
    }
    Ok(())
}

//! Heartbeats: one row per boot of a process that runs jobs.

use sqlx::FromRow;

use super::db::Tx;
use super::query::query;
use super::{Db, Result};
use crate::ids::WorkerId;
use crate::time::Timestamp;

/// One boot of a process.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct Worker {
    /// Identifier of this boot.
    pub id: WorkerId,
    /// The program.
    pub process: String,
    /// The machine it runs on.
    pub host: String,
    /// When it started.
    pub started_at: Timestamp,
    /// When it last said that it lives.
    pub seen_at: Timestamp,
}

const BEAT: &str = "
    INSERT INTO workers (id, process, host, started_at, seen_at) VALUES ($1, $2, $3, $4, $4)
    ON CONFLICT (id) DO UPDATE SET seen_at = excluded.seen_at";

/// Says that a process lives.
pub async fn beat(tx: &mut Tx, id: WorkerId, process: &str, host: &str, now: Timestamp) -> Result<()> {
    query(BEAT).bind(id).bind(process).bind(host).bind(now).execute(tx).await?;
    Ok(())
}

/// Removes a process that stopped in an orderly way.
pub async fn remove(tx: &mut Tx, id: WorkerId) -> Result<()> {
    query("DELETE FROM workers WHERE id = $1").bind(id).execute(tx).await?;
    Ok(())
}

/// Removes processes not seen since `before` that hold no job.
pub async fn forget(tx: &mut Tx, before: Timestamp) -> Result<u64> {
    let delete = "DELETE FROM workers WHERE seen_at < $1 AND id NOT IN (SELECT worker_id FROM jobs WHERE worker_id IS NOT NULL)";
    query(delete).bind(before).execute(tx).await
}

/// Lists processes, latest seen first.
pub async fn list(db: &Db) -> Result<Vec<Worker>> {
    query("SELECT * FROM workers ORDER BY seen_at DESC").all(db).await
}

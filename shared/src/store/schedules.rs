//! Periodic jobs: when each runs next.

use sqlx::FromRow;
use sqlx::types::Json;

use super::Result;
use super::db::Tx;
use super::query::{Target, query};
use crate::time::Timestamp;

/// A job that is enqueued again and again.
#[derive(Clone, Debug, PartialEq, FromRow)]
pub struct Schedule {
    /// Name; unique.
    pub name: String,
    /// Cron expression with seconds.
    pub cron: String,
    /// IANA zone the expression is read in.
    pub zone: String,
    /// Kind of the job.
    pub kind: String,
    /// Payload of the job.
    pub payload: Json<serde_json::Value>,
    /// When it runs next.
    pub next_run_at: Timestamp,
    /// When it last ran.
    pub last_run_at: Option<Timestamp>,
}

const ENSURE: &str = "
    INSERT INTO schedules (name, cron, zone, kind, payload, next_run_at) VALUES ($1, $2, $3, $4, $5, $6)
    ON CONFLICT (name) DO UPDATE SET cron = excluded.cron, zone = excluded.zone, kind = excluded.kind,
        payload = excluded.payload,
        next_run_at = CASE WHEN schedules.cron = excluded.cron AND schedules.zone = excluded.zone
            THEN schedules.next_run_at ELSE excluded.next_run_at END";

/// Adds a schedule or updates its definition; a tick that was due stays due.
pub async fn ensure(tx: &mut Tx, schedule: &Schedule) -> Result<()> {
    let insert = query(ENSURE).bind(&*schedule.name).bind(&*schedule.cron).bind(&*schedule.zone);
    insert
        .bind(&*schedule.kind)
        .bind(schedule.payload.0.clone())
        .bind(schedule.next_run_at)
        .execute(tx)
        .await?;
    Ok(())
}

impl Schedule {
    /// Defines a schedule of a job without settings, in UTC.
    #[must_use]
    pub fn new(name: &str, cron: &str, kind: &str, next_run_at: Timestamp) -> Self {
        let (name, cron, zone, kind) = (name.into(), cron.into(), "UTC".into(), kind.into());
        let payload = Json(serde_json::Value::Object(serde_json::Map::new()));
        Self { name, cron, zone, kind, payload, next_run_at, last_run_at: None }
    }
}

/// Lists the schedules whose tick has come.
pub async fn due(on: impl Into<Target<'_>>, now: Timestamp) -> Result<Vec<Schedule>> {
    query("SELECT * FROM schedules WHERE next_run_at <= $1 ORDER BY next_run_at").bind(now).all(on).await
}

const MOVE: &str =
    "UPDATE schedules SET last_run_at = $3, next_run_at = $4 WHERE name = $1 AND next_run_at = $2";

/// Moves a schedule on from the tick it was read at; `false` when somebody else did.
pub async fn advance(tx: &mut Tx, schedule: &Schedule, now: Timestamp, next: Timestamp) -> Result<bool> {
    let moved = query(MOVE).bind(&*schedule.name).bind(schedule.next_run_at).bind(now).bind(next);
    Ok(moved.execute(tx).await? == 1)
}

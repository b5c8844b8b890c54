//! The jobs ledger and its history as one list, for operators.

use sqlx::FromRow;
use sqlx::types::Json;

use super::query::{Query, Target, query};
use super::{Db, Result};
use crate::domain::job::Priority;
use crate::ids::{JobId, WorkerId};
use crate::time::Timestamp;

crate::domain::text_enum! {
    /// How a job stands.
    #[schema(as = JobState)]
    State {
        /// It waits for its time, or for a worker.
        Ready = "ready",
        /// A worker runs it.
        Running = "running",
        /// It did its work.
        Done = "done",
        /// It found that there was nothing to do.
        Discarded = "discarded",
        /// It will not be tried again; a person should look.
        Dead = "dead",
    }
}

/// A job, whether it has ended or not.
#[derive(Clone, Debug, PartialEq, FromRow)]
pub struct Entry {
    /// Identifier.
    pub id: JobId,
    /// Kind.
    pub kind: String,
    /// Queue.
    pub priority: Priority,
    /// Payload.
    pub payload: Json<serde_json::Value>,
    /// How it stands.
    pub state: State,
    /// Not before, as long as it waits.
    pub run_at: Option<Timestamp>,
    /// How often it was claimed.
    pub attempt: i64,
    /// How often it lost its worker.
    pub crashes: i64,
    /// What went wrong last, or why there was nothing to do.
    pub last_error: Option<String>,
    /// Who runs it, or ran it last.
    pub worker_id: Option<WorkerId>,
    /// When it was enqueued.
    pub created_at: Timestamp,
    /// When it was claimed last.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
}

/// Which jobs a list has, and how many.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// How they stand.
    pub state: Option<State>,
    /// Their kind.
    pub kind: Option<String>,
    /// Their queue.
    pub priority: Option<Priority>,
    /// Only those older than this one.
    pub before: Option<JobId>,
    /// At most as many.
    pub limit: i64,
}

const ALL: &str = "
    (SELECT id, kind, priority, payload, state, run_at, attempt, crashes, last_error, worker_id, created_at, started_at,
        NULL AS finished_at FROM jobs
    UNION ALL
    SELECT id, kind, priority, payload, outcome, NULL, attempt, crashes, last_error, worker_id, created_at, started_at,
        finished_at FROM job_history) AS ledger WHERE TRUE";

/// Lists jobs, newest first.
pub async fn list(db: &Db, filter: &Filter) -> Result<Vec<Entry>> {
    let mut select = conditions(query("SELECT * FROM").push(ALL), filter);
    if let Some(before) = filter.before {
        select = select.push(" AND id < ").push_bind(before);
    }
    select.push(" ORDER BY id DESC LIMIT ").push_bind(filter.limit).all(db).await
}

/// Counts the jobs that a filter lets through, on all pages.
pub async fn count(db: &Db, filter: &Filter) -> Result<i64> {
    let (count,): (i64,) = conditions(query("SELECT COUNT(*) FROM").push(ALL), filter).one(db).await?;
    Ok(count)
}

/// Finds a job, whether it has ended or not.
pub async fn get(on: impl Into<Target<'_>>, id: JobId) -> Result<Option<Entry>> {
    query("SELECT * FROM").push(ALL).push(" AND id = ").push_bind(id).optional(on).await
}

fn conditions(mut select: Query, filter: &Filter) -> Query {
    if let Some(state) = filter.state {
        select = select.push(" AND state = ").push_bind(state.as_str().to_owned());
    }
    if let Some(kind) = &filter.kind {
        select = select.push(" AND kind = ").push_bind(kind.clone());
    }
    if let Some(priority) = filter.priority {
        select = select.push(" AND priority = ").push_bind(priority);
    }
    select
}

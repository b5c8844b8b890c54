//! The jobs ledger. A job is a row from the transaction that caused it until it ends; then it is history.
//!
//! Whoever claims a job gets a lease: (`worker_id`, `lease_seq`). Everything that ends a lease checks both, so a
//! worker that lost its lease can change nothing.

use std::borrow::Cow;

use chrono::TimeDelta;
use sqlx::FromRow;
use sqlx::types::Json;
use tracing::{Span, field};

use super::db::Tx;
use super::query::{Target, Value, query};
use super::schedules::Schedule;
use super::{Db, Result};
use crate::domain::job::{self, Ending, Job, MAX_CRASHES, Priority};
use crate::ids::{JobId, WorkerId};
use crate::metrics::JOBS_ENQUEUED;
use crate::telemetry;
use crate::time::Timestamp;

/// How long the relay leaves a fresh job to whoever enqueued it, who dispatches it after the commit.
pub const DISPATCH_GRACE: TimeDelta = TimeDelta::seconds(2);

/// How long the relay waits before it sends a job again that nobody has claimed.
const RELAY_AGAIN: TimeDelta = TimeDelta::seconds(10);

/// How long workers leave an undispatched job to the relay before they take it themselves.
const OVERDUE: TimeDelta = TimeDelta::seconds(1);

/// How long any lease lasts at most, should its worker live but never finish.
const LEASE: TimeDelta = TimeDelta::minutes(15);

/// A job to enqueue.
#[derive(Clone, Debug)]
pub struct NewJob {
    id: JobId,
    kind: Cow<'static, str>,
    priority: Priority,
    payload: serde_json::Value,
    run_at: Option<Timestamp>,
    max_attempts: i64,
    unique_key: Option<String>,
    traceparent: Option<String>,
}

impl NewJob {
    /// Prepares a job to run as soon as the transaction is committed.
    #[must_use]
    pub fn of<J: Job>(job: &J) -> Self {
        Self {
            id: JobId::new(),
            kind: Cow::Borrowed(J::KIND),
            priority: J::PRIORITY,
            payload: serde_json::to_value(job).unwrap_or_default(),
            run_at: None,
            max_attempts: J::MAX_ATTEMPTS,
            unique_key: None,
            traceparent: telemetry::traceparent(),
        }
    }

    /// Prepares the job of a schedule's tick; a tick whose job still waits or runs enqueues nothing.
    #[must_use]
    pub fn of_schedule(schedule: &Schedule) -> Self {
        Self {
            id: JobId::new(),
            kind: Cow::Owned(schedule.kind.clone()),
            priority: Priority::Low,
            payload: schedule.payload.0.clone(),
            run_at: None,
            max_attempts: 3,
            unique_key: Some(format!("schedule:{}", schedule.name)),
            traceparent: None,
        }
    }

    /// Puts it into another queue than its kind's.
    #[must_use]
    pub const fn priority(mut self, priority: Priority) -> Self {
        self.priority = priority;
        self
    }

    /// Runs it later.
    #[must_use]
    pub const fn at(mut self, run_at: Timestamp) -> Self {
        self.run_at = Some(run_at);
        self
    }

    /// Enqueues it only if no job with this key is waiting or running.
    #[must_use]
    pub fn unique(mut self, key: impl Into<String>) -> Self {
        self.unique_key = Some(key.into());
        self
    }

    /// Continues another trace than the current span's.
    #[must_use]
    pub fn traced(mut self, traceparent: Option<String>) -> Self {
        self.traceparent = traceparent;
        self
    }
}

/// A job in the ledger.
#[derive(Clone, Debug, PartialEq, FromRow)]
pub struct Ready {
    /// Identifier.
    pub id: JobId,
    /// Kind.
    pub kind: String,
    /// Queue.
    pub priority: Priority,
    /// Payload, at most 8 KiB.
    pub payload: Json<serde_json::Value>,
    /// `ready` or `running`.
    pub state: String,
    /// Not before.
    pub run_at: Timestamp,
    /// How often it was claimed, this time included.
    pub attempt: i64,
    /// How often it may be.
    pub max_attempts: i64,
    /// How often it lost its worker.
    pub crashes: i64,
    /// The number of its lease.
    pub lease_seq: i64,
    /// Who holds the lease.
    pub worker_id: Option<WorkerId>,
    /// When it was claimed.
    pub started_at: Option<Timestamp>,
    /// What went wrong last.
    pub last_error: Option<String>,
    /// At most one job with this key waits or runs.
    pub unique_key: Option<String>,
    /// W3C trace context of its cause.
    pub traceparent: Option<String>,
    /// When it was enqueued.
    pub created_at: Timestamp,
}

/// A job that this process has claimed.
pub type Leased = Ready;

/// A job that has ended.
#[derive(Clone, Debug, PartialEq, FromRow)]
pub struct Ended {
    /// Identifier.
    pub id: JobId,
    /// Kind.
    pub kind: String,
    /// Queue.
    pub priority: Priority,
    /// Payload.
    pub payload: Json<serde_json::Value>,
    /// How it ended.
    pub outcome: Ending,
    /// How often it was claimed.
    pub attempt: i64,
    /// What went wrong last, or why there was nothing to do.
    pub last_error: Option<String>,
    /// When it ended.
    pub finished_at: Timestamp,
}

const COLUMNS: &str =
    "id, kind, priority, payload, state, run_at, attempt, max_attempts, crashes, lease_seq, worker_id,
    started_at, last_error, unique_key, traceparent, created_at";

const INSERT: &str = "
    INSERT INTO jobs (id, kind, priority, payload, state, run_at, relay_at, attempt, max_attempts, crashes,
        lease_seq, unique_key, traceparent, created_at)
    {rows}
    ON CONFLICT DO NOTHING
    RETURNING id";

/// Enqueues jobs with this transaction; returns those that a unique key did not turn away.
pub async fn enqueue(tx: &mut Tx, mut jobs: Vec<NewJob>, now: Timestamp) -> Result<Vec<JobId>> {
    let _sends: Vec<Span> = jobs.iter_mut().map(send).collect();
    let kinds: Vec<(JobId, &'static str)> = jobs.iter().map(|job| (job.id, job::label(&job.kind))).collect();
    let immediate: Vec<_> =
        jobs.iter().filter(|j| j.run_at.is_none_or(|at| at <= now)).map(|j| (j.priority, j.id)).collect();
    let wanted = jobs.len();
    let rows = jobs.into_iter().map(|job| -> [Value; 14] {
        let run_at = job.run_at.unwrap_or(now).max(now);
        let relay_at = if run_at > now { run_at } else { now + DISPATCH_GRACE };
        [
            job.id.into(),
            job.kind.into_owned().into(),
            job.priority.into(),
            job.payload.into(),
            "ready".into(),
            run_at.into(),
            relay_at.into(),
            0.into(),
            job.max_attempts.into(),
            0.into(),
            0.into(),
            job.unique_key.into(),
            job.traceparent.into(),
            now.into(),
        ]
    });
    let inserted: Vec<(JobId,)> = query(INSERT).rows(rows).all(&mut *tx).await?;
    let inserted: Vec<JobId> = inserted.into_iter().map(|(id,)| id).collect();
    if inserted.len() == wanted {
        tx.enqueued.extend(immediate);
    } else {
        tx.enqueued.extend(immediate.into_iter().filter(|(_, id)| inserted.contains(id)));
    }
    let all = inserted.len() == wanted;
    let kinds: Vec<_> = kinds.into_iter().filter(|(id, _)| all || inserted.contains(id)).collect();
    tx.measure(move || kinds.into_iter().for_each(|(_, kind)| JOBS_ENQUEUED.of([kind]).increment(1)));
    Ok(inserted)
}

/// The span of a job's sending, for as long as it takes to store it; the job's attempts are part of it, or refer to it
/// (OpenTelemetry semantic conventions for messaging). A job without a cause begins a trace of its own.
fn send(job: &mut NewJob) -> Span {
    let cause = job.traceparent.as_deref().and_then(telemetry::parse_traceparent);
    let Some(cause) = cause else { return Span::none() };
    let span = tracing::debug_span!(
        parent: None,
        "send",
        otel.name = field::Empty,
        otel.kind = "producer",
        messaging.system = "dogwatch",
        messaging.operation.name = "enqueue",
        messaging.operation.type = "send",
        messaging.destination.name = field::Empty,
        messaging.message.id = field::Empty,
    );
    if !span.is_disabled() {
        telemetry::continue_trace(&span, cause);
        span.record("otel.name", format!("send {}", job.kind))
            .record("messaging.destination.name", &*job.kind);
        span.record("messaging.message.id", field::display(job.id));
        job.traceparent = telemetry::traceparent_of(&span);
    }
    span
}

// Jobs that are named are found by their keys alone, behind a fence; how they stand is asked of what was found. How many
// wait or run changes faster than PostgreSQL learns: asked at once, it takes them for one, and compares each of thousands
// with each name.

// Fenced also so that PostgreSQL locks and updates exactly the rows it chose.
const CLAIM: &str = "
    WITH named AS MATERIALIZED (
        SELECT id AS named_id, state AS named_state, run_at AS named_run_at FROM jobs WHERE id IN ({rows}) {skip_locked})
    UPDATE jobs SET state = 'running', attempt = attempt + 1, lease_seq = lease_seq + 1, worker_id = $1,
        started_at = $3, deadline_at = $2
    FROM named WHERE id = named_id AND named_state = 'ready' AND named_run_at <= $3
    RETURNING ";

/// Claims those of `ids` that are ready; the others are somebody else's or have ended.
pub async fn claim(tx: &mut Tx, worker: WorkerId, ids: &[JobId], now: Timestamp) -> Result<Vec<Leased>> {
    let claim = query(CLAIM).push(COLUMNS).bind(worker).bind(now + LEASE).bind(now);
    claim.rows(ids.iter().map(|id| [(*id).into()])).all(tx).await
}

const CLAIM_OVERDUE: &str = "
    WITH claimed AS MATERIALIZED (
        SELECT id AS claimed_id FROM jobs WHERE state = 'ready' AND priority = $4 AND relay_at <= $6
        ORDER BY relay_at LIMIT $5 {skip_locked})
    UPDATE jobs SET state = 'running', attempt = attempt + 1, lease_seq = lease_seq + 1, worker_id = $1,
        started_at = $3, deadline_at = $2
    FROM claimed WHERE id = claimed_id
    RETURNING ";

/// Tells how the database would claim and how it would finish these jobs, for tests that hold it to its keys.
#[cfg(feature = "testkit")]
pub async fn plans(tx: &mut Tx, worker: WorkerId, jobs: &[Leased], now: Timestamp) -> Result<[String; 2]> {
    let claim = query(CLAIM).push(COLUMNS).bind(worker).bind(now + LEASE).bind(now);
    let claim = claim.rows(jobs.iter().map(|job| [job.id.into()])).plan(&mut *tx).await?;
    let leases = jobs.iter().map(|job| -> [Value; 2] { [job.id.into(), job.lease_seq.into()] });
    Ok([claim, query(DELETE).bind(worker).rows(leases).plan(tx).await?])
}

/// Lets the database learn how many jobs wait and run, as it does by itself in time; for tests.
#[cfg(feature = "testkit")]
pub async fn analyze(tx: &mut Tx) -> Result<()> {
    query("ANALYZE jobs").execute(tx).await?;
    Ok(())
}

/// Claims up to `limit` jobs of a queue that the relay should have sent more than a second ago: how workers go on
/// without Redis, and without schedulers.
pub async fn claim_overdue(
    tx: &mut Tx,
    worker: WorkerId,
    priority: Priority,
    limit: i64,
    now: Timestamp,
) -> Result<Vec<Leased>> {
    let claim = query(CLAIM_OVERDUE).push(COLUMNS).bind(worker).bind(now + LEASE).bind(now);
    claim.bind(priority).bind(limit).bind(now - OVERDUE).all(tx).await
}

/// How one leased job ended.
#[derive(Clone, Debug)]
pub struct End {
    /// The job.
    pub job: Leased,
    /// How it ended.
    pub ending: Ending,
    /// What went wrong, or why there was nothing to do.
    pub note: Option<String>,
}

const DELETE: &str = "
    WITH v (id, lease_seq) AS ({rows}),
    named AS MATERIALIZED (
        SELECT jobs.id, jobs.worker_id, jobs.lease_seq = v.lease_seq AS is_held
        FROM v JOIN jobs ON jobs.id = v.id {for_update})
    DELETE FROM jobs WHERE id IN (SELECT id FROM named WHERE is_held AND worker_id = $1) RETURNING id";

const INTO_HISTORY: &str = "
    INSERT INTO job_history (id, kind, priority, payload, outcome, attempt, crashes, worker_id, unique_key, traceparent,
        last_error, created_at, started_at, finished_at)
    {rows}";

/// Moves jobs to history; returns those whose lease `worker` still held. The others were not touched.
pub async fn finish(tx: &mut Tx, worker: WorkerId, ends: Vec<End>, now: Timestamp) -> Result<Vec<JobId>> {
    let leases = ends.iter().map(|end| -> [Value; 2] { [end.job.id.into(), end.job.lease_seq.into()] });
    let finished: Vec<(JobId,)> = query(DELETE).bind(worker).rows(leases).all(&mut *tx).await?;
    let finished: std::collections::HashSet<JobId> = finished.into_iter().map(|(id,)| id).collect();
    let held = ends.into_iter().filter(|end| finished.contains(&end.job.id));
    query(INTO_HISTORY).rows(held.map(|end| history_row(end, now))).execute(tx).await?;
    Ok(finished.into_iter().collect())
}

fn history_row(end: End, now: Timestamp) -> [Value; 14] {
    let job = end.job;
    [
        job.id.into(),
        job.kind.into(),
        job.priority.into(),
        job.payload.0.into(),
        end.ending.into(),
        job.attempt.into(),
        job.crashes.into(),
        job.worker_id.into(),
        job.unique_key.into(),
        job.traceparent.into(),
        end.note.or(job.last_error).into(),
        job.created_at.into(),
        job.started_at.into(),
        now.into(),
    ]
}

/// A leased job that goes back to wait.
#[derive(Clone, Debug)]
pub struct Again {
    /// The job.
    pub job: JobId,
    /// The number of its lease.
    pub lease_seq: i64,
    /// When it may run again.
    pub at: Timestamp,
    /// Attempts to give back: 1 when the job did not fail but was put off.
    pub refund: i64,
    /// What went wrong.
    pub error: Option<String>,
}

const PUT_BACK: &str = "
    WITH v (id, lease_seq, run_at, refund, error) AS ({rows}),
    named AS MATERIALIZED (
        SELECT jobs.id, jobs.worker_id, jobs.lease_seq = v.lease_seq AS is_held, v.run_at, v.refund, v.error
        FROM v JOIN jobs ON jobs.id = v.id {for_update})
    UPDATE jobs SET state = 'ready', run_at = named.run_at, relay_at = named.run_at, attempt = attempt - named.refund,
        last_error = COALESCE(named.error, last_error), worker_id = NULL, started_at = NULL, deadline_at = NULL
    FROM named WHERE jobs.id = named.id AND named.is_held AND named.worker_id = $1";

/// Puts jobs back to be tried again; those whose lease `worker` lost are not touched.
pub async fn put_back(tx: &mut Tx, worker: WorkerId, again: Vec<Again>) -> Result<u64> {
    let row = |a: Again| -> [Value; 5] {
        [a.job.into(), a.lease_seq.into(), a.at.into(), a.refund.into(), a.error.into()]
    };
    query(PUT_BACK).bind(worker).rows(again.into_iter().map(row)).execute(tx).await
}

const HAND_BACK: &str = "
    UPDATE jobs SET state = 'ready', run_at = $2, relay_at = $2, attempt = attempt - 1, worker_id = NULL,
        started_at = NULL, deadline_at = NULL
    WHERE state = 'running' AND worker_id = $1";

/// Gives back everything a worker holds, with the attempts, when it shuts down.
pub async fn hand_back(tx: &mut Tx, worker: WorkerId, now: Timestamp) -> Result<u64> {
    query(HAND_BACK).bind(worker).bind(now).execute(tx).await
}

/// Lists what a worker holds according to the ledger.
pub async fn held_by(on: impl Into<Target<'_>>, worker: WorkerId) -> Result<Vec<Leased>> {
    query("SELECT * FROM jobs WHERE worker_id = $1 AND state = 'running'").bind(worker).all(on).await
}

const HELD: &str =
    "SELECT 1 FROM jobs WHERE id = $1 AND lease_seq = $2 AND worker_id = $3 AND state = 'running'";

/// Tells whether a worker still holds the lease on a job.
pub async fn holds(on: impl Into<Target<'_>>, worker: WorkerId, job: &Leased) -> Result<bool> {
    let held: Option<(i32,)> = query(HELD).bind(job.id).bind(job.lease_seq).bind(worker).optional(on).await?;
    Ok(held.is_some())
}

const LOST: &str = "
    SELECT * FROM jobs WHERE state = 'running'
        AND (deadline_at <= $1 OR worker_id NOT IN (SELECT id FROM workers WHERE seen_at > $2))
    LIMIT 500 {skip_locked}";

const RESCUE: &str = "
    WITH v (id) AS ({rows})
    UPDATE jobs SET state = 'ready', crashes = crashes + 1, run_at = $1, relay_at = $1, worker_id = NULL,
        started_at = NULL, deadline_at = NULL, last_error = 'its worker was lost'
    FROM v WHERE jobs.id = v.id";

/// What a rescue did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rescued {
    /// Jobs that will run again.
    pub again: usize,
    /// The kinds of jobs given up because they lost their worker too often.
    pub dead: Vec<String>,
}

/// Takes jobs from workers not seen since `gone_before`, and those past their deadline.
///
/// `gone_before: None` judges by deadlines alone.
pub async fn rescue(tx: &mut Tx, gone_before: Option<Timestamp>, now: Timestamp) -> Result<Rescued> {
    let gone_before = gone_before.unwrap_or(chrono::DateTime::UNIX_EPOCH);
    let lost: Vec<Leased> = query(LOST).bind(now).bind(gone_before).all(&mut *tx).await?;
    let (dead, again): (Vec<_>, Vec<_>) = lost.into_iter().partition(|job| job.crashes + 1 >= MAX_CRASHES);
    let rescued = Rescued { again: again.len(), dead: dead.iter().map(|job| job.kind.clone()).collect() };
    query(RESCUE).bind(now).rows(again.iter().map(|job| [job.id.into()])).execute(tx).await?;
    for mut job in dead {
        let Some(worker) = job.worker_id else { continue };
        job.crashes += 1;
        let note = Some(format!("it lost its worker {} times", job.crashes));
        finish(tx, worker, vec![End { job, ending: Ending::Dead, note }], now).await?;
    }
    Ok(rescued)
}

const RELAY: &str = "
    WITH due AS MATERIALIZED (
        SELECT id AS due_id FROM jobs WHERE state = 'ready' AND priority = $1 AND relay_at <= $2
        ORDER BY relay_at LIMIT $3 {skip_locked})
    UPDATE jobs SET relay_at = $4 FROM due WHERE id = due_id RETURNING id";

/// Takes up to `limit` jobs of a queue that are ready but were not dispatched, to send them now.
pub async fn relay(tx: &mut Tx, priority: Priority, limit: i64, now: Timestamp) -> Result<Vec<JobId>> {
    let relay = query(RELAY).bind(priority).bind(now).bind(limit).bind(now + RELAY_AGAIN);
    let due: Vec<(JobId,)> = relay.all(tx).await?;
    Ok(due.into_iter().map(|(id,)| id).collect())
}

/// Finds a job that has not ended.
pub async fn get(on: impl Into<Target<'_>>, id: JobId) -> Result<Option<Ready>> {
    query("SELECT * FROM jobs WHERE id = $1").bind(id).optional(on).await
}

/// Finds a job that has ended.
pub async fn ended(on: impl Into<Target<'_>>, id: JobId) -> Result<Option<Ended>> {
    query("SELECT * FROM job_history WHERE id = $1").bind(id).optional(on).await
}

/// Lists jobs that have not ended, next first.
pub async fn list(db: &Db, limit: i64) -> Result<Vec<Ready>> {
    query("SELECT * FROM jobs ORDER BY state DESC, run_at LIMIT $1").bind(limit).all(db).await
}

/// Lists dead letters, latest first.
pub async fn dead(db: &Db, limit: i64) -> Result<Vec<Ended>> {
    let select = "SELECT * FROM job_history WHERE outcome = 'dead' ORDER BY finished_at DESC LIMIT $1";
    query(select).bind(limit).all(db).await
}

const COPY: &str = "
    INSERT INTO jobs (id, kind, priority, payload, state, run_at, relay_at, attempt, max_attempts, crashes, lease_seq,
        unique_key, traceparent, last_error, created_at)
    SELECT $2, kind, priority, payload, 'ready', $3, $4, 0, CASE WHEN attempt < 3 THEN 3 ELSE attempt END, 0, 0,
        unique_key, traceparent, last_error, $3
    FROM job_history WHERE id = $1 AND outcome = 'dead'
    ON CONFLICT DO NOTHING
    RETURNING id, priority";

/// Enqueues a dead job anew, as a new job; `None` when there is no such dead job, or one like it waits already.
pub async fn retry(tx: &mut Tx, dead: JobId, now: Timestamp) -> Result<Option<JobId>> {
    let copy = query(COPY).bind(dead).bind(JobId::new()).bind(now).bind(now + DISPATCH_GRACE);
    let copied: Option<(JobId, Priority)> = copy.optional(&mut *tx).await?;
    tx.enqueued.extend(copied.map(|(id, priority)| (priority, id)));
    Ok(copied.map(|(id, _)| id))
}

/// How full a queue is.
#[derive(Clone, Debug, PartialEq, FromRow)]
pub struct Depth {
    /// Queue.
    pub priority: Priority,
    /// `ready` or `running`.
    pub state: String,
    /// Jobs.
    pub jobs: i64,
    /// When the one waiting longest could first have run.
    pub oldest: Timestamp,
}

/// Measures the queues; jobs scheduled for later do not count.
pub async fn depths(db: &Db, now: Timestamp) -> Result<Vec<Depth>> {
    let select = "
        SELECT priority, state, COUNT(*) AS jobs, MIN(run_at) AS oldest FROM jobs
        WHERE run_at <= $1 GROUP BY priority, state ORDER BY priority, state";
    query(select).bind(now).all(db).await
}

/// Counts ended jobs by kind and outcome.
pub async fn endings(db: &Db) -> Result<Vec<(String, String, i64)>> {
    query("SELECT kind, outcome, COUNT(*) FROM job_history GROUP BY kind, outcome ORDER BY kind, outcome")
        .all(db)
        .await
}

const PRUNE: &str = "
    DELETE FROM job_history WHERE id IN (
        SELECT id FROM job_history WHERE finished_at < $1 ORDER BY finished_at LIMIT $2)";

/// Forgets up to `limit` jobs that ended before `before`.
pub async fn prune(tx: &mut Tx, before: Timestamp, limit: i64) -> Result<u64> {
    query(PRUNE).bind(before).bind(limit).execute(tx).await
}

//! Deletes what nobody needs any more.

use chrono::TimeDelta;
use shared::domain::job::{Prune, TidyRedis};
use shared::store::{idempotency, jobs, refresh_tokens, sign_ins, workers};

use crate::context::{Context, JobError, Outcome};
use crate::registry::Run;

/// How long ended jobs can be looked up.
const KEEP_JOBS: TimeDelta = TimeDelta::days(14);

/// How long a request may be repeated under its idempotency key.
const KEEP_KEYS: TimeDelta = TimeDelta::hours(24);

/// How long a process that is gone stays listed.
const KEEP_WORKERS: TimeDelta = TimeDelta::days(1);

/// At most as many jobs to a transaction, so that none takes long.
const BATCH: i64 = 5_000;

impl Run for Prune {
    async fn run(&self, cx: &Context) -> Result<Outcome, JobError> {
        let now = cx.now();
        let mut pruned = 0;
        loop {
            let mut tx = cx.db().begin().await?;
            let batch = jobs::prune(&mut tx, now - KEEP_JOBS, BATCH).await?;
            let _ = tx.commit().await?;
            pruned += batch;
            if batch < BATCH.unsigned_abs() {
                break;
            }
        }
        let mut tx = cx.db().begin().await?;
        let keys = idempotency::prune(&mut tx, now - KEEP_KEYS).await?;
        let workers = workers::forget(&mut tx, now - KEEP_WORKERS).await?;
        let refresh_tokens = refresh_tokens::prune(&mut tx, now).await?;
        let sign_ins = sign_ins::prune(&mut tx, now).await?;
        let _ = tx.commit().await?;
        tracing::info!(jobs = pruned, keys, workers, refresh_tokens, sign_ins, "pruned");
        Ok(Outcome::Done)
    }
}

impl Run for TidyRedis {
    async fn run(&self, cx: &Context) -> Result<Outcome, JobError> {
        // While Redis is away there is nothing to tidy; the backlog of ended messages can wait.
        let tidied = cx.worker.process.queue.tidy().await;
        let deleted = tidied.map_err(|_| JobError::Snooze(TimeDelta::minutes(1)))?;
        tracing::info!(deleted, "tidied Redis");
        Ok(Outcome::Done)
    }
}

//! Deletes what nobody needs any more.

use chrono::TimeDelta;
use shared::domain::job::{Prune, TidyRedis};
use shared::store::maintenance::cleanup::{KEEP_JOBS, KEEP_KEYS};
use shared::store::{deliveries, events, idempotency, jobs, refresh_tokens, sign_ins, workers};

use crate::context::{Context, JobError, Outcome};
use crate::registry::Run;

/// How long it can be looked up what became of a delivery to a webhook, and be sent again.
const KEEP_DELIVERIES: TimeDelta = TimeDelta::days(14);

/// How long a process that is gone stays listed.
const KEEP_WORKERS: TimeDelta = TimeDelta::days(1);

/// At most as many rows to a transaction, so that none takes long.
const BATCH: i64 = 5_000;

impl Run for Prune {
    async fn run(&self, cx: &Context) -> Result<Outcome, JobError> {
        let now = cx.now();
        let kept = cx.worker.process.config.event_retention;
        let (mut jobs, mut events, mut deliveries) = (0, 0, 0);
        loop {
            let mut tx = cx.db().begin().await?;
            let batch = [
                jobs::prune(&mut tx, now - KEEP_JOBS, BATCH).await?,
                events::prune(&mut tx, now - kept, BATCH).await?,
                deliveries::prune(&mut tx, now - KEEP_DELIVERIES, BATCH).await?,
            ];
            let _ = tx.commit().await?;
            (jobs, events, deliveries) = (jobs + batch[0], events + batch[1], deliveries + batch[2]);
            if batch.iter().all(|rows| *rows < BATCH.unsigned_abs()) {
                break;
            }
        }
        let mut tx = cx.db().begin().await?;
        let keys = idempotency::prune(&mut tx, now - KEEP_KEYS).await?;
        let workers = workers::forget(&mut tx, now - KEEP_WORKERS).await?;
        let refresh_tokens = refresh_tokens::prune(&mut tx, now).await?;
        let sign_ins = sign_ins::prune(&mut tx, now).await?;
        let _ = tx.commit().await?;
        tracing::info!(jobs, events, deliveries, keys, workers, refresh_tokens, sign_ins, "pruned");
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

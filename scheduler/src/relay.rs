//! Sends jobs that are ready but that nobody dispatched: scheduled ones, retries, and those whose message was lost.

use std::time::Duration;

use shared::domain::job::Priority;
use shared::metrics::{DISPATCH_FAILURES, JOBS_RELAYED};
use shared::process::Process;
use shared::store::{self, jobs};

/// How often to look. A scheduled job or a retry starts this late at most.
pub(crate) const EVERY: Duration = Duration::from_millis(250);

/// At most as many jobs to a transaction.
const BATCH: usize = 10_000;

pub(crate) async fn all(process: Process) -> store::Result<()> {
    for priority in Priority::ALL {
        relay(&process, *priority).await?;
    }
    Ok(())
}

async fn relay(process: &Process, priority: Priority) -> store::Result<()> {
    let room = match process.queue.room(priority).await {
        Ok(room) => room.min(BATCH),
        Err(error) => {
            DISPATCH_FAILURES.of([priority.as_str()]).increment(1);
            tracing::debug!(%error, "nothing relayed; workers poll meanwhile");
            return Ok(());
        }
    };
    if room == 0 {
        return Ok(());
    }
    let mut tx = process.db.begin().await?;
    let limit = i64::try_from(room).unwrap_or(i64::MAX);
    let due = jobs::relay(&mut tx, priority, limit, process.desk.clock.now()).await?;
    let _ = tx.commit().await?;
    if due.is_empty() {
        return Ok(());
    }
    JOBS_RELAYED.of([priority.as_str()]).increment(due.len() as u64);
    if let Err(error) = process.queue.send(priority, &due).await {
        DISPATCH_FAILURES.of([priority.as_str()]).increment(1);
        tracing::warn!(%error, jobs = due.len(), "could not relay; workers poll meanwhile");
    }
    Ok(())
}

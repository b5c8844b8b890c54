//! Finds what fell due: warnings, breaches, escalation steps. Its cost follows what is due, not what is open.

use std::time::Instant;

use shared::metrics::{ESCALATION_STEPS, SWEEP_BATCHES, SWEEP_DURATION, SWEEP_ROWS, SWEEPS_DONE};
use shared::process::Process;
use shared::store;

use crate::of_store;

/// At most as many clocks or escalations to a transaction.
const BATCH: u32 = 1_000;

/// Sweeps until nothing is due any more.
pub(crate) async fn all(process: Process) -> store::Result<()> {
    let started = Instant::now();
    while clocks(&process).await? == BATCH as usize {}
    while steps(&process).await? == BATCH as usize {}
    SWEEPS_DONE.increment(1);
    SWEEP_DURATION.record(started.elapsed().as_secs_f64());
    Ok(())
}

async fn clocks(process: &Process) -> store::Result<usize> {
    let mut tx = process.db.begin().await?;
    let swept = process.desk.sweep(&mut tx, BATCH.into()).await.map_err(of_store)?;
    process.queue.push(tx.commit().await?);
    count("clocks", swept.clocks);
    if swept.clocks > 0 {
        tracing::info!(
            clocks = swept.clocks,
            warnings = swept.warnings,
            breaches = swept.breaches.len(),
            "swept"
        );
    }
    Ok(swept.clocks)
}

async fn steps(process: &Process) -> store::Result<usize> {
    let mut tx = process.db.begin().await?;
    let steps = process.desk.escalate(&mut tx, BATCH.into()).await.map_err(of_store)?;
    process.queue.push(tx.commit().await?);
    count("escalations", steps);
    ESCALATION_STEPS.increment(steps as u64);
    if steps > 0 {
        tracing::info!(steps, "escalated");
    }
    Ok(steps)
}

fn count(what: &'static str, rows: usize) {
    SWEEP_BATCHES.of([what]).increment(1);
    SWEEP_ROWS.of([what]).increment(rows as u64);
}

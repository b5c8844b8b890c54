//! Finds what fell due: warnings, breaches, escalation steps. Its cost follows what is due, not what is open.

use std::time::Instant;

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
    metrics::counter!("dogwatch_sweeps_total").increment(1);
    metrics::histogram!("dogwatch_sweep_duration_seconds").record(started.elapsed().as_secs_f64());
    Ok(())
}

async fn clocks(process: &Process) -> store::Result<usize> {
    let mut tx = process.db.begin().await?;
    let swept = process.desk.sweep(&mut tx, BATCH.into()).await.map_err(of_store)?;
    process.queue.push(tx.commit().await?);
    metrics::counter!("dogwatch_sweep_clocks_total").increment(swept.clocks as u64);
    metrics::counter!("dogwatch_sla_warnings_total").increment(swept.warnings as u64);
    for (metric, lag) in &swept.breaches {
        metrics::counter!("dogwatch_sla_breaches_total", "metric" => metric.as_str()).increment(1);
        metrics::histogram!("dogwatch_sla_detection_lag_seconds").record(lag.as_seconds_f64());
    }
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
    metrics::counter!("dogwatch_escalation_steps_total").increment(steps as u64);
    if steps > 0 {
        tracing::info!(steps, "escalated");
    }
    Ok(steps)
}

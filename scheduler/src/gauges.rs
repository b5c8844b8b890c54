//! Measures the queues and the clocks for `/metrics`. Every scheduler reports the same: take the maximum.

use std::time::Duration;

use shared::domain::job::Priority;
use shared::process::Process;
use shared::store::{self, clocks, jobs};

pub(crate) const EVERY: Duration = Duration::from_secs(5);

/// Counting the clocks costs what is open, not what is due, so it is done rarely.
pub(crate) const CLOCKS_EVERY: Duration = Duration::from_secs(60);

pub(crate) async fn queues(process: Process) -> store::Result<()> {
    let now = process.desk.clock.now();
    let depths = jobs::depths(&process.db, now).await?;
    for priority in Priority::ALL {
        let of = |state: &str| depths.iter().find(|d| d.priority == *priority && d.state == state);
        let count = |state| of(state).map_or(0, |d| u32::try_from(d.jobs).unwrap_or(u32::MAX));
        let label = priority.as_str();
        metrics::gauge!("dogwatch_jobs_ready", "priority" => label).set(count("ready"));
        metrics::gauge!("dogwatch_jobs_running", "priority" => label).set(count("running"));
        let oldest = of("ready").map_or(0.0, |d| (now - d.oldest).as_seconds_f64().max(0.0));
        metrics::gauge!("dogwatch_jobs_oldest_ready_seconds", "priority" => label).set(oldest);
    }
    Ok(())
}

pub(crate) async fn open_clocks(process: Process) -> store::Result<()> {
    let open = clocks::open_by_state(&process.db).await?;
    for state in ["active", "paused", "breached"] {
        let clocks =
            open.iter().find(|(s, _)| s == state).map_or(0, |(_, n)| u32::try_from(*n).unwrap_or(u32::MAX));
        metrics::gauge!("dogwatch_sla_clocks_open", "state" => state).set(clocks);
    }
    Ok(())
}

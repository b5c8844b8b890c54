//! Measures the queues and the clocks for `/metrics`. Every scheduler reports the same: take the maximum.

use std::time::Duration;

use shared::domain::job;
use shared::domain::sla::{Metric, State};
use shared::domain::ticket::Priority;
use shared::metrics::{JOBS_OLDEST_READY, JOBS_READY, JOBS_RUNNING, SLA_CLOCKS_AT_RISK, SLA_CLOCKS_OPEN};
use shared::process::Process;
use shared::store::{self, clocks, jobs};

pub(crate) const EVERY: Duration = Duration::from_secs(5);

/// Counting the clocks costs what is open, not what is due, so it is done rarely.
pub(crate) const CLOCKS_EVERY: Duration = Duration::from_secs(60);

pub(crate) async fn queues(process: Process) -> store::Result<()> {
    let now = process.desk.clock.now();
    let depths = jobs::depths(&process.db, now).await?;
    for priority in job::Priority::ALL {
        let of = |state: &str| depths.iter().find(|d| d.priority == *priority && d.state == state);
        let count = |state| of(state).map_or(0, |depth| saturated(depth.jobs));
        let label = priority.as_str();
        JOBS_READY.of([label]).set(count("ready"));
        JOBS_RUNNING.of([label]).set(count("running"));
        let oldest = of("ready").map_or(0.0, |depth| (now - depth.oldest).as_seconds_f64().max(0.0));
        JOBS_OLDEST_READY.of([label]).set(oldest);
    }
    Ok(())
}

pub(crate) async fn open_clocks(process: Process) -> store::Result<()> {
    let open = clocks::open(&process.db).await?;
    for (metric, priority) in
        Metric::ALL.iter().flat_map(|metric| Priority::ALL.iter().map(move |priority| (metric, priority)))
    {
        let labels = [metric.as_str(), priority.as_str()];
        let mut at_risk = 0;
        for state in [State::Active, State::Paused, State::Breached] {
            let is = |open: &&clocks::Open| {
                (open.metric, open.priority, open.state) == (*metric, *priority, state)
            };
            let found = open.iter().find(is);
            SLA_CLOCKS_OPEN
                .of([labels[0], labels[1], state.as_str()])
                .set(found.map_or(0, |open| saturated(open.clocks)));
            at_risk += found.filter(|_| state != State::Breached).map_or(0, |open| saturated(open.warned));
        }
        SLA_CLOCKS_AT_RISK.of(labels).set(at_risk);
    }
    Ok(())
}

fn saturated(count: i64) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

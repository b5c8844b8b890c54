//! The scheduler: notices what time does. Any number of them run at once; each of these loops is safe to repeat.

mod cron;
mod fanout;
mod gauges;
mod relay;
mod rescue;
mod sweep;

use std::time::Duration;

use shared::metrics::SCHEDULER_LAST_TICK;
use shared::process::Process;
use shared::store;
use shared::store::desk;

/// Sweeps, relays, rescues and ticks until the process is told to stop.
pub async fn run(process: Process) {
    let sweep_every = process.config.sweep_interval;
    process.health.expect("sweep", (sweep_every * 10).max(Duration::from_secs(10)));
    tokio::join!(
        repeat(&process, "sweep", sweep_every, sweep::all),
        repeat(&process, "relay", relay::EVERY, relay::all),
        repeat(&process, "webhooks", fanout::EVERY, fanout::all),
        rescue::keep_rescuing(&process),
        cron::keep_ticking(&process),
        repeat(&process, "gauges", gauges::EVERY, gauges::queues),
        repeat(&process, "gauges", gauges::CLOCKS_EVERY, gauges::open_clocks),
    );
}

/// Does `step` again and again, `every` so often, and reports how it went. A failure is logged and outlived.
async fn repeat<F>(process: &Process, name: &'static str, every: Duration, step: impl Fn(Process) -> F)
where
    F: Future<Output = store::Result<()>>,
{
    let mut ticks = tokio::time::interval(every);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    while process.stop.run_until_cancelled(ticks.tick()).await.is_some() {
        let outcome = step(process.clone()).await;
        match &outcome {
            Ok(()) => SCHEDULER_LAST_TICK.of([name]).set(process.desk.clock.seconds()),
            Err(error) => tracing::warn!(%error, step = name, "a round failed; trying again"),
        }
        process.health.report(name, outcome);
    }
}

/// The database's part of a desk error; the sweep meets no other.
fn of_store(error: desk::Error) -> store::Error {
    match error {
        desk::Error::Store(error) => error,
        other => store::Error::Schema(other.to_string()),
    }
}

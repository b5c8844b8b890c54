//! What is measured when somebody asks, rather than when it happens.

use std::time::Duration;

use super::{
    BUILD_INFO, DB_CONNECTIONS, DB_CONNECTIONS_MAX, HEALTH_CHECK_FAILING, RUNTIME_ALIVE_TASKS, RUNTIME_LAG,
    RUNTIME_QUEUE_DEPTH, RUNTIME_WORKERS,
};
use crate::ops::Health;
use crate::store::Db;

/// How often a timer is watched.
const PULSE: Duration = Duration::from_millis(500);

/// The process, its runtime, its connections and its readiness.
#[derive(Debug)]
pub struct Vitals {
    process: metrics_process::Collector,
    db: Db,
    health: Health,
}

impl Vitals {
    /// Begins to watch the runtime that this is called on.
    #[must_use]
    pub fn of(db: Db, health: Health) -> Self {
        tokio::spawn(watch_timers());
        Self { process: metrics_process::Collector::new("dogwatch_"), db, health }
    }

    /// Measures everything now.
    pub fn measure(&self) {
        self.process.collect();
        BUILD_INFO.of([env!("CARGO_PKG_VERSION")]).set(1);
        let runtime = tokio::runtime::Handle::current().metrics();
        for (gauge, value) in [
            (RUNTIME_WORKERS, runtime.num_workers()),
            (RUNTIME_ALIVE_TASKS, runtime.num_alive_tasks()),
            (RUNTIME_QUEUE_DEPTH, runtime.global_queue_depth()),
        ] {
            gauge.set(saturated(value));
        }
        for pool in self.db.pools() {
            DB_CONNECTIONS.of([pool.name, "idle"]).set(saturated(pool.idle));
            DB_CONNECTIONS.of([pool.name, "used"]).set(saturated(pool.open.saturating_sub(pool.idle)));
            DB_CONNECTIONS_MAX.of([pool.name]).set(pool.most);
        }
        let failing = self.health.failing();
        for check in self.health.checks() {
            HEALTH_CHECK_FAILING.of([check]).set(f64::from(u8::from(failing.contains_key(check))));
        }
    }
}

fn saturated(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// Sees how late timers wake, which is how long a task that could run has to wait.
async fn watch_timers() {
    loop {
        let asleep = tokio::time::Instant::now();
        tokio::time::sleep(PULSE).await;
        RUNTIME_LAG.record((asleep.elapsed().saturating_sub(PULSE)).as_secs_f64());
    }
}

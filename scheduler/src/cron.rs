//! Periodic jobs: one leader enqueues each tick and moves the schedule on in the same transaction, so two leaders
//! cannot fire a tick twice, and ticks missed in an outage are caught up once.

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use chrono_tz::Tz;
use shared::domain::job::{Audit, Job, Prune, TidyFiles, TidyRedis};
use shared::ids::WorkerId;
use shared::metrics::SCHEDULER_LEADER;
use shared::process::Process;
use shared::store::schedules::{self, Schedule};
use shared::store::{self, jobs, leases};
use shared::time::Timestamp;
use tokio::sync::OnceCell;

const EVERY: Duration = Duration::from_secs(1);

/// How long the leader may be silent before another takes over.
const LEASE: TimeDelta = TimeDelta::seconds(10);

const LEADER: &str = "cron";

pub(crate) async fn keep_ticking(process: &Process) {
    let me = WorkerId::new();
    let defined = Arc::new(OnceCell::new());
    let step = |process| define_and_tick(process, Arc::clone(&defined), me);
    crate::repeat(process, LEADER, EVERY, step).await;
    if let Ok(mut tx) = process.db.begin().await {
        // Only spares the next leader a wait: the lease expires anyway.
        let _ = leases::give_back(&mut tx, LEADER, me).await;
        let _ = tx.commit().await;
    }
}

async fn define_and_tick(process: Process, defined: Arc<OnceCell<()>>, me: WorkerId) -> store::Result<()> {
    defined.get_or_try_init(|| define(&process)).await?;
    tick(&process, me).await
}

async fn define(process: &Process) -> store::Result<()> {
    let mut definitions = vec![
        ("prune", "0 17 * * * *", Prune::KIND),
        ("audit", "0 41 * * * *", Audit::KIND),
        ("tidy_files", "0 29 * * * *", TidyFiles::KIND),
    ];
    if process.config.redis_url.is_some() {
        definitions.push(("tidy_redis", "30 * * * * *", TidyRedis::KIND));
    }
    let now = process.desk.clock.now();
    let mut tx = process.db.begin().await?;
    for (name, cron, kind) in definitions {
        let Some(next_run_at) = next_tick(cron, "UTC", now) else { continue };
        schedules::ensure(&mut tx, &Schedule::new(name, cron, kind, next_run_at)).await?;
    }
    let _ = tx.commit().await?;
    Ok(())
}

async fn tick(process: &Process, me: WorkerId) -> store::Result<()> {
    let now = process.desk.clock.now();
    let mut tx = process.db.begin().await?;
    let leads = leases::take(&mut tx, LEADER, me, now, now + LEASE).await?;
    SCHEDULER_LEADER.set(f64::from(u8::from(leads)));
    if leads {
        for schedule in schedules::due(&mut tx, now).await? {
            let Some(next) = next_tick(&schedule.cron, &schedule.zone, now) else {
                tracing::error!(
                    schedule = schedule.name,
                    "its cron expression or zone cannot be read, or never comes"
                );
                continue;
            };
            if schedules::advance(&mut tx, &schedule, now, next).await? {
                jobs::enqueue(&mut tx, vec![jobs::NewJob::of_schedule(&schedule)], now).await?;
            }
        }
    }
    process.queue.push(tx.commit().await?);
    Ok(())
}

/// The first tick after `now`; `None` when the expression or the zone cannot be read, or there is none.
fn next_tick(cron: &str, zone: &str, now: Timestamp) -> Option<Timestamp> {
    let schedule = cron::Schedule::from_str(cron).ok()?;
    let zone = Tz::from_str(zone).ok()?;
    Some(schedule.after(&now.with_timezone(&zone)).next()?.to_utc())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_follow_the_zone() {
        let now = "2026-03-28T12:00:00Z".parse().unwrap();
        let nine = |zone| next_tick("0 0 9 * * *", zone, now).unwrap().to_rfc3339();
        assert_eq!(nine("UTC"), "2026-03-29T09:00:00+00:00");
        assert_eq!(nine("Europe/Berlin"), "2026-03-29T07:00:00+00:00", "summer time began that night");
        assert!(next_tick("every now and then", "UTC", now).is_none());
        assert!(next_tick("0 0 9 * * *", "Middle/Earth", now).is_none());
    }
}

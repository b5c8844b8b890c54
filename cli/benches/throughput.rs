//! How much one machine takes: run by `cargo xtask bench`, which starts the databases and adds the yardstick.
//!
//! Everything runs side by side on the same machine: load, servers, databases. Numbers of two runs compare only
//! roughly; numbers of one run compare well.
#![expect(clippy::print_stdout, reason = "a benchmark prints its results")]

mod creates;

use std::time::{Duration, Instant};

use anyhow::Context;
use chrono::TimeDelta;
use creates::{Setup, creates, per_second, start};
use shared::domain::access::Caller;
use shared::domain::job::Noop;
use shared::domain::ticket::{Category, Priority};
use shared::process::Process;
use shared::store::desk::Draft;
use shared::store::users::User;
use shared::store::{clocks, jobs};

const JOBS: usize = 30_000;
const DUE: usize = 20_000;
const OPEN: usize = 50_000;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let seconds = std::env::var("BENCH_SECONDS").ok().and_then(|s| s.parse().ok()).unwrap_or(8);
    let mut results = serde_json::Map::new();
    let folder = tempfile::tempdir()?;
    let embedded = folder.path().join("bench.db");
    let embedded =
        Setup { name: "embedded", database: format!("sqlite://{}", embedded.display()), redis: None };
    let mut setups = vec![embedded];
    match std::env::var("BENCH_DATABASE_URL") {
        Ok(database) => {
            let redis = std::env::var("BENCH_REDIS_URL").ok();
            setups.push(Setup { name: "postgres_redis", database, redis });
        }
        Err(_) => println!("PostgreSQL and Redis are left out: `cargo xtask bench` starts them."),
    }
    println!("{:<16} {:<34} {:>12}", "", "", "");
    for setup in setups {
        for (measure, value) in measure(&setup, seconds).await? {
            println!("{:<16} {measure:<34} {value:>12.1}", setup.name);
            results.insert(format!("{}_{measure}", setup.name), serde_json::json!(value));
        }
    }
    let file = std::env::var("BENCH_JSON").unwrap_or_else(|_| "target/bench.json".into());
    std::fs::write(&file, serde_json::to_string_pretty(&results)?)
        .with_context(|| format!("cannot write {file}"))?;
    Ok(())
}

type Measures = Vec<(&'static str, f64)>;

async fn measure(setup: &Setup, seconds: u64) -> anyhow::Result<Measures> {
    let mut measures = Vec::new();
    measures.push(("creates_per_second", creates(setup, seconds).await?));
    measures.push(("jobs_drained_per_second", drains(setup).await?));
    measures.push(("clocks_swept_per_second", sweeps(setup).await?));
    measures.extend(idle_sweeps(setup).await?);
    measures.extend(lags(setup, seconds).await?);
    Ok(measures)
}

async fn drains(setup: &Setup) -> anyhow::Result<f64> {
    let (process, _) = start(setup, TimeDelta::days(1)).await?;
    forget_jobs(&process).await?;
    for _ in 0..JOBS / 1_000 {
        let batch = (0..1_000).map(|_| jobs::NewJob::of(&Noop {})).collect();
        let mut tx = process.db.begin().await?;
        jobs::enqueue(&mut tx, batch, process.desk.clock.now()).await?;
        // Not dispatched: the relay has to, as after an outage.
        let _ = tx.commit().await?;
    }
    tokio::time::sleep(Duration::from_secs(3)).await; // tidy: until the relay may take them, before the clock starts
    let started = Instant::now();
    let scheduler = tokio::spawn(dogwatch_scheduler::run(process.clone()));
    let worker = tokio::spawn(dogwatch_worker::run(process.clone()));
    while jobs::depths(&process.db, process.desk.clock.now()).await?.iter().any(|depth| depth.jobs > 0) {
        tokio::time::sleep(Duration::from_millis(20)).await; // tidy: a pause between two looks
    }
    let rate = per_second(JOBS, started.elapsed());
    process.stop.cancel();
    scheduler.await?;
    let _ = worker.await?;
    Ok(rate)
}

/// Ends what earlier measurements left in the ledger.
async fn forget_jobs(process: &Process) -> anyhow::Result<()> {
    use shared::domain::job::{Ending, Priority};
    let me = shared::ids::WorkerId::new();
    for priority in Priority::ALL {
        loop {
            let now = process.desk.clock.now() + TimeDelta::hours(1);
            let mut tx = process.db.begin().await?;
            let claimed = jobs::claim_overdue(&mut tx, me, *priority, 1_000, now).await?;
            let done = claimed.is_empty();
            let end = |job| jobs::End { job, ending: Ending::Done, note: None };
            jobs::finish(&mut tx, me, claimed.into_iter().map(end).collect(), now).await?;
            let _ = tx.commit().await?;
            if done {
                break;
            }
        }
    }
    Ok(())
}

async fn open(process: &Process, user: &User, tickets: usize) -> anyhow::Result<()> {
    let draft = || Draft {
        title: "Checkout answers 500".into(),
        description: "Every order.".into(),
        priority: Priority::High,
        category: Category::Incident,
        environment: None,
        affected_service: None,
        contact_name: None,
        contact_email: None,
        assignee_id: None,
        team_id: None,
        labels: Vec::new(),
        reporter_id: user.id,
        actor: Caller::alone(user.id, user.role).into(),
        traceparent: None,
    };
    for start in (0..tickets).step_by(500) {
        let mut tx = process.db.begin().await?;
        process.desk.open(&mut tx, (0..500.min(tickets - start)).map(|_| draft()).collect()).await?;
        let _ = tx.commit().await?;
    }
    Ok(())
}

async fn sweeps(setup: &Setup) -> anyhow::Result<f64> {
    let (process, user) = start(setup, TimeDelta::milliseconds(1)).await?;
    open(&process, &user, DUE).await?;
    let started = Instant::now();
    let mut swept = 0;
    loop {
        let mut tx = process.db.begin().await?;
        let round = process.desk.sweep(&mut tx, 1_000).await?;
        let _ = tx.commit().await?;
        swept += round.breaches.len();
        if round.clocks < 1_000 {
            break;
        }
    }
    Ok(per_second(swept, started.elapsed()))
}

/// What a sweep costs that finds nothing, with few and with many open clocks.
async fn idle_sweeps(setup: &Setup) -> anyhow::Result<Measures> {
    let (process, user) = start(setup, TimeDelta::days(1)).await?;
    let idle = async || {
        let started = Instant::now();
        for _ in 0..200 {
            let mut tx = process.db.begin().await?;
            process.desk.sweep(&mut tx, 1_000).await?;
            let _ = tx.commit().await?;
        }
        anyhow::Ok(started.elapsed().as_secs_f64() * 1e6 / 200.0)
    };
    let before = idle().await?;
    open(&process, &user, OPEN).await?;
    let after = idle().await?;
    Ok(vec![("idle_sweep_us_before_100k_more_clocks", before), ("idle_sweep_us_after", after)])
}

/// From the instant of a breach to its detection, with the whole system running.
async fn lags(setup: &Setup, seconds: u64) -> anyhow::Result<Measures> {
    let (process, user) = start(setup, TimeDelta::seconds(2)).await?;
    forget_jobs(&process).await?;
    let scheduler = tokio::spawn(dogwatch_scheduler::run(process.clone()));
    let worker = tokio::spawn(dogwatch_worker::run(process.clone()));
    let began = process.desk.clock.now();
    let until = Instant::now() + Duration::from_secs(seconds);
    let mut opened = 0;
    while Instant::now() < until {
        open(&process, &user, 20).await?;
        opened += 20;
        tokio::time::sleep(Duration::from_millis(50)).await; // tidy: the load is a rate
    }
    let mut lags = Vec::new();
    while lags.len() < opened {
        tokio::time::sleep(Duration::from_millis(100)).await; // tidy: a pause between two looks
        lags = clocks::detection_lags(&process.db, began).await?;
    }
    process.stop.cancel();
    scheduler.await?;
    let _ = worker.await?;
    lags.sort_unstable();
    let at = |share: usize| lags[(lags.len() - 1) * share / 100].as_seconds_f64() * 1e3;
    Ok(vec![("detection_lag_p50_ms", at(50)), ("detection_lag_p99_ms", at(99))])
}

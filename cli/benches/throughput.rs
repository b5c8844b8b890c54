//! How much one machine takes: run by `cargo xtask bench`, which starts the databases and adds the yardstick.
//!
//! Everything runs side by side on the same machine: load, servers, databases. Numbers of two runs compare only
//! roughly; numbers of one run compare well.
#![expect(clippy::print_stdout, reason = "a benchmark prints its results")]

use std::time::{Duration, Instant};

use anyhow::Context;
use chrono::TimeDelta;
use shared::config::{Config, Process as Kind, Secret};
use shared::domain::access::Caller;
use shared::domain::job::Noop;
use shared::domain::role::Role;
use shared::domain::sla::policy::Targets;
use shared::domain::ticket::{Category, Priority};
use shared::ids::UserId;
use shared::process::Process;
use shared::store::desk::Draft;
use shared::store::users::{self, User};
use shared::store::{clocks, jobs};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const CONNECTIONS: usize = 64;
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

struct Setup {
    name: &'static str,
    database: String,
    redis: Option<String>,
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

/// Connects with targets of `target` and without warnings, on an empty ledger.
async fn start(setup: &Setup, target: TimeDelta) -> anyhow::Result<(Process, User)> {
    let folder = std::env::temp_dir().join("dogwatch-bench");
    let lookup = |name: &str| match name {
        "DATABASE_URL" => Some(setup.database.clone()),
        "REDIS_URL" => setup.redis.clone(),
        "RATE_LIMIT_PER_MINUTE" => Some("0".into()),
        "API_ADDR" | "OPS_ADDR" => Some("127.0.0.1:0".into()),
        "MAIL_DIR" => Some(folder.join("mail").display().to_string()),
        "WORKER_CONCURRENCY" => Some("256".into()),
        _ => None,
    };
    let mut config = Config::read(Kind::AllInOne(folder.clone()), lookup)?;
    config.jwt_secret = Some(Secret::new("a secret for benchmarks, nothing else".into()));
    config.api_addr = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    config.rules.sla.targets = [Targets::of(target, TimeDelta::days(365)); 4];
    config.rules.sla.warn_at.clear();
    let process = Process::connect(config).await.map_err(|error| anyhow::anyhow!(error))?;
    let user = User {
        id: UserId::new(),
        email: format!("{}@example.org", UserId::new()),
        name: "Bench".into(),
        role: Role::Admin,
        password_hash: String::new(),
        created_at: process.desk.clock.now(),
        disabled_at: None,
        version: 1,
        password_changed_at: None,
    };
    let mut tx = process.db.begin().await?;
    users::add(&mut tx, &user).await?;
    let _ = tx.commit().await?;
    Ok((process, user))
}

async fn creates(setup: &Setup, seconds: u64) -> anyhow::Result<f64> {
    let (process, user) = start(setup, TimeDelta::days(1)).await?;
    let serving = tokio::spawn(dogwatch_api::run(process.clone()));
    let addr = process.config.api_addr;
    let secret = process.config.jwt_secret.as_ref().context("a secret")?;
    let now = process.desk.clock.now();
    let token = dogwatch_api::auth::Tokens::new(secret).issue(user.id, now, now + TimeDelta::hours(1))?;
    let body = r#"{"title":"Checkout answers 500","description":"Every order.","priority":"high","category":"incident","environment":"production","affected_service":"checkout"}"#;
    let request = format!(
        "POST /api/v1/tickets HTTP/1.1\r\nHost: {addr}\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    while TcpStream::connect(addr).await.is_err() {
        tokio::task::yield_now().await;
    }
    let run = |time: Duration| {
        let request = request.clone();
        async move {
            let started = Instant::now();
            let clients =
                (0..CONNECTIONS).map(|_| tokio::spawn(client(addr, request.clone(), started + time)));
            let mut answered = 0;
            for client in clients.collect::<Vec<_>>() {
                answered += client.await??;
            }
            anyhow::Ok(per_second(answered, started.elapsed()))
        }
    };
    run(Duration::from_secs(1)).await?;
    let rate = run(Duration::from_secs(seconds)).await?;
    process.stop.cancel();
    let _ = serving.await?;
    Ok(rate)
}

/// Sends the same request again and again over one connection and counts the answers, all of which must be 201.
async fn client(addr: std::net::SocketAddr, request: String, until: Instant) -> anyhow::Result<usize> {
    let mut connection = TcpStream::connect(addr).await?;
    connection.set_nodelay(true)?;
    let mut buffer = vec![0; 16 * 1024];
    let mut answered = 0;
    while Instant::now() < until {
        connection.write_all(request.as_bytes()).await?;
        let mut filled = 0;
        loop {
            let read = connection.read(&mut buffer[filled..]).await?;
            anyhow::ensure!(read > 0, "the server hung up");
            filled += read;
            if let Some(head) = buffer[..filled].windows(4).position(|window| window == b"\r\n\r\n") {
                let text = std::str::from_utf8(&buffer[..head])?.to_ascii_lowercase();
                let length = text.split("content-length: ").nth(1).and_then(|rest| rest.split("\r\n").next());
                let length: usize = length.context("a content length")?.trim().parse()?;
                if filled >= head + 4 + length {
                    anyhow::ensure!(
                        text.starts_with("http/1.1 201"),
                        "{}",
                        String::from_utf8_lossy(&buffer[..filled])
                    );
                    break;
                }
            }
        }
        answered += 1;
    }
    Ok(answered)
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

#[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
fn per_second(count: usize, time: Duration) -> f64 {
    count as f64 / time.as_secs_f64()
}

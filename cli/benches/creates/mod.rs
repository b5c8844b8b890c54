//! A process to measure, and how many tickets it takes.

use std::time::{Duration, Instant};

use anyhow::Context;
use chrono::TimeDelta;
use shared::config::{Config, Process as Kind, Secret};
use shared::domain::role::Role;
use shared::domain::sla::policy::Targets;
use shared::ids::UserId;
use shared::process::Process;
use shared::store::users::{self, User};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const CONNECTIONS: usize = 64;

/// Where it runs.
pub(crate) struct Setup {
    pub(crate) name: &'static str,
    pub(crate) database: String,
    pub(crate) redis: Option<String>,
}

/// Connects with targets of `target` and without warnings, on an empty ledger.
pub(crate) async fn start(setup: &Setup, target: TimeDelta) -> anyhow::Result<(Process, User)> {
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

/// Creates a second over HTTP, after a second to warm up.
pub(crate) async fn creates(setup: &Setup, seconds: u64) -> anyhow::Result<f64> {
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

#[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
/// A rate.
pub(crate) fn per_second(count: usize, time: Duration) -> f64 {
    count as f64 / time.as_secs_f64()
}

//! What telemetry costs: creates a second without any, without traces, with every tenth and with all of them exported; run
//! by `cargo xtask bench`.
//!
//! Each is a process of its own, several times in turn, since a process sets up telemetry once. The receiver takes spans
//! and looks at none, so that what is measured is ours.
#![expect(clippy::print_stdout, reason = "a benchmark prints its results")]

mod creates;

use std::convert::Infallible;
use std::process::Stdio;

use anyhow::Context;
use creates::{Setup, creates};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use shared::config::{Config, Process as Kind};
use tokio::net::TcpListener;
use tokio::process::Command;

const ROUNDS: usize = 3;

/// What is measured: its name, and the share of the traces that is exported; none without any telemetry.
const WAYS: [(&str, Option<&str>); 4] = [
    ("without_telemetry", None),
    ("without_export", Some("0")),
    ("with_a_tenth_exported", Some("0.1")),
    ("with_all_exported", Some("1")),
];

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let seconds = std::env::var("BENCH_SECONDS").ok().and_then(|s| s.parse().ok()).unwrap_or(4);
    let folder = tempfile::tempdir()?;
    let embedded = format!("sqlite://{}", folder.path().join("bench.db").display());
    let (name, database) = match std::env::var("BENCH_DATABASE_URL") {
        Ok(database) => ("postgres_redis", database),
        Err(_) => ("embedded", embedded),
    };
    let setup = Setup { name, database, redis: std::env::var("BENCH_REDIS_URL").ok() };
    if std::env::var_os("BENCH_MEASURED").is_some() {
        if std::env::var_os("BENCH_TELEMETRY").is_some() {
            let config = Config::from_env(Kind::AllInOne(folder.path().into()))?;
            shared::telemetry::init(&config).map_err(|error| anyhow::anyhow!(error))?;
        }
        println!("{}", creates(&setup, seconds).await?);
        return Ok(());
    }
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let endpoint = format!("http://{}", listener.local_addr()?);
    let receiver = tokio::spawn(receive(listener));
    let mut rates = [const { Vec::new() }; WAYS.len()];
    for _ in 0..ROUNDS {
        for ((_, share), rates) in WAYS.iter().zip(&mut rates) {
            let mut child = Command::new(std::env::current_exe()?);
            child.env("BENCH_MEASURED", "1").env("BENCH_DATABASE_URL", &setup.database);
            if let Some(share) = share {
                child.env("BENCH_TELEMETRY", "1").env("LOG_FORMAT", "json");
                child
                    .env("OTEL_TRACES_SAMPLER", "parentbased_traceidratio")
                    .env("OTEL_TRACES_SAMPLER_ARG", share);
                child.envs((*share != "0").then_some(("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint)));
            }
            let output = child.stderr(Stdio::inherit()).output().await?;
            anyhow::ensure!(output.status.success(), "a measurement failed");
            let rate = String::from_utf8(output.stdout)?;
            rates.push(rate.trim().parse::<f64>().with_context(|| format!("{rate} is no rate"))?);
        }
    }
    receiver.abort();
    let file = std::env::var("BENCH_JSON").unwrap_or_else(|_| "target/bench.json".into());
    let mut results: serde_json::Map<String, serde_json::Value> = std::fs::read_to_string(&file)
        .ok()
        .and_then(|text| serde_json::from_str(&text).ok())
        .unwrap_or_default();
    let medians = rates.map(|mut rates| {
        rates.sort_unstable_by(f64::total_cmp);
        rates[ROUNDS / 2]
    });
    for ((name, ..), rate) in WAYS.iter().zip(medians) {
        let share = 100.0 * rate / medians[0];
        println!("{:<16} creates_per_second_{name:<23} {rate:>12.1}  {share:>5.1} %", setup.name);
        results.insert(format!("telemetry_creates_per_second_{name}"), serde_json::json!(rate));
    }
    std::fs::write(&file, serde_json::to_string_pretty(&results)?)?;
    Ok(())
}

/// Accepts whatever is exported, unread: an empty answer of gRPC, with the status that all is well.
async fn receive(listener: TcpListener) {
    while let Ok((stream, _)) = listener.accept().await {
        let answer = |request: Request<Incoming>| async {
            let _ = request.into_body().collect().await;
            let trailers = HeaderMap::from_iter([(
                HeaderName::from_static("grpc-status"),
                HeaderValue::from_static("0"),
            )]);
            let body = Full::new(Bytes::from_static(&[0; 5]))
                .with_trailers(async move { Some(Ok::<_, Infallible>(trailers)) });
            Response::builder().header("content-type", "application/grpc").body(body)
        };
        let serving = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
            .serve_connection(TokioIo::new(stream), service_fn(answer));
        tokio::spawn(serving);
    }
}

//! What a process shows its operators: `/metrics`, `/health/live` and `/health/ready` on the ops address.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::{CONTENT_TYPE, HeaderName};
use axum::routing::get;
use axum::{Json, Router};
use metrics_exporter_prometheus::PrometheusHandle;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::metrics::Vitals;

/// What a process must keep doing to be ready. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Health(Arc<Mutex<BTreeMap<&'static str, Check>>>);

#[derive(Debug)]
struct Check {
    at_least_every: Duration,
    last_success: Option<Instant>,
    problem: Option<String>,
}

impl Health {
    /// Requires a check to succeed again and again.
    pub fn expect(&self, check: &'static str, at_least_every: Duration) {
        let fresh = Check { at_least_every, last_success: None, problem: None };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(check, fresh);
    }

    /// Says how a check went.
    pub fn report<E: std::fmt::Display>(&self, check: &'static str, outcome: Result<(), E>) {
        let mut checks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(check) = checks.get_mut(check) else { return };
        match outcome {
            Ok(()) => (check.last_success, check.problem) = (Some(Instant::now()), None),
            Err(error) => check.problem = Some(error.to_string()),
        }
    }

    /// Returns what is checked.
    #[must_use]
    pub fn checks(&self) -> Vec<&'static str> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).keys().copied().collect()
    }

    /// Returns what is wrong, by check; nothing when the process is ready.
    #[must_use]
    pub fn failing(&self) -> BTreeMap<&'static str, String> {
        let checks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        checks.iter().filter_map(|(name, check)| check.failing().map(|why| (*name, why))).collect()
    }
}

impl Check {
    fn failing(&self) -> Option<String> {
        let Some(last) = self.last_success else {
            return Some(self.problem.clone().unwrap_or_else(|| "has not happened yet".into()));
        };
        if last.elapsed() <= self.at_least_every {
            return None;
        }
        let problem = self.problem.as_deref().unwrap_or("nothing was reported since");
        Some(format!("last succeeded {} s ago: {problem}", last.elapsed().as_secs()))
    }
}

/// Serves the ops address until `stop`.
///
/// # Errors
/// When the listener fails.
pub async fn serve(
    listener: TcpListener,
    prometheus: PrometheusHandle,
    vitals: Vitals,
    health: Health,
    stop: CancellationToken,
) -> std::io::Result<()> {
    let upkeep = prometheus.clone();
    let vitals = Arc::new(vitals);
    let stop_upkeep = stop.clone();
    tokio::spawn(async move {
        while stop_upkeep.run_until_cancelled(tokio::time::sleep(Duration::from_secs(5))).await.is_some() {
            upkeep.run_upkeep();
        }
    });
    let routes = Router::new()
        .route("/metrics", get(async move || exposition(&vitals, &prometheus)))
        .route("/health/live", get(async || Json(json!({ "status": "alive" }))))
        .route("/health/ready", get(ready))
        .with_state(health);
    axum::serve(listener, routes).with_graceful_shutdown(stop.cancelled_owned()).await
}

/// Answers in Prometheus' text format.
fn exposition(vitals: &Vitals, prometheus: &PrometheusHandle) -> ([(HeaderName, &'static str); 1], String) {
    vitals.measure();
    ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], prometheus.render())
}

async fn ready(State(health): State<Health>) -> (StatusCode, Json<Value>) {
    let failing = health.failing();
    if failing.is_empty() {
        return (StatusCode::OK, Json(json!({ "status": "ready" })));
    }
    (StatusCode::SERVICE_UNAVAILABLE, Json(json!({ "status": "not ready", "failing": failing })))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_fails_until_it_succeeds_and_when_it_gets_old() {
        let health = Health::default();
        health.expect("sweep", Duration::from_secs(60));
        assert_eq!(health.failing()["sweep"], "has not happened yet");
        health.report("sweep", Err("no database"));
        assert_eq!(health.failing()["sweep"], "no database");
        health.report("sweep", Ok::<(), &str>(()));
        assert!(health.failing().is_empty());
        health.expect("sweep", Duration::ZERO);
        health.report("sweep", Ok::<(), &str>(()));
        assert!(health.failing()["sweep"].starts_with("last succeeded 0 s ago"));
    }
}

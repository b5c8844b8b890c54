//! Every request gets an identifier, a span, and its place in the metrics; every 5xx is logged, once.

use std::time::Instant;

use axum::extract::{MatchedPath, Request};
use axum::http::HeaderValue;
use axum::middleware::Next;
use axum::response::Response;
use shared::ids::RequestId;
use shared::telemetry;
use tracing::Instrument;

use crate::error::Fault;

const REQUEST_ID: &str = "x-request-id";

pub(crate) async fn layer(request: Request, next: Next) -> Response {
    let started = Instant::now();
    let method = method_label(request.method());
    let route = request.extensions().get::<MatchedPath>().map_or("none", MatchedPath::as_str).to_owned();
    let id = request_id(&request);
    let span = tracing::info_span!(
        "request",
        otel.name = format!("{method} {route}"),
        otel.kind = "server",
        http.request.method = method,
        http.route = route,
        http.response.status_code = tracing::field::Empty,
        request_id = id.to_str().unwrap_or_default(),
    );
    let parent = request.headers().get("traceparent").and_then(|value| value.to_str().ok());
    if let Some(parent) = parent.and_then(telemetry::parse_traceparent) {
        telemetry::continue_trace(&span, parent);
    }
    let mut response = next.run(request).instrument(span.clone()).await;
    let status = response.status();
    span.record("http.response.status_code", status.as_u16());
    if status.is_server_error() {
        let _entered = span.enter();
        let fault = response.extensions().get::<Fault>().map_or("no reason was given", |Fault(fault)| fault);
        let (request_id, fault) = (id.to_str().unwrap_or_default(), telemetry::masked(fault));
        tracing::error!(request_id, method, route, status = status.as_u16(), fault, "request failed");
    }
    let labels =
        [("method", method.to_owned()), ("route", route.clone()), ("status", status.as_u16().to_string())];
    metrics::counter!("dogwatch_http_requests_total", &labels).increment(1);
    metrics::histogram!("dogwatch_http_request_duration_seconds", "method" => method, "route" => route)
        .record(started.elapsed().as_secs_f64());
    response.headers_mut().insert(REQUEST_ID, id);
    response
}

/// The method as a label: a client may invent any, and each would be a time series.
fn method_label(method: &axum::http::Method) -> &'static str {
    let known = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"];
    known.into_iter().find(|name| *name == method.as_str()).unwrap_or("other")
}

/// The caller's identifier where it is a short visible text, else a new one.
fn request_id(request: &Request) -> HeaderValue {
    let given = request.headers().get(REQUEST_ID);
    let usable = |value: &&HeaderValue| {
        (1..=128).contains(&value.len()) && value.as_bytes().iter().all(|byte| (0x21..=0x7e).contains(byte))
    };
    let new = || {
        HeaderValue::from_str(&RequestId::new().to_string()).unwrap_or(HeaderValue::from_static("unknown"))
    };
    given.filter(usable).cloned().unwrap_or_else(new)
}

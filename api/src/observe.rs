//! Every request gets an identifier, a span, and its place in the metrics; every 5xx is logged, once.

use std::time::Instant;

use axum::extract::{MatchedPath, Request};
use axum::http::HeaderValue;
use axum::middleware::Next;
use axum::response::Response;
use shared::ids::RequestId;
use shared::metrics::{HTTP_REQUEST_DURATION, HTTP_REQUESTS, HTTP_REQUESTS_IN_FLIGHT};
use shared::telemetry;
use tracing::{Instrument, Span, field};

use crate::error::Fault;

const REQUEST_ID: &str = "x-request-id";

/// The route of a request that no route is for.
const NO_ROUTE: &str = "none";

pub(crate) async fn layer(request: Request, next: Next) -> Response {
    let started = Instant::now();
    let _counted = HTTP_REQUESTS_IN_FLIGHT.hold();
    let method = method_label(request.method());
    let route = request.extensions().get::<MatchedPath>().map_or(NO_ROUTE, MatchedPath::as_str).to_owned();
    let id = request_id(&request);
    let span = span_of(&request, method, &route, &id);
    let mut response = next.run(request).instrument(span.clone()).await;
    let status = response.status();
    // OpenTelemetry knows signed numbers only.
    span.record("http.response.status_code", i64::from(status.as_u16()));
    if status.is_server_error() {
        span.record("error.type", status.as_str()).record("otel.status_code", "ERROR");
        let _entered = span.enter();
        let fault = response.extensions().get::<Fault>().map_or("no reason was given", |Fault(fault)| fault);
        tracing::error!(method, route, status = status.as_u16(), fault, "request failed");
    }
    HTTP_REQUEST_DURATION.of([method.to_owned(), route.clone()]).record(started.elapsed().as_secs_f64());
    HTTP_REQUESTS.of([method.to_owned(), route, status.as_u16().to_string()]).increment(1);
    response.headers_mut().insert(REQUEST_ID, id);
    response
}

/// A server's span by OpenTelemetry's semantic conventions for HTTP, part of the client's trace if it says so. Path,
/// query, address and program of the client are left out: they tell about people.
fn span_of(request: &Request, method: &'static str, route: &str, id: &HeaderValue) -> Span {
    let matched = route != NO_ROUTE;
    let span = tracing::info_span!(
        "request",
        otel.name = if matched { format!("{method} {route}") } else { method.to_owned() },
        otel.kind = "server",
        otel.status_code = field::Empty,
        http.request.method = method,
        http.route = matched.then_some(route),
        http.response.status_code = field::Empty,
        url.scheme = "http",
        error.type = field::Empty,
        request_id = id.to_str().unwrap_or_default(),
    );
    let parent = request.headers().get("traceparent").and_then(|value| value.to_str().ok());
    if let Some(parent) = parent.and_then(telemetry::parse_traceparent) {
        telemetry::continue_trace(&span, parent);
    }
    span
}

/// The method as a label: a client may invent any, and each would be a time series.
fn method_label(method: &axum::http::Method) -> &'static str {
    let known = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"];
    known.into_iter().find(|name| *name == method.as_str()).unwrap_or("_OTHER")
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

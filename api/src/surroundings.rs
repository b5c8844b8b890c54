//! Headers that protect whoever reads an answer, and whom browsers let call the API.

use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, Method, header};
use axum::middleware::Next;
use axum::response::Response;
use shared::config::http::Origins;
use std::time::Duration;
use tower_http::cors::{AllowOrigin, CorsLayer};

use crate::app::App;

/// An answer is data: a browser that is made to show it runs and loads nothing.
const DATA: &str = "default-src 'none'; frame-ancestors 'none'";

/// The pages under `/docs` run their own scripts and call this API, and nothing else.
const DOCS: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
    img-src 'self' data:; font-src 'self'; connect-src 'self'; base-uri 'none'; frame-ancestors 'none'";

/// Two years, as browsers' lists of such sites ask for.
const HSTS: &str = "max-age=63072000";

/// Adds what a handler has not set by itself.
pub(crate) async fn protect(State(app): State<App>, request: Request, next: Next) -> Response {
    let is_docs = request.uri().path().starts_with("/docs");
    let mut response = next.run(request).await;
    let mut add = |name: HeaderName, value: &'static str| {
        response.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
    };
    add(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    add(header::X_FRAME_OPTIONS, "DENY");
    add(header::REFERRER_POLICY, "no-referrer");
    add(header::CONTENT_SECURITY_POLICY, if is_docs { DOCS } else { DATA });
    add(header::CACHE_CONTROL, if is_docs { "no-cache" } else { "no-store" });
    if app.process.config.public_url.starts_with("https://") {
        add(header::STRICT_TRANSPORT_SECURITY, HSTS);
    }
    response
}

/// Lets pages of other origins call the API; none where only its own may.
pub(crate) fn cors(origins: &Origins) -> Option<CorsLayer> {
    let allowed = match origins {
        Origins::All => AllowOrigin::any(),
        Origins::Only(list) if list.is_empty() => return None,
        Origins::Only(list) => {
            AllowOrigin::list(list.iter().filter_map(|origin| HeaderValue::from_str(origin).ok()))
        }
    };
    let sent = ["x-api-key", "idempotency-key", "x-request-id", "last-event-id", "traceparent"];
    let sent = sent.map(HeaderName::from_static).into_iter();
    let sent = sent.chain([header::AUTHORIZATION, header::CONTENT_TYPE, header::IF_MATCH, header::RANGE]);
    let read = ["x-request-id", "ratelimit", "ratelimit-policy", "idempotent-replayed"];
    let read = read.map(HeaderName::from_static).into_iter();
    let read = read.chain([header::ETAG, header::RETRY_AFTER, header::LOCATION, header::CONTENT_DISPOSITION]);
    let cors = CorsLayer::new()
        .allow_origin(allowed)
        .allow_methods([Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE])
        .allow_headers(sent.collect::<Vec<_>>())
        .expose_headers(read.collect::<Vec<_>>())
        .max_age(Duration::from_secs(3_600));
    Some(cors)
}

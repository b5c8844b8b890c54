//! Every route, and what surrounds them all.

mod account;
mod health;
mod slas;
mod ticket_list;
mod tickets;

use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::StatusCode;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, patch, post};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::timeout::TimeoutLayer;

use crate::app::App;
use crate::call::MAX_BODY;
use crate::error::ApiError;
use crate::{idempotency, observe};

/// How long any request may take; the claim on an idempotency key stands longer.
const TIMEOUT: Duration = Duration::from_secs(30);

pub(crate) fn router(app: App) -> Router {
    let v1 = Router::new()
        .route("/auth/login", post(account::log_in))
        .route("/me", get(account::show_me))
        .route("/tickets", get(ticket_list::list_tickets).post(tickets::open_ticket))
        .route("/tickets/{id}", get(tickets::show_ticket).patch(tickets::edit_ticket))
        .route("/tickets/{id}/status", patch(tickets::move_ticket))
        .route("/tickets/{id}/acknowledge", post(tickets::acknowledge_ticket))
        .route("/tickets/{id}/resolve", post(tickets::resolve_ticket).patch(tickets::resolve_ticket))
        .route("/tickets/{id}/close", post(tickets::close_ticket))
        .route("/tickets/{id}/reopen", post(tickets::reopen_ticket))
        .route("/tickets/{id}/history", get(tickets::show_history))
        .route("/tickets/{id}/sla", get(slas::list_slas))
        .route("/slas/{id}/pause", patch(slas::pause_sla))
        .route("/slas/{id}/resume", patch(slas::resume_sla));
    Router::new()
        .nest("/api/v1", v1)
        .route("/health", get(health::show_health))
        .route("/db-health", get(health::show_db_health))
        .fallback(async || ApiError::NotFound("address"))
        .method_not_allowed_fallback(async || ApiError::MethodNotAllowed)
        .layer(from_fn_with_state(app.clone(), idempotency::layer))
        .layer(TimeoutLayer::with_status_code(StatusCode::SERVICE_UNAVAILABLE, TIMEOUT))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(from_fn(observe::layer))
        .with_state(app)
}

#[expect(clippy::needless_pass_by_value, reason = "the layer wants it so")]
fn panicked(panic: Box<dyn std::any::Any + Send>) -> Response {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
    ApiError::Internal(format!("a handler panicked: {text}")).into_response()
}

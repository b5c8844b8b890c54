//! Whether the API answers, and whether its database does.

use axum::extract::State;
use serde_json::{Value, json};

use crate::app::App;
use crate::envelope::Envelope;
use crate::error::ApiError;
use crate::openapi::answers::{DbHealth, Health};

/// Says that the API answers.
#[utoipa::path(
    get, path = "/health", tag = "operations",
    security(()),
    responses((status = 200, description = "It does.", body = Health)),
)]
pub(super) async fn show_health() -> Envelope<Value> {
    Envelope::ok(json!({ "status": "ok" }))
}

/// Says whether the database answers and has the schema this program needs.
#[utoipa::path(
    get, path = "/db-health", tag = "operations",
    security(()),
    responses((status = 200, description = "It does.", body = DbHealth)),
)]
pub(super) async fn show_db_health(State(app): State<App>) -> Result<Envelope<Value>, ApiError> {
    app.process.db.check_schema().await?;
    Ok(Envelope::ok(json!({ "db": "ok" })))
}

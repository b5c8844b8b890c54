//! What only escalation policies have.

use axum::response::Response;
use serde_json::json;
use shared::domain::access::Area;
use shared::domain::definition::Kind;
use shared::domain::escalation::Definition;

use super::definitions::find;
use crate::call::{Body, Call, Name};
use crate::defined::{find_doubts, stored};
use crate::envelope::Envelope;
use crate::error::ApiError;
use crate::openapi::answers::Findings;
use crate::openapi::bodies::Nothing;

/// Lists what is doubtful about a policy as things stand now.
#[utoipa::path(
    post, path = "/escalation-policies/{id}/lint", tag = "escalation-policies",
    request_body = Option<Nothing>,
    responses((status = 200, description = "What is doubtful.", body = Findings)),
)]
pub(super) async fn lint_policy(
    call: Call,
    Name(name): Name,
    Body(form): Body,
) -> Result<Response, ApiError> {
    call.sees(Area::Rules)?;
    form.finish()?;
    let found = find(&call.app.process.db, Kind::EscalationPolicy, &name).await?;
    let policy: Definition = stored(found.body.0)?;
    let mut tx = call.begin().await?;
    let findings = find_doubts(&mut tx, &policy, call.by().now).await?;
    call.commit(tx, Envelope::ok(json!({ "findings": findings }))).await
}

//! Calendars, policies, schedules and teams, one at a time: all kinds in the same way.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::Value;
use shared::domain::access::Area;
use shared::domain::definition::Kind;
use shared::ids::DefinitionId;
use shared::store::definitions::{self, Definition, Draft};
use shared::store::{Db, Tx};

use crate::call::{Body, Call, Name};
use crate::defined::{Defined, View, judge, stored, view};
use crate::envelope::Envelope;
use crate::error::ApiError;
use crate::openapi::definitions as openapi;

const POSITIONS: std::ops::RangeInclusive<i64> = 0..=1_000_000;

/// Adds a definition.
#[utoipa::path(
    post, path = "/", tag = "definitions",
    request_body = openapi::NewDefinition,
    responses((status = 201, description = "The definition.", body = openapi::Definition)),
)]
pub(super) async fn create_definition<D: Defined>(
    call: Call,
    Body(mut form): Body,
) -> Result<Response, ApiError> {
    call.changes(Area::Rules)?;
    let name = form.required("name", |f, at| f.line(at, 100)).unwrap_or_default();
    let position = if D::ORDERED { form.number("position", POSITIONS) } else { None };
    let definition = D::read(&mut form, None);
    let mut tx = call.begin().await?;
    definitions::lock(&mut tx).await?;
    judge(&mut tx, form, &definition).await?;
    let draft = Draft { name, position, body: body(&definition)? };
    let made = definitions::create(&mut tx, D::KIND, draft, call.by()).await;
    let made = made.map_err(|error| call.unchanged(error))?;
    answer(&call, tx, made, &definition, Envelope::created).await
}

/// Shows a definition as it is now.
#[utoipa::path(
    get, path = "/", tag = "definitions",
    responses((status = 200, description = "The definition.", body = openapi::Definition)),
)]
pub(super) async fn show_definition<D: Defined>(
    call: Call,
    Name(name): Name,
) -> Result<Envelope<View>, ApiError> {
    call.sees(Area::Rules)?;
    let found = find(&call.app.process.db, D::KIND, &name).await?;
    let version = found.version;
    Ok(Envelope::ok(view::<D>(found)).etag(version))
}

/// Changes the fields of a definition that are given, each as a whole.
#[utoipa::path(
    patch, path = "/", tag = "definitions",
    request_body = openapi::DefinitionEdit,
    responses((status = 200, description = "The definition as it is now.", body = openapi::Definition)),
)]
pub(super) async fn edit_definition<D: Defined>(
    call: Call,
    Name(name): Name,
    Body(mut form): Body,
) -> Result<Response, ApiError> {
    call.changes(Area::Rules)?;
    let mut tx = call.begin().await?;
    let found = find_locked(&mut tx, D::KIND, &name).await?;
    let new_name = form.kept("name", Some(found.name), |f, at| f.line(at, 100)).unwrap_or_default();
    let position = if D::ORDERED { form.number("position", POSITIONS) } else { None };
    let version = form.number("version", 1..=i64::MAX);
    let definition = D::read(&mut form, Some(stored(found.body.0)?));
    judge(&mut tx, form, &definition).await?;
    let draft = Draft { name: new_name, position, body: body(&definition)? };
    let expected = call.expects(version)?;
    let made = definitions::update(&mut tx, D::KIND, found.id, expected, draft, call.by()).await;
    let made = made.map_err(|error| call.unchanged(error))?;
    answer(&call, tx, made, &definition, Envelope::ok).await
}

/// Deletes a definition that no other refers to.
#[utoipa::path(
    delete, path = "/", tag = "definitions",
    responses((status = 204, description = "It is gone."), (status = 412)),
)]
pub(super) async fn delete_definition<D: Defined>(
    call: Call,
    Name(name): Name,
) -> Result<Response, ApiError> {
    call.changes(Area::Rules)?;
    let id = definition_id(D::KIND, &name)?;
    let mut tx = call.begin().await?;
    let deleted = definitions::delete(&mut tx, D::KIND, id, call.expects(None)?, call.by().now).await;
    deleted.map_err(|error| call.unchanged(error))?;
    call.app.process.queue.push(tx.commit().await?);
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Finds the definition that a path names.
pub(super) async fn find(db: &Db, kind: Kind, name: &str) -> Result<Definition, ApiError> {
    let found = definitions::get(db, kind, definition_id(kind, name)?).await?;
    found.ok_or(ApiError::NotFound(kind.noun()))
}

/// Finds the definition that a path names, and keeps others from changing any until the transaction ends.
pub(super) async fn find_locked(tx: &mut Tx, kind: Kind, name: &str) -> Result<Definition, ApiError> {
    let id = definition_id(kind, name)?;
    definitions::lock(tx).await?;
    definitions::get(tx, kind, id).await?.ok_or(ApiError::NotFound(kind.noun()))
}

fn definition_id(kind: Kind, name: &str) -> Result<DefinitionId, ApiError> {
    name.parse().map_err(|_| ApiError::NotFound(kind.noun()))
}

/// What a definition is kept as.
pub(super) fn body<D: Defined>(definition: &D) -> Result<Value, ApiError> {
    serde_json::to_value(definition).map_err(|error| ApiError::Internal(error.to_string()))
}

async fn answer<D: Defined>(
    call: &Call,
    mut tx: Tx,
    made: Definition,
    definition: &D,
    envelope: fn(View) -> Envelope<View>,
) -> Result<Response, ApiError> {
    let findings = definition.findings(&mut tx, made.id, call.by().now).await?;
    let version = made.version;
    let mut shown = view::<D>(made);
    if let Some(findings) = findings {
        let findings =
            serde_json::to_value(findings).map_err(|error| ApiError::Internal(error.to_string()))?;
        shown.insert("findings".into(), findings);
    }
    call.commit(tx, envelope(shown).etag(version)).await
}

//! Programs that are told of events.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use shared::addresses::names_private;
use shared::domain::access::Area;
use shared::domain::definition::Kind;
use shared::domain::event::EventKind;
use shared::domain::is_web_address;
use shared::domain::webhook::EVERY;
use shared::ids::{DefinitionId, UserId, WebhookId};
use shared::store::webhooks::{self, Draft, Webhook};
use shared::store::{Tx, definitions};
use shared::time::Timestamp as DateTime;
use utoipa::ToSchema;

use crate::call::{Body, Call, Listing, Name};
use crate::cursor;
use crate::envelope::Envelope;
use crate::error::ApiError;
use crate::form::Form;
use crate::openapi::bodies::{NewWebhook, WebhookEdit};
use crate::openapi::queries;

/// A webhook.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Webhook)]
pub(super) struct WebhookView {
    id: WebhookId,
    name: String,
    url: String,
    /// Types of events, or `*`.
    types: Vec<String>,
    team_id: Option<DefinitionId>,
    /// Whether it is told what only staff may know.
    internal: bool,
    enabled: bool,
    /// Why it was disabled, where nobody did it.
    disabled_reason: Option<String>,
    /// Since when every delivery has failed.
    failing_since: Option<DateTime>,
    /// What deliveries are signed with: shown where it was just made, and never again.
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<String>,
    /// Until when deliveries are signed with the secret before, too.
    old_secret_until: Option<DateTime>,
    version: i64,
    created_by: Option<UserId>,
    created_at: DateTime,
    updated_at: DateTime,
}

impl From<Webhook> for WebhookView {
    fn from(webhook: Webhook) -> Self {
        Self {
            id: webhook.id,
            name: webhook.name,
            url: webhook.url,
            types: webhook.types.0,
            team_id: webhook.team_id,
            internal: webhook.internal,
            enabled: webhook.enabled,
            disabled_reason: webhook.disabled_reason,
            failing_since: webhook.failing_since,
            secret: None,
            old_secret_until: webhook.old_secret_until,
            version: webhook.version,
            created_by: webhook.created_by,
            created_at: webhook.created_at,
            updated_at: webhook.updated_at,
        }
    }
}

/// Lists webhooks, newest first.
#[utoipa::path(
    get, path = "/webhooks", tag = "webhooks",
    params(queries::Page, queries::Count),
    responses((status = 200, description = "A page of webhooks.", body = Vec<WebhookView>)),
)]
pub(super) async fn list_webhooks(
    Listing { call, mut query }: Listing,
) -> Result<Envelope<Vec<WebhookView>>, ApiError> {
    call.sees(Area::Webhooks)?;
    let before = query.parse("cursor", "a next_cursor from such a list").flatten();
    let limit = query.number("limit", 1..=100).unwrap_or(20);
    let count: Option<bool> = query.parse("count", "true or false").flatten();
    query.finish()?;
    let db = &call.app.process.db;
    let mut found = webhooks::list(db, before, limit + 1).await?;
    let mut meta = cursor::cut(&mut found, limit, |last| last.id.to_string());
    if count.unwrap_or(false) {
        meta["total"] = webhooks::count(db).await?.into();
    }
    Ok(Envelope::ok(found.into_iter().map(WebhookView::from).collect()).meta(meta))
}

/// Shows a webhook.
#[utoipa::path(
    get, path = "/webhooks/{id}", tag = "webhooks",
    responses((status = 200, description = "The webhook.", body = WebhookView)),
)]
pub(super) async fn show_webhook(call: Call, Name(name): Name) -> Result<Envelope<WebhookView>, ApiError> {
    call.sees(Area::Webhooks)?;
    let found = find(&call, &name).await?;
    let version = found.version;
    Ok(Envelope::ok(found.into()).etag(version))
}

/// Adds a webhook, which is told of what happens from now on. Its secret is shown this once.
#[utoipa::path(
    post, path = "/webhooks", tag = "webhooks",
    request_body = NewWebhook,
    responses((status = 201, description = "The webhook, with its secret.", body = WebhookView)),
)]
pub(super) async fn create_webhook(call: Call, Body(form): Body) -> Result<Response, ApiError> {
    call.changes(Area::Webhooks)?;
    let mut tx = call.begin().await?;
    let draft = read(&call, &mut tx, form, None).await?;
    let made = webhooks::create(&mut tx, draft, Some(call.user.id), call.by().now).await;
    let made = made.map_err(|error| refused(&call, error))?;
    answer_with_secret(&call, tx, made, Envelope::created).await
}

/// Changes the fields that are given.
#[utoipa::path(
    patch, path = "/webhooks/{id}", tag = "webhooks",
    request_body = WebhookEdit,
    responses((status = 200, description = "The webhook as it is now.", body = WebhookView)),
)]
pub(super) async fn edit_webhook(
    call: Call,
    Name(name): Name,
    Body(mut form): Body,
) -> Result<Response, ApiError> {
    call.changes(Area::Webhooks)?;
    let expected = call.expects(form.number("version", 1..=i64::MAX))?;
    let mut tx = call.begin().await?;
    let found = webhooks::lock(&mut tx, webhook_id(&name)?, expected).await;
    let found = found.map_err(|error| refused(&call, error))?;
    let draft = read(&call, &mut tx, form, Some(&found)).await?;
    let changed = webhooks::update(&mut tx, &found, draft, call.by().now).await;
    let changed = changed.map_err(|error| refused(&call, error))?;
    let version = changed.version;
    call.commit(tx, Envelope::ok(WebhookView::from(changed)).etag(version)).await
}

/// Deletes a webhook; what is on its way to it is not sent any more.
#[utoipa::path(
    delete, path = "/webhooks/{id}", tag = "webhooks",
    responses((status = 204, description = "It is gone."), (status = 412)),
)]
pub(super) async fn delete_webhook(call: Call, Name(name): Name) -> Result<Response, ApiError> {
    call.changes(Area::Webhooks)?;
    let expected = call.expects(None)?;
    let mut tx = call.begin().await?;
    let found = webhooks::lock(&mut tx, webhook_id(&name)?, expected).await;
    let found = found.map_err(|error| refused(&call, error))?;
    webhooks::delete(&mut tx, found.id, call.by().now).await?;
    call.app.process.queue.push(tx.commit().await?);
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Gives a webhook a new secret, which is shown this once. For 24 hours deliveries are signed with both.
#[utoipa::path(
    post, path = "/webhooks/{id}/rotate-secret", tag = "webhooks",
    responses((status = 200, description = "The webhook, with its new secret.", body = WebhookView)),
)]
pub(super) async fn rotate_secret(
    call: Call,
    Name(name): Name,
    Body(mut form): Body,
) -> Result<Response, ApiError> {
    call.changes(Area::Webhooks)?;
    let version = form.number("version", 1..=i64::MAX);
    form.finish()?;
    let expected = call.expects(version)?;
    let mut tx = call.begin().await?;
    let found = webhooks::lock(&mut tx, webhook_id(&name)?, expected).await;
    let found = found.map_err(|error| refused(&call, error))?;
    let rotated = webhooks::rotate(&mut tx, &found, call.by().now).await;
    let rotated = rotated.map_err(|error| refused(&call, error))?;
    answer_with_secret(&call, tx, rotated, Envelope::ok).await
}

async fn answer_with_secret(
    call: &Call,
    tx: Tx,
    made: Webhook,
    envelope: fn(WebhookView) -> Envelope<WebhookView>,
) -> Result<Response, ApiError> {
    let (secret, version) = (made.secret.expose().to_owned(), made.version);
    let stored = envelope(made.clone().into()).etag(version);
    let shown = WebhookView { secret: Some(secret), ..made.into() };
    call.commit_secret(tx, stored, envelope(shown).etag(version)).await
}

/// Reads what is said about a webhook; what is not said stays as it was.
async fn read(call: &Call, tx: &mut Tx, mut form: Form, before: Option<&Webhook>) -> Result<Draft, ApiError> {
    let name = form.kept("name", before.map(|b| b.name.clone()), |f, at| f.line(at, 100));
    // What was allowed when it was saved may be changed otherwise.
    let is_new = form.has("url");
    let url = form.kept("url", before.map(|b| b.url.clone()), |f, at| f.line(at, 2_000));
    let allow_private = call.app.process.config.webhook_allow_private;
    if let Some(why) = url.as_deref().filter(|_| is_new).and_then(|url| complaint(url, allow_private)) {
        form.complain("invalid", "url", why);
    }
    let types = read_types(&mut form).or_else(|| before.map(|b| b.types.0.clone()));
    let of_team = before.and_then(|b| b.team_id);
    let team = form.changed("team_id", of_team, |f, at| f.parse::<DefinitionId>(at, "the id of a team"));
    if let Some(id) = team.filter(|id| Some(*id) != of_team)
        && definitions::get(tx, Kind::Team, id).await?.is_none()
    {
        form.complain("unknown_team", "team_id", "There is no such team.");
    }
    let internal = form.kept("internal", Some(before.is_some_and(|b| b.internal)), Form::flag);
    let enabled = form.kept("enabled", Some(before.is_none_or(|b| b.enabled)), Form::flag);
    form.finish()?;
    let types = types.unwrap_or_else(|| vec![EVERY.into()]);
    Ok(Draft {
        name: name.unwrap_or_default(),
        url: url.unwrap_or_default(),
        types,
        team,
        internal: internal.unwrap_or_default(),
        enabled: enabled.unwrap_or_default(),
    })
}

/// What is wrong with an address. One with a name is looked at again whenever something is sent.
fn complaint(url: &str, allow_private: bool) -> Option<&'static str> {
    if !is_web_address(url) {
        return Some("Must be a web address like https://example.org/hook, without a password.");
    }
    let private = url::Url::parse(url).is_ok_and(|url| names_private(&url));
    (private && !allow_private).then_some("Must not be a private address; see WEBHOOK_ALLOW_PRIVATE.")
}

/// Reads the types of events, each once; `*` stands for all.
fn read_types(form: &mut Form) -> Option<Vec<String>> {
    let given = form.items("types", |form, at| form.line(at, 50))??;
    let known = |kind: &String| kind == EVERY || kind.parse::<EventKind>().is_ok();
    for (i, kind) in given.iter().enumerate().filter(|(_, kind)| !known(kind)) {
        let all = EventKind::ALL.iter().map(|kind| kind.as_str()).collect::<Vec<_>>().join(", ");
        form.complain("unknown_value", &format!("types[{i}]"), format!("{kind} must be * or one of: {all}."));
    }
    if given.is_empty() {
        form.complain("empty", "types", "Must name at least one type of event, or *.");
    }
    let mut types = given;
    types.sort_unstable();
    types.dedup();
    Some(types)
}

/// Finds the webhook that a path names.
pub(super) async fn find(call: &Call, name: &str) -> Result<Webhook, ApiError> {
    let found = webhooks::get(&call.app.process.db, webhook_id(name)?).await?;
    found.ok_or(ApiError::NotFound("webhook"))
}

fn webhook_id(name: &str) -> Result<WebhookId, ApiError> {
    name.parse().map_err(|_| ApiError::NotFound("webhook"))
}

/// Renders why a webhook was not changed.
fn refused(call: &Call, error: webhooks::Error) -> ApiError {
    let why = crate::error::sentence(&error.to_string());
    match error {
        webhooks::Error::NotFound => ApiError::NotFound("webhook"),
        webhooks::Error::Stale(_) => call.stale(why),
        webhooks::Error::NameTaken(_) => ApiError::Conflict("name_taken", why),
        webhooks::Error::Store(error) => error.into(),
    }
}

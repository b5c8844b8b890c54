//! API keys: everybody manages their own; admins see, change and revoke all.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use shared::domain::access::Area;
use shared::domain::scope::{self, Scope};
use shared::ids::{ApiKeyId, UserId};
use shared::store::api_keys::{self, ApiKey, Filter};
use shared::time::Timestamp as DateTime;
use utoipa::ToSchema;

use crate::auth::keys::{Made, prefix};
use crate::call::{Body, Call, Listing, Name};
use crate::cursor;
use crate::envelope::Envelope;
use crate::error::ApiError;
use crate::form::Form;
use crate::openapi::accounts::{KeyEdit, Keys, NewKey};
use crate::openapi::queries;

/// An API key, without its secret.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = ApiKey)]
pub(super) struct KeyView {
    id: ApiKeyId,
    user_id: UserId,
    name: String,
    /// What the key begins with.
    prefix: String,
    scopes: Vec<Scope>,
    version: i64,
    created_at: DateTime,
    expires_at: Option<DateTime>,
    last_used_at: Option<DateTime>,
}

impl From<ApiKey> for KeyView {
    fn from(key: ApiKey) -> Self {
        let ApiKey { id, user_id, name, scopes, version, created_at, expires_at, last_used_at, .. } = key;
        let (prefix, scopes) = (prefix(id), scopes.0);
        Self { id, user_id, name, prefix, scopes, version, created_at, expires_at, last_used_at }
    }
}

/// A key that was just made.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = MadeApiKey)]
pub(super) struct MadeKeyView {
    #[serde(flatten)]
    view: KeyView,
    /// The key, shown once.
    key: Option<String>,
}

/// Lists the caller's keys, the newest first; admins see everybody's, or those of one `user`.
#[utoipa::path(
    get, path = "/api-keys", tag = "api-keys",
    params(Keys, queries::Page, queries::Offset, queries::Count),
    responses((status = 200, description = "A page of keys.", body = Vec<KeyView>)),
)]
pub(super) async fn list_keys(
    Listing { call, mut query }: Listing,
) -> Result<Envelope<Vec<KeyView>>, ApiError> {
    let user: Option<UserId> = query.parse("user", "the id of a user").flatten();
    let count: Option<bool> = query.parse("count", "true or false").flatten();
    let limit = query.number("limit", 1..=100).unwrap_or(20);
    let filter = Filter {
        user: if manages_all(&call) { user } else { Some(call.user.id) },
        before: query.parse("cursor", "a next_cursor from such a list").flatten(),
        offset: query.number("offset", 0..=1_000_000).unwrap_or(0),
        // One more than asked for tells whether there is a next page.
        limit: limit + 1,
    };
    query.finish()?;
    if user.is_some_and(|user| user != call.user.id) {
        call.changes(Area::Accounts)?;
    }
    let db = &call.app.process.db;
    let mut found = api_keys::list(db, &filter).await?;
    let mut meta = cursor::cut(&mut found, limit, |last| last.id.to_string());
    if count == Some(true) {
        meta["total"] = api_keys::count(db, &filter).await?.into();
    }
    Ok(Envelope::ok(found.into_iter().map(KeyView::from).collect()).meta(meta))
}

/// Makes a key for the caller. The key is shown in this answer only.
#[utoipa::path(
    post, path = "/api-keys", tag = "api-keys",
    request_body = NewKey,
    responses((status = 201, description = "The key.", body = MadeKeyView)),
)]
pub(super) async fn create_key(call: Call, Body(mut form): Body) -> Result<Response, ApiError> {
    let name = form.required("name", |f, at| f.line(at, 100)).unwrap_or_default();
    let scopes = form.required("scopes", read_scopes).unwrap_or_default();
    let expires_at = form.instant("expires_at").flatten();
    let by = call.on_record();
    if expires_at.is_some_and(|at| at <= by.now) {
        form.complain("invalid", "expires_at", "Must be in the future.");
    }
    if let Some(ends) = call.key.as_ref().and_then(|key| key.expires_at)
        && expires_at.is_none_or(|at| at > ends)
    {
        form.complain("invalid", "expires_at", "Must not be after the end of the key that is used.");
    }
    within_own(&call, &mut form, &scopes);
    form.finish()?;
    let made = Made::new();
    let key = ApiKey {
        id: made.id,
        user_id: call.user.id,
        name,
        scopes: scopes.into(),
        secret_hash: made.secret_hash,
        version: 1,
        created_at: by.now,
        expires_at,
        last_used_at: None,
        revoked_at: None,
    };
    let mut tx = call.begin().await?;
    api_keys::add(&mut tx, &key, &by).await?;
    let view = KeyView::from(key);
    let shown = |key| Envelope::created(MadeKeyView { view: view.clone(), key }).etag(1);
    call.commit_secret(tx, shown(None), shown(Some(made.text))).await
}

/// Shows a key, without its secret.
#[utoipa::path(
    get, path = "/api-keys/{id}", tag = "api-keys",
    responses((status = 200, description = "The key, without its secret.", body = KeyView)),
)]
pub(super) async fn show_key(call: Call, Name(name): Name) -> Result<Envelope<KeyView>, ApiError> {
    let key = find(&call, &name).await?;
    let version = key.version;
    Ok(Envelope::ok(key.into()).etag(version))
}

/// Changes a key's name and scopes.
#[utoipa::path(
    patch, path = "/api-keys/{id}", tag = "api-keys",
    request_body = KeyEdit,
    responses((status = 200, description = "The key as it is now.", body = KeyView)),
)]
pub(super) async fn edit_key(
    call: Call,
    Name(path): Name,
    Body(mut form): Body,
) -> Result<Response, ApiError> {
    let id = find(&call, &path).await?.id;
    let name = form.given("name", |f, at| f.line(at, 100));
    let scopes = form.given("scopes", read_scopes);
    within_own(&call, &mut form, scopes.as_deref().unwrap_or_default());
    let version = form.number("version", 1..=i64::MAX);
    form.finish()?;
    let (expected, by) = (call.expects(version)?, call.on_record());
    let mut tx = call.begin().await?;
    let changed = api_keys::change(&mut tx, id, expected, &by, name, scopes).await;
    let key = changed.map_err(|error| call.unedited(error))?;
    let version = key.version;
    call.commit(tx, Envelope::ok(KeyView::from(key)).etag(version)).await
}

/// Revokes a key: it no longer works.
#[utoipa::path(
    delete, path = "/api-keys/{id}", tag = "api-keys",
    responses((status = 204, description = "It no longer works."), (status = 412)),
)]
pub(super) async fn revoke_key(call: Call, Name(name): Name) -> Result<Response, ApiError> {
    let id = find(&call, &name).await?.id;
    let (expected, by) = (call.expects(None)?, call.on_record());
    let mut tx = call.begin().await?;
    let revoked = api_keys::revoke(&mut tx, id, expected, &by).await;
    revoked.map_err(|error| call.unedited(error))?;
    let _ = tx.commit().await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

fn manages_all(call: &Call) -> bool {
    call.caller.role.may_change(Area::Accounts)
}

/// Finds a key that the caller manages.
async fn find(call: &Call, name: &str) -> Result<ApiKey, ApiError> {
    const NONE: ApiError = ApiError::NotFound("API key");
    let id = name.parse().map_err(|_| NONE)?;
    let key = api_keys::get(&call.app.process.db, id).await?;
    key.filter(|key| key.user_id == call.user.id || manages_all(call)).ok_or(NONE)
}

fn read_scopes(form: &mut Form, field: &str) -> Option<Option<Vec<Scope>>> {
    let mut scopes = form.items(field, Form::word)??;
    scopes.sort_unstable();
    scopes.dedup();
    if scopes.is_empty() {
        form.complain_unless_known("empty", field, "Must name at least one scope.");
    }
    Some(Some(scopes))
}

/// Complains about scopes that the key in use does not have itself.
fn within_own(call: &Call, form: &mut Form, scopes: &[Scope]) {
    let Some(key) = &call.key else { return };
    let beyond: Vec<&str> = scope::beyond(&key.scopes, scopes).map(Scope::as_str).collect();
    if !beyond.is_empty() {
        let why = format!("The key that is used lacks {} itself.", beyond.join(", "));
        form.complain("invalid", "scopes", why);
    }
}

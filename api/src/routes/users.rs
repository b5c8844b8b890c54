//! Accounts: staff see who there is, admins change them. Nobody is deleted, since tickets name them; they are disabled.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use shared::domain::access::Area;
use shared::domain::role::Role;
use shared::ids::UserId;
use shared::store::accounts::{self, AccountEvent, Filter};
use shared::store::users::{self, User};
use shared::time::Timestamp as DateTime;
use utoipa::ToSchema;

use crate::auth::passwords;
use crate::call::{Body, Call, Listing, Name};
use crate::cursor;
use crate::envelope::Envelope;
use crate::error::ApiError;
use crate::form::Form;
use crate::openapi::accounts::{NewUser, UserEdit, Users};
use crate::openapi::queries;

/// An account as staff see it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Account)]
pub(super) struct AccountView {
    id: UserId,
    name: String,
    email: String,
    role: Role,
    disabled_at: Option<DateTime>,
    version: i64,
    created_at: DateTime,
}

impl From<User> for AccountView {
    fn from(user: User) -> Self {
        let User { id, name, email, role, disabled_at, version, created_at, .. } = user;
        Self { id, name, email, role, disabled_at, version, created_at }
    }
}

/// An account that was just made.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = MadeAccount)]
pub(super) struct MadeUserView {
    #[serde(flatten)]
    account: AccountView,
    /// The password that was made for it, shown once; null where one was given.
    password: Option<String>,
}

/// One change of one field of an account.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AccountEvent)]
pub(super) struct AccountEventView {
    field: String,
    old_value: Option<String>,
    new_value: Option<String>,
    actor_id: Option<UserId>,
    ip: Option<String>,
    at: DateTime,
}

impl From<AccountEvent> for AccountEventView {
    fn from(event: AccountEvent) -> Self {
        let AccountEvent { field, old_value, new_value, actor_id, ip, at, .. } = event;
        Self { field, old_value, new_value, actor_id, ip, at }
    }
}

/// Lists accounts, the newest first.
#[utoipa::path(
    get, path = "/users", tag = "accounts",
    params(Users, queries::Page, queries::Offset, queries::Count),
    responses((status = 200, description = "A page of accounts.", body = Vec<AccountView>)),
)]
pub(super) async fn list_users(
    Listing { call, mut query }: Listing,
) -> Result<Envelope<Vec<AccountView>>, ApiError> {
    call.sees(Area::Accounts)?;
    let count: Option<bool> = query.parse("count", "true or false").flatten();
    let limit = query.number("limit", 1..=100).unwrap_or(20);
    let filter = Filter {
        role: query.word("role").flatten(),
        containing: query.line("q", 254).flatten(),
        disabled: query.parse("disabled", "true or false").flatten(),
        before: query.parse("cursor", "a next_cursor from such a list").flatten(),
        offset: query.number("offset", 0..=1_000_000).unwrap_or(0),
        // One more than asked for tells whether there is a next page.
        limit: limit + 1,
    };
    query.finish()?;
    let db = &call.app.process.db;
    let mut found = accounts::list(db, &filter).await?;
    let mut meta = cursor::cut(&mut found, limit, |last| last.id.to_string());
    if count == Some(true) {
        meta["total"] = accounts::count(db, &filter).await?.into();
    }
    Ok(Envelope::ok(found.into_iter().map(AccountView::from).collect()).meta(meta))
}

/// Adds an account. Without a password one is made, and shown in this answer only.
#[utoipa::path(
    post, path = "/users", tag = "accounts",
    request_body = NewUser,
    responses((status = 201, description = "The account.", body = MadeUserView)),
)]
pub(super) async fn create_user(call: Call, Body(mut form): Body) -> Result<Response, ApiError> {
    call.changes(Area::Accounts)?;
    let email = form.required("email", Form::address).unwrap_or_default().to_lowercase();
    let name = form.required("name", |f, at| f.line(at, 100)).unwrap_or_default();
    let role = form.required("role", Form::word);
    let given = read_password(&mut form, &email);
    form.finish()?;
    let made = given.is_none().then(passwords::make_password);
    let password_hash = passwords::hash(given.or(made.clone()).unwrap_or_default()).await?;
    let by = call.on_record();
    let user = User {
        id: UserId::new(),
        email,
        name,
        role: role.ok_or(ApiError::NotFound("role"))?,
        password_hash,
        created_at: by.now,
        disabled_at: None,
        version: 1,
        password_changed_at: None,
    };
    let mut tx = call.begin().await?;
    accounts::create(&mut tx, &user, &by).await?;
    let view = |password| Envelope::created(MadeUserView { account: user.clone().into(), password }).etag(1);
    call.commit_secret(tx, view(None), view(made)).await
}

/// Shows an account.
#[utoipa::path(
    get, path = "/users/{id}", tag = "accounts",
    responses((status = 200, description = "The account.", body = AccountView)),
)]
pub(super) async fn show_user(call: Call, Name(name): Name) -> Result<Envelope<AccountView>, ApiError> {
    call.sees(Area::Accounts)?;
    let user = users::get(&call.app.process.db, user_id(&name)?).await?.ok_or(ApiError::NotFound("user"))?;
    let version = user.version;
    Ok(Envelope::ok(user.into()).etag(version))
}

/// Changes the fields that are given. Another password, or being disabled, ends all sign-ins of the user.
#[utoipa::path(
    patch, path = "/users/{id}", tag = "accounts",
    request_body = UserEdit,
    responses((status = 200, description = "The account as it is now.", body = AccountView)),
)]
pub(super) async fn edit_user(
    call: Call,
    Name(name): Name,
    Body(mut form): Body,
) -> Result<Response, ApiError> {
    call.changes(Area::Accounts)?;
    let id = user_id(&name)?;
    let present = users::get(&call.app.process.db, id).await?.ok_or(ApiError::NotFound("user"))?;
    let email = form.given("email", Form::address).map(|email| email.to_lowercase());
    let name = form.given("name", |f, at| f.line(at, 100));
    let role = form.given("role", Form::word);
    let disabled = form.given("disabled", Form::flag);
    let password = read_password(&mut form, email.as_ref().unwrap_or(&present.email));
    if password.is_some() && id == call.user.id {
        form.complain("invalid", "password", "Change your own by PUT /me/password.");
    }
    let version = form.number("version", 1..=i64::MAX);
    form.finish()?;
    let hash = match password {
        Some(password) => Some(passwords::hash(password).await?),
        None => None,
    };
    change(&call, id, version, |user, now| {
        user.email = email.unwrap_or_else(|| user.email.clone());
        user.name = name.unwrap_or_else(|| user.name.clone());
        user.role = role.unwrap_or(user.role);
        if let Some(hash) = hash {
            (user.password_hash, user.password_changed_at) = (hash, Some(now));
        }
        if let Some(disabled) = disabled {
            user.disabled_at = disabled.then(|| user.disabled_at.unwrap_or(now));
        }
    })
    .await
}

/// Disables an account, which ends all sign-ins and keys of the user.
#[utoipa::path(
    delete, path = "/users/{id}", tag = "accounts",
    responses((status = 204, description = "It is disabled."), (status = 412)),
)]
pub(super) async fn disable_user(call: Call, Name(name): Name) -> Result<Response, ApiError> {
    call.changes(Area::Accounts)?;
    let disable = |user: &mut User, now| user.disabled_at = Some(user.disabled_at.unwrap_or(now));
    change(&call, user_id(&name)?, None, disable).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

async fn change(
    call: &Call,
    id: UserId,
    version: Option<i64>,
    change: impl FnOnce(&mut User, DateTime),
) -> Result<Response, ApiError> {
    let (expected, by) = (call.expects(version)?, call.on_record());
    let mut tx = call.begin().await?;
    let changed = accounts::change(&mut tx, id, expected, &by, |user| change(user, by.now)).await;
    let user = changed.map_err(|error| call.unedited(error))?;
    let version = user.version;
    let answer = call.commit(tx, Envelope::ok(AccountView::from(user)).etag(version)).await;
    call.app.accounts.forget(id);
    answer
}

/// Shows every change of an account, oldest first.
#[utoipa::path(
    get, path = "/users/{id}/history", tag = "accounts",
    responses((status = 200, description = "The changes.", body = Vec<AccountEventView>)),
)]
pub(super) async fn show_user_history(
    call: Call,
    Name(name): Name,
) -> Result<Envelope<Vec<AccountEventView>>, ApiError> {
    call.changes(Area::Accounts)?;
    let db = &call.app.process.db;
    let user = users::get(db, user_id(&name)?).await?.ok_or(ApiError::NotFound("user"))?;
    let events = accounts::history(db, user.id).await?;
    Ok(Envelope::ok(events.into_iter().map(AccountEventView::from).collect()))
}

fn read_password(form: &mut Form, email: &str) -> Option<String> {
    let password = form.given("password", |f, at| f.lines(at, passwords::LONGEST))?;
    if let Some(why) = passwords::problem(&password, email) {
        form.complain("invalid", "password", why);
    }
    Some(password)
}

fn user_id(name: &str) -> Result<UserId, ApiError> {
    name.parse().map_err(|_| ApiError::NotFound("user"))
}

//! Signing in.

use axum::extract::State;
use axum::response::Response;
use serde::Serialize;
use shared::domain::quiet::{QuietHours, is_time_zone};
use shared::store::{preferences, users};

use crate::app::App;
use crate::auth::{TOKEN_LIFETIME, check_password};
use crate::call::{Body, Call};
use crate::envelope::Envelope;
use crate::error::ApiError;
use crate::openapi::bodies::{AccountEdit, Credentials};
use crate::views::UserView;

/// A token.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Token)]
pub(super) struct TokenView {
    access_token: String,
    token_type: &'static str,
    /// Seconds.
    expires_in: i64,
}

/// Exchanges an address and a password for a token.
#[utoipa::path(
    post, path = "/api/v1/auth/login", tag = "accounts",
    security(()),
    request_body = Credentials,
    responses((status = 200, description = "A token.", body = TokenView)),
)]
pub(super) async fn log_in(
    State(app): State<App>,
    Body(mut form): Body,
) -> Result<Envelope<TokenView>, ApiError> {
    let email = form.required("email", |f, name| f.line(name, 254));
    let password = form.required("password", |f, name| f.lines(name, 1_000));
    form.finish()?;
    let user = users::by_email(&app.process.db, &email.unwrap_or_default()).await?;
    let user = check_password(user, password.unwrap_or_default()).await;
    let user = user.ok_or(ApiError::Unauthorized("The address or the password is wrong."))?;
    let now = app.process.desk.clock.now();
    let token = app
        .tokens
        .issue(user.id, now, now + TOKEN_LIFETIME)
        .map_err(|error| ApiError::Internal(error.to_string()))?;
    Ok(Envelope::ok(TokenView {
        access_token: token,
        token_type: "Bearer",
        expires_in: TOKEN_LIFETIME.num_seconds(),
    }))
}

/// Shows the caller's own account.
#[utoipa::path(
    get, path = "/me", tag = "accounts",
    responses((status = 200, description = "The account.", body = UserView)),
)]
pub(super) async fn show_me(call: Call) -> Result<Envelope<UserView>, ApiError> {
    let preferences = preferences::get(&call.app.process.db, call.user.id).await?;
    let preferences = preferences.ok_or(ApiError::NotFound("account"))?;
    Ok(Envelope::ok(UserView::new(&call.user, preferences)))
}

/// Changes how the caller wants to be told; null clears.
#[utoipa::path(
    patch, path = "/me", tag = "accounts",
    request_body = AccountEdit,
    responses((status = 200, description = "The account.", body = UserView)),
)]
pub(super) async fn change_me(call: Call, Body(mut form): Body) -> Result<Response, ApiError> {
    let zone = form.line("tz", 64);
    if let Some(Some(name)) = &zone
        && !is_time_zone(name)
    {
        form.complain("invalid", "tz", "Must be a time zone of the IANA database, such as Europe/Berlin.");
    }
    let quiet_hours = form.definition("quiet_hours", QuietHours::read);
    form.finish()?;
    let mut tx = call.begin().await?;
    let mut wanted = preferences::get(&mut tx, call.user.id).await?.ok_or(ApiError::NotFound("account"))?;
    set(&mut wanted.tz, zone);
    set(&mut wanted.quiet_hours, quiet_hours.map(|hours| hours.map(Into::into)));
    preferences::set(&mut tx, &wanted).await?;
    let view = UserView::new(&call.user, wanted);
    call.commit(tx, Envelope::ok(view)).await
}

fn set<T>(field: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *field = value;
    }
}

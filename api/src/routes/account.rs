//! Signing in.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use chrono::TimeDelta;
use serde::Serialize;
use shared::domain::quiet::{QuietHours, is_time_zone};
use shared::ids::{FamilyId, UserId};
use shared::store::refresh_tokens::{self, Used};
use shared::store::{Tx, accounts, preferences, sign_ins, users};

use crate::app::App;
use crate::auth::{TOKEN_LIFETIME, digest, make_secret, passwords};
use crate::call::{Body, Call};
use crate::envelope::Envelope;
use crate::error::ApiError;
use crate::openapi::accounts::{NewPassword, Refreshing};
use crate::openapi::bodies::{AccountEdit, Credentials};
use crate::views::UserView;

/// How long a refresh token can be used.
const REFRESH_LIFETIME: TimeDelta = TimeDelta::days(30);

/// A token.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Token)]
pub(super) struct TokenView {
    access_token: String,
    token_type: &'static str,
    /// Seconds.
    expires_in: i64,
    /// Good for one use, which gives the next.
    refresh_token: String,
    /// Seconds.
    refresh_expires_in: i64,
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
    let password = form.required("password", |f, name| f.lines(name, passwords::LONGEST));
    form.finish()?;
    let email = email.unwrap_or_default();
    let user = passwords::check(&app, &email, password.unwrap_or_default()).await?;
    let user = user.ok_or(ApiError::Unauthorized("The address or the password is wrong."))?;
    let mut tx = app.process.db.begin().await?;
    sign_ins::forget(&mut tx, &passwords::counted_as(&email)).await?;
    let tokens = issue(&app, &mut tx, user.id, FamilyId::new()).await?;
    let _ = tx.commit().await?;
    Ok(Envelope::ok(tokens))
}

/// Makes the tokens of a sign-in, or the next ones of it.
async fn issue(app: &App, tx: &mut Tx, user: UserId, family: FamilyId) -> Result<TokenView, ApiError> {
    let now = app.process.desk.clock.now();
    let access_token = app.tokens.issue(user, now, now + TOKEN_LIFETIME);
    let refresh_token = make_secret();
    refresh_tokens::issue(tx, family, user, &digest(&refresh_token), now, now + REFRESH_LIFETIME).await?;
    Ok(TokenView {
        access_token: access_token.map_err(|error| ApiError::Internal(error.to_string()))?,
        token_type: "Bearer",
        expires_in: TOKEN_LIFETIME.num_seconds(),
        refresh_token,
        refresh_expires_in: REFRESH_LIFETIME.num_seconds(),
    })
}

/// Exchanges a refresh token for new tokens. It is good for one use; a second use ends the sign-in, since one of the two
/// who used it has stolen it.
#[utoipa::path(
    post, path = "/api/v1/auth/refresh", tag = "accounts",
    security(()),
    request_body = Refreshing,
    responses((status = 200, description = "The next tokens.", body = TokenView)),
)]
pub(super) async fn refresh(
    State(app): State<App>,
    Body(mut form): Body,
) -> Result<Envelope<TokenView>, ApiError> {
    const REFUSED: ApiError = ApiError::Unauthorized(
        "The refresh token is not valid, has expired or was used before; sign in again.",
    );
    let token = form.required("refresh_token", |f, name| f.line(name, 500));
    form.finish()?;
    let now = app.process.desk.clock.now();
    let mut tx = app.process.db.begin().await?;
    match refresh_tokens::use_up(&mut tx, &digest(&token.unwrap_or_default()), now).await? {
        Used::Good { user, family } => {
            let enabled = users::get(&mut tx, user).await?.filter(|user| user.disabled_at.is_none());
            let user = enabled.ok_or(REFUSED)?;
            let tokens = issue(&app, &mut tx, user.id, family).await?;
            let _ = tx.commit().await?;
            Ok(Envelope::ok(tokens))
        }
        Used::Reused { user } => {
            let _ = tx.commit().await?;
            tracing::warn!(user.id = %user, "a refresh token was used twice; its sign-in was ended");
            Err(REFUSED)
        }
        Used::Unknown => Err(REFUSED),
    }
}

/// Ends the sign-in that a refresh token belongs to. Its access token works until it expires.
#[utoipa::path(
    post, path = "/api/v1/auth/logout", tag = "accounts",
    security(()),
    request_body = Refreshing,
    responses((status = 204, description = "It is ended.")),
)]
pub(super) async fn log_out(State(app): State<App>, Body(mut form): Body) -> Result<StatusCode, ApiError> {
    let token = form.required("refresh_token", |f, name| f.line(name, 500));
    form.finish()?;
    let mut tx = app.process.db.begin().await?;
    refresh_tokens::end(&mut tx, &digest(&token.unwrap_or_default()), app.process.desk.clock.now()).await?;
    let _ = tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Changes the caller's password, which ends all their sign-ins, also this one.
#[utoipa::path(
    put, path = "/me/password", tag = "accounts",
    request_body = NewPassword,
    responses((status = 204, description = "It is changed.")),
)]
pub(super) async fn change_password(call: Call, Body(mut form): Body) -> Result<StatusCode, ApiError> {
    let old = form.required("old_password", |f, name| f.lines(name, passwords::LONGEST));
    let new = form.required("new_password", |f, name| f.lines(name, passwords::LONGEST)).unwrap_or_default();
    if let Some(why) = passwords::problem(&new, &call.user.email) {
        form.complain_unless_known("invalid", "new_password", why);
    }
    form.finish()?;
    let checked = passwords::check(&call.app, &call.user.email, old.unwrap_or_default()).await?;
    if checked.is_none_or(|user| user.id != call.user.id) {
        return Err(ApiError::field("wrong", "old_password", "Is not the present password."));
    }
    let (hash, by) = (passwords::hash(new).await?, call.on_record());
    let mut tx = call.begin().await?;
    let changed = accounts::change(&mut tx, call.user.id, None, &by, |user| {
        (user.password_hash, user.password_changed_at) = (hash, Some(by.now));
    });
    changed.await?;
    sign_ins::forget(&mut tx, &passwords::counted_as(&call.user.email)).await?;
    let _ = tx.commit().await?;
    call.app.accounts.forget(call.user.id);
    Ok(StatusCode::NO_CONTENT)
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

//! Signing in.

use axum::extract::State;
use serde::Serialize;
use shared::store::users;

use crate::app::App;
use crate::auth::{TOKEN_LIFETIME, check_password};
use crate::call::{Body, Call};
use crate::envelope::Envelope;
use crate::error::ApiError;
use crate::views::UserView;

#[derive(Debug, Serialize)]
pub(super) struct TokenView {
    access_token: String,
    token_type: &'static str,
    /// Seconds.
    expires_in: i64,
}

/// Exchanges an address and a password for a token.
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
pub(super) async fn show_me(call: Call) -> Envelope<UserView> {
    Envelope::ok(UserView::from(&*call.user))
}

//! `Idempotency-Key`: a POST that is sent twice acts once.
//!
//! Source: IETF draft-ietf-httpapi-idempotency-key-header-07.

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, Method};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use chrono::TimeDelta;
use sha2::{Digest, Sha256};
use shared::ids::ClaimToken;
use shared::store;
use shared::store::idempotency::{self, Claim};

use crate::app::App;
use crate::call::{MAX_CALENDAR, authenticate};
use crate::envelope::respond;
use crate::error::ApiError;

/// How long a claim stands whose process died: longer than any request may take.
const CLAIMED: TimeDelta = TimeDelta::seconds(60);

/// The answer while the first request with the same key is still running.
pub(crate) fn running() -> ApiError {
    let why =
        "A request with this Idempotency-Key is still running; repeat it in a moment to get its answer.";
    ApiError::Conflict("still_running", why.into())
}

/// Claims the key of a POST that has one, or answers in its place.
pub(crate) async fn layer(State(app): State<App>, request: Request, next: Next) -> Response {
    let key = request.headers().get("idempotency-key").filter(|_| request.method() == Method::POST);
    let Some(key) = key.cloned() else { return next.run(request).await };
    match claim_and_run(&app, key, request, next).await {
        Ok(response) => response,
        Err(error) => error.into_response(),
    }
}

async fn claim_and_run(
    app: &App,
    key: HeaderValue,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let usable = key.to_str().ok().filter(|key| (1..=255).contains(&key.len()));
    let key = usable.ok_or_else(|| {
        ApiError::field("invalid", "Idempotency-Key", "Must be 1 to 255 visible ASCII characters.")
    })?;
    let (mut parts, body) = request.into_parts();
    let account = authenticate(app, &parts).await?;
    let bytes =
        axum::body::to_bytes(body, MAX_CALENDAR).await.map_err(|_| ApiError::TooLarge(MAX_CALENDAR))?;
    let mut hash = Sha256::new();
    hash.update(parts.uri.path().as_bytes());
    hash.update([0]);
    hash.update(&bytes);
    let hash: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();

    let process = &app.process;
    let (token, now) = (ClaimToken::new(), process.desk.clock.now());
    let mut tx = process.db.begin().await?;
    let claim = idempotency::claim(&mut tx, account.user.id, key, &hash, token, now, now + CLAIMED).await?;
    let _ = tx.commit().await?;
    match claim {
        Claim::Taken => {}
        Claim::Running => return Err(running()),
        Claim::Mismatch => {
            let why = "This key was used for another request; take a new one for each.";
            return Err(ApiError::field("key_reused", "Idempotency-Key", why));
        }
        Claim::Answered(answer) => {
            let mut response = respond(answer);
            response.headers_mut().insert("idempotent-replayed", HeaderValue::from_static("true"));
            return Ok(response);
        }
    }
    parts.extensions.insert(account);
    parts.extensions.insert(token);
    let response = next.run(Request::from_parts(parts, Body::from(bytes))).await;
    if !response.status().is_success() {
        // Nothing happened, so the same request may be tried again. Should this fail, the claim expires.
        if let Err(error) = release(app, token).await {
            tracing::warn!(%error, "could not release an idempotency key; it expires in a minute");
        }
    }
    Ok(response)
}

async fn release(app: &App, token: ClaimToken) -> store::Result<()> {
    let mut tx = app.process.db.begin().await?;
    idempotency::release(&mut tx, token).await?;
    let _ = tx.commit().await?;
    Ok(())
}

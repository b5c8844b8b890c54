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
use shared::ids::{ClaimToken, UserId};
use shared::store;
use shared::store::idempotency::{self, Claim};

use crate::app::App;
use crate::call::{MAX_CALENDAR, authenticate, is_media_type};
use crate::envelope::respond;
use crate::error::ApiError;

/// How long a claim stands whose process died: longer than any request may take.
const CLAIMED: TimeDelta = TimeDelta::seconds(60);

/// The key of a request whose body is not held: its handler claims it, once it knows what was sent.
#[derive(Clone, Debug)]
pub(crate) struct Key(String);

/// What became of a claim.
pub(crate) enum Claimed {
    /// Go ahead, and store the answer under this.
    Taken(ClaimToken),
    /// The same request was answered before.
    Answered(Response),
}

impl Key {
    /// Claims the key for a request that says what the parts of `said` say.
    pub(crate) async fn claim(&self, app: &App, user: UserId, said: &[&[u8]]) -> Result<Claimed, ApiError> {
        claim(app, user, &self.0, said).await
    }
}

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
    let account = authenticate(app, request.headers()).await?;
    let (mut parts, body) = request.into_parts();
    if is_media_type(&parts.headers, "multipart/form-data") {
        let key = Key(key.to_owned());
        parts.extensions.insert(account);
        parts.extensions.insert(key);
        return Ok(next.run(Request::from_parts(parts, body)).await);
    }
    let bytes =
        axum::body::to_bytes(body, MAX_CALENDAR).await.map_err(|_| ApiError::TooLarge(MAX_CALENDAR))?;
    let token = match claim(app, account.user.id, key, &[parts.uri.path().as_bytes(), &bytes]).await? {
        Claimed::Taken(token) => token,
        Claimed::Answered(response) => return Ok(response),
    };
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

/// Claims a key for a request that says what the parts of `said` say.
async fn claim(app: &App, user: UserId, key: &str, said: &[&[u8]]) -> Result<Claimed, ApiError> {
    let mut hash = Sha256::new();
    for (i, part) in said.iter().enumerate() {
        if i > 0 {
            hash.update([0]);
        }
        hash.update(part);
    }
    let hash: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    let process = &app.process;
    let (token, now) = (ClaimToken::new(), process.desk.clock.now());
    let mut tx = process.db.begin().await?;
    let claim = idempotency::claim(&mut tx, user, key, &hash, token, now, now + CLAIMED).await?;
    let _ = tx.commit().await?;
    match claim {
        Claim::Taken => Ok(Claimed::Taken(token)),
        Claim::Running => Err(running()),
        Claim::Mismatch => {
            let why = "This key was used for another request; take a new one for each.";
            Err(ApiError::field("key_reused", "Idempotency-Key", why))
        }
        Claim::Answered(answer) => {
            let mut response = respond(answer);
            response.headers_mut().insert("idempotent-replayed", HeaderValue::from_static("true"));
            Ok(Claimed::Answered(response))
        }
    }
}

/// Lets go of a claim whose request changed nothing.
pub(crate) async fn release(app: &App, token: ClaimToken) -> store::Result<()> {
    let mut tx = app.process.db.begin().await?;
    idempotency::release(&mut tx, token).await?;
    let _ = tx.commit().await?;
    Ok(())
}

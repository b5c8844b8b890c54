//! `Idempotency-Key`: a POST that is sent twice acts once.
//!
//! Source: IETF draft-ietf-httpapi-idempotency-key-header-07.

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use chrono::TimeDelta;
use sha2::{Digest, Sha256};
use shared::ids::{ClaimToken, UserId};
use shared::store;
use shared::store::idempotency::{self, Claim};

use crate::app::App;
use crate::call::{Call, MAX_CALENDAR, authenticate};
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

/// Routes that hash and claim by themselves, since their bodies are not to be held in memory.
const STREAMED: [&str; 1] = ["/api/v1/tickets/import"];

/// Claims the key of a POST that has one, or answers in its place.
pub(crate) async fn layer(State(app): State<App>, request: Request, next: Next) -> Response {
    let path = request.uri().path();
    let claims = request.method() == Method::POST && !STREAMED.contains(&path);
    let key = request.headers().get("idempotency-key").filter(|_| claims);
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
    let key = usable(&key)?;
    let (mut parts, body) = request.into_parts();
    let account = authenticate(app, &parts).await?;
    let bytes =
        axum::body::to_bytes(body, MAX_CALENDAR).await.map_err(|_| ApiError::TooLarge(MAX_CALENDAR))?;
    let hash = hash(&[parts.uri.path().as_bytes(), &[0], &bytes]);
    let token = match take(app, account.user.id, key, &hash).await? {
        Taken::Claimed(token) => token,
        Taken::Answered(response) => return Ok(*response),
    };
    parts.extensions.insert(account);
    parts.extensions.insert(token);
    let response = next.run(Request::from_parts(parts, Body::from(bytes))).await;
    if !response.status().is_success() {
        give_up(app, token).await;
    }
    Ok(response)
}

fn usable(key: &HeaderValue) -> Result<&str, ApiError> {
    let usable = key.to_str().ok().filter(|key| (1..=255).contains(&key.len()));
    usable.ok_or_else(|| {
        ApiError::field("invalid", "Idempotency-Key", "Must be 1 to 255 visible ASCII characters.")
    })
}

/// Hashes what a request says, in lower-case hex.
pub(crate) fn hash(parts: &[&[u8]]) -> String {
    let mut hash = Sha256::new();
    parts.iter().for_each(|part| hash.update(part));
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What taking a key leads to.
enum Taken {
    Claimed(ClaimToken),
    /// The first answer, again.
    Answered(Box<Response>),
}

async fn take(app: &App, user: UserId, key: &str, hash: &str) -> Result<Taken, ApiError> {
    let process = &app.process;
    let (token, now) = (ClaimToken::new(), process.desk.clock.now());
    let mut tx = process.db.begin().await?;
    let claim = idempotency::claim(&mut tx, user, key, hash, token, now, now + CLAIMED).await?;
    let _ = tx.commit().await?;
    match claim {
        Claim::Taken => Ok(Taken::Claimed(token)),
        Claim::Running => Err(running()),
        Claim::Mismatch => {
            let why = "This key was used for another request; take a new one for each.";
            Err(ApiError::field("key_reused", "Idempotency-Key", why))
        }
        Claim::Answered(answer) => {
            let mut response = respond(answer);
            response.headers_mut().insert("idempotent-replayed", HeaderValue::from_static("true"));
            Ok(Taken::Answered(Box::new(response)))
        }
    }
}

/// Claims the key of a request with a file, if it has one, once the file is hashed; gives the first answer where it was
/// answered before.
pub(crate) async fn claim(
    call: &mut Call,
    headers: &HeaderMap,
    content: &str,
) -> Result<Option<Response>, ApiError> {
    let Some(key) = headers.get("idempotency-key") else { return Ok(None) };
    let hash = hash(&[b"file", content.as_bytes()]);
    match take(&call.app, call.user.id, usable(key)?, &hash).await? {
        Taken::Claimed(token) => call.claim = Some(token),
        Taken::Answered(response) => return Ok(Some(*response)),
    }
    Ok(None)
}

/// Lets the key of such a request go where nothing happened.
pub(crate) async fn settle(call: &Call, answer: Result<Response, ApiError>) -> Result<Response, ApiError> {
    if let (Err(_), Some(token)) = (&answer, call.claim) {
        give_up(&call.app, token).await;
    }
    answer
}

/// Nothing happened, so the same request may be tried again. Should this fail, the claim expires.
async fn give_up(app: &App, token: ClaimToken) {
    if let Err(error) = release(app, token).await {
        tracing::warn!(%error, "could not release an idempotency key; it expires in a minute");
    }
}

async fn release(app: &App, token: ClaimToken) -> store::Result<()> {
    let mut tx = app.process.db.begin().await?;
    idempotency::release(&mut tx, token).await?;
    let _ = tx.commit().await?;
    Ok(())
}

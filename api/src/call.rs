//! One request by a known caller, and how its effect and its answer are committed as one.

use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::{FromRequest, FromRequestParts, Path, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use axum::response::Response;
use serde::Serialize;
use shared::domain::access::{Action, Area, Caller};
use shared::ids::{ClaimToken, TicketId, UserId};
use shared::store::accounts;
use shared::store::api_keys::ApiKey;
use shared::store::desk::{self, Actor, Who};
use shared::store::idempotency::Answer;
use shared::store::tickets::Ticket;
use shared::store::users::User;
use shared::store::{Tx, definitions, edit, idempotency, tickets};

use crate::app::App;
use crate::auth::issuer::Issuer;
use crate::auth::{Account, keys};
use crate::client;
use crate::envelope::{Envelope, respond};
use crate::error::ApiError;
use crate::form::Form;

/// At most as many bytes to a JSON body.
pub(crate) const MAX_BODY: usize = 256 * 1024;

const fn unseen(area: Area) -> &'static str {
    match area {
        Area::Rules | Area::Overrides => "Only staff may see calendars, policies, schedules and teams.",
        Area::Accounts => "Only staff may see users.",
        Area::Contacts => "Only staff may see contacts.",
        Area::Webhooks => "Only an admin may see webhooks.",
        Area::Imports => "Only staff may see imports.",
        Area::Reports => "Only staff may see reports.",
        Area::Operations => "Only an admin may see jobs and notifications.",
    }
}

const fn unchanging(area: Area) -> &'static str {
    match area {
        Area::Rules => {
            "Only team leads, managers and admins may change calendars, policies, schedules and teams."
        }
        Area::Overrides => "Only staff may change who is on call.",
        Area::Accounts => "Only an admin may change users.",
        Area::Contacts => "Only staff may change contacts.",
        Area::Webhooks => "Only an admin may change webhooks.",
        Area::Imports => "Only staff may import tickets.",
        Area::Reports => "Only staff may make reports.",
        Area::Operations => "Only an admin may change jobs.",
    }
}

/// At most as many bytes to an iCalendar file, and so to any body at all.
pub(crate) const MAX_CALENDAR: usize = 1024 * 1024;

/// A request by a known caller; it takes no query.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) app: App,
    pub(crate) user: Arc<User>,
    /// What they may.
    pub(crate) caller: Arc<Caller>,
    /// The key they came with, if they did.
    pub(crate) key: Option<Arc<ApiKey>>,
    /// The claim on the request's idempotency key, if it has one.
    pub(crate) claim: Option<ClaimToken>,
    ip: Option<String>,
    /// The version that `If-Match` names; only what changes a version looks at it.
    if_match: Result<Option<i64>, ApiError>,
}

impl FromRequestParts<App> for Call {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let call = Self::read(parts, app).await?;
        Form::query(parts.uri.query().unwrap_or_default()).finish()?;
        Ok(call)
    }
}

/// A request by a known caller for a list, with the query that narrows it.
#[derive(Debug)]
pub(crate) struct Listing {
    pub(crate) call: Call,
    pub(crate) query: Form,
}

impl FromRequestParts<App> for Listing {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let call = Call::read(parts, app).await?;
        Ok(Self { call, query: Form::query(parts.uri.query().unwrap_or_default()) })
    }
}

/// A request for what two names in a path lead to, such as an override of a schedule.
#[derive(Debug)]
pub(crate) struct Names(pub(crate) String, pub(crate) String);

impl FromRequestParts<App> for Names {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Infallible> {
        let path = Path::<(String, String)>::from_request_parts(parts, app).await;
        let (outer, inner) = path.map(|Path(names)| names).unwrap_or_default();
        Ok(Self(outer, inner))
    }
}

/// What a path names. One that is not even text names nothing.
#[derive(Debug)]
pub(crate) struct Name(pub(crate) String);

impl FromRequestParts<App> for Name {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Infallible> {
        let path = Path::<String>::from_request_parts(parts, app).await;
        Ok(Self(path.map(|Path(name)| name).unwrap_or_default()))
    }
}

impl Call {
    async fn read(parts: &Parts, app: &App) -> Result<Self, ApiError> {
        let account = authenticate(app, parts).await?;
        let Account { user, caller, key } = account;
        let ip = client::address(&parts.extensions).map(|address| address.to_string());
        let claim = parts.extensions.get::<ClaimToken>().copied();
        Ok(Self { app: app.clone(), user, caller, key, claim, ip, if_match: if_match(&parts.headers) })
    }
}

/// Finds out who is calling, and whether what they came with is good for what they ask.
pub(crate) async fn authenticate(app: &App, parts: &Parts) -> Result<Account, ApiError> {
    if let Some(account) = parts.extensions.get::<Account>() {
        return Ok(account.clone());
    }
    if let Some(key) = parts.headers.get("x-api-key") {
        return keys::authenticate(app, key, parts).await;
    }
    let header = parts.headers.get(header::AUTHORIZATION).ok_or(ApiError::Unauthorized(
        "Sign in and send Authorization: Bearer <token>, or send an API key as X-Api-Key.",
    ))?;
    let token = header.to_str().ok().and_then(|value| value.split_once(' '));
    let token =
        token.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")).map(|(_, token)| token.trim());
    let (db, now) = (&app.process.db, app.process.desk.clock.now());
    let expired = ApiError::Unauthorized("The token is not valid or has expired; sign in again.");
    let Some(token) = token else { return Err(expired) };
    let signed = app.tokens.read(token, now);
    let id = match (&app.issuer, signed) {
        (_, Some(signed)) => signed.user,
        (Some(issuer), None) if Issuer::may_have_signed(token) => issuer.user(db, token, now).await?,
        _ => return Err(expired),
    };
    let account = app.accounts.enabled(db, id).await?;
    let account = account.ok_or(ApiError::Unauthorized("The account is disabled or gone."))?;
    if signed.is_some_and(|signed| signed.is_overtaken(&account.user)) {
        return Err(expired);
    }
    Ok(account)
}

fn if_match(headers: &HeaderMap) -> Result<Option<i64>, ApiError> {
    let Some(value) = headers.get(header::IF_MATCH) else { return Ok(None) };
    let value = value.to_str().unwrap_or("?").trim();
    match value {
        "*" => return Ok(None),
        // A list without any version matches none.
        "" => return Err(ApiError::Stale("If-Match names no version.".into())),
        _ => {}
    }
    let version = value.trim_start_matches("W/").trim_matches('"').parse();
    version.map(Some).map_err(|_| {
        ApiError::Malformed("If-Match must be the ETag of what is changed, such as \"3\".".into())
    })
}

impl Call {
    /// The caller as one who acts on tickets.
    pub(crate) fn actor(&self) -> Actor {
        Actor { who: Who::Caller(Arc::clone(&self.caller)), ip: self.ip.clone() }
    }

    /// The version the caller expects, from `If-Match` or from the body.
    pub(crate) fn expects(&self, in_body: Option<i64>) -> Result<Option<i64>, ApiError> {
        match (self.if_match.clone()?, in_body) {
            (Some(header), Some(body)) if header != body => {
                let why = "Must be the version that If-Match names, where both are sent.";
                Err(ApiError::field("invalid", "version", why))
            }
            (header, body) => Ok(header.or(body)),
        }
    }

    fn has_if_match(&self) -> bool {
        matches!(self.if_match, Ok(Some(_)))
    }

    /// Renders a desk error: a stale version is 412 where `If-Match` named it, 409 where the body did.
    pub(crate) fn refused(&self, error: desk::Error) -> ApiError {
        match error {
            desk::Error::Stale { .. } if self.has_if_match() => {
                ApiError::Stale(format!("{}.", capital(&error.to_string())))
            }
            error => error.into(),
        }
    }

    /// Says that a version is stale: 412 where `If-Match` named it, 409 where the body did.
    pub(crate) fn stale(&self, why: String) -> ApiError {
        if self.has_if_match() { ApiError::Stale(why) } else { ApiError::Conflict("version_conflict", why) }
    }

    /// Renders why a definition was not changed, in the same way.
    pub(crate) fn unchanged(&self, error: definitions::Error) -> ApiError {
        match error {
            definitions::Error::Stale { .. } if self.has_if_match() => {
                ApiError::Stale(format!("{}.", capital(&error.to_string())))
            }
            error => error.into(),
        }
    }

    /// Renders why an account, a key or a contact was not changed, in the same way.
    pub(crate) fn unedited(&self, error: edit::Error) -> ApiError {
        match error {
            edit::Error::Stale { .. } if self.has_if_match() => {
                ApiError::Stale(format!("{}.", capital(&error.to_string())))
            }
            error => error.into(),
        }
    }

    /// The caller as one who changes accounts, now.
    pub(crate) fn on_record(&self) -> accounts::By {
        accounts::By {
            actor: Some(self.user.id),
            ip: self.ip.clone(),
            now: self.app.process.desk.clock.now(),
        }
    }

    /// Refuses callers whose role may not read what is in an area.
    pub(crate) fn sees(&self, area: Area) -> Result<(), ApiError> {
        if self.caller.role.may_see(area) { Ok(()) } else { Err(ApiError::Forbidden(unseen(area))) }
    }

    /// Refuses callers whose role may not change what is in an area.
    pub(crate) fn changes(&self, area: Area) -> Result<(), ApiError> {
        if self.caller.role.may_change(area) { Ok(()) } else { Err(ApiError::Forbidden(unchanging(area))) }
    }

    /// Refuses callers whose role may not do something to a ticket that they see. What changes a ticket is judged again
    /// by the desk, under the ticket's lock.
    pub(crate) fn may(&self, action: Action, ticket: &Ticket) -> Result<(), ApiError> {
        if self.caller.may(action, &ticket.standing()) {
            Ok(())
        } else {
            Err(ApiError::Forbidden(desk::refusal(action)))
        }
    }

    /// The tickets that the caller may see: all when `None`, else those that this user reported.
    pub(crate) fn visible_to(&self) -> Option<UserId> {
        (!self.caller.role.is_staff()).then_some(self.caller.user)
    }

    /// Finds the ticket that a path names by identifier or number, if the caller may see it.
    pub(crate) async fn ticket(&self, name: &str) -> Result<Ticket, ApiError> {
        let id = self.ticket_id(name).await?;
        let ticket = tickets::get(&self.app.process.db, id).await?;
        let seen = ticket.filter(|ticket| {
            ticket.deleted_at.is_none() && self.caller.may(Action::View, &ticket.standing())
        });
        seen.ok_or(ApiError::NotFound("ticket"))
    }

    /// The caller as one who changes definitions, now.
    pub(crate) fn by(&self) -> definitions::By {
        definitions::By { actor: Some(self.user.id), now: self.app.process.desk.clock.now() }
    }

    /// Reads which ticket a path names by identifier or number. Whether the caller may see it, or there is one at all,
    /// the desk tells.
    pub(crate) async fn ticket_id(&self, name: &str) -> Result<TicketId, ApiError> {
        if let Ok(id) = name.parse() {
            return Ok(id);
        }
        let digits =
            name.strip_prefix("INC-").filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
        let number: Option<i64> = digits.and_then(|digits| digits.parse().ok());
        let number = number.ok_or(ApiError::NotFound("ticket"))?;
        tickets::by_number(&self.app.process.db, number).await?.ok_or(ApiError::NotFound("ticket"))
    }

    pub(crate) async fn begin(&self) -> Result<Tx, ApiError> {
        Ok(self.app.process.db.begin().await?)
    }

    /// Commits the effect together with the answer, so that a repeated request gets the answer and has no effect.
    pub(crate) async fn commit<T: Serialize>(
        &self,
        tx: Tx,
        envelope: Envelope<T>,
    ) -> Result<Response, ApiError> {
        let answer = rendered(&envelope)?;
        self.conclude(tx, &answer).await?;
        Ok(respond(answer))
    }

    /// Commits in the same way, but answers with a secret that is shown once: a repeated request gets `stored`.
    pub(crate) async fn commit_secret<T: Serialize, S: Serialize>(
        &self,
        tx: Tx,
        stored: Envelope<T>,
        shown: Envelope<S>,
    ) -> Result<Response, ApiError> {
        let answer = rendered(&shown)?;
        self.conclude(tx, &rendered(&stored)?).await?;
        Ok(respond(answer))
    }

    async fn conclude(&self, mut tx: Tx, answer: &Answer) -> Result<(), ApiError> {
        if let Some(claim) = self.claim
            && !idempotency::store(&mut tx, claim, answer).await?
        {
            tx.rollback().await?;
            return Err(crate::idempotency::running());
        }
        self.app.process.queue.push(tx.commit().await?);
        Ok(())
    }
}

fn rendered<T: Serialize>(envelope: &Envelope<T>) -> Result<Answer, ApiError> {
    envelope.render().map_err(|error| ApiError::Internal(error.to_string()))
}

fn capital(text: &str) -> String {
    text[..1].to_uppercase() + &text[1..]
}

/// An iCalendar file.
#[derive(Debug)]
pub(crate) struct CalendarFile(pub(crate) String);

impl FromRequest<App> for CalendarFile {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &App) -> Result<Self, ApiError> {
        if !is_media_type(request.headers(), "text/calendar") {
            return Err(ApiError::NotCalendar);
        }
        let bytes = axum::body::to_bytes(request.into_body(), MAX_CALENDAR).await;
        let bytes = bytes.map_err(|_| ApiError::TooLarge(MAX_CALENDAR))?;
        let text = String::from_utf8(bytes.into());
        text.map(Self).map_err(|_| ApiError::Malformed("The body is not UTF-8 text.".into()))
    }
}

/// Tells whether a body is said to be of a type.
pub(crate) fn is_media_type(headers: &HeaderMap, wanted: &str) -> bool {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    value.is_some_and(|v| v.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(wanted))
}

/// The fields of a JSON body.
pub(crate) struct Body(pub(crate) Form);

impl FromRequest<App> for Body {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &App) -> Result<Self, ApiError> {
        let json = is_media_type(request.headers(), "application/json");
        let bytes = axum::body::to_bytes(request.into_body(), MAX_BODY)
            .await
            .map_err(|_| ApiError::TooLarge(MAX_BODY))?;
        if !json && !bytes.is_empty() {
            return Err(ApiError::NotJson);
        }
        Ok(Self(Form::json(&bytes)?))
    }
}

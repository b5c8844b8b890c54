//! What only on-call schedules have: who is on call, and exceptions.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use chrono::TimeDelta;
use serde_json::{Value, json};
use shared::domain::access::Area;
use shared::domain::definition::Kind;
use shared::domain::oncall::{Because, Definition, Override, Rota};
use shared::ids::{OverrideId, UserId};
use shared::store::definitions::{self, Draft};
use shared::store::users::{self, User};

use super::definitions::{body, find, find_locked};
use crate::call::{Body, Call, Listing, Name, Names};
use crate::defined::{judge, read_override, stored};
use crate::envelope::Envelope;
use crate::error::ApiError;
use crate::form::Form;
use crate::openapi::answers::{OnCall, Shift};
use crate::openapi::bodies::NewOverride;
use crate::openapi::queries;

/// The longest time that shifts are listed for.
const LONGEST: TimeDelta = TimeDelta::days(90);

/// Tells who is on call at an instant, by default now, and why.
#[utoipa::path(
    get, path = "/schedules/{id}/on-call", tag = "schedules",
    params(queries::At),
    responses((status = 200, description = "Who it is.", body = OnCall)),
)]
pub(super) async fn show_on_call(
    Listing { call, mut query }: Listing,
    Name(name): Name,
) -> Result<Envelope<Value>, ApiError> {
    call.sees(Area::Rules)?;
    let at = query.time("at").unwrap_or(call.by().now);
    query.finish()?;
    let rota = rota(&call, &name).await?;
    let who = rota.who(at);
    let user = match &who {
        Some(who) => users::get(&call.app.process.db, who.user).await?,
        None => None,
    };
    let mut view = json!({ "at": at, "user": user.as_ref().map(person) });
    match who.map(|who| who.because) {
        Some(Because::Override(id)) => view["override"] = json!(id),
        Some(Because::Layer(name)) => view["layer"] = name.into(),
        None => {}
    }
    Ok(Envelope::ok(view))
}

/// Lists who is on call from one time to another, at most 90 days later, without holes.
#[utoipa::path(
    get, path = "/schedules/{id}/shifts", tag = "schedules",
    params(queries::Period),
    responses((status = 200, description = "Who it is, without holes.", body = Vec<Shift>)),
)]
pub(super) async fn list_shifts(
    Listing { call, mut query }: Listing,
    Name(name): Name,
) -> Result<Envelope<Vec<Value>>, ApiError> {
    call.sees(Area::Rules)?;
    let from = query.required("from", Form::instant);
    let to = query.required("to", Form::instant);
    if let (Some(from), Some(to)) = (from, to)
        && !(from < to && to - from <= LONGEST)
    {
        query.complain("invalid", "to", "Must be after from, and at most 90 days after it.");
    }
    query.finish()?;
    let (from, to) = from.zip(to).ok_or(ApiError::NotFound("time"))?;
    let shifts = rota(&call, &name).await?.shifts(from, to);
    let mut ids: Vec<UserId> = shifts.iter().filter_map(|shift| shift.user).collect();
    ids.sort_unstable();
    ids.dedup();
    let people = users::of_ids(&call.app.process.db, &ids).await?;
    let view = |shift: shared::domain::oncall::Shift| {
        let user = people.iter().find(|user| Some(user.id) == shift.user);
        json!({ "from": shift.from, "to": shift.to, "user": user.map(person) })
    };
    Ok(Envelope::ok(shifts.into_iter().map(view).collect()))
}

async fn rota(call: &Call, name: &str) -> Result<Rota, ApiError> {
    let found = find(&call.app.process.db, Kind::Schedule, name).await?;
    let schedule: Definition = stored(found.body.0)?;
    Rota::new(&schedule)
        .map_err(|problems| ApiError::Internal(format!("a stored schedule is wrong: {problems:?}")))
}

fn person(user: &User) -> Value {
    json!({ "id": user.id, "name": user.name, "email": user.email })
}

/// Lists the exceptions, in the order in which they were added.
#[utoipa::path(
    get, path = "/schedules/{id}/overrides", tag = "schedules",
    responses((status = 200, description = "The exceptions.", body = Vec<Override>)),
)]
pub(super) async fn list_overrides(
    call: Call,
    Name(name): Name,
) -> Result<Envelope<Vec<Override>>, ApiError> {
    call.sees(Area::Rules)?;
    let found = find(&call.app.process.db, Kind::Schedule, &name).await?;
    let schedule: Definition = stored(found.body.0)?;
    Ok(Envelope::ok(schedule.overrides))
}

/// Puts somebody else on call for a while.
#[utoipa::path(
    post, path = "/schedules/{id}/overrides", tag = "schedules",
    request_body = NewOverride,
    responses((status = 201, description = "The exception.", body = Override), (status = 412)),
)]
pub(super) async fn add_override(
    call: Call,
    Name(name): Name,
    Body(mut form): Body,
) -> Result<Response, ApiError> {
    call.changes(Area::Overrides)?;
    let mut tx = call.begin().await?;
    let found = find_locked(&mut tx, Kind::Schedule, &name).await?;
    let exception = read_override(&mut form);
    let mut schedule: Definition = stored(found.body.0)?;
    let place = format!("overrides[{}].", schedule.overrides.len());
    schedule.overrides.extend(exception);
    judge(&mut tx, form, &schedule).await.map_err(|error| error.below(&place))?;
    let draft = Draft { name: found.name, position: None, body: body(&schedule)? };
    let expected = call.expects(None)?;
    let made = definitions::update(&mut tx, Kind::Schedule, found.id, expected, draft, call.by()).await;
    made.map_err(|error| call.unchanged(error))?;
    call.commit(tx, Envelope::created(schedule.overrides.pop())).await
}

/// Takes an exception back.
#[utoipa::path(
    delete, path = "/schedules/{id}/overrides/{override}", tag = "schedules",
    responses((status = 204, description = "It is gone."), (status = 412)),
)]
pub(super) async fn delete_override(call: Call, Names(name, id): Names) -> Result<Response, ApiError> {
    call.changes(Area::Overrides)?;
    let id: OverrideId = id.parse().map_err(|_| ApiError::NotFound("override"))?;
    let mut tx = call.begin().await?;
    let found = find_locked(&mut tx, Kind::Schedule, &name).await?;
    let mut schedule: Definition = stored(found.body.0)?;
    let before = schedule.overrides.len();
    schedule.overrides.retain(|exception| exception.id != id);
    if schedule.overrides.len() == before {
        return Err(ApiError::NotFound("override"));
    }
    let draft = Draft { name: found.name, position: None, body: body(&schedule)? };
    let expected = call.expects(None)?;
    let made = definitions::update(&mut tx, Kind::Schedule, found.id, expected, draft, call.by()).await;
    made.map_err(|error| call.unchanged(error))?;
    call.app.process.queue.push(tx.commit().await?);
    Ok(StatusCode::NO_CONTENT.into_response())
}

//! A ticket's clocks.

use axum::response::Response;
use shared::domain::sla::explain::explain;
use shared::ids::ClockId;
use shared::store::{clocks, definitions, desk};

use crate::call::{Body, Call, Name};
use crate::envelope::Envelope;
use crate::error::ApiError;
use crate::openapi::bodies::{Nothing, Pause};
use crate::views::{ClockView, ExplainView};

/// Lists a ticket's clocks as they stand now.
#[utoipa::path(
    get, path = "/tickets/{id}/sla", tag = "slas",
    responses((status = 200, description = "The clocks as of now.", body = Vec<ClockView>)),
)]
pub(super) async fn list_slas(call: Call, Name(name): Name) -> Result<Envelope<Vec<ClockView>>, ApiError> {
    let id = call.ticket(&name).await?.id;
    let db = &call.app.process.db;
    let now = call.app.process.desk.clock.now();
    let clocks = clocks::of_ticket(db, id).await?;
    Ok(Envelope::ok(clocks.into_iter().map(|stored| ClockView::new(stored, now)).collect()))
}

/// At most as many segments to an explanation; a clock of years has thousands.
const SEGMENTS: usize = 2_000;

/// Explains when a clock is due: lists every open, closed and paused stretch behind it, in the calendar's zone too.
#[utoipa::path(
    get, path = "/slas/{id}/explain", tag = "slas",
    responses((status = 200, description = "Why it is due when it is.", body = ExplainView)),
)]
pub(super) async fn explain_sla(call: Call, Name(name): Name) -> Result<Envelope<ExplainView>, ApiError> {
    let db = &call.app.process.db;
    let unknown = ApiError::NotFound("sla clock");
    let stored = clocks::get(db, clock_id(&name)?).await?.ok_or_else(|| unknown.clone())?;
    call.ticket(&stored.ticket_id.to_string()).await.map_err(|error| match error {
        ApiError::NotFound(_) => unknown,
        error => error,
    })?;
    let events = clocks::events(db, stored.id).await?;
    let calendar = match stored.clock.calendar.version() {
        Some(version) => definitions::version(db, version).await?,
        None => None,
    };
    let now = call.app.process.desk.clock.now().max(stored.clock.last_at);
    let until = stored.clock.due_at().max(stored.clock.breach_at()).unwrap_or(now).max(now);
    let explained = explain(&stored.clock, &events, until, SEGMENTS);
    Ok(Envelope::ok(ExplainView::new(stored, calendar, events, explained, now)))
}

/// Stops a clock until it is resumed; pausing a paused clock changes nothing.
#[utoipa::path(
    patch, path = "/slas/{id}/pause", tag = "slas",
    request_body = Pause,
    responses((status = 200, description = "The clock as of now.", body = ClockView)),
)]
pub(super) async fn pause_sla(
    call: Call,
    Name(name): Name,
    Body(mut form): Body,
) -> Result<Response, ApiError> {
    let reason = form.required("reason", |f, name| f.line(name, 500));
    form.finish()?;
    let id = clock_id(&name)?;
    let mut tx = call.begin().await?;
    let paused = call.app.process.desk.pause(&mut tx, id, &call.actor(), reason.unwrap_or_default()).await;
    let stored = paused.map_err(unseen)?;
    let now = call.app.process.desk.clock.now();
    call.commit(tx, Envelope::ok(ClockView::new(stored, now))).await
}

/// Lets a paused clock go on; resuming a running clock changes nothing.
#[utoipa::path(
    patch, path = "/slas/{id}/resume", tag = "slas",
    request_body = Option<Nothing>,
    responses((status = 200, description = "The clock as of now.", body = ClockView)),
)]
pub(super) async fn resume_sla(call: Call, Name(name): Name, Body(form): Body) -> Result<Response, ApiError> {
    form.finish()?;
    let id = clock_id(&name)?;
    let mut tx = call.begin().await?;
    let stored = call.app.process.desk.resume(&mut tx, id, &call.actor()).await.map_err(unseen)?;
    let now = call.app.process.desk.clock.now();
    call.commit(tx, Envelope::ok(ClockView::new(stored, now))).await
}

/// A clock of a ticket that the caller may not see is answered for like one that is not there.
fn unseen(error: desk::Error) -> ApiError {
    match error {
        desk::Error::NotFound(_) => ApiError::NotFound("sla clock"),
        error => error.into(),
    }
}

fn clock_id(name: &str) -> Result<ClockId, ApiError> {
    name.parse().map_err(|_| ApiError::NotFound("sla clock"))
}

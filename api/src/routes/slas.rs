//! A ticket's clocks.

use axum::response::Response;
use shared::ids::ClockId;
use shared::store::{clocks, tickets};

use crate::call::{Body, Call, Name};
use crate::envelope::Envelope;
use crate::error::ApiError;
use crate::views::ClockView;

/// Lists a ticket's clocks as they stand now.
pub(super) async fn list_slas(call: Call, Name(name): Name) -> Result<Envelope<Vec<ClockView>>, ApiError> {
    let id = call.ticket_id(&name).await?;
    let db = &call.app.process.db;
    tickets::get(db, id).await?.ok_or(ApiError::NotFound("ticket"))?;
    let now = call.app.process.desk.clock.now();
    let clocks = clocks::of_ticket(db, id).await?;
    Ok(Envelope::ok(clocks.into_iter().map(|stored| ClockView::new(stored, now)).collect()))
}

/// Stops a clock until it is resumed; pausing a paused clock changes nothing.
pub(super) async fn pause_sla(
    call: Call,
    Name(name): Name,
    Body(mut form): Body,
) -> Result<Response, ApiError> {
    let reason = form.required("reason", |f, name| f.line(name, 500));
    form.finish()?;
    let id = clock_id(&name)?;
    let mut tx = call.begin().await?;
    let stored = call.app.process.desk.pause(&mut tx, id, &call.actor(), reason.unwrap_or_default()).await?;
    let now = call.app.process.desk.clock.now();
    call.commit(tx, Envelope::ok(ClockView::new(stored, now))).await
}

/// Lets a paused clock go on; resuming a running clock changes nothing.
pub(super) async fn resume_sla(call: Call, Name(name): Name, Body(form): Body) -> Result<Response, ApiError> {
    form.finish()?;
    let id = clock_id(&name)?;
    let mut tx = call.begin().await?;
    let stored = call.app.process.desk.resume(&mut tx, id, &call.actor()).await?;
    let now = call.app.process.desk.clock.now();
    call.commit(tx, Envelope::ok(ClockView::new(stored, now))).await
}

fn clock_id(name: &str) -> Result<ClockId, ApiError> {
    name.parse().map_err(|_| ApiError::NotFound("sla clock"))
}

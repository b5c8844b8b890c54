//! What only calendars have: holidays from a file.

use axum::response::Response;
use serde_json::json;
use shared::domain::access::Area;
use shared::domain::definition::Kind;
use shared::domain::sla::calendar::Definition;
use shared::store::definitions::{self, Draft};

use super::definitions::{body, find_locked};
use crate::call::{CalendarFile, Call, Name};
use crate::defined::{judge, stored, view};
use crate::envelope::Envelope;
use crate::error::ApiError;
use crate::form::Form;
use crate::holidays;
use crate::openapi::answers::Holidays;

/// Closes a calendar on the dates of an iCalendar file, whatever it said of them before.
#[utoipa::path(
    post, path = "/calendars/{id}/import", tag = "calendars",
    request_body(content = String, content_type = "text/calendar", example = json!("BEGIN:VCALENDAR\r\nVERSION:2.0\r\nEND:VCALENDAR\r\n")),
    responses((status = 200, description = "What the file brought.", body = Holidays), (status = 412)),
)]
pub(super) async fn import_holidays(
    call: Call,
    Name(name): Name,
    CalendarFile(text): CalendarFile,
) -> Result<Response, ApiError> {
    call.changes(Area::Rules)?;
    let read = tokio::task::spawn_blocking(move || holidays::read(&text)).await;
    let read = read.map_err(|error| ApiError::Internal(error.to_string()))?;
    let holidays = read.map_err(|why| ApiError::Malformed(why.into()))?;
    let mut tx = call.begin().await?;
    let found = find_locked(&mut tx, Kind::Calendar, &name).await?;
    let mut calendar: Definition = stored(found.body.0)?;
    calendar.overrides.extend(holidays.dates.iter().map(|date| (date.to_string(), Vec::new())));
    judge(&mut tx, Form::default(), &calendar).await?;
    let draft = Draft { name: found.name, position: None, body: body(&calendar)? };
    let expected = call.expects(None)?;
    let made = definitions::update(&mut tx, Kind::Calendar, found.id, expected, draft, call.by()).await;
    let made = made.map_err(|error| call.unchanged(error))?;
    let calendar = view::<Definition>(made);
    let answer = json!({ "imported": holidays.events, "skipped": holidays.skipped, "calendar": calendar });
    call.commit(tx, Envelope::ok(answer)).await
}

//! What becomes of a ticket: its status, and whom it is with.

use axum::response::Response;
use shared::domain::ticket::Status;
use shared::ids::TicketId;
use shared::store::desk::{Assignment, Refusal};

use super::ticket_form::{read_assignee, read_team, read_version};
use super::ticket_list::with_labels;
use super::tickets::answer;
use crate::call::{Body, Call, Name};
use crate::envelope::Envelope;
use crate::error::{ApiError, FieldError};
use crate::form::Form;
use crate::openapi::bodies::{BulkMove, Expected, Move, NewAssignment};
use crate::views::TicketView;

/// At most as many tickets are moved at once.
const TICKETS: usize = 100;

/// Moves a ticket to the status in the body.
#[utoipa::path(
    patch, path = "/tickets/{id}/status", tag = "tickets",
    request_body = Move,
    responses((status = 200, description = "The ticket as it is now.", body = TicketView)),
)]
pub(super) async fn move_ticket(
    call: Call,
    Name(name): Name,
    Body(mut form): Body,
) -> Result<Response, ApiError> {
    let status = form.required("status", Form::word);
    let version = form.number("version", 1..=i64::MAX);
    form.finish()?;
    let status = status.ok_or(ApiError::NotFound("status"))?;
    move_to(&call, &name, version, status).await
}

/// Resolves a ticket.
#[utoipa::path(
    method(post, patch), path = "/tickets/{id}/resolve", tag = "tickets",
    request_body = Option<Expected>,
    responses((status = 200, description = "The ticket as it is now.", body = TicketView)),
)]
pub(super) async fn resolve_ticket(call: Call, Name(name): Name, body: Body) -> Result<Response, ApiError> {
    move_to(&call, &name, read_version(body)?, Status::Resolved).await
}

/// Closes a resolved ticket.
#[utoipa::path(
    post, path = "/tickets/{id}/close", tag = "tickets",
    request_body = Option<Expected>,
    responses((status = 200, description = "The ticket as it is now.", body = TicketView)),
)]
pub(super) async fn close_ticket(call: Call, Name(name): Name, body: Body) -> Result<Response, ApiError> {
    move_to(&call, &name, read_version(body)?, Status::Closed).await
}

/// Reopens a resolved ticket, or one closed not long ago.
#[utoipa::path(
    post, path = "/tickets/{id}/reopen", tag = "tickets",
    request_body = Option<Expected>,
    responses((status = 200, description = "The ticket as it is now.", body = TicketView)),
)]
pub(super) async fn reopen_ticket(call: Call, Name(name): Name, body: Body) -> Result<Response, ApiError> {
    move_to(&call, &name, read_version(body)?, Status::Reopened).await
}

/// Takes a ticket on, which stops its escalation.
#[utoipa::path(
    post, path = "/tickets/{id}/acknowledge", tag = "tickets",
    request_body = Option<Expected>,
    responses((status = 200, description = "The ticket as it is now.", body = TicketView)),
)]
pub(super) async fn acknowledge_ticket(
    call: Call,
    Name(name): Name,
    body: Body,
) -> Result<Response, ApiError> {
    let expected = call.expects(read_version(body)?)?;
    let id = call.ticket_id(&name).await?;
    let mut tx = call.begin().await?;
    let taken = call.app.process.desk.acknowledge(&mut tx, id, expected, &call.actor()).await;
    let ticket = taken.map_err(|error| call.refused(error))?;
    answer(&call, tx, ticket).await
}

/// Gives a ticket to somebody, or, by null, takes it from them.
#[utoipa::path(
    put, path = "/tickets/{id}/assign", tag = "tickets",
    request_body = NewAssignment,
    responses((status = 200, description = "The ticket as it is now.", body = TicketView)),
)]
pub(super) async fn assign_ticket(
    call: Call,
    Name(name): Name,
    Body(mut form): Body,
) -> Result<Response, ApiError> {
    let is_said = form.has("assignee_id") || form.has("team_id");
    let assignee = read_assignee(&call, &mut form).await?;
    let team = read_team(&call, &mut form).await?;
    let version = form.number("version", 1..=i64::MAX);
    if !is_said {
        form.complain(
            "required",
            "assignee_id",
            "Is required, unless team_id is given; null takes the ticket away.",
        );
    }
    form.finish()?;
    let expected = call.expects(version)?;
    let id = call.ticket_id(&name).await?;
    let mut tx = call.begin().await?;
    let to = Assignment { assignee, team };
    let assigned = call.app.process.desk.assign(&mut tx, id, expected, &call.actor(), to).await;
    let ticket = assigned.map_err(|error| call.refused(error))?;
    answer(&call, tx, ticket).await
}

/// Moves many tickets to one status, all or none.
#[utoipa::path(
    post, path = "/tickets/bulk-status", tag = "tickets",
    request_body = BulkMove,
    responses((status = 200, description = "The tickets as they are now.", body = Vec<TicketView>)),
)]
pub(super) async fn move_tickets(call: Call, Body(mut form): Body) -> Result<Response, ApiError> {
    let names = form.required("ticket_ids", |f, name| f.items(name, |f, place| f.line(place, 50)));
    let status: Option<Status> = form.required("status", Form::word);
    let names = names.unwrap_or_default();
    if names.len() > TICKETS {
        form.complain("too_long", "ticket_ids", format!("Must be at most {TICKETS}."));
    } else if names.is_empty() {
        form.complain_unless_known("empty", "ticket_ids", "Must name at least one ticket.");
    }
    form.finish()?;
    let status = status.ok_or(ApiError::NotFound("status"))?;
    let mut places: Vec<(TicketId, usize)> = Vec::new();
    let mut refused = Vec::new();
    for (place, name) in names.iter().enumerate() {
        // Read, not only named: that two names are one ticket is for those to know who see it.
        match call.ticket(name).await {
            Ok(ticket) if places.iter().any(|(id, _)| *id == ticket.id) => {
                refused.push(refusal(
                    place,
                    name,
                    &ApiError::Conflict("repeated", "It is named twice.".into()),
                ));
            }
            Ok(ticket) => places.push((ticket.id, place)),
            Err(error @ ApiError::NotFound(_)) => refused.push(refusal(place, name, &error)),
            Err(error) => return Err(error),
        }
    }
    let ids: Vec<TicketId> = places.iter().map(|(id, _)| *id).collect();
    let mut tx = call.begin().await?;
    let moved = match call.app.process.desk.move_all(&mut tx, &ids, &call.actor(), status).await? {
        Ok(moved) => moved,
        Err(refusals) => {
            let place = |id| places.iter().find(|(other, _)| *other == id).map_or(0, |(_, place)| *place);
            refused.extend(refusals.into_iter().map(|Refusal { ticket, error }| {
                let place = place(ticket);
                refusal(place, &names[place], &error.into())
            }));
            Vec::new()
        }
    };
    if !refused.is_empty() {
        tx.rollback().await?;
        return Err(ApiError::Refused(refused));
    }
    let views = with_labels(&mut tx, moved).await?;
    call.commit(tx, Envelope::ok(views)).await
}

/// Says why one of many tickets was not moved.
fn refusal(place: usize, name: &str, why: &ApiError) -> FieldError {
    let (_, code, message) = why.story();
    FieldError { code, field: Some(format!("ticket_ids[{place}]")), message: format!("{name}: {message}") }
}

async fn move_to(call: &Call, name: &str, version: Option<i64>, to: Status) -> Result<Response, ApiError> {
    let expected = call.expects(version)?;
    let id = call.ticket_id(name).await?;
    let mut tx = call.begin().await?;
    let moved = call.app.process.desk.move_to(&mut tx, id, expected, &call.actor(), to).await;
    let ticket = moved.map_err(|error| call.refused(error))?;
    answer(call, tx, ticket).await
}

//! One ticket at a time.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use shared::domain::access::{Action, Standing};
use shared::store::tickets::{self, Ticket};
use shared::store::{Tx, desk};

use super::ticket_form::{Edit, read_draft, read_edit, read_replacement};
use crate::call::{Body, Call, Name};
use crate::envelope::Envelope;
use crate::error::ApiError;
use crate::openapi::bodies::{NewLabels, NewTicket, TicketEdit, TicketReplacement};
use crate::views::{ChangeView, TicketView};

/// Opens a ticket, which starts its clocks and tells the people concerned.
#[utoipa::path(
    post, path = "/tickets", tag = "tickets",
    request_body = NewTicket,
    responses((status = 201, description = "The ticket.", body = TicketView)),
)]
pub(super) async fn open_ticket(call: Call, Body(form): Body) -> Result<Response, ApiError> {
    let draft = read_draft(&call, form).await?;
    let nobody = Standing { reporter: call.user.id, assignee: None, team: None };
    let given = Standing { assignee: draft.assignee_id, team: draft.team_id, ..nobody };
    // Asked here as well, so that one who may not does not hold up the batch it would be in.
    if !call.caller.may_give(&nobody, &given) {
        return Err(ApiError::Forbidden(desk::refusal(Action::Assign)));
    }
    let labels = draft.labels.clone();
    if call.claim.is_none() {
        let ticket = call.app.creator.open(draft).await?;
        let version = ticket.version;
        return Ok(Envelope::created(TicketView::new(ticket, labels)).etag(version).into_response());
    }
    let mut tx = call.begin().await?;
    let mut opened = call.app.process.desk.open(&mut tx, vec![draft]).await?;
    let ticket = opened.pop().ok_or(ApiError::NotFound("ticket"))?;
    let version = ticket.version;
    call.commit(tx, Envelope::created(TicketView::new(ticket, labels)).etag(version)).await
}

/// Shows a ticket.
#[utoipa::path(
    get, path = "/tickets/{id}", tag = "tickets",
    responses((status = 200, description = "The ticket as it is now.", body = TicketView)),
)]
pub(super) async fn show_ticket(call: Call, Name(name): Name) -> Result<Envelope<TicketView>, ApiError> {
    let ticket = call.ticket(&name).await?;
    let (labels, version) = (tickets::labels(&call.app.process.db, ticket.id).await?, ticket.version);
    Ok(Envelope::ok(TicketView::new(ticket, labels)).etag(version))
}

/// Changes the fields that are given; null clears those that may be empty.
#[utoipa::path(
    patch, path = "/tickets/{id}", tag = "tickets",
    request_body = TicketEdit,
    responses((status = 200, description = "The ticket as it is now.", body = TicketView)),
)]
pub(super) async fn edit_ticket(
    call: Call,
    Name(name): Name,
    Body(form): Body,
) -> Result<Response, ApiError> {
    let edit = read_edit(&call, form).await?;
    change(&call, &name, edit).await
}

/// Replaces what a ticket says as a whole.
#[utoipa::path(
    put, path = "/tickets/{id}", tag = "tickets",
    request_body = TicketReplacement,
    responses((status = 200, description = "The ticket as it is now.", body = TicketView)),
)]
pub(super) async fn replace_ticket(
    call: Call,
    Name(name): Name,
    Body(form): Body,
) -> Result<Response, ApiError> {
    let edit = read_replacement(&call, form).await?;
    change(&call, &name, edit).await
}

async fn change<F: FnOnce(&mut Ticket)>(
    call: &Call,
    name: &str,
    edit: Edit<F>,
) -> Result<Response, ApiError> {
    let expected = call.expects(edit.version)?;
    let id = call.ticket_id(name).await?;
    let (desk, labels) = (&call.app.process.desk, edit.labels.as_deref());
    let mut tx = call.begin().await?;
    let revised = desk.revise(&mut tx, id, expected, &call.actor(), edit.change, labels).await;
    let ticket = revised.map_err(|error| call.refused(error))?;
    answer(call, tx, ticket).await
}

/// Replaces a ticket's labels, all or nothing.
#[utoipa::path(
    put, path = "/tickets/{id}/labels", tag = "tickets",
    request_body = NewLabels,
    responses((status = 200, description = "The ticket as it is now.", body = TicketView)),
)]
pub(super) async fn replace_labels(
    call: Call,
    Name(name): Name,
    Body(mut form): Body,
) -> Result<Response, ApiError> {
    if !form.has("labels") {
        form.complain("required", "labels", "Is required.");
    }
    let labels = form.labels("labels");
    let version = form.number("version", 1..=i64::MAX);
    form.finish()?;
    let expected = call.expects(version)?;
    let id = call.ticket_id(&name).await?;
    let mut tx = call.begin().await?;
    let relabelled = call.app.process.desk.relabel(&mut tx, id, expected, &call.actor(), &labels).await;
    let ticket = relabelled.map_err(|error| call.refused(error))?;
    answer(&call, tx, ticket).await
}

/// Deletes a ticket: nobody sees it any more, and its clocks no longer count.
#[utoipa::path(
    delete, path = "/tickets/{id}", tag = "tickets",
    responses((status = 204, description = "It is gone."), (status = 412)),
)]
pub(super) async fn delete_ticket(call: Call, Name(name): Name) -> Result<Response, ApiError> {
    let expected = call.expects(None)?;
    let id = call.ticket_id(&name).await?;
    let mut tx = call.begin().await?;
    let deleted = call.app.process.desk.delete(&mut tx, id, expected, &call.actor()).await;
    deleted.map_err(|error| call.refused(error))?;
    call.app.process.queue.push(tx.commit().await?);
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Shows every change of every field, oldest first.
#[utoipa::path(
    get, path = "/tickets/{id}/history", tag = "tickets",
    responses((status = 200, description = "The changes.", body = Vec<ChangeView>)),
)]
pub(super) async fn show_history(
    call: Call,
    Name(name): Name,
) -> Result<Envelope<Vec<ChangeView>>, ApiError> {
    let ticket = call.ticket(&name).await?;
    let mut changes = tickets::history(&call.app.process.db, ticket.id).await?;
    if !call.caller.role.is_staff() {
        changes.retain(|change| !change.internal);
        // Where staff work from is nobody else's business.
        changes.iter_mut().filter(|c| c.actor_id != Some(call.user.id)).for_each(|c| c.ip = None);
    }
    Ok(Envelope::ok(changes.into_iter().map(ChangeView::from).collect()))
}

/// Commits what was done to a ticket, and shows it as it is then.
pub(super) async fn answer(call: &Call, mut tx: Tx, ticket: Ticket) -> Result<Response, ApiError> {
    let labels = tickets::labels(&mut tx, ticket.id).await?;
    let version = ticket.version;
    call.commit(tx, Envelope::ok(TicketView::new(ticket, labels)).etag(version)).await
}

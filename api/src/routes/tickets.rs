//! One ticket at a time.

use axum::response::{IntoResponse, Response};
use shared::domain::definition::Kind;
use shared::domain::ticket::{Category, Priority, Status};
use shared::ids::{DefinitionId, UserId};
use shared::store::definitions;
use shared::store::desk::Draft;
use shared::store::tickets::{self, Ticket};
use shared::telemetry;

use crate::call::{Body, Call, Name};
use crate::envelope::Envelope;
use crate::error::ApiError;
use crate::form::Form;
use crate::openapi::bodies::{Expected, Move, NewTicket, TicketEdit};
use crate::views::{ChangeView, TicketView};

const DESCRIPTION: usize = 65_536;
const NAME: usize = 100;

/// Opens a ticket, which starts its clocks and tells the people concerned.
#[utoipa::path(
    post, path = "/tickets", tag = "tickets",
    request_body = NewTicket,
    responses((status = 201, description = "The ticket.", body = TicketView)),
)]
pub(super) async fn open_ticket(call: Call, Body(form): Body) -> Result<Response, ApiError> {
    let draft = read_draft(&call, form).await?;
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

async fn read_draft(call: &Call, mut form: Form) -> Result<Draft, ApiError> {
    let title = form.required("title", |f, name| f.line(name, 255));
    let description = form.lines("description", DESCRIPTION).flatten();
    let priority = form.word("priority").flatten();
    let category = form.word("category").flatten();
    let environment = form.line("environment", NAME).flatten();
    let affected_service = form.line("affected_service", NAME).flatten();
    let assignee_id = read_assignee(call, &mut form).await?.flatten();
    let team_id = read_team(call, &mut form).await?.flatten();
    let labels = form.labels("labels");
    let (contact_name, contact_email) = read_contact(&mut form).flatten().unwrap_or_default();
    form.finish()?;
    Ok(Draft {
        title: title.unwrap_or_default(),
        description: description.unwrap_or_default(),
        priority: priority.unwrap_or(Priority::Medium),
        category: category.unwrap_or(Category::Incident),
        environment,
        affected_service,
        contact_name,
        contact_email,
        assignee_id,
        team_id,
        labels,
        reporter_id: call.user.id,
        actor: call.actor(),
        traceparent: telemetry::traceparent(),
    })
}

type Contact = (Option<String>, Option<String>);

fn read_contact(form: &mut Form) -> Option<Option<Contact>> {
    let Some(mut contact) = form.object("contact")? else { return Some(None) };
    let name = contact.line("name", NAME).flatten();
    let email = contact.address("email").flatten();
    form.absorb("contact", contact);
    Some(Some((name, email)))
}

/// Reads who is to work on a ticket: somebody who does not exist or may not sign in cannot be given work.
async fn read_assignee(call: &Call, form: &mut Form) -> Result<Option<Option<UserId>>, ApiError> {
    let assignee: Option<Option<UserId>> = form.parse("assignee_id", "the id of a user");
    if let Some(Some(id)) = assignee
        && call.app.accounts.enabled(&call.app.process.db, id).await?.is_none()
    {
        form.complain("unknown_user", "assignee_id", "There is no such user, or they are disabled.");
    }
    Ok(assignee)
}

/// Reads which team a ticket is given to.
async fn read_team(call: &Call, form: &mut Form) -> Result<Option<Option<DefinitionId>>, ApiError> {
    let team: Option<Option<DefinitionId>> = form.parse("team_id", "the id of a team");
    if let Some(Some(id)) = team
        && definitions::get(&call.app.process.db, Kind::Team, id).await?.is_none()
    {
        form.complain("unknown_team", "team_id", "There is no such team.");
    }
    Ok(team)
}

/// Shows a ticket.
#[utoipa::path(
    get, path = "/tickets/{id}", tag = "tickets",
    responses((status = 200, description = "The ticket as it is now.", body = TicketView)),
)]
pub(super) async fn show_ticket(call: Call, Name(name): Name) -> Result<Envelope<TicketView>, ApiError> {
    let id = call.ticket_id(&name).await?;
    let db = &call.app.process.db;
    let ticket = tickets::get(db, id).await?.ok_or(ApiError::NotFound("ticket"))?;
    let version = ticket.version;
    Ok(Envelope::ok(TicketView::new(ticket, tickets::labels(db, id).await?)).etag(version))
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
    let (edit, version) = read_edit(&call, form).await?;
    let expected = call.expects(version)?;
    let id = call.ticket_id(&name).await?;
    let mut tx = call.begin().await?;
    let edited = call.app.process.desk.edit(&mut tx, id, expected, &call.actor(), edit).await;
    let ticket = edited.map_err(|error| call.refused(error))?;
    answer(&call, tx, ticket).await
}

async fn read_edit(call: &Call, mut form: Form) -> Result<(impl FnOnce(&mut Ticket), Option<i64>), ApiError> {
    let title = form.line("title", 255);
    let description = form.lines("description", DESCRIPTION);
    let priority: Option<Option<Priority>> = form.word("priority");
    let category: Option<Option<Category>> = form.word("category");
    let environment = form.line("environment", NAME);
    let affected_service = form.line("affected_service", NAME);
    let assignee_id = read_assignee(call, &mut form).await?;
    let team_id = read_team(call, &mut form).await?;
    let contact = read_contact(&mut form);
    let version = form.number("version", 1..=i64::MAX);
    for (field, null) in [
        ("title", title == Some(None)),
        ("priority", priority == Some(None)),
        ("category", category == Some(None)),
    ] {
        if null {
            form.complain("required", field, "Must not be null.");
        }
    }
    form.finish()?;
    let edit = move |ticket: &mut Ticket| {
        set(&mut ticket.title, title.flatten());
        set(&mut ticket.description, description.map(Option::unwrap_or_default));
        set(&mut ticket.priority, priority.flatten());
        set(&mut ticket.category, category.flatten());
        set(&mut ticket.environment, environment);
        set(&mut ticket.affected_service, affected_service);
        set(&mut ticket.assignee_id, assignee_id);
        set(&mut ticket.team_id, team_id);
        if let Some(contact) = contact {
            (ticket.contact_name, ticket.contact_email) = contact.unwrap_or_default();
        }
    };
    Ok((edit, version))
}

fn set<T>(field: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *field = value;
    }
}

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

/// Shows every change of every field, oldest first.
#[utoipa::path(
    get, path = "/tickets/{id}/history", tag = "tickets",
    responses((status = 200, description = "The changes.", body = Vec<ChangeView>)),
)]
pub(super) async fn show_history(
    call: Call,
    Name(name): Name,
) -> Result<Envelope<Vec<ChangeView>>, ApiError> {
    let id = call.ticket_id(&name).await?;
    let db = &call.app.process.db;
    tickets::get(db, id).await?.ok_or(ApiError::NotFound("ticket"))?;
    Ok(Envelope::ok(tickets::history(db, id).await?.into_iter().map(ChangeView::from).collect()))
}

fn read_version(Body(mut form): Body) -> Result<Option<i64>, ApiError> {
    let version = form.number("version", 1..=i64::MAX);
    form.finish()?;
    Ok(version)
}

async fn move_to(call: &Call, name: &str, version: Option<i64>, to: Status) -> Result<Response, ApiError> {
    let expected = call.expects(version)?;
    let id = call.ticket_id(name).await?;
    let mut tx = call.begin().await?;
    let moved = call.app.process.desk.move_to(&mut tx, id, expected, &call.actor(), to).await;
    let ticket = moved.map_err(|error| call.refused(error))?;
    answer(call, tx, ticket).await
}

async fn answer(call: &Call, mut tx: shared::store::Tx, ticket: Ticket) -> Result<Response, ApiError> {
    let labels = tickets::labels(&mut tx, ticket.id).await?;
    let version = ticket.version;
    call.commit(tx, Envelope::ok(TicketView::new(ticket, labels)).etag(version)).await
}

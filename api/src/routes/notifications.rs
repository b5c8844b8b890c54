//! Who has been told what.

use shared::domain::access::{Action, Area};
use shared::domain::cause::Cause;
use shared::ids::TicketId;
use shared::store::notifications::{self, Filter};

use crate::call::{Call, Listing, Name};
use crate::cursor;
use crate::envelope::Envelope;
use crate::error::ApiError;
use crate::form::Form;
use crate::openapi::queries;
use crate::views::NotificationView;

/// Lists notifications, newest first.
#[utoipa::path(
    get, path = "/notifications", tag = "notifications",
    params(queries::Notifications, queries::OfTicket, queries::Page, queries::Count),
    responses((status = 200, description = "A page of notifications.", body = Vec<NotificationView>)),
)]
pub(super) async fn list_notifications(
    Listing { call, mut query }: Listing,
) -> Result<Envelope<Vec<NotificationView>>, ApiError> {
    call.sees(Area::Operations)?;
    let ticket = match query.line("ticket", 50).flatten() {
        Some(name) => match call.ticket_id(&name).await {
            Err(ApiError::NotFound(_)) => {
                query.complain("unknown_ticket", "ticket", "Must be the id or the number of a ticket.");
                None
            }
            found => Some(found?),
        },
        None => None,
    };
    list(&call, query, ticket).await
}

/// Lists the notifications about a ticket, newest first.
#[utoipa::path(
    get, path = "/tickets/{id}/notifications", tag = "notifications",
    params(queries::Notifications, queries::Page, queries::Count),
    responses((status = 200, description = "A page of notifications.", body = Vec<NotificationView>)),
)]
pub(super) async fn list_of_ticket(
    Name(name): Name,
    Listing { call, query }: Listing,
) -> Result<Envelope<Vec<NotificationView>>, ApiError> {
    let ticket = call.ticket(&name).await?;
    call.may(Action::CommentInternally, &ticket)?;
    list(&call, query, Some(ticket.id)).await
}

async fn list(
    call: &Call,
    query: Form,
    ticket: Option<TicketId>,
) -> Result<Envelope<Vec<NotificationView>>, ApiError> {
    let (mut filter, count) = read_filter(query, ticket)?;
    let limit = filter.limit;
    // One more than asked for tells whether there is a next page.
    filter.limit = limit + 1;
    let db = &call.app.process.db;
    let mut found = notifications::list(db, &filter).await?;
    let mut meta = cursor::cut(&mut found, limit, |last| last.id.to_string());
    if count {
        meta["total"] = notifications::count(db, &filter).await?.into();
    }
    Ok(Envelope::ok(found.into_iter().map(NotificationView::from).collect()).meta(meta))
}

fn read_filter(mut form: Form, ticket: Option<TicketId>) -> Result<(Filter, bool), ApiError> {
    let event = form.line("event", 50).flatten();
    if event.as_deref().is_some_and(|event| !Cause::EVENTS.contains(&event)) {
        form.complain("unknown_value", "event", format!("It must be one of: {}.", Cause::EVENTS.join(", ")));
    }
    let count: Option<bool> = form.parse("count", "true or false").flatten();
    let filter = Filter {
        state: form.word("state").flatten(),
        ticket,
        recipient: form.line("recipient", 2_000).flatten().map(|address| address.to_lowercase()),
        event,
        before: form.parse("cursor", "a next_cursor from such a list").flatten(),
        limit: form.number("limit", 1..=100).unwrap_or(20),
    };
    form.finish()?;
    Ok((filter, count.unwrap_or(false)))
}

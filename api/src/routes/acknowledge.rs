//! The page behind the link in a mail: shows a ticket, and acknowledges it for whoever the mail was sent to. Who has
//! the link needs no account; looking at it changes nothing, since mail programs look too.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use shared::domain::access::Caller;
use shared::links::Presented;
use shared::store::desk::{Actor, Who};
use shared::store::tickets::{self, Ticket};
use shared::store::users::User;
use shared::store::{Tx, acknowledgements, notifications, users};

use crate::app::App;
use crate::call::Name;
use crate::client;
use crate::error::ApiError;
use crate::page::Page;

/// Whom a link was mailed to, and about what.
#[derive(Debug)]
struct Holder {
    ticket: Ticket,
    user: Option<User>,
    address: String,
}

/// Shows what a link acknowledges; changes nothing.
#[utoipa::path(
    get, path = "/acknowledge/{token}", tag = "tickets",
    security(()),
    responses(
        (status = 200, description = "The page.", body = String, content_type = "text/html"),
        (status = 404, description = "A link that leads nowhere.", body = String, content_type = "text/html"),
        (status = 410, description = "A link that has expired.", body = String, content_type = "text/html"),
    ),
)]
pub(super) async fn show_link(State(app): State<App>, Name(token): Name) -> Result<Page, ApiError> {
    match holder(&app, &token).await? {
        Ok(Holder { ticket, .. }) if ticket.acknowledged_at.is_none() => Ok(Page::of(
            &ticket,
            "Nobody has acknowledged this ticket yet. Acknowledging stops its escalation.",
            true,
        )),
        Ok(Holder { ticket, .. }) => acknowledged(&app, &ticket).await,
        Err(page) => Ok(page),
    }
}

/// Acknowledges as whom the link was mailed to; whoever was first stays on record.
#[utoipa::path(
    post, path = "/acknowledge/{token}", tag = "tickets",
    security(()),
    responses(
        (status = 200, description = "The page.", body = String, content_type = "text/html"),
        (status = 404, description = "A link that leads nowhere.", body = String, content_type = "text/html"),
        (status = 410, description = "A link that has expired.", body = String, content_type = "text/html"),
    ),
)]
pub(super) async fn use_link(
    State(app): State<App>,
    Name(token): Name,
    request: Request,
) -> Result<Page, ApiError> {
    let Holder { ticket, user, address } = match holder(&app, &token).await? {
        Ok(holder) => holder,
        Err(page) => return Ok(page),
    };
    let ip = client::address(request.extensions()).map(|address| address.to_string());
    let mut tx: Tx = app.process.db.begin().await?;
    let who = match user {
        Some(user) => Who::Caller(Arc::new(Caller::alone(user.id, user.role))),
        None => Who::Address(address),
    };
    let ticket = app.process.desk.acknowledge(&mut tx, ticket.id, None, &Actor { who, ip }).await?;
    app.process.queue.push(tx.commit().await?);
    acknowledged(&app, &ticket).await
}

async fn acknowledged(app: &App, ticket: &Ticket) -> Result<Page, ApiError> {
    let by = acknowledgements::by_whom(&app.process.db, ticket).await?.unwrap_or_default();
    let at =
        ticket.acknowledged_at.map(|at| at.format("%Y-%m-%d %H:%M:%S UTC").to_string()).unwrap_or_default();
    Ok(Page::of(ticket, format!("Acknowledged by {by} at {at}."), false))
}

/// Finds out who holds a link, or which page to show instead. A forged link and one to nowhere look the same.
async fn holder(app: &App, token: &str) -> Result<Result<Holder, Page>, ApiError> {
    let unknown = || {
        Page::without(StatusCode::NOT_FOUND, "Not found", "This link leads nowhere. Was it copied in full?")
    };
    let expired = |why| Page::without(StatusCode::GONE, "Expired", why);
    let Some(presented) = Presented::read(token) else { return Ok(Err(unknown())) };
    let db = &app.process.db;
    let Some(notification) = notifications::get(db, presented.link.notification).await? else {
        return Ok(Err(unknown()));
    };
    let key = app.link_key().await?;
    if !presented.is_genuine(key, notification.ticket_id, &notification.recipient) {
        return Ok(Err(unknown()));
    }
    if presented.link.expires_at <= app.process.desk.clock.now() {
        return Ok(Err(expired("This link has expired. Sign in to acknowledge the ticket.")));
    }
    let mut user = None;
    if let Some(id) = presented.link.user {
        let found = users::get(db, id).await?;
        // Whoever reads the address now may be somebody else.
        user = found.filter(|user| {
            user.disabled_at.is_none() && user.role.is_staff() && user.email == notification.recipient
        });
        if user.is_none() {
            return Ok(Err(expired("Whom this link was sent to may not acknowledge tickets any more.")));
        }
    }
    let ticket = tickets::get(db, notification.ticket_id).await?;
    match ticket.filter(|ticket| ticket.deleted_at.is_none()) {
        Some(ticket) => Ok(Ok(Holder { ticket, user, address: notification.recipient })),
        None => Ok(Err(expired("This ticket has been deleted."))),
    }
}

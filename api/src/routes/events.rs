//! What happens, as it happens.

use std::convert::Infallible;
use std::sync::Arc;

use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName};
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use futures::stream::unfold;

use crate::call::Listing;
use crate::error::ApiError;
use crate::form::Form;
use crate::openapi::queries;
use crate::stream::{Filter, Subscription};

/// Keeps a proxy from holding events back until there are enough of them.
const UNBUFFERED: (HeaderName, &str) = (HeaderName::from_static("x-accel-buffering"), "no");

/// Tells what happens as it happens, as server-sent events. With `Last-Event-ID` it begins behind that event, so that a
/// client that was cut off misses nothing and sees nothing twice.
#[utoipa::path(
    get, path = "/events", tag = "events",
    params(queries::Events),
    responses((status = 200, description = "Events, without an end.", body = String, content_type = "text/event-stream", example = json!("id: 7\nevent: ticket.created\ndata: {}\n\n"))),
)]
pub(super) async fn stream_events(
    Listing { call, mut query }: Listing,
    mut request: Parts,
) -> Result<Response, ApiError> {
    let kinds = query.words("type");
    let ticket = match query.line("ticket", 50).flatten() {
        Some(name) => match call.ticket(&name).await {
            Err(ApiError::NotFound(_)) => {
                query.complain("unknown_ticket", "ticket", "Must be the id or the number of a ticket.");
                None
            }
            found => Some(found?.id),
        },
        None => None,
    };
    let after = last_event_id(&mut query, &request.headers);
    query.finish()?;
    let seat = call.app.streams.seat(call.user.id)?;
    // Who the caller was found to be must be found out again while the stream lasts.
    request.extensions.clear();
    let caller = (request, Arc::clone(&call.caller));
    let subscription = Subscription::begin(&call.app, caller, Filter { kinds, ticket }, after, seat).await?;
    let events = unfold(subscription, |mut subscription| async {
        let event = subscription.next().await?;
        Some((Ok::<Event, Infallible>(event), subscription))
    });
    Ok(([UNBUFFERED], Sse::new(events)).into_response())
}

/// The last event the client saw: by the header, which comes with a reconnect, or by the query, which stays as it was.
fn last_event_id(query: &mut Form, headers: &HeaderMap) -> Option<i64> {
    let in_query = query.number("last_event_id", 0..=i64::MAX);
    let header = headers.get("last-event-id").filter(|value| !value.is_empty());
    let Some(header) = header else { return in_query };
    let id = header.to_str().ok().and_then(|text| text.parse().ok()).filter(|id| *id >= 0);
    if id.is_none() {
        query.complain("invalid", "Last-Event-ID", "Must be the id of an event, a whole number.");
    }
    id
}

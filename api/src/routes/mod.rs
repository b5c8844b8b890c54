//! Every route, and what surrounds them all.

mod account;
mod acknowledge;
mod attachments;
mod calendars;
mod comments;
mod definition_list;
mod definitions;
mod escalation_policies;
mod health;
mod notifications;
mod replans;
mod schedules;
mod slas;
mod ticket_form;
mod ticket_list;
mod ticket_moves;
mod tickets;

use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, MatchedPath, Request};
use axum::http::Method;
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, patch, post, put};
use shared::domain::{escalation, oncall, sla, team};
use tower_http::catch_panic::CatchPanicLayer;

use crate::app::App;
use crate::call::MAX_BODY;
use crate::defined::Defined;
use crate::error::ApiError;
use crate::upload::MAX_UPLOAD;
use crate::{idempotency, observe};

/// How long taking in a file may take: it comes as fast as its sender's line, and stops when it stalls.
const UPLOAD: Duration = Duration::from_secs(15 * 60);

/// Where files are taken in.
const UPLOADS: [&str; 1] = ["/api/v1/tickets/{id}/attachments"];

/// How long any other request may take; the claim on an idempotency key stands longer.
const TIMEOUT: Duration = Duration::from_secs(30);

pub(crate) fn router(app: App) -> Router {
    let v1 = Router::new()
        .route("/me", get(account::show_me).patch(account::change_me))
        .route("/tickets", get(ticket_list::list_tickets).post(tickets::open_ticket))
        .route(
            "/tickets/{id}",
            get(tickets::show_ticket)
                .put(tickets::replace_ticket)
                .patch(tickets::edit_ticket)
                .delete(tickets::delete_ticket),
        )
        .route("/tickets/{id}/labels", put(tickets::replace_labels))
        .route("/tickets/{id}/assign", put(ticket_moves::assign_ticket))
        .route("/tickets/bulk-status", post(ticket_moves::move_tickets))
        .route("/tickets/{id}/status", patch(ticket_moves::move_ticket))
        .route("/tickets/{id}/acknowledge", post(ticket_moves::acknowledge_ticket))
        .route(
            "/tickets/{id}/resolve",
            post(ticket_moves::resolve_ticket).patch(ticket_moves::resolve_ticket),
        )
        .route("/tickets/{id}/close", post(ticket_moves::close_ticket))
        .route("/tickets/{id}/reopen", post(ticket_moves::reopen_ticket))
        .route("/tickets/{id}/history", get(tickets::show_history))
        .route("/tickets/{id}/comments", get(comments::list_comments).post(comments::post_comment))
        .route(
            "/comments/{id}",
            get(comments::show_comment)
                .put(comments::edit_comment)
                .patch(comments::edit_comment)
                .delete(comments::delete_comment),
        )
        .route(
            "/tickets/{id}/attachments",
            get(attachments::list_attachments)
                .post(attachments::attach_file)
                .layer(DefaultBodyLimit::max(MAX_UPLOAD)),
        )
        .route(
            "/attachments/{id}",
            get(attachments::download_attachment).delete(attachments::delete_attachment),
        )
        .route("/comments/{id}/edits", get(comments::list_edits))
        .route("/tickets/{id}/notifications", get(notifications::list_of_ticket))
        .route("/tickets/{id}/sla", get(slas::list_slas))
        .route("/slas/{id}/explain", get(slas::explain_sla))
        .route("/replans/{id}", get(replans::show_replan))
        .route("/slas/{id}/pause", patch(slas::pause_sla))
        .route("/slas/{id}/resume", patch(slas::resume_sla))
        .route("/notifications", get(notifications::list_notifications))
        .route("/calendars/{id}/import", post(calendars::import_holidays))
        .route("/escalation-policies/{id}/lint", post(escalation_policies::lint_policy))
        .route("/schedules/{id}/on-call", get(schedules::show_on_call))
        .route("/schedules/{id}/shifts", get(schedules::list_shifts))
        .route("/schedules/{id}/overrides", get(schedules::list_overrides).post(schedules::add_override))
        .route("/schedules/{id}/overrides/{override}", delete(schedules::delete_override));
    let v1 = family::<sla::calendar::Definition>(v1, "calendars");
    let v1 = running::<sla::calendar::Definition>(v1, "calendars");
    let v1 = family::<sla::policy::Definition>(v1, "sla-policies");
    let v1 = running::<sla::policy::Definition>(v1, "sla-policies");
    let v1 = family::<escalation::Definition>(v1, "escalation-policies");
    let v1 = family::<oncall::Definition>(v1, "schedules");
    let v1 = family::<team::Definition>(v1, "teams");
    let keyed = from_fn_with_state(app.clone(), idempotency::layer);
    let routes = Router::new()
        .nest("/api/v1", v1)
        .route_layer(keyed)
        // Without a key: there is no caller yet to scope it to, and no token is ever stored.
        .route("/api/v1/auth/login", post(account::log_in))
        // The link is the credential.
        .route("/acknowledge/{token}", get(acknowledge::show_link).post(acknowledge::use_link))
        .route("/health", get(health::show_health))
        .route("/db-health", get(health::show_db_health))
        .fallback(async || ApiError::NotFound("address"))
        .method_not_allowed_fallback(async || ApiError::MethodNotAllowed);
    surround(routes, TIMEOUT).with_state(app)
}

/// Adds the routes of definitions that clocks run by.
fn running<D: Defined>(routes: Router<App>, name: &str) -> Router<App> {
    routes
        .route(&format!("/{name}/{{id}}/preview"), post(replans::preview_change::<D>))
        .route(&format!("/{name}/{{id}}/apply"), post(replans::apply_change::<D>))
}

/// Adds the routes that every kind of definition has.
fn family<D: Defined>(routes: Router<App>, name: &str) -> Router<App> {
    use definition_list::{list_definitions, list_versions};
    use definitions::{create_definition, delete_definition, edit_definition, show_definition};
    let all = get(list_definitions::<D>).post(create_definition::<D>);
    let one = get(show_definition::<D>).patch(edit_definition::<D>).delete(delete_definition::<D>);
    routes
        .route(&format!("/{name}"), all)
        .route(&format!("/{name}/{{id}}"), one)
        .route(&format!("/{name}/{{id}}/versions"), get(list_versions::<D>))
}

/// Puts around routes what every answer needs, also that of a handler which hangs or panics.
fn surround<S: Clone + Send + Sync + 'static>(routes: Router<S>, limit: Duration) -> Router<S> {
    routes
        .layer(from_fn(move |request, next| answer_within(limit, request, next)))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(from_fn(observe::layer))
}

async fn answer_within(limit: Duration, request: Request, next: Next) -> Response {
    let path = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str);
    let takes_file = request.method() == Method::POST && path.is_some_and(|path| UPLOADS.contains(&path));
    let limit = if takes_file { UPLOAD } else { limit };
    let answer = tokio::time::timeout(limit, next.run(request)).await;
    answer.unwrap_or_else(|_| ApiError::Unavailable(format!("no answer within {limit:?}")).into_response())
}

#[expect(clippy::needless_pass_by_value, reason = "the layer wants it so")]
fn panicked(panic: Box<dyn std::any::Any + Send>) -> Response {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
    ApiError::Internal(format!("a handler panicked: {text}")).into_response()
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use http_body_util::BodyExt;
    use tower::ServiceExt;

    use super::*;

    async fn ask(path: &str) -> (Response, String) {
        let routes: Router = Router::new()
            .route("/hangs", get(async || std::future::pending::<()>().await))
            .route("/panics", get(async || -> () { panic!("at row 5 of users: {}", "secret") }));
        let request = Request::get(path).body(Body::empty()).unwrap();
        let mut response = surround(routes, Duration::from_millis(10)).oneshot(request).await.unwrap();
        let body = std::mem::take(response.body_mut()).collect().await.unwrap().to_bytes();
        (response, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn a_handler_that_hangs_is_answered_for() {
        let (response, body) = ask("/hangs").await;
        assert_eq!(response.status(), 503);
        assert_eq!(response.headers()["retry-after"], "1");
        assert!(response.headers().contains_key("x-request-id"));
        assert!(body.starts_with(r#"{"success":false,"data":null,"message":"The database is not"#), "{body}");
    }

    #[tokio::test]
    async fn a_handler_that_panics_is_answered_for_without_its_words() {
        let (response, body) = ask("/panics").await;
        assert_eq!(response.status(), 500);
        assert!(response.headers().contains_key("x-request-id"));
        assert!(
            body.starts_with(r#"{"success":false,"data":null,"message":"Something went wrong"#),
            "{body}"
        );
        assert!(!body.contains("secret") && !body.contains("row 5"), "{body}");
    }
}

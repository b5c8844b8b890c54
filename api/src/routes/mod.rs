//! Every route, and what surrounds them all.

mod account;
mod acknowledge;
mod api_keys;
mod calendars;
mod contacts;
mod definition_list;
mod definitions;
mod deliveries;
mod docs;
mod escalation_policies;
mod events;
pub(crate) mod exports;
mod health;
mod imports;
mod jobs;
mod labels;
mod notifications;
pub(crate) mod replans;
mod reports;
mod schedules;
mod slas;
mod ticket_form;
mod ticket_list;
mod ticket_moves;
mod tickets;
mod users;
mod webhooks;

use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use shared::domain::{escalation, oncall, sla, team};
use shared::process::StartError;
use tower_http::catch_panic::CatchPanicLayer;
use utoipa::OpenApi;
use utoipa::openapi::path::Paths;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::call::MAX_BODY;
use crate::defined::Defined;
use crate::error::ApiError;
use crate::openapi::definitions::describe;
use crate::{client, idempotency, limits, observe, openapi, surroundings};

/// How long any request may take; the claim on an idempotency key stands longer.
const TIMEOUT: Duration = Duration::from_secs(30);

/// How long one that brings a file may take: 200 MiB over a slow line.
const UPLOAD: Duration = Duration::from_secs(900);

/// All routes, over what their handlers share.
///
/// # Errors
/// When they cannot be described.
pub(crate) fn router(app: App) -> Result<Router, StartError> {
    let keyed = from_fn_with_state(app.clone(), idempotency::layer);
    let routes = OpenApiRouter::with_openapi(openapi::Parts::openapi())
        .nest("/api/v1", v1())
        .route_layer(keyed)
        // Without a key: there is no caller yet to scope it to, and no token is ever stored.
        .routes(routes!(account::log_in))
        .routes(routes!(account::refresh))
        .routes(routes!(account::log_out))
        // The link is the credential.
        .routes(routes!(acknowledge::show_link, acknowledge::use_link))
        .routes(routes!(health::show_health))
        .routes(routes!(health::show_db_health));
    let (routes, described) = routes.split_for_parts();
    let routes = routes
        .merge(docs::router(described)?)
        .fallback(async || ApiError::NotFound("address"))
        .method_not_allowed_fallback(async || ApiError::MethodNotAllowed);
    let cors = surroundings::cors(&app.process.config.http.origins);
    let routes = surround(routes.layer(from_fn_with_state(app.clone(), limits::layer)), TIMEOUT);
    let routes = if let Some(cors) = cors { routes.layer(cors) } else { routes };
    let routes = routes
        .layer(from_fn_with_state(app.clone(), surroundings::protect))
        .layer(from_fn_with_state(app.clone(), client::layer))
        .layer(from_fn(observe::layer));
    Ok(routes.with_state(app))
}

fn v1() -> OpenApiRouter<App> {
    let tickets = OpenApiRouter::new()
        .routes(routes!(ticket_list::list_tickets, tickets::open_ticket))
        .routes(routes!(
            tickets::show_ticket,
            tickets::replace_ticket,
            tickets::edit_ticket,
            tickets::delete_ticket
        ))
        .routes(routes!(tickets::replace_labels))
        .routes(routes!(ticket_moves::assign_ticket))
        .routes(routes!(ticket_moves::move_tickets))
        .routes(routes!(ticket_moves::move_ticket))
        .routes(routes!(ticket_moves::acknowledge_ticket))
        .routes(routes!(ticket_moves::resolve_ticket))
        .routes(routes!(ticket_moves::close_ticket))
        .routes(routes!(ticket_moves::reopen_ticket))
        .routes(routes!(tickets::show_history))
        .routes(routes!(notifications::list_of_ticket))
        .routes(routes!(slas::list_slas))
        .routes(routes!(slas::explain_sla))
        .routes(routes!(slas::pause_sla))
        .routes(routes!(slas::resume_sla));
    tickets
        .routes(routes!(account::show_me, account::change_me))
        .routes(routes!(account::change_password))
        .routes(routes!(users::list_users, users::create_user))
        .routes(routes!(users::show_user, users::edit_user, users::disable_user))
        .routes(routes!(users::show_user_history))
        .routes(routes!(api_keys::list_keys, api_keys::create_key))
        .routes(routes!(api_keys::show_key, api_keys::edit_key, api_keys::revoke_key))
        .routes(routes!(contacts::list_contacts, contacts::create_contact))
        .routes(routes!(contacts::show_contact, contacts::edit_contact, contacts::delete_contact))
        .routes(routes!(labels::list_labels))
        .routes(routes!(notifications::list_notifications))
        .routes(routes!(events::stream_events))
        .routes(routes!(webhooks::list_webhooks, webhooks::create_webhook))
        .routes(routes!(webhooks::show_webhook, webhooks::edit_webhook, webhooks::delete_webhook))
        .routes(routes!(webhooks::rotate_secret))
        .routes(routes!(deliveries::list_deliveries))
        .routes(routes!(deliveries::resend_delivery))
        .routes(routes!(deliveries::test_webhook))
        .routes(routes!(jobs::list_jobs))
        .routes(routes!(jobs::show_job))
        .routes(routes!(jobs::retry_job))
        .routes(routes!(replans::show_replan))
        .merge(bulk())
        .routes(routes!(calendars::import_holidays))
        .routes(routes!(escalation_policies::lint_policy))
        .routes(routes!(schedules::show_on_call))
        .routes(routes!(schedules::list_shifts))
        .routes(routes!(schedules::list_overrides, schedules::add_override))
        .routes(routes!(schedules::delete_override))
        .merge(family::<sla::calendar::Definition>("calendars"))
        .merge(running::<sla::calendar::Definition>("calendars"))
        .merge(family::<sla::policy::Definition>("sla-policies"))
        .merge(running::<sla::policy::Definition>("sla-policies"))
        .merge(family::<escalation::Definition>("escalation-policies"))
        .merge(family::<oncall::Definition>("schedules"))
        .merge(family::<team::Definition>("teams"))
}

/// The routes of what concerns many tickets at once.
fn bulk() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(imports::import_tickets))
        // Files are streamed, and bounded where they are read.
        .layer(DefaultBodyLimit::disable())
        .routes(routes!(exports::export_tickets))
        .routes(routes!(imports::list_imports))
        .routes(routes!(imports::show_import))
        .routes(routes!(imports::export_errors))
        .routes(routes!(reports::top_assignees))
        .routes(routes!(reports::latency))
        .routes(routes!(reports::sla_compliance))
        .routes(routes!(reports::breaches))
}

/// The routes of definitions that clocks run by.
fn running<D: Defined>(name: &str) -> OpenApiRouter<App> {
    use replans::{__path_apply_change, __path_preview_change, apply_change, preview_change};
    let (preview, apply) = (format!("/{name}/{{id}}/preview"), format!("/{name}/{{id}}/apply"));
    let [mut of_preview, mut of_apply] = [Paths::new(), Paths::new()];
    describe::<__path_preview_change>(&mut of_preview, D::KIND, name, &preview);
    describe::<__path_apply_change>(&mut of_apply, D::KIND, name, &apply);
    OpenApiRouter::default().routes((Vec::new(), of_preview, post(preview_change::<D>))).routes((
        Vec::new(),
        of_apply,
        post(apply_change::<D>),
    ))
}

/// The routes that every kind of definition has.
fn family<D: Defined>(name: &str) -> OpenApiRouter<App> {
    use definition_list::{__path_list_definitions, __path_list_versions, list_definitions, list_versions};
    use definitions::{
        __path_create_definition, __path_delete_definition, create_definition, delete_definition,
    };
    use definitions::{__path_edit_definition, __path_show_definition, edit_definition, show_definition};
    let (kind, all, one) = (D::KIND, format!("/{name}"), format!("/{name}/{{id}}"));
    let versions = format!("{one}/versions");
    let [mut of_all, mut of_one, mut of_versions] = [Paths::new(), Paths::new(), Paths::new()];
    describe::<__path_list_definitions>(&mut of_all, kind, name, &all);
    describe::<__path_create_definition>(&mut of_all, kind, name, &all);
    describe::<__path_show_definition>(&mut of_one, kind, name, &one);
    describe::<__path_edit_definition>(&mut of_one, kind, name, &one);
    describe::<__path_delete_definition>(&mut of_one, kind, name, &one);
    describe::<__path_list_versions>(&mut of_versions, kind, name, &versions);
    let all = get(list_definitions::<D>).post(create_definition::<D>);
    let one = get(show_definition::<D>).patch(edit_definition::<D>).delete(delete_definition::<D>);
    OpenApiRouter::default().routes((Vec::new(), of_all, all)).routes((Vec::new(), of_one, one)).routes((
        Vec::new(),
        of_versions,
        get(list_versions::<D>),
    ))
}

/// Puts around routes what every answer needs, also that of a handler which hangs or panics.
fn surround<S: Clone + Send + Sync + 'static>(routes: Router<S>, limit: Duration) -> Router<S> {
    routes
        .layer(from_fn(move |request, next| answer_within(limit, request, next)))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(DefaultBodyLimit::max(MAX_BODY))
}

async fn answer_within(limit: Duration, request: Request, next: Next) -> Response {
    let limit = if request.uri().path() == "/api/v1/tickets/import" { UPLOAD } else { limit };
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
        let mut response = surround(routes, Duration::from_millis(10))
            .layer(from_fn(observe::layer))
            .oneshot(request)
            .await
            .unwrap();
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

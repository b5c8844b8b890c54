//! What the API says about itself: to programs, and to people with a browser.

use axum::Router;
use axum::http::header;
use axum::response::IntoResponse;
use axum::routing::get;
use shared::process::StartError;
use utoipa::openapi::OpenApi;
use utoipa_swagger_ui::{Config, SwaggerUi};

use crate::app::App;
use crate::openapi;

/// The routes of the description and of the pages that show it, all of it from this binary.
///
/// # Errors
/// When the routes cannot be described.
pub(super) fn router(described: OpenApi) -> Result<Router<App>, StartError> {
    let document = bytes(described)?;
    let show = async move || ([(header::CONTENT_TYPE, "application/json")], document).into_response();
    let pages: Router<App> = SwaggerUi::new("/docs").config(Config::from("/openapi.json")).into();
    Ok(pages.route("/openapi.json", get(show)))
}

fn bytes(described: OpenApi) -> serde_json::Result<String> {
    serde_json::to_string(&openapi::describe(described)?)
}

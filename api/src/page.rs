//! Pages for people who come by a link from a mail.

use std::sync::LazyLock;

use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use minijinja::{Environment, Value, context};
use shared::store::tickets::Ticket;

/// What surrounds every page: it runs nothing, loads nothing, stays with the reader, and tells nobody its address,
/// which is a credential.
const HEADERS: [(HeaderName, HeaderValue); 6] = [
    (
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'; form-action 'self'"),
    ),
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    (HeaderName::from_static("x-robots-tag"), HeaderValue::from_static("noindex, nofollow")),
];

static TEMPLATES: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut templates = Environment::new();
    let added = templates.add_template("acknowledge.html", include_str!("../templates/acknowledge.html"));
    debug_assert!(added.is_ok(), "{added:?}");
    templates
});

/// A page about a ticket, or about there being none.
#[derive(Clone, Debug)]
pub(crate) struct Page {
    status: StatusCode,
    title: String,
    ticket: Option<Value>,
    message: String,
    form: bool,
}

impl Page {
    /// Shows a ticket; `form` lets the reader acknowledge it.
    pub(crate) fn of(ticket: &Ticket, message: impl Into<String>, form: bool) -> Self {
        let shown = context! {
            title => ticket.title.clone(),
            priority => ticket.priority.to_string(),
            status => ticket.status.to_string(),
        };
        let (status, message) = (StatusCode::OK, message.into());
        Self { status, title: ticket.key(), ticket: Some(shown), message, form }
    }

    /// Says that there is nothing to show.
    pub(crate) fn without(status: StatusCode, title: &str, message: &str) -> Self {
        Self { status, title: title.into(), ticket: None, message: message.into(), form: false }
    }
}

impl IntoResponse for Page {
    fn into_response(self) -> Response {
        let Self { status, title, ticket, message, form } = self;
        let values = context! { title, ticket, message => message.clone(), form };
        let html = TEMPLATES.get_template("acknowledge.html").and_then(|template| template.render(values));
        match html {
            Ok(html) => (status, HEADERS, Html(html)).into_response(),
            Err(error) => crate::error::ApiError::Internal(error.to_string()).into_response(),
        }
    }
}

//! The shape of every answer that did not go well, in one place.

use std::borrow::Cow;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use shared::store::{self, definitions, desk, edit};

/// What is wrong with one field.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct FieldError {
    pub(crate) code: &'static str,
    pub(crate) field: Option<String>,
    pub(crate) message: String,
}

/// Why a request was not answered as asked.
#[derive(Clone, Debug)]
pub(crate) enum ApiError {
    /// 400: not even readable.
    Malformed(Cow<'static, str>),
    /// 401: no credentials, or wrong ones.
    Unauthorized(&'static str),
    /// 403: a known caller who may not.
    Forbidden(&'static str),
    /// 404.
    NotFound(&'static str),
    /// 405.
    MethodNotAllowed,
    /// 409: the state of things does not allow it.
    Conflict(&'static str, String),
    /// 409: some of many cannot be changed, so none was; each is named by its place in the request.
    Refused(Vec<FieldError>),
    /// 412: `If-Match` names an older version.
    Stale(String),
    /// 413: more than so many bytes.
    TooLarge(usize),
    /// 415.
    NotJson,
    /// 415, where a calendar is wanted.
    NotCalendar,
    /// 415, where a CSV file is wanted.
    NotCsv,
    /// 422: fields that cannot be used, all of them.
    Invalid(Vec<FieldError>),
    /// 429: too much; after so many seconds there may be more.
    TooMany(u64, &'static str),
    /// 503: the database is away.
    Unavailable(String),
    /// 500: a defect. The text is logged, never shown.
    Internal(String),
}

/// Why a 5xx was answered; the observer logs it, once.
#[derive(Clone, Debug)]
pub(crate) struct Fault(pub(crate) String);

#[derive(Serialize)]
struct Wire<'a> {
    success: bool,
    data: Option<()>,
    message: &'a str,
    errors: &'a [FieldError],
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let (status, code, message) = self.story();
        let errors = match &self {
            Self::Invalid(errors) | Self::Refused(errors) => errors.clone(),
            _ => vec![FieldError { code, field: None, message: message.to_string() }],
        };
        let wire = Wire { success: false, data: None, message: &message, errors: &errors };
        let mut response = (status, axum::Json(&wire)).into_response();
        match self {
            Self::Unauthorized(_) => {
                response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            Self::TooMany(wait, _) => {
                response.headers_mut().insert(header::RETRY_AFTER, wait.into());
            }
            Self::Unavailable(fault) => {
                response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
                response.extensions_mut().insert(Fault(fault));
            }
            Self::Internal(fault) => {
                response.extensions_mut().insert(Fault(fault));
            }
            _ => {}
        }
        response
    }
}

impl ApiError {
    /// One field that cannot be used.
    pub(crate) fn field(code: &'static str, field: &str, message: impl Into<String>) -> Self {
        Self::Invalid(vec![FieldError { code, field: Some(field.into()), message: message.into() }])
    }

    /// Names fields below `place` as a body names them that is only about that place.
    pub(crate) fn below(self, place: &str) -> Self {
        let Self::Invalid(mut errors) = self else { return self };
        for field in errors.iter_mut().filter_map(|error| error.field.as_mut()) {
            if let Some(rest) = field.strip_prefix(place) {
                *field = rest.to_owned();
            }
        }
        Self::Invalid(errors)
    }

    /// Status, code and sentence.
    pub(crate) fn story(&self) -> (StatusCode, &'static str, Cow<'static, str>) {
        let (status, code, message): (_, _, Cow<'static, str>) = match self {
            Self::Malformed(why) => (StatusCode::BAD_REQUEST, "malformed", why.clone()),
            Self::Unauthorized(why) => (StatusCode::UNAUTHORIZED, "unauthorized", (*why).into()),
            Self::Forbidden(why) => (StatusCode::FORBIDDEN, "forbidden", (*why).into()),
            Self::NotFound(what) => {
                (StatusCode::NOT_FOUND, "not_found", format!("There is no such {what}.").into())
            }
            Self::MethodNotAllowed => (
                StatusCode::METHOD_NOT_ALLOWED,
                "method_not_allowed",
                "This address does not take that method.".into(),
            ),
            Self::Conflict(code, why) => (StatusCode::CONFLICT, code, why.clone().into()),
            Self::Refused(errors) => (
                StatusCode::CONFLICT,
                "refused",
                format!("Nothing was changed: {} of the tickets cannot be.", errors.len()).into(),
            ),
            Self::Stale(why) => (StatusCode::PRECONDITION_FAILED, "stale", why.clone().into()),
            Self::TooLarge(limit) => (
                StatusCode::PAYLOAD_TOO_LARGE,
                "too_large",
                format!("The body is larger than {} KiB.", limit / 1024).into(),
            ),
            Self::NotJson => (
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "not_json",
                "Send the body as JSON, with Content-Type: application/json.".into(),
            ),
            Self::NotCalendar => (
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "not_calendar",
                "Send the body as an iCalendar file, with Content-Type: text/calendar.".into(),
            ),
            Self::NotCsv => (
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "not_csv",
                "Send a CSV file, with Content-Type: text/csv, or as the field file of multipart/form-data."
                    .into(),
            ),
            Self::Invalid(errors) => {
                let fields: Vec<&str> = errors.iter().filter_map(|e| e.field.as_deref()).collect();
                let message = match fields.as_slice() {
                    [] => errors.first().map(|e| e.message.clone()).unwrap_or_default(),
                    [field] => format!("The field {field} cannot be used as sent."),
                    _ => format!("The fields {} cannot be used as sent.", fields.join(", ")),
                };
                (StatusCode::UNPROCESSABLE_ENTITY, "invalid", message.into())
            }
            Self::TooMany(wait, why) => (
                StatusCode::TOO_MANY_REQUESTS,
                "too_many_requests",
                format!("{why}; try again in {wait} s.").into(),
            ),
            Self::Unavailable(_) => (
                StatusCode::SERVICE_UNAVAILABLE,
                "unavailable",
                "The database is not available at the moment; try again in a second.".into(),
            ),
            Self::Internal(_) => (
                StatusCode::INTERNAL_SERVER_ERROR,
                "internal",
                "Something went wrong here; report it with the X-Request-Id of this answer.".into(),
            ),
        };
        (status, code, message)
    }
}

impl From<store::Error> for ApiError {
    fn from(error: store::Error) -> Self {
        let chain =
            std::error::Error::source(&error).map_or_else(String::new, |source| format!(": {source}"));
        match error {
            store::Error::Unavailable(_) | store::Error::Schema(_) => {
                Self::Unavailable(format!("{error}{chain}"))
            }
            store::Error::Conflict(_) => Self::Conflict(
                "conflict",
                "The change refers to something that does not exist, or exists already.".into(),
            ),
            store::Error::Corrupt(_) => Self::Internal(format!("{error}{chain}")),
        }
    }
}

impl From<desk::Error> for ApiError {
    fn from(error: desk::Error) -> Self {
        let why = sentence(&error.to_string());
        match error {
            desk::Error::NotFound(what) => Self::NotFound(what),
            desk::Error::Forbidden(why) => Self::Forbidden(why),
            desk::Error::Stale { .. } => Self::Conflict("version_conflict", why),
            desk::Error::Transition { .. } => Self::Conflict("transition_not_allowed", why),
            desk::Error::ReopenWindow(_) => Self::Conflict("reopen_window_over", why),
            desk::Error::Ended(_) => Self::Conflict("clock_ended", why),
            desk::Error::HeldByStatus(_) => Self::Conflict("held_by_status", why),
            desk::Error::Store(error) => error.into(),
        }
    }
}

impl From<definitions::Error> for ApiError {
    fn from(error: definitions::Error) -> Self {
        let why = sentence(&error.to_string());
        match error {
            definitions::Error::NotFound(kind) => Self::NotFound(kind.noun()),
            definitions::Error::Stale { .. } => Self::Conflict("version_conflict", why),
            definitions::Error::NameTaken { .. } => Self::Conflict("name_taken", why),
            definitions::Error::InUse { .. } => Self::Conflict("in_use", why),
            definitions::Error::Store(error) => error.into(),
        }
    }
}

impl From<edit::Error> for ApiError {
    fn from(error: edit::Error) -> Self {
        let why = sentence(&error.to_string());
        match error {
            edit::Error::NotFound(what) => Self::NotFound(what),
            edit::Error::Stale { .. } => Self::Conflict("version_conflict", why),
            edit::Error::Taken(_) => Self::Conflict("address_taken", why),
            edit::Error::LastAdmin => Self::Conflict("last_admin", why),
            edit::Error::Store(error) => error.into(),
        }
    }
}

/// Makes an error text a sentence.
fn sentence(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| format!("{}{}.", first.to_uppercase(), chars.as_str()))
}

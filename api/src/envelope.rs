//! The shape of every answer that went well.

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::Value;
use shared::store::idempotency::Answer;

/// An answer: `{"success":true,"data":…,"message":null,"errors":[],"meta":{…}}`.
#[derive(Clone, Debug)]
pub(crate) struct Envelope<T> {
    status: StatusCode,
    data: T,
    meta: Option<Value>,
    version: Option<i64>,
}

#[derive(Serialize)]
struct Wire<'a, T> {
    success: bool,
    data: &'a T,
    message: Option<&'static str>,
    errors: [(); 0],
    #[serde(skip_serializing_if = "Option::is_none")]
    meta: &'a Option<Value>,
}

impl<T: Serialize> Envelope<T> {
    pub(crate) const fn ok(data: T) -> Self {
        Self { status: StatusCode::OK, data, meta: None, version: None }
    }

    pub(crate) const fn created(data: T) -> Self {
        Self { status: StatusCode::CREATED, data, meta: None, version: None }
    }

    /// Something was begun that goes on.
    pub(crate) const fn accepted(data: T) -> Self {
        Self { status: StatusCode::ACCEPTED, data, meta: None, version: None }
    }

    /// Adds what a list says about itself.
    pub(crate) fn meta(mut self, meta: Value) -> Self {
        self.meta = Some(meta);
        self
    }

    /// Adds the `ETag` of a ticket's version.
    pub(crate) const fn etag(mut self, version: i64) -> Self {
        self.version = Some(version);
        self
    }

    /// Renders the answer, as it is stored under an idempotency key.
    pub(crate) fn render(&self) -> Result<Answer, serde_json::Error> {
        let wire = Wire { success: true, data: &self.data, message: None, errors: [], meta: &self.meta };
        Ok(Answer {
            status: self.status.as_u16(),
            etag: self.version.map(|version| format!("\"{version}\"")),
            body: serde_json::to_string(&wire)?,
        })
    }
}

impl<T: Serialize> IntoResponse for Envelope<T> {
    fn into_response(self) -> Response {
        match self.render() {
            Ok(answer) => respond(answer),
            Err(error) => crate::error::ApiError::Internal(error.to_string()).into_response(),
        }
    }
}

/// Turns a rendered answer into a response.
pub(crate) fn respond(answer: Answer) -> Response {
    let mut response = Response::new(Body::from(answer.body));
    *response.status_mut() = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::OK);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Some(etag) = answer.etag.and_then(|etag| HeaderValue::from_str(&etag).ok()) {
        response.headers_mut().insert(header::ETAG, etag);
    }
    response
}

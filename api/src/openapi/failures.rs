//! Every failure, declared once, and the headers that answers come with.

use serde_json::{Map, Value, json};

struct Failure {
    status: u16,
    name: &'static str,
    code: &'static str,
    field: Option<&'static str>,
    about: &'static str,
    /// As the API says it.
    message: &'static str,
}

const FAILURES: [Failure; 13] = [
    failure(
        400,
        "Malformed",
        "malformed",
        "The body or a header cannot be read at all.",
        "The body must be a JSON object.",
    ),
    failure(
        401,
        "Unauthorized",
        "unauthorized",
        "No credentials, or wrong or expired ones.",
        "Sign in and send Authorization: Bearer <token>.",
    ),
    failure(403, "Forbidden", "forbidden", "The caller is known, but may not.", "Your role may not do this."),
    failure(
        404,
        "NotFound",
        "not_found",
        "There is no such thing, or the caller may not know of it.",
        "There is no such ticket.",
    ),
    failure(
        409,
        "Conflict",
        "version_conflict",
        "The state of things does not allow it, or a request with the same key is running.",
        "The version is 3, not 2.",
    ),
    failure(412, "Stale", "stale", "If-Match names an older version.", "The version is 3, not 2."),
    failure(413, "TooLarge", "too_large", "The body is too large.", "The body is larger than 256 KiB."),
    failure(
        415,
        "UnsupportedMediaType",
        "not_json",
        "The body is of a type that is not understood here.",
        "Send the body as JSON, with Content-Type: application/json.",
    ),
    failure(
        416,
        "NoSuchRange",
        "range",
        "The file has no such part; Content-Range says how long it is.",
        "The file has only 1024 bytes.",
    ),
    Failure {
        field: Some("title"),
        ..failure(
            422,
            "Invalid",
            "required",
            "Fields or parameters cannot be used as sent; all of them are listed.",
            "The field title cannot be used as sent.",
        )
    },
    failure(
        429,
        "TooManyRequests",
        "too_many_requests",
        "Too many requests; Retry-After says when to go on.",
        "That is too many requests; try again in 2 s.",
    ),
    failure(
        500,
        "Internal",
        "internal",
        "A defect; report it with the request's id.",
        "Something went wrong here; report it with the X-Request-Id of this answer.",
    ),
    failure(
        503,
        "Unavailable",
        "unavailable",
        "The database is away for the moment.",
        "The database is not available at the moment; try again in a second.",
    ),
];

const fn failure(
    status: u16,
    name: &'static str,
    code: &'static str,
    about: &'static str,
    message: &'static str,
) -> Failure {
    Failure { status, name, code, field: None, about, message }
}

/// What a failure is called in the description.
pub(super) fn name(status: u16) -> &'static str {
    FAILURES.iter().find(|failure| failure.status == status).map_or("Internal", |failure| failure.name)
}

/// Adds the shapes of failures and of what a list says about itself.
pub(super) fn add_schemas(schemas: &mut Value) {
    schemas["Failure"] = json!({
        "type": "object",
        "description": "Why a request was not answered as asked.",
        "required": ["success", "data", "message", "errors"],
        "properties": {
            "success": { "type": "boolean", "const": false },
            "data": { "type": "null" },
            "message": { "type": "string" },
            "errors": { "type": "array", "minItems": 1, "items": { "$ref": "#/components/schemas/FieldError" } },
        },
    });
    schemas["FieldError"] = json!({
        "type": "object",
        "description": "What is wrong, and with which field.",
        "required": ["code", "field", "message"],
        "properties": {
            "code": { "type": "string", "description": "A word for programs." },
            "field": { "type": ["string", "null"], "description": "The field or parameter, such as steps[0].targets[1].email." },
            "message": { "type": "string", "description": "A sentence for people that says what to do." },
        },
    });
    schemas["Page"] = json!({
        "type": "object",
        "description": "What a list says about itself.",
        "required": ["has_more", "next_cursor", "limit"],
        "properties": {
            "has_more": { "type": "boolean" },
            "next_cursor": { "type": ["string", "null"], "description": "Where the next page begins.", "example": null },
            "limit": { "type": "integer", "minimum": 1, "maximum": 100, "example": 20 },
            "total": { "type": "integer", "minimum": 0, "description": "How many there are in all, where count is true." },
        },
    });
}

/// Every failure's answer.
pub(super) fn responses() -> Value {
    let all = FAILURES.iter().map(|failure| {
        let Failure { status, code, field, about, message, .. } = failure;
        let said = field.map_or(*message, |_| "Is required.");
        let mut headers = Map::from_iter([reference("X-Request-Id")]);
        match status {
            401 => headers.extend([reference("WWW-Authenticate")]),
            429 => headers.extend(["Retry-After", "RateLimit", "RateLimit-Policy"].map(reference)),
            503 => headers.extend([reference("Retry-After")]),
            _ => {}
        }
        let example = json!({
            "success": false, "data": null, "message": message,
            "errors": [{ "code": code, "field": field, "message": said }],
        });
        let schema = json!({ "$ref": "#/components/schemas/Failure" });
        let content = json!({ "application/json": { "schema": schema, "example": example } });
        (failure.name.to_owned(), json!({ "description": about, "headers": headers, "content": content }))
    });
    Value::Object(all.collect())
}

fn reference(header: &str) -> (String, Value) {
    (header.to_owned(), json!({ "$ref": format!("#/components/headers/{header}") }))
}

/// Every header that answers come with.
pub(super) fn headers() -> Value {
    let header = |kind: &str, about: &str, example: Value| json!({ "description": about, "schema": { "type": kind }, "example": example });
    json!({
        "X-Request-Id": header("string", "Names the request, also in the logs.", "019cb8a0-4f7e-7c3a-9a53-3f5d8f6b2c10".into()),
        "ETag": header("string", "The version of what is shown, for If-Match.", "\"3\"".into()),
        "Idempotent-Replayed": header("string", "true where this is the answer that was given before.", "true".into()),
        "Retry-After": header("integer", "Seconds until it is worth trying again.", 1.into()),
        "RateLimit": header("string", "How many requests are left, and for how many seconds.", "\"caller\";r=199;t=1".into()),
        "RateLimit-Policy": header("string", "How many requests there may be in how many seconds.", "\"caller\";q=6000;w=60".into()),
        "WWW-Authenticate": header("string", "How to sign in.", "Bearer".into()),
    })
}

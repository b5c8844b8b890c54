//! The description of the API for programs (OpenAPI 3.1): handlers say what is special about them, and what is the
//! same for all is added here.
//!
//! A handler's annotation names its method, path, tag, body and the type of `data`; the envelope around it, failures,
//! headers, parameters of the path and examples follow from that.

pub(crate) mod accounts;
pub(crate) mod answers;
pub(crate) mod bodies;
pub(crate) mod definitions;
mod examples;
mod failures;
mod links;
mod parts;
pub(crate) mod queries;

use std::collections::HashSet;

use serde_json::{Map, Value, json};
use shared::domain::escalation::Finding;
use shared::domain::event::EventKind;
use shared::domain::role::Role;
use shared::domain::scope::Scope;
use shared::domain::sla::Mode;
use shared::domain::ticket::{Category, Priority, Status};
use utoipa::openapi::OpenApi;

use crate::routes::replans::ReplanView as Replan;

/// What is described without a handler that names it.
#[derive(utoipa::OpenApi)]
#[openapi(components(schemas(
    Finding,
    answers::Preview,
    bodies::Apply,
    Category,
    EventKind,
    Mode,
    Priority,
    Replan,
    Role,
    Scope,
    Status
)))]
pub(crate) struct Parts;

/// What operations are sorted into, in the order in which they are shown.
const TAGS: &[(&str, &str)] = &[
    ("accounts", "Signing in, the caller's own account, and those of others."),
    ("api-keys", "Keys for programs."),
    ("contacts", "The book of contacts."),
    ("tickets", "Incidents and requests, and what happens to them."),
    ("comments", "What is said about tickets."),
    ("attachments", "Files that belong to tickets."),
    ("imports", "Tickets from CSV files."),
    ("reports", "What the service desk has done."),
    ("slas", "The clocks of a ticket, and why they are due when they are."),
    ("events", "What happens, as it happens."),
    ("webhooks", "Programs that are told of events."),
    ("notifications", "Who was told what."),
    ("calendars", "When time counts."),
    ("sla-policies", "What is promised to which tickets."),
    ("escalation-policies", "Who is called when a promise is about to be broken."),
    ("schedules", "Who is on call."),
    ("teams", "Who belongs together."),
    ("operations", "How the service itself is doing."),
];

/// One operation, with what it must know of its surroundings.
struct Operation<'a> {
    path: &'a str,
    method: &'a str,
    schemas: &'a Value,
}

/// Completes what the handlers say of themselves.
///
/// # Errors
/// When the description is no JSON.
pub(crate) fn describe(api: OpenApi) -> serde_json::Result<Value> {
    let mut doc = serde_json::to_value(api)?;
    doc["info"] = json!({
        "title": "Dogwatch",
        "version": env!("CARGO_PKG_VERSION"),
        "summary": "A service desk that keeps its promises.",
        "description": "Every answer that is JSON has the same envelope. Bodies and queries with unknown fields are refused.",
        "license": { "name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0" },
    });
    doc["servers"] = json!([{ "url": "/", "description": "This server." }]);
    doc["security"] = json!([{ "bearer": [] }, { "api_key": [] }]);
    doc["tags"] = TAGS.iter().map(|(name, about)| json!({ "name": name, "description": about })).collect();
    let schemas = doc["components"]["schemas"].as_object_mut();
    schemas.into_iter().for_each(|schemas| schemas.extend(definitions::schemas()));
    tighten(&mut doc["components"]["schemas"]);
    tighten(&mut doc["paths"]);
    let mut schemas = doc["components"]["schemas"].clone();
    failures::add_schemas(&mut schemas);
    let mut seen = HashSet::new();
    for (path, item) in doc["paths"].as_object_mut().into_iter().flatten() {
        for (method, operation) in item.as_object_mut().into_iter().flatten() {
            let place = Operation { path, method, schemas: &schemas };
            let id = operation["operationId"].as_str().unwrap_or_default();
            if !seen.insert(id.to_owned()) {
                operation["operationId"] = format!("{id}_by_{method}").into();
            }
            place.complete(operation);
        }
    }
    links::add(&mut doc["paths"]);
    doc["components"] = json!({
        "schemas": schemas,
        "responses": failures::responses(),
        "headers": failures::headers(),
        "securitySchemes": {
            "bearer": { "type": "http", "scheme": "bearer", "bearerFormat": "JWT", "description": "The token that signing in gives." },
            "api_key": { "type": "apiKey", "in": "header", "name": "X-Api-Key", "description": "A key that begins with dw_." },
        },
    });
    Ok(doc)
}

/// Spells out what `format: line` (one line, not blank) and `format: lines` mean.
fn tighten(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            let format = fields.get("format").and_then(Value::as_str);
            let pattern = match format {
                Some("line") => r"^[^\x00-\x1f\x7f-\x9f]*[^\s\x00-\x1f\x7f-\x9f][^\x00-\x1f\x7f-\x9f]*$",
                Some("lines") => r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]*$",
                _ => return fields.values_mut().for_each(tighten),
            };
            if format == Some("line") {
                fields.insert("minLength".into(), 1.into());
            }
            fields.remove("format");
            fields.insert("pattern".into(), pattern.into());
        }
        Value::Array(items) => items.iter_mut().for_each(tighten),
        _ => {}
    }
}

impl Operation<'_> {
    fn complete(&self, operation: &mut Value) {
        split_sentences(operation);
        let is_open = operation["security"].as_array().is_some_and(|ways| ways.contains(&json!({})));
        if is_open {
            operation["security"] = json!([]);
        }
        self.add_parameters(operation);
        self.complete_body(operation);
        let statuses = self.failures(operation, is_open);
        let replays = !is_open && self.method == "post";
        let is_page = names(operation, "cursor");
        for (status, response) in operation["responses"].as_object_mut().into_iter().flatten() {
            if status.starts_with('2') {
                self.complete_answer(response, is_page, replays);
            } else {
                response["headers"]["X-Request-Id"] = json!({ "$ref": "#/components/headers/X-Request-Id" });
            }
        }
        for status in statuses {
            let own = &mut operation["responses"][status.to_string()];
            if own.get("content").is_none() {
                *own = json!({ "$ref": format!("#/components/responses/{}", failures::name(status)) });
            }
        }
    }

    /// Adds what the path names, and the headers that the operation understands.
    fn add_parameters(&self, operation: &mut Value) {
        let mut added = Vec::new();
        for name in self.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')) {
            if !names(operation, name) {
                added.push(self.path_parameter(name));
            }
        }
        if self.has_version(operation) {
            added.push(json!({
                "name": "If-Match", "in": "header", "schema": { "type": "string", "minLength": 1, "pattern": r#"^(\*|(W/)?"[1-9][0-9]{0,17}")$"# },
                "description": "The ETag of what is changed: the change is refused when there is a newer version.",
                "example": "*",
            }));
        }
        if self.method == "post" && operation["security"] != json!([]) {
            added.push(json!({
                "name": "Idempotency-Key", "in": "header",
                "schema": { "type": "string", "pattern": r"^[\x21-\x7e]([\t\x20-\x7e]{0,253}[\x21-\x7e])?$" },
                "description": "A key for this request: sent again with the same key it acts once.",
            }));
        }
        if let Some(parameters) = operation.get_mut("parameters").and_then(Value::as_array_mut) {
            parameters.extend(added);
        } else if !added.is_empty() {
            operation["parameters"] = added.into();
        }
    }

    fn path_parameter(&self, name: &str) -> Value {
        let of_ticket = self.path.contains("/tickets/{id}");
        let (about, schema) = match name {
            "id" if of_ticket => ("The id or the number of the ticket.", json!({ "type": "string" })),
            "token" => ("What the link carries.", json!({ "type": "string" })),
            _ => ("The id.", json!({ "type": "string", "format": "uuid" })),
        };
        let example = if of_ticket { "INC-1042".into() } else { examples::of(self.schemas, &schema) };
        json!({ "name": name, "in": "path", "required": true, "description": about, "schema": schema, "example": example })
    }

    /// Whether the operation changes a version of something, which it can be told to expect.
    fn has_version(&self, operation: &Value) -> bool {
        let makes = operation["responses"].get("201").is_some();
        let changes = match self.method {
            "delete" | "put" | "patch" => true,
            "post" => self.path.contains('{') && !makes,
            _ => false,
        };
        let said = operation["responses"].get("412").is_some();
        let shows = operation["responses"]
            .as_object()
            .into_iter()
            .flatten()
            .any(|(_, response)| self.is_versioned(&response["content"]["application/json"]["schema"]));
        said || (changes && shows)
    }

    /// A body that need not say anything need not be there, but it is never the word null.
    fn complete_body(&self, operation: &mut Value) {
        let Some(body) = operation.get_mut("requestBody") else { return };
        let contents = body.get_mut("content").and_then(Value::as_object_mut);
        let mut required = true;
        for content in contents.into_iter().flat_map(Map::values_mut) {
            let choices = content["schema"]["oneOf"].as_array().into_iter().flatten();
            if let Some(said) = choices.clone().find(|choice| choice.get("$ref").is_some()).cloned() {
                content["schema"] = said;
            }
            let schema = examples::resolve(self.schemas, &content["schema"]);
            required = schema["type"] != "object" || schema.get("required").is_some();
            self.add_example(content);
        }
        body["required"] = required.into();
    }

    fn add_example(&self, content: &mut Value) {
        if content.get("example").is_none() {
            content["example"] = examples::of(self.schemas, &content["schema"]);
        }
    }

    /// Puts the envelope around what an answer carries, and says which headers come with it.
    fn complete_answer(&self, response: &mut Value, is_page: bool, replays: bool) {
        let header = |name: &str| json!({ "$ref": format!("#/components/headers/{name}") });
        response["headers"]["X-Request-Id"] = header("X-Request-Id");
        if self.is_versioned(&response["content"]["application/json"]["schema"]) {
            response["headers"]["ETag"] = header("ETag");
        }
        if replays {
            response["headers"]["Idempotent-Replayed"] = header("Idempotent-Replayed");
        }
        for name in ["RateLimit", "RateLimit-Policy"] {
            response["headers"][name] = header(name);
        }
        let Some(contents) = response.get_mut("content").and_then(Value::as_object_mut) else { return };
        if let Some(content) = contents.get_mut("application/json") {
            let mut envelope = json!({
                "type": "object",
                "required": ["success", "data", "message", "errors"],
                "properties": {
                    "success": { "type": "boolean", "const": true },
                    "data": content["schema"].take(),
                    "message": { "type": "null" },
                    "errors": { "type": "array", "items": {}, "maxItems": 0 },
                },
            });
            if is_page {
                envelope["required"].as_array_mut().into_iter().for_each(|names| names.push("meta".into()));
                envelope["properties"]["meta"] = json!({ "$ref": "#/components/schemas/Page" });
            }
            content["schema"] = envelope;
        }
        contents.values_mut().for_each(|content| self.add_example(content));
    }

    fn is_versioned(&self, schema: &Value) -> bool {
        let resolved = examples::resolve(self.schemas, schema);
        resolved["properties"].get("version").is_some() && resolved["properties"].get("id").is_some()
    }

    /// Which failures the operation can answer with, besides those it names itself.
    fn failures(&self, operation: &mut Value, is_open: bool) -> Vec<u16> {
        let has_body = operation.get("requestBody").is_some();
        let changes = self.method != "get";
        let matches = names(operation, "If-Match");
        let prefixed = self.path.starts_with("/api/");
        let mut statuses = vec![429, 500, 503];
        statuses.extend((has_body || matches).then_some(400));
        statuses.extend((!is_open || has_body).then_some(401));
        statuses.extend((!is_open).then_some(403));
        statuses.extend(self.path.contains('{').then_some(404));
        statuses.extend((changes && !is_open).then_some(409));
        statuses.extend(matches.then_some(412));
        let named = |status: &u16| operation["responses"].get(status.to_string()).is_some();
        statuses.extend([409, 416].iter().filter(|status| named(status)));
        statuses.extend(has_body.then_some([413, 415]).into_iter().flatten());
        statuses.extend((prefixed && (!is_open || has_body)).then_some(422));
        statuses.sort_unstable();
        statuses.dedup();
        statuses
    }
}

/// Tells whether an operation has a parameter of a name.
fn names(operation: &Value, name: &str) -> bool {
    operation["parameters"].as_array().into_iter().flatten().any(|parameter| parameter["name"] == name)
}

/// Makes the first sentence of a handler's comment the summary, and the rest the description.
fn split_sentences(operation: &mut Value) {
    let text = [&operation["summary"], &operation["description"]];
    let text: Vec<&str> = text.into_iter().filter_map(Value::as_str).collect();
    let text = text.join(" ").split_whitespace().collect::<Vec<_>>().join(" ");
    let (summary, rest) = text.split_once(". ").unwrap_or((text.trim_end_matches('.'), ""));
    let (summary, rest) = (summary.to_owned(), rest.to_owned());
    operation["description"] =
        if rest.is_empty() { format!("{summary}.") } else { format!("{summary}. {rest}") }.into();
    operation["summary"] = summary.into();
}

//! What several bodies are made of.

use serde_json::{Map, Value, json};
use utoipa::openapi::ObjectBuilder;
use utoipa::openapi::schema::{ArrayBuilder, OneOfBuilder, SchemaType, Type};
use utoipa::openapi::{Ref, RefOr, Schema};

/// A length of time, such as `1h30m`, and longer than nothing.
const LENGTH: &str = "[1-9][0-9]{0,2}d([0-9]{1,2}h)?([0-9]{1,2}m)?([0-9]{1,2}s)?\
    |[1-9][0-9]{0,2}h([0-9]{1,2}m)?([0-9]{1,2}s)?|[1-9][0-9]{0,3}m([0-9]{1,2}s)?|[1-9][0-9]{0,5}s";

const TIME: &str = "([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9])?";

const DAY: &str = "^(mon|tue|wed|thu|fri|sat|sun)$";
const DATE: &str = "^[0-9]{4}-[0-9]{2}-[0-9]{2}$";

const ADDRESS: &str = r#"^[^\s\x00-\x1f\x7f-\x9f<>,;:"()\[\]\\@]{1,16}@[^\s\x00-\x1f\x7f-\x9f<>,;:"()\[\]\\@.][^\s\x00-\x1f\x7f-\x9f<>,;:"()\[\]\\@]*$"#;

const LABEL: &str = r"^[^\s\x00-\x1f\x7f-\x9f]([^\x00-\x1f\x7f-\x9f]*[^\s\x00-\x1f\x7f-\x9f])?$";

/// A calendar, where another type carries one.
pub(super) fn calendar() -> RefOr<Schema> {
    RefOr::Ref(Ref::from_schema_name("Calendar"))
}

/// The name of a time zone, where another type carries one.
pub(super) fn time_zone() -> RefOr<Schema> {
    RefOr::Ref(Ref::from_schema_name("TimeZone"))
}

/// The name of a time zone, or null.
pub(super) fn time_zone_or_null() -> RefOr<Schema> {
    or_null("TimeZone")
}

fn or_null(name: &str) -> RefOr<Schema> {
    let null = ObjectBuilder::new().schema_type(Type::Null);
    RefOr::T(OneOfBuilder::new().item(Ref::from_schema_name(name)).item(null).build().into())
}

/// Windows by weekday, where another type carries them.
pub(super) fn week() -> RefOr<Schema> {
    RefOr::Ref(Ref::from_schema_name("Week"))
}

/// A mail address, where another type carries one.
pub(super) fn address() -> RefOr<Schema> {
    RefOr::Ref(Ref::from_schema_name("Address"))
}

/// A mail address, or null.
pub(super) fn address_or_null() -> RefOr<Schema> {
    or_null("Address")
}

/// Types of events, or `*` for all.
pub(super) fn event_types() -> RefOr<Schema> {
    let all = ObjectBuilder::new().schema_type(Type::String).enum_values(Some(["*"]));
    let one = OneOfBuilder::new().item(Ref::from_schema_name("EventKind")).item(all);
    let kinds = SchemaType::from_iter([Type::Array, Type::Null]);
    let types = ArrayBuilder::new().schema_type(kinds).items(one).min_items(Some(1)).max_items(Some(50));
    RefOr::T(types.examples([json!(["ticket.created", "sla.breached"])]).build().into())
}

/// At most twenty labels.
pub(super) fn labels() -> RefOr<Schema> {
    let kinds = SchemaType::from_iter([Type::Array, Type::Null]);
    let labels =
        ArrayBuilder::new().schema_type(kinds).items(Ref::from_schema_name("Label")).max_items(Some(20));
    RefOr::T(labels.build().into())
}

pub(super) fn line(most: usize, example: &str) -> Value {
    json!({ "type": "string", "format": "line", "maxLength": most, "example": example })
}

pub(super) fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

pub(super) fn list(of: impl Into<Value>, least: usize, most: usize) -> Value {
    json!({ "type": "array", "items": of.into(), "minItems": least, "maxItems": most })
}

/// The parts by name.
pub(super) fn schemas() -> Map<String, Value> {
    let id = || json!({ "type": "string", "format": "uuid" });
    let words =
        |schema: Value| json!({ "type": ["array", "null"], "items": schema, "minItems": 1, "maxItems": 200 });
    let windows = || {
        let end = format!("({TIME}|24:00(:00)?)");
        list(
            json!({ "type": "string", "pattern": format!("^{TIME}-{end}$"), "example": "09:00-17:00" }),
            0,
            24,
        )
    };
    let by = |names: &str, about: &str, example: Value| {
        json!({
            "type": "object", "description": about, "propertyNames": { "pattern": names },
            "additionalProperties": windows(), "example": example,
        })
    };
    let span = || json!({ "type": "string", "pattern": format!("^({LENGTH})$"), "example": "4h" });
    let after = || json!({ "type": "string", "pattern": format!("^(0s|{LENGTH})$"), "example": "15m" });
    let closed = |properties: Value, required: &[&str]| json!({ "type": "object", "properties": properties, "required": required, "additionalProperties": false });
    let kind = |name: &str| json!({ "type": "string", "const": name });
    let target = |name: &str, field: &str, schema: Value| {
        closed(json!({ "type": kind(name), field: schema }), &["type", field])
    };
    let metrics = || {
        let metric = json!({ "first_response": span(), "next_response": span(), "resolution": span() });
        json!({ "type": "object", "properties": metric, "additionalProperties": false, "example": { "first_response": "15m", "resolution": "4h" } })
    };
    let webhook = json!({
        "type": kind("webhook"),
        "url": { "type": "string", "maxLength": 2000, "pattern": "^https?://", "example": "https://example.org/hook" },
        "secret": { "type": ["string", "null"], "format": "line", "maxLength": 255, "description": "Shown as ********; sent back so at the same URL it is kept.", "example": null },
    });
    let parts = json!({
        "Address": { "type": "string", "maxLength": 254, "description": "A mail address.", "pattern": ADDRESS, "example": "ada@example.org" },
        "Label": { "type": "string", "minLength": 1, "maxLength": 50, "description": "A label, on one line.", "pattern": LABEL, "example": "database" },
        "TimeZone": { "type": "string", "format": "line", "maxLength": 64, "description": "A time zone of the IANA database.", "example": "Europe/Berlin" },
        "Week": by(DAY, "Windows by weekday; a day that is not named is closed.", json!({ "mon": ["09:00-12:00", "13:00-17:00"] })),
        "Dates": by(DATE, "Windows by date, instead of the week's; none: closed all day.", json!({ "2026-12-24": ["09:00-12:00"], "2026-12-25": [] })),
        "TicketConditions": {
            "type": "object", "additionalProperties": false,
            "description": "Which tickets: all that are given must hold, and of each one of its values.",
            "properties": {
                "category": words(reference("Category")), "priority": words(reference("Priority")), "team_id": words(id()),
                "label": words(line(254, "database")), "environment": words(line(254, "production")), "contact": words(line(254, "@example.org")),
            },
            "example": { "priority": ["critical", "high"] },
        },
        "SlaTargets": {
            "type": "object", "additionalProperties": false, "minProperties": 1,
            "description": "Targets by priority and metric.",
            "properties": { "critical": metrics(), "high": metrics(), "medium": metrics(), "low": metrics() },
            "example": { "critical": { "first_response": "15m", "resolution": "4h" } },
        },
        "EscalationStep": {
            "type": "object", "required": ["when"], "additionalProperties": false,
            "description": "What is done at one time.",
            "properties": {
                "when": { "oneOf": [
                    closed(json!({ "after": after() }), &["after"]),
                    closed(json!({ "fraction": { "type": "number", "minimum": 0.000_001, "exclusiveMaximum": 1, "example": 0.75 } }), &["fraction"]),
                ] },
                "targets": { "type": ["array", "null"], "maxItems": 50, "items": reference("EscalationTarget") },
                "actions": { "type": ["array", "null"], "maxItems": 3, "items": reference("EscalationAction") },
            },
            "example": { "when": { "after": "15m" }, "targets": [{ "type": "assignee" }], "actions": [{ "type": "set_escalated" }] },
        },
        "EscalationTarget": { "description": "Who is told.", "oneOf": [
            closed(json!({ "type": kind("assignee") }), &["type"]),
            closed(json!({ "type": kind("reporter") }), &["type"]),
            target("team", "id", id()),
            target("role", "role", reference("Role")),
            target("on_call", "schedule_id", id()),
            target("user", "id", id()),
            target("address", "email", reference("Address")),
            closed(webhook, &["type", "url"]),
        ] },
        "EscalationAction": { "description": "What happens to the ticket.", "oneOf": [
            closed(json!({ "type": kind("raise_priority") }), &["type"]),
            closed(json!({ "type": kind("set_escalated") }), &["type"]),
            target("reassign", "user_id", id()),
            target("reassign", "schedule_id", id()),
        ] },
        "EscalationRepeat": {
            "description": "How often the steps after the breach come again.",
            "type": "object", "required": ["times", "every"], "additionalProperties": false,
            "properties": { "times": { "type": "integer", "minimum": 1, "maximum": 100, "example": 3 }, "every": span() },
        },
        "ScheduleLayer": {
            "description": "A rotation: its users take turns.",
            "type": "object", "required": ["name", "users", "start", "handoff", "turn"], "additionalProperties": false,
            "properties": {
                "name": line(100, "first"),
                "users": list(id(), 1, 100),
                "start": { "type": "string", "pattern": "^(19[7-9][0-9]|2[01][0-9]{2})-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])$", "example": "2026-01-05" },
                "handoff": { "type": "string", "pattern": format!("^{TIME}$"), "example": "09:00" },
                "turn": { "oneOf": [
                    { "type": "string", "enum": ["daily", "weekly"], "example": "weekly" },
                    closed(json!({ "days": { "type": "integer", "minimum": 1, "maximum": 366 } }), &["days"]),
                    closed(json!({ "hours": { "type": "integer", "minimum": 1, "maximum": 8_784 } }), &["hours"]),
                ] },
                "hours": { "oneOf": [reference("Week"), { "type": "null" }], "example": null },
            },
        },
    });
    match parts {
        Value::Object(parts) => parts,
        _ => Map::new(),
    }
}

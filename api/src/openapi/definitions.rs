//! What each kind of definition says. Handlers are the same for all kinds, so their descriptions are, too, but for the
//! names that are put in here.

use serde_json::{Map, Value, json};
use shared::domain::definition::Kind;
use utoipa::ToSchema;
use utoipa::openapi::path::{Operation, Paths};

use super::parts::{self, line, list, reference};

/// What the kinds are called: a word for types, one for operations, several of them, and their noun with its article.
struct Words {
    kind: Kind,
    camel: &'static str,
    snake: &'static str,
    plural: &'static str,
    noun: &'static str,
}

const WORDS: [Words; 5] = [
    words(Kind::Calendar, "Calendar", "calendar", "calendars", "a calendar"),
    words(Kind::SlaPolicy, "SlaPolicy", "sla_policy", "sla_policies", "an SLA policy"),
    words(
        Kind::EscalationPolicy,
        "EscalationPolicy",
        "escalation_policy",
        "escalation_policies",
        "an escalation policy",
    ),
    words(Kind::Schedule, "Schedule", "schedule", "schedules", "an on-call schedule"),
    words(Kind::Team, "Team", "team", "teams", "a team"),
];

const fn words(
    kind: Kind,
    camel: &'static str,
    snake: &'static str,
    plural: &'static str,
    noun: &'static str,
) -> Words {
    Words { kind, camel, snake, plural, noun }
}

/// Describes a handler of all kinds as one of a kind.
pub(crate) fn describe<P: utoipa::Path>(paths: &mut Paths, kind: Kind, tag: &str, path: &str) {
    let operation = of_kind(kind, tag, &P::operation()).unwrap_or_else(|_| P::operation());
    paths.add_path_operation(path, P::methods(), operation);
}

/// Puts the names of a kind into what a handler of all kinds says of itself.
fn of_kind(kind: Kind, tag: &str, operation: &Operation) -> serde_json::Result<Operation> {
    let mut text = serde_json::to_string(operation)?;
    if let Some(words) = WORDS.iter().find(|words| words.kind == kind) {
        let noun = words.noun.split_once(' ').map_or(words.noun, |(_, noun)| noun);
        text = text.replace("a definition", words.noun).replace("Definition", words.camel);
        text = text.replace("_definitions\"", &format!("_{}\"", words.plural));
        text = text.replace("_definition\"", &format!("_{}\"", words.snake));
        text = text.replace("definitions", &words.plural.replace('_', " ").replace("sla", "SLA"));
        text = text.replace("definition", noun);
        text = text.replace("_versions\"", &format!("_{}_versions\"", words.snake));
        text = text.replace("_change\"", &format!("_{}_change\"", words.snake));
    }
    let mut operation: Operation = serde_json::from_str(&text)?;
    operation.tags = Some(vec![tag.to_owned()]);
    Ok(operation)
}

/// Stands for what a kind's definitions are shown as, wherever the kind is not known yet.
#[derive(ToSchema)]
pub(crate) struct Definition {}

/// Stands for a definition to be added.
#[derive(ToSchema)]
pub(crate) struct NewDefinition {}

/// Stands for changes of a definition.
#[derive(ToSchema)]
pub(crate) struct DefinitionEdit {}

/// Stands for a change of a definition that is only tried out.
#[derive(ToSchema)]
pub(crate) struct DefinitionChange {}

/// Stands for what a definition said in a version.
#[derive(ToSchema)]
pub(crate) struct DefinitionVersion {}

/// The shapes of all kinds: as they are shown, added and changed, and what they said in a version.
pub(super) fn schemas() -> Map<String, Value> {
    let mut schemas = parts::schemas();
    for Words { kind, camel, noun, .. } in WORDS {
        let (fields, required) = fields(kind);
        let name = ("name", line(100, "Office"));
        let own = || fields.as_object().cloned().unwrap_or_default();
        let position = (kind == Kind::SlaPolicy).then(|| {
            let about = "Which is tried first; last unless given.";
            ("position", json!({ "type": ["integer", "null"], "minimum": 0, "maximum": 1_000_000, "example": 1, "description": about }))
        });
        let id = || ("id", json!({ "type": "string", "format": "uuid" }));
        let time = || json!({ "type": "string", "format": "date-time" });
        let version =
            || ("version", json!({ "type": "integer", "format": "int64", "minimum": 1, "example": 3 }));
        let mut add =
            |name: String, about: String, extra: Vec<(&str, Value)>, required: Vec<&str>, closed: bool| {
                let mut properties: Map<String, Value> =
                    extra.into_iter().map(|(name, field)| (name.to_owned(), field)).collect();
                properties.extend(own());
                let mut schema = json!({ "type": "object", "description": about, "properties": properties });
                if !required.is_empty() {
                    schema["required"] = json!(required);
                }
                if closed {
                    schema["additionalProperties"] = false.into();
                }
                schemas.insert(name, schema);
            };
        let all = |more: &[&'static str]| [more, required].concat();
        let mut shown = vec![id(), name.clone(), version(), ("created_at", time()), ("updated_at", time())];
        shown.extend(position.clone());
        if matches!(kind, Kind::SlaPolicy | Kind::EscalationPolicy) {
            let findings = json!({
                "type": "array", "items": { "$ref": "#/components/schemas/Finding" },
                "description": "What is doubtful about it, in answers to changes.",
            });
            shown.push(("findings", findings));
        }
        let head = ["id", "name", "version", "created_at", "updated_at"];
        add(camel.into(), capital(noun), shown, all(&head), false);
        let new = [name.clone()].into_iter().chain(position.clone()).collect();
        add(format!("New{camel}"), format!("{} to be added.", capital(noun)), new, all(&["name"]), true);
        let expected = (
            "version",
            json!({ "type": ["integer", "null"], "format": "int64", "minimum": 1, "example": 3 }),
        );
        let edit = [name.clone(), expected].into_iter().chain(position).collect();
        add(format!("{camel}Edit"), "The fields to change, each as a whole.".into(), edit, Vec::new(), true);
        if matches!(kind, Kind::Calendar | Kind::SlaPolicy) {
            let mode = (kind == Kind::Calendar).then(|| ("mode", or_null(reference("Mode"))));
            let about = "The fields to try out.".into();
            add(format!("{camel}Change"), about, mode.into_iter().collect(), Vec::new(), true);
        }
        let actor = ("actor_id", json!({ "type": ["string", "null"], "format": "uuid" }));
        let old = vec![id(), version(), name, ("created_at", time()), actor];
        let head = ["id", "version", "name", "created_at"];
        add(format!("{camel}Version"), format!("What {noun} said in a version."), old, all(&head), false);
    }
    schemas
}

fn capital(text: &str) -> String {
    text[..1].to_uppercase() + &text[1..]
}

fn or_null(schema: impl Into<Value>) -> Value {
    json!({ "oneOf": [schema.into(), { "type": "null" }] })
}

/// What a kind's definitions say, and what they must say.
fn fields(kind: Kind) -> (Value, &'static [&'static str]) {
    let id_or_null = json!({ "type": ["string", "null"], "format": "uuid", "example": null });
    match kind {
        Kind::Calendar => (
            json!({ "tz": reference("TimeZone"), "weekly": reference("Week"), "overrides": or_null(reference("Dates")) }),
            &["tz", "weekly"],
        ),
        Kind::SlaPolicy => (
            json!({
                "enabled": { "type": "boolean", "example": true },
                "match": or_null(reference("TicketConditions")),
                "targets": reference("SlaTargets"),
                "calendar_id": id_or_null,
                "warn_at": { "type": "array", "maxItems": 20, "items": { "type": "number", "minimum": 0.000_001, "maximum": 1 }, "example": [0.5, 0.75, 0.9] },
                "pause_statuses": { "type": "array", "items": reference("Status") },
                "escalation_policy_id": id_or_null,
                "mode": reference("Mode"),
            }),
            &["targets"],
        ),
        Kind::EscalationPolicy => (
            json!({ "steps": list(reference("EscalationStep"), 1, 50), "repeat": or_null(reference("EscalationRepeat")) }),
            &["steps"],
        ),
        Kind::Schedule => (
            json!({
                "tz": reference("TimeZone"),
                "layers": list(reference("ScheduleLayer"), 1, 20),
                "overrides": or_null(list(reference("NewOverride"), 0, 1_000)),
            }),
            &["tz", "layers"],
        ),
        Kind::Team => (
            json!({
                "members": list(json!({ "type": "string", "format": "uuid" }), 0, 500),
                "email": or_null(reference("Address")),
            }),
            &["members"],
        ),
    }
}

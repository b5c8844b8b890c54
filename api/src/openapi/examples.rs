//! Examples, put together from what schemas say about their parts.

use serde_json::{Map, Value, json};

/// Deeper than anything that is described; guards against a schema that contains itself.
const DEEPEST: usize = 12;

/// Follows references to where a schema is written.
pub(super) fn resolve<'a>(schemas: &'a Value, schema: &'a Value) -> &'a Value {
    let name = schema["$ref"].as_str().and_then(|at| at.strip_prefix("#/components/schemas/"));
    name.map_or(schema, |name| resolve(schemas, &schemas[name]))
}

/// Makes an example of a schema: the one it names, or one of its parts' examples.
pub(super) fn of(schemas: &Value, schema: &Value) -> Value {
    within(schemas, schema, DEEPEST)
}

fn within(schemas: &Value, schema: &Value, depth: usize) -> Value {
    let schema = resolve(schemas, schema);
    if let Some(example) = [&schema["example"], &schema["examples"][0], &schema["const"], &schema["default"]]
        .into_iter()
        .find(|value| !value.is_null())
    {
        return example.clone();
    }
    if depth == 0 {
        return Value::Null;
    }
    let inner = |schema: &Value| within(schemas, schema, depth - 1);
    let choices = schema["oneOf"].as_array().or(schema["anyOf"].as_array());
    if let Some(choice) = choices.and_then(|list| list.iter().find(|choice| choice["type"] != "null")) {
        return inner(choice);
    }
    if let Some(parts) = schema["allOf"].as_array() {
        let parts = parts.iter().map(inner).filter_map(|part| part.as_object().cloned());
        return Value::Object(parts.flatten().collect());
    }
    if let Some(word) = schema["enum"].as_array().and_then(|words| words.first()) {
        return word.clone();
    }
    match kind(schema) {
        "object" => {
            let properties = schema["properties"].as_object().into_iter().flatten();
            let fields: Map<_, _> = properties.map(|(name, field)| (name.clone(), inner(field))).collect();
            Value::Object(fields)
        }
        "array" if schema["maxItems"] == 0 => json!([]),
        "array" => json!([inner(&schema["items"])]),
        "string" => text(schema["format"].as_str().unwrap_or_default()).into(),
        "integer" => schema["minimum"].as_i64().unwrap_or(1).into(),
        "number" => json!(0.5),
        "boolean" => false.into(),
        _ => Value::Null,
    }
}

fn kind(schema: &Value) -> &str {
    let kinds = schema["type"].as_array();
    let named = kinds.and_then(|kinds| kinds.iter().find(|kind| *kind != "null"));
    named.unwrap_or(&schema["type"]).as_str().unwrap_or_default()
}

fn text(format: &str) -> &'static str {
    match format {
        "uuid" => "019cb8a0-4f7e-7c3a-9a53-3f5d8f6b2c10",
        "date-time" => "2026-03-04T09:00:00Z",
        "date" => "2026-03-04",
        "email" => "grace@example.org",
        "uri" => "https://example.org/hook",
        _ => "text",
    }
}

//! Worked examples.

use std::path::Path;

use serde::Deserialize;
use serde_json::{Map, Value, json};
use shared::domain::sla::simulate;
use shared::time::Timestamp;

/// An example with the part of the answer that it is about.
#[derive(Debug, Deserialize)]
struct Vector {
    case: Value,
    expect: Map<String, Value>,
    note: String,
}

/// Answers one case.
pub(crate) fn answer(case: &Value) -> Value {
    let mut answer = Vec::new();
    simulate::answer_line(case.to_string().as_bytes(), &mut answer);
    serde_json::from_slice(&answer).expect("an answer is JSON")
}

fn hold(file: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(file);
    let vectors: Vec<Vector> =
        serde_json::from_str(&std::fs::read_to_string(path).expect("the file is there"))
            .expect("it holds examples");
    assert!(vectors.len() >= 20, "the examples are gone");
    for vector in vectors {
        let answer = answer(&vector.case);
        assert_eq!(answer.get("error"), None, "{}", vector.note);
        for (field, expected) in vector.expect {
            let found = answer.get(&field).cloned().unwrap_or_default();
            let case = &answer["id"];
            assert_eq!(instants(found), instants(expected), "{field} of {case}: {}", vector.note);
        }
    }
}

/// Instants are compared as instants.
fn instants(value: Value) -> Value {
    match value {
        Value::String(text) => text.parse::<Timestamp>().map_or(Value::String(text), |at| json!(at)),
        Value::Array(values) => values.into_iter().map(instants).collect(),
        Value::Object(fields) => fields.into_iter().map(|(key, value)| (key, instants(value))).collect(),
        other => other,
    }
}

#[test]
fn the_documented_examples_hold() {
    hold("sla-vectors.json");
}

#[test]
fn the_examples_around_the_clock_hold() {
    hold("sla-always-open.json");
}

//! What a case may say, and what is said of one that is wrong.

use serde_json::{Value, json};

use crate::vectors::answer;

/// A case of an hour around the clock, with some of it changed.
fn case(changes: Value) -> Value {
    let mut case = json!({
        "id": "x", "calendar": null, "start": "2026-03-04T08:00:00Z", "target": "1h", "pauses": [],
        "retargets": [], "stop": null, "warn": [], "at": "2026-03-04T08:30:00Z",
    });
    let Value::Object(changes) = changes else { panic!("changes are fields") };
    for (field, value) in changes {
        case[field] = value;
    }
    case
}

fn error(changes: Value) -> String {
    let answer = answer(&case(changes));
    assert_eq!(answer["id"], "x", "{answer}");
    assert_eq!(answer.as_object().map(serde_json::Map::len), Some(2), "{answer}");
    answer["error"].as_str().expect("a sentence").to_owned()
}

#[test]
fn an_answer_has_its_fields_in_the_documented_order() {
    let mut line = Vec::new();
    let week = json!({"tz": "Europe/Berlin", "weekly": {"fri": ["09:00-17:00"], "mon": ["09:00-17:00"]}});
    let case = json!({
        "id": "5", "calendar": week, "start": "2026-03-06T14:00:00Z", "target": "4h",
        "pauses": [["2026-03-06T15:00:00Z", "2026-03-09T10:00:00Z"]], "warn": [0.75],
        "at": "2026-03-06T15:30:00Z",
    });
    shared::domain::sla::simulate::answer_line(case.to_string().as_bytes(), &mut line);
    let expected = r#"{"id":"5","state":"paused","due_at":"2026-03-09T13:00:00Z","breach_at":"2026-03-09T13:00:00Z","breached_at":null,"elapsed_ms":3600000,"remaining_ms":10800000,"overrun_ms":0,"warnings":[{"fraction":0.75,"at":"2026-03-09T12:00:00Z"}]}"#;
    assert_eq!(String::from_utf8(line).expect("text"), format!("{expected}\n"));
}

#[test]
fn what_is_wrong_is_said_with_its_field() {
    let pause = |from: &str, to: Value| json!({"pauses": [[from, to]]});
    let cases = [
        (
            json!({"target": "0m"}),
            "target: `0m` is not a length of time like 90s, 45m, 1h30m or 2d, longer than nothing.",
        ),
        (json!({"target": "-1h"}), "target: `-1h` is not a length of time"),
        (json!({"target": 60}), "target: invalid type: integer `60`, expected a string."),
        (json!({"start": "yesterday"}), "start: `yesterday` is not an instant like 2026-03-06T14:00:00Z."),
        (json!({"at": null}), "at: invalid type: null"),
        (
            pause("2026-03-04T09:00:00Z", json!("2026-03-04T08:59:59Z")),
            "pauses[0]: Must not end before it begins.",
        ),
        (pause("noon", Value::Null), "pauses: `noon` is not an instant"),
        (
            json!({"retargets": [{"at": "2026-03-04T07:00:00Z", "target": "1h", "mode": "restart"}]}),
            "retargets[0].at: Must not be before the start.",
        ),
        (
            json!({"retargets": [{"at": "2026-03-04T09:00:00Z", "target": "1h", "mode": "rest"}]}),
            "retargets: unknown variant `rest`",
        ),
        (
            json!({"retargets": [{"at": "2026-03-04T09:00:00Z", "target": "0s", "mode": "restart"}]}),
            "retargets: `0s` is not a length of time",
        ),
        (json!({"stop": "2026-03-04T07:59:59Z"}), "stop: Must not be before the start."),
        (json!({"warn": [0.5, 0]}), "warn[1]: Must be a share of the target"),
        (json!({"warn": [1.01]}), "warn[0]: Must be a share of the target"),
        (json!({"warn": "0.5"}), "warn: invalid type: string"),
        (json!({"calendar": {"weekly": {}}}), "calendar: missing field `tz`."),
        (json!({"calendar": {"tz": "Mars/Olympus"}}), "calendar.tz: Must be a time zone"),
        (
            json!({"calendar": {"tz": "UTC", "weekly": {"mon": ["9-17"]}}}),
            "calendar.weekly.mon[0]: Must be a window",
        ),
        (
            json!({"calendar": {"tz": "UTC", "overrides": {"2026-02-29": []}}}),
            "calendar.overrides.2026-02-29: Must be a date",
        ),
        (json!({"warning": []}), "case: unknown field `warning`, expected one of"),
    ];
    for (changes, expected) in cases {
        let found = error(changes.clone());
        assert!(found.starts_with(expected) && found.ends_with('.'), "{changes}: {found}");
    }
}

#[test]
fn what_is_no_case_is_refused_without_an_id() {
    for line in ["", "soon", "[]", "7", "{", "{\"id\":\"x\"", "{\"id\":[]}", "{}", "\"\u{0}\"", "nul"] {
        let mut answer = Vec::new();
        shared::domain::sla::simulate::answer_line(line.as_bytes(), &mut answer);
        let answer: Value = serde_json::from_slice(&answer).expect("an answer is JSON");
        assert_eq!((answer.get("id"), answer.get("state")), (Some(&Value::Null), None), "{line}: {answer}");
        assert!(answer["error"].as_str().is_some_and(|error| error.ends_with('.')), "{line}: {answer}");
    }
    let mut answer = Vec::new();
    shared::domain::sla::simulate::answer_line(b"\"\xff\"", &mut answer);
    assert!(answer.starts_with(br#"{"id":null,"error":""#));
}

#[test]
fn a_missing_field_is_named_and_most_may_be_left_out() {
    let short =
        json!({"id": 7, "start": "2026-03-04T08:00:00Z", "target": "1h", "at": "2026-03-04T08:30:00Z"});
    let found = answer(&short);
    assert_eq!((&found["id"], &found["elapsed_ms"]), (&json!(7), &json!(1_800_000)));
    for field in ["start", "target", "at"] {
        let mut without = short.clone();
        without.as_object_mut().expect("an object").remove(field);
        assert_eq!(answer(&without), json!({"id": 7, "error": format!("case: missing field `{field}`.")}));
    }
}

#[test]
fn pauses_come_in_any_order_and_may_begin_before_the_start() {
    let pauses = json!([
        ["2026-03-04T08:20:00Z", "2026-03-04T08:40:00Z"],
        ["2026-03-04T07:00:00Z", "2026-03-04T08:10:00Z"],
        ["2026-03-04T06:00:00Z", "2026-03-04T07:00:00Z"],
        ["2026-03-04T08:30:00Z", "2026-03-04T08:30:00Z"],
        ["2026-03-04T08:35:00Z", "2026-03-04T08:50:00Z"],
    ]);
    let found = answer(&case(json!({"pauses": pauses})));
    assert_eq!((&found["state"], &found["elapsed_ms"]), (&json!("paused"), &json!(600_000)));
    assert_eq!(found["due_at"], "2026-03-04T09:40:00Z");
    let before = answer(&case(json!({"pauses": pauses, "at": "2026-03-04T07:30:00Z"})));
    assert_eq!((&before["state"], &before["elapsed_ms"]), (&json!("active"), &json!(0)));
}

#[test]
fn changes_of_the_target_come_in_any_order() {
    let change = |minute: u32, target: &str| json!({"at": format!("2026-03-04T08:{minute}:00Z"), "target": target, "mode": "restart"});
    let found = answer(&case(json!({"retargets": [change(40, "3h"), change(20, "2h")]})));
    assert_eq!(
        (&found["due_at"], &found["remaining_ms"]),
        (&json!("2026-03-04T11:40:00Z"), &json!(6_600_000))
    );
}

#[test]
fn warnings_keep_the_order_in_which_they_were_given() {
    let found = answer(&case(json!({"warn": [0.9, 0.5, 0.9, 1, 0.3333333333333333]})));
    let at = |i: usize| found["warnings"][i]["at"].as_str().unwrap_or_default()[11..].to_owned();
    assert_eq!([0, 1, 2, 3, 4].map(at), ["08:54:00Z", "08:30:00Z", "08:54:00Z", "09:00:00Z", "08:20:00Z"]);
}

#[test]
fn only_a_calendar_makes_a_target_unreachable() {
    let never = json!({"tz": "UTC"});
    let once = json!({"tz": "UTC", "overrides": {"2026-03-04": ["08:00-08:40"]}});
    for (changes, unreachable) in [
        (json!({"calendar": never}), true),
        (json!({"calendar": once}), true),
        (json!({"calendar": once, "target": "40m"}), false),
        (json!({"calendar": once, "pauses": [["2026-03-04T08:10:00Z", null]]}), false),
        (json!({"pauses": [["2026-03-04T08:10:00Z", null]]}), false),
        (json!({"stop": "2026-03-04T08:10:00Z"}), false),
        (json!({}), false),
    ] {
        let found = answer(&case(changes.clone()));
        let expected = unreachable.then_some(&Value::Bool(true));
        assert_eq!(found.get("unreachable"), expected, "{changes}: {found}");
    }
}

#[test]
fn instants_have_an_offset_and_microseconds() {
    let found = answer(&case(json!({"start": "2026-03-04T09:00:00.123456789+01:00"})));
    assert_eq!(found["due_at"], "2026-03-04T09:00:00.123456Z");
    assert_eq!((&found["elapsed_ms"], &found["remaining_ms"]), (&json!(1_799_876), &json!(1_800_123)));
}

#[test]
fn the_ends_of_time_are_no_trouble() {
    let hours = json!({"tz": "Pacific/Apia", "weekly": {"mon": ["00:00-24:00"]}});
    for calendar in [Value::Null, hours] {
        for start in ["0000-01-01T00:00:00Z", "9999-12-31T23:59:59Z"] {
            for target in ["1s", "9223372036854s", "106751991d"] {
                let change = json!({"at": start, "target": "1s", "mode": "carry_fraction"});
                let grown = json!({"at": "9999-12-31T23:59:59Z", "target": target, "mode": "carry_fraction"});
                let found = answer(&case(json!({
                    "calendar": calendar, "start": start, "target": target, "warn": [1e-300, 1],
                    "retargets": [change, grown], "at": "9999-12-31T23:59:59Z",
                })));
                assert_eq!(found.get("error"), None, "{found}");
            }
        }
    }
}

//! `dogwatch sla simulate` as people run it.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};

use serde_json::Value;

fn simulate() -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dogwatch"));
    command.args(["sla", "simulate"]).env_clear();
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it can be started")
}

fn answers(cases: &str) -> (ExitStatus, Vec<String>) {
    let mut child = simulate();
    let mut input = child.stdin.take().expect("piped");
    let cases = cases.to_owned();
    let writer = std::thread::spawn(move || input.write_all(cases.as_bytes()));
    let output = child.wait_with_output().expect("it ends");
    writer.join().expect("no panic").expect("it reads all");
    let text = String::from_utf8(output.stdout).expect("JSON is UTF-8");
    (output.status, text.lines().map(str::to_owned).collect())
}

#[test]
fn the_documented_examples_hold() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/tests/sla-vectors.json");
    let vectors: Vec<Value> =
        serde_json::from_str(&std::fs::read_to_string(path).expect("the file is there")).expect("JSON");
    let cases: String = vectors.iter().map(|vector| format!("{}\n", vector["case"])).collect();
    let (status, answers) = answers(&cases);
    assert!(status.success());
    assert_eq!(answers.len(), vectors.len());
    for (vector, answer) in vectors.iter().zip(&answers) {
        let answer: Value = serde_json::from_str(answer).expect("JSON");
        assert_eq!(answer["id"], vector["case"]["id"]);
        for (field, expected) in vector["expect"].as_object().expect("an object") {
            assert_eq!(answer[field], *expected, "{field} of {}", vector["note"]);
        }
    }
}

#[test]
fn the_manual_shows_what_is_answered() {
    let page = include_str!("../../docs/sla.md");
    let between = |text: &'static str, from: &str, to: &str| {
        let (_, rest) = text.split_once(from).expect("it begins");
        rest.split_once(to).expect("it ends")
    };
    let (cases, rest) = between(page, "<<'EOF'\n", "EOF\n");
    let (expected, _) = between(rest, "```json\n", "```");
    assert_eq!(answers(cases).1, expected.lines().collect::<Vec<_>>());
}

#[test]
fn a_bad_line_is_answered_and_the_next_ones_too() {
    let good = r#"{"id":"good","start":"2026-03-04T08:00:00Z","target":"1h","at":"2026-03-04T08:00:00Z"}"#;
    let (status, answers) = answers(&format!("soon\n\n{{\"id\":\"bad\"}}\n{good}\n"));
    assert!(status.success());
    assert_eq!(answers.len(), 3);
    assert!(answers[0].starts_with(r#"{"id":null,"error":""#), "{}", answers[0]);
    assert!(answers[1].starts_with(r#"{"id":"bad","error":""#), "{}", answers[1]);
    assert!(answers[2].starts_with(r#"{"id":"good","state":"active","due_at":""#), "{}", answers[2]);
}

#[test]
fn an_answer_comes_before_the_next_case_is_asked() {
    let mut child = simulate();
    let (mut input, output) = (child.stdin.take().expect("piped"), child.stdout.take().expect("piped"));
    let mut output = BufReader::new(output);
    for id in ["one", "two"] {
        writeln!(input, r#"{{"id":"{id}"}}"#).expect("it reads");
        let mut answer = String::new();
        output.read_line(&mut answer).expect("it answers");
        assert!(answer.starts_with(&format!(r#"{{"id":"{id}""#)), "{answer}");
    }
    drop(input);
    assert!(child.wait().expect("it ends").success());
}

#[test]
fn a_reader_who_has_enough_is_no_error() {
    let mut child = simulate();
    drop(child.stdout.take());
    let mut input = child.stdin.take().expect("piped");
    // It ends as soon as it cannot write; what it then leaves unread is no concern of this test.
    while writeln!(input, r#"{{"id":"more"}}"#).is_ok() {}
    assert!(child.wait().expect("it ends").success());
}

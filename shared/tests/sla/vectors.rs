//! Worked examples.

use std::path::Path;

use crate::case::{Pauses, Vector, check};

fn vectors(file: &str) -> Vec<Vector> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(file);
    serde_json::from_str(&std::fs::read_to_string(path).expect("the file is there"))
        .expect("it holds examples")
}

#[test]
fn the_documented_examples_hold() {
    let vectors = vectors("sla-vectors.json");
    let (mut ran, mut waiting) = (0, Vec::new());
    for vector in &vectors {
        match vector.case.calendar() {
            Some(calendar) => {
                check(vector, &vector.case.answer(&calendar, Pauses::United));
                ran += 1;
            }
            None => waiting.push(&*vector.case.id),
        }
    }
    println!("{ran} examples ran, {} wait for calendars: {}", waiting.len(), waiting.join(", "));
    assert!(ran > 0, "no example ran");
}

#[test]
fn the_examples_around_the_clock_hold_with_either_way_to_pause() {
    let vectors = vectors("sla-always-open.json");
    assert!(vectors.len() > 30);
    for vector in &vectors {
        let calendar = vector.case.calendar().expect("these need no calendar");
        for pauses in [Pauses::United, Pauses::InTurn] {
            check(vector, &vector.case.answer(&calendar, pauses));
        }
    }
}

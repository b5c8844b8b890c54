//! Very many tickets out of one file, while the worker that imports them is killed.

use std::collections::HashSet;
use std::fmt::Write;
use std::time::Duration;

use reqwest::StatusCode;
use serde_json::Value;
use shared::testkit::eventually;

use crate::system::{ERIK, System};

/// What a worker may take, in KiB, however long the file is.
const MEMORY: u64 = 200 * 1024;

/// Every so many rows one cannot be used, and one stands there twice.
const ODD: usize = 1_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_thousand_rows_are_imported_once_although_the_worker_is_killed() {
    import(20_000, Duration::from_secs(120)).await;
}

/// The same for a file that takes longer than a suite should: `cargo xtask test -p dogwatch --test distributed
/// two_hundred_thousand -- --ignored`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes"]
async fn two_hundred_thousand_rows_are_imported_once_although_the_worker_is_killed() {
    import(200_000, Duration::from_secs(1_200)).await;
}

async fn import(rows: usize, within: Duration) {
    let Some(mut system) = System::prepare().await else { return };
    system.start(1, 1).await;
    let (status, answer) = system.upload(ERIK, "/tickets/import", "text/csv", file(rows)).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{answer}");
    let path = format!("/imports/{}", answer["data"]["id"].as_str().expect("an id"));

    let third = async || {
        let import = show(&system, &path).await;
        (count(&import["rows"]) > rows / 3).then_some(import)
    };
    let before = eventually("a third is read", within, third).await;
    assert_eq!(before["state"], "running", "{before}");
    let worker = system.part("worker-1");
    let first = worker.peak_memory();
    worker.kill().await;
    system.restart("worker-1").await;
    let over = async || {
        let import = show(&system, &path).await;
        (import["state"] == "done").then_some(import)
    };
    let after = eventually("all is read", within, over).await;
    let second = system.part("worker-1").peak_memory();
    assert!(first.max(second) < MEMORY, "the workers took {first} and {second} KiB");

    let odd = rows / ODD;
    let counts = ["rows", "imported", "failed", "skipped"].map(|field| count(&after[field]));
    assert_eq!(counts, [rows + 2 * odd, rows, odd, odd]);
    // The row of which nothing is right has two.
    assert_eq!(after["errors"].as_array().map(Vec::len), Some((3 * odd).min(1_000)));
    // Counted from outside, by what the rows are called.
    let exported = system.download(ERIK, "/tickets/export.csv").await;
    let titles: Vec<&str> = exported.lines().skip(1).filter_map(|line| line.split(',').nth(2)).collect();
    assert_eq!(titles.len(), rows);
    assert_eq!(titles.into_iter().collect::<HashSet<_>>().len(), rows);
    assert!(system.smtp.accepted().is_empty(), "nobody is mailed about imported tickets");
}

fn file(rows: usize) -> String {
    let mut file = String::from("title,description,priority,external_id\n");
    let text = "The lines of a ticket are about as long as this one. ".repeat(5);
    for n in 0..rows {
        let _ = writeln!(file, "Ticket {n},{text},low,{n}");
        if n % ODD == 0 {
            let _ = writeln!(file, "Twice,{text},low,{n}\n,{text},urgent,");
        }
    }
    file
}

async fn show(system: &System, path: &str) -> Value {
    system.call(ERIK, reqwest::Method::GET, path, None).await
}

fn count(value: &Value) -> usize {
    value.as_u64().and_then(|count| count.try_into().ok()).expect("a count")
}

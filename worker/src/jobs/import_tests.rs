//! Imports that are cut off between two batches, carried on by two at once, or lose their file.

use std::fmt::Write;

use futures::stream;
use shared::domain::import::Rows;
use shared::domain::job::{Ending, ImportTickets};
use shared::on_both;
use shared::store::imports::{self, Import};
use shared::store::jobs::{self, NewJob};
use shared::store::tickets::{self, Filter};
use shared::testkit::Testbed;
use tokio_util::bytes::Bytes;

use crate::context::{JobError, Outcome};
use crate::testing::Bench;

on_both! {
    a_file_is_imported_to_its_end_and_then_deleted,
    an_import_goes_on_where_it_was_cut_off,
    an_import_without_its_file_stops_and_says_so,
}

/// A bench, and an import of so many rows that waits there.
async fn bench(t: Testbed, rows: usize) -> (Bench, Import) {
    let bench = Bench::over(t, &[]);
    let blobs = bench.t.blobs();
    let mut file = String::from("title\r\n");
    for n in 0..rows {
        let _ = write!(file, "\"Ticket\n{n}\"\r\nTicket {n}\r\n");
    }
    let header = Rows::begin(&mut file.as_bytes()).expect("a first line");
    let size = i64::try_from(file.len()).expect("it is short");
    let new = Import::new(bench.t.staff.id, None, &header, bench.t.now());
    let import = Import { size, file: Some(format!("imports/{}", new.id)), ..new };
    let key = import.file.as_deref().unwrap_or_default();
    // In pieces that end anywhere.
    let pieces: Vec<_> = file.as_bytes().chunks(1_013).map(Bytes::copy_from_slice).map(Ok::<_, ()>).collect();
    blobs.put_named(key, stream::iter(pieces), 1 << 30).await.expect("it is stored");
    let mut tx = bench.t.db.begin().await.expect("a transaction");
    imports::create(&mut tx, &import).await.expect("an import");
    let job = NewJob::of(&ImportTickets { import: import.id });
    jobs::enqueue(&mut tx, vec![job], bench.t.now()).await.expect("a job");
    let _ = tx.commit().await.expect("a commit");
    (bench, import)
}

async fn now(bench: &Bench, import: &Import) -> Import {
    imports::get(&bench.t.db, import.id).await.unwrap().unwrap()
}

async fn titles(bench: &Bench) -> Vec<String> {
    let filter = Filter { limit: 100_000, ..Filter::default() };
    let found = tickets::list(&bench.t.db, &filter).await.unwrap();
    let mut titles: Vec<String> = found.into_iter().map(|(ticket, _)| ticket.title).collect();
    titles.sort();
    titles
}

fn expected(rows: usize) -> Vec<String> {
    let mut titles: Vec<String> = (0..rows).map(|n| format!("Ticket {n}")).collect();
    titles.sort();
    titles
}

async fn a_file_is_imported_to_its_end_and_then_deleted(t: Testbed) {
    let (bench, import) = bench(t, 1_200).await;
    let outcomes = bench.run_all::<ImportTickets>().await;
    assert!(matches!(outcomes[..], [Ok(Outcome::Done)]), "{outcomes:?}");
    let done = now(&bench, &import).await;
    assert_eq!((done.rows, done.imported, done.failed), (2_400, 1_200, 1_200));
    assert_eq!((done.position, done.file.as_ref(), done.finished_at.is_some()), (done.size, None, true));
    let errors = imports::errors(&bench.t.db, import.id, None, 10_000).await.unwrap();
    let lines: Vec<i64> = errors.iter().map(|error| error.line).collect();
    assert_eq!(lines, (0..1_200).map(|n| 2 + n * 3).collect::<Vec<_>>());
    assert_eq!(titles(&bench).await, expected(1_200));
    let key = import.file.unwrap();
    assert_eq!(bench.t.blobs().size(&key).await.unwrap(), None);
}

async fn an_import_goes_on_where_it_was_cut_off(t: Testbed) {
    let (bench, import) = bench(t, 1_500).await;
    let ready = bench.waiting::<ImportTickets>().await.remove(0);
    let cx = bench.claim(ready.0.id).await;
    let mut kills = 0;
    loop {
        // Cut off at any await, as by a worker that is stopped.
        let attempt = crate::registry::Run::run(&ready.1, &cx);
        let limit = std::time::Duration::from_millis(40 + 30 * kills);
        match tokio::time::timeout(limit, attempt).await {
            // What was being committed when it was cut off came to be while this attempt looked.
            Ok(Err(JobError::Snooze(_))) | Err(_) => kills += 1,
            Ok(outcome) => break assert!(matches!(outcome, Ok(Outcome::Done)), "{outcome:?}"),
        }
    }
    let done = now(&bench, &import).await;
    assert_eq!((done.rows, done.imported, done.errors), (3_000, 1_500, 1_500));
    assert_eq!(titles(&bench).await, expected(1_500));
}

async fn an_import_without_its_file_stops_and_says_so(t: Testbed) {
    let (bench, import) = bench(t, 1).await;
    bench.t.blobs().delete(import.file.as_deref().unwrap()).await.unwrap();
    let outcomes = bench.run_all::<ImportTickets>().await;
    assert!(matches!(outcomes[..], [Ok(Outcome::Committed(Ending::Discarded))]), "{outcomes:?}");
    let stopped = now(&bench, &import).await;
    assert_eq!(stopped.stopped.as_deref(), Some("The file is gone; send it again."));
    assert!(stopped.finished_at.is_some());
}

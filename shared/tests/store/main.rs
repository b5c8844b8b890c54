//! What the store promises, on both engines.

#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking, and clippy does not see that these are tests"
)]

mod accounts;
mod acknowledgements;
mod api_keys;
mod clocks;
mod concurrency;
mod contacts;
mod definitions;
mod desk;
mod desk_access;
mod desk_clocks;
mod desk_escalation;
mod escalations;
mod exports;
mod held;
mod idempotency;
mod identities;
mod imports;
mod job_leases;
mod jobs;
mod labels;
mod leases;
mod ledger;
mod notifications;
mod preferences;
mod recipients;
mod refresh_tokens;
mod replans;
mod reports;
mod rules;
mod schedules;
mod sign_ins;
mod signing_keys;
mod tickets;
mod upgrade;
mod users;
mod workers;

use chrono::TimeDelta;
use shared::store::{Committed, Tx};
use shared::testkit::Testbed;
use shared::time::Timestamp;

/// Begins a transaction.
async fn begin(t: &Testbed) -> Tx {
    t.db.begin().await.expect("a transaction")
}

/// Makes a transaction durable.
async fn commit(tx: Tx) -> Committed {
    tx.commit().await.expect("a commit")
}

/// Does something in a transaction of its own.
async fn write<T, E: std::fmt::Debug>(t: &Testbed, work: impl AsyncFnOnce(&mut Tx) -> Result<T, E>) -> T {
    let mut tx = begin(t).await;
    let done = work(&mut tx).await.expect("the work succeeds");
    let _ = commit(tx).await;
    done
}

/// Tries something in a transaction that is then given up.
async fn refused<T: std::fmt::Debug, E>(t: &Testbed, work: impl AsyncFnOnce(&mut Tx) -> Result<T, E>) -> E {
    let mut tx = begin(t).await;
    let error = work(&mut tx).await.expect_err("the work is refused");
    tx.rollback().await.expect("a rollback");
    error
}

/// The instant so long after the testbed's start.
fn at(after: TimeDelta) -> Timestamp {
    shared::testkit::start() + after
}

fn micros(n: i64) -> TimeDelta {
    TimeDelta::microseconds(n)
}

fn seconds(n: i64) -> TimeDelta {
    TimeDelta::seconds(n)
}

fn minutes(n: i64) -> TimeDelta {
    TimeDelta::minutes(n)
}

fn hours(n: i64) -> TimeDelta {
    TimeDelta::hours(n)
}

//! Removes what nobody needs any more.

use chrono::TimeDelta;
use clap::Args;
use serde::Serialize;
use shared::store::desk::{Actor, Desk};
use shared::store::maintenance::cleanup::{self, Before, KEEP_JOBS, KEEP_KEYS, Summary};
use shared::store::{Db, events, idempotency, jobs};

use super::output::{Output, size};
use super::place::Place;

/// At most as many tickets to a transaction: each locks what belongs to it.
const TICKETS: i64 = 100;

/// At most as many rows of other kinds.
const ROWS: i64 = 5_000;

/// `dogwatch cleanup`
#[derive(Debug, Args)]
pub(crate) struct Cleanup {
    /// Delete tickets that were resolved or closed longer ago than so many days
    #[arg(long, value_name = "DAYS", default_value = "365d", value_parser = parse_days)]
    older_than: TimeDelta,
    /// Do it; without this, it is only counted
    #[arg(long)]
    apply: bool,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Serialize)]
struct Report {
    applied: bool,
    #[serde(flatten)]
    removed: Summary,
    bytes_before: i64,
    bytes_after: i64,
}

pub(crate) async fn run(args: &Cleanup, place: &Place) -> anyhow::Result<()> {
    let (db, clock) = place.open_current().await?;
    let (now, kept) = (clock.now(), place.config.event_retention);
    let before = Before { tickets: now - args.older_than, events: now - kept, now };
    let bytes_before = shared::store::maintenance::size(&db).await?;
    let mut tx = db.begin_snapshot().await?;
    let found = cleanup::summary(&mut tx, before).await?;
    tx.rollback().await?;
    let mut removed = found.clone();
    if args.apply {
        let desk = Desk::new(clock, place.config.rules.clone());
        removed = apply(&db, &desk, before, &found, args.output).await?;
        let phase = args.output.phase("vacuuming");
        cleanup::vacuum(&db).await.map_err(|error| anyhow::anyhow!(crate::describe(&error)))?;
        phase.finish_and_clear();
    }
    let bytes_after = shared::store::maintenance::size(&db).await?;
    db.close().await;
    let report = Report { applied: args.apply, removed, bytes_before, bytes_after };
    args.output.print(&report, || say(&report, args.older_than, kept))
}

async fn apply(
    db: &Db,
    desk: &Desk,
    before: Before,
    found: &Summary,
    output: Output,
) -> anyhow::Result<Summary> {
    let bar = output.count("deleting old tickets", found.tickets.unsigned_abs());
    let mut removed = Summary::default();
    loop {
        let mut tx = db.begin().await?;
        let old = cleanup::old_tickets(&mut tx, before.tickets, TICKETS).await?;
        for ticket in &old {
            desk.delete(&mut tx, *ticket, None, &Actor::default()).await?;
        }
        let _ = tx.commit().await?;
        bar.inc(old.len() as u64);
        removed.tickets += i64::try_from(old.len())?;
        if old.is_empty() {
            break;
        }
    }
    bar.finish_and_clear();
    let phase = output.phase("removing what is left over");
    let Before { now, .. } = before;
    let mut tx = db.begin().await?;
    removed.labels = i64::try_from(cleanup::drop_labels(&mut tx).await?)?;
    removed.idempotency_keys = i64::try_from(idempotency::prune(&mut tx, now - KEEP_KEYS).await?)?;
    let _ = tx.commit().await?;
    removed.ended_jobs = in_batches(db, async |tx| jobs::prune(tx, now - KEEP_JOBS, ROWS).await).await?;
    removed.events = in_batches(db, async |tx| events::prune(tx, before.events, ROWS).await).await?;
    phase.finish_and_clear();
    Ok(removed)
}

async fn in_batches(
    db: &Db,
    remove: impl AsyncFn(&mut shared::store::Tx) -> shared::store::Result<u64>,
) -> anyhow::Result<i64> {
    let mut removed = 0;
    loop {
        let mut tx = db.begin().await?;
        let batch = i64::try_from(remove(&mut tx).await?)?;
        let _ = tx.commit().await?;
        removed += batch;
        if batch < ROWS {
            return Ok(removed);
        }
    }
}

fn say(report: &Report, older_than: TimeDelta, kept: TimeDelta) {
    let Summary { tickets, labels, idempotency_keys, ended_jobs, events } = &report.removed;
    println!("{}", if report.applied { "Removed:" } else { "Would remove (--apply does it):" });
    println!("  {tickets:>8} tickets resolved or closed more than {} days ago", older_than.num_days());
    println!("  {labels:>8} labels of deleted tickets");
    println!("  {idempotency_keys:>8} idempotency keys older than {} hours", KEEP_KEYS.num_hours());
    println!("  {ended_jobs:>8} jobs that ended more than {} days ago", KEEP_JOBS.num_days());
    println!("  {events:>8} events of the log older than {} days", kept.num_days());
    let [before, after] = [report.bytes_before, report.bytes_after].map(|bytes| size(bytes.unsigned_abs()));
    if report.applied {
        println!(
            "The database took {before} and takes {after}. Deleted tickets stay on record; no list shows them."
        );
    }
}

fn parse_days(text: &str) -> Result<TimeDelta, String> {
    let days =
        text.strip_suffix('d').unwrap_or(text).parse::<i64>().ok().filter(|days| (1..=36_500).contains(days));
    days.map(TimeDelta::days).ok_or_else(|| "must be a number of days from 1 to 36500, like 365d".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_whole_and_at_least_one() {
        assert_eq!(parse_days("365d"), Ok(TimeDelta::days(365)));
        assert_eq!(parse_days("7"), Ok(TimeDelta::days(7)));
        for bad in ["", "d", "0d", "-1d", "1h", "36501d", "99999999999999999999d"] {
            assert!(parse_days(bad).is_err(), "{bad}");
        }
    }
}

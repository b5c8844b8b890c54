//! Whether what is stored can be true.

use std::process::ExitCode;

use clap::Args;
use serde::Serialize;
use shared::store::Tx;
use shared::store::desk::Desk;
use shared::store::maintenance::health::{self, Check};

use super::output::Output;
use super::place::Place;

/// At most as many clocks are recomputed at once.
const BATCH: i64 = 1_000;

/// How many examples of what is wrong are named.
const EXAMPLES: usize = 5;

/// `dogwatch health`
#[derive(Debug, Args)]
pub(crate) struct Health {
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Serialize)]
struct Report {
    healthy: bool,
    checks: Vec<Check>,
}

/// Exits 1 when anything is wrong.
pub(crate) async fn run(args: &Health, place: &Place) -> anyhow::Result<ExitCode> {
    let (db, clock) = place.open_current().await?;
    let now = clock.now();
    let desk = Desk::new(clock, place.config.rules.clone());
    // One moment for all: what others are doing meanwhile is either there as a whole or not at all.
    let mut tx = db.begin_snapshot().await?;
    let phase = args.output.phase("checking");
    let mut checks = health::check(&mut tx, now).await?;
    phase.finish_and_clear();
    checks.push(recompute(&desk, &mut tx, args.output).await?);
    tx.rollback().await?;
    db.close().await;
    let report = Report { healthy: checks.iter().all(|check| check.count == 0), checks };
    args.output.print(&report, || say(&report))?;
    Ok(if report.healthy { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Holds every clock against its events.
async fn recompute(desk: &Desk, tx: &mut Tx, output: Output) -> anyhow::Result<Check> {
    let mut check = Check {
        name: "clocks_that_disagree".into(),
        about: "clocks that are not what their events say".into(),
        count: 0,
        examples: Vec::new(),
    };
    let (phase, mut after) = (output.phase("recomputing clocks"), None);
    loop {
        let batch = desk.examine(tx, after, BATCH).await?;
        phase.inc(batch.audited as u64);
        for mismatch in batch.mismatches {
            check.count += 1;
            if check.examples.len() < EXAMPLES {
                check.examples.push(format!("{} ({})", mismatch.clock, mismatch.fields.join(", ")));
            }
        }
        match batch.last {
            Some(last) => after = Some(last),
            None => break,
        }
    }
    phase.finish_and_clear();
    Ok(check)
}

fn say(report: &Report) {
    for check in report.checks.iter().filter(|check| check.count > 0) {
        println!("FAIL  {}: {} {}", check.name, check.count, check.about);
        check.examples.iter().for_each(|example| println!("      {example}"));
    }
    let failed = report.checks.iter().filter(|check| check.count > 0).count();
    println!("{} checks, {failed} failed.", report.checks.len());
}

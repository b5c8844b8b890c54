//! The jobs ledger, for operators.

use anyhow::Context;
use clap::Subcommand;
use shared::ids::JobId;
use shared::process::Process;
use shared::store::{jobs, workers};

/// `dogwatch jobs …`
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List jobs that wait or run, next first
    List {
        /// List dead letters instead, latest first
        #[arg(long)]
        dead: bool,
        /// At most as many
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(i64).range(1..=10_000))]
        limit: i64,
    },
    /// Enqueue a dead job anew
    Retry {
        /// Which; `dogwatch jobs list --dead` shows them
        #[arg(required_unless_present = "all")]
        id: Option<JobId>,
        /// All dead letters, up to 10,000
        #[arg(long, conflicts_with = "id")]
        all: bool,
    },
    /// Show how full the queues are, how jobs ended, and which workers live
    Stats,
}

pub(crate) async fn run(command: Command, process: &Process) -> anyhow::Result<()> {
    match command {
        Command::List { dead: false, limit } => list(process, limit).await,
        Command::List { dead: true, limit } => list_dead(process, limit).await,
        Command::Retry { id, .. } => retry(process, id).await,
        Command::Stats => stats(process).await,
    }
}

async fn list(process: &Process, limit: i64) -> anyhow::Result<()> {
    let waiting = jobs::list(&process.db, limit).await?;
    if waiting.is_empty() {
        println!("No job waits or runs.");
    }
    for job in waiting {
        let error = job.last_error.map(|error| format!("  {error}")).unwrap_or_default();
        let (tries, most) = (job.attempt, job.max_attempts);
        println!(
            "{}  {:<7} {:<6} {:<12} {tries}/{most}  {}{error}",
            job.id,
            job.state,
            job.priority,
            job.kind,
            at(job.run_at)
        );
    }
    Ok(())
}

async fn list_dead(process: &Process, limit: i64) -> anyhow::Result<()> {
    let dead = jobs::dead(&process.db, limit).await?;
    if dead.is_empty() {
        println!("There are no dead letters.");
    }
    for job in dead {
        let error = job.last_error.unwrap_or_default();
        println!(
            "{}  {:<6} {:<12} {} tries  {}  {error}",
            job.id,
            job.priority,
            job.kind,
            job.attempt,
            at(job.finished_at)
        );
    }
    Ok(())
}

async fn retry(process: &Process, id: Option<JobId>) -> anyhow::Result<()> {
    let now = process.desk.clock.now();
    let ids = match id {
        Some(id) => vec![id],
        None => jobs::dead(&process.db, 10_000).await?.into_iter().map(|job| job.id).collect(),
    };
    let mut retried = 0;
    for dead in &ids {
        let mut tx = process.db.begin().await?;
        let copy = jobs::retry(&mut tx, *dead, now).await?;
        // The relay dispatches it: this process is about to end.
        let _ = tx.commit().await?;
        if id.is_some() {
            let copy = copy.with_context(|| {
                format!("{dead} is not a dead letter, or was retried; see `dogwatch jobs list --dead`")
            })?;
            println!("Enqueued as {copy}.");
        }
        retried += usize::from(copy.is_some());
    }
    if id.is_none() {
        println!("Enqueued {retried} of {} dead letters anew.", ids.len());
    }
    Ok(())
}

async fn stats(process: &Process) -> anyhow::Result<()> {
    let now = process.desk.clock.now();
    println!("Queues (jobs that could run now):");
    for depth in jobs::depths(&process.db, now).await? {
        let age = (now - depth.oldest).num_seconds().max(0);
        println!("  {:<7} {:<8} {:>8}   oldest {age} s", depth.priority, depth.state, depth.jobs);
    }
    println!("Ended (kept for 14 days):");
    for (kind, outcome, count) in jobs::endings(&process.db).await? {
        println!("  {kind:<14} {outcome:<10} {count:>8}");
    }
    println!("Workers:");
    for worker in workers::list(&process.db).await? {
        let silent = (now - worker.seen_at).num_seconds().max(0);
        println!("  {}  {} on {}   seen {silent} s ago", worker.id, worker.process, worker.host);
    }
    Ok(())
}

fn at(time: shared::time::Timestamp) -> String {
    time.format("%Y-%m-%d %H:%M:%S").to_string()
}

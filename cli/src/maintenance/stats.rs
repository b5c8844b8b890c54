//! How the service desk stands.

use clap::Args;
use shared::store::maintenance::stats::{self, Counts, Stats};

use super::output::{Output, size};
use super::place::Place;

/// `dogwatch stats`
#[derive(Debug, Args)]
pub(crate) struct Show {
    #[command(flatten)]
    output: Output,
}

pub(crate) async fn run(args: &Show, place: &Place) -> anyhow::Result<()> {
    let (db, clock) = place.open_current().await?;
    let mut tx = db.begin_snapshot().await?;
    let stats = stats::collect(&mut tx, clock.now()).await?;
    tx.rollback().await?;
    db.close().await;
    args.output.print(&stats, || say(&stats))
}

fn say(stats: &Stats) {
    println!("Tickets:");
    for (status, by_priority) in &stats.tickets {
        println!("  {status:<13} {:>8}   {}", by_priority.values().sum::<i64>(), line(by_priority));
    }
    println!("  {:<13} {:>8}", "deleted", stats.deleted_tickets);
    println!("Open clocks:    {}", line(&stats.open_clocks));
    println!("Breaches:       {} in 24 hours, {} in 7 days", stats.breaches_24h, stats.breaches_7d);
    println!("Jobs:           {}", line(&stats.jobs));
    println!("Notifications:  {}", line(&stats.notifications));
    println!("Database:       {}", size(stats.database_bytes.unsigned_abs()));
}

fn line(counts: &Counts) -> String {
    let parts: Vec<String> = counts.iter().map(|(name, count)| format!("{count} {name}")).collect();
    if parts.is_empty() { "none".into() } else { parts.join(", ") }
}

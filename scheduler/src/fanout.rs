//! Hands out events to webhooks: each once, in order, with the job that posts it.

use std::time::Duration;

use shared::metrics::{WEBHOOK_DELIVERIES_MADE, WEBHOOK_EVENTS_BEHIND};
use shared::process::Process;
use shared::store::{self, deliveries};

/// How often to look.
pub(crate) const EVERY: Duration = Duration::from_millis(500);

/// At most as many events to a transaction.
const BATCH: i64 = 500;

/// Hands out until nothing is left.
pub(crate) async fn all(process: Process) -> store::Result<()> {
    let behind = hand_out(&process).await?;
    WEBHOOK_EVENTS_BEHIND.set(f64::from(i32::try_from(behind).unwrap_or(i32::MAX)));
    Ok(())
}

/// Returns how many events webhooks were behind at the beginning.
async fn hand_out(process: &Process) -> store::Result<i64> {
    let mut behind = 0;
    loop {
        let mut tx = process.db.begin().await?;
        let round = deliveries::fan_out(&mut tx, BATCH, process.desk.clock.now()).await?;
        process.queue.push(tx.commit().await?);
        behind = behind.max(round.behind);
        WEBHOOK_DELIVERIES_MADE.increment(round.deliveries as u64);
        if round.behind <= round.events || process.stop.is_cancelled() {
            return Ok(behind);
        }
    }
}

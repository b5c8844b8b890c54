//! How a service desk stands, in numbers.

use std::collections::BTreeMap;

use chrono::TimeDelta;
use serde::Serialize;

use crate::domain::sla::State;
use crate::store::query::query;
use crate::store::{Result, Tx};
use crate::time::Timestamp;

/// Counts by name.
pub type Counts = BTreeMap<String, i64>;

/// Everything as of one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Stats {
    /// Tickets by status, then by priority.
    pub tickets: BTreeMap<String, Counts>,
    /// Deleted tickets, which count nowhere else.
    pub deleted_tickets: i64,
    /// Clocks that have not ended, by state.
    pub open_clocks: Counts,
    /// Breaches of the last 24 hours that were not taken back.
    pub breaches_24h: i64,
    /// Those of the last 7 days.
    pub breaches_7d: i64,
    /// Jobs `ready`, `running` and `dead`.
    pub jobs: Counts,
    /// Notifications by state.
    pub notifications: Counts,
    /// Bytes on disk.
    pub database_bytes: i64,
}

const TICKETS: &str = "
    SELECT status, priority, COUNT(*) FROM tickets WHERE deleted_at IS NULL GROUP BY status, priority";
const DELETED: &str = "SELECT COUNT(*) FROM tickets WHERE deleted_at IS NOT NULL";
const CLOCKS: &str =
    "SELECT state, COUNT(*) FROM sla_clocks WHERE stopped_at IS NULL AND state <> $1 GROUP BY state";
const BREACHES: &str = "SELECT COUNT(*) FROM sla_clocks WHERE breached_at >= $1 AND waived_at IS NULL";
const JOBS: &str = "
    SELECT state, COUNT(*) FROM jobs GROUP BY state
    UNION ALL SELECT 'dead', COUNT(*) FROM job_history WHERE outcome = 'dead'";
const NOTIFICATIONS: &str = "SELECT state, COUNT(*) FROM notifications GROUP BY state";

/// Counts everything, as the transaction sees it.
pub async fn collect(tx: &mut Tx, now: Timestamp) -> Result<Stats> {
    let mut tickets: BTreeMap<String, Counts> = BTreeMap::new();
    for (status, priority, count) in query(TICKETS).all::<(String, String, i64)>(&mut *tx).await? {
        tickets.entry(status).or_default().insert(priority, count);
    }
    let (deleted_tickets,): (i64,) = query(DELETED).one(&mut *tx).await?;
    let open_clocks: Vec<(String, i64)> = query(CLOCKS).bind(State::Cancelled).all(&mut *tx).await?;
    let (breaches_24h,): (i64,) = query(BREACHES).bind(now - TimeDelta::days(1)).one(&mut *tx).await?;
    let (breaches_7d,): (i64,) = query(BREACHES).bind(now - TimeDelta::days(7)).one(&mut *tx).await?;
    let jobs: Vec<(String, i64)> = query(JOBS).all(&mut *tx).await?;
    let notifications: Vec<(String, i64)> = query(NOTIFICATIONS).all(&mut *tx).await?;
    let database_bytes = super::size(tx).await?;
    Ok(Stats {
        tickets,
        deleted_tickets,
        open_clocks: open_clocks.into_iter().collect(),
        breaches_24h,
        breaches_7d,
        jobs: jobs.into_iter().collect(),
        notifications: notifications.into_iter().collect(),
        database_bytes,
    })
}

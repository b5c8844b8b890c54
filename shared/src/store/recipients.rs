//! How much each address was told lately, so that a storm reaches it as one mail.

use chrono::TimeDelta;
use sqlx::FromRow;

use super::Result;
use super::db::Tx;
use super::query::{Target, Value, query};
use crate::ids::RecipientId;
use crate::time::Timestamp;

/// An address, and what it was told in its current window.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct Load {
    /// Identifier: stands for the address where the address must not be read.
    pub id: RecipientId,
    /// The mail address.
    pub address: String,
    /// Notifications in this window, those just counted included.
    pub counted: i64,
    /// When the next window may begin.
    pub window_ends_at: Timestamp,
}

const COUNT: &str = "
    INSERT INTO recipients (id, address, counted, window_ends_at)
    {rows}
    ON CONFLICT (address) DO UPDATE SET
        counted = excluded.counted + CASE WHEN recipients.window_ends_at <= $1 THEN 0 ELSE recipients.counted END,
        window_ends_at = CASE WHEN recipients.window_ends_at <= $1 THEN excluded.window_ends_at
            ELSE recipients.window_ends_at END
    RETURNING id, address, counted, window_ends_at";

/// Counts notifications, so many to each address, and keeps others from counting or releasing those of the same
/// addresses until the transaction ends. Zero only does the latter.
///
/// A window begins with the first notification after the last window.
pub async fn count(
    tx: &mut Tx,
    mut told: Vec<(String, i64)>,
    window: TimeDelta,
    now: Timestamp,
) -> Result<Vec<Load>> {
    // In one order, so that two jobs that tell the same people wait for each other, not deadlock.
    told.sort_unstable();
    let row = |(address, notifications): (String, i64)| -> [Value; 4] {
        [RecipientId::new().into(), address.into(), notifications.into(), (now + window).into()]
    };
    query(COUNT).bind(now).rows(told.into_iter().map(row)).all(tx).await
}

/// Finds an address.
pub async fn get(on: impl Into<Target<'_>>, id: RecipientId) -> Result<Option<Load>> {
    query("SELECT id, address, counted, window_ends_at FROM recipients WHERE id = $1")
        .bind(id)
        .optional(on)
        .await
}

/// Finds an address and keeps others from counting or releasing its notifications until the transaction ends.
pub async fn lock(tx: &mut Tx, id: RecipientId) -> Result<Option<Load>> {
    let select = "SELECT id, address, counted, window_ends_at FROM recipients WHERE id = $1 {for_update}";
    query(select).bind(id).optional(tx).await
}

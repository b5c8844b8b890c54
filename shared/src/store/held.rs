//! Notifications that wait until a storm or somebody's quiet hours are over, and leave together.
//!
//! Whoever holds or releases notifications of an address has its row in `recipients` locked: what is held while a
//! digest of the address is on its way is seen by that digest's end, or makes a job of its own.

use super::Result;
use super::db::Tx;
use super::notifications::{Notification, State};
use super::query::{Target, Value, query};
use crate::ids::{DigestId, NotificationId};
use crate::time::Timestamp;

/// A notification to hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    /// Which.
    pub id: NotificationId,
    /// Until when.
    pub release_at: Timestamp,
    /// Why.
    pub reason: String,
}

const HOLD: &str = "
    WITH v (id, release_at, reason) AS ({rows})
    UPDATE notifications SET state = 'held', release_at = v.release_at, reason = v.reason
    FROM v WHERE notifications.id = v.id AND state = 'pending'";

/// Holds pending notifications; returns how many.
pub async fn hold(tx: &mut Tx, holds: &[Hold]) -> Result<u64> {
    let row =
        |hold: &Hold| -> [Value; 3] { [hold.id.into(), hold.release_at.into(), hold.reason.as_str().into()] };
    query(HOLD).rows(holds.iter().map(row)).execute(tx).await
}

const AGAIN: &str = "
    UPDATE notifications SET state = 'held', reason = NULL, settled_at = NULL
    WHERE digest_id = $1 AND state = 'failed'";

const TAKE: &str = "
    UPDATE notifications SET digest_id = $1
    WHERE recipient = $2 AND channel = 'email' AND state = 'held' AND release_at <= $3 AND digest_id IS NULL
        AND NOT EXISTS (SELECT 1 FROM notifications taken WHERE taken.digest_id = $1)";

/// Chooses what a digest is made of, once: everything of the address that is held and due. A digest that was given
/// up is about the same notifications again.
pub async fn take(tx: &mut Tx, digest: DigestId, address: &str, now: Timestamp) -> Result<()> {
    query(AGAIN).bind(digest).execute(tx).await?;
    query(TAKE).bind(digest).bind(address).bind(now).execute(tx).await?;
    Ok(())
}

const OF: &str = "
    SELECT id, ticket_id, cause, recipient, channel, origin, state, reason, created_at, release_at, settled_at
    FROM notifications WHERE digest_id = $1 AND state = 'held' ORDER BY created_at, id";

/// Lists what a digest is made of and not settled, oldest first.
pub async fn of(on: impl Into<Target<'_>>, digest: DigestId) -> Result<Vec<Notification>> {
    query(OF).bind(digest).all(on).await
}

/// What became of a held notification.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Released {
    /// Which.
    pub id: NotificationId,
    /// What became of it.
    pub state: State,
    /// Why, or in which mail.
    pub reason: Option<String>,
}

const SETTLE: &str = "
    WITH v (id, state, reason) AS ({rows})
    UPDATE notifications SET state = v.state, reason = v.reason, settled_at = $2
    FROM v WHERE notifications.id = v.id AND notifications.state = 'held' AND digest_id = $1";

/// Puts what became of a digest's notifications on record; returns how many were not settled before.
pub async fn settle(tx: &mut Tx, digest: DigestId, released: &[Released], now: Timestamp) -> Result<u64> {
    let row = |r: &Released| -> [Value; 3] { [r.id.into(), r.state.into(), r.reason.as_deref().into()] };
    query(SETTLE).bind(digest).bind(now).rows(released.iter().map(row)).execute(tx).await
}

const DUE: &str = "
    SELECT 1 FROM notifications
    WHERE recipient = $1 AND channel = 'email' AND state = 'held' AND release_at <= $2 AND digest_id IS NULL
    LIMIT 1";

/// Tells whether anything of an address is held, due, and in no digest yet.
pub async fn is_due(on: impl Into<Target<'_>>, address: &str, now: Timestamp) -> Result<bool> {
    let due: Option<(i32,)> = query(DUE).bind(address).bind(now).optional(on).await?;
    Ok(due.is_some())
}

//! Failed sign-ins, counted by address in windows that begin with the first of them.
//!
//! Addresses stand here as their SHA-256, and those without an account count like any: so neither the table nor an
//! answer tells who has one.

use super::Result;
use super::db::Tx;
use super::query::{Target, query};
use crate::time::Timestamp;

/// Returns until when nobody may sign in with an address, if it failed `limit` times in the present window.
pub async fn refused_until(
    on: impl Into<Target<'_>>,
    address_hash: &str,
    limit: i64,
    now: Timestamp,
) -> Result<Option<Timestamp>> {
    let select = "SELECT window_ends_at FROM sign_in_failures
        WHERE address_hash = $1 AND failures >= $2 AND window_ends_at > $3";
    let until = query(select).bind(address_hash).bind(limit).bind(now).optional::<(Timestamp,)>(on).await?;
    Ok(until.map(|(until,)| until))
}

const COUNT: &str = "
    INSERT INTO sign_in_failures (address_hash, failures, window_ends_at) VALUES ($1, 1, $3)
    ON CONFLICT (address_hash) DO UPDATE SET
        failures = CASE WHEN sign_in_failures.window_ends_at > $2 THEN sign_in_failures.failures + 1 ELSE 1 END,
        window_ends_at = CASE WHEN sign_in_failures.window_ends_at > $2 THEN sign_in_failures.window_ends_at
            ELSE excluded.window_ends_at END
    RETURNING failures";

/// Counts a failure, and returns how many there are in the window; a new window lasts until `until`.
pub async fn count(tx: &mut Tx, address_hash: &str, now: Timestamp, until: Timestamp) -> Result<i64> {
    let (failures,) = query(COUNT).bind(address_hash).bind(now).bind(until).one::<(i64,)>(tx).await?;
    Ok(failures)
}

/// Forgets the failures of an address, since somebody signed in with it.
pub async fn forget(tx: &mut Tx, address_hash: &str) -> Result<()> {
    query("DELETE FROM sign_in_failures WHERE address_hash = $1").bind(address_hash).execute(tx).await?;
    Ok(())
}

/// Forgets windows that ended before `before`.
pub async fn prune(tx: &mut Tx, before: Timestamp) -> Result<u64> {
    query("DELETE FROM sign_in_failures WHERE window_ends_at < $1").bind(before).execute(tx).await
}

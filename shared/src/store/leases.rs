//! Leadership by a row with an expiry: no advisory locks, so it works behind a transaction pooler.

use super::Result;
use super::db::Tx;
use super::query::query;
use crate::ids::WorkerId;
use crate::time::Timestamp;

const TAKE: &str = "
    INSERT INTO leases (name, holder, expires_at) VALUES ($1, $2, $4)
    ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, expires_at = excluded.expires_at
    WHERE leases.holder = excluded.holder OR leases.expires_at <= $3";

/// Takes or renews a lease; `false` while another holds it.
pub async fn take(
    tx: &mut Tx,
    name: &str,
    holder: WorkerId,
    now: Timestamp,
    until: Timestamp,
) -> Result<bool> {
    Ok(query(TAKE).bind(name).bind(holder).bind(now).bind(until).execute(tx).await? == 1)
}

/// Gives a lease back early, so that another need not wait for it to expire.
pub async fn give_back(tx: &mut Tx, name: &str, holder: WorkerId) -> Result<()> {
    query("DELETE FROM leases WHERE name = $1 AND holder = $2").bind(name).bind(holder).execute(tx).await?;
    Ok(())
}

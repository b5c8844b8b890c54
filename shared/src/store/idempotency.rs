//! Requests that may be sent twice but must act once.
//!
//! A request first claims its key in a transaction of its own, then stores its answer in the transaction of its
//! effect. A process that dies in between leaves a claim that expires; one that was merely slow finds its claim
//! taken over and changes nothing.

use sqlx::FromRow;

use super::Result;
use super::db::Tx;
use super::query::query;
use crate::ids::{ClaimToken, UserId};
use crate::time::Timestamp;

/// A stored answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// `ETag` header, if it had one.
    pub etag: Option<String>,
    /// JSON body.
    pub body: String,
}

/// What became of a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim {
    /// Go ahead.
    Taken,
    /// The same request was answered before.
    Answered(Answer),
    /// The same request is being answered now.
    Running,
    /// The key was used for another request.
    Mismatch,
}

#[derive(FromRow)]
struct KeyRow {
    request_hash: String,
    token: ClaimToken,
    status: Option<i64>,
    etag: Option<String>,
    body: Option<String>,
}

const CLAIM: &str = "
    INSERT INTO idempotency_keys (caller_id, key, request_hash, token, locked_until, created_at)
    VALUES ($1, $2, $3, $4, $6, $5)
    ON CONFLICT (caller_id, key) DO UPDATE SET token = excluded.token, locked_until = excluded.locked_until
    WHERE idempotency_keys.status IS NULL AND idempotency_keys.locked_until <= $5
        AND idempotency_keys.request_hash = excluded.request_hash";

/// Claims a key for one request.
pub async fn claim(
    tx: &mut Tx,
    caller: UserId,
    key: &str,
    request_hash: &str,
    token: ClaimToken,
    now: Timestamp,
    until: Timestamp,
) -> Result<Claim> {
    let claim = query(CLAIM).bind(caller).bind(key).bind(request_hash).bind(token).bind(now).bind(until);
    claim.execute(tx).await?;
    let select = "SELECT request_hash, token, status, etag, body FROM idempotency_keys WHERE caller_id = $1 AND key = $2";
    let row: KeyRow = query(select).bind(caller).bind(key).one(tx).await?;
    Ok(match row {
        row if row.request_hash != request_hash => Claim::Mismatch,
        KeyRow { status: Some(status), etag, body, .. } => Claim::Answered(Answer {
            status: u16::try_from(status).unwrap_or(200),
            etag,
            body: body.unwrap_or_default(),
        }),
        row if row.token == token => Claim::Taken,
        _ => Claim::Running,
    })
}

const STORE: &str = "
    UPDATE idempotency_keys SET status = $2, etag = $3, body = $4 WHERE token = $1 AND status IS NULL";

/// Stores the answer with the effect; `false` when the claim was lost, and then the transaction must not commit.
pub async fn store(tx: &mut Tx, token: ClaimToken, answer: &Answer) -> Result<bool> {
    let store = query(STORE).bind(token).bind(i64::from(answer.status)).bind(answer.etag.as_deref());
    Ok(store.bind(&*answer.body).execute(tx).await? == 1)
}

/// Lets go of a claim whose request changed nothing, so that it may be tried again.
pub async fn release(tx: &mut Tx, token: ClaimToken) -> Result<()> {
    query("DELETE FROM idempotency_keys WHERE token = $1 AND status IS NULL").bind(token).execute(tx).await?;
    Ok(())
}

/// Forgets keys made before `before`.
pub async fn prune(tx: &mut Tx, before: Timestamp) -> Result<u64> {
    query("DELETE FROM idempotency_keys WHERE created_at < $1").bind(before).execute(tx).await
}

//! Refresh tokens. Each is good for one use, which gives the next of its family; one that comes a second time was
//! stolen, or its successor was, so the family ends.

use sqlx::FromRow;

use super::Result;
use super::db::Tx;
use super::query::query;
use crate::ids::{FamilyId, RefreshTokenId, UserId};
use crate::time::Timestamp;

const INSERT: &str = "
    INSERT INTO refresh_tokens (id, family_id, user_id, token_hash, created_at, expires_at)
    VALUES ($1, $2, $3, $4, $5, $6)";

/// Puts a token on record by its SHA-256.
pub async fn issue(
    tx: &mut Tx,
    family: FamilyId,
    user: UserId,
    token_hash: &str,
    now: Timestamp,
    until: Timestamp,
) -> Result<()> {
    let insert = query(INSERT).bind(RefreshTokenId::new()).bind(family).bind(user).bind(token_hash);
    insert.bind(now).bind(until).execute(tx).await?;
    Ok(())
}

/// What became of using a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Used {
    /// It was good, and is used up now.
    Good {
        /// Whose it was.
        user: UserId,
        /// The sign-in it continues.
        family: FamilyId,
    },
    /// It had been used before: its family is revoked now.
    Reused {
        /// Whose it was.
        user: UserId,
    },
    /// It is unknown, expired or revoked.
    Unknown,
}

#[derive(FromRow)]
struct Owner {
    user_id: UserId,
    family_id: FamilyId,
}

const USE: &str = "
    UPDATE refresh_tokens SET used_at = $2
    WHERE token_hash = $1 AND used_at IS NULL AND revoked_at IS NULL AND expires_at > $2
    RETURNING user_id, family_id";
const USED: &str = "
    SELECT user_id, family_id FROM refresh_tokens
    WHERE token_hash = $1 AND used_at IS NOT NULL AND revoked_at IS NULL";

/// Uses a token up. To be committed whatever comes of it.
pub async fn use_up(tx: &mut Tx, token_hash: &str, now: Timestamp) -> Result<Used> {
    let good: Option<Owner> = query(USE).bind(token_hash).bind(now).optional(&mut *tx).await?;
    if let Some(Owner { user_id: user, family_id: family }) = good {
        return Ok(Used::Good { user, family });
    }
    let Some(reused) = query(USED).bind(token_hash).optional::<Owner>(&mut *tx).await? else {
        return Ok(Used::Unknown);
    };
    revoke_family(tx, reused.family_id, now).await?;
    Ok(Used::Reused { user: reused.user_id })
}

async fn revoke_family(tx: &mut Tx, family: FamilyId, now: Timestamp) -> Result<()> {
    let revoke = "UPDATE refresh_tokens SET revoked_at = $2 WHERE family_id = $1 AND revoked_at IS NULL";
    query(revoke).bind(family).bind(now).execute(tx).await?;
    Ok(())
}

/// Ends the sign-in that a token belongs to; nothing happens when there is none.
pub async fn end(tx: &mut Tx, token_hash: &str, now: Timestamp) -> Result<()> {
    let select =
        query("SELECT user_id, family_id FROM refresh_tokens WHERE token_hash = $1").bind(token_hash);
    match select.optional::<Owner>(&mut *tx).await? {
        Some(owner) => revoke_family(tx, owner.family_id, now).await,
        None => Ok(()),
    }
}

/// Ends all sign-ins of a user.
pub async fn revoke_all(tx: &mut Tx, user: UserId, now: Timestamp) -> Result<u64> {
    let revoke = "UPDATE refresh_tokens SET revoked_at = $2 WHERE user_id = $1 AND revoked_at IS NULL";
    query(revoke).bind(user).bind(now).execute(tx).await
}

/// Forgets tokens that expired before `before`.
pub async fn prune(tx: &mut Tx, before: Timestamp) -> Result<u64> {
    query("DELETE FROM refresh_tokens WHERE expires_at < $1").bind(before).execute(tx).await
}

//! API keys: who holds one acts as its owner, within its scopes.

use sqlx::FromRow;
use sqlx::types::Json;

use super::accounts::{By, remember};
use super::db::Tx;
use super::edit::{self, Error};
use super::query::{Query, Target, query};
use super::{Db, Result};
use crate::domain::scope::Scope;
use crate::ids::{ApiKeyId, UserId};
use crate::time::Timestamp;

/// An API key.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct ApiKey {
    /// Identifier.
    pub id: ApiKeyId,
    /// As whom it acts.
    pub user_id: UserId,
    /// What its owner calls it.
    pub name: String,
    /// What it may be used for.
    pub scopes: Json<Vec<Scope>>,
    /// SHA-256 of its secret. Of 256 random bits nothing can be guessed, so nothing slower is needed.
    pub secret_hash: String,
    /// 1 at first, one more with every change.
    pub version: i64,
    /// When it was made.
    pub created_at: Timestamp,
    /// From when on it is no longer good.
    pub expires_at: Option<Timestamp>,
    /// When it was last used, give or take a minute.
    pub last_used_at: Option<Timestamp>,
    /// When it was revoked, if it was.
    pub revoked_at: Option<Timestamp>,
}

const INSERT: &str = "
    INSERT INTO api_keys (id, user_id, name, scopes, secret_hash, version, created_at, expires_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";

/// Adds a key. When it was last used and revoked is ignored.
pub async fn add(tx: &mut Tx, key: &ApiKey, by: &By) -> Result<()> {
    let insert = query(INSERT).bind(key.id).bind(key.user_id).bind(&*key.name).bind(json(&key.scopes.0));
    let insert = insert.bind(&*key.secret_hash).bind(key.version).bind(key.created_at).bind(key.expires_at);
    insert.execute(tx).await?;
    remember(tx, key.user_id, by, vec![("api_key", None, Some(described(key)))]).await
}

fn json(scopes: &[Scope]) -> serde_json::Value {
    scopes.iter().map(|scope| scope.as_str()).collect()
}

fn described(key: &ApiKey) -> String {
    let scopes: Vec<&str> = key.scopes.iter().map(|scope| scope.as_str()).collect();
    format!("{} ({})", key.name, scopes.join(", "))
}

/// Finds a key that was not revoked.
pub async fn get(on: impl Into<Target<'_>>, id: ApiKeyId) -> Result<Option<ApiKey>> {
    query("SELECT * FROM api_keys WHERE id = $1 AND revoked_at IS NULL").bind(id).optional(on).await
}

/// Notes that a key was used, unless that was noted since `before`.
pub async fn touch(tx: &mut Tx, id: ApiKeyId, now: Timestamp, before: Timestamp) -> Result<bool> {
    let update = "UPDATE api_keys SET last_used_at = $2
        WHERE id = $1 AND (last_used_at IS NULL OR last_used_at < $3)";
    Ok(query(update).bind(id).bind(now).bind(before).execute(tx).await? == 1)
}

async fn locked(tx: &mut Tx, id: ApiKeyId, expected: Option<i64>) -> edit::Result<ApiKey> {
    let select = query("SELECT * FROM api_keys WHERE id = $1 AND revoked_at IS NULL {for_update}");
    let key: ApiKey = select.bind(id).optional(tx).await?.ok_or(Error::NotFound("API key"))?;
    edit::expect("API key", key.version, expected)?;
    Ok(key)
}

/// Changes a key's name and scopes.
pub async fn change(
    tx: &mut Tx,
    id: ApiKeyId,
    expected: Option<i64>,
    by: &By,
    name: Option<String>,
    scopes: Option<Vec<Scope>>,
) -> edit::Result<ApiKey> {
    let before = locked(tx, id, expected).await?;
    let mut after = before.clone();
    after.name = name.unwrap_or(after.name);
    after.scopes = scopes.map_or(after.scopes, Json);
    if after == before {
        return Ok(before);
    }
    after.version += 1;
    let update = query("UPDATE api_keys SET name = $2, scopes = $3, version = version + 1 WHERE id = $1");
    update.bind(id).bind(&*after.name).bind(json(&after.scopes.0)).execute(tx).await?;
    let changed = vec![("api_key", Some(described(&before)), Some(described(&after)))];
    remember(tx, after.user_id, by, changed).await?;
    Ok(after)
}

/// Ends a key.
pub async fn revoke(tx: &mut Tx, id: ApiKeyId, expected: Option<i64>, by: &By) -> edit::Result<()> {
    let key = locked(tx, id, expected).await?;
    query("UPDATE api_keys SET revoked_at = $2 WHERE id = $1").bind(id).bind(by.now).execute(tx).await?;
    Ok(remember(tx, key.user_id, by, vec![("api_key", Some(described(&key)), None)]).await?)
}

/// Which keys to list, the newest first.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Of this user; of everybody when `None`.
    pub user: Option<UserId>,
    /// Made before this one.
    pub before: Option<ApiKeyId>,
    /// Skip as many.
    pub offset: i64,
    /// At most as many.
    pub limit: i64,
}

/// Lists keys that were not revoked, the newest first.
pub async fn list(db: &Db, filter: &Filter) -> Result<Vec<ApiKey>> {
    let select = conditions(query("SELECT *"), filter);
    select.newest_first(filter.before, filter.limit, filter.offset).all(db).await
}

/// Counts the keys that a filter lets through, on all pages.
pub async fn count(db: &Db, filter: &Filter) -> Result<i64> {
    let (count,) = conditions(query("SELECT COUNT(*)"), filter).one::<(i64,)>(db).await?;
    Ok(count)
}

fn conditions(select: Query, filter: &Filter) -> Query {
    let select = select.push(" FROM api_keys WHERE revoked_at IS NULL");
    match filter.user {
        Some(user) => select.push(" AND user_id = ").push_bind(user),
        None => select,
    }
}

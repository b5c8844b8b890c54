//! Keys that all processes share: made once, by whoever needs one first.

use super::query::query;
use super::{Db, Result};
use crate::config::Secret;
use crate::time::Timestamp;

const INSERT: &str = "
    INSERT INTO signing_keys (name, key, created_at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING";

/// Finds a key by its name, or makes it of what `fresh` gives: the same for whoever asks, also at the same moment.
pub async fn ensure(db: &Db, name: &str, fresh: impl FnOnce() -> String, now: Timestamp) -> Result<Secret> {
    if let Some(key) = get(db, name).await? {
        return Ok(key);
    }
    let mut tx = db.begin().await?;
    query(INSERT).bind(name).bind(fresh()).bind(now).execute(&mut tx).await?;
    let (key,): (String,) =
        query("SELECT key FROM signing_keys WHERE name = $1").bind(name).one(&mut tx).await?;
    let _ = tx.commit().await?;
    Ok(Secret::new(key))
}

async fn get(db: &Db, name: &str) -> Result<Option<Secret>> {
    let key = query("SELECT key FROM signing_keys WHERE name = $1").bind(name);
    Ok(key.optional::<(String,)>(db).await?.map(|(key,)| Secret::new(key)))
}

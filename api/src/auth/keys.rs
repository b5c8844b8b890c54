//! API keys as they are sent: `dw_<id>_<secret>`.

use std::sync::Arc;

use axum::http::HeaderValue;
use axum::http::request::Parts;
use chrono::TimeDelta;
use shared::ids::ApiKeyId;
use shared::store::api_keys::{self, ApiKey};
use shared::store::{self, Db};
use shared::time::Timestamp;

use super::{Account, digest, make_secret, scopes};
use crate::app::App;
use crate::error::ApiError;

/// How exact `last_used_at` is: it is not written more often.
const NOTED: TimeDelta = TimeDelta::minutes(1);

/// A key that was just made.
#[derive(Debug)]
pub struct Made {
    /// Its identifier.
    pub id: ApiKeyId,
    /// The key as its holder sends it; it is not kept anywhere.
    pub text: String,
    /// The hash of its secret, to be kept.
    pub secret_hash: String,
}

impl Made {
    /// Makes a key.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "a default key would hide that every call differs")]
    pub fn new() -> Self {
        let (id, secret) = (ApiKeyId::new(), make_secret());
        Self { id, text: format!("{}_{secret}", prefix(id)), secret_hash: digest(&secret) }
    }
}

/// What a key begins with: enough to tell keys apart, and no secret.
#[must_use]
pub fn prefix(id: ApiKeyId) -> String {
    format!("dw_{}", id.0.simple())
}

/// Reads a key: its identifier and its secret.
fn read(text: &str) -> Option<(ApiKeyId, &str)> {
    // The secret may contain underscores, the identifier does not.
    let (id, secret) = text.strip_prefix("dw_")?.split_once('_')?;
    (id.len() == 32).then_some(())?;
    Some((id.parse().ok()?, secret))
}

/// Finds out who is calling by a key, and whether it may be used for what they ask.
pub(crate) async fn authenticate(app: &App, key: &HeaderValue, parts: &Parts) -> Result<Account, ApiError> {
    let refused = || ApiError::Unauthorized("The API key is not valid, has expired or was revoked.");
    let (id, secret) = key.to_str().ok().and_then(read).ok_or_else(refused)?;
    let (db, now) = (&app.process.db, app.process.desk.clock.now());
    let key = api_keys::get(db, id).await?.filter(|key| is_good(key, secret, now)).ok_or_else(refused)?;
    let account = app.accounts.enabled(db, key.user_id).await?;
    let account = account.ok_or(ApiError::Unauthorized("The account is disabled or gone."))?;
    scopes::check(&key.scopes, parts)?;
    if key.last_used_at.is_none_or(|at| at < now - NOTED)
        && let Err(error) = note(db, id, now).await
    {
        tracing::warn!(%error, api_key.id = %id, "could not note that an API key was used");
    }
    Ok(Account { key: Some(Arc::new(key)), ..account })
}

/// Compares hashes: how long that takes tells nothing of use, since nobody can choose what a hash begins with.
fn is_good(key: &ApiKey, secret: &str, now: Timestamp) -> bool {
    key.secret_hash == digest(secret) && key.expires_at.is_none_or(|at| at > now)
}

async fn note(db: &Db, id: ApiKeyId, now: Timestamp) -> store::Result<()> {
    let mut tx = db.begin().await?;
    api_keys::touch(&mut tx, id, now, now - NOTED).await?;
    let _ = tx.commit().await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_as_it_was_made() {
        for _ in 0..100 {
            let made = Made::new();
            let (id, secret) = read(&made.text).unwrap();
            assert_eq!((id, digest(secret)), (made.id, made.secret_hash));
            assert!(made.text.starts_with(&prefix(id)) && secret.len() == 43);
        }
    }

    #[test]
    fn what_is_no_key_is_not_read() {
        let id = ApiKeyId::new();
        for odd in ["", "dw_", "dw__", "dw_x_y", &id.to_string(), &prefix(id), &format!("dw_{id}_secret")] {
            assert_eq!(read(odd), None, "{odd}");
        }
    }
}

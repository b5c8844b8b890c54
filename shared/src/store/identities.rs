//! Who users are to other issuers of tokens.

use super::Result;
use super::accounts::{By, remember};
use super::db::Tx;
use super::query::{Target, query};
use crate::ids::UserId;

/// Finds the user whom an issuer knows by a subject.
pub async fn find(on: impl Into<Target<'_>>, issuer: &str, subject: &str) -> Result<Option<UserId>> {
    let select = query("SELECT user_id FROM identities WHERE issuer = $1 AND subject = $2");
    Ok(select.bind(issuer).bind(subject).optional::<(UserId,)>(on).await?.map(|(user,)| user))
}

const BIND: &str = "
    INSERT INTO identities (issuer, subject, user_id, created_at) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING";

/// Notes that an issuer knows a user by a subject; `false` when the subject is somebody already, or the user has
/// another subject there.
pub async fn bind(tx: &mut Tx, issuer: &str, subject: &str, user: UserId, by: &By) -> Result<bool> {
    let insert = query(BIND).bind(issuer).bind(subject).bind(user).bind(by.now);
    if insert.execute(tx).await? == 0 {
        return Ok(false);
    }
    remember(tx, user, by, vec![("identity", None, Some(issuer.to_owned()))]).await?;
    Ok(true)
}

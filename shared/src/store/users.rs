//! Who can sign in.

use sqlx::FromRow;

use super::db::Tx;
use super::query::{Target, query};
use super::{Db, Error, Result};
use crate::domain::access::Caller;
use crate::domain::definition::Kind;
use crate::domain::role::Role;
use crate::domain::team;
use crate::ids::{DefinitionId, UserId};
use crate::time::Timestamp;

/// Somebody who can sign in.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct User {
    /// Identifier.
    pub id: UserId,
    /// Address, in lower case; unique.
    pub email: String,
    /// Name for people to read.
    pub name: String,
    /// What they are to the service desk.
    pub role: Role,
    /// Argon2id hash in PHC format.
    pub password_hash: String,
    /// When the account was made.
    pub created_at: Timestamp,
    /// When it was disabled, if it was.
    pub disabled_at: Option<Timestamp>,
    /// 1 at first, one more with every change.
    pub version: i64,
    /// When they last chose a password; tokens made before are no longer good.
    pub password_changed_at: Option<Timestamp>,
}

const INSERT: &str = "
    INSERT INTO users (id, email, name, role, password_hash, created_at)
    VALUES ($1, $2, $3, $4, $5, $6)";

/// Adds a user; `Error::Conflict` when the address is taken. It is enabled, at version 1.
pub async fn add(tx: &mut Tx, user: &User) -> Result<()> {
    let insert = query(INSERT).bind(user.id).bind(&*user.email).bind(&*user.name).bind(user.role);
    insert.bind(&*user.password_hash).bind(user.created_at).execute(tx).await?;
    Ok(())
}

/// Finds a user by identifier.
pub async fn get(on: impl Into<Target<'_>>, id: UserId) -> Result<Option<User>> {
    query("SELECT * FROM users WHERE id = $1").bind(id).optional(on).await
}

/// Finds a user and keeps others from changing the account until the transaction ends.
pub async fn lock(tx: &mut Tx, id: UserId) -> Result<Option<User>> {
    query("SELECT * FROM users WHERE id = $1 {for_update}").bind(id).optional(tx).await
}

/// Finds out what decides what a user may do: their role and their teams.
pub async fn caller(on: impl Into<Target<'_>>, user: &User) -> Result<Caller> {
    let mut caller = Caller::alone(user.id, user.role);
    if !user.role.is_staff() {
        return Ok(caller);
    }
    let teams: Vec<(DefinitionId, sqlx::types::Json<team::Definition>)> =
        query("SELECT id, body FROM definitions WHERE kind = $1 AND deleted_at IS NULL")
            .bind(Kind::Team)
            .all(on)
            .await?;
    for (id, sqlx::types::Json(team)) in teams {
        if team.members.contains(&user.id) {
            caller.teams.push(id);
            caller.colleagues.extend(team.members);
        }
    }
    Ok(caller)
}

/// Finds a user by address, in whatever case.
pub async fn by_email(db: &Db, email: &str) -> Result<Option<User>> {
    query("SELECT * FROM users WHERE email = $1").bind(email.to_lowercase()).optional(db).await
}

/// Lists all users by address.
pub async fn list(db: &Db) -> Result<Vec<User>> {
    query("SELECT * FROM users ORDER BY email").all(db).await
}

/// Lists those of some users who exist.
pub async fn of_ids(on: impl Into<Target<'_>>, ids: &[UserId]) -> Result<Vec<User>> {
    query("SELECT * FROM users WHERE id IN ({rows})").rows(ids.iter().map(|id| [(*id).into()])).all(on).await
}

/// Lists the roles of those who can sign in, each once.
pub async fn roles(on: impl Into<Target<'_>>) -> Result<Vec<Role>> {
    let roles: Vec<(Role,)> =
        query("SELECT DISTINCT role FROM users WHERE disabled_at IS NULL").all(on).await?;
    Ok(roles.into_iter().map(|(role,)| role).collect())
}

/// Lists those with a role who can sign in, by address.
pub async fn with_role(on: impl Into<Target<'_>>, role: Role) -> Result<Vec<User>> {
    let select = "SELECT * FROM users WHERE role = $1 AND disabled_at IS NULL ORDER BY email";
    query(select).bind(role).all(on).await
}

/// Adds a user, or gives the existing one with that address; for seeding.
pub async fn ensure(tx: &mut Tx, user: &User) -> Result<User> {
    let existing =
        query("SELECT * FROM users WHERE email = $1").bind(&*user.email).optional(&mut *tx).await?;
    if let Some(existing) = existing {
        return Ok(existing);
    }
    add(tx, user).await?;
    get(tx, user.id).await?.ok_or_else(|| Error::Corrupt(sqlx::Error::RowNotFound))
}

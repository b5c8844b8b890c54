//! How people want to be told: where they live, and when they want to be left alone.

use sqlx::FromRow;
use sqlx::types::Json;

use super::Result;
use super::db::Tx;
use super::query::{Target, query};
use crate::domain::role::Role;
use crate::ids::UserId;

/// What a user wants of notifications.
#[derive(Clone, Debug, PartialEq, FromRow)]
pub struct Preferences {
    /// The user.
    pub id: UserId,
    /// Their address.
    pub email: String,
    /// Their name.
    pub name: String,
    /// What they are to the service desk.
    pub role: Role,
    /// IANA name of their time zone.
    pub tz: Option<String>,
    /// The week in which they are left alone, as a calendar's definition.
    pub quiet_hours: Option<Json<serde_json::Value>>,
}

const COLUMNS: &str = "SELECT id, email, name, role, tz, quiet_hours FROM users ";

/// Finds what a user wants.
pub async fn get(on: impl Into<Target<'_>>, id: UserId) -> Result<Option<Preferences>> {
    query(COLUMNS).push("WHERE id = ").push_bind(id).optional(on).await
}

/// Finds what those of these addresses want that belong to enabled users.
pub async fn of_addresses(on: impl Into<Target<'_>>, addresses: &[String]) -> Result<Vec<Preferences>> {
    let select = query(COLUMNS).push("WHERE disabled_at IS NULL AND email IN ({rows})");
    select.rows(addresses.iter().map(|address| [address.as_str().into()])).all(on).await
}

/// Puts the zone and the quiet hours a user wants on record; `false` when there is no such user.
pub async fn set(tx: &mut Tx, wanted: &Preferences) -> Result<bool> {
    let hours = wanted.quiet_hours.as_ref().map(|hours| hours.0.clone());
    let update = query("UPDATE users SET tz = $2, quiet_hours = $3 WHERE id = $1");
    Ok(update.bind(wanted.id).bind(wanted.tz.as_deref()).bind(hours).execute(tx).await? == 1)
}

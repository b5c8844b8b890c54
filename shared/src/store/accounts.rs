//! What happens to accounts: every change of one is put on record with it.

use sqlx::FromRow;

use super::db::Tx;
use super::edit::{self, Error, literally};
use super::query::{Query, Value, query};
use super::users::{self, User};
use super::{Db, Result, refresh_tokens};
use crate::domain::role::Role;
use crate::ids::{AccountEventId, UserId};
use crate::time::Timestamp;

/// Who changes an account, from where, and when.
#[derive(Clone, Debug)]
pub struct By {
    /// Who; none for an operator at the command line, or another issuer of tokens.
    pub actor: Option<UserId>,
    /// From where.
    pub ip: Option<String>,
    /// When.
    pub now: Timestamp,
}

/// One change of one field of an account.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct AccountEvent {
    /// Identifier.
    pub id: AccountEventId,
    /// The account.
    pub user_id: UserId,
    /// The field's name in the API; `account` for the account as a whole, `api_key` for one of its keys.
    pub field: String,
    /// Value before; never of a password.
    pub old_value: Option<String>,
    /// Value after.
    pub new_value: Option<String>,
    /// Who did it.
    pub actor_id: Option<UserId>,
    /// From where.
    pub ip: Option<String>,
    /// When.
    pub at: Timestamp,
}

/// What changed: field, value before, value after.
pub(super) type Difference = (&'static str, Option<String>, Option<String>);

/// Adds an account; `Error::Taken` when there is one with the address.
pub async fn create(tx: &mut Tx, user: &User, by: &By) -> edit::Result<()> {
    users::add(tx, user).await.map_err(edit::taken("an account"))?;
    Ok(remember(tx, user.id, by, vec![("account", None, Some(user.role.to_string()))]).await?)
}

const LOCK: &str = "
    SELECT * FROM users WHERE id = $1 OR (role = 'admin' AND disabled_at IS NULL) ORDER BY id {for_update}";
const UPDATE: &str = "
    UPDATE users SET email = $2, name = $3, role = $4, password_hash = $5, disabled_at = $6, password_changed_at = $7,
        version = version + 1
    WHERE id = $1";

/// Changes an account. Whoever is disabled or gets another password is signed out everywhere; the last enabled admin
/// stays one.
pub async fn change(
    tx: &mut Tx,
    id: UserId,
    expected: Option<i64>,
    by: &By,
    change: impl FnOnce(&mut User),
) -> edit::Result<User> {
    // All admins are locked, in one order: so two cannot take each other's role at the same time.
    let locked: Vec<User> = query(LOCK).bind(id).all(&mut *tx).await?;
    let before = locked.iter().find(|user| user.id == id).cloned().ok_or(Error::NotFound("user"))?;
    edit::expect("account", before.version, expected)?;
    let mut after = before.clone();
    change(&mut after);
    if after == before {
        return Ok(before);
    }
    let others = locked.iter().any(|user| user.id != id);
    if is_admin(&before) && !is_admin(&after) && !others {
        return Err(Error::LastAdmin);
    }
    let update = query(UPDATE).bind(id).bind(&*after.email).bind(&*after.name).bind(after.role);
    let update = update.bind(&*after.password_hash).bind(after.disabled_at).bind(after.password_changed_at);
    update.execute(tx).await.map_err(edit::taken("an account"))?;
    after.version += 1;
    if after.disabled_at != before.disabled_at || after.password_hash != before.password_hash {
        refresh_tokens::revoke_all(tx, id, by.now).await?;
    }
    remember(tx, id, by, differences(&before, &after)).await?;
    Ok(after)
}

fn is_admin(user: &User) -> bool {
    user.role == Role::Admin && user.disabled_at.is_none()
}

fn differences(before: &User, after: &User) -> Vec<Difference> {
    let text = |user: &User| {
        let disabled = user.disabled_at.is_some().to_string();
        [
            ("email", user.email.clone()),
            ("name", user.name.clone()),
            ("role", user.role.to_string()),
            ("disabled", disabled),
        ]
    };
    let pairs = text(before).into_iter().zip(text(after));
    let mut changed: Vec<Difference> = pairs
        .filter(|(old, new)| old != new)
        .map(|((field, old), (_, new))| (field, Some(old), Some(new)))
        .collect();
    if before.password_hash != after.password_hash {
        changed.push(("password", None, None));
    }
    changed
}

const RECORD: &str = "
    INSERT INTO account_events (id, user_id, field, old_value, new_value, actor_id, ip, at) {rows}";

/// Puts on record what was changed about an account.
pub(super) async fn remember(tx: &mut Tx, user: UserId, by: &By, changed: Vec<Difference>) -> Result<()> {
    let row = |(field, old, new): Difference| -> [Value; 8] {
        let (id, ip) = (AccountEventId::new(), by.ip.as_deref());
        [
            id.into(),
            user.into(),
            field.into(),
            old.into(),
            new.into(),
            by.actor.into(),
            ip.into(),
            by.now.into(),
        ]
    };
    query(RECORD).rows(changed.into_iter().map(row)).execute(tx).await?;
    Ok(())
}

/// Lists what was changed about an account, oldest first.
pub async fn history(db: &Db, user: UserId) -> Result<Vec<AccountEvent>> {
    query("SELECT * FROM account_events WHERE user_id = $1 ORDER BY id").bind(user).all(db).await
}

/// Which accounts to list, the newest first.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// With this role.
    pub role: Option<Role>,
    /// With this in the name or the address.
    pub containing: Option<String>,
    /// Whether they are disabled.
    pub disabled: Option<bool>,
    /// Made before this one.
    pub before: Option<UserId>,
    /// Skip as many.
    pub offset: i64,
    /// At most as many.
    pub limit: i64,
}

/// Lists accounts, the newest first.
pub async fn list(db: &Db, filter: &Filter) -> Result<Vec<User>> {
    let select = conditions(query("SELECT *"), filter);
    select.newest_first(filter.before, filter.limit, filter.offset).all(db).await
}

/// Counts the accounts that a filter lets through, on all pages.
pub async fn count(db: &Db, filter: &Filter) -> Result<i64> {
    let (count,) = conditions(query("SELECT COUNT(*)"), filter).one::<(i64,)>(db).await?;
    Ok(count)
}

fn conditions(select: Query, filter: &Filter) -> Query {
    let mut select = select.push(" FROM users WHERE 1 = 1");
    if let Some(role) = filter.role {
        select = select.push(" AND role = ").push_bind(role);
    }
    if let Some(text) = &filter.containing {
        let pattern = format!("%{}%", literally(text));
        select = select.push(" AND (LOWER(name) LIKE ").push_bind(&*pattern).push(r" ESCAPE '\'");
        select = select.push(" OR email LIKE ").push_bind(&*pattern).push(r" ESCAPE '\')");
    }
    match filter.disabled {
        Some(true) => select.push(" AND disabled_at IS NOT NULL"),
        Some(false) => select.push(" AND disabled_at IS NULL"),
        None => select,
    }
}

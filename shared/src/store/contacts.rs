//! The book of contacts. Tickets keep their own copy of whom to ask, so nothing here changes one.

use sqlx::FromRow;

use super::db::Tx;
use super::edit::{self, Error, literally};
use super::query::{Query, Target, query};
use super::{Db, Result};
use crate::ids::ContactId;
use crate::time::Timestamp;

/// Somebody in the book of contacts.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct Contact {
    /// Identifier.
    pub id: ContactId,
    /// Name.
    pub name: String,
    /// Address, in lower case; unique.
    pub email: String,
    /// Telephone number, as somebody wrote it.
    pub phone: Option<String>,
    /// Where they work.
    pub organization: Option<String>,
    /// What else there is to know.
    pub notes: Option<String>,
    /// 1 at first, one more with every change.
    pub version: i64,
    /// When it was added.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

const INSERT: &str = "
    INSERT INTO contacts (id, name, email, phone, organization, notes, version, created_at, updated_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";

/// Adds a contact; `Error::Taken` when there is one with the address.
pub async fn add(tx: &mut Tx, contact: &Contact) -> edit::Result<()> {
    let c = contact;
    let insert = query(INSERT).bind(c.id).bind(&*c.name).bind(&*c.email).bind(c.phone.as_deref());
    let insert = insert.bind(c.organization.as_deref()).bind(c.notes.as_deref()).bind(c.version);
    insert.bind(c.created_at).bind(c.updated_at).execute(tx).await.map_err(edit::taken("a contact"))?;
    Ok(())
}

/// Finds a contact.
pub async fn get(on: impl Into<Target<'_>>, id: ContactId) -> Result<Option<Contact>> {
    query("SELECT * FROM contacts WHERE id = $1").bind(id).optional(on).await
}

async fn locked(tx: &mut Tx, id: ContactId, expected: Option<i64>) -> edit::Result<Contact> {
    let select = query("SELECT * FROM contacts WHERE id = $1 {for_update}");
    let contact: Contact = select.bind(id).optional(tx).await?.ok_or(Error::NotFound("contact"))?;
    edit::expect("contact", contact.version, expected)?;
    Ok(contact)
}

const UPDATE: &str = "
    UPDATE contacts SET name = $2, email = $3, phone = $4, organization = $5, notes = $6, updated_at = $7,
        version = version + 1
    WHERE id = $1";

/// Changes a contact; what changes nothing makes no version.
pub async fn change(
    tx: &mut Tx,
    id: ContactId,
    expected: Option<i64>,
    now: Timestamp,
    change: impl FnOnce(&mut Contact),
) -> edit::Result<Contact> {
    let before = locked(tx, id, expected).await?;
    let mut c = before.clone();
    change(&mut c);
    if c == before {
        return Ok(before);
    }
    let update = query(UPDATE).bind(id).bind(&*c.name).bind(&*c.email).bind(c.phone.as_deref());
    let update = update.bind(c.organization.as_deref()).bind(c.notes.as_deref()).bind(now);
    update.execute(tx).await.map_err(edit::taken("a contact"))?;
    (c.version, c.updated_at) = (c.version + 1, now);
    Ok(c)
}

/// Deletes a contact.
pub async fn delete(tx: &mut Tx, id: ContactId, expected: Option<i64>) -> edit::Result<()> {
    locked(tx, id, expected).await?;
    query("DELETE FROM contacts WHERE id = $1").bind(id).execute(tx).await?;
    Ok(())
}

/// Which contacts to list, the newest first.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// With this in the name, the address or the organization.
    pub containing: Option<String>,
    /// Added before this one.
    pub before: Option<ContactId>,
    /// Skip as many.
    pub offset: i64,
    /// At most as many.
    pub limit: i64,
}

/// Lists contacts, the newest first.
pub async fn list(db: &Db, filter: &Filter) -> Result<Vec<Contact>> {
    let select = conditions(query("SELECT *"), filter);
    select.newest_first(filter.before, filter.limit, filter.offset).all(db).await
}

/// Counts the contacts that a filter lets through, on all pages.
pub async fn count(db: &Db, filter: &Filter) -> Result<i64> {
    let (count,) = conditions(query("SELECT COUNT(*)"), filter).one::<(i64,)>(db).await?;
    Ok(count)
}

fn conditions(select: Query, filter: &Filter) -> Query {
    let select = select.push(" FROM contacts WHERE 1 = 1");
    let Some(text) = &filter.containing else { return select };
    let pattern = format!("%{}%", literally(text));
    let select = select.push(" AND (LOWER(name) LIKE ").push_bind(&*pattern).push(r" ESCAPE '\'");
    let select = select.push(" OR email LIKE ").push_bind(&*pattern).push(r" ESCAPE '\'");
    select.push(" OR LOWER(organization) LIKE ").push_bind(&*pattern).push(r" ESCAPE '\')")
}

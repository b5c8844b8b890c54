//! Calendars, policies, schedules and teams, in versions that never change.
//!
//! A definition is a name and a body in JSON that only its own kind understands. Every change makes a version and moves
//! the rulebook's revision on in the same transaction, so that processes know when to read definitions again. Changes
//! happen one after the other (see [`lock`]): what one refers to cannot be deleted at the same time.

use sqlx::FromRow;
use sqlx::types::Json;

use super::db::Tx;
use super::query::{Query, Target, query};
use super::{Db, Error as Failure};
use crate::domain::definition::Kind;
use crate::ids::{DefinitionId, UserId, VersionId};
use crate::time::Timestamp;

/// A definition as it is now.
#[derive(Clone, Debug, PartialEq, FromRow)]
pub struct Definition {
    /// Identifier.
    pub id: DefinitionId,
    /// What is defined.
    pub kind: Kind,
    /// Name; unique among those of its kind.
    pub name: String,
    /// Where it stands among those of its kind; the lowest counts first.
    pub position: i64,
    /// 1 at first, one more with every change.
    pub version: i64,
    /// The version's identifier.
    pub version_id: VersionId,
    /// What it says.
    pub body: Json<serde_json::Value>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// When it was deleted, if it was.
    pub deleted_at: Option<Timestamp>,
}

/// What a definition said from one change to the next.
#[derive(Clone, Debug, PartialEq, FromRow)]
pub struct Version {
    /// Identifier.
    pub id: VersionId,
    /// The definition.
    pub definition_id: DefinitionId,
    /// 1 at first, one more with every change.
    pub version: i64,
    /// The definition's name then.
    pub name: String,
    /// What it said then.
    pub body: Json<serde_json::Value>,
    /// When it was made.
    pub created_at: Timestamp,
    /// Who made it.
    pub actor_id: Option<UserId>,
}

/// What somebody writes into a definition.
#[derive(Clone, Debug, PartialEq)]
pub struct Draft {
    /// Name.
    pub name: String,
    /// Where it stands among those of its kind; none: where it was, or last.
    pub position: Option<i64>,
    /// What it says.
    pub body: serde_json::Value,
}

/// Who changes a definition, and when.
#[derive(Clone, Copy, Debug)]
pub struct By {
    /// Who; none for the program itself.
    pub actor: Option<UserId>,
    /// When.
    pub now: Timestamp,
}

/// Why a definition was not changed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is none with this identifier, or it was deleted.
    #[error("there is no such {}", .0.noun())]
    NotFound(Kind),
    /// The caller has seen an older version.
    #[error("the {} is at version {current} by now: read it again and repeat the change", .kind.noun())]
    Stale {
        /// What it is.
        kind: Kind,
        /// The version now.
        current: i64,
    },
    /// Another one has the name.
    #[error("there is already {} {} with the name {name}: choose another", article(*.kind), .kind.noun())]
    NameTaken {
        /// What it is.
        kind: Kind,
        /// The name.
        name: String,
    },
    /// Others refer to it.
    #[error("the {} is used by {}: change them first", .kind.noun(), by.join(", "))]
    InUse {
        /// What it is.
        kind: Kind,
        /// What refers to it, for people.
        by: Vec<String>,
    },
    /// The database failed.
    #[error(transparent)]
    Store(#[from] Failure),
}

/// The result of changing a definition.
pub type Result<T> = std::result::Result<T, Error>;

const fn article(kind: Kind) -> &'static str {
    match kind {
        Kind::EscalationPolicy | Kind::SlaPolicy => "an",
        Kind::Calendar | Kind::Schedule | Kind::Team => "a",
    }
}

/// Keeps others from changing definitions until the transaction ends. Every change does so by itself; who looks up
/// what a change will refer to does so before.
pub async fn lock(tx: &mut Tx) -> super::Result<()> {
    query("SELECT revision FROM rulebook WHERE id = 1 {for_update}").one::<(i64,)>(tx).await?;
    Ok(())
}

/// Returns the number that goes up with every change of a definition.
pub async fn revision(on: impl Into<Target<'_>>) -> super::Result<i64> {
    let (revision,) = query("SELECT revision FROM rulebook WHERE id = 1").one::<(i64,)>(on).await?;
    Ok(revision)
}

const INSERT: &str = "
    INSERT INTO definitions (id, kind, name, position, version, version_id, body, created_at, updated_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";

/// Adds a definition, last among those of its kind unless the draft says where.
pub async fn create(tx: &mut Tx, kind: Kind, draft: Draft, by: By) -> Result<Definition> {
    lock(tx).await?;
    free_name(tx, kind, &draft.name, None).await?;
    let position = match draft.position {
        Some(position) => position,
        None => last_position(tx, kind).await?.saturating_add(1),
    };
    let made = Definition {
        id: DefinitionId::new(),
        kind,
        name: draft.name,
        position,
        version: 1,
        version_id: VersionId::new(),
        body: Json(draft.body),
        created_at: by.now,
        updated_at: by.now,
        deleted_at: None,
    };
    let insert = query(INSERT).bind(made.id).bind(kind).bind(&*made.name).bind(position).bind(made.version);
    let insert = insert.bind(made.version_id).bind(made.body.0.clone()).bind(by.now).bind(by.now);
    insert.execute(tx).await?;
    record(tx, &made, by).await?;
    Ok(made)
}

async fn last_position(tx: &mut Tx, kind: Kind) -> Result<i64> {
    let last =
        query("SELECT MAX(position) FROM definitions WHERE kind = $1 AND deleted_at IS NULL").bind(kind);
    Ok(last.one::<(Option<i64>,)>(tx).await?.0.unwrap_or_default())
}

/// Refuses a name that a definition of the kind, other than `own`, has.
async fn free_name(tx: &mut Tx, kind: Kind, name: &str, own: Option<DefinitionId>) -> Result<()> {
    match by_name(tx, kind, name).await? {
        Some(other) if Some(other.id) != own => Err(Error::NameTaken { kind, name: name.into() }),
        _ => Ok(()),
    }
}

const RECORD: &str = "
    INSERT INTO definition_versions (id, definition_id, version, name, body, created_at, actor_id)
    VALUES ($1, $2, $3, $4, $5, $6, $7)";

/// Puts a definition's present version on record and moves the revision on.
async fn record(tx: &mut Tx, made: &Definition, by: By) -> Result<()> {
    let insert = query(RECORD).bind(made.version_id).bind(made.id).bind(made.version).bind(&*made.name);
    insert.bind(made.body.0.clone()).bind(by.now).bind(by.actor).execute(tx).await?;
    move_on(tx).await
}

async fn move_on(tx: &mut Tx) -> Result<()> {
    query("UPDATE rulebook SET revision = revision + 1 WHERE id = 1").execute(tx).await?;
    Ok(())
}

/// Finds a definition that was not deleted.
pub async fn get(
    on: impl Into<Target<'_>>,
    kind: Kind,
    id: DefinitionId,
) -> super::Result<Option<Definition>> {
    let select = query("SELECT * FROM definitions WHERE id = $1 AND kind = $2 AND deleted_at IS NULL");
    select.bind(id).bind(kind).optional(on).await
}

/// Finds a definition of any kind, also one that was deleted.
pub async fn any(on: impl Into<Target<'_>>, id: DefinitionId) -> super::Result<Option<Definition>> {
    query("SELECT * FROM definitions WHERE id = $1").bind(id).optional(on).await
}

/// Finds a definition that was not deleted by its name.
pub async fn by_name(on: impl Into<Target<'_>>, kind: Kind, name: &str) -> super::Result<Option<Definition>> {
    let select = query("SELECT * FROM definitions WHERE kind = $1 AND name = $2 AND deleted_at IS NULL");
    select.bind(kind).bind(name).optional(on).await
}

/// Lists all definitions of a kind in the order in which they count.
pub async fn all(on: impl Into<Target<'_>>, kind: Kind) -> super::Result<Vec<Definition>> {
    let select = "SELECT * FROM definitions WHERE kind = $1 AND deleted_at IS NULL ORDER BY position, id";
    query(select).bind(kind).all(on).await
}

/// Lists those definitions of a kind that exist.
pub async fn of_ids(
    on: impl Into<Target<'_>>,
    kind: Kind,
    ids: &[DefinitionId],
) -> super::Result<Vec<Definition>> {
    let select = query("SELECT * FROM definitions WHERE kind = $1 AND deleted_at IS NULL AND id IN ({rows})");
    select.bind(kind).rows(ids.iter().map(|id| [(*id).into()])).all(on).await
}

const UPDATE: &str = "
    UPDATE definitions SET name = $2, position = $3, version = $4, version_id = $5, body = $6, updated_at = $7
    WHERE id = $1";

/// Changes a definition, which makes a new version; a draft that says the same changes nothing.
pub async fn update(
    tx: &mut Tx,
    kind: Kind,
    id: DefinitionId,
    expected: Option<i64>,
    draft: Draft,
    by: By,
) -> Result<Definition> {
    let mut made = locked(tx, kind, id, expected).await?;
    let position = draft.position.unwrap_or(made.position);
    if (&draft.name, &draft.body, position) == (&made.name, &made.body.0, made.position) {
        return Ok(made);
    }
    free_name(tx, kind, &draft.name, Some(id)).await?;
    made.version += 1;
    made.version_id = VersionId::new();
    (made.name, made.body, made.position, made.updated_at) = (draft.name, Json(draft.body), position, by.now);
    let update = query(UPDATE).bind(id).bind(&*made.name).bind(position).bind(made.version);
    update.bind(made.version_id).bind(made.body.0.clone()).bind(by.now).execute(tx).await?;
    record(tx, &made, by).await?;
    Ok(made)
}

/// Finds a definition that nobody else can change until the transaction ends, at the version the caller has seen.
async fn locked(tx: &mut Tx, kind: Kind, id: DefinitionId, expected: Option<i64>) -> Result<Definition> {
    lock(tx).await?;
    let found = get(tx, kind, id).await?.ok_or(Error::NotFound(kind))?;
    match expected {
        Some(expected) if expected != found.version => Err(Error::Stale { kind, current: found.version }),
        _ => Ok(found),
    }
}

// A body names what it refers to by identifier, in the one form that identifiers have.
const REFERRING: &str = "
    SELECT kind, name FROM definitions
    WHERE deleted_at IS NULL AND kind <> $1 AND CAST(body AS TEXT) LIKE $2 ORDER BY kind, name";

/// Deletes a definition that no other refers to; its versions stay, for those who pinned one.
pub async fn delete(
    tx: &mut Tx,
    kind: Kind,
    id: DefinitionId,
    expected: Option<i64>,
    now: Timestamp,
) -> Result<()> {
    locked(tx, kind, id, expected).await?;
    let referring = query(REFERRING).bind(kind).bind(format!("%{id}%"));
    let referring: Vec<(Kind, String)> = referring.all(&mut *tx).await?;
    if !referring.is_empty() {
        let by = referring.into_iter().map(|(kind, name)| format!("the {} {name}", kind.noun())).collect();
        return Err(Error::InUse { kind, by });
    }
    query("UPDATE definitions SET deleted_at = $2 WHERE id = $1").bind(id).bind(now).execute(tx).await?;
    move_on(tx).await
}

/// Lists the versions of a definition, the latest first, from right before one of them on if it is given.
pub async fn versions(
    db: &Db,
    definition: DefinitionId,
    before: Option<i64>,
    limit: i64,
) -> super::Result<Vec<Version>> {
    let mut select = query("SELECT * FROM definition_versions WHERE definition_id = ").push_bind(definition);
    if let Some(before) = before {
        select = select.push(" AND version < ").push_bind(before);
    }
    select.push(" ORDER BY version DESC LIMIT ").push_bind(limit).all(db).await
}

/// Finds a version, also of a definition that was deleted.
pub async fn version(on: impl Into<Target<'_>>, id: VersionId) -> super::Result<Option<Version>> {
    query("SELECT * FROM definition_versions WHERE id = $1").bind(id).optional(on).await
}

/// By what a list is ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum SortBy {
    /// When it was made.
    #[default]
    CreatedAt,
    /// When it last changed.
    UpdatedAt,
    /// Where it stands among those of its kind.
    Position,
}

/// The sort key of one definition, and its identifier.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Position {
    /// Time key, for the orders by time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
    /// Rank key, for the other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rank: Option<i64>,
    /// Breaks ties.
    pub id: DefinitionId,
}

/// Which definitions of a kind to list, and how.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Of this name.
    pub name: Option<String>,
    /// Order.
    pub sort: SortBy,
    /// Greatest first.
    pub descending: bool,
    /// Behind this one.
    pub after: Option<Position>,
    /// Skip as many.
    pub offset: i64,
    /// At most as many.
    pub limit: i64,
}

/// Lists definitions of a kind; [`SortBy::position`] tells where the next page starts.
pub async fn list(db: &Db, kind: Kind, filter: &Filter) -> super::Result<Vec<Definition>> {
    let mut select = conditions(query("SELECT *"), kind, filter);
    let key = filter.sort.key();
    if let Some(after) = &filter.after {
        select =
            select.push(" AND (").push(key).push(if filter.descending { ", id) < (" } else { ", id) > (" });
        select = match filter.sort {
            SortBy::Position => select.push_bind(after.rank),
            SortBy::CreatedAt | SortBy::UpdatedAt => select.push_bind(after.at),
        };
        select = select.push(", ").push_bind(after.id).push(")");
    }
    let direction = if filter.descending { " DESC" } else { " ASC" };
    select = select.push(" ORDER BY ").push(key).push(direction).push(", id").push(direction);
    select.push(" LIMIT ").push_bind(filter.limit).push(" OFFSET ").push_bind(filter.offset).all(db).await
}

/// Counts the definitions of a kind that a filter lets through, on all pages.
pub async fn count(db: &Db, kind: Kind, filter: &Filter) -> super::Result<i64> {
    let (count,) = conditions(query("SELECT COUNT(*)"), kind, filter).one::<(i64,)>(db).await?;
    Ok(count)
}

fn conditions(select: Query, kind: Kind, filter: &Filter) -> Query {
    let select = select.push(" FROM definitions WHERE deleted_at IS NULL AND kind = ").push_bind(kind);
    match &filter.name {
        Some(name) => select.push(" AND name = ").push_bind(name.as_str()),
        None => select,
    }
}

impl SortBy {
    const fn key(self) -> &'static str {
        match self {
            Self::CreatedAt => "created_at",
            Self::UpdatedAt => "updated_at",
            Self::Position => "position",
        }
    }

    /// Where a definition stands in a list of this order.
    #[must_use]
    pub fn position(self, definition: &Definition) -> Position {
        let Definition { id, created_at, updated_at, position, .. } = *definition;
        match self {
            Self::CreatedAt => Position { at: Some(created_at), rank: None, id },
            Self::UpdatedAt => Position { at: Some(updated_at), rank: None, id },
            Self::Position => Position { at: None, rank: Some(position), id },
        }
    }
}

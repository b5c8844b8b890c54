//! The rules in force, read from the definitions and kept until one of them changes.

use std::sync::{Arc, Mutex, PoisonError};

use sqlx::FromRow;
use sqlx::types::Json;

use super::query::{Target, query};
use super::{Error, Result, calendars};
use crate::domain::Rules;
use crate::domain::rulebook::{InForce, Rulebook};
use crate::domain::sla::{Calendar, policy};
use crate::ids::{DefinitionId, VersionId};

/// The rules as they were last read; clones share it.
#[derive(Clone, Debug, Default)]
pub struct Book(Arc<Mutex<Option<Arc<Rulebook>>>>);

#[derive(FromRow)]
struct Row {
    id: DefinitionId,
    kind: String,
    name: String,
    version_id: VersionId,
    body: Json<serde_json::Value>,
}

impl Book {
    /// The rules in force now: those read before, unless a definition has changed since.
    ///
    /// A definition that cannot be read is left out and logged: tickets come under the next policy, not under none.
    pub async fn open(&self, on: impl Into<Target<'_>>, rules: &Rules) -> Result<Arc<Rulebook>> {
        let mut on = on.into();
        let (revision,): (i64,) = query("SELECT revision FROM rulebook").one(on.again()).await?;
        if let Some(book) = &*self.0.lock().unwrap_or_else(PoisonError::into_inner)
            && book.revision == revision
        {
            return Ok(Arc::clone(book));
        }
        let book = Arc::new(read(on, rules, revision).await?);
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&book));
        Ok(book)
    }
}

async fn read(on: Target<'_>, rules: &Rules, revision: i64) -> Result<Rulebook> {
    let mut book = Rulebook { revision, ..Rulebook::built_in(rules) };
    if revision == 0 {
        return Ok(book);
    }
    let select = query(
        "SELECT id, kind, name, version_id, body FROM definitions
        WHERE deleted_at IS NULL AND kind IN ('calendar', 'escalation_policy', 'sla_policy')
        ORDER BY kind, position, id",
    );
    let rows: Vec<Row> = select.all(on).await?;
    // Policies come last, in the order of the kinds' names: what they refer to is read by then.
    for row in rows {
        let read = match &*row.kind {
            "calendar" => parsed(&row)
                .and_then(|definition| calendars::read(row.version_id, &definition))
                .map(|calendar| drop(book.calendars.insert(row.id, calendar))),
            "escalation_policy" => {
                book.escalations.insert(row.id, row.version_id);
                Ok(())
            }
            _ => parsed(&row).and_then(|definition: policy::Definition| {
                let policy = in_force(&row, &definition, &book)?;
                book.policies.extend(definition.enabled.then(|| Arc::new(policy)));
                Ok(())
            }),
        };
        if let Err(error) = read {
            tracing::error!(%error, kind = row.kind, name = row.name, "a definition cannot be read and is left out");
        }
    }
    Ok(book)
}

fn parsed<T: serde::de::DeserializeOwned>(row: &Row) -> Result<T> {
    serde_json::from_value(row.body.0.clone())
        .map_err(|error| Error::Corrupt(sqlx::Error::Decode(error.into())))
}

/// Makes a policy with what it refers to.
fn in_force(row: &Row, definition: &policy::Definition, book: &Rulebook) -> Result<InForce> {
    let policy = definition.read().map_err(|problems| {
        let what = problems.into_iter().map(|p| format!("{}: {}", p.field, p.message)).collect::<Vec<_>>();
        Error::Corrupt(sqlx::Error::Decode(what.join(" ").into()))
    })?;
    let calendar = match definition.calendar_id {
        None => Calendar::AlwaysOpen,
        Some(id) => book.calendars.get(&id).cloned().ok_or(Error::Corrupt(sqlx::Error::RowNotFound))?,
    };
    Ok(InForce {
        version: Some(row.version_id),
        definition: Some(row.id),
        name: row.name.clone(),
        matches: definition.matches.clone(),
        policy,
        calendar,
        calendar_id: definition.calendar_id,
        escalation: definition.escalation_policy_id.and_then(|id| book.escalations.get(&id).copied()),
        calls_at: Vec::new(),
    })
}

/// The policy that a ticket came under: as it is now, or as it was in that version.
pub async fn by_version(
    on: impl Into<Target<'_>>,
    book: &Rulebook,
    version: Option<VersionId>,
) -> Result<Arc<InForce>> {
    if let Some(policy) = book.by_version(version) {
        return Ok(Arc::clone(policy));
    }
    let select = query(
        "SELECT d.id, d.kind, d.name, v.id AS version_id, v.body
        FROM definition_versions v JOIN definitions d ON d.id = v.definition_id WHERE v.id = $1",
    );
    let row: Row = select.bind(version).one(on).await?;
    let mut definition: policy::Definition = parsed(&row)?;
    // A calendar that was deleted since: clocks that run keep the version they have.
    definition.calendar_id = definition.calendar_id.filter(|id| book.calendars.contains_key(id));
    Ok(Arc::new(in_force(&row, &definition, book)?))
}

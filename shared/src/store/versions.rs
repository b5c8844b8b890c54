//! What versions of definitions say. A version never changes, so a process reads each once.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, PoisonError, RwLock};

use sqlx::types::Json;

use super::query::{Target, query};
use super::{Error, Result};
use crate::domain::sla::{Calendar, calendar};
use crate::domain::{Problem, escalation};
use crate::ids::VersionId;

/// What this process has read.
type Known<T> = LazyLock<RwLock<HashMap<VersionId, T>>>;

static CALENDARS: Known<Calendar> = LazyLock::new(RwLock::default);
static ESCALATION_POLICIES: Known<Arc<escalation::Definition>> = LazyLock::new(RwLock::default);

/// What some versions say.
#[derive(Debug)]
pub struct Versions<T>(HashMap<VersionId, T>);

impl<T: Clone> Versions<T> {
    /// Finds what a version says.
    ///
    /// # Errors
    /// `Error::Corrupt` for a version that was not asked for or is not stored.
    pub fn get(&self, version: VersionId) -> Result<T> {
        self.0.get(&version).cloned().ok_or(Error::Corrupt(sqlx::Error::RowNotFound))
    }
}

/// Reads versions of calendars.
pub async fn calendars(
    on: impl Into<Target<'_>>,
    versions: impl IntoIterator<Item = VersionId>,
) -> Result<Versions<Calendar>> {
    read(&CALENDARS, on.into(), versions, |version, body| {
        let definition: calendar::Definition = parsed(body)?;
        definition.read(Some(version)).map_err(unreadable)
    })
    .await
}

/// Reads versions of escalation policies.
pub async fn escalation_policies(
    on: impl Into<Target<'_>>,
    versions: impl IntoIterator<Item = VersionId>,
) -> Result<Versions<Arc<escalation::Definition>>> {
    read(&ESCALATION_POLICIES, on.into(), versions, |_, body| parsed(body).map(Arc::new)).await
}

async fn read<T: Clone>(
    known: &Known<T>,
    on: Target<'_>,
    versions: impl IntoIterator<Item = VersionId>,
    parse: impl Fn(VersionId, serde_json::Value) -> Result<T>,
) -> Result<Versions<T>> {
    let (mut found, mut missing) = (HashMap::new(), Vec::new());
    {
        let known = known.read().unwrap_or_else(PoisonError::into_inner);
        for version in versions {
            match known.get(&version) {
                Some(read) => drop(found.insert(version, read.clone())),
                None => missing.push(version),
            }
        }
    }
    if missing.is_empty() {
        return Ok(Versions(found));
    }
    missing.sort_unstable();
    missing.dedup();
    let select = query("SELECT id, body FROM definition_versions WHERE id IN ({rows})");
    let rows: Vec<(VersionId, Json<serde_json::Value>)> =
        select.rows(missing.into_iter().map(|version| [version.into()])).all(on).await?;
    for (version, body) in rows {
        let read = parse(version, body.0)?;
        known.write().unwrap_or_else(PoisonError::into_inner).insert(version, read.clone());
        found.insert(version, read);
    }
    Ok(Versions(found))
}

/// Reads a stored body.
///
/// # Errors
/// `Error::Corrupt` when it is not of that kind.
pub(super) fn parsed<T: serde::de::DeserializeOwned>(body: serde_json::Value) -> Result<T> {
    serde_json::from_value(body).map_err(|error| Error::Corrupt(sqlx::Error::Decode(error.into())))
}

/// The error of a stored definition with problems: nothing stores such.
pub(super) fn unreadable(problems: Vec<Problem>) -> Error {
    let what = problems.into_iter().map(|p| format!("{}: {}", p.field, p.message)).collect::<Vec<_>>();
    Error::Corrupt(sqlx::Error::Decode(what.join(" ").into()))
}

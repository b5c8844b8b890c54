//! Calendars by version. A version never changes, so a process reads each once.

use std::collections::HashMap;
use std::sync::{LazyLock, PoisonError, RwLock};

use sqlx::types::Json;

use super::query::{Target, query};
use super::{Error, Result};
use crate::domain::sla::Calendar;
use crate::domain::sla::calendar::Definition;
use crate::ids::VersionId;

static KNOWN: LazyLock<RwLock<HashMap<VersionId, Calendar>>> = LazyLock::new(RwLock::default);

/// The calendars of some versions.
#[derive(Debug, Default)]
pub struct Calendars(HashMap<VersionId, Calendar>);

impl Calendars {
    /// Finds a calendar; none is around the clock.
    ///
    /// # Errors
    /// `Error::Corrupt` for a version that was not asked for or is not stored.
    pub fn get(&self, version: Option<VersionId>) -> Result<Calendar> {
        let Some(version) = version else { return Ok(Calendar::AlwaysOpen) };
        self.0.get(&version).cloned().ok_or(Error::Corrupt(sqlx::Error::RowNotFound))
    }
}

/// Reads the calendars of some versions, but for those that this process has read before.
pub async fn of_versions(
    on: impl Into<Target<'_>>,
    versions: impl IntoIterator<Item = VersionId>,
) -> Result<Calendars> {
    let mut found = HashMap::new();
    let mut missing = Vec::new();
    {
        let known = KNOWN.read().unwrap_or_else(PoisonError::into_inner);
        for version in versions {
            match known.get(&version) {
                Some(calendar) => drop(found.insert(version, calendar.clone())),
                None => missing.push(version),
            }
        }
    }
    if missing.is_empty() {
        return Ok(Calendars(found));
    }
    missing.sort_unstable();
    missing.dedup();
    let select = query("SELECT id, body FROM definition_versions WHERE id IN ({rows})");
    let rows: Vec<(VersionId, Json<Definition>)> =
        select.rows(missing.into_iter().map(|version| [version.into()])).all(on).await?;
    for (version, definition) in rows {
        let calendar = read(version, &definition.0)?;
        KNOWN.write().unwrap_or_else(PoisonError::into_inner).insert(version, calendar.clone());
        found.insert(version, calendar);
    }
    Ok(Calendars(found))
}

/// Makes the calendar of a stored version.
///
/// # Errors
/// `Error::Corrupt` when it is not one: nothing stores such a version.
pub(super) fn read(version: VersionId, definition: &Definition) -> Result<Calendar> {
    definition.read(Some(version)).map_err(|problems| {
        let what = problems.iter().map(|p| format!("{}: {}", p.field, p.message)).collect::<Vec<_>>();
        Error::Corrupt(sqlx::Error::Decode(what.join(" ").into()))
    })
}

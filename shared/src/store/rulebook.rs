//! The rules in force, read from the definitions and kept until one of them changes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::db::Tx;
use super::definitions::{self, Definition};
use super::query::Target;
use super::versions::{parsed, unreadable};
use super::{Error, Result};
use crate::domain::definition::Kind;
use crate::domain::rulebook::{Calls, InForce, Rulebook};
use crate::domain::sla::{Calendar, calendar, policy};
use crate::domain::{Rules, escalation};
use crate::ids::VersionId;

/// The rules as they were last read; clones share it.
#[derive(Clone, Debug, Default)]
pub struct Book(Arc<Mutex<Option<Arc<Rulebook>>>>);

impl Book {
    /// The rules in force now: those read before, unless a definition has changed since.
    ///
    /// A definition that cannot be read is left out and logged: tickets come under the next policy, not under none.
    pub async fn open(&self, on: impl Into<Target<'_>>, rules: &Rules) -> Result<Arc<Rulebook>> {
        let mut on = on.into();
        let revision = definitions::revision(on.again()).await?;
        if let Some(book) = &*self.0.lock().unwrap_or_else(PoisonError::into_inner)
            && book.revision == revision
        {
            return Ok(Arc::clone(book));
        }
        let mut read = Vec::new();
        // What a policy refers to comes before it.
        for kind in [Kind::Calendar, Kind::EscalationPolicy, Kind::SlaPolicy] {
            read.extend(definitions::all(on.again(), kind).await?);
        }
        let mut book = Rulebook { revision, ..Rulebook::built_in(rules) };
        for definition in read {
            if let Err(error) = enter(&mut book, &definition) {
                let (kind, name) = (definition.kind.as_str(), definition.name);
                tracing::error!(%error, kind, name, "a definition cannot be read and is left out");
            }
        }
        let book = Arc::new(book);
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&book));
        Ok(book)
    }
}

/// Enters a definition into a rulebook, in the place of its former version if there is one.
///
/// # Errors
/// `Error::Corrupt` when it cannot be read.
pub fn enter(book: &mut Rulebook, definition: &Definition) -> Result<()> {
    let (version, body) = (definition.version_id, definition.body.0.clone());
    match definition.kind {
        Kind::Calendar => {
            let calendar: calendar::Definition = parsed(body)?;
            let calendar = calendar.read(Some(version)).map_err(unreadable)?;
            for policy in book.policies.iter_mut().filter(|p| p.calendar_id == Some(definition.id)) {
                Arc::make_mut(policy).calendar = calendar.clone();
            }
            book.calendars.insert(definition.id, calendar);
        }
        Kind::EscalationPolicy => {
            let policy: escalation::Definition = parsed(body)?;
            book.escalations.insert(definition.id, Arc::new(Calls { version, policy }));
        }
        Kind::SlaPolicy => {
            let written: policy::Definition = parsed(body)?;
            let policy = Arc::new(in_force(definition, version, &written, book)?);
            let place = book.policies.iter().position(|other| other.definition == Some(definition.id));
            match (place, written.enabled) {
                (Some(place), true) => book.policies[place] = policy,
                (Some(place), false) => drop(book.policies.remove(place)),
                (None, true) => book.policies.push(policy),
                (None, false) => {}
            }
        }
        Kind::Schedule | Kind::Team => {}
    }
    Ok(())
}

/// Makes a policy with what it refers to.
fn in_force(
    definition: &Definition,
    version: VersionId,
    written: &policy::Definition,
    book: &Rulebook,
) -> Result<InForce> {
    let calendar = match written.calendar_id {
        None => Calendar::AlwaysOpen,
        Some(id) => book.calendars.get(&id).cloned().ok_or(Error::Corrupt(sqlx::Error::RowNotFound))?,
    };
    Ok(InForce {
        version: Some(version),
        definition: Some(definition.id),
        name: definition.name.clone(),
        matches: written.matches.clone(),
        policy: written.read().map_err(unreadable)?,
        calendar,
        calendar_id: written.calendar_id,
        calls: written.escalation_policy_id.and_then(|id| book.escalations.get(&id).cloned()),
    })
}

/// The policies that the tickets of a batch came under, each read once.
#[derive(Debug)]
pub struct Read<'a> {
    book: &'a Rulebook,
    read: HashMap<Option<VersionId>, Arc<InForce>>,
}

impl<'a> Read<'a> {
    /// Begins with what the book says.
    #[must_use]
    pub fn of(book: &'a Rulebook) -> Self {
        Self { book, read: HashMap::new() }
    }

    /// Finds a policy as [`by_version`] does.
    pub async fn by_version(&mut self, tx: &mut Tx, version: Option<VersionId>) -> Result<Arc<InForce>> {
        if let Some(policy) = self.read.get(&version) {
            return Ok(Arc::clone(policy));
        }
        let policy = by_version(tx, self.book, version).await?;
        self.read.insert(version, Arc::clone(&policy));
        Ok(policy)
    }
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
    let gone = || Error::Corrupt(sqlx::Error::RowNotFound);
    let mut on = on.into();
    let stored = definitions::version(on.again(), version.ok_or_else(gone)?).await?.ok_or_else(gone)?;
    let definition = definitions::any(on, stored.definition_id).await?.ok_or_else(gone)?;
    let mut written: policy::Definition = parsed(stored.body.0)?;
    // A calendar that was deleted since: clocks that run keep the version they have.
    written.calendar_id = written.calendar_id.filter(|id| book.calendars.contains_key(id));
    Ok(Arc::new(in_force(&definition, stored.id, &written, book)?))
}

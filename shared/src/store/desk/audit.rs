//! Whether what is stored of clocks is what their events say.

use super::{Desk, Result};
use crate::domain::sla::{Clock, Event, State};
use crate::ids::{ClockId, VersionId};
use crate::store::clocks::{self, Audited, Stored};
use crate::store::db::Tx;
use crate::store::versions;
use crate::time::Timestamp;

/// A clock that was not what its events say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// The clock.
    pub clock: ClockId,
    /// What differed, by the names of the columns.
    pub fields: Vec<&'static str>,
    /// Whether it is right now; not where its events cannot be read.
    pub repaired: bool,
}

/// What an audit found in one batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Audit {
    /// Clocks recomputed.
    pub audited: usize,
    /// Those that differed.
    pub mismatches: Vec<Mismatch>,
    /// The last clock of the batch; none when there was none left.
    pub last: Option<ClockId>,
}

impl Desk {
    /// Recomputes up to `limit` clocks behind `after` from their events and repairs those that differ: all that run,
    /// and those of which something was recorded since `since`.
    pub async fn audit(
        &self,
        tx: &mut Tx,
        after: Option<ClockId>,
        since: Timestamp,
        limit: i64,
    ) -> Result<Audit> {
        let claimed = clocks::claim_for_audit(tx, after, since, limit).await?;
        let (audit, repaired) = compare(tx, claimed).await?;
        clocks::repair(tx, &repaired).await?;
        Ok(audit)
    }

    /// Recomputes up to `limit` clocks behind `after` from their events, whether they run or not, and changes nothing.
    /// The transaction must see all of one moment.
    pub async fn examine(&self, tx: &mut Tx, after: Option<ClockId>, limit: i64) -> Result<Audit> {
        let listed = clocks::list_for_audit(tx, after, limit).await?;
        let (mut audit, _) = compare(tx, listed).await?;
        audit.mismatches.iter_mut().for_each(|mismatch| mismatch.repaired = false);
        Ok(audit)
    }
}

/// Holds clocks against their events, and returns those that differ as they should be.
async fn compare(tx: &mut Tx, stored: Vec<Audited>) -> Result<(Audit, Vec<Stored>)> {
    let ids: Vec<_> = stored.iter().map(|audited| audited.stored.id).collect();
    let events = clocks::events_of(&mut *tx, &ids).await?;
    let named = events.values().flatten().filter_map(|recorded| calendar_of(&recorded.event));
    let calendars = versions::calendars(&mut *tx, named).await?;
    let (mut audit, mut repaired) = (Audit::default(), Vec::new());
    for audited in stored {
        let id = audited.stored.id;
        (audit.audited, audit.last) = (audit.audited + 1, Some(id));
        let events = events.get(&id).map_or(&[][..], Vec::as_slice);
        let clock = Clock::replay(events, |version| calendars.get(version).ok());
        let fields = clock.as_ref().map_or_else(|| vec!["events"], |clock| differing(&audited, clock));
        if fields.is_empty() {
            continue;
        }
        audit.mismatches.push(Mismatch { clock: id, fields, repaired: clock.is_some() });
        repaired.extend(clock.map(|clock| Stored { clock, ..audited.stored }));
    }
    Ok((audit, repaired))
}

const fn calendar_of(event: &Event) -> Option<VersionId> {
    match event {
        Event::Started { calendar, .. } | Event::Retargeted { calendar, .. } => *calendar,
        _ => None,
    }
}

/// The columns in which a row differs from the clock that its events make.
fn differing(audited: &Audited, right: &Clock) -> Vec<&'static str> {
    let is = &audited.stored.clock;
    let state: State = right.state();
    let checks = [
        ("state", audited.state == state),
        ("due_at", audited.due_at == right.due_at()),
        ("next_fire_at", audited.next_fire_at == right.next_fire_at()),
        ("target_us", is.target == right.target),
        ("warn_at", is.warn_at == right.warn_at),
        ("calendar_version_id", is.calendar.version() == right.calendar.version()),
        ("warned", is.warned == right.warned),
        ("started_at", is.started_at == right.started_at),
        ("credit_us", is.credit == right.credit),
        ("runs", is.runs == right.runs),
        ("running_since", is.running_since == right.running_since),
        ("held_manually", is.held_manually == right.held_manually),
        ("held_by_status", is.held_by_status == right.held_by_status),
        ("stopped_at", is.stopped_at == right.stopped_at),
        ("cancelled", is.cancelled == right.cancelled),
        ("retargeted_at", is.retargeted_at == right.retargeted_at),
        ("revision", is.revision == right.revision),
        ("breached_at", is.breached_at == right.breached_at),
        ("detected_at", is.detected_at == right.detected_at),
        ("waived_at", is.waived_at == right.waived_at),
        ("seq", is.seq == right.seq),
        ("last_at", is.last_at == right.last_at),
    ];
    checks.into_iter().filter(|(_, same)| !same).map(|(field, _)| field).collect()
}

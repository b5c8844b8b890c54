//! How a change of a calendar or a policy reaches the clocks that run: first as a preview, then in batches.

use std::collections::HashMap;

use super::clocks::replan;
use super::{Actor, Desk, Result, Who};
use crate::domain::rulebook::{InForce, Rulebook};
use crate::domain::sla::{Command, Event, Metric, Mode};
use crate::ids::{ClockId, DefinitionId, TicketId};
use crate::store::clocks::{self, Change, Stored};
use crate::store::db::Tx;
use crate::store::replans::{self, Replan};
use crate::store::rulebook::Read;
use crate::store::tickets::{self, Ticket};
use crate::time::Timestamp;

/// What a change would do to one clock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Move {
    /// The clock.
    pub clock: ClockId,
    /// The ticket's number.
    pub ticket: i64,
    /// What it measures.
    pub metric: Metric,
    /// When it is due now.
    pub due_before: Option<Timestamp>,
    /// When it would be due.
    pub due_after: Option<Timestamp>,
    /// Whether the change itself would breach it.
    pub breaches: bool,
    /// Whether nothing would be promised any more.
    pub cancels: bool,
}

/// What a change would do, as far as one looked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Preview {
    /// Clocks looked at that run under the definition.
    pub examined: usize,
    /// Those that would move or breach.
    pub moves: Vec<Move>,
    /// Whether all open clocks were looked at.
    pub complete: bool,
}

/// At most as many tickets to a statement.
const BATCH: i64 = 200;

impl Desk {
    /// Tells what the rules of `book` would do to the clocks under a definition, looking at up to `limit` tickets.
    /// Nothing is stored.
    pub async fn preview(
        &self,
        tx: &mut Tx,
        book: &Rulebook,
        definition: DefinitionId,
        mode: Mode,
        limit: usize,
    ) -> Result<Preview> {
        let now = self.clock.now();
        let (mut preview, mut after, mut looked) = (Preview::default(), None, 0);
        loop {
            let most = BATCH.min(i64::try_from(limit - looked).unwrap_or(BATCH));
            let ids = replans::tickets_behind(&mut *tx, after, most).await?;
            let Some(last) = ids.last() else { break };
            (after, looked) = (Some(*last), looked + ids.len());
            for planned in self.planned(tx, book, definition, mode, ids, now).await? {
                preview.examined += 1;
                preview.moves.extend(planned.movement());
            }
            if looked >= limit {
                preview.complete = replans::tickets_behind(&mut *tx, after, 1).await?.is_empty();
                return Ok(preview);
            }
        }
        preview.complete = true;
        Ok(preview)
    }

    /// Brings the change to the next batch of clocks; `replan` tells afterwards how far it has come.
    pub async fn carry_on(&self, tx: &mut Tx, replan: &mut Replan) -> Result<()> {
        let now = self.clock.now();
        let book = self.rulebook(tx).await?;
        let ids = replans::tickets_behind(&mut *tx, replan.cursor_id, BATCH).await?;
        replan.finished_at = ids.is_empty().then_some(now);
        replan.cursor_id = ids.last().copied().or(replan.cursor_id);
        tickets::lock_all(tx, &ids).await?;
        clocks::lock_of_tickets(tx, &ids).await?;
        let planned = self.planned(tx, &book, replan.definition_id, replan.mode, ids, now).await?;
        let (mut changes, mut moved) = (Vec::new(), HashMap::new());
        for planned in planned {
            replan.examined += 1;
            if let Some(movement) = planned.movement() {
                replan.moved += 1;
                replan.breached += i64::from(movement.breaches);
            }
            if planned.ticket.sla_policy_version_id != planned.policy.version {
                moved.insert(planned.ticket.id, (planned.ticket, planned.policy.version));
            }
            changes.push(Change { stored: planned.after, events: planned.events, actor: replan.actor_id });
        }
        self.settle(tx, &changes, now).await?;
        let actor = Actor { who: replan.actor_id.map_or(Who::Rules, Who::OnBehalf), ip: None };
        for (before, version) in moved.into_values() {
            let ticket = Ticket { sla_policy_version_id: version, ..before.clone() };
            let now = now.max(before.updated_at);
            self.store(tx, &before, ticket, &actor, now).await?;
        }
        Ok(replans::save(tx, replan).await?)
    }

    /// What the rules of `book` do to the open clocks of some tickets that run under a definition.
    async fn planned(
        &self,
        tx: &mut Tx,
        book: &Rulebook,
        definition: DefinitionId,
        mode: Mode,
        ids: Vec<TicketId>,
        now: Timestamp,
    ) -> Result<Vec<Planned>> {
        let (mut of_ticket, mut labels): (HashMap<_, Vec<Stored>>, HashMap<_, Vec<String>>) =
            (HashMap::new(), HashMap::new());
        for (ticket, label) in tickets::labels_of(&mut *tx, &ids).await? {
            labels.entry(ticket).or_default().push(label);
        }
        for stored in clocks::of_tickets(&mut *tx, &ids).await? {
            of_ticket.entry(stored.ticket_id).or_default().push(stored);
        }
        let (mut planned, mut read) = (Vec::new(), Read::of(book));
        for ticket in tickets::all_of(&mut *tx, &ids).await? {
            let before = read.by_version(tx, ticket.sla_policy_version_id).await?;
            let labels = labels.remove(&ticket.id).unwrap_or_default();
            let found = book.policy_for(&ticket.facts(&labels));
            let by_policy = [&before.definition, &found.definition].contains(&&Some(definition));
            let policy = match (by_policy, before.calendar_id == Some(definition)) {
                (true, _) => found,
                // Under the same promises as before, by the hours as they are now.
                (false, true) => &before,
                (false, false) => continue,
            };
            for stored in of_ticket.remove(&ticket.id).unwrap_or_default() {
                if stored.clock.is_open() {
                    planned.push(Planned::new(&ticket, policy, stored, mode, now));
                }
            }
        }
        Ok(planned)
    }
}

/// A clock before and after a change.
struct Planned {
    ticket: Ticket,
    policy: std::sync::Arc<InForce>,
    before: Stored,
    after: Stored,
    events: Vec<crate::domain::sla::Recorded>,
}

impl Planned {
    fn new(
        ticket: &Ticket,
        policy: &std::sync::Arc<InForce>,
        stored: Stored,
        mode: Mode,
        now: Timestamp,
    ) -> Self {
        let (before, mut after) = (stored.clone(), stored);
        let commands = replan(policy, ticket, &before, true).into_iter().map(|command| match command {
            Command::Retarget(plan, _) => Command::Retarget(plan, mode),
            command @ Command::Tell(_) => command,
        });
        let events = commands.flat_map(|command| after.clock.take(command, now)).collect();
        Self { ticket: ticket.clone(), policy: std::sync::Arc::clone(policy), before, after, events }
    }

    /// What the change does; none when it leaves the clock as it was.
    fn movement(&self) -> Option<Move> {
        let changed = self.events.iter().position(|recorded| {
            matches!(
                recorded.event,
                Event::Retargeted { .. } | Event::Cancelled | Event::Paused { .. } | Event::Resumed { .. }
            )
        });
        // What fell due before the change is not its doing.
        let done = &self.events[changed?..];
        Some(Move {
            clock: self.before.id,
            ticket: self.ticket.number,
            metric: self.before.metric,
            due_before: self.before.clock.due_at(),
            due_after: self.after.clock.due_at(),
            breaches: done.iter().any(|recorded| matches!(recorded.event, Event::Breached { .. })),
            cancels: self.after.clock.cancelled,
        })
    }
}

//! Tickets with everything an export says of them, page by page.

use std::collections::HashMap;

use sqlx::FromRow;

use super::query::query;
use super::tickets::{self, Filter, Position, Ticket};
use super::{Db, Result};
use crate::domain::sla::{Metric, State};
use crate::ids::{DefinitionId, TicketId, UserId};
use crate::time::Timestamp;

/// A ticket with what an export says of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exported {
    /// The ticket.
    pub ticket: Ticket,
    /// Its labels, in order.
    pub labels: Vec<String>,
    /// The address of whoever reported it.
    pub reporter: Option<String>,
    /// The address of whoever works on it.
    pub assignee: Option<String>,
    /// The name of its team.
    pub team: Option<String>,
    /// When the latest clock of each metric is due and was breached.
    pub clocks: HashMap<Metric, (Option<Timestamp>, Option<Timestamp>)>,
}

#[derive(FromRow)]
struct ClockTimes {
    ticket_id: TicketId,
    metric: Metric,
    due_at: Option<Timestamp>,
    breached_at: Option<Timestamp>,
}

const CLOCKS: &str = "
    SELECT ticket_id, metric, due_at, breached_at FROM sla_clocks
    WHERE ticket_id IN ({rows}) AND state <> $1 ORDER BY started_at, id";

/// Lists tickets as [`tickets::list`] does, with what else an export says of them.
pub async fn page(db: &Db, filter: &Filter) -> Result<Vec<(Exported, Position)>> {
    let found = tickets::list(db, filter).await?;
    let ids: Vec<TicketId> = found.iter().map(|(ticket, _)| ticket.id).collect();
    let mut labels: HashMap<TicketId, Vec<String>> = HashMap::new();
    for (ticket, label) in tickets::labels_of(db, &ids).await? {
        labels.entry(ticket).or_default().push(label);
    }
    let people = found.iter().flat_map(|(t, _)| [Some(t.reporter_id), t.assignee_id]).flatten();
    let people = emails(db, people.collect()).await?;
    let teams = team_names(db, found.iter().filter_map(|(ticket, _)| ticket.team_id).collect()).await?;
    let mut clocks: HashMap<TicketId, HashMap<_, _>> = HashMap::new();
    let of_tickets = query(CLOCKS).bind(State::Cancelled).rows(ids.iter().map(|id| [(*id).into()]));
    for clock in of_tickets.all::<ClockTimes>(db).await? {
        let times = (clock.due_at, clock.breached_at);
        clocks.entry(clock.ticket_id).or_default().insert(clock.metric, times);
    }
    let with = |(ticket, position): (Ticket, Position)| {
        let exported = Exported {
            labels: labels.remove(&ticket.id).unwrap_or_default(),
            reporter: people.get(&ticket.reporter_id).cloned(),
            assignee: ticket.assignee_id.and_then(|id| people.get(&id).cloned()),
            team: ticket.team_id.and_then(|id| teams.get(&id).cloned()),
            clocks: clocks.remove(&ticket.id).unwrap_or_default(),
            ticket,
        };
        (exported, position)
    };
    Ok(found.into_iter().map(with).collect())
}

async fn emails(db: &Db, mut ids: Vec<UserId>) -> Result<HashMap<UserId, String>> {
    ids.sort_unstable();
    ids.dedup();
    let select = query("SELECT id, email FROM users WHERE id IN ({rows})");
    let found: Vec<(UserId, String)> = select.rows(ids.into_iter().map(|id| [id.into()])).all(db).await?;
    Ok(found.into_iter().collect())
}

async fn team_names(db: &Db, mut ids: Vec<DefinitionId>) -> Result<HashMap<DefinitionId, String>> {
    ids.sort_unstable();
    ids.dedup();
    let select = query("SELECT id, name FROM definitions WHERE id IN ({rows})");
    let found: Vec<(DefinitionId, String)> =
        select.rows(ids.into_iter().map(|id| [id.into()])).all(db).await?;
    Ok(found.into_iter().collect())
}

//! Tickets taken on by people without an account, such as whoever reads an on-call mailbox.

use super::db::Tx;
use super::desk::{Desk, Error, Result};
use super::query::{Target, query};
use super::tickets::{self, Ticket};
use super::{clocks, escalations, users};
use crate::domain::escalation::StopReason;
use crate::ids::{HistoryId, TicketId};

const SET: &str = "UPDATE tickets SET acknowledged_as = $2 WHERE id = $1";

impl Desk {
    /// Takes a ticket on for an address that no user has, as [`Desk::acknowledge`] does for a user.
    pub async fn acknowledge_as(&self, tx: &mut Tx, id: TicketId, address: &str) -> Result<Ticket> {
        let mut ticket = tickets::lock(tx, id).await?.ok_or(Error::NotFound("ticket"))?;
        if ticket.acknowledged_at.is_some() {
            return Ok(ticket);
        }
        let now = self.clock.now().max(ticket.updated_at);
        (ticket.acknowledged_at, ticket.updated_at) = (Some(now), now);
        // Waits for a sweep that is just opening the escalation, and keeps others out until this is committed.
        clocks::lock_of_ticket(tx, id).await?;
        escalations::stop(tx, id, StopReason::Acknowledged, now).await?;
        if !tickets::update(tx, &mut ticket).await? {
            return Err(Error::Stale { current: ticket.version });
        }
        query(SET).bind(id).bind(address).execute(tx).await?;
        let change = tickets::Change {
            id: HistoryId::new(),
            ticket_id: id,
            version: ticket.version,
            field: "acknowledged_as".into(),
            old_value: None,
            new_value: Some(address.into()),
            actor_id: None,
            ip: None,
            at: now,
        };
        tickets::remember(tx, &[change]).await?;
        Ok(ticket)
    }
}

const AS: &str = "SELECT acknowledged_as FROM tickets WHERE id = $1";

/// Says who took a ticket on: a user's name, or an address. `None` when nobody did.
pub async fn by_whom(on: impl Into<Target<'_>>, ticket: &Ticket) -> super::Result<Option<String>> {
    if ticket.acknowledged_at.is_none() {
        return Ok(None);
    }
    match ticket.acknowledged_by {
        Some(user) => Ok(users::get(on, user).await?.map(|user| user.name)),
        None => Ok(query(AS).bind(ticket.id).one::<(Option<String>,)>(on).await?.0),
    }
}

//! The same done to many tickets.

use super::{Actor, Desk, Error, Result};
use crate::domain::ticket::Status;
use crate::ids::TicketId;
use crate::store::db::Tx;
use crate::store::tickets::{self, Ticket};

/// Why one of many tickets was not changed.
#[derive(Debug)]
pub struct Refusal {
    /// The ticket.
    pub ticket: TicketId,
    /// Why.
    pub error: Error,
}

impl Desk {
    /// Moves tickets to a status, in the order of `ids`. Where some cannot be moved, all of these are named, and the caller
    /// has to roll the transaction back.
    pub async fn move_all(
        &self,
        tx: &mut Tx,
        ids: &[TicketId],
        actor: &Actor,
        to: Status,
    ) -> Result<std::result::Result<Vec<Ticket>, Vec<Refusal>>> {
        // In one order, so that two such requests cannot wait for each other.
        tickets::lock_all(tx, ids).await?;
        let (mut moved, mut refused) = (Vec::new(), Vec::new());
        for &ticket in ids {
            match self.move_to(tx, ticket, None, actor, to).await {
                Ok(ticket) => moved.push(ticket),
                Err(Error::Store(error)) => return Err(error.into()),
                Err(error) => refused.push(Refusal { ticket, error }),
            }
        }
        Ok(if refused.is_empty() { Ok(moved) } else { Err(refused) })
    }
}

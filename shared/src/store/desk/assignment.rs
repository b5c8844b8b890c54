//! Whom a ticket is with.

use super::{Actor, Desk, Error, Result, locked};
use crate::domain::access::Action;
use crate::ids::{DefinitionId, TicketId, UserId};
use crate::store::db::Tx;
use crate::store::tickets::Ticket;

/// What is answered to those whose role does not allow an assignment.
pub(super) const REFUSED: &str = "Your role does not allow this assignment: engineers take tickets themselves, seniors give them within their teams.";

/// Whom to give a ticket to; what is `None` stays, `Some(None)` takes it away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Assignment {
    /// Who is to work on it.
    pub assignee: Option<Option<UserId>>,
    /// The team it is to be with.
    pub team: Option<Option<DefinitionId>>,
}

impl Desk {
    /// Gives a ticket to somebody, or takes it from them.
    pub async fn assign(
        &self,
        tx: &mut Tx,
        id: TicketId,
        expected: Option<i64>,
        actor: &Actor,
        to: Assignment,
    ) -> Result<Ticket> {
        let before = locked(tx, id, expected, actor, Action::Assign).await?;
        let give = |ticket: &mut Ticket| {
            ticket.assignee_id = to.assignee.unwrap_or(ticket.assignee_id);
            ticket.team_id = to.team.unwrap_or(ticket.team_id);
        };
        self.amend(tx, before, actor, give, None).await
    }
}

/// Makes sure that the actor may change whom a ticket is with, where that changed.
pub(super) fn check(actor: &Actor, before: &Ticket, after: &Ticket) -> Result<()> {
    if actor.may_give(&before.standing(), &after.standing()) {
        Ok(())
    } else {
        Err(Error::Forbidden(REFUSED))
    }
}

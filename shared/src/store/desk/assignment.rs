//! Whom a ticket is with.

use super::{Actor, Desk, Error, Result, locked};
use crate::domain::access::Action;
use crate::ids::{DefinitionId, TicketId, UserId};
use crate::store::db::Tx;
use crate::store::tickets::{self, Ticket};

/// What is answered to those whose role does not allow an assignment.
pub const REFUSED: &str = "Your role does not allow this assignment: engineers take tickets themselves, seniors give them within their teams.";

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
        let now = self.clock.now().max(before.updated_at);
        let mut ticket = before.clone();
        ticket.assignee_id = to.assignee.unwrap_or(ticket.assignee_id);
        ticket.team_id = to.team.unwrap_or(ticket.team_id);
        check(actor, &before, &ticket)?;
        let labels = tickets::labels(&mut *tx, id).await?;
        if ticket.facts(&labels) != before.facts(&labels) {
            self.bring_under_its_policy(tx, &mut ticket, &labels, actor, now).await?;
        }
        self.store(tx, &before, ticket, actor, now).await
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

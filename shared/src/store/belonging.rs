//! Pages of what belongs to a ticket: of its comments, and of its files.

use super::query::{Query, Value};
use crate::ids::TicketId;

/// Which of them to list.
#[derive(Clone, Copy, Debug)]
pub struct Filter<I> {
    /// Of this ticket.
    pub ticket: TicketId,
    /// Whether those among staff are listed, too.
    pub internal: bool,
    /// Latest first.
    pub descending: bool,
    /// Behind this one.
    pub after: Option<I>,
    /// At most as many.
    pub limit: i64,
}

impl<I: Copy + Into<Value>> Filter<I> {
    /// Narrows a statement about a table to a page of it.
    pub(super) fn page(&self, select: Query) -> Query {
        self.narrow(select).page(self.descending, self.after, self.limit)
    }

    /// Narrows a statement about a table to what is on any page.
    pub(super) fn narrow(&self, select: Query) -> Query {
        let select = select.push(" WHERE deleted_at IS NULL AND ticket_id = ").push_bind(self.ticket);
        if self.internal { select } else { select.push(" AND NOT internal") }
    }
}

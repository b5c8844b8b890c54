//! What a ticket is labelled with.

use super::{Actor, Desk, Result, fields, locked};
use crate::domain::access::Action;
use crate::ids::TicketId;
use crate::store::db::Tx;
use crate::store::tickets::{self, Ticket};

impl Desk {
    /// Replaces a ticket's labels, all or nothing. Where that brings it under another policy, its clocks are retargeted.
    /// `labels` are sorted, without repetition.
    pub async fn relabel(
        &self,
        tx: &mut Tx,
        id: TicketId,
        expected: Option<i64>,
        actor: &Actor,
        labels: &[String],
    ) -> Result<Ticket> {
        let before = locked(tx, id, expected, actor, Action::Update).await?;
        let mut old = tickets::labels(&mut *tx, id).await?;
        old.sort_unstable();
        if old == labels {
            return Ok(before);
        }
        let now = self.clock.now().max(before.updated_at);
        let mut ticket = before.clone();
        tickets::relabel(tx, id, labels).await?;
        self.bring_under_its_policy(tx, &mut ticket, labels, actor, now).await?;
        let list = |labels: &[String]| (!labels.is_empty()).then(|| labels.join(", "));
        let mut changes = vec![fields::change(&ticket, "labels", list(&old), list(labels), actor)];
        changes.extend(fields::differences(&before, &ticket, actor));
        self.record(tx, &before, ticket, changes, actor, now).await
    }
}

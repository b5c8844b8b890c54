//! Changes to what a ticket says, what it is labelled with and whom it is with.

use super::{Actor, Desk, Result, assignment, fields, locked};
use crate::domain::access::Action;
use crate::ids::TicketId;
use crate::store::db::Tx;
use crate::store::tickets::{self, Ticket};

impl Desk {
    /// Changes a ticket's fields. Where they bring it under another policy, or to another target of the same one,
    /// its clocks are retargeted in that policy's mode.
    pub async fn edit(
        &self,
        tx: &mut Tx,
        id: TicketId,
        expected: Option<i64>,
        actor: &Actor,
        edit: impl FnOnce(&mut Ticket),
    ) -> Result<Ticket> {
        self.revise(tx, id, expected, actor, edit, None).await
    }

    /// Replaces a ticket's labels, all or nothing, with the same effect on its clocks. `labels` are sorted, without
    /// repetition.
    pub async fn relabel(
        &self,
        tx: &mut Tx,
        id: TicketId,
        expected: Option<i64>,
        actor: &Actor,
        labels: &[String],
    ) -> Result<Ticket> {
        self.revise(tx, id, expected, actor, |_| (), Some(labels)).await
    }

    /// Changes a ticket's fields and, where labels are given, replaces these, all as one change.
    pub async fn revise(
        &self,
        tx: &mut Tx,
        id: TicketId,
        expected: Option<i64>,
        actor: &Actor,
        edit: impl FnOnce(&mut Ticket),
        labels: Option<&[String]>,
    ) -> Result<Ticket> {
        let before = locked(tx, id, expected, actor, Action::Update).await?;
        self.amend(tx, before, actor, edit, labels).await
    }

    /// Changes a locked ticket: one version, one event and one set of records, or none of them where nothing changes.
    /// Its policy is looked for anew where something changed that policies go by.
    pub(super) async fn amend(
        &self,
        tx: &mut Tx,
        before: Ticket,
        actor: &Actor,
        edit: impl FnOnce(&mut Ticket),
        labels: Option<&[String]>,
    ) -> Result<Ticket> {
        let now = self.clock.now().max(before.updated_at);
        let mut ticket = before.clone();
        edit(&mut ticket);
        assignment::check(actor, &before, &ticket)?;
        let mut old = tickets::labels(&mut *tx, before.id).await?;
        // Databases have orders of their own.
        old.sort_unstable();
        let new = labels.unwrap_or(&old);
        if ticket == before && new == old {
            return Ok(before);
        }
        let mut changes = Vec::new();
        if new != old {
            tickets::relabel(tx, before.id, new).await?;
            let list = |labels: &[String]| (!labels.is_empty()).then(|| labels.join(", "));
            changes.push(fields::change(&ticket, "labels", list(&old), list(new), actor));
        }
        if ticket.facts(new) != before.facts(&old) {
            self.bring_under_its_policy(tx, &mut ticket, new, actor, now).await?;
        }
        changes.extend(fields::differences(&before, &ticket, actor));
        self.record(tx, &before, ticket, changes, actor, now).await
    }
}

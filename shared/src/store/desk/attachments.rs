//! Files that are attached to a ticket.

use serde_json::json;

use super::comments::LEADS;
use super::{Actor, Desk, Error, Result, fields, locked};
use crate::domain::access::Action;
use crate::domain::attachment::State;
use crate::domain::event::EventKind;
use crate::domain::job::ScanAttachment;
use crate::domain::ticket::Status;
use crate::ids::{AttachmentId, TicketId};
use crate::store::attachments::{self, Attachment};
use crate::store::db::Tx;
use crate::store::events::{self, NewEvent};
use crate::store::jobs;
use crate::store::tickets::{self, Ticket};
use crate::time::Timestamp;

/// A file to attach to a ticket; its content is in its place already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewFile {
    /// What it is called; never a path.
    pub name: String,
    /// What it is served as.
    pub media_type: &'static str,
    /// Its length in bytes.
    pub size: i64,
    /// What its content hashes to, in lower-case hex.
    pub sha256: String,
    /// Whether only staff may read it.
    pub internal: bool,
    /// Whether it must be looked at before anybody may read it.
    pub scan: bool,
}

impl Desk {
    /// Attaches a file to a ticket; `Err` is the one with the same content that is attached already.
    pub async fn attach(
        &self,
        tx: &mut Tx,
        id: TicketId,
        actor: &Actor,
        file: NewFile,
    ) -> Result<std::result::Result<Attachment, Attachment>> {
        let action = if file.internal { Action::CommentInternally } else { Action::Comment };
        let ticket = locked(tx, id, None, actor, action).await?;
        if let Some(there) = attachments::with_content(&mut *tx, id, &file.sha256, file.internal).await? {
            return Ok(Err(there));
        }
        if ticket.status == Status::Closed {
            return Err(Error::Closed);
        }
        let now = self.clock.now().max(ticket.updated_at);
        let attachment = Attachment {
            id: AttachmentId::new(),
            ticket_id: id,
            uploader_id: actor.id(),
            name: file.name,
            media_type: file.media_type.into(),
            size: file.size,
            sha256: file.sha256,
            internal: file.internal,
            state: if file.scan { State::Pending } else { State::Unscanned },
            finding: None,
            created_at: now,
            scanned_at: None,
            deleted_at: None,
        };
        attachments::insert(tx, &attachment).await?;
        if file.scan {
            let scan = ScanAttachment { attachment: attachment.id };
            jobs::enqueue(tx, vec![jobs::NewJob::of(&scan)], now).await?;
        }
        let values = (None, Some(attachment.name.clone()));
        record(tx, &ticket, &attachment, values, EventKind::TicketAttached, actor, now).await?;
        Ok(Ok(attachment))
    }

    /// Deletes an attachment; that there was one stays on record.
    pub async fn detach(&self, tx: &mut Tx, id: AttachmentId, actor: &Actor) -> Result<()> {
        let (ticket, attachment) = attachment_of(tx, id).await?;
        let action = if attachment.internal { Action::CommentInternally } else { Action::View };
        if ticket.deleted_at.is_some() || !actor.may(action, &ticket.standing()) {
            return Err(Error::NotFound("attachment"));
        }
        if !actor.may_retract(attachment.uploader_id) {
            return Err(Error::Forbidden(LEADS));
        }
        let now = self.clock.now().max(ticket.updated_at);
        attachments::delete(tx, id, now).await?;
        let values = (Some(attachment.name.clone()), None);
        record(tx, &ticket, &attachment, values, EventKind::TicketUpdated, actor, now).await
    }

    /// Puts on record what a look at an attachment found; `None` when nobody waits for it any more.
    pub async fn judge(
        &self,
        tx: &mut Tx,
        id: AttachmentId,
        finding: Option<&str>,
    ) -> Result<Option<(Ticket, Attachment)>> {
        let (ticket, attachment) = match attachment_of(tx, id).await {
            Err(Error::NotFound(_)) => return Ok(None),
            found => found?,
        };
        let now = self.clock.now().max(ticket.updated_at);
        let state = if finding.is_some() { State::Quarantined } else { State::Clean };
        if !attachments::judge(tx, id, state, finding, now).await? {
            return Ok(None);
        }
        if let Some(finding) = finding {
            let held = format!("{}: quarantined as {finding}", attachment.name);
            let values = (Some(attachment.name.clone()), Some(held));
            let rules = Actor::default();
            record(tx, &ticket, &attachment, values, EventKind::TicketUpdated, &rules, now).await?;
        }
        Ok(Some((ticket, attachment)))
    }
}

/// Finds an attachment with its ticket, which is kept from changing.
async fn attachment_of(tx: &mut Tx, id: AttachmentId) -> Result<(Ticket, Attachment)> {
    const NONE: Error = Error::NotFound("attachment");
    let found = attachments::get(&mut *tx, id).await?.ok_or(NONE)?;
    let ticket = tickets::lock(tx, found.ticket_id).await?.ok_or(NONE)?;
    // As it is under the lock.
    let attachment = attachments::get(&mut *tx, id).await?.ok_or(NONE)?;
    Ok((ticket, attachment))
}

/// Puts on record that a file was attached, deleted or found bad, and publishes it.
async fn record(
    tx: &mut Tx,
    ticket: &Ticket,
    attachment: &Attachment,
    (old, new): (Option<String>, Option<String>),
    kind: EventKind,
    actor: &Actor,
    now: Timestamp,
) -> Result<()> {
    let mut change = fields::change(ticket, "attachment", old, new, actor);
    (change.internal, change.at) = (attachment.internal, now);
    let event = fields::event(kind, ticket, actor, std::slice::from_ref(&change));
    let mut event = NewEvent { internal: attachment.internal, at: now, ..event };
    event.data["attachment_id"] = json!(attachment.id);
    tickets::remember(tx, &[change]).await?;
    events::publish(tx, [event]);
    Ok(())
}

//! What is said about a ticket.

use serde_json::json;

use super::{Actor, Desk, Error, Result, clocks, fields, locked};
use crate::domain::access::Action;
use crate::domain::cause::Cause;
use crate::domain::event::EventKind;
use crate::domain::job::Notify;
use crate::domain::sla::{Event, Metric};
use crate::domain::ticket::Status;
use crate::ids::{CommentId, TicketId};
use crate::store::clocks::{self as sla_clocks, Stored};
use crate::store::comments::{self, Comment};
use crate::store::db::Tx;
use crate::store::events;
use crate::store::events::NewEvent;
use crate::store::jobs;
use crate::store::tickets::{self, Ticket};
use crate::time::Timestamp;

/// What is answered to those who may read a comment or an attachment, but not change it.
const OTHERS: &str = "Only whoever wrote it may change it.";
pub(super) const LEADS: &str = "Only whoever it is from, team leads, managers and admins may delete it.";

/// Something to say about a ticket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remark {
    /// What, 1-65,536 characters.
    pub content: String,
    /// Whether only staff may read it.
    pub internal: bool,
}

impl Desk {
    /// Says something about a ticket. In public, one by staff is the response that was waited for; the first by somebody else
    /// after a response starts the clock for the next one. What is said among staff changes nothing else about the ticket.
    pub async fn comment(&self, tx: &mut Tx, id: TicketId, actor: &Actor, remark: Remark) -> Result<Comment> {
        let action = if remark.internal { Action::CommentInternally } else { Action::Comment };
        let before = locked(tx, id, None, actor, action).await?;
        if before.status == Status::Closed {
            return Err(Error::Closed);
        }
        let now = self.clock.now().max(before.updated_at);
        let comment = new_comment(&before, remark, false, actor, now);
        comments::insert(tx, &comment).await?;
        let mut ticket = before.clone();
        if !comment.internal {
            self.answer_clocks(tx, &mut ticket, actor, now).await?;
            ticket.updated_at = now;
            if !tickets::update(tx, &mut ticket).await? {
                return Err(Error::Stale { what: "ticket", current: before.version });
            }
        }
        let posted = Some(comment.id.to_string());
        self.note(tx, &ticket, &comment, (None, posted), EventKind::TicketCommented, actor, now).await?;
        let notify = Notify { cause: Cause::Commented { ticket: id, comment: comment.id } };
        jobs::enqueue(tx, vec![jobs::NewJob::of(&notify)], now).await?;
        Ok(comment)
    }

    /// Replaces what a comment says; what it said is kept. What changes nothing makes no version.
    pub async fn edit_comment(
        &self,
        tx: &mut Tx,
        id: CommentId,
        expected: Option<i64>,
        actor: &Actor,
        content: String,
    ) -> Result<Comment> {
        let (ticket, mut comment) = comment_of(tx, id, expected, actor).await?;
        if comment.system || comment.author_id.is_none() || comment.author_id != actor.id() {
            return Err(Error::Forbidden(OTHERS));
        }
        if ticket.status == Status::Closed {
            return Err(Error::Closed);
        }
        if comment.content == content {
            return Ok(comment);
        }
        let now = self.clock.now().max(ticket.updated_at);
        let version = |comment: &Comment| Some(format!("{} version {}", comment.id, comment.version));
        let old = version(&comment);
        comments::edit(tx, &mut comment, content, now).await?;
        let values = (old, version(&comment));
        self.note(tx, &ticket, &comment, values, EventKind::TicketUpdated, actor, now).await?;
        Ok(comment)
    }

    /// Deletes a comment; that there was one stays on record, what it said is shown to nobody.
    pub async fn delete_comment(
        &self,
        tx: &mut Tx,
        id: CommentId,
        expected: Option<i64>,
        actor: &Actor,
    ) -> Result<()> {
        let (ticket, comment) = comment_of(tx, id, expected, actor).await?;
        if !actor.may_retract(comment.author_id.filter(|_| !comment.system)) {
            return Err(Error::Forbidden(LEADS));
        }
        let now = self.clock.now().max(ticket.updated_at);
        comments::delete(tx, id, now).await?;
        let values = (Some(id.to_string()), None);
        self.note(tx, &ticket, &comment, values, EventKind::TicketUpdated, actor, now).await
    }

    /// Tells everybody who sees the ticket of a move.
    pub(super) async fn tell_of_move(
        &self,
        tx: &mut Tx,
        ticket: &Ticket,
        from: Status,
        actor: &Actor,
    ) -> Result<()> {
        let content = format!("Status changed from {from} to {}.", ticket.status);
        let remark = Remark { content, internal: false };
        comments::insert(tx, &new_comment(ticket, remark, true, actor, ticket.updated_at)).await?;
        Ok(())
    }

    /// Stops the clocks that wait for staff to answer, or starts the one for the next answer.
    async fn answer_clocks(
        &self,
        tx: &mut Tx,
        ticket: &mut Ticket,
        actor: &Actor,
        now: Timestamp,
    ) -> Result<()> {
        if actor.is_staff() {
            ticket.responded_at = ticket.responded_at.or(Some(now));
            let answered = |stored: &Stored| match stored.metric {
                Metric::FirstResponse | Metric::NextResponse => vec![Event::Stopped.into()],
                Metric::Resolution => Vec::new(),
            };
            return self.tell_clocks(tx, ticket, actor, now, answered).await;
        }
        let waiting = |stored: &Stored| stored.metric != Metric::Resolution && stored.clock.is_open();
        let asked_before = sla_clocks::lock_of_ticket(tx, ticket.id).await?.iter().any(waiting);
        if !asked_before && ticket.responded_at.is_some() && !ticket.status.is_done() {
            let policy = self.policy_of(tx, ticket).await?;
            let started = clocks::start(&policy, ticket, Metric::NextResponse, actor, now);
            sla_clocks::insert(tx, started.as_slice()).await?;
        }
        Ok(())
    }

    /// Puts on record that a comment was posted, edited or deleted, and publishes it. The text itself is not put on record,
    /// where it could never be deleted.
    #[expect(clippy::too_many_arguments, reason = "each is another thing")]
    async fn note(
        &self,
        tx: &mut Tx,
        ticket: &Ticket,
        comment: &Comment,
        (old, new): (Option<String>, Option<String>),
        kind: EventKind,
        actor: &Actor,
        now: Timestamp,
    ) -> Result<()> {
        let mut change = fields::change(ticket, "comment", old, new, actor);
        (change.internal, change.at) = (comment.internal, now);
        let event = fields::event(kind, ticket, actor, std::slice::from_ref(&change));
        let mut event = NewEvent { internal: comment.internal, at: now, ..event };
        event.data["comment_id"] = json!(comment.id);
        tickets::remember(tx, &[change]).await?;
        events::publish(tx, [event]);
        Ok(())
    }
}

fn new_comment(ticket: &Ticket, remark: Remark, system: bool, actor: &Actor, now: Timestamp) -> Comment {
    Comment {
        id: CommentId::new(),
        ticket_id: ticket.id,
        author_id: actor.id(),
        content: remark.content,
        internal: remark.internal,
        system,
        version: 1,
        created_at: now,
        edited_at: None,
        deleted_at: None,
    }
}

/// Finds a comment with its ticket and keeps others from changing either; the actor must see both.
async fn comment_of(
    tx: &mut Tx,
    id: CommentId,
    expected: Option<i64>,
    actor: &Actor,
) -> Result<(Ticket, Comment)> {
    const NONE: Error = Error::NotFound("comment");
    // The ticket is locked first, as everywhere.
    let found = comments::get(&mut *tx, id).await?.ok_or(NONE)?;
    let ticket = tickets::lock(tx, found.comment.ticket_id).await?.ok_or(NONE)?;
    let comment = comments::lock(tx, id).await?.ok_or(NONE)?;
    let action = if comment.internal { Action::CommentInternally } else { Action::View };
    if ticket.deleted_at.is_some() || !actor.may(action, &ticket.standing()) {
        return Err(NONE);
    }
    match expected {
        Some(version) if version != comment.version => {
            Err(Error::Stale { what: "comment", current: comment.version })
        }
        _ => Ok((ticket, comment)),
    }
}

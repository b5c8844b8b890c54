//! The fields of a ticket: what they are at first, and which of them a change changed.

use std::borrow::Cow;

use serde_json::json;

use super::{Actor, Draft};
use crate::domain::event::EventKind;
use crate::domain::ticket::Status;
use crate::ids::{HistoryId, TicketId};
use crate::store::events::NewEvent;
use crate::store::tickets::{self, Ticket};
use crate::time::Timestamp;

pub(super) fn new_ticket(draft: Draft, now: Timestamp) -> Ticket {
    Ticket {
        id: TicketId::new(),
        number: 0,
        title: draft.title,
        description: draft.description,
        status: Status::New,
        priority: draft.priority,
        category: draft.category,
        environment: draft.environment,
        affected_service: draft.affected_service,
        contact_name: draft.contact_name,
        contact_email: draft.contact_email,
        reporter_id: draft.reporter_id,
        assignee_id: draft.assignee_id,
        team_id: draft.team_id,
        sla_policy_version_id: None,
        version: 1,
        created_at: now,
        updated_at: now,
        responded_at: None,
        acknowledged_at: None,
        acknowledged_by: None,
        resolved_at: None,
        closed_at: None,
        acknowledged_as: None,
        deleted_at: None,
        traceparent: draft.traceparent,
    }
}

pub(super) fn change(
    ticket: &Ticket,
    field: &str,
    old: Option<String>,
    new: Option<String>,
    actor: &Actor,
) -> tickets::Change {
    tickets::Change {
        id: HistoryId::new(),
        ticket_id: ticket.id,
        version: ticket.version,
        field: field.into(),
        old_value: old,
        new_value: new,
        actor_id: actor.id(),
        ip: actor.ip.clone(),
        internal: false,
        at: ticket.updated_at,
    }
}

/// What others are told of a change.
pub(super) fn event(
    kind: EventKind,
    ticket: &Ticket,
    actor: &Actor,
    changes: &[tickets::Change],
) -> NewEvent {
    let changed: Vec<&str> = changes.iter().map(|change| change.field.as_str()).collect();
    let mut data = json!({ "version": ticket.version, "status": ticket.status });
    if !changed.is_empty() {
        data["changed"] = changed.into();
    }
    NewEvent { kind, ticket: ticket.id, internal: false, actor: actor.id(), data, at: ticket.updated_at }
}

/// What a change is called: by what matters most of it.
pub(super) fn kind(before: &Ticket, after: &Ticket) -> EventKind {
    if before.deleted_at != after.deleted_at {
        EventKind::TicketDeleted
    } else if before.status != after.status {
        EventKind::of_move(after.status)
    } else if before.acknowledged_at != after.acknowledged_at {
        EventKind::TicketAcknowledged
    } else if (before.assignee_id, before.team_id) != (after.assignee_id, after.team_id) {
        EventKind::TicketAssigned
    } else {
        EventKind::TicketUpdated
    }
}

/// The fields of the API that differ, with both values.
pub(super) fn differences(before: &Ticket, after: &Ticket, actor: &Actor) -> Vec<tickets::Change> {
    fn fields(t: &Ticket) -> [(&'static str, Option<Cow<'_, str>>); 14] {
        let text = |value: &'static str| Some(Cow::Borrowed(value));
        [
            ("title", Some(Cow::Borrowed(&*t.title))),
            ("description", Some(Cow::Borrowed(&*t.description))),
            ("status", text(t.status.as_str())),
            ("priority", text(t.priority.as_str())),
            ("category", text(t.category.as_str())),
            ("environment", t.environment.as_deref().map(Cow::Borrowed)),
            ("affected_service", t.affected_service.as_deref().map(Cow::Borrowed)),
            ("contact", contact(t).map(Cow::Owned)),
            ("assignee_id", t.assignee_id.map(|id| Cow::Owned(id.to_string()))),
            ("team_id", t.team_id.map(|id| Cow::Owned(id.to_string()))),
            ("sla_policy_version_id", t.sla_policy_version_id.map(|id| Cow::Owned(id.to_string()))),
            ("deleted_at", t.deleted_at.map(|at| Cow::Owned(at.to_rfc3339()))),
            ("acknowledged_as", t.acknowledged_as.as_deref().map(Cow::Borrowed)),
            ("acknowledged_by", t.acknowledged_by.map(|id| Cow::Owned(id.to_string()))),
        ]
    }
    let pairs = fields(before).into_iter().zip(fields(after));
    let changed = pairs.filter(|((_, old), (_, new))| old != new);
    changed
        .map(|((field, old), (_, new))| {
            change(after, field, old.map(Cow::into_owned), new.map(Cow::into_owned), actor)
        })
        .collect()
}

fn contact(ticket: &Ticket) -> Option<String> {
    match (&ticket.contact_name, &ticket.contact_email) {
        (None, None) => None,
        (name, email) => {
            Some(format!("{} <{}>", name.as_deref().unwrap_or(""), email.as_deref().unwrap_or("")))
        }
    }
}

//! What others are told of as it happens: by webhooks and by the stream of events.

use super::ticket::Status;

super::text_enum! {
    /// A kind of event.
    EventKind {
        /// A ticket was opened.
        TicketCreated = "ticket.created",
        /// Its fields changed, other than by one of the following.
        TicketUpdated = "ticket.updated",
        /// It was given to somebody, or taken from them.
        TicketAssigned = "ticket.assigned",
        /// Somebody took it on.
        TicketAcknowledged = "ticket.acknowledged",
        /// It moved, other than by one of the following.
        TicketMoved = "ticket.status_changed",
        /// It was resolved.
        TicketResolved = "ticket.resolved",
        /// It was closed.
        TicketClosed = "ticket.closed",
        /// It was reopened.
        TicketReopened = "ticket.reopened",
        /// It was deleted.
        TicketDeleted = "ticket.deleted",
        /// Somebody said something about it.
        TicketCommented = "ticket.commented",
        /// A file was attached to it.
        TicketAttached = "ticket.attached",
        /// A clock reached a share of its target.
        SlaWarning = "sla.warning",
        /// A clock exceeded its target.
        SlaBreached = "sla.breached",
        /// A clock stopped counting until it is resumed.
        SlaPaused = "sla.paused",
        /// A clock goes on counting.
        SlaResumed = "sla.resumed",
        /// A clock stopped in time.
        SlaMet = "sla.met",
        /// A clock got another target.
        SlaRetargeted = "sla.retargeted",
        /// A clock no longer counts.
        SlaCancelled = "sla.cancelled",
        /// A step of an escalation was taken.
        SlaEscalated = "sla.escalated",
    }
}

impl EventKind {
    /// What moving a ticket to a status is called.
    #[must_use]
    pub const fn of_move(to: Status) -> Self {
        match to {
            Status::Resolved => Self::TicketResolved,
            Status::Closed => Self::TicketClosed,
            Status::Reopened => Self::TicketReopened,
            _ => Self::TicketMoved,
        }
    }
}

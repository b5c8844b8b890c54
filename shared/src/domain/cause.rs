//! Why somebody is told something.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::job;
use super::sla::Fraction;
use crate::ids::{ClockId, CommentId, EscalationId, TicketId, VersionId};

/// What happened to a ticket that people want to know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "event")]
pub enum Cause {
    /// It was opened.
    #[serde(rename = "ticket.created")]
    Created {
        /// The ticket.
        ticket: TicketId,
    },
    /// It was resolved.
    #[serde(rename = "ticket.resolved")]
    Resolved {
        /// The ticket.
        ticket: TicketId,
        /// Its version then: a ticket that was reopened is resolved again.
        version: i64,
    },
    /// Somebody said something about it.
    #[serde(rename = "ticket.commented")]
    Commented {
        /// The ticket.
        ticket: TicketId,
        /// What was said.
        comment: CommentId,
    },
    /// A share of a target was consumed.
    #[serde(rename = "sla.warning")]
    Warning {
        /// The ticket.
        ticket: TicketId,
        /// The clock.
        clock: ClockId,
        /// How often the clock's target had changed.
        revision: i64,
        /// The share.
        fraction: Fraction,
    },
    /// A target was exceeded.
    #[serde(rename = "sla.breached")]
    Breached {
        /// The ticket.
        ticket: TicketId,
        /// The clock; it breaches once.
        clock: ClockId,
    },
    /// A share of a target was consumed at which an escalation policy calls somebody.
    #[serde(rename = "escalation.early")]
    EarlyStep {
        /// The ticket.
        ticket: TicketId,
        /// The clock.
        clock: ClockId,
        /// How often the clock's target had changed.
        revision: i64,
        /// The version of the escalation policy.
        policy: VersionId,
        /// Which of its steps, from 1.
        step: i64,
    },
    /// Nobody has acknowledged a breach yet.
    #[serde(rename = "escalation.step")]
    EscalationStep {
        /// The ticket.
        ticket: TicketId,
        /// The escalation.
        escalation: EscalationId,
        /// Which step, from 1.
        step: i64,
    },
}

impl Cause {
    /// Every event's name.
    pub const EVENTS: [&str; 6] = [
        "ticket.created",
        "ticket.resolved",
        "ticket.commented",
        "sla.warning",
        "sla.breached",
        "escalation.step",
    ];

    /// The ticket it is about.
    #[must_use]
    pub const fn ticket(&self) -> TicketId {
        match self {
            Self::Created { ticket }
            | Self::Resolved { ticket, .. }
            | Self::Commented { ticket, .. }
            | Self::Warning { ticket, .. }
            | Self::Breached { ticket, .. }
            | Self::EarlyStep { ticket, .. }
            | Self::EscalationStep { ticket, .. } => *ticket,
        }
    }

    /// The event's name, as in the `X-Dogwatch-Event` header.
    #[must_use]
    pub const fn event(&self) -> &'static str {
        match self {
            Self::Created { .. } => "ticket.created",
            Self::Resolved { .. } => "ticket.resolved",
            Self::Commented { .. } => "ticket.commented",
            Self::Warning { .. } => "sla.warning",
            Self::Breached { .. } => "sla.breached",
            Self::EarlyStep { .. } | Self::EscalationStep { .. } => "escalation.step",
        }
    }

    /// The text that is the same for every copy of this cause and for no other: nobody is told twice under one key.
    #[must_use]
    pub fn key(&self) -> String {
        match self {
            Self::Created { ticket } => format!("created:{ticket}"),
            Self::Resolved { ticket, version } => format!("resolved:{ticket}:{version}"),
            Self::Commented { comment, .. } => format!("commented:{comment}"),
            Self::Warning { clock, revision, fraction, .. } => {
                format!("warning:{clock}:{revision}:{}", fraction.0)
            }
            Self::Breached { clock, .. } => format!("breached:{clock}"),
            Self::EarlyStep { clock, revision, policy, step, .. } => {
                format!("early:{clock}:{revision}:{policy}:{step}")
            }
            Self::EscalationStep { escalation, step, .. } => format!("step:{escalation}:{step}"),
        }
    }

    /// How urgent telling it is.
    #[must_use]
    pub const fn priority(&self) -> job::Priority {
        match self {
            Self::Warning { .. }
            | Self::Breached { .. }
            | Self::EarlyStep { .. }
            | Self::EscalationStep { .. } => job::Priority::High,
            Self::Created { .. } | Self::Resolved { .. } | Self::Commented { .. } => job::Priority::Normal,
        }
    }
}

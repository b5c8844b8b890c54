//! What people define: calendars, policies, schedules and teams, all kept in the same way.

use crate::ids::{DefinitionId, UserId};

super::text_enum! {
    /// What is defined.
    Kind {
        /// When time counts.
        Calendar = "calendar",
        /// What is promised.
        SlaPolicy = "sla_policy",
        /// Who is called, and when, after a promise was broken.
        EscalationPolicy = "escalation_policy",
        /// Who is on call.
        Schedule = "schedule",
        /// Who belongs together.
        Team = "team",
    }
}

impl Kind {
    /// What people call it.
    #[must_use]
    pub const fn noun(self) -> &'static str {
        match self {
            Self::Calendar => "calendar",
            Self::SlaPolicy => "SLA policy",
            Self::EscalationPolicy => "escalation policy",
            Self::Schedule => "schedule",
            Self::Team => "team",
        }
    }
}

/// What a definition refers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reference {
    /// A person.
    User(UserId),
    /// Another definition, of this kind.
    Definition(Kind, DefinitionId),
}

//! Identifiers: UUID version 7, so that they sort by the time they were made.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, sqlx::Type, ToSchema)]
        #[serde(transparent)]
        #[sqlx(transparent)]
        pub struct $name(pub Uuid);

        impl $name {
            /// Makes a new identifier, greater than those made before it in this process.
            #[must_use]
            #[expect(clippy::new_without_default, reason = "a default id would hide that every call differs")]
            pub fn new() -> Self {
                Self(v7())
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt(f)
            }
        }

        impl std::str::FromStr for $name {
            type Err = uuid::Error;
            fn from_str(text: &str) -> Result<Self, uuid::Error> {
                Uuid::parse_str(text).map(Self)
            }
        }
    )*};
}

ids! {
    /// A ticket.
    TicketId
    /// One run of one SLA metric on one ticket.
    ClockId
    /// Somebody who can sign in.
    UserId
    /// A row of the jobs ledger.
    JobId
    /// One message to one recipient about one cause.
    NotificationId
    /// An address that is told things.
    RecipientId
    /// Notifications that leave together.
    DigestId
    /// One incarnation (boot) of a process that runs jobs or holds leases.
    WorkerId
    /// The escalation of one ticket.
    EscalationId
    /// One row of a ticket's history.
    HistoryId
    /// One attempt to run a request under an idempotency key.
    ClaimToken
    /// One HTTP request.
    RequestId
    /// A calendar, policy, schedule or team, through all its versions.
    DefinitionId
    /// One version of a definition; what it says never changes.
    VersionId
    /// One exception to an on-call schedule.
    OverrideId
    /// What is said about a ticket.
    CommentId
    /// A file that belongs to a ticket.
    AttachmentId
    /// A file that is being taken in.
    BlobId
    /// A change of a definition on its way to the clocks that run.
    ReplanId
    /// Tickets by the thousand, out of one file.
    ImportId
    /// One change of one field of an account.
    AccountEventId
    /// A refresh token.
    RefreshTokenId
    /// A sign-in, through all the refresh tokens that follow one another.
    FamilyId
    /// An API key.
    ApiKeyId
    /// Somebody in the book of contacts.
    ContactId
}

#[expect(clippy::disallowed_methods, reason = "the one place that makes identifiers")]
fn v7() -> Uuid {
    Uuid::now_v7()
}

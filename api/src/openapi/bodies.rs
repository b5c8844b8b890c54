//! What bodies may say. Handlers read them field by field (`Form`), so these types are there to be described.
//!
//! `format = "line"` stands for one line that is not blank, `format = "lines"` for text without odd control characters.

#![expect(dead_code, reason = "they are described, never made")]

use shared::domain::sla::Mode;
use shared::domain::ticket::{Category, Priority, Status};
use shared::time::Timestamp as DateTime;
use utoipa::ToSchema;
use uuid::Uuid;

use super::parts::{address_or_null, event_types, labels, time_zone, time_zone_or_null, week};

/// Who signs in.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Credentials {
    #[schema(format = "line", max_length = 254, example = "grace@example.org")]
    email: String,
    #[schema(format = "lines", max_length = 1000, example = "correct horse battery staple")]
    password: String,
}

/// How somebody wants to be told.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AccountEdit {
    /// A zone of the IANA database.
    #[schema(schema_with = time_zone_or_null)]
    tz: Option<String>,
    quiet_hours: Option<QuietHours>,
}

/// A calendar whose open time is quiet.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct QuietHours {
    #[schema(schema_with = time_zone)]
    tz: String,
    #[schema(schema_with = week)]
    weekly: Option<String>,
}

/// A program to be told of events.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewWebhook {
    #[schema(format = "line", max_length = 100, example = "Chat")]
    name: String,
    #[schema(max_length = 2000, pattern = "^https?://", example = "https://example.org/hook")]
    url: String,
    /// Types of events, or `*`, which it is unless given.
    #[schema(schema_with = event_types)]
    types: Option<String>,
    /// Only events of tickets that are with this team.
    #[schema(example = json!(null))]
    team_id: Option<Uuid>,
    /// Whether it is told what only staff may know.
    #[schema(nullable = false)]
    internal: Option<bool>,
    #[schema(nullable = false)]
    enabled: Option<bool>,
}

/// Changes to a webhook.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct WebhookEdit {
    #[schema(format = "line", max_length = 100, nullable = false, example = "Chat")]
    name: Option<String>,
    #[schema(
        max_length = 2000,
        pattern = "^https?://",
        nullable = false,
        example = "https://example.org/hook"
    )]
    url: Option<String>,
    /// Types of events, or `*`.
    #[schema(schema_with = event_types)]
    types: Option<String>,
    #[schema(example = json!(null))]
    team_id: Option<Uuid>,
    #[schema(nullable = false)]
    internal: Option<bool>,
    #[schema(nullable = false)]
    enabled: Option<bool>,
    #[schema(minimum = 1, example = json!(null))]
    version: Option<i64>,
}

/// A ticket to be opened.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewTicket {
    #[schema(format = "line", max_length = 255, example = "The database is on fire")]
    title: String,
    #[schema(format = "lines", max_length = 65_536, example = "Since 09:00 every query times out.")]
    description: Option<String>,
    priority: Option<Priority>,
    category: Option<Category>,
    #[schema(format = "line", max_length = 100, example = "production")]
    environment: Option<String>,
    #[schema(format = "line", max_length = 100, example = "orders")]
    affected_service: Option<String>,
    #[schema(example = json!(null))]
    assignee_id: Option<Uuid>,
    #[schema(example = json!(null))]
    team_id: Option<Uuid>,
    #[schema(schema_with = labels)]
    labels: Option<String>,
    contact: Option<NewContact>,
}

/// Somebody without an account whom the ticket concerns.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewContact {
    #[schema(format = "line", max_length = 100, example = "Ada")]
    name: Option<String>,
    #[schema(schema_with = address_or_null)]
    email: Option<String>,
}

/// Changes of a ticket: null clears what may be empty.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TicketEdit {
    #[schema(format = "line", max_length = 255, example = "The database is slow", nullable = false)]
    title: Option<String>,
    #[schema(format = "lines", max_length = 65_536, example = "Since 09:00 every query takes a minute.")]
    description: Option<String>,
    #[schema(nullable = false)]
    priority: Option<Priority>,
    #[schema(nullable = false)]
    category: Option<Category>,
    #[schema(format = "line", max_length = 100, example = "production")]
    environment: Option<String>,
    #[schema(format = "line", max_length = 100, example = "orders")]
    affected_service: Option<String>,
    #[schema(example = json!(null))]
    assignee_id: Option<Uuid>,
    #[schema(example = json!(null))]
    team_id: Option<Uuid>,
    #[schema(schema_with = labels)]
    labels: Option<String>,
    contact: Option<NewContact>,
    /// The version that is changed.
    #[schema(minimum = 1, example = 3)]
    version: Option<i64>,
}

/// A ticket as a whole: what is not given is as if it had never been said, but for whom it is with and its labels.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TicketReplacement {
    #[schema(format = "line", max_length = 255, example = "The database is slow")]
    title: String,
    #[schema(format = "lines", max_length = 65_536, example = "Since 09:00 every query takes a minute.")]
    description: Option<String>,
    priority: Option<Priority>,
    category: Option<Category>,
    #[schema(format = "line", max_length = 100, example = "production")]
    environment: Option<String>,
    #[schema(format = "line", max_length = 100, example = "orders")]
    affected_service: Option<String>,
    #[schema(example = json!(null))]
    assignee_id: Option<Uuid>,
    #[schema(example = json!(null))]
    team_id: Option<Uuid>,
    #[schema(schema_with = labels)]
    labels: Option<String>,
    contact: Option<NewContact>,
    /// The version that is changed.
    #[schema(minimum = 1, example = 3)]
    version: Option<i64>,
}

/// The labels to have.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewLabels {
    #[schema(schema_with = labels)]
    labels: String,
    /// The version that is changed.
    #[schema(minimum = 1, example = 3)]
    version: Option<i64>,
}

/// Whom a ticket is to be with; at least one must be given, and null takes it away.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewAssignment {
    assignee_id: Option<Uuid>,
    #[schema(example = json!(null))]
    team_id: Option<Uuid>,
    /// The version that is changed.
    #[schema(minimum = 1, example = 3)]
    version: Option<i64>,
}

/// Where tickets are to go.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct BulkMove {
    /// Ids or numbers.
    #[schema(min_items = 1, max_items = 100, example = json!(["INC-1042", "INC-1043"]))]
    ticket_ids: Vec<String>,
    #[schema(example = "in_progress")]
    status: Status,
}

/// Where a ticket is to go.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Move {
    #[schema(example = "in_progress")]
    status: Status,
    /// The version that is changed.
    #[schema(minimum = 1, example = 3)]
    version: Option<i64>,
}

/// Which version is changed.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Expected {
    /// The version that is changed.
    #[schema(minimum = 1, example = 3)]
    version: Option<i64>,
}

/// Why a clock is paused.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Pause {
    #[schema(format = "line", max_length = 500, example = "Waiting for the vendor")]
    reason: String,
}

/// Somebody else on call for a while.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewOverride {
    /// A new one unless given.
    #[schema(example = json!(null))]
    id: Option<Uuid>,
    user: Uuid,
    #[schema(example = "2026-03-04T17:00:00Z")]
    from: DateTime,
    #[schema(example = "2026-03-05T08:00:00Z")]
    to: DateTime,
}

/// No field at all.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Nothing {}

/// What happens to consumed time.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Apply {
    mode: Option<Mode>,
}

/// Something to say about a ticket.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewComment {
    #[schema(
        max_length = 65_536,
        pattern = r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]*[^\s\x00-\x1f\x7f-\x9f][^\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]*$",
        example = "It is the mail server."
    )]
    content: String,
    /// Whether only staff may read it.
    #[schema(example = false)]
    is_internal: Option<bool>,
}

/// What a comment is to say.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CommentEdit {
    #[schema(
        max_length = 65_536,
        pattern = r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]*[^\s\x00-\x1f\x7f-\x9f][^\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]*$",
        example = "It was the mail server."
    )]
    content: String,
    /// What it is; it cannot be changed.
    #[schema(example = false)]
    is_internal: Option<bool>,
    /// The version that is changed.
    #[schema(minimum = 1, example = json!(null))]
    version: Option<i64>,
}

/// A file to attach to a ticket, as a form.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewAttachment {
    /// The file, with its name.
    #[schema(format = Binary)]
    file: String,
    /// Whether only staff may read it: `true` or `false`.
    is_internal: Option<bool>,
}

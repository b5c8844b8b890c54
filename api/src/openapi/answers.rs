//! What answers carry that have no view of their own.

#![expect(dead_code, reason = "they are described, never made")]

use shared::domain::escalation::Finding;
use shared::domain::sla::{Metric, Mode};
use shared::ids::{ClockId, OverrideId, UserId};
use shared::time::Timestamp as DateTime;
use utoipa::ToSchema;

/// That the API answers.
#[derive(ToSchema)]
pub(crate) struct Health {
    #[schema(example = "ok")]
    status: String,
}

/// That the database answers.
#[derive(ToSchema)]
pub(crate) struct DbHealth {
    #[schema(example = "ok")]
    db: String,
}

/// What is doubtful about a policy.
#[derive(ToSchema)]
pub(crate) struct Findings {
    findings: Vec<Finding>,
}

/// Which clocks a change would move.
#[derive(ToSchema)]
pub(crate) struct Preview {
    mode: Mode,
    examined: i64,
    would_move: i64,
    would_breach: i64,
    would_cancel: i64,
    /// Whether all tickets with open clocks were looked at.
    complete: bool,
    clocks: Vec<MovedClock>,
}

/// How a change would move a clock.
#[derive(ToSchema)]
pub(crate) struct MovedClock {
    clock_id: ClockId,
    #[schema(example = "INC-1042")]
    ticket: String,
    metric: Metric,
    due_before: Option<DateTime>,
    due_after: Option<DateTime>,
    breaches: bool,
    cancels: bool,
}

/// Who is on call, and why.
#[derive(ToSchema)]
pub(crate) struct OnCall {
    at: DateTime,
    /// Null when nobody is.
    user: Option<Person>,
    /// The layer that puts them on call.
    layer: Option<String>,
    /// The exception that puts them on call.
    r#override: Option<OverrideId>,
}

/// Somebody.
#[derive(ToSchema)]
pub(crate) struct Person {
    id: UserId,
    #[schema(example = "Grace Hopper")]
    name: String,
    #[schema(example = "grace@example.org")]
    email: String,
}

/// Who is on call from when to when.
#[derive(ToSchema)]
pub(crate) struct Shift {
    from: DateTime,
    to: DateTime,
    /// Null when nobody is.
    user: Option<Person>,
}

/// What a file brought.
#[derive(ToSchema)]
pub(crate) struct Holidays {
    /// How many events became dates.
    imported: i64,
    skipped: Vec<SkippedEvent>,
    #[schema(schema_with = super::parts::calendar)]
    calendar: String,
}

/// An event that was not imported.
#[derive(ToSchema)]
pub(crate) struct SkippedEvent {
    #[schema(example = "Standup")]
    summary: String,
    #[schema(example = "It does not last whole days.")]
    reason: String,
}

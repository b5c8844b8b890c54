//! What may be asked of lists. Handlers read parameters one by one (`Form`), so these types are there to be described.

#![expect(dead_code, reason = "they are described, never made")]

use shared::domain::job::Priority as JobPriority;
use shared::domain::ticket::{Category, Priority, Status};
use shared::store::ledger::State as JobState;
use shared::store::notifications::State;
use shared::time::Timestamp as DateTime;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

/// Which part of a list, and how it is sorted.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Page {
    /// At most as many.
    #[param(minimum = 1, maximum = 100, default = 20)]
    limit: Option<i64>,
    /// The `next_cursor` of the page before.
    #[param(min_length = 1, max_length = 500)]
    cursor: Option<String>,
}

/// Whether to count.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Count {
    /// Whether to say how many there are in all.
    count: Option<bool>,
}

/// How many to leave out.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Offset {
    /// Leaves so many out; better use a cursor.
    #[param(minimum = 0, maximum = 1_000_000)]
    offset: Option<i64>,
}

/// Which tickets.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Tickets {
    /// May be repeated.
    status: Option<Vec<Status>>,
    /// May be repeated.
    priority: Option<Vec<Priority>>,
    /// May be repeated.
    category: Option<Vec<Category>>,
    /// The id of a user.
    assignee: Option<Uuid>,
    /// The id of a user.
    reporter: Option<Uuid>,
    /// The id of a team.
    team: Option<Uuid>,
    /// Words in title, description or comments.
    #[param(format = "line", max_length = 500, example = "database timeout")]
    q: Option<String>,
    /// One of its labels.
    #[param(format = "line", max_length = 50)]
    label: Option<String>,
    /// The address of its contact.
    #[param(format = "line", max_length = 254)]
    contact: Option<String>,
    /// How its clocks stand.
    #[param(inline)]
    sla: Option<SlaWord>,
    /// From here on.
    created_from: Option<DateTime>,
    /// Until right before.
    created_to: Option<DateTime>,
    /// From here on.
    updated_from: Option<DateTime>,
    /// Until right before.
    updated_to: Option<DateTime>,
    /// The order; newest first unless given.
    #[param(inline)]
    sort: Option<TicketOrder>,
}

/// How the clocks of tickets stand.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub(crate) enum SlaWord {
    AtRisk,
    Breached,
    Paused,
}

/// How tickets are sorted.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub(crate) enum TicketOrder {
    CreatedAt,
    UpdatedAt,
    Priority,
    Status,
    DueAt,
    #[schema(rename = "-created_at")]
    NewestFirst,
    #[schema(rename = "-updated_at")]
    LatestFirst,
    #[schema(rename = "-priority")]
    LeastUrgentFirst,
    #[schema(rename = "-status")]
    StatusReversed,
    #[schema(rename = "-due_at")]
    LastDueFirst,
}

/// Which notifications.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Notifications {
    state: Option<State>,
    /// The address.
    #[param(format = "line", max_length = 2000)]
    recipient: Option<String>,
    /// What they are about.
    #[param(inline)]
    event: Option<EventWord>,
}

/// What notifications are about.
#[derive(ToSchema)]
pub(crate) enum EventWord {
    #[schema(rename = "ticket.created")]
    Created,
    #[schema(rename = "ticket.resolved")]
    Resolved,
    #[schema(rename = "sla.warning")]
    Warning,
    #[schema(rename = "sla.breached")]
    Breached,
    #[schema(rename = "escalation.step")]
    Step,
}

/// Which jobs.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Jobs {
    state: Option<JobState>,
    /// What they do.
    #[param(format = "line", max_length = 100, example = "send_mail")]
    kind: Option<String>,
    priority: Option<JobPriority>,
}

/// Of which ticket.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct OfTicket {
    /// The id or the number of a ticket.
    #[param(format = "line", max_length = 50, example = "INC-1042")]
    ticket: Option<String>,
}

/// Which definitions, and how they are sorted.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Definitions {
    /// The exact name.
    #[param(format = "line", max_length = 100)]
    name: Option<String>,
    /// The order.
    #[param(inline)]
    sort: Option<DefinitionOrder>,
}

/// How definitions are sorted.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub(crate) enum DefinitionOrder {
    CreatedAt,
    UpdatedAt,
    Position,
    #[schema(rename = "-created_at")]
    NewestFirst,
    #[schema(rename = "-updated_at")]
    LatestFirst,
    #[schema(rename = "-position")]
    LastFirst,
}

/// When.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct At {
    /// The instant; now unless given.
    at: Option<DateTime>,
}

/// From when to when, at most 90 days.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Period {
    /// From this instant.
    #[param(example = "2026-03-01T00:00:00Z")]
    from: DateTime,
    /// Until right before this instant.
    #[param(example = "2026-03-08T00:00:00Z")]
    to: DateTime,
}

/// Which days a report is about.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Window {
    /// From here on; 30 days before `to` unless given, and at most 366.
    #[param(example = "2026-03-01T00:00:00Z")]
    from: Option<DateTime>,
    /// Until right before; now unless given.
    #[param(example = "2026-04-01T00:00:00Z")]
    to: Option<DateTime>,
}

/// How many.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Limit {
    /// At most as many.
    #[param(minimum = 1, maximum = 100, default = 20)]
    limit: Option<i64>,
}

/// How a report is broken down.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Breakdown {
    /// May be repeated; all clocks together unless given.
    #[param(inline)]
    group_by: Option<Vec<Dimension>>,
    /// At most as many rows.
    #[param(minimum = 1, maximum = 1000, default = 1000)]
    limit: Option<i64>,
}

/// What clocks are counted together by.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub(crate) enum Dimension {
    Priority,
    Team,
    Day,
    Metric,
}

//! What the API shows of what the store keeps.

use chrono::TimeDelta;
use serde::Serialize;
use shared::domain::cause::Cause;
use shared::domain::sla::explain::Segment;
use shared::domain::sla::{Event, Metric, Recorded, State};
use shared::domain::ticket::{Category, Priority, Status};
use shared::ids::{ClockId, DefinitionId, NotificationId, TicketId, UserId, VersionId};
use shared::store::clocks::Stored;
use shared::store::definitions;
use shared::store::notifications::{self, Channel, Notification};
use shared::store::preferences::Preferences;
use shared::store::tickets::{Change, Ticket};
use shared::store::users::User;
// The derive of schemas knows times by this name.
use shared::time::Timestamp as DateTime;
use utoipa::ToSchema;

/// A ticket.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Ticket)]
pub(crate) struct TicketView {
    id: TicketId,
    number: String,
    title: String,
    description: String,
    status: Status,
    priority: Priority,
    category: Category,
    environment: Option<String>,
    affected_service: Option<String>,
    contact: Option<ContactView>,
    labels: Vec<String>,
    reporter_id: UserId,
    assignee_id: Option<UserId>,
    team_id: Option<DefinitionId>,
    /// The version of the policy it came under; null for the built-in one.
    sla_policy_version_id: Option<VersionId>,
    version: i64,
    created_at: DateTime,
    updated_at: DateTime,
    responded_at: Option<DateTime>,
    acknowledged_at: Option<DateTime>,
    acknowledged_by: Option<UserId>,
    resolved_at: Option<DateTime>,
    closed_at: Option<DateTime>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Contact)]
struct ContactView {
    name: Option<String>,
    email: Option<String>,
}

impl TicketView {
    pub(crate) fn new(ticket: Ticket, mut labels: Vec<String>) -> Self {
        // Databases sort text by rules of their own.
        labels.sort_unstable();
        let (name, email) = (ticket.contact_name.clone(), ticket.contact_email.clone());
        let contact = (name.is_some() || email.is_some()).then_some(ContactView { name, email });
        Self {
            id: ticket.id,
            number: ticket.key(),
            title: ticket.title,
            description: ticket.description,
            status: ticket.status,
            priority: ticket.priority,
            category: ticket.category,
            environment: ticket.environment,
            affected_service: ticket.affected_service,
            contact,
            labels,
            reporter_id: ticket.reporter_id,
            assignee_id: ticket.assignee_id,
            team_id: ticket.team_id,
            sla_policy_version_id: ticket.sla_policy_version_id,
            version: ticket.version,
            created_at: ticket.created_at,
            updated_at: ticket.updated_at,
            responded_at: ticket.responded_at,
            acknowledged_at: ticket.acknowledged_at,
            acknowledged_by: ticket.acknowledged_by,
            resolved_at: ticket.resolved_at,
            closed_at: ticket.closed_at,
        }
    }
}

/// A clock as of an instant.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Clock)]
pub(crate) struct ClockView {
    id: ClockId,
    ticket_id: TicketId,
    metric: Metric,
    state: State,
    target_ms: i64,
    elapsed_ms: i64,
    remaining_ms: i64,
    overrun_ms: i64,
    started_at: DateTime,
    due_at: Option<DateTime>,
    breach_at: Option<DateTime>,
    breached_at: Option<DateTime>,
    detected_at: Option<DateTime>,
    waived_at: Option<DateTime>,
    stopped_at: Option<DateTime>,
    /// Who holds it: `manual`, `status`, both or nobody.
    paused_by: Vec<&'static str>,
    /// Whether its calendar never opens for long enough.
    unreachable: bool,
    /// The zone it counts in.
    tz: &'static str,
    /// The version of the calendar it counts by; null for around the clock.
    calendar_version_id: Option<VersionId>,
    warnings: Vec<WarningView>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ClockWarning)]
struct WarningView {
    fraction: f64,
    at: Option<DateTime>,
}

impl ClockView {
    /// Shows a clock as of `now`, with what fell due up to then even if no sweep has recorded it yet.
    pub(crate) fn new(mut stored: Stored, now: DateTime) -> Self {
        let now = now.max(stored.clock.last_at);
        let recorded_at = stored.clock.detected_at;
        stored.clock.fire(now);
        let clock = &stored.clock;
        let elapsed = clock.elapsed(now);
        let (remaining, overrun) = (clock.target - elapsed, elapsed - clock.target);
        let ms = |span: TimeDelta| span.max(TimeDelta::zero()).num_milliseconds();
        let held = [("manual", clock.held_manually), ("status", clock.held_by_status)];
        let warning = |(fraction, at): (shared::domain::sla::Fraction, _)| WarningView {
            fraction: f64::from(fraction.0) / 1e6,
            at,
        };
        Self {
            id: stored.id,
            ticket_id: stored.ticket_id,
            metric: stored.metric,
            state: clock.state(),
            target_ms: ms(clock.target),
            elapsed_ms: ms(elapsed),
            remaining_ms: ms(remaining),
            overrun_ms: ms(overrun),
            started_at: clock.started_at,
            due_at: clock.due_at(),
            breach_at: clock.breach_at(),
            breached_at: clock.breached_at,
            detected_at: recorded_at,
            waived_at: clock.waived_at,
            stopped_at: clock.stopped_at,
            unreachable: clock.running_since.is_some() && clock.due_at().is_none(),
            tz: clock.calendar.zone().name(),
            calendar_version_id: clock.calendar.version(),
            paused_by: held.into_iter().filter_map(|(who, holds)| holds.then_some(who)).collect(),
            warnings: clock.warnings().map(warning).collect(),
        }
    }
}

/// Why a clock is due when it is.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Explanation)]
pub(crate) struct ExplainView {
    clock: ClockView,
    calendar: Option<CalendarView>,
    segments: Vec<SegmentView>,
    /// Whether there are more segments than are listed.
    more: bool,
    events: Vec<EventView>,
}

/// The version of the calendar a clock counts by.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ClockCalendar)]
struct CalendarView {
    id: DefinitionId,
    name: String,
    version: i64,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Segment)]
struct SegmentView {
    kind: &'static str,
    from: DateTime,
    to: DateTime,
    from_local: String,
    to_local: String,
    duration_ms: i64,
    /// What the clock has counted at its end.
    elapsed_ms: i64,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ClockEvent)]
struct EventView {
    seq: i64,
    at: DateTime,
    at_local: String,
    #[serde(flatten)]
    event: Event,
}

impl ExplainView {
    pub(crate) fn new(
        stored: Stored,
        calendar: Option<definitions::Version>,
        events: Vec<Recorded>,
        (segments, more): (Vec<Segment>, bool),
        now: DateTime,
    ) -> Self {
        let zone = stored.clock.calendar.zone();
        let local = |at: DateTime| at.with_timezone(&zone).to_rfc3339();
        let segment = |s: Segment| SegmentView {
            kind: s.kind.as_str(),
            from: s.from,
            to: s.to,
            from_local: local(s.from),
            to_local: local(s.to),
            duration_ms: (s.to - s.from).num_milliseconds(),
            elapsed_ms: s.elapsed.num_milliseconds(),
        };
        let event = |r: Recorded| EventView { seq: r.seq, at: r.at, at_local: local(r.at), event: r.event };
        Self {
            calendar: calendar.map(|v| CalendarView {
                id: v.definition_id,
                name: v.name,
                version: v.version,
            }),
            segments: segments.into_iter().map(segment).collect(),
            more,
            events: events.into_iter().map(event).collect(),
            clock: ClockView::new(stored, now),
        }
    }
}

/// One change of one field.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Change)]
pub(crate) struct ChangeView {
    field: String,
    old_value: Option<String>,
    new_value: Option<String>,
    version: i64,
    actor_id: Option<UserId>,
    ip: Option<String>,
    at: DateTime,
}

impl From<Change> for ChangeView {
    fn from(change: Change) -> Self {
        let Change { version, field, old_value, new_value, actor_id, ip, at, .. } = change;
        Self { field, old_value, new_value, version, actor_id, ip, at }
    }
}

/// The caller's own account.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OwnAccount)]
pub(crate) struct UserView {
    id: UserId,
    email: String,
    name: String,
    role: shared::domain::role::Role,
    tz: Option<String>,
    quiet_hours: Option<serde_json::Value>,
    created_at: DateTime,
}

impl UserView {
    pub(crate) fn new(user: &User, preferences: Preferences) -> Self {
        let Preferences { id, email, name, role, tz, quiet_hours } = preferences;
        let quiet_hours = quiet_hours.map(|hours| hours.0);
        Self { id, email, name, role, tz, quiet_hours, created_at: user.created_at }
    }
}

/// A notification.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Notification)]
pub(crate) struct NotificationView {
    id: NotificationId,
    ticket: TicketId,
    event: &'static str,
    cause: Cause,
    recipient: String,
    channel: Channel,
    state: notifications::State,
    reason: Option<String>,
    created_at: DateTime,
    release_at: Option<DateTime>,
    settled_at: Option<DateTime>,
}

impl From<Notification> for NotificationView {
    fn from(n: Notification) -> Self {
        let recipient = match n.channel {
            Channel::Email => n.recipient,
            Channel::Webhook => host(&n.recipient),
        };
        Self {
            id: n.id,
            ticket: n.ticket_id,
            event: n.cause.event(),
            cause: n.cause.0,
            recipient,
            channel: n.channel,
            state: n.state,
            reason: n.reason,
            created_at: n.created_at,
            release_at: n.release_at,
            settled_at: n.settled_at,
        }
    }
}

/// What may be read of a webhook's address: its path may hold the receiver's secret.
fn host(url: &str) -> String {
    let url = url::Url::parse(url).ok();
    let host = url.as_ref().and_then(|url| Some(format!("{}://{}/…", url.scheme(), url.host_str()?)));
    host.unwrap_or_else(|| "…".into())
}

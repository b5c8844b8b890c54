//! What the service desk has done within a window of time.

use std::str::FromStr;

use chrono::TimeDelta;
use serde::Serialize;
use serde_json::{Value, json};
use shared::domain::access::Area;
use shared::domain::sla::Metric;
use shared::domain::ticket::Priority;
use shared::ids::{ClockId, TicketId, UserId};
use shared::store::clocks::{self, Stored};
use shared::store::reports::{self, Breach, Compliance, Grouping, Latency, Window};
use shared::time::Timestamp as DateTime;
use utoipa::ToSchema;

use crate::call::{Call, Listing};
use crate::cursor;
use crate::envelope::Envelope;
use crate::error::ApiError;
use crate::form::{Form, is_common};
use crate::openapi::queries;

/// How far a report looks back unless told.
const USUAL: TimeDelta = TimeDelta::days(30);

/// The longest window.
const LONGEST: TimeDelta = TimeDelta::days(366);

/// Lists those with the most resolved tickets, with what they have open and what was breached.
#[utoipa::path(
    get, path = "/reports/top-assignees", tag = "reports",
    params(queries::Window, queries::Limit),
    responses((status = 200, description = "Who has resolved how much.", body = Vec<reports::Assignee>)),
)]
pub(super) async fn top_assignees(
    Listing { call, mut query }: Listing,
) -> Result<Envelope<Vec<reports::Assignee>>, ApiError> {
    call.sees(Area::Reports)?;
    let window = read_window(&call, &mut query);
    let limit = read_limit(&mut query);
    query.finish()?;
    let found = reports::top_assignees(&call.app.process.db, window, limit).await?;
    Ok(Envelope::ok(found).meta(meta(window, limit)))
}

/// Tells how long resolving took, by assignee.
#[utoipa::path(
    get, path = "/reports/latency", tag = "reports",
    params(queries::Window, queries::Limit),
    responses((status = 200, description = "How long it took, in milliseconds.", body = Vec<Latency>)),
)]
pub(super) async fn latency(
    Listing { call, mut query }: Listing,
) -> Result<Envelope<Vec<Latency>>, ApiError> {
    call.sees(Area::Reports)?;
    let window = read_window(&call, &mut query);
    let limit = read_limit(&mut query);
    query.finish()?;
    let found = reports::latency(&call.app.process.db, window, limit).await?;
    Ok(Envelope::ok(found).meta(meta(window, limit)))
}

/// How many promises were kept, and their share of those that are decided.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ComplianceRatio)]
pub(super) struct ComplianceView {
    #[serde(flatten)]
    counts: Compliance,
    /// The share of those decided that were met; none where none is.
    ratio: Option<f64>,
}

impl From<Compliance> for ComplianceView {
    fn from(counts: Compliance) -> Self {
        let decided = counts.met + counts.breached;
        #[expect(clippy::cast_precision_loss, reason = "a share of so many clocks needs no more digits")]
        let ratio = (decided > 0).then(|| counts.met as f64 / decided as f64);
        Self { counts, ratio }
    }
}

/// Counts promises kept and broken, together or by what is asked for.
#[utoipa::path(
    get, path = "/reports/sla-compliance", tag = "reports",
    params(queries::Window, queries::Breakdown),
    responses((status = 200, description = "How many promises were kept.", body = Vec<ComplianceView>)),
)]
pub(super) async fn sla_compliance(
    Listing { call, mut query }: Listing,
) -> Result<Envelope<Vec<ComplianceView>>, ApiError> {
    call.sees(Area::Reports)?;
    let window = read_window(&call, &mut query);
    let by = read_grouping(&mut query);
    let limit = query.number("limit", 1..=1_000).unwrap_or(1_000);
    query.finish()?;
    let found = reports::compliance(&call.app.process.db, window, by, limit).await?;
    let views = found.into_iter().map(ComplianceView::from).collect();
    Ok(Envelope::ok(views).meta(meta(window, limit)))
}

/// A clock that was exceeded.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Breach)]
pub(super) struct BreachView {
    clock_id: ClockId,
    ticket_id: TicketId,
    ticket: String,
    title: String,
    priority: Priority,
    assignee_id: Option<UserId>,
    metric: Metric,
    due_at: Option<DateTime>,
    breached_at: DateTime,
    /// Open time beyond the target, until the clock stopped or now.
    overrun_ms: i64,
    acknowledged_at: Option<DateTime>,
    /// From the breach by the wall clock; none where nobody has, or somebody had before.
    acknowledged_after_ms: Option<i64>,
}

impl BreachView {
    fn new(breach: Breach, clocks: &[Stored], now: DateTime) -> Self {
        let clock = clocks.iter().find(|stored| stored.id == breach.clock_id).map(|stored| &stored.clock);
        let overrun = clock.map(|clock| clock.elapsed(now) - clock.target).unwrap_or_default();
        let after = breach.acknowledged_at.map(|at| (at - breach.breached_at).num_milliseconds());
        Self {
            clock_id: breach.clock_id,
            ticket_id: breach.ticket_id,
            ticket: format!("INC-{}", breach.number),
            title: breach.title,
            priority: breach.priority,
            assignee_id: breach.assignee_id,
            metric: breach.metric,
            due_at: breach.due_at,
            breached_at: breach.breached_at,
            overrun_ms: overrun.num_milliseconds().max(0),
            acknowledged_at: breach.acknowledged_at,
            acknowledged_after_ms: after.filter(|after| *after >= 0),
        }
    }
}

#[derive(Debug, Serialize, serde::Deserialize)]
struct Place {
    at: DateTime,
    id: ClockId,
}

/// Lists the clocks that were exceeded, latest first.
#[utoipa::path(
    get, path = "/reports/breaches", tag = "reports",
    params(queries::Window, queries::Page),
    responses((status = 200, description = "A page of breaches.", body = Vec<BreachView>)),
)]
pub(super) async fn breaches(
    Listing { call, mut query }: Listing,
) -> Result<Envelope<Vec<BreachView>>, ApiError> {
    call.sees(Area::Reports)?;
    let window = read_window(&call, &mut query);
    let after = cursor::read(&mut query, "-breached_at", |place: &Place| is_common(place.at));
    let limit = read_limit(&mut query);
    query.finish()?;
    let (db, now) = (&call.app.process.db, call.by().now);
    let after = after.map(|place| (place.at, place.id));
    // One more than asked for tells whether there is a next page.
    let mut found = reports::breaches(db, window, after, limit + 1).await?;
    let mut said = meta(window, limit);
    let page = cursor::cut(&mut found, limit, |last| {
        cursor::write("-breached_at", Place { at: last.breached_at, id: last.clock_id })
    });
    if let (Value::Object(said), Value::Object(page)) = (&mut said, page) {
        said.extend(page);
    }
    let tickets: Vec<TicketId> = found.iter().map(|breach| breach.ticket_id).collect();
    let clocks = clocks::of_tickets(db, &tickets).await?;
    let views = found.into_iter().map(|breach| BreachView::new(breach, &clocks, now)).collect();
    Ok(Envelope::ok(views).meta(said))
}

fn meta(window: Window, limit: i64) -> Value {
    json!({ "from": window.from, "to": window.to, "limit": limit })
}

fn read_limit(query: &mut Form) -> i64 {
    query.number("limit", 1..=100).unwrap_or(20)
}

/// Reads from when until when: the last 30 days unless told.
fn read_window(call: &Call, query: &mut Form) -> Window {
    let (from, to) = (query.time("from"), query.time("to"));
    let to = to.unwrap_or_else(|| call.by().now);
    let from = from.unwrap_or(to - USUAL);
    if from >= to || !is_common(from) {
        query.complain("invalid", "to", "Must be after from; where it is not given, it is now.");
    } else if to - from > LONGEST {
        query.complain("invalid", "from", "Must be at most 366 days before to.");
    }
    Window { from, to }
}

/// Something that clocks are counted together by.
struct Dimension(fn(&mut Grouping) -> &mut bool);

impl FromStr for Dimension {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        match word {
            "priority" => Ok(Self(|by| &mut by.priority)),
            "team" => Ok(Self(|by| &mut by.team)),
            "day" => Ok(Self(|by| &mut by.day)),
            "metric" => Ok(Self(|by| &mut by.metric)),
            _ => Err("must be one of: priority, team, day, metric".into()),
        }
    }
}

fn read_grouping(query: &mut Form) -> Grouping {
    let mut by = Grouping::default();
    for Dimension(dimension) in query.words("group_by") {
        *dimension(&mut by) = true;
    }
    by
}

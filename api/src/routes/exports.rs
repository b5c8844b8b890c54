//! Tickets as a CSV file.

use axum::BoxError;
use axum::body::Body;
use axum::http::{HeaderValue, header};
use axum::response::Response;
use futures::stream::{self, Stream, StreamExt, TryStreamExt};
use shared::domain::import::{EXPORTED, join_labels, neutral};
use shared::domain::sla::Metric;
use shared::store::Db;
use shared::store::exports::{self, Exported};
use shared::store::tickets::{Filter, Position};
use shared::time::Timestamp;

use super::ticket_list::read_filter;
use crate::call::Listing;
use crate::error::ApiError;
use crate::openapi::queries;

/// At most as many tickets are in memory at once: with the longest descriptions, some 50 MiB.
const PAGE: i64 = 200;

/// Writes the tickets that a filter lets through, page by page as the client reads them. Where something fails on the
/// way the connection is cut, so that nobody takes a part for the whole.
#[utoipa::path(
    get, path = "/tickets/export.csv", tag = "tickets",
    params(queries::Tickets),
    responses((status = 200, description = "The tickets, a line each.", body = String, content_type = "text/csv",
        example = "number,id,title")),
)]
pub(super) async fn export_tickets(Listing { call, mut query }: Listing) -> Result<Response, ApiError> {
    for field in ["limit", "cursor", "offset", "count"] {
        if query.has(field) {
            query.complain("unknown", field, "An export has no pages: leave it out.");
        }
    }
    let (mut filter, _, _) = read_filter(query)?;
    filter.visible_to = call.visible_to();
    filter.limit = PAGE;
    let staff = call.caller.role.is_staff();
    let db = call.app.process.db.clone();
    // Read before the answer begins, so that a database that is away is a 503.
    let first = exports::page(&db, &filter).await?;
    let disposition = HeaderValue::from_static("attachment; filename=\"tickets.csv\"");
    Ok(file(disposition, &EXPORTED.map(String::from), rows(db, filter, Some(first), staff)))
}

/// The tickets that a filter lets through as lines of a CSV file, the names of the columns first. At most a page of
/// them is in memory at once, whatever the filter says.
pub fn tickets_as_csv(
    db: Db,
    filter: Filter,
    staff: bool,
) -> impl Stream<Item = Result<Vec<u8>, BoxError>> + Send + 'static {
    let head = row(&EXPORTED.map(String::from));
    stream::once(async { head }).chain(rows(db, Filter { limit: PAGE, ..filter }, None, staff))
}

/// Gives a line for each ticket from page to page, of which the first may have been read already.
fn rows(
    db: Db,
    filter: Filter,
    first: Option<Page>,
    staff: bool,
) -> impl Stream<Item = Result<Vec<u8>, BoxError>> + Send + 'static {
    let pages = stream::try_unfold(Some((filter, first)), move |next| page(db.clone(), next));
    let rows = pages.map_ok(|tickets| stream::iter(tickets).map(Ok::<_, BoxError>)).try_flatten();
    rows.map(move |ticket: Result<Exported, BoxError>| row(&cells(&ticket?, staff)))
}

/// Answers with a file of these rows, as they come.
pub(super) fn file(
    disposition: HeaderValue,
    columns: &[String],
    rows: impl Stream<Item = Result<Vec<u8>, BoxError>> + Send + 'static,
) -> Response {
    let head = row(columns);
    let broken = |error: &BoxError| tracing::error!(%error, "a file broke off while it was being sent");
    let content = stream::once(async { head }).chain(rows).inspect_err(broken);
    let mut response = Response::new(Body::from_stream(content));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/csv; charset=utf-8"));
    headers.insert(header::CONTENT_DISPOSITION, disposition);
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

type Page = Vec<(Exported, Position)>;

/// Gives one page, and what leads to the next.
async fn page(
    db: Db,
    next: Option<(Filter, Option<Page>)>,
) -> Result<Option<(Vec<Exported>, Option<(Filter, Option<Page>)>)>, BoxError> {
    let Some((mut filter, page)) = next else { return Ok(None) };
    let page = match page {
        Some(page) => page,
        None => exports::page(&db, &filter).await?,
    };
    let is_last = i64::try_from(page.len()).unwrap_or(i64::MAX) < filter.limit;
    filter.after = page.last().map(|(_, position)| position.clone());
    let tickets = page.into_iter().map(|(ticket, _)| ticket).collect();
    Ok(Some((tickets, (!is_last).then_some((filter, None)))))
}

/// Writes one line, with no cell that a spreadsheet would take for a formula.
pub(super) fn row(cells: &[String]) -> Result<Vec<u8>, BoxError> {
    let mut writer = csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(Vec::new());
    writer.write_record(cells.iter().map(|cell| neutral(cell).into_owned()))?;
    Ok(writer.into_inner()?)
}

/// What is said of a ticket, in the order of the columns. Addresses and teams of staff are for staff.
fn cells(exported: &Exported, staff: bool) -> [String; EXPORTED.len()] {
    let Exported { ticket, clocks, .. } = exported;
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let for_staff = |value: &Option<String>| value.clone().filter(|_| staff).unwrap_or_default();
    let time = |at: Option<Timestamp>| at.map(|at| at.to_rfc3339()).unwrap_or_default();
    let clock = |metric: Metric| clocks.get(&metric).copied().unwrap_or_default();
    let [first, next, resolution] =
        [Metric::FirstResponse, Metric::NextResponse, Metric::Resolution].map(clock);
    [
        ticket.key(),
        ticket.id.to_string(),
        ticket.title.clone(),
        ticket.description.clone(),
        ticket.status.to_string(),
        ticket.priority.to_string(),
        ticket.category.to_string(),
        text(&ticket.environment),
        text(&ticket.affected_service),
        text(&exported.reporter),
        for_staff(&exported.assignee),
        for_staff(&exported.team),
        join_labels(exported.labels.iter().map(String::as_str)),
        text(&ticket.contact_name),
        text(&ticket.contact_email),
        time(Some(ticket.created_at)),
        time(Some(ticket.updated_at)),
        time(ticket.responded_at),
        time(ticket.acknowledged_at),
        time(ticket.resolved_at),
        time(ticket.closed_at),
        time(first.0),
        time(first.1),
        time(next.0),
        time(next.1),
        time(resolution.0),
        time(resolution.1),
        ticket.version.to_string(),
    ]
}

//! Lists of tickets, page by page.

use std::collections::HashMap;

use shared::domain::search::{self, Search};
use shared::ids::TicketId;
use shared::store::query::Target;
use shared::store::tickets::{self, Filter, Position, SlaFilter, SortBy, Ticket};

use crate::call::Listing;
use crate::cursor;
use crate::envelope::Envelope;
use crate::error::ApiError;
use crate::form::{Form, is_common};
use crate::openapi::queries;
use crate::views::TicketView;

/// Lists tickets, newest first unless told otherwise.
#[utoipa::path(
    get, path = "/tickets", tag = "tickets",
    params(queries::Tickets, queries::Page, queries::Offset, queries::Count),
    responses((status = 200, description = "A page of tickets.", body = Vec<TicketView>)),
)]
pub(super) async fn list_tickets(
    Listing { call, query }: Listing,
) -> Result<Envelope<Vec<TicketView>>, ApiError> {
    let (mut filter, sort, count) = read_filter(query)?;
    filter.visible_to = call.visible_to();
    let limit = filter.limit;
    // One more than asked for tells whether there is a next page.
    filter.limit = limit + 1;
    let db = &call.app.process.db;
    let mut found = tickets::list(db, &filter).await?;
    let mut meta = cursor::cut(&mut found, limit, |(_, position)| cursor::write(&sort, position));
    if count {
        meta["total"] = tickets::count(db, &filter).await?.into();
    }
    let views = with_labels(db, found.into_iter().map(|(ticket, _)| ticket).collect()).await?;
    Ok(Envelope::ok(views).meta(meta))
}

/// Shows tickets with their labels.
pub(super) async fn with_labels(
    on: impl Into<Target<'_>>,
    tickets: Vec<Ticket>,
) -> Result<Vec<TicketView>, ApiError> {
    let ids: Vec<TicketId> = tickets.iter().map(|ticket| ticket.id).collect();
    let mut labels: HashMap<TicketId, Vec<String>> = HashMap::new();
    for (ticket, label) in tickets::labels_of(on, &ids).await? {
        labels.entry(ticket).or_default().push(label);
    }
    let view = |ticket: Ticket| {
        let labels = labels.remove(&ticket.id).unwrap_or_default();
        TicketView::new(ticket, labels)
    };
    Ok(tickets.into_iter().map(view).collect())
}

/// Reads which tickets are meant; the order in words; and whether to count them.
pub(super) fn read_filter(mut form: Form) -> Result<(Filter, String, bool), ApiError> {
    let sort = form.line("sort", 20).flatten().unwrap_or_else(|| "-created_at".into());
    let by = match sort.strip_prefix('-').unwrap_or(&sort) {
        "created_at" => SortBy::CreatedAt,
        "updated_at" => SortBy::UpdatedAt,
        "priority" => SortBy::Priority,
        "status" => SortBy::Status,
        "due_at" => SortBy::DueAt,
        _ => {
            let known =
                "Must be created_at, updated_at, priority, status or due_at, with an optional - in front.";
            form.complain("unknown_value", "sort", known);
            SortBy::CreatedAt
        }
    };
    let sla = match form.line("sla", 20).flatten().as_deref() {
        None => None,
        Some("at_risk") => Some(SlaFilter::AtRisk),
        Some("breached") => Some(SlaFilter::Breached),
        Some("paused") => Some(SlaFilter::Paused),
        Some(_) => {
            form.complain("unknown_value", "sla", "Must be at_risk, breached or paused.");
            None
        }
    };
    let after = read_cursor(&mut form, &sort, by);
    let count: Option<bool> = form.parse("count", "true or false").flatten();
    let user = "the id of a user";
    let search = form.line("q", 500).flatten();
    let search = search.and_then(|text| {
        let read = Search::parse(&text);
        if read.is_none() {
            form.complain("invalid", "q", format!("Must {}.", search::EXPECTED));
        }
        read
    });
    let filter = Filter {
        visible_to: None,
        search,
        team: form.parse("team", "the id of a team").flatten(),
        status: form.words("status"),
        priority: form.words("priority"),
        category: form.words("category"),
        assignee: form.parse("assignee", user).flatten(),
        reporter: form.parse("reporter", user).flatten(),
        label: form.line("label", 50).flatten(),
        contact: form.line("contact", 254).flatten(),
        sla,
        created_from: form.time("created_from"),
        created_to: form.time("created_to"),
        updated_from: form.time("updated_from"),
        updated_to: form.time("updated_to"),
        sort: by,
        descending: sort.starts_with('-'),
        after,
        offset: form.number("offset", 0..=1_000_000).unwrap_or(0),
        limit: form.number("limit", 1..=100).unwrap_or(20),
    };
    form.finish()?;
    Ok((filter, sort, count.unwrap_or(false)))
}

fn read_cursor(form: &mut Form, sort: &str, by: SortBy) -> Option<Position> {
    let by_rank = matches!(by, SortBy::Priority | SortBy::Status);
    let has_key = |p: &Position| if by_rank { p.rank.is_some() } else { p.at.is_some_and(is_common) };
    cursor::read(form, sort, has_key)
}

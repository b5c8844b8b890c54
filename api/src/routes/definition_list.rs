//! Lists of definitions, page by page.

use serde_json::json;
use shared::store::definitions::{self, Filter, Position, SortBy};

use crate::call::Listing;
use crate::cursor;
use crate::defined::{Defined, View, view};
use crate::envelope::Envelope;
use crate::error::ApiError;
use crate::form::{Form, is_common};

/// Lists the definitions of a kind: in the order in which they count where that is chosen, otherwise newest first.
pub(super) async fn list_definitions<D: Defined>(
    Listing { call, query }: Listing,
) -> Result<Envelope<Vec<View>>, ApiError> {
    call.staff_only()?;
    let (mut filter, sort, count) = read_filter::<D>(query)?;
    let limit = filter.limit;
    // One more than asked for tells whether there is a next page.
    filter.limit = limit + 1;
    let db = &call.app.process.db;
    let mut found = definitions::list(db, D::KIND, &filter).await?;
    let has_more = found.len() > usize::try_from(limit).unwrap_or(usize::MAX);
    found.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    let next = found.last().filter(|_| has_more).map(|last| cursor::write(&sort, filter.sort.position(last)));
    let mut meta = json!({ "has_more": has_more, "next_cursor": next, "limit": limit });
    if count {
        meta["total"] = definitions::count(db, D::KIND, &filter).await?.into();
    }
    Ok(Envelope::ok(found.into_iter().map(view::<D>).collect()).meta(meta))
}

fn read_filter<D: Defined>(mut form: Form) -> Result<(Filter, String, bool), ApiError> {
    let usual = if D::ORDERED { "position" } else { "-created_at" };
    let sort = form.line("sort", 20).flatten().unwrap_or_else(|| usual.into());
    let by = match sort.strip_prefix('-').unwrap_or(&sort) {
        "created_at" => SortBy::CreatedAt,
        "updated_at" => SortBy::UpdatedAt,
        "position" => SortBy::Position,
        _ => {
            let known = "Must be created_at, updated_at or position, with an optional - in front.";
            form.complain("unknown_value", "sort", known);
            SortBy::CreatedAt
        }
    };
    let has_key = |p: &Position| match by {
        SortBy::Position => p.rank.is_some(),
        SortBy::CreatedAt | SortBy::UpdatedAt => p.at.is_some_and(is_common),
    };
    let after = cursor::read(&mut form, &sort, has_key);
    let count: Option<bool> = form.parse("count", "true or false").flatten();
    let filter = Filter {
        name: form.line("name", 100).flatten(),
        sort: by,
        descending: sort.starts_with('-'),
        after,
        offset: form.number("offset", 0..=1_000_000).unwrap_or(0),
        limit: form.number("limit", 1..=100).unwrap_or(20),
    };
    form.finish()?;
    Ok((filter, sort, count.unwrap_or(false)))
}

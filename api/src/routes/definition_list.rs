//! Lists of definitions, page by page.

use serde::{Deserialize, Serialize};
use shared::domain::access::Area;
use shared::store::definitions::{self, Filter, Position, SortBy};

use super::definitions::find;
use crate::call::{Listing, Name};
use crate::cursor;
use crate::defined::{Defined, View, view, view_version};
use crate::envelope::Envelope;
use crate::error::ApiError;
use crate::form::{Form, is_common};
use crate::openapi::definitions::{Definition, DefinitionVersion};
use crate::openapi::queries;

/// Lists definitions: in the order in which they count where that is chosen, otherwise newest first.
#[utoipa::path(
    get, path = "/", tag = "definitions",
    params(queries::Definitions, queries::Page, queries::Offset, queries::Count),
    responses((status = 200, description = "A page of definitions.", body = Vec<Definition>)),
)]
pub(super) async fn list_definitions<D: Defined>(
    Listing { call, query }: Listing,
) -> Result<Envelope<Vec<View>>, ApiError> {
    call.sees(Area::Rules)?;
    let (mut filter, sort, count) = read_filter::<D>(query)?;
    let limit = filter.limit;
    // One more than asked for tells whether there is a next page.
    filter.limit = limit + 1;
    let db = &call.app.process.db;
    let mut found = definitions::list(db, D::KIND, &filter).await?;
    let mut meta = cursor::cut(&mut found, limit, |last| cursor::write(&sort, filter.sort.position(last)));
    if count {
        meta["total"] = definitions::count(db, D::KIND, &filter).await?.into();
    }
    Ok(Envelope::ok(found.into_iter().map(view::<D>).collect()).meta(meta))
}

/// Where a page of versions ended.
#[derive(Debug, Serialize, Deserialize)]
struct Before {
    version: i64,
}

/// Lists what a definition has said, the latest first.
#[utoipa::path(
    get, path = "/", tag = "definitions",
    params(queries::Page),
    responses((status = 200, description = "A page of versions.", body = Vec<DefinitionVersion>)),
)]
pub(super) async fn list_versions<D: Defined>(
    Listing { call, mut query }: Listing,
    Name(name): Name,
) -> Result<Envelope<Vec<View>>, ApiError> {
    const ORDER: &str = "-version";
    call.sees(Area::Rules)?;
    let before = cursor::read(&mut query, ORDER, |_: &Before| true).map(|before| before.version);
    let limit = query.number("limit", 1..=100).unwrap_or(20);
    query.finish()?;
    let db = &call.app.process.db;
    let id = find(db, D::KIND, &name).await?.id;
    let mut found = definitions::versions(db, id, before, limit + 1).await?;
    let meta = cursor::cut(&mut found, limit, |last| cursor::write(ORDER, Before { version: last.version }));
    Ok(Envelope::ok(found.into_iter().map(view_version::<D>).collect()).meta(meta))
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

//! The labels in use.

use serde::{Deserialize, Serialize};
use shared::store::labels::{self, Filter, Used};
use utoipa::ToSchema;

use crate::call::Listing;
use crate::cursor;
use crate::envelope::Envelope;
use crate::error::ApiError;
use crate::openapi::accounts::Labels;
use crate::openapi::queries;

/// A label, and on how many tickets that the caller may see it is.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = LabelInUse)]
pub(super) struct LabelView {
    label: String,
    tickets: i64,
}

/// Where a page of labels ended.
#[derive(Debug, Serialize, Deserialize)]
struct Behind {
    label: String,
}

/// Lists the labels of tickets that the caller may see, in alphabetical order.
#[utoipa::path(
    get, path = "/labels", tag = "tickets",
    params(Labels, queries::Page, queries::Offset, queries::Count),
    responses((status = 200, description = "A page of labels.", body = Vec<LabelView>)),
)]
pub(super) async fn list_labels(
    Listing { call, mut query }: Listing,
) -> Result<Envelope<Vec<LabelView>>, ApiError> {
    const ORDER: &str = "label";
    let usable = |behind: &Behind| behind.label.len() <= 200 && !behind.label.contains(char::is_control);
    let after = cursor::read(&mut query, ORDER, usable);
    let count: Option<bool> = query.parse("count", "true or false").flatten();
    let limit = query.number("limit", 1..=100).unwrap_or(20);
    let filter = Filter {
        visible_to: call.visible_to(),
        prefix: query.line("q", 50).flatten(),
        after: after.map(|behind: Behind| behind.label),
        offset: query.number("offset", 0..=1_000_000).unwrap_or(0),
        // One more than asked for tells whether there is a next page.
        limit: limit + 1,
    };
    query.finish()?;
    let db = &call.app.process.db;
    let mut found = labels::list(db, &filter).await?;
    let mut meta =
        cursor::cut(&mut found, limit, |last| cursor::write(ORDER, Behind { label: last.label.clone() }));
    if count == Some(true) {
        meta["total"] = labels::count(db, &filter).await?.into();
    }
    let view = |Used { label, tickets }| LabelView { label, tickets };
    Ok(Envelope::ok(found.into_iter().map(view).collect()).meta(meta))
}

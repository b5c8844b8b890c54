//! The labels in use.

use sqlx::FromRow;

use super::edit::literally;
use super::query::{Query, query};
use super::{Db, Result};
use crate::ids::UserId;

/// A label, and on how many tickets it is.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct Used {
    /// The label.
    pub label: String,
    /// On how many tickets.
    pub tickets: i64,
}

/// Which labels to list.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Only those of tickets that this user reported: all that an end user may see.
    pub visible_to: Option<UserId>,
    /// That begin so, in whatever case.
    pub prefix: Option<String>,
    /// Behind this one.
    pub after: Option<String>,
    /// Skip as many.
    pub offset: i64,
    /// At most as many.
    pub limit: i64,
}

/// Lists labels in the database's own order of texts.
pub async fn list(db: &Db, filter: &Filter) -> Result<Vec<Used>> {
    let mut select = conditions(query("SELECT l.label, COUNT(*) AS tickets"), filter);
    if let Some(after) = &filter.after {
        select = select.push(" AND l.label > ").push_bind(after.as_str());
    }
    let select = select.push(" GROUP BY l.label ORDER BY l.label LIMIT ").push_bind(filter.limit);
    select.push(" OFFSET ").push_bind(filter.offset).all(db).await
}

/// Counts the labels that a filter lets through, on all pages.
pub async fn count(db: &Db, filter: &Filter) -> Result<i64> {
    let (count,) = conditions(query("SELECT COUNT(DISTINCT l.label)"), filter).one::<(i64,)>(db).await?;
    Ok(count)
}

fn conditions(select: Query, filter: &Filter) -> Query {
    let mut select =
        select.push(" FROM ticket_labels l JOIN tickets t ON t.id = l.ticket_id WHERE t.deleted_at IS NULL");
    if let Some(user) = filter.visible_to {
        select = select.push(" AND t.reporter_id = ").push_bind(user);
    }
    match &filter.prefix {
        Some(prefix) => {
            let pattern = format!("{}%", literally(prefix));
            select.push(" AND LOWER(l.label) LIKE ").push_bind(pattern).push(r" ESCAPE '\'")
        }
        None => select,
    }
}

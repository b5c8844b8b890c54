//! What is said about tickets.

use sqlx::FromRow;

use super::db::Tx;
use super::query::{Target, query};
use super::{Result, belonging};
use crate::ids::{CommentId, TicketId, UserId};
use crate::time::Timestamp;

/// Something said about a ticket.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct Comment {
    /// Identifier; those of a ticket sort by when they were made.
    pub id: CommentId,
    /// The ticket.
    pub ticket_id: TicketId,
    /// Who said it; nobody, when the rules did what it tells.
    pub author_id: Option<UserId>,
    /// What was said, 1-65,536 characters.
    pub content: String,
    /// Whether only staff may read it.
    pub internal: bool,
    /// Whether it tells of a change rather than says something.
    pub system: bool,
    /// 1 at first, one more with every edit.
    pub version: i64,
    /// When it was said.
    pub created_at: Timestamp,
    /// When it was last edited.
    pub edited_at: Option<Timestamp>,
    /// When it was deleted; it is shown to nobody since.
    pub deleted_at: Option<Timestamp>,
}

/// What a comment said before an edit.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct Former {
    /// The comment's version then.
    pub version: i64,
    /// What it said.
    pub content: String,
    /// When something else took its place.
    pub replaced_at: Timestamp,
}

/// A comment with the name of who said it.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct Signed {
    /// The comment.
    #[sqlx(flatten)]
    pub comment: Comment,
    /// The author's name.
    pub author_name: Option<String>,
}

/// Which comments to list.
pub type Filter = belonging::Filter<CommentId>;

const INSERT: &str = "
    INSERT INTO comments (id, ticket_id, author_id, content, internal, system, version, created_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";

/// Adds a comment.
pub async fn insert(tx: &mut Tx, c: &Comment) -> Result<()> {
    let insert = query(INSERT).bind(c.id).bind(c.ticket_id).bind(c.author_id).bind(&*c.content);
    insert.bind(c.internal).bind(c.system).bind(c.version).bind(c.created_at).execute(tx).await?;
    Ok(())
}

const SIGNED: &str = "
    SELECT c.*, (SELECT u.name FROM users u WHERE u.id = c.author_id) AS author_name FROM comments c";

/// Finds a comment that was not deleted.
pub async fn get(on: impl Into<Target<'_>>, id: CommentId) -> Result<Option<Signed>> {
    query(SIGNED).push(" WHERE deleted_at IS NULL AND id = ").push_bind(id).optional(on).await
}

/// Finds a comment that was not deleted and keeps others from changing it until the transaction ends.
pub async fn lock(tx: &mut Tx, id: CommentId) -> Result<Option<Comment>> {
    let select = "SELECT * FROM comments WHERE id = $1 AND deleted_at IS NULL {for_update}";
    query(select).bind(id).optional(tx).await
}

/// Lists comments that were not deleted.
pub async fn list(on: impl Into<Target<'_>>, filter: &Filter) -> Result<Vec<Signed>> {
    filter.page(query(SIGNED)).all(on).await
}

/// Counts all that the filter finds, on all pages.
pub async fn count(on: impl Into<Target<'_>>, filter: &Filter) -> Result<i64> {
    let (count,): (i64,) = filter.narrow(query("SELECT count(*) FROM comments")).one(on).await?;
    Ok(count)
}

const KEEP: &str = "
    INSERT INTO comment_edits (comment_id, version, content, replaced_at)
    SELECT id, version, content, $2 FROM comments WHERE id = $1";
const EDIT: &str = "
    UPDATE comments SET content = $2, edited_at = $3, version = version + 1 WHERE id = $1";

/// Replaces what a comment says, and keeps what it said.
pub async fn edit(tx: &mut Tx, comment: &mut Comment, content: String, now: Timestamp) -> Result<()> {
    query(KEEP).bind(comment.id).bind(now).execute(tx).await?;
    query(EDIT).bind(comment.id).bind(&*content).bind(now).execute(tx).await?;
    (comment.content, comment.edited_at) = (content, Some(now));
    comment.version += 1;
    Ok(())
}

/// Lists what a comment said before, oldest first.
pub async fn edits(on: impl Into<Target<'_>>, id: CommentId) -> Result<Vec<Former>> {
    let select =
        "SELECT version, content, replaced_at FROM comment_edits WHERE comment_id = $1 ORDER BY version";
    query(select).bind(id).all(on).await
}

/// Deletes a comment: it is shown to nobody any more.
pub async fn delete(tx: &mut Tx, id: CommentId, now: Timestamp) -> Result<()> {
    query("UPDATE comments SET deleted_at = $2 WHERE id = $1").bind(id).bind(now).execute(tx).await?;
    Ok(())
}

//! Files that belong to tickets, and the contents that are kept.

use sqlx::FromRow;

use super::db::Tx;
use super::query::{Target, query};
use super::{Result, belonging};
use crate::domain::attachment::State;
use crate::ids::{AttachmentId, TicketId, UserId};
use crate::time::Timestamp;

/// A file that belongs to a ticket.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct Attachment {
    /// Identifier; those of a ticket sort by when they were made.
    pub id: AttachmentId,
    /// The ticket.
    pub ticket_id: TicketId,
    /// Who attached it.
    pub uploader_id: Option<UserId>,
    /// What it is called; never a path.
    pub name: String,
    /// What it is served as.
    pub media_type: String,
    /// Its length in bytes.
    pub size: i64,
    /// What its content hashes to, in lower-case hex: tells where it is kept.
    pub sha256: String,
    /// Whether only staff may read it.
    pub internal: bool,
    /// Whether it may be read.
    pub state: State,
    /// What the scanner calls what it found.
    pub finding: Option<String>,
    /// When it was attached.
    pub created_at: Timestamp,
    /// When it was looked at.
    pub scanned_at: Option<Timestamp>,
    /// When it was deleted; it is shown to nobody since.
    pub deleted_at: Option<Timestamp>,
}

/// Which attachments to list.
pub type Filter = belonging::Filter<AttachmentId>;

const INSERT: &str = "
    INSERT INTO attachments (id, ticket_id, uploader_id, name, media_type, size, sha256, internal, state, created_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)";

/// Adds an attachment.
pub async fn insert(tx: &mut Tx, a: &Attachment) -> Result<()> {
    let insert = query(INSERT).bind(a.id).bind(a.ticket_id).bind(a.uploader_id).bind(&*a.name);
    let insert = insert.bind(&*a.media_type).bind(a.size).bind(&*a.sha256).bind(a.internal);
    insert.bind(a.state).bind(a.created_at).execute(tx).await?;
    Ok(())
}

/// Finds an attachment that was not deleted.
pub async fn get(on: impl Into<Target<'_>>, id: AttachmentId) -> Result<Option<Attachment>> {
    query("SELECT * FROM attachments WHERE id = $1 AND deleted_at IS NULL").bind(id).optional(on).await
}

/// Finds a content among what is attached to a ticket, and not deleted.
pub async fn with_content(
    on: impl Into<Target<'_>>,
    ticket: TicketId,
    sha256: &str,
    internal: bool,
) -> Result<Option<Attachment>> {
    let select = "SELECT * FROM attachments
        WHERE ticket_id = $1 AND sha256 = $2 AND internal = $3 AND deleted_at IS NULL";
    query(select).bind(ticket).bind(sha256).bind(internal).optional(on).await
}

/// Lists attachments that were not deleted.
pub async fn list(on: impl Into<Target<'_>>, filter: &Filter) -> Result<Vec<Attachment>> {
    filter.page(query("SELECT * FROM attachments")).all(on).await
}

/// Counts all that the filter finds, on all pages.
pub async fn count(on: impl Into<Target<'_>>, filter: &Filter) -> Result<i64> {
    let (count,): (i64,) = filter.narrow(query("SELECT count(*) FROM attachments")).one(on).await?;
    Ok(count)
}

const JUDGE: &str = "
    UPDATE attachments SET state = $2, finding = $3, scanned_at = $4
    WHERE id = $1 AND state = 'pending' AND deleted_at IS NULL";

/// Puts on record what a look at an attachment found; `false` when nobody waits for it any more.
pub async fn judge(
    tx: &mut Tx,
    id: AttachmentId,
    state: State,
    finding: Option<&str>,
    now: Timestamp,
) -> Result<bool> {
    Ok(query(JUDGE).bind(id).bind(state).bind(finding).bind(now).execute(tx).await? == 1)
}

/// Deletes an attachment: it is shown to nobody any more.
pub async fn delete(tx: &mut Tx, id: AttachmentId, now: Timestamp) -> Result<()> {
    query("UPDATE attachments SET deleted_at = $2 WHERE id = $1").bind(id).bind(now).execute(tx).await?;
    Ok(())
}

const TOUCH: &str = "
    INSERT INTO blobs (sha256, size, touched_at) VALUES ($1, $2, $3)
    ON CONFLICT (sha256) DO UPDATE SET touched_at = excluded.touched_at";

/// Takes note that somebody brings a content, which keeps it from being deleted for a while. To be committed before the
/// file gets its place: then there is never a file without a row.
pub async fn touch(tx: &mut Tx, sha256: &str, size: i64, now: Timestamp) -> Result<()> {
    query(TOUCH).bind(sha256).bind(size).bind(now).execute(tx).await?;
    Ok(())
}

const UNUSED: &str = "
    FROM blobs b WHERE b.touched_at < $1
    AND NOT EXISTS (SELECT 1 FROM attachments a WHERE a.sha256 = b.sha256 AND a.deleted_at IS NULL)";

/// Lists contents that no attachment refers to and that nobody has brought since `before`.
pub async fn unused(on: impl Into<Target<'_>>, before: Timestamp, limit: i64) -> Result<Vec<String>> {
    let select = query("SELECT b.sha256").push(UNUSED).push(" ORDER BY b.touched_at LIMIT $2");
    let found: Vec<(String,)> = select.bind(before).bind(limit).all(on).await?;
    Ok(found.into_iter().map(|(sha256,)| sha256).collect())
}

/// Forgets a content that is still unused; `false` when it is not. Until the transaction ends, whoever brings it again
/// waits: so its file is deleted before the commit.
pub async fn forget(tx: &mut Tx, sha256: &str, before: Timestamp) -> Result<bool> {
    let delete =
        query("DELETE FROM blobs WHERE sha256 = $2 AND sha256 IN (SELECT b.sha256").push(UNUSED).push(")");
    Ok(delete.bind(before).bind(sha256).execute(tx).await? == 1)
}

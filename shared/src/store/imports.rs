//! Imports of tickets, how far they have come, and what was wrong with their rows.

use sqlx::FromRow;
use sqlx::types::Json;

use super::db::Tx;
use super::query::{Target, Value, query};
use super::{Db, Result};
use crate::domain::Problem;
use crate::domain::definition::Kind;
use crate::domain::import::{Columns, Rows};
use crate::ids::{DefinitionId, ImportId, TicketId, UserId};
use crate::time::Timestamp;

/// One import and how far it has come.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct Import {
    /// Identifier.
    pub id: ImportId,
    /// Who asked for it: whoever reports its tickets.
    pub user_id: UserId,
    /// From where.
    pub ip: Option<String>,
    /// Where the file lies; none where it was read at once, and once all of it was read.
    pub file: Option<String>,
    /// Bytes of the file.
    pub size: i64,
    /// What parts its cells.
    pub delimiter: String,
    /// Its columns.
    pub columns: Json<Columns>,
    /// How many bytes were read.
    pub position: i64,
    /// On which line they end.
    pub line: i64,
    /// Rows read.
    pub rows: i64,
    /// Of these, those that became tickets.
    pub imported: i64,
    /// Of these, those that something was wrong with.
    pub failed: i64,
    /// Of these, those that had been imported before.
    pub skipped: i64,
    /// What there is to say about rows.
    pub errors: i64,
    /// Why it ended before the file did.
    pub stopped: Option<String>,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// When nothing was left to do.
    pub finished_at: Option<Timestamp>,
}

impl Import {
    /// An import by a user of a file whose first line was read. How large it is and where it lies is still to be said.
    #[must_use]
    pub fn new(user_id: UserId, ip: Option<String>, rows: &Rows, now: Timestamp) -> Self {
        let (position, line) = rows.position();
        Self {
            id: ImportId::new(),
            user_id,
            ip,
            file: None,
            size: 0,
            delimiter: char::from(rows.delimiter()).to_string(),
            columns: Json(rows.columns().clone()),
            position: i64::try_from(position).unwrap_or(i64::MAX),
            line,
            rows: 0,
            imported: 0,
            failed: 0,
            skipped: 0,
            errors: 0,
            stopped: None,
            created_at: now,
            finished_at: None,
        }
    }

    /// Goes on where it stands. The file is read from its position on.
    #[must_use]
    pub fn resume(&self) -> Rows {
        let delimiter = self.delimiter.bytes().next().unwrap_or(b',');
        let offset = u64::try_from(self.position).unwrap_or_default();
        Rows::resume(self.columns.0.clone(), delimiter, offset, self.line)
    }
}

const INSERT: &str = "
    INSERT INTO imports (id, user_id, ip, file, size, delimiter, columns, position, line, rows, imported, failed, skipped,
        errors, created_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 0, 0, 0, 0, 0, $10)";

/// Puts an import on its way. What it has counted so far is ignored.
pub async fn create(tx: &mut Tx, import: &Import) -> Result<()> {
    let i = import;
    let insert = query(INSERT).bind(i.id).bind(i.user_id).bind(i.ip.as_deref()).bind(i.file.as_deref());
    let insert = insert.bind(i.size).bind(&*i.delimiter).bind(json(&i.columns.0));
    insert.bind(i.position).bind(i.line).bind(i.created_at).execute(tx).await?;
    Ok(())
}

fn json(value: &impl serde::Serialize) -> Value {
    Value::Json(serde_json::to_value(value).ok())
}

/// Finds an import.
pub async fn get(on: impl Into<Target<'_>>, id: ImportId) -> Result<Option<Import>> {
    query("SELECT * FROM imports WHERE id = $1").bind(id).optional(on).await
}

/// Finds an import and keeps others from carrying it on until the transaction ends.
pub async fn lock(tx: &mut Tx, id: ImportId) -> Result<Option<Import>> {
    query("SELECT * FROM imports WHERE id = $1 {for_update}").bind(id).optional(tx).await
}

const SAVE: &str = "
    UPDATE imports SET position = $2, line = $3, rows = $4, imported = $5, failed = $6, skipped = $7, errors = $8,
        stopped = $9, finished_at = $10
    WHERE id = $1";

/// Stores how far an import has come.
pub async fn save(tx: &mut Tx, import: &Import) -> Result<()> {
    let i = import;
    let update = query(SAVE).bind(i.id).bind(i.position).bind(i.line).bind(i.rows).bind(i.imported);
    let update = update.bind(i.failed).bind(i.skipped).bind(i.errors).bind(i.stopped.as_deref());
    update.bind(i.finished_at).execute(tx).await?;
    Ok(())
}

/// Takes note that the file of an import is gone.
pub async fn forget_file(tx: &mut Tx, id: ImportId) -> Result<()> {
    query("UPDATE imports SET file = NULL WHERE id = $1").bind(id).execute(tx).await?;
    Ok(())
}

/// Lists imports behind `before`, latest first.
pub async fn list(db: &Db, before: Option<ImportId>, limit: i64) -> Result<Vec<Import>> {
    let mut select = query("SELECT * FROM imports");
    if let Some(before) = before {
        select = select.push(" WHERE id < ").push_bind(before);
    }
    select.push(" ORDER BY id DESC LIMIT ").push_bind(limit).all(db).await
}

/// Counts all imports.
pub async fn count(db: &Db) -> Result<i64> {
    let (count,): (i64,) = query("SELECT COUNT(*) FROM imports").one(db).await?;
    Ok(count)
}

/// Something wrong with one row.
#[derive(Clone, Debug, PartialEq, Eq, FromRow, serde::Serialize)]
pub struct RowError {
    /// The line of the file that the row begins on, from 1.
    pub line: i64,
    /// The column; empty where it is about the row as a whole.
    pub field: String,
    /// What is wrong, as a sentence.
    pub reason: String,
}

/// Puts on record what was wrong with rows.
pub async fn add_errors(tx: &mut Tx, import: ImportId, errors: &[(i64, Problem)]) -> Result<()> {
    let row = |(line, problem): &(i64, Problem)| -> [Value; 4] {
        [import.into(), (*line).into(), problem.field.as_str().into(), problem.message.as_str().into()]
    };
    let insert = "INSERT INTO import_errors (import_id, line, field, reason) {rows} ON CONFLICT DO NOTHING";
    query(insert).rows(errors.iter().map(row)).execute(tx).await?;
    Ok(())
}

/// Lists what was wrong with rows, by line, behind one of these.
pub async fn errors(
    on: impl Into<Target<'_>>,
    import: ImportId,
    after: Option<&RowError>,
    limit: i64,
) -> Result<Vec<RowError>> {
    let mut select = query("SELECT line, field, reason FROM import_errors WHERE import_id = $1").bind(import);
    if let Some(after) = after {
        select = select.push(" AND (line, field) > (").push_bind(after.line);
        select = select.push(", ").push_bind(&*after.field).push(")");
    }
    select.push(" ORDER BY line, field LIMIT ").push_bind(limit).all(on).await
}

/// Finds those who can sign in among the owners of addresses in lower case, as (address, user).
pub async fn assignees(on: impl Into<Target<'_>>, emails: &[String]) -> Result<Vec<(String, UserId)>> {
    let select = query("SELECT email, id FROM users WHERE email IN ({rows}) AND disabled_at IS NULL");
    select.rows(emails.iter().map(|email| [email.as_str().into()])).all(on).await
}

/// Finds teams by their names, as (name, team).
pub async fn teams(on: impl Into<Target<'_>>, names: &[String]) -> Result<Vec<(String, DefinitionId)>> {
    let select =
        query("SELECT name, id FROM definitions WHERE kind = $1 AND deleted_at IS NULL AND name IN ({rows})");
    let rows = names.iter().map(|name| [name.as_str().into()]);
    select.bind(Kind::Team).rows(rows).all(on).await
}

/// Finds what a user has imported before, as (external id, number of the ticket).
pub async fn known(
    on: impl Into<Target<'_>>,
    user: UserId,
    external: &[String],
) -> Result<Vec<(String, i64)>> {
    let select = query(
        "SELECT e.external_id, t.number FROM external_ids e JOIN tickets t ON t.id = e.ticket_id
        WHERE e.user_id = $1 AND e.external_id IN ({rows})",
    );
    select.bind(user).rows(external.iter().map(|id| [id.as_str().into()])).all(on).await
}

/// Takes note of what a user has imported.
pub async fn remember(tx: &mut Tx, user: UserId, imported: &[(String, TicketId)]) -> Result<()> {
    let row = |(external, ticket): &(String, TicketId)| -> [Value; 3] {
        [user.into(), external.as_str().into(), (*ticket).into()]
    };
    let insert = "INSERT INTO external_ids (user_id, external_id, ticket_id) {rows}";
    query(insert).rows(imported.iter().map(row)).execute(tx).await?;
    Ok(())
}

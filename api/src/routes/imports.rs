//! Tickets out of CSV files.

use axum::BoxError;
use axum::extract::{FromRequest, Multipart, Request};
use axum::http::{HeaderMap, HeaderValue};
use axum::response::Response;
use futures::stream::{self, Stream, StreamExt, TryStreamExt};
use serde::Serialize;
use shared::blobs::PutError;
use shared::domain::Problem;
use shared::domain::access::Area;
use shared::domain::import::{Line, Rows};
use shared::domain::job::ImportTickets;
use shared::ids::{ImportId, UserId};
use shared::store::Db;
use shared::store::imports::{self, Import, RowError};
use shared::store::jobs::{self, NewJob};
use shared::store::tickets::Ticket;
use shared::time::Timestamp as DateTime;
use tokio_util::bytes::Bytes;
use utoipa::ToSchema;

use crate::call::{Call, Listing, Name, is_media_type};
use crate::cursor;
use crate::envelope::Envelope;
use crate::error::{ApiError, FieldError};
use crate::idempotency;
use crate::openapi::queries;

/// Files up to this size, with up to so many rows, are imported while the client waits.
const AT_ONCE: (usize, usize) = (1024 * 1024, 1_000);

/// The largest file.
const LARGEST: u64 = 200 * 1024 * 1024;

/// At most as many errors are shown with an import, and read at once for the file that has all of them.
const PAGE: i64 = 1_000;

/// Imports a file, which is the body or the field `file` of a form: a short one at once, a longer one by a job.
#[utoipa::path(
    post, path = "/tickets/import", tag = "imports",
    request_body(content(
        (String = "text/csv", example = "title,priority\nThe database is on fire,high\n"),
        (ImportForm = "multipart/form-data"),
    )),
    responses(
        (status = 200, description = "What became of each row.", body = ImportedView),
        (status = 202, description = "A job imports the file.", body = ImportView),
    ),
)]
pub(super) async fn import_tickets(call: Call, request: Request) -> Result<Response, ApiError> {
    call.changes(Area::Imports)?;
    let headers = request.headers().clone();
    if is_media_type(&headers, "text/csv") {
        return import(call, &headers, request.into_body().into_data_stream()).await;
    }
    if !is_media_type(&headers, "multipart/form-data") {
        return Err(ApiError::NotCsv);
    }
    let broken = |_| ApiError::Malformed("The form cannot be read.".into());
    let mut form = Multipart::from_request(request, &()).await.map_err(|_| ApiError::NotCsv)?;
    let Some(field) = form.next_field().await.map_err(broken)? else {
        return Err(ApiError::field("required", "file", "Is required."));
    };
    if field.name() == Some("file") {
        return import(call, &headers, field).await;
    }
    let name = field.name().unwrap_or_default();
    Err(ApiError::field("unknown", name, "There is no such field."))
}

async fn import<E: Into<BoxError> + Send>(
    mut call: Call,
    headers: &HeaderMap,
    content: impl Stream<Item = Result<Bytes, E>> + Send,
) -> Result<Response, ApiError> {
    let mut content = Box::pin(content.map_err(Into::into));
    let mut start = Vec::new();
    let mut is_whole = false;
    while start.len() <= AT_ONCE.0 && !is_whole {
        match content.try_next().await.map_err(cut_off)? {
            Some(piece) => start.extend_from_slice(&piece),
            None => is_whole = true,
        }
    }
    let mut rest = start.as_slice();
    let mut rows = Rows::begin(&mut rest).map_err(refused)?;
    let new = Import::new(call.user.id, call.actor().ip, &rows, call.by().now);
    if is_whole {
        let mut lines: Vec<Line> = std::iter::from_fn(|| rows.next(&mut rest)).take(AT_ONCE.1 + 1).collect();
        lines.extend(rest.is_empty().then(|| rows.finish()).flatten());
        if lines.len() <= AT_ONCE.1 {
            let end = rows.position();
            let size = i64::try_from(start.len()).unwrap_or(i64::MAX);
            if let Some(answer) =
                idempotency::claim(&mut call, headers, &idempotency::hash(&[&start])).await?
            {
                return Ok(answer);
            }
            let answer = import_now(&call, Import { size, ..new }, lines, end.1).await;
            return idempotency::settle(&call, answer).await;
        }
    }
    let key = format!("imports/{}", new.id);
    let blobs = &call.app.process.blobs.clone();
    let whole = stream::once(async { Ok(Bytes::from(start)) }).chain(content);
    let stored = blobs.put_named(&key, whole, LARGEST).await.map_err(not_stored)?;
    let size = i64::try_from(stored.size).unwrap_or(i64::MAX);
    let claimed = idempotency::claim(&mut call, headers, &stored.sha256).await;
    let answer = match claimed {
        Ok(None) => {
            let answer = import_later(&call, Import { size, file: Some(key.clone()), ..new }).await;
            idempotency::settle(&call, answer).await
        }
        Ok(Some(answer)) => {
            forget(blobs, &key).await;
            return Ok(answer);
        }
        Err(error) => Err(error),
    };
    if answer.is_err() {
        forget(blobs, &key).await;
    }
    answer
}

/// Opens the tickets of a short file and says what became of each row.
async fn import_now(
    call: &Call,
    mut import: Import,
    lines: Vec<Line>,
    end: i64,
) -> Result<Response, ApiError> {
    let mut tx = call.begin().await?;
    imports::create(&mut tx, &import).await?;
    (import.position, import.line, import.finished_at) = (import.size, end, Some(call.by().now));
    let opened = call.app.process.desk.import(&mut tx, &mut import, lines).await?;
    let errors = imports::errors(&mut tx, import.id, None, i64::MAX).await?;
    let answer = ImportedView {
        id: import.id,
        rows: import.rows,
        imported: import.imported,
        failed: import.failed,
        skipped: import.skipped,
        errors: errors.into_iter().map(RowErrorView::from).collect(),
        tickets: opened.iter().map(Ticket::key).collect(),
        stopped: import.stopped,
    };
    call.commit(tx, Envelope::ok(answer)).await
}

/// Has a job import a file.
async fn import_later(call: &Call, import: Import) -> Result<Response, ApiError> {
    let mut tx = call.begin().await?;
    imports::create(&mut tx, &import).await?;
    let job = NewJob::of(&ImportTickets { import: import.id }).unique(format!("import:{}", import.id));
    jobs::enqueue(&mut tx, vec![job], import.created_at).await?;
    call.commit(tx, Envelope::accepted(ImportView::new(import, None))).await
}

async fn forget(blobs: &shared::blobs::Blobs, key: &str) {
    if let Err(error) = blobs.delete(key).await {
        tracing::warn!(%error, "the file of an import that was not begun stays behind");
    }
}

fn cut_off(_: BoxError) -> ApiError {
    ApiError::Malformed("The file was cut off on its way here.".into())
}

fn not_stored(error: PutError<BoxError>) -> ApiError {
    match error {
        PutError::TooLarge(limit) => ApiError::TooLarge(usize::try_from(limit).unwrap_or(usize::MAX)),
        PutError::Source(error) => cut_off(error),
        PutError::Store(error) => ApiError::Unavailable(error.to_string()),
    }
}

/// Complains of the first line of a file.
fn refused(problems: Vec<Problem>) -> ApiError {
    let error = |problem: Problem| FieldError {
        code: if problem.message.starts_with("Is required") { "required" } else { "invalid" },
        field: Some(problem.field),
        message: problem.message,
    };
    ApiError::Invalid(problems.into_iter().map(error).collect())
}

/// What is wrong with a row.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RowError)]
pub(super) struct RowErrorView {
    line: i64,
    /// None where it is about the row as a whole.
    field: Option<String>,
    reason: String,
}

impl From<RowError> for RowErrorView {
    fn from(RowError { line, field, reason }: RowError) -> Self {
        Self { line, field: Some(field).filter(|field| !field.is_empty()), reason }
    }
}

/// A file in a form.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it is described, never made")]
struct ImportForm {
    /// The CSV file.
    #[schema(format = Binary)]
    file: String,
}

/// What became of the rows of a file.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Imported)]
struct ImportedView {
    id: ImportId,
    rows: i64,
    imported: i64,
    failed: i64,
    skipped: i64,
    errors: Vec<RowErrorView>,
    /// The numbers of the tickets, in the order of the rows.
    #[schema(example = json!(["INC-1042"]))]
    tickets: Vec<String>,
    /// Why the file was not read to its end.
    stopped: Option<String>,
}

/// How far an import has come.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Import)]
pub(super) struct ImportView {
    id: ImportId,
    /// `waiting`, `running`, `done` or `stopped`.
    state: &'static str,
    /// Bytes of the file.
    size: i64,
    /// Bytes that were read.
    read: i64,
    rows: i64,
    imported: i64,
    failed: i64,
    skipped: i64,
    /// At most 1,000; not in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    errors: Option<Vec<RowErrorView>>,
    errors_truncated: bool,
    /// Why it ended before the file did.
    stopped: Option<String>,
    created_by: UserId,
    created_at: DateTime,
    finished_at: Option<DateTime>,
}

impl ImportView {
    fn new(import: Import, errors: Option<Vec<RowError>>) -> Self {
        let state = match import {
            Import { stopped: Some(_), .. } => "stopped",
            Import { finished_at: Some(_), .. } => "done",
            Import { rows: 0, .. } => "waiting",
            _ => "running",
        };
        let shown = errors.as_ref().map_or(0, Vec::len);
        Self {
            id: import.id,
            state,
            size: import.size,
            read: import.position,
            rows: import.rows,
            imported: import.imported,
            failed: import.failed,
            skipped: import.skipped,
            errors: errors.map(|errors| errors.into_iter().map(RowErrorView::from).collect()),
            errors_truncated: i64::try_from(shown).unwrap_or(i64::MAX) < import.errors,
            stopped: import.stopped,
            created_by: import.user_id,
            created_at: import.created_at,
            finished_at: import.finished_at,
        }
    }
}

/// Shows how far an import has come, and what was wrong with rows so far.
#[utoipa::path(
    get, path = "/imports/{id}", tag = "imports",
    responses((status = 200, description = "How far it has come.", body = ImportView)),
)]
pub(super) async fn show_import(call: Call, Name(name): Name) -> Result<Envelope<ImportView>, ApiError> {
    let import = find(&call, &name).await?;
    let errors = imports::errors(&call.app.process.db, import.id, None, PAGE).await?;
    Ok(Envelope::ok(ImportView::new(import, Some(errors))))
}

async fn find(call: &Call, name: &str) -> Result<Import, ApiError> {
    call.sees(Area::Imports)?;
    let id: ImportId = name.parse().map_err(|_| ApiError::NotFound("import"))?;
    imports::get(&call.app.process.db, id).await?.ok_or(ApiError::NotFound("import"))
}

/// Lists imports, latest first.
#[utoipa::path(
    get, path = "/imports", tag = "imports",
    params(queries::Page, queries::Count),
    responses((status = 200, description = "A page of imports.", body = Vec<ImportView>)),
)]
pub(super) async fn list_imports(
    Listing { call, mut query }: Listing,
) -> Result<Envelope<Vec<ImportView>>, ApiError> {
    call.sees(Area::Imports)?;
    let before: Option<ImportId> = query.parse("cursor", "a next_cursor from such a list").flatten();
    let limit = query.number("limit", 1..=100).unwrap_or(20);
    let count: Option<bool> = query.parse("count", "true or false").flatten();
    query.finish()?;
    let db = &call.app.process.db;
    // One more than asked for tells whether there is a next page.
    let mut found = imports::list(db, before, limit + 1).await?;
    let mut meta = cursor::cut(&mut found, limit, |last| last.id.to_string());
    if count == Some(true) {
        meta["total"] = imports::count(db).await?.into();
    }
    let views = found.into_iter().map(|import| ImportView::new(import, None)).collect();
    Ok(Envelope::ok(views).meta(meta))
}

/// Writes everything that was wrong with the rows of an import as a file.
#[utoipa::path(
    get, path = "/imports/{id}/errors.csv", tag = "imports",
    responses((status = 200, description = "Everything that was wrong, a line each.", body = String, content_type = "text/csv",
        example = "line,field,reason")),
)]
pub(super) async fn export_errors(call: Call, Name(name): Name) -> Result<Response, ApiError> {
    let import = find(&call, &name).await?.id;
    let db = call.app.process.db.clone();
    // Read before the answer begins, so that a database that is away is a 503.
    let first = imports::errors(&db, import, None, PAGE).await?;
    let pages = stream::try_unfold(Some((None, Some(first))), move |next| page(db.clone(), import, next));
    let rows = pages.map_ok(|errors| stream::iter(errors).map(Ok::<_, BoxError>)).try_flatten();
    let rows = rows.map(|error: Result<RowError, BoxError>| {
        let RowError { line, field, reason } = error?;
        super::exports::row(&[line.to_string(), field, reason])
    });
    let head = ["line", "field", "reason"].map(String::from);
    Ok(super::exports::file(HeaderValue::from_static("attachment; filename=\"errors.csv\""), &head, rows))
}

type Next = Option<(Option<RowError>, Option<Vec<RowError>>)>;

/// Gives one page, and what leads to the next.
async fn page(db: Db, import: ImportId, next: Next) -> Result<Option<(Vec<RowError>, Next)>, BoxError> {
    let Some((after, read)) = next else { return Ok(None) };
    let errors = match read {
        Some(errors) => errors,
        None => imports::errors(&db, import, after.as_ref(), PAGE).await?,
    };
    let is_last = i64::try_from(errors.len()).unwrap_or(i64::MAX) < PAGE;
    let next = errors.last().filter(|_| !is_last).cloned().map(|last| (Some(last), None));
    Ok(Some((errors, next)))
}

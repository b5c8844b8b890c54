//! Imports the tickets of a file in batches, each in one transaction with how far it has come.

use std::time::{Duration, Instant};

use chrono::TimeDelta;
use futures::StreamExt;
use futures::stream::BoxStream;
use shared::blobs;
use shared::domain::import::{Line, Rows};
use shared::domain::job::{Ending, ErrorClass, ImportTickets};
use shared::store::desk;
use shared::store::imports::{self, Import};

use tokio_util::bytes::{Buf, Bytes};

use crate::context::{Context, JobError, Outcome};
use crate::registry::Run;

/// At most as many rows, and about as many bytes of the file, to a transaction.
const BATCH: (usize, u64) = (500, 4 * 1024 * 1024);

/// How long one attempt goes on: less than a worker that is told to stop waits for its jobs.
const STRETCH: Duration = Duration::from_secs(15);

/// How far a file was read.
struct Reached {
    offset: u64,
    line: i64,
    is_end: bool,
}

/// A file as it is read.
struct File {
    rows: Rows,
    content: BoxStream<'static, blobs::Result<Bytes>>,
    piece: Bytes,
    is_over: bool,
}

impl File {
    /// Opens the file of an import where it stands; `None` when it is gone.
    async fn open(cx: &Context, import: &Import) -> Result<Option<Self>, JobError> {
        let (Ok(from), Ok(size)) = (u64::try_from(import.position), u64::try_from(import.size)) else {
            return Ok(None);
        };
        let (rows, piece) = (import.resume(), Bytes::new());
        if from >= size {
            let content = futures::stream::empty().boxed();
            return Ok(Some(Self { rows, content, piece, is_over: true }));
        }
        let blobs = &cx.worker.process.blobs;
        let content = blobs.get(import.file.as_deref().unwrap_or_default(), Some(from..size)).await;
        let content = content.map_err(|error| JobError::retry(ErrorClass::Storage, error.to_string()))?;
        Ok(content.map(|content| Self { rows, content, piece, is_over: false }))
    }

    fn reached(&self) -> Reached {
        let (offset, line) = self.rows.position();
        Reached { offset, line, is_end: self.is_over }
    }

    /// Reads the next batch of rows.
    async fn batch(&mut self) -> blobs::Result<Vec<Line>> {
        let mut lines = Vec::new();
        let begin = self.rows.position().0;
        while lines.len() < BATCH.0 && self.rows.position().0 - begin < BATCH.1 && !self.is_over {
            let mut rest = &self.piece[..];
            if let Some(line) = self.rows.next(&mut rest) {
                lines.push(line);
                let taken = self.piece.len() - rest.len();
                self.piece.advance(taken);
            } else if let Some(piece) = self.content.next().await {
                self.piece = piece?;
            } else {
                lines.extend(self.rows.finish());
                self.is_over = true;
            }
        }
        Ok(lines)
    }
}

impl Run for ImportTickets {
    async fn run(&self, cx: &Context) -> Result<Outcome, JobError> {
        let began = Instant::now();
        let Some(mut import) = imports::get(cx.db(), self.import).await? else {
            return Ok(Outcome::Skip("the import is gone".into()));
        };
        if import.finished_at.is_none() {
            let Some(mut file) = File::open(cx, &import).await? else {
                return stop(cx, import).await;
            };
            while import.finished_at.is_none() {
                if began.elapsed() > STRETCH {
                    return Err(JobError::Snooze(TimeDelta::zero()));
                }
                let lines = file
                    .batch()
                    .await
                    .map_err(|error| JobError::retry(ErrorClass::Storage, error.to_string()))?;
                import = carry_on(cx, &import, file.reached(), lines).await?;
            }
            let Import { id, rows, imported, failed, skipped, .. } = &import;
            tracing::info!(import.id = %id, rows, imported, failed, skipped, "imported tickets");
        }
        if let Some(file) = &import.file {
            let deleted = cx.worker.process.blobs.delete(file).await;
            deleted.map_err(|error| JobError::retry(ErrorClass::Storage, error.to_string()))?;
            let mut tx = cx.db().begin().await?;
            imports::forget_file(&mut tx, import.id).await?;
            let _ = tx.commit().await?;
        }
        Ok(Outcome::Done)
    }
}

/// Gives up an import that has lost its file.
async fn stop(cx: &Context, import: Import) -> Result<Outcome, JobError> {
    let mut tx = cx.db().begin().await?;
    if let Some(mut import) = imports::lock(&mut tx, import.id).await? {
        import.stopped = Some("The file is gone; send it again.".into());
        import.finished_at = Some(cx.now());
        imports::save(&mut tx, &import).await?;
    }
    cx.commit(tx, Ending::Discarded, Some("the file is gone".into())).await
}

/// Opens the tickets of one batch and says that it was read, both or neither.
async fn carry_on(
    cx: &Context,
    before: &Import,
    reached: Reached,
    lines: Vec<Line>,
) -> Result<Import, JobError> {
    let mut tx = cx.db().begin().await?;
    let found = imports::lock(&mut tx, before.id).await?;
    let Some(mut import) = found.filter(|found| found == before) else {
        // Somebody else goes on with it, or did meanwhile.
        tx.rollback().await?;
        return Err(JobError::Snooze(TimeDelta::seconds(1)));
    };
    (import.position, import.line) = (i64::try_from(reached.offset).unwrap_or(i64::MAX), reached.line);
    if reached.is_end {
        (import.position, import.finished_at) = (import.size, Some(cx.now()));
    }
    let imported = cx.worker.process.desk.import(&mut tx, &mut import, lines).await;
    imported.map_err(|error| match error {
        desk::Error::Store(error) => error.into(),
        other => JobError::retry(ErrorClass::Other, other.to_string()),
    })?;
    cx.worker.process.queue.push(tx.commit().await?);
    Ok(import)
}

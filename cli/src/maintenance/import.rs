//! Opens tickets out of a CSV file, as `POST /tickets/import` does, here and now.

use std::fs::File;
use std::io::Read;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, ensure};
use clap::Args;
use serde::Serialize;
use shared::domain::access::Area;
use shared::domain::import::{Line, Rows};
use shared::ids::ImportId;
use shared::store::desk::Desk;
use shared::store::imports::{self, RowError};
use shared::store::{Db, desk};

use super::export::acting;
use super::output::Output;
use super::place::Place;

/// At most as many rows to a transaction.
const BATCH: usize = 500;

/// How much of the file is in memory at once; its first line must be shorter.
const PIECE: usize = 1024 * 1024;

/// At most as many of the things that were wrong are told.
const TOLD: i64 = 1_000;

/// `dogwatch import`
#[derive(Debug, Args)]
pub(crate) struct Import {
    /// The CSV file; its first line names the columns
    file: PathBuf,
    /// Address of the account that reports the tickets
    #[arg(long = "as", value_name = "EMAIL")]
    user: String,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Serialize)]
struct Report {
    id: ImportId,
    rows: i64,
    imported: i64,
    failed: i64,
    skipped: i64,
    /// Why the file was not read to its end.
    stopped: Option<String>,
    /// What was wrong, at most 1,000.
    errors: Vec<RowError>,
}

/// Exits 1 when any row was not imported.
pub(crate) async fn run(args: Import, place: &Place) -> anyhow::Result<ExitCode> {
    let (db, clock) = place.open_current().await?;
    let user = acting(&db, &args.user).await?;
    ensure!(
        user.role.may_change(Area::Imports),
        "a {} may not import tickets: name another account",
        user.role
    );
    let cannot = || format!("cannot read {}", args.file.display());
    let mut content = Content::open(&args.file).with_context(cannot)?;
    let mut rest = content.piece.as_slice();
    let rows = Rows::begin(&mut rest).map_err(|problems| {
        let said: Vec<String> = problems.iter().map(|p| format!("{}: {}", p.field, p.message)).collect();
        anyhow::anyhow!("the first line of {} must name the columns: {}", args.file.display(), said.join(" "))
    })?;
    let taken = content.piece.len() - rest.len();
    content.piece.drain(..taken);

    let desk = Desk::new(clock, place.config.rules.clone());
    let mut import = imports::Import::new(user.id, None, &rows, desk.clock.now());
    import.size = i64::try_from(content.size)?;
    let mut tx = db.begin().await?;
    imports::create(&mut tx, &import).await?;
    let _ = tx.commit().await?;
    let bar = args.output.bytes("importing", content.size);
    let mut rows = rows;
    while import.finished_at.is_none() {
        let (lines, is_end) = content.batch(&mut rows).with_context(cannot)?;
        let (offset, line) = rows.position();
        bar.set_position(offset);
        (import.position, import.line) = (i64::try_from(offset)?, line);
        import.finished_at = is_end.then(|| desk.clock.now());
        open(&db, &desk, &mut import, lines).await?;
    }
    bar.finish_and_clear();
    let errors = imports::errors(&db, import.id, None, TOLD).await?;
    db.close().await;
    let imports::Import { id, rows, imported, failed, skipped, stopped, .. } = import;
    let report = Report { id, rows, imported, failed, skipped, stopped, errors };
    args.output.print(&report, || say(&report))?;
    Ok(if report.failed == 0 && report.stopped.is_none() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn open(db: &Db, desk: &Desk, import: &mut imports::Import, lines: Vec<Line>) -> anyhow::Result<()> {
    let mut tx = db.begin().await?;
    let opened: desk::Result<_> = desk.import(&mut tx, import, lines).await;
    opened?;
    // The relay dispatches what was enqueued: this process is about to end.
    let _ = tx.commit().await?;
    Ok(())
}

fn say(report: &Report) {
    let Report { rows, imported, failed, skipped, stopped, errors, .. } = report;
    for RowError { line, field, reason } in errors {
        let field = if field.is_empty() { String::new() } else { format!("{field}: ") };
        println!("line {line}: {field}{reason}");
    }
    println!("{rows} rows: {imported} tickets opened, {skipped} skipped, {failed} refused.");
    if let Some(why) = stopped {
        println!("{why}");
    }
}

/// A file as it is read.
struct Content {
    file: File,
    size: u64,
    piece: Vec<u8>,
}

impl Content {
    fn open(path: &std::path::Path) -> std::io::Result<Self> {
        let file = File::open(path)?;
        let mut content = Self { size: file.metadata()?.len(), file, piece: Vec::new() };
        content.fill()?;
        Ok(content)
    }

    /// Reads the next piece; `false` at the end.
    fn fill(&mut self) -> std::io::Result<bool> {
        self.piece.clear();
        self.file.by_ref().take(PIECE as u64).read_to_end(&mut self.piece)?;
        Ok(!self.piece.is_empty())
    }

    /// Reads the next rows, and whether they are the last.
    fn batch(&mut self, rows: &mut Rows) -> std::io::Result<(Vec<Line>, bool)> {
        let mut lines = Vec::new();
        while lines.len() < BATCH {
            let mut rest = self.piece.as_slice();
            while let Some(line) = (lines.len() < BATCH).then(|| rows.next(&mut rest)).flatten() {
                lines.push(line);
            }
            let taken = self.piece.len() - rest.len();
            self.piece.drain(..taken);
            if lines.len() < BATCH && !self.fill()? {
                lines.extend(rows.finish());
                return Ok((lines, true));
            }
        }
        Ok((lines, false))
    }
}

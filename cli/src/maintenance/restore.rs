//! Puts a backup in the place of what is there.
//!
//! Whenever a restore dies, the database is either the old one or the one of the backup: a SQLite file is prepared
//! beside its place and swapped in by one rename, PostgreSQL restores in one transaction. Attachments are put back
//! before, and none is removed. So a restore that died is simply run again.

use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use clap::Args;
use serde::Serialize;
use shared::store::maintenance::file::{self, SwapError};
use shared::store::maintenance::{self, Engine};
use shared::store::{self, Db};
use shared::time::Clock;

use super::archive::{self, Attachments, Manifest};
use super::output::Output;
use super::place::{Claimed, Place, sweep};
use super::{LEFTOVER, backup, postgres};
use crate::describe;

/// `dogwatch restore`
#[derive(Debug, Args)]
pub(crate) struct Restore {
    /// The backup
    file: PathBuf,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    /// Do not keep the present state: for a database that is too damaged to be backed up
    #[arg(long)]
    no_backup: bool,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Serialize)]
struct Restored {
    restored: PathBuf,
    /// The backup of what was there before; none when there was nothing.
    kept: Option<PathBuf>,
    rows: i64,
    /// The schema of the backup.
    schema: i64,
    /// The schema now.
    migrated_to: i64,
}

pub(crate) async fn run(args: Restore, place: &Place) -> anyhow::Result<()> {
    let output = args.output;
    let manifest = archive::manifest(&args.file)?;
    ensure_fits(&manifest, place)?;
    let bar = output.bytes("verifying", manifest.bytes());
    archive::read(&args.file, &manifest, |bytes| bar.inc(bytes), |_, _| Ok(()))?;
    bar.finish_and_clear();

    let present = present(place, args.no_backup).await?;
    if !args.yes {
        let loss = format!("This replaces everything in the database {}.", place.name());
        output.confirm(&loss, "yes", "--yes")?;
    }
    let mut kept = None;
    if let Some(db) = present {
        if !args.no_backup && !maintenance::tables(&db).await?.is_empty() {
            let taken = backup::take(place, &db, None, "-before-restore", output).await;
            let taken = taken.context("the present state could not be kept (--no-backup goes on without)")?;
            kept = Some(taken.file);
        }
        db.close().await;
    }
    let claimed = Claimed::new(&place.backups())?;
    match place.engine {
        Engine::Sqlite => restore_file(&args.file, &manifest, place, output).await?,
        Engine::Postgres => restore_dump(&args.file, &manifest, place, &claimed, output).await?,
    }
    drop(claimed);
    let restored = Restored {
        restored: args.file,
        kept,
        rows: manifest.rows(),
        schema: manifest.schema,
        migrated_to: Db::newest_schema(),
    };
    output.print(&restored, || say(&restored, &manifest))
}

fn say(restored: &Restored, manifest: &Manifest) {
    let created = manifest.created_at.format("%Y-%m-%d %H:%M:%S");
    println!("Restored {} rows as of {created} UTC from {}.", restored.rows, restored.restored.display());
    if restored.schema < restored.migrated_to {
        println!("Migrated from schema {} to {}.", restored.schema, restored.migrated_to);
    }
    match &restored.kept {
        Some(kept) => println!("What was there before is in {}.", kept.display()),
        None => println!("Nothing that was there before was kept."),
    }
    if manifest.attachments == Attachments::LeftOut {
        println!("The backup holds no attachments: restore the storage that ATTACHMENT_URL names, too.");
    }
}

fn ensure_fits(manifest: &Manifest, place: &Place) -> anyhow::Result<()> {
    let (theirs, ours) = (manifest.engine, place.engine);
    ensure!(
        theirs == ours,
        "this is a backup of {}, and DATABASE_URL names {}: set it to a database of the same kind",
        theirs.title(),
        ours.title()
    );
    let known = Db::newest_schema();
    ensure!(
        manifest.schema <= known,
        "the backup has schema {}, this program knows only {known}: restore it with dogwatch {} or newer",
        manifest.schema,
        manifest.dogwatch
    );
    let holds_files = manifest.members.iter().any(|member| member.path.starts_with(archive::ATTACHMENTS));
    ensure!(
        !holds_files || place.attachments().is_some(),
        "the backup holds attachments as files: set ATTACHMENT_URL to file:// and the folder they go to"
    );
    Ok(())
}

/// Opens what is there now, which nobody may be using. A SQLite file may be missing, or, when nothing of it is to be
/// kept, damaged.
async fn present(place: &Place, no_backup: bool) -> anyhow::Result<Option<Db>> {
    if place.file().is_some_and(|file| !file.exists()) {
        return Ok(None);
    }
    let idle = async {
        let db = place.open().await?;
        let clock = Clock::system();
        db.agree_on_time(&clock).await?;
        place.ensure_idle(&db, clock.now()).await?;
        Ok(db)
    };
    match idle.await {
        Ok(db) => Ok(Some(db)),
        Err(error) if is_unreadable(&error) && place.engine == Engine::Sqlite => {
            ensure!(
                no_backup,
                "the present database is damaged ({error:#}); --no-backup replaces it all the same"
            );
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

fn is_unreadable(error: &anyhow::Error) -> bool {
    let text = format!("{error:#}");
    ["is not a database", "is malformed"].iter().any(|sign| text.contains(sign))
}

async fn restore_file(from: &Path, manifest: &Manifest, place: &Place, output: Output) -> anyhow::Result<()> {
    let file = place.file().context("DATABASE_URL names no file")?;
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder)
        .with_context(|| format!("cannot create the folder {}", folder.display()))?;
    sweep(folder)?;
    let staging = tempfile::Builder::new().prefix(LEFTOVER).tempdir_in(folder)?;
    let fresh = staging.path().join("fresh.db");
    unpack(from, manifest, place, &fresh, output)?;

    let phase = output.phase("checking");
    let copy = file::open_still(&fresh).await?;
    let damage = maintenance::damage(&copy).await?;
    ensure!(damage.is_empty(), "the database in the backup is damaged: {}", damage.join("; "));
    ensure_whole(&copy, manifest).await?;
    copy.close().await;
    // Migrated before it takes its place, so that there is never a half-migrated database.
    let db = Db::connect(&format!("sqlite://{}", fresh.display()), 1).await?;
    migrate(&db).await?;
    db.close().await;
    match file::swap_in(&fresh, &file).await {
        Err(SwapError::InUse) => anyhow::bail!(
            "{} is open in another process, and nothing was changed: stop every dogwatch process, then restore again",
            file.display()
        ),
        swapped => swapped.with_context(|| format!("cannot replace {}", file.display()))?,
    }
    phase.finish_and_clear();
    Ok(())
}

async fn restore_dump(
    from: &Path,
    manifest: &Manifest,
    place: &Place,
    claimed: &Claimed,
    output: Output,
) -> anyhow::Result<()> {
    let db = place.open().await?;
    let server = postgres::major(&maintenance::engine_version(&db).await?);
    db.close().await;
    let tools = postgres::Tools::find(server.max(postgres::major(&manifest.engine_version))).await?;
    let staging = tempfile::Builder::new().prefix(LEFTOVER).tempdir_in(&claimed.folder)?;
    let dump = staging.path().join("database.dump");
    unpack(from, manifest, place, &dump, output)?;

    let phase = output.phase("restoring the database");
    tools.restore(place.url(), &dump, |bytes| phase.inc(bytes)).await?;
    phase.finish_and_clear();
    let db = place.open().await?;
    ensure_whole(&db, manifest).await?;
    migrate(&db).await?;
    db.close().await;
    Ok(())
}

/// Writes the database of a backup to a file, and everything else to its place.
fn unpack(
    from: &Path,
    manifest: &Manifest,
    place: &Place,
    database: &Path,
    output: Output,
) -> anyhow::Result<()> {
    let bar = output.bytes("unpacking", manifest.bytes());
    archive::read(
        from,
        manifest,
        |bytes| bar.inc(bytes),
        |name, data| match name.strip_prefix(archive::ATTACHMENTS) {
            Some(inner) => {
                place.attachments().map_or(Ok(()), |folder| archive::write_file(&folder.join(inner), data))
            }
            // A secret that is there already stays: it may have been changed because the old one was lost.
            None if name == archive::SECRET => match place.secret().filter(|secret| !secret.exists()) {
                Some(secret) => archive::write_file(&secret, data),
                None => Ok(()),
            },
            None => archive::write_file(database, data),
        },
    )?;
    bar.finish_and_clear();
    Ok(())
}

/// Makes sure that every row has arrived.
async fn ensure_whole(db: &Db, manifest: &Manifest) -> anyhow::Result<()> {
    let found = maintenance::rows(db).await?;
    let differ = |(table, rows): (&String, &i64)| {
        let now = found.get(table);
        (now != Some(rows))
            .then(|| format!("{table} has {} of {rows} rows", now.copied().unwrap_or_default()))
    };
    let wrong: Vec<String> = manifest.tables.iter().filter_map(differ).collect();
    ensure!(wrong.is_empty(), "the restored database is not what the backup says: {}", wrong.join(", "));
    Ok(())
}

async fn migrate(db: &Db) -> anyhow::Result<()> {
    let migrated: store::Result<()> = db.migrate().await;
    migrated.map_err(|error| anyhow::anyhow!(describe(&error))).context("cannot migrate what was restored")
}

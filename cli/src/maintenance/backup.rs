//! Takes a backup while everything runs.

use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use clap::Args;
use serde::Serialize;
use shared::store::Db;
use shared::store::maintenance::{self, Engine, file};
use shared::time::{Clock, Timestamp};

use super::archive::{self, Attachments, Contents, Manifest, Writer};
use super::output::{Output, size};
use super::place::{Claimed, Place};
use super::{LEFTOVER, postgres};

/// What names of backups end with.
pub(super) const EXTENSION: &str = "dwbackup";

/// `dogwatch backup`
#[derive(Debug, Args)]
pub(crate) struct Backup {
    /// Folder to write to, or a file that ends with .dwbackup [default: backups in the data folder, or ./backups for
    /// PostgreSQL]
    #[arg(long, value_name = "DIR|FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    output: Output,
}

/// A backup that was taken.
#[derive(Debug, Serialize)]
pub(super) struct Taken {
    pub(super) file: PathBuf,
    pub(super) bytes: u64,
    #[serde(flatten)]
    pub(super) manifest: Manifest,
}

pub(crate) async fn run(args: Backup, place: &Place) -> anyhow::Result<()> {
    let db = place.open().await?;
    let taken = take(place, &db, args.out.as_deref(), "", args.output).await?;
    db.close().await;
    args.output.print(&taken, || {
        let Taken { file, bytes, manifest } = &taken;
        println!("Wrote {} ({}, {} rows).", file.display(), size(*bytes), manifest.rows());
        if manifest.attachments == Attachments::LeftOut {
            println!("Attachments are not in it: back up the storage that ATTACHMENT_URL names, too.");
        }
    })
}

/// Takes a backup to a folder or a file; `note` becomes part of a name that is made here.
pub(super) async fn take(
    place: &Place,
    db: &Db,
    out: Option<&Path>,
    note: &str,
    output: Output,
) -> anyhow::Result<Taken> {
    let clock = Clock::system();
    db.agree_on_time(&clock).await?;
    let now = clock.now();
    let out = out.map_or_else(|| place.backups(), Path::to_owned);
    let is_file = !out.is_dir() && out.extension().is_some_and(|extension| extension == EXTENSION);
    let claimed = Claimed::new(if is_file { out.parent().unwrap_or(&out) } else { &out })?;
    let file = if is_file { out } else { free_name(&claimed.folder, place.engine, note, now) };
    ensure!(!file.exists(), "{} exists already: name another file", file.display());

    let staging = tempfile::Builder::new().prefix(LEFTOVER).tempdir_in(&claimed.folder)?;
    let database = staging.path().join("database");
    let (name, contents) = match place.engine {
        Engine::Sqlite => (archive::FILE, copy_file(place, db, &database, now, output).await?),
        Engine::Postgres => (archive::DUMP, dump(place, db, &database, now, output).await?),
    };
    let mut members = vec![(name.to_owned(), database)];
    if let Some(secret) = place.secret().filter(|secret| secret.exists()) {
        members.push((archive::SECRET.to_owned(), secret));
    }
    // Listed after the database was copied: a file is there before the row that names it.
    members.extend(attachments(place)?);
    let unfinished = staging.path().join("archive");
    let manifest = write(&unfinished, &members, contents, output)?;
    let bytes = unfinished.metadata()?.len();
    std::fs::rename(&unfinished, &file).with_context(|| format!("cannot write {}", file.display()))?;
    std::fs::File::open(&claimed.folder)?.sync_all()?;
    Ok(Taken { file, bytes, manifest })
}

/// A name that is not taken, even within one second.
fn free_name(folder: &Path, engine: Engine, note: &str, now: Timestamp) -> PathBuf {
    let stem = format!("dogwatch-{}-{}{note}", now.format("%Y%m%dT%H%M%SZ"), engine.as_str());
    let names = std::iter::once(stem.clone()).chain((2..).map(|n| format!("{stem}-{n}")));
    let mut paths = names.map(|name| folder.join(format!("{name}.{EXTENSION}")));
    paths.find(|path| !path.exists()).unwrap_or_default()
}

async fn copy_file(
    place: &Place,
    db: &Db,
    to: &Path,
    created_at: Timestamp,
    output: Output,
) -> anyhow::Result<Contents> {
    let phase = output.phase("copying the database");
    let copied = file::copy(db, to).await.map_err(|error| anyhow::anyhow!(crate::describe(&error)));
    copied.context("cannot copy the database")?;
    let copy = file::open_still(to).await?;
    let contents = Contents {
        engine: Engine::Sqlite,
        engine_version: maintenance::engine_version(&copy).await?,
        schema: maintenance::schema(&copy).await?,
        created_at,
        tables: maintenance::rows(&copy).await?,
        attachments: how_attachments(place),
    };
    copy.close().await;
    phase.finish_and_clear();
    Ok(contents)
}

async fn dump(
    place: &Place,
    db: &Db,
    to: &Path,
    created_at: Timestamp,
    output: Output,
) -> anyhow::Result<Contents> {
    let phase = output.phase("dumping the database");
    let engine_version = maintenance::engine_version(db).await?;
    let tools = postgres::Tools::find(postgres::major(&engine_version)).await?;
    // The dump and the counts see the same moment, because this transaction stays open until both are done.
    let mut tx = db.begin_snapshot().await?;
    let snapshot = maintenance::export_snapshot(&mut tx).await?.context("PostgreSQL exports no snapshot")?;
    let contents = Contents {
        engine: Engine::Postgres,
        engine_version,
        schema: maintenance::schema(&mut tx).await?,
        created_at,
        tables: maintenance::rows(&mut tx).await?,
        attachments: how_attachments(place),
    };
    tools.dump(place.url(), &snapshot, to).await?;
    tx.rollback().await?;
    phase.finish_and_clear();
    Ok(contents)
}

fn how_attachments(place: &Place) -> Attachments {
    if place.attachments().is_some() { Attachments::Included } else { Attachments::LeftOut }
}

/// Where uploads lie that are not finished, which nothing refers to yet.
const UNFINISHED: &str = "tmp";

/// Lists the attachments by the names they get in the archive.
fn attachments(place: &Place) -> anyhow::Result<Vec<(String, PathBuf)>> {
    let mut found = Vec::new();
    let Some(root) = place.attachments().filter(|root| root.is_dir()) else { return Ok(found) };
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        let cannot = || format!("cannot read the folder {}", folder.display());
        for entry in std::fs::read_dir(&folder).with_context(cannot)? {
            let entry = entry.with_context(cannot)?;
            let (path, kind) = (entry.path(), entry.file_type().with_context(cannot)?);
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with(LEFTOVER) || path == root.join(UNFINISHED) {
                continue;
            }
            if kind.is_dir() {
                folders.push(path);
            } else if kind.is_file() {
                let inner =
                    path.strip_prefix(&root)?.to_str().context("an attachment's name is not UTF-8")?;
                found.push((format!("{}{inner}", archive::ATTACHMENTS), path));
            }
        }
    }
    found.sort();
    Ok(found)
}

fn write(
    to: &Path,
    members: &[(String, PathBuf)],
    contents: Contents,
    output: Output,
) -> anyhow::Result<Manifest> {
    let total = members.iter().filter_map(|(_, path)| Some(path.metadata().ok()?.len())).sum();
    let bar = output.bytes("writing", total);
    let mut writer = Writer::create(to)?;
    for (name, path) in members {
        writer.add(name, path, |bytes| bar.inc(bytes))?;
    }
    let manifest = writer.finish(contents)?;
    bar.finish_and_clear();
    Ok(manifest)
}

//! Begins anew, with an empty database.

use std::path::PathBuf;

use anyhow::{Context, bail, ensure};
use clap::Args;
use serde::Serialize;
use shared::store::maintenance::file::{self, SwapError};
use shared::store::maintenance::{self, Engine};
use shared::store::{Db, Result};
use shared::time::Clock;

use super::output::Output;
use super::place::{Place, sweep};
use super::{LEFTOVER, backup};

/// `dogwatch reset`
#[derive(Debug, Args)]
pub(crate) struct Reset {
    /// Do not ask for the database's name: here it is
    #[arg(long, value_name = "DBNAME")]
    yes_i_mean: Option<String>,
    /// Do not take a backup first
    #[arg(long)]
    no_backup: bool,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Serialize)]
struct Done {
    database: String,
    kept: Option<PathBuf>,
    schema: i64,
}

pub(crate) async fn run(args: Reset, place: &Place) -> anyhow::Result<()> {
    let name = place.name();
    let db = place.open().await?;
    let clock = Clock::system();
    db.agree_on_time(&clock).await?;
    place.ensure_idle(&db, clock.now()).await?;
    match &args.yes_i_mean {
        Some(meant) => {
            ensure!(*meant == name, "the database is called {name}, not {meant}; nothing was changed");
        }
        None => {
            let loss = format!("This deletes everything in the database {name}.");
            args.output.confirm(&loss, &name, &format!("--yes-i-mean {name}"))?;
        }
    }
    let mut kept = None;
    if !args.no_backup {
        let taken = backup::take(place, &db, None, "-before-reset", args.output).await;
        kept = Some(taken.context("the present state could not be kept (--no-backup goes on without)")?.file);
    }
    match place.engine {
        Engine::Sqlite => start_anew(place, db).await?,
        Engine::Postgres => {
            said(maintenance::clear(&db).await)?;
            said(db.migrate().await)?;
            db.close().await;
        }
    }
    let done = Done { database: name, kept, schema: Db::newest_schema() };
    args.output.print(&done, || {
        println!(
            "{} is empty, with schema {}. Attachments and mails were left where they are.",
            done.database, done.schema
        );
        if let Some(kept) = &done.kept {
            println!("What was there before is in {}.", kept.display());
        }
    })
}

async fn start_anew(place: &Place, db: Db) -> anyhow::Result<()> {
    db.close().await;
    let file = place.file().context("DATABASE_URL names no file")?;
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(".".as_ref());
    sweep(folder)?;
    let staging = tempfile::Builder::new().prefix(LEFTOVER).tempdir_in(folder)?;
    let fresh = staging.path().join("fresh.db");
    let db = said(Db::connect(&format!("sqlite://{}", fresh.display()), 1).await)?;
    said(db.migrate().await)?;
    db.close().await;
    match file::swap_in(&fresh, &file).await {
        Err(SwapError::InUse) => {
            bail!("{} is open in another process, and nothing was changed: stop it first", file.display())
        }
        swapped => swapped.with_context(|| format!("cannot replace {}", file.display())),
    }
}

fn said<T>(outcome: Result<T>) -> anyhow::Result<T> {
    outcome.map_err(|error| anyhow::anyhow!(crate::describe(&error)))
}

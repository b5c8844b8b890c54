//! Writes tickets to a CSV file, as `GET /tickets/export.csv` does.

use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use clap::Args;
use futures::TryStreamExt;
use serde_json::json;
use shared::store::tickets::Filter;
use shared::store::users::{self, User};
use shared::store::{Db, tickets};

use super::LEFTOVER;
use super::output::Output;
use super::place::Place;

/// `dogwatch export`
#[derive(Debug, Args)]
pub(crate) struct Export {
    /// File to write; standard output unless given
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Address of the account whose tickets are written: all, for staff
    #[arg(long = "as", value_name = "EMAIL")]
    user: String,
    #[command(flatten)]
    output: Output,
}

pub(crate) async fn run(args: Export, place: &Place) -> anyhow::Result<()> {
    ensure!(
        !args.output.json || args.out.is_some(),
        "--json says what was written where: name the file by --out"
    );
    let (db, _) = place.open_current().await?;
    let user = acting(&db, &args.user).await?;
    let staff = user.role.is_staff();
    let filter = Filter { visible_to: (!staff).then_some(user.id), ..Filter::default() };
    let count = tickets::count(&db, &filter).await?;
    let bar = args.output.count("exporting", count.unsigned_abs());
    let written = match &args.out {
        Some(file) => {
            let folder =
                file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
            let cannot = || format!("cannot write {}", file.display());
            let unfinished =
                tempfile::Builder::new().prefix(LEFTOVER).tempfile_in(folder).with_context(cannot)?;
            let written = write(&db, filter, staff, unfinished.as_file(), || bar.inc(1)).await?;
            unfinished.persist(file).map_err(|error| error.error).with_context(cannot)?;
            written
        }
        None => write(&db, filter, staff, std::io::stdout().lock(), || bar.inc(1)).await?,
    };
    bar.finish_and_clear();
    db.close().await;
    let Some(file) = &args.out else { return Ok(()) };
    args.output.print(&json!({ "file": file, "tickets": written }), || {
        println!("Wrote {written} tickets to {}.", file.display());
    })
}

/// The account that something is done as.
pub(super) async fn acting(db: &Db, email: &str) -> anyhow::Result<User> {
    let user = users::by_email(db, email).await?;
    let user = user.with_context(|| format!("there is no account with the address {email}"))?;
    ensure!(user.disabled_at.is_none(), "the account {email} is disabled");
    Ok(user)
}

/// Writes all lines, and returns how many of them are tickets.
async fn write(
    db: &Db,
    filter: Filter,
    staff: bool,
    to: impl Write,
    mut seen: impl FnMut(),
) -> anyhow::Result<u64> {
    let mut to = BufWriter::new(to);
    let mut lines = std::pin::pin!(dogwatch_api::tickets_as_csv(db.clone(), filter, staff));
    let mut count = 0;
    while let Some(line) =
        lines.try_next().await.map_err(|error| anyhow::anyhow!("cannot read the tickets: {error}"))?
    {
        to.write_all(&line).context("cannot write the tickets")?;
        count += 1;
        seen();
    }
    to.flush().context("cannot write the tickets")?;
    // The first line names the columns.
    Ok(u64::saturating_sub(count, 1))
}

//! A SQLite database as a file: copied while it is in use, replaced while nobody has it open.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteLockingMode, SqlitePoolOptions};
use sqlx::{Connection, SqliteConnection};

use crate::store::{Db, Error, Result};

/// Why a file was not replaced.
#[derive(Debug, thiserror::Error)]
pub enum SwapError {
    /// Somebody has the database open.
    #[error("the database is in use")]
    InUse,
    /// The file system failed.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] Error),
}

/// The file behind a `sqlite:` address; `None` for any other, and for one in memory.
#[must_use]
pub fn of_url(url: &str) -> Option<PathBuf> {
    let options = url.starts_with("sqlite:").then(|| SqliteConnectOptions::from_str(url).ok())??;
    let file = options.get_filename();
    let in_memory = url.contains(":memory:") || url.contains("mode=memory") || file.as_os_str().is_empty();
    (!in_memory).then(|| file.to_owned())
}

/// Opens a file that nobody changes, and changes nothing itself, not even beside it.
///
/// # Errors
/// When it cannot be opened, or is no SQLite database.
pub async fn open_still(file: &Path) -> Result<Db> {
    let options = SqliteConnectOptions::new().filename(file).read_only(true).immutable(true);
    let pool = SqlitePoolOptions::new().max_connections(1).connect_with(options).await?;
    Ok(Db::Sqlite { reader: pool.clone(), writer: pool })
}

/// Copies a SQLite database as of one moment into a file that does not exist yet, while others read and write;
/// `false` on PostgreSQL, where `pg_dump` does that.
///
/// # Errors
/// When the disk is full or the database is damaged; then the file is of no use.
pub async fn copy(db: &Db, to: &Path) -> Result<bool> {
    let Db::Sqlite { writer, .. } = db else { return Ok(false) };
    sqlx::query("VACUUM INTO $1").bind(to.to_string_lossy().into_owned()).execute(writer).await?;
    Ok(true)
}

/// Puts a whole database file in the place of another, which may be missing or damaged, in one step: whenever this
/// dies, there is either the old one or the new one. Nobody can open the old one meanwhile.
///
/// # Errors
/// `SwapError::InUse` when any process has the old one open.
pub async fn swap_in(fresh: &Path, file: &Path) -> std::result::Result<(), SwapError> {
    let held = hold(file).await?;
    for suffix in ["-wal", "-shm"] {
        let beside = PathBuf::from(format!("{}{suffix}", file.display()));
        match std::fs::remove_file(beside) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
    }
    std::fs::File::open(fresh)?.sync_all()?;
    std::fs::rename(fresh, file)?;
    if let Some(folder) = file.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::File::open(folder)?.sync_all()?;
    }
    if let Some(held) = held {
        // The lock was on the file that is gone; there is nothing to write back. Waits until it is closed: who closes
        // later would delete the journal of whoever has opened the new file.
        let _ = held.close().await;
    }
    Ok(())
}

/// Locks a database against everybody and empties its write-ahead log, so that the file is all there is of it.
/// `None` when there is no file, or none that SQLite can read, which nobody can be using.
async fn hold(file: &Path) -> std::result::Result<Option<SqliteConnection>, SwapError> {
    if !file.exists() {
        return Ok(None);
    }
    let options = SqliteConnectOptions::new().filename(file).busy_timeout(Duration::from_secs(2));
    let options = options.locking_mode(SqliteLockingMode::Exclusive);
    let held = async {
        let mut connection = SqliteConnection::connect_with(&options).await?;
        // Both fail when anybody else has the database open, be it only for reading.
        sqlx::query("PRAGMA journal_mode = DELETE").fetch_all(&mut connection).await?;
        sqlx::query("BEGIN EXCLUSIVE").execute(&mut connection).await?;
        Ok::<_, Error>(connection)
    };
    match held.await {
        Ok(connection) => Ok(Some(connection)),
        Err(Error::Unavailable(_)) => Err(SwapError::InUse),
        Err(Error::Corrupt(error)) if is_no_database(&error) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// SQLite's codes for a damaged file (11) and for one that is none of its own (26).
fn is_no_database(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code()?.parse::<u32>().ok());
    code.is_some_and(|code| matches!(code & 0xff, 11 | 26))
}

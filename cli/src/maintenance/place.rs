//! What a maintenance command works on: one database, and the folders that belong to it.

use std::fs::{DirBuilder, File};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use shared::config::Config;
use shared::store::Db;
use shared::store::maintenance::{self, Engine, file};
use shared::time::{Clock, Timestamp};

use super::LEFTOVER;
use crate::describe;

/// A database with its folders.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) config: Config,
    /// Folder of the embedded database, mails and secrets.
    pub(super) data: PathBuf,
    pub(super) engine: Engine,
}

impl Place {
    pub(crate) fn new(config: Config, data: PathBuf) -> anyhow::Result<Self> {
        let embedded = config.database_url.expose().starts_with("sqlite:");
        let engine = if embedded { Engine::Sqlite } else { Engine::Postgres };
        let place = Self { config, data, engine };
        ensure!(
            engine == Engine::Postgres || place.file().is_some(),
            "DATABASE_URL names a database in memory, which cannot be maintained: name a file"
        );
        Ok(place)
    }

    pub(super) fn url(&self) -> &str {
        self.config.database_url.expose()
    }

    /// The SQLite file.
    pub(super) fn file(&self) -> Option<PathBuf> {
        file::of_url(self.url())
    }

    /// What people call the database.
    pub(super) fn name(&self) -> String {
        let path = match self.engine {
            Engine::Sqlite => self.file().unwrap_or_default(),
            Engine::Postgres => url::Url::parse(self.url()).map(|url| url.path().into()).unwrap_or_default(),
        };
        path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
    }

    /// Where backups are kept unless another folder is named.
    pub(super) fn backups(&self) -> PathBuf {
        match self.engine {
            Engine::Sqlite => self.data.join("backups"),
            Engine::Postgres => "backups".into(),
        }
    }

    /// The folder of attachments; `None` when they lie in an object storage.
    pub(super) fn attachments(&self) -> Option<PathBuf> {
        self.config.attachment_url.expose().strip_prefix("file://").map(PathBuf::from)
    }

    /// Where the data folder keeps what tokens are signed with; `None` when the environment says it.
    pub(super) fn secret(&self) -> Option<PathBuf> {
        self.config.jwt_secret.is_none().then(|| self.data.join("jwt_secret"))
    }

    /// Opens the database as it is, by a single connection, without migrating it.
    ///
    /// # Errors
    /// When it does not answer, or a SQLite file does not exist.
    pub(super) async fn open(&self) -> anyhow::Result<Db> {
        if let Some(file) = self.file().filter(|file| !file.exists()) {
            bail!(
                "there is no database {}: name its folder by --data, or run `dogwatch serve` first",
                file.display()
            );
        }
        let db = Db::connect(self.url(), 1).await.map_err(|error| anyhow::anyhow!(describe(&error)));
        db.context("cannot open the database that DATABASE_URL names")
    }

    /// Opens the database, whose schema must be that of this program, and tells the time there.
    ///
    /// # Errors
    /// Also when it must be migrated first.
    pub(super) async fn open_current(&self) -> anyhow::Result<(Db, Clock)> {
        let db = self.open().await?;
        db.check_schema().await.map_err(|error| anyhow::anyhow!(describe(&error)))?;
        let clock = Clock::system();
        db.agree_on_time(&clock).await?;
        Ok((db, clock))
    }

    /// Makes sure that no process works on the database.
    pub(super) async fn ensure_idle(&self, db: &Db, now: Timestamp) -> anyhow::Result<()> {
        let mut in_use = Vec::new();
        // A process that has just stopped may still be listed for a moment.
        for wait in [0, 200, 400, 800] {
            tokio::time::sleep(std::time::Duration::from_millis(wait)).await;
            in_use = maintenance::in_use(db, now).await?;
            if in_use.is_empty() {
                return Ok(());
            }
        }
        bail!(
            "the database is in use ({}): stop every dogwatch process; one that was killed counts for 30 s",
            in_use.join("; ")
        )
    }
}

/// A folder that this process alone writes backups to.
#[derive(Debug)]
pub(super) struct Claimed {
    pub(super) folder: PathBuf,
    _lock: File,
}

impl Claimed {
    /// Makes the folder if need be, keeps other backups and restores out of it, and removes what is left of those
    /// that died.
    pub(super) fn new(folder: &Path) -> anyhow::Result<Self> {
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        let cannot = || format!("cannot write to the folder {}", folder.display());
        DirBuilder::new().recursive(true).mode(0o700).create(folder).with_context(cannot)?;
        let lock = File::create(folder.join(".lock")).with_context(cannot)?;
        if let Err(std::fs::TryLockError::WouldBlock) = lock.try_lock() {
            bail!("another backup or restore is at work in {}: wait for its end", folder.display());
        }
        sweep(folder).with_context(cannot)?;
        Ok(Self { folder: folder.to_owned(), _lock: lock })
    }
}

/// Removes what a backup or restore that died has left in a folder.
pub(super) fn sweep(folder: &Path) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(LEFTOVER) {
            let path = entry.path();
            if entry.file_type()?.is_dir() {
                std::fs::remove_dir_all(path)?;
            } else {
                std::fs::remove_file(path)?;
            }
        }
    }
    Ok(())
}

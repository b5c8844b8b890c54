//! Two databases behind one handle. Callers never choose an engine.

use std::str::FromStr;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{Postgres, Sqlite, Transaction};

use super::events::{self, NewEvent};
use super::query::query;
use super::statement::Statement;
use super::{Error, Result};
use crate::domain::job::Priority;
use crate::ids::JobId;
use crate::time::Clock;

static POSTGRES: sqlx::migrate::Migrator = sqlx::migrate!("../migrations/postgres");
static SQLITE: sqlx::migrate::Migrator = sqlx::migrate!("../migrations/sqlite");

/// A database. Reads may go through it directly, writes go through a [`Tx`].
#[derive(Clone, Debug)]
pub enum Db {
    /// PostgreSQL 15 or later.
    Postgres(PgPool),
    /// A SQLite file: one connection writes, several read.
    Sqlite {
        /// Read-only connections.
        reader: SqlitePool,
        /// The single writing connection.
        writer: SqlitePool,
    },
}

/// A transaction, with the jobs it enqueued so that they can be dispatched once it is committed.
#[derive(Debug)]
pub struct Tx {
    pub(super) inner: Inner,
    pub(super) enqueued: Vec<(Priority, JobId)>,
    /// What happened, to be written last.
    pub(super) events: Vec<NewEvent>,
    /// What to measure once it is true.
    measures: Measures,
}

/// What a transaction has to say to the metrics if it is committed.
#[derive(Default)]
struct Measures(Vec<Box<dyn FnOnce() + Send>>);

impl std::fmt::Debug for Measures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} measures", self.0.len())
    }
}

/// Connections of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pool {
    /// `main` on PostgreSQL, `reader` and `writer` on SQLite.
    pub name: &'static str,
    /// Connections that are open.
    pub open: usize,
    /// Those that nobody uses.
    pub idle: usize,
    /// How many there can be.
    pub most: u32,
}

#[derive(Debug)]
pub(super) enum Inner {
    Postgres(Transaction<'static, Postgres>),
    Sqlite(Transaction<'static, Sqlite>),
}

/// What a committed transaction enqueued for now: hints to pass to the queue.
#[derive(Debug, Default)]
#[must_use = "pass it to Queue::push, or the jobs wait for the relay"]
pub struct Committed(pub Vec<(Priority, JobId)>);

impl Db {
    /// Connects to `postgres://…` or `sqlite://…`; the SQLite file is created when missing.
    ///
    /// # Errors
    /// When the address cannot be read, or the database does not answer within five seconds.
    pub async fn connect(url: &str, max_connections: u32) -> Result<Self> {
        if url.starts_with("sqlite:") {
            Self::open_sqlite(url).await
        } else {
            Self::open_postgres(url, max_connections).await
        }
    }

    async fn open_postgres(url: &str, max_connections: u32) -> Result<Self> {
        let options = PgConnectOptions::from_str(url)?.application_name("dogwatch")
            // A process that froze in a transaction must not hold its locks against all others.
            .options([("idle_in_transaction_session_timeout", "10s")]);
        let pool =
            PgPoolOptions::new().max_connections(max_connections).acquire_timeout(Duration::from_secs(5));
        Ok(Self::Postgres(pool.connect_with(options).await?))
    }

    async fn open_sqlite(url: &str) -> Result<Self> {
        let options = SqliteConnectOptions::from_str(url)?
            .create_if_missing(true)
            .foreign_keys(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(Duration::from_secs(5))
            .statement_cache_capacity(256);
        let pool = || SqlitePoolOptions::new().acquire_timeout(Duration::from_secs(5));
        let writer = pool().max_connections(1).connect_with(options.clone()).await?;
        let reader = pool().max_connections(4).connect_with(options.pragma("query_only", "on")).await?;
        Ok(Self::Sqlite { reader, writer })
    }

    /// Brings the schema up to date.
    ///
    /// # Errors
    /// When a migration fails, or the database was migrated by a newer program.
    pub async fn migrate(&self) -> Result<()> {
        match self {
            Self::Postgres(pool) => POSTGRES.run(pool).await,
            Self::Sqlite { writer, .. } => SQLITE.run(writer).await,
        }
        .map_err(|error| match error {
            sqlx::migrate::MigrateError::Execute(error) => error.into(),
            sqlx::migrate::MigrateError::VersionMissing(version) => Error::Schema(format!(
                "the database has migration {version}, which this program does not know: run a newer dogwatch"
            )),
            other => Error::Schema(format!("cannot migrate the database: {other}")),
        })
    }

    /// Checks that the schema is the one this program was built for.
    ///
    /// # Errors
    /// `Error::Schema`, saying what to run, when it is older or newer.
    pub async fn check_schema(&self) -> Result<()> {
        let wanted = Self::newest_schema();
        let found = query("SELECT MAX(version) FROM _sqlx_migrations WHERE success")
            .one::<(Option<i64>,)>(self)
            .await;
        let found = match found {
            Ok((version,)) => version.unwrap_or(0),
            Err(Error::Corrupt(sqlx::Error::Database(_))) => 0,
            Err(error) => return Err(error),
        };
        match found.cmp(&wanted) {
            std::cmp::Ordering::Equal => Ok(()),
            std::cmp::Ordering::Less => Err(Error::Schema(format!(
                "the database schema is at version {found}, this program needs {wanted}: run `dogwatch migrate`"
            ))),
            std::cmp::Ordering::Greater => Err(Error::Schema(format!(
                "the database schema is at version {found}, this program knows only {wanted}: run a newer dogwatch"
            ))),
        }
    }

    /// Begins a transaction that may write; on SQLite it takes the write lock at once.
    ///
    /// # Errors
    /// `Error::Unavailable` when no connection can be had.
    pub async fn begin(&self) -> Result<Tx> {
        let begin = Statement::of(matches!(self, Self::Sqlite { .. }), "BEGIN");
        let inner = match self {
            Self::Postgres(pool) => Inner::Postgres(begin.run(pool.begin()).await?),
            Self::Sqlite { writer, .. } => {
                Inner::Sqlite(begin.run(writer.begin_with("BEGIN IMMEDIATE")).await?)
            }
        };
        Ok(Tx::of(inner))
    }

    /// Begins a transaction that sees all of the database as of one moment and changes nothing. It may wait for
    /// something else as long as it takes.
    ///
    /// # Errors
    /// `Error::Unavailable` when no connection can be had.
    pub async fn begin_snapshot(&self) -> Result<Tx> {
        let inner = match self {
            Self::Postgres(pool) => {
                let mut tx = pool.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY").await?;
                sqlx::query("SET LOCAL idle_in_transaction_session_timeout = 0").execute(&mut *tx).await?;
                Inner::Postgres(tx)
            }
            Self::Sqlite { reader, .. } => Inner::Sqlite(reader.begin().await?),
        };
        Ok(Tx::of(inner))
    }

    /// The version of the schema that this program works with.
    #[must_use]
    pub fn newest_schema() -> i64 {
        POSTGRES.iter().map(|m| m.version).max().unwrap_or(0)
    }

    /// Measures the database's clock and makes `clock` agree with it; returns how far it was off, in seconds.
    ///
    /// # Errors
    /// `Error::Unavailable` when the database does not answer.
    pub async fn agree_on_time(&self, clock: &Clock) -> Result<f64> {
        let started = std::time::Instant::now();
        let database = match self {
            Self::Postgres(pool) => sqlx::query_scalar("SELECT clock_timestamp()").fetch_one(pool).await?,
            // SQLite runs in this process: its clock is this machine's.
            Self::Sqlite { .. } => crate::time::wall(),
        };
        Ok(clock.agree_with(database, started.elapsed()).as_seconds_f64())
    }

    /// Tells how many connections there are, and how many of them are in use.
    #[must_use]
    pub fn pools(&self) -> Vec<Pool> {
        fn of<D: sqlx::Database>(name: &'static str, pool: &sqlx::Pool<D>) -> Pool {
            let (open, most) = (pool.size() as usize, pool.options().get_max_connections());
            Pool { name, open, idle: pool.num_idle(), most }
        }
        match self {
            Self::Postgres(pool) => vec![of("main", pool)],
            Self::Sqlite { reader, writer } => vec![of("reader", reader), of("writer", writer)],
        }
    }

    /// Closes every connection after its current statement.
    pub async fn close(&self) {
        match self {
            Self::Postgres(pool) => pool.close().await,
            Self::Sqlite { reader, writer } => {
                reader.close().await;
                writer.close().await;
            }
        }
    }
}

impl Tx {
    fn of(inner: Inner) -> Self {
        Self { inner, enqueued: Vec::new(), events: Vec::new(), measures: Measures::default() }
    }

    pub(super) const fn is_sqlite(&self) -> bool {
        matches!(self.inner, Inner::Sqlite(_))
    }

    /// Has something measured once the changes are durable, and never if they are undone.
    pub(super) fn measure(&mut self, measure: impl FnOnce() + Send + 'static) {
        self.measures.0.push(Box::new(measure));
    }

    /// Makes the changes durable and returns the jobs they enqueued for now.
    ///
    /// # Errors
    /// When the commit fails: nothing was changed, unless the connection broke while committing.
    pub async fn commit(mut self) -> Result<Committed> {
        events::write(&mut self).await?;
        let commit = Statement::of(self.is_sqlite(), "COMMIT");
        match self.inner {
            Inner::Postgres(tx) => commit.run(tx.commit()).await?,
            Inner::Sqlite(tx) => commit.run(tx.commit()).await?,
        }
        self.measures.0.into_iter().for_each(|measure| measure());
        Ok(Committed(self.enqueued))
    }

    /// Undoes the changes now rather than when the connection is next used.
    ///
    /// # Errors
    /// `Error::Unavailable` when the connection broke, which undoes them too.
    pub async fn rollback(self) -> Result<()> {
        match self.inner {
            Inner::Postgres(tx) => tx.rollback().await?,
            Inner::Sqlite(tx) => tx.rollback().await?,
        }
        Ok(())
    }
}

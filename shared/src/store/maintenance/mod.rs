//! The database as a whole: what it holds, who uses it, how it is copied, replaced and emptied.

pub mod cleanup;
pub mod file;
pub mod health;
pub mod stats;

use std::collections::BTreeMap;

use chrono::TimeDelta;
use serde::{Deserialize, Serialize};

use super::query::{Target, query};
use super::{Db, Result, Tx};
use crate::time::Timestamp;

/// A process is taken to run as long as its last heartbeat is not older.
const SEEN_WITHIN: TimeDelta = TimeDelta::seconds(30);

/// Which database it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Engine {
    /// PostgreSQL.
    Postgres,
    /// SQLite.
    Sqlite,
}

impl Engine {
    /// That of a database.
    #[must_use]
    pub const fn of(db: &Db) -> Self {
        match db {
            Db::Postgres(_) => Self::Postgres,
            Db::Sqlite { .. } => Self::Sqlite,
        }
    }

    /// As in names of files.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Postgres => "postgres",
            Self::Sqlite => "sqlite",
        }
    }

    /// As people write it.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::Postgres => "PostgreSQL",
            Self::Sqlite => "SQLite",
        }
    }
}

const TABLES_OF_POSTGRES: &str =
    "SELECT CAST(tablename AS TEXT) FROM pg_tables WHERE schemaname = current_schema()";
const TABLES_OF_SQLITE: &str =
    "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite~_%' ESCAPE '~'";

/// Lists all tables by name; none in an empty database.
pub async fn tables(on: impl Into<Target<'_>>) -> Result<Vec<String>> {
    let tables: Vec<(String,)> = query("").push_each(TABLES_OF_POSTGRES, TABLES_OF_SQLITE).all(on).await?;
    let mut tables: Vec<String> = tables.into_iter().map(|(name,)| name).collect();
    tables.sort_unstable();
    Ok(tables)
}

/// Counts the rows of every table.
pub async fn rows(on: impl Into<Target<'_>>) -> Result<BTreeMap<String, i64>> {
    let mut on = on.into();
    let mut rows = BTreeMap::new();
    for table in tables(on.again()).await? {
        let (count,): (i64,) = query("SELECT COUNT(*) FROM ").push_name(&table).one(on.again()).await?;
        rows.insert(table, count);
    }
    Ok(rows)
}

/// The version of the schema; 0 where there is none.
pub async fn schema(on: impl Into<Target<'_>>) -> Result<i64> {
    let mut on = on.into();
    if !tables(on.again()).await?.iter().any(|table| table == "_sqlx_migrations") {
        return Ok(0);
    }
    let (version,): (Option<i64>,) =
        query("SELECT MAX(version) FROM _sqlx_migrations WHERE success").one(on).await?;
    Ok(version.unwrap_or_default())
}

/// The version of the engine, like `15.4` or `3.50.4`.
pub async fn engine_version(on: impl Into<Target<'_>>) -> Result<String> {
    let select = query("SELECT ").push_each("current_setting('server_version')", "sqlite_version()");
    let (version,): (String,) = select.one(on).await?;
    Ok(version.split(' ').next().unwrap_or_default().to_owned())
}

/// How much it takes on disk, in bytes; on SQLite without what was not yet written back from the log.
pub async fn size(on: impl Into<Target<'_>>) -> Result<i64> {
    let postgres = "pg_database_size(current_database())";
    let sqlite = "page_count * page_size FROM pragma_page_count(), pragma_page_size()";
    let (bytes,): (i64,) = query("SELECT ").push_each(postgres, sqlite).one(on).await?;
    Ok(bytes)
}

const SESSIONS: &str = "
    SELECT DISTINCT 'dogwatch, connected from ' || COALESCE(host(client_addr), 'the same machine') FROM pg_stat_activity
    WHERE datname = current_database() AND application_name = 'dogwatch' AND pid <> pg_backend_pid()";

/// Lists the processes that use the database, for people to read: those whose heartbeat is fresh, and on PostgreSQL
/// every one that is connected. The caller must hold no second connection itself.
pub async fn in_use(db: &Db, now: Timestamp) -> Result<Vec<String>> {
    let select = query("").push_each(SESSIONS, "SELECT '' WHERE FALSE");
    let sessions: Vec<(String,)> = select.all(db).await?;
    let mut found: Vec<String> = sessions.into_iter().map(|(session,)| session).collect();
    if tables(db).await?.iter().any(|table| table == "workers") {
        let select = "SELECT process, host, seen_at FROM workers WHERE seen_at > $1 ORDER BY seen_at DESC";
        let beats: Vec<(String, String, Timestamp)> = query(select).bind(now - SEEN_WITHIN).all(db).await?;
        let said = |(process, host, seen): (String, String, Timestamp)| {
            format!("{process} on {host}, seen {} s ago", (now - seen).num_seconds().max(0))
        };
        found.extend(beats.into_iter().map(said));
    }
    Ok(found)
}

/// Names what this transaction sees, for `pg_dump` to see the same; `None` on SQLite. Good until it ends.
pub async fn export_snapshot(tx: &mut Tx) -> Result<Option<String>> {
    let select = query("SELECT ").push_each("pg_export_snapshot()", "NULL");
    let (name,): (Option<String>,) = select.one(tx).await?;
    Ok(name)
}

/// Lists the first things that are wrong with the pages of a SQLite file; nothing on PostgreSQL.
pub async fn damage(db: &Db) -> Result<Vec<String>> {
    let select = query("").push_each(
        "SELECT '' WHERE FALSE",
        "SELECT integrity_check FROM pragma_integrity_check WHERE integrity_check <> 'ok' LIMIT 5",
    );
    let found: Vec<(String,)> = select.all(db).await?;
    Ok(found.into_iter().map(|(what,)| what).collect())
}

/// Drops everything in the schema that belongs to no extension: as text, because a restore runs it by `psql` in the
/// transaction that brings the backup in. The schema itself stays, since it often belongs to somebody else.
pub const CLEAR: &str = "
DO $clear$
DECLARE thing RECORD;
BEGIN
    FOR thing IN
        SELECT c.relname AS name, CASE c.relkind WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW'
            WHEN 'S' THEN 'SEQUENCE' WHEN 'f' THEN 'FOREIGN TABLE' ELSE 'TABLE' END AS kind
        FROM pg_class c
        WHERE c.relnamespace = CAST(current_schema() AS regnamespace) AND c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f')
            AND NOT EXISTS (SELECT 1 FROM pg_depend d WHERE d.objid = c.oid AND d.deptype = 'e')
        ORDER BY CASE c.relkind WHEN 'S' THEN 2 ELSE 1 END
    LOOP
        EXECUTE format('DROP %s IF EXISTS %I CASCADE', thing.kind, thing.name);
    END LOOP;
    FOR thing IN
        SELECT CAST(CAST(p.oid AS regprocedure) AS TEXT) AS name FROM pg_proc p
        WHERE p.pronamespace = CAST(current_schema() AS regnamespace)
            AND NOT EXISTS (SELECT 1 FROM pg_depend d WHERE d.objid = p.oid AND d.deptype = 'e')
    LOOP
        EXECUTE format('DROP ROUTINE IF EXISTS %s CASCADE', thing.name);
    END LOOP;
    FOR thing IN
        SELECT t.typname AS name FROM pg_type t
        WHERE t.typnamespace = CAST(current_schema() AS regnamespace) AND t.typtype IN ('e', 'd')
            AND NOT EXISTS (SELECT 1 FROM pg_depend d WHERE d.objid = t.oid AND d.deptype = 'e')
    LOOP
        EXECUTE format('DROP TYPE IF EXISTS %I CASCADE', thing.name);
    END LOOP;
END $clear$;
";

/// Drops every table with all that belongs to it; on SQLite it does nothing, since there a fresh file takes the place
/// of the old one ([`file::swap_in`]).
pub async fn clear(db: &Db) -> Result<()> {
    if let Db::Postgres(pool) = db {
        sqlx::raw_sql(CLEAR).execute(pool).await?;
    }
    Ok(())
}

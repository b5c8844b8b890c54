//! All SQL. One text serves PostgreSQL and SQLite; a file holds a family of tables.

pub mod accounts;
pub mod acknowledgements;
pub mod api_keys;
pub mod attachments;
pub mod belonging;
pub mod clocks;
pub mod comments;
pub mod contacts;
pub mod db;
pub mod definitions;
pub mod deliveries;
pub mod desk;
pub mod edit;
pub mod escalations;
pub mod events;
pub mod exports;
pub mod held;
pub mod idempotency;
pub mod identities;
pub mod imports;
pub mod jobs;
pub mod labels;
pub mod leases;
pub mod ledger;
pub mod maintenance;
pub mod notifications;
pub mod preferences;
pub mod query;
pub mod recipients;
pub mod refresh_tokens;
pub mod replans;
pub mod reports;
pub mod rulebook;
pub mod schedules;
pub mod sign_ins;
pub mod signing_keys;
mod statement;
pub mod tickets;
pub mod users;
pub mod versions;
pub mod webhooks;
pub mod workers;

pub use db::{Committed, Db, Tx};

/// What went wrong in the database, by what a caller can do about it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The row exists already, or refers to one that does not.
    #[error("the change conflicts with what is stored")]
    Conflict(#[source] sqlx::Error),
    /// The database is away, busy or shutting down: the same call may succeed later.
    #[error("the database is not available: {0}")]
    Unavailable(#[source] sqlx::Error),
    /// The schema is older or newer than this program.
    #[error("{0}")]
    Schema(String),
    /// A row cannot be read, or a statement is wrong: a defect.
    #[error("unexpected database answer: {0}")]
    Corrupt(#[source] sqlx::Error),
}

/// The result of a store call.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// The error of work that was given up because the database, or this process, is going away.
    #[must_use]
    pub const fn away() -> Self {
        Self::Unavailable(sqlx::Error::PoolClosed)
    }

    /// What a trace calls it.
    pub(crate) const fn class(&self) -> &'static str {
        match self {
            Self::Conflict(_) => "conflict",
            Self::Unavailable(_) => "unavailable",
            Self::Schema(_) => "schema",
            Self::Corrupt(_) => "corrupt",
        }
    }
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        use sqlx::error::ErrorKind;
        match &error {
            sqlx::Error::Database(db) => match db.kind() {
                ErrorKind::UniqueViolation | ErrorKind::ForeignKeyViolation => Self::Conflict(error),
                _ if db.code().is_some_and(|code| may_pass(&code)) => Self::Unavailable(error),
                _ => Self::Corrupt(error),
            },
            sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::Protocol(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed => Self::Unavailable(error),
            _ => Self::Corrupt(error),
        }
    }
}

/// SQLSTATE classes 08 (connection), 40 (rolled back: deadlock, serialization), 53 (out of resources), 57 (operator
/// intervention: shutdown, start-up), and SQLite's busy (5), locked (6), full (13) and cannot open (14) with their
/// extended codes.
fn may_pass(code: &str) -> bool {
    match code.len() {
        5 => ["08", "40", "53", "57"].iter().any(|class| code.starts_with(class)),
        _ => code.parse::<u32>().is_ok_and(|code| matches!(code & 0xff, 5 | 6 | 13 | 14)),
    }
}

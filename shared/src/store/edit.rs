//! Why an account, a key or a contact was not changed.

use super::Error as Failure;

/// Why something was not changed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is none with this identifier.
    #[error("there is no such {0}")]
    NotFound(&'static str),
    /// The caller has seen an older version.
    #[error("the {what} is at version {current} by now: read it again and repeat the change")]
    Stale {
        /// What it is.
        what: &'static str,
        /// The version now.
        current: i64,
    },
    /// Another one has the address.
    #[error("there is already {0} with this address: choose another")]
    Taken(&'static str),
    /// Nobody would be left who may manage accounts.
    #[error("this is the last enabled admin: make somebody else an admin first")]
    LastAdmin,
    /// The database failed.
    #[error(transparent)]
    Store(#[from] Failure),
}

/// The result of changing something.
pub type Result<T> = std::result::Result<T, Error>;

/// Refuses a change by somebody who has seen another version.
pub(super) fn expect(what: &'static str, current: i64, expected: Option<i64>) -> Result<()> {
    match expected {
        Some(expected) if expected != current => Err(Error::Stale { what, current }),
        _ => Ok(()),
    }
}

/// Names what a unique address belongs to already.
pub(super) fn taken(who: &'static str) -> impl Fn(Failure) -> Error {
    move |error| match error {
        Failure::Conflict(_) => Error::Taken(who),
        error => error.into(),
    }
}

/// Writes a text for `LIKE … ESCAPE '\'`, so that it stands for itself.
pub(super) fn literally(text: &str) -> String {
    text.to_lowercase().replace('\\', r"\\").replace('%', r"\%").replace('_', r"\_")
}

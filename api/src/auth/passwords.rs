//! Passwords: how they are kept, what they must be like, and how often one may be guessed.

use std::sync::LazyLock;

use argon2::Argon2;
use argon2::password_hash::{PasswordHasher, PasswordVerifier, phc::PasswordHash};
use chrono::TimeDelta;
use shared::store::sign_ins;
use shared::store::users::{self, User};
use tokio::sync::Semaphore;

use super::digest;
use crate::app::App;
use crate::error::ApiError;

/// At most as many characters to a password.
pub(crate) const LONGEST: usize = 1_000;

/// At least as many, where people choose one over HTTP.
const SHORTEST: usize = 12;

/// After so many failures within a window, an address cannot be used to sign in until the window ends.
const FAILURES: i64 = 10;

const WINDOW: TimeDelta = TimeDelta::minutes(15);

/// Each hash takes 19 MiB and a core: without a bound, strangers could fill the memory.
static AT_ONCE: Semaphore = Semaphore::const_new(4);

/// Hashes a password with Argon2id, at the parameters OWASP recommends (19 MiB, 2 passes), in PHC format.
///
/// # Errors
/// When the machine has no randomness.
pub fn hash_password(password: &str) -> Result<String, argon2::password_hash::Error> {
    Ok(Argon2::default().hash_password(password.as_bytes())?.to_string())
}

/// Makes a password of 20 characters that nobody confuses when reading: 100 bits.
#[must_use]
pub fn make_password() -> String {
    const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    (0..20).map(|_| char::from(LETTERS[usize::from(rand::random::<u8>()) % LETTERS.len()])).collect()
}

/// Hashes a password without holding up other requests.
pub(crate) async fn hash(password: String) -> Result<String, ApiError> {
    let internal = |error: String| ApiError::Internal(format!("cannot hash a password: {error}"));
    let _permit = AT_ONCE.acquire().await.map_err(|error| internal(error.to_string()))?;
    let hashed = tokio::task::spawn_blocking(move || hash_password(&password)).await;
    hashed.map_err(|error| internal(error.to_string()))?.map_err(|error| internal(error.to_string()))
}

/// Says what is wrong with a password that somebody chose.
pub(crate) fn problem(password: &str, email: &str) -> Option<&'static str> {
    if password.chars().count() < SHORTEST {
        return Some("Must be at least 12 characters.");
    }
    let is_address = password.trim().eq_ignore_ascii_case(email);
    is_address.then_some("Must not be the address of the account.")
}

/// What an address is counted by.
pub(crate) fn counted_as(email: &str) -> String {
    digest(&email.to_lowercase())
}

/// Finds the enabled user with an address and a password; `None` when there is none, after the same time whether the
/// address is known or not. Failures are counted, and too many are answered for in place of looking.
pub(crate) async fn check(app: &App, email: &str, password: String) -> Result<Option<User>, ApiError> {
    // Under the permit, so that guesses at the same time are at most as many above the bound.
    let _permit = AT_ONCE.acquire().await.map_err(|error| ApiError::Internal(error.to_string()))?;
    let (db, now) = (&app.process.db, app.process.desk.clock.now());
    let address = counted_as(email);
    if let Some(until) = sign_ins::refused_until(db, &address, FAILURES, now).await? {
        let wait = (until - now).num_seconds() + 1;
        return Err(ApiError::TooMany(wait.unsigned_abs(), "There were too many failed sign-ins"));
    }
    let found = users::by_email(db, email).await?;
    let id = found.as_ref().map(|user| user.id);
    let user = verify(found, password).await.filter(|user| user.disabled_at.is_none());
    if user.is_none() {
        let mut tx = db.begin().await?;
        let failures = sign_ins::count(&mut tx, &address, now, now + WINDOW).await?;
        let _ = tx.commit().await?;
        if failures == FAILURES {
            let id = id.map(tracing::field::display);
            tracing::warn!(
                user.id = id,
                failures,
                "an address is refused until its failed sign-ins are forgotten"
            );
        }
    }
    Ok(user)
}

async fn verify(user: Option<User>, password: String) -> Option<User> {
    static NOBODY: LazyLock<String> = LazyLock::new(|| hash_password("nobody's").unwrap_or_default());
    let checked = tokio::task::spawn_blocking(move || {
        let hash = user.as_ref().map_or(NOBODY.as_str(), |user| &user.password_hash);
        let hash = PasswordHash::new(hash).ok()?;
        Argon2::default().verify_password(password.as_bytes(), &hash).ok()?;
        user
    });
    checked.await.ok().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_long_and_not_the_address() {
        let email = "sam@example.org";
        for bad in ["", "eleven char", "SAM@example.org", " sam@example.org "] {
            assert!(problem(bad, email).is_some(), "{bad}");
        }
        for good in ["twelve chars", "zwölf Zeiche", &make_password(), "sam@example.org!"] {
            assert_eq!(problem(good, email), None, "{good}");
        }
    }

    #[test]
    fn made_passwords_differ() {
        assert_ne!(make_password(), make_password());
        assert_eq!(make_password().len(), 20);
    }
}

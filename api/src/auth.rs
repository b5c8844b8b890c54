//! Who is calling: passwords, tokens, and the accounts behind them.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

use argon2::Argon2;
use argon2::password_hash::{PasswordHasher, PasswordVerifier, phc::PasswordHash};
use chrono::TimeDelta;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};
use shared::config::Secret;
use shared::domain::access::Caller;
use shared::ids::UserId;
use shared::store::users::{self, User};
use shared::store::{self, Db};
use shared::time::Timestamp;
use tokio::sync::Semaphore;

/// How long a token is good for.
pub const TOKEN_LIFETIME: TimeDelta = TimeDelta::hours(1);

/// How long an account is believed to be as it was read: a disabled user is locked out this late at most.
const BELIEVED: Duration = Duration::from_secs(5);

#[derive(Debug, Serialize, Deserialize)]
struct Claims {
    sub: UserId,
    iat: i64,
    exp: i64,
}

/// Signs and checks tokens (JWT, HS256).
pub struct Tokens {
    sign: EncodingKey,
    check: DecodingKey,
    rules: Validation,
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tokens")
    }
}

impl Tokens {
    /// Signs with `secret`.
    #[must_use]
    pub fn new(secret: &Secret) -> Self {
        let key = secret.expose().as_bytes();
        let mut rules = Validation::new(Algorithm::HS256);
        // The library would ask this machine's clock; `user` asks the one all processes share.
        rules.validate_exp = false;
        Self { sign: EncodingKey::from_secret(key), check: DecodingKey::from_secret(key), rules }
    }

    /// Makes a token for a user that is good until `until`.
    ///
    /// # Errors
    /// When signing fails.
    pub fn issue(
        &self,
        user: UserId,
        now: Timestamp,
        until: Timestamp,
    ) -> jsonwebtoken::errors::Result<String> {
        let claims = Claims { sub: user, iat: now.timestamp(), exp: until.timestamp() };
        jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &self.sign)
    }

    /// Returns whom a token was made for; `None` when it was not made here or has expired by `now`.
    #[must_use]
    pub fn user(&self, token: &str, now: Timestamp) -> Option<UserId> {
        let claims = jsonwebtoken::decode::<Claims>(token, &self.check, &self.rules).ok()?.claims;
        (claims.exp > now.timestamp()).then_some(claims.sub)
    }
}

/// An account, and what it may.
#[derive(Clone, Debug)]
pub(crate) struct Account {
    pub(crate) user: Arc<User>,
    pub(crate) caller: Arc<Caller>,
}

/// Accounts as they were read within the last seconds.
#[derive(Debug, Default)]
pub(crate) struct Accounts(Mutex<HashMap<UserId, (Instant, Account)>>);

impl Accounts {
    /// Finds an account that may be used.
    pub(crate) async fn enabled(&self, db: &Db, id: UserId) -> store::Result<Option<Account>> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&id).cloned();
        let account = match known {
            Some((read, account)) if read.elapsed() < BELIEVED => account,
            _ => {
                let Some(user) = users::get(db, id).await? else { return Ok(None) };
                let caller = Arc::new(users::caller(db, &user).await?);
                let account = Account { user: Arc::new(user), caller };
                let mut read = self.0.lock().unwrap_or_else(PoisonError::into_inner);
                read.insert(id, (Instant::now(), account.clone()));
                account
            }
        };
        Ok(account.user.disabled_at.is_none().then_some(account))
    }
}

/// Hashes a password with Argon2id, at the parameters OWASP recommends (19 MiB, 2 passes), in PHC format.
///
/// # Errors
/// When the machine has no randomness.
pub fn hash_password(password: &str) -> Result<String, argon2::password_hash::Error> {
    Ok(Argon2::default().hash_password(password.as_bytes())?.to_string())
}

/// Checks a password, in the same time whether there is such a user or not.
pub(crate) async fn check_password(user: Option<User>, password: String) -> Option<User> {
    // Each check takes 19 MiB and a core: without a bound, strangers could fill the memory.
    static AT_ONCE: Semaphore = Semaphore::const_new(4);
    static NOBODY: LazyLock<String> = LazyLock::new(|| hash_password("nobody's").unwrap_or_default());
    let _permit = AT_ONCE.acquire().await.ok()?;
    let checked = tokio::task::spawn_blocking(move || {
        let hash = user.as_ref().map_or(NOBODY.as_str(), |user| &user.password_hash);
        let hash = PasswordHash::new(hash).ok()?;
        Argon2::default().verify_password(password.as_bytes(), &hash).ok()?;
        user.filter(|user| user.disabled_at.is_none())
    });
    checked.await.ok().flatten()
}

//! Who is calling: passwords, tokens, keys, and the accounts behind them.

pub(crate) mod issuer;
pub mod keys;
pub(crate) mod passwords;
pub(crate) mod scopes;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::TimeDelta;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use shared::config::Secret;
use shared::domain::access::Caller;
use shared::ids::UserId;
use shared::store::api_keys::ApiKey;
use shared::store::users::{self, User};
use shared::store::{self, Db};
use shared::time::Timestamp;

pub use passwords::{hash_password, make_password};

/// How long a token is good for; refreshing gives the next.
pub const TOKEN_LIFETIME: TimeDelta = TimeDelta::minutes(15);

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
        // The library would ask this machine's clock; `read` asks the one all processes share.
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

    /// Returns whom a token was made for, and when; `None` when it was not made here or has expired by `now`.
    pub(crate) fn read(&self, token: &str, now: Timestamp) -> Option<Signed> {
        let claims = jsonwebtoken::decode::<Claims>(token, &self.check, &self.rules).ok()?.claims;
        let signed = Signed { user: claims.sub, issued_at: claims.iat };
        (claims.exp > now.timestamp()).then_some(signed)
    }
}

/// What a token of ours says.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Signed {
    pub(crate) user: UserId,
    /// Seconds since the epoch.
    issued_at: i64,
}

impl Signed {
    /// Tells whether a token was made before a user chose another password, so that it is no longer good.
    pub(crate) fn is_overtaken(self, user: &User) -> bool {
        user.password_changed_at.is_some_and(|at| self.issued_at < at.timestamp())
    }
}

/// An account, and what it may.
#[derive(Clone, Debug)]
pub(crate) struct Account {
    pub(crate) user: Arc<User>,
    pub(crate) caller: Arc<Caller>,
    /// The key they came with, which narrows it.
    pub(crate) key: Option<Arc<ApiKey>>,
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
                let account = Account { user: Arc::new(user), caller, key: None };
                let mut read = self.0.lock().unwrap_or_else(PoisonError::into_inner);
                read.insert(id, (Instant::now(), account.clone()));
                account
            }
        };
        Ok(account.user.disabled_at.is_none().then_some(account))
    }

    /// Has an account read again when it is next needed, since it was changed here.
    pub(crate) fn forget(&self, id: UserId) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
    }
}

/// Makes a text of 256 random bits.
pub(crate) fn make_secret() -> String {
    URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>())
}

/// The SHA-256 of a text, in hexadecimal digits.
pub(crate) fn digest(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

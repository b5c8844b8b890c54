//! Tokens of another issuer, by `OpenID` Connect: RS256 and ES256, checked with the public keys that it publishes.

mod keys;

use std::collections::HashSet;

use jsonwebtoken::{Algorithm, Validation};
use serde::Deserialize;
use serde_json::{Map, Value};
use shared::config::Oidc;
use shared::domain::is_mail_address;
use shared::domain::role::Role;
use shared::ids::UserId;
use shared::process::StartError;
use shared::store::accounts::{self, By};
use shared::store::users::{self, User};
use shared::store::{Db, edit, identities};
use shared::time::Timestamp;

use crate::error::ApiError;
use keys::Keys;

/// By how much the issuer's clock may differ from ours, in seconds.
const LEEWAY: f64 = 30.0;

/// Why a token of the issuer is not taken.
type Refused = &'static str;

/// Another issuer of tokens.
#[derive(Debug)]
pub(crate) struct Issuer {
    settings: Oidc,
    keys: Keys,
}

/// What the issuer says of somebody.
#[derive(Debug, Deserialize)]
struct Claims {
    /// The library would also take a list of issuers.
    iss: String,
    sub: String,
    /// Seconds since the epoch, which may be fractions.
    exp: f64,
    #[serde(default)]
    nbf: Option<f64>,
    #[serde(flatten)]
    others: Map<String, Value>,
}

impl Issuer {
    pub(crate) fn new(settings: Oidc) -> Result<Self, StartError> {
        Ok(Self { keys: Keys::new(&settings)?, settings })
    }

    /// Tells whether a token may be of this issuer, by its algorithm: ours are signed by another kind.
    pub(crate) fn may_have_signed(token: &str) -> bool {
        jsonwebtoken::decode_header(token)
            .is_ok_and(|header| matches!(header.alg, Algorithm::RS256 | Algorithm::ES256))
    }

    /// Finds the user whom a token is about.
    pub(crate) async fn user(&self, db: &Db, token: &str, now: Timestamp) -> Result<UserId, ApiError> {
        let claims = self.claims(token, now).await.map_err(ApiError::Unauthorized)?;
        let known = identities::find(db, &self.settings.issuer, &claims.sub).await?;
        let user = match known {
            Some(user) => Some(user),
            None => self.meet(db, &claims, now).await?,
        };
        user.ok_or(ApiError::Unauthorized(
            "The token is valid, but there is no account for it; ask an admin for one with your verified address.",
        ))
    }

    /// Checks a token and returns what it says.
    async fn claims(&self, token: &str, now: Timestamp) -> Result<Claims, Refused> {
        const INVALID: Refused = "The token is not valid; sign in again.";
        let header = jsonwebtoken::decode_header(token).map_err(|_| INVALID)?;
        let kid = header.kid.as_deref().ok_or("The token names no key.")?;
        let key =
            self.keys.find(kid, now).await.ok_or("The token names a key that its issuer does not have.")?;
        // The algorithm is the key's, never the token's: so no public key is ever taken for a secret.
        let mut rules = Validation::new(key.algorithm);
        rules.set_issuer(&[&self.settings.issuer]);
        rules.set_audience(&[&self.settings.audience]);
        rules.required_spec_claims =
            ["iss", "aud", "exp", "sub"].map(str::to_owned).into_iter().collect::<HashSet<_>>();
        // The library would ask this machine's clock; below the one is asked that all processes share.
        rules.validate_exp = false;
        let claims = jsonwebtoken::decode::<Claims>(token, &key.key, &rules).map_err(|_| INVALID)?.claims;
        if claims.iss != self.settings.issuer {
            return Err(INVALID);
        }
        #[expect(clippy::cast_precision_loss, reason = "seconds since the epoch are far below 2^52")]
        let now = now.timestamp() as f64;
        if claims.exp + LEEWAY <= now {
            return Err("The token has expired; sign in again.");
        }
        if claims.nbf.is_some_and(|nbf| nbf - LEEWAY > now) {
            return Err("The token is not valid yet.");
        }
        let usable =
            (1..=255).contains(&claims.sub.chars().count()) && !claims.sub.contains(char::is_control);
        if usable { Ok(claims) } else { Err(INVALID) }
    }

    /// Finds the account of somebody who comes for the first time by the address that the issuer has verified, or makes
    /// one where that is allowed.
    async fn meet(&self, db: &Db, claims: &Claims, now: Timestamp) -> Result<Option<UserId>, ApiError> {
        let Some(email) = claims.verified_address() else { return Ok(None) };
        let by = By { actor: None, ip: None, now };
        let (issuer, mut tx) = (&self.settings.issuer, db.begin().await?);
        let user = match users::by_email(db, &email).await? {
            Some(user) => user,
            None if self.settings.auto_create => {
                let user = claims.new_account(email, &self.settings.role_claim, now);
                match accounts::create(&mut tx, &user, &by).await {
                    // Somebody made it in the same moment.
                    Err(edit::Error::Taken(_)) => {
                        tx.rollback().await?;
                        return Ok(identities::find(db, issuer, &claims.sub).await?);
                    }
                    made => made?,
                }
                user
            }
            None => return Ok(None),
        };
        if !identities::bind(&mut tx, issuer, &claims.sub, user.id, &by).await? {
            tx.rollback().await?;
            return Ok(identities::find(db, issuer, &claims.sub).await?);
        }
        let _ = tx.commit().await?;
        tracing::info!(user.id = %user.id, "an account came by another issuer's token for the first time");
        Ok(Some(user.id))
    }
}

impl Claims {
    fn text(&self, claim: &str) -> Option<&str> {
        self.others.get(claim)?.as_str()
    }

    fn verified_address(&self) -> Option<String> {
        let verified = self.others.get("email_verified")?;
        let verified = verified == &Value::Bool(true) || verified == "true";
        self.text("email").filter(|email| verified && is_mail_address(email)).map(str::to_lowercase)
    }

    /// The greatest role among those that a claim names; an end user where it names none.
    fn role(&self, claim: &str) -> Role {
        let named = self.others.get(claim);
        let one = named.and_then(Value::as_str);
        let many = named.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
        one.into_iter().chain(many).filter_map(|name| name.parse().ok()).max().unwrap_or(Role::EndUser)
    }

    fn new_account(&self, email: String, role_claim: &str, now: Timestamp) -> User {
        let name = self.text("name").unwrap_or_default();
        let name: String = name.chars().filter(|c| !c.is_control()).take(100).collect();
        let name = if name.trim().is_empty() { email.clone() } else { name };
        User {
            id: UserId::new(),
            email,
            name,
            role: self.role(role_claim),
            // No password has this hash.
            password_hash: String::new(),
            created_at: now,
            disabled_at: None,
            version: 1,
            password_changed_at: None,
        }
    }
}

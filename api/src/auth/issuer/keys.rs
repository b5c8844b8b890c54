//! The public keys that an issuer publishes, fetched when they are needed and kept.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use chrono::TimeDelta;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use reqwest::{Client, redirect};
use serde_json::Value;
use shared::config::Oidc;
use shared::process::StartError;
use shared::time::Timestamp;

/// How long keys are used before they are asked for again.
const KEPT: TimeDelta = TimeDelta::hours(1);

/// Whatever keys tokens name, the issuer is not asked more often.
const PAUSE: TimeDelta = TimeDelta::minutes(1);

const TIMEOUT: Duration = Duration::from_secs(5);

/// At most as many bytes to an answer of the issuer.
const LARGEST: usize = 256 * 1024;

/// A public key, and the one algorithm it is for.
#[derive(Clone)]
pub(super) struct Key {
    id: String,
    pub(super) algorithm: Algorithm,
    pub(super) key: DecodingKey,
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Key({}, {:?})", self.id, self.algorithm)
    }
}

#[derive(Debug, Default)]
struct Known {
    keys: Vec<Key>,
    fetched_at: Option<Timestamp>,
    tried_at: Option<Timestamp>,
}

/// The keys of one issuer.
#[derive(Debug)]
pub(super) struct Keys {
    issuer: String,
    jwks_url: Option<String>,
    client: Client,
    known: Mutex<Known>,
    /// Held while the issuer is being asked; whoever needs no new key does not wait for it.
    asking: tokio::sync::Mutex<()>,
}

impl Keys {
    pub(super) fn new(settings: &Oidc) -> Result<Self, StartError> {
        let client = Client::builder().timeout(TIMEOUT).redirect(redirect::Policy::none());
        let client = client.build().map_err(|error| format!("cannot ask OIDC_ISSUER: {error}"))?;
        Ok(Self {
            issuer: settings.issuer.clone(),
            jwks_url: settings.jwks_url.clone(),
            client,
            known: Mutex::default(),
            asking: tokio::sync::Mutex::default(),
        })
    }

    /// Finds a key, if need be by asking the issuer. While the issuer is away, what it said before still holds.
    pub(super) async fn find(&self, id: &str, now: Timestamp) -> Option<Key> {
        let is_fresh = |known: &Known| known.fetched_at.is_some_and(|at| now - at < KEPT);
        let fresh = || self.with(|known| known.get(id).filter(|_| is_fresh(known)));
        if let Some(key) = fresh() {
            return Some(key);
        }
        let _asking = self.asking.lock().await;
        if let Some(key) = fresh() {
            return Some(key);
        }
        let may_ask = self.with(|known| {
            let may = known.tried_at.is_none_or(|at| now - at >= PAUSE);
            known.tried_at = if may { Some(now) } else { known.tried_at };
            may
        });
        if may_ask {
            match self.fetch().await {
                Ok(keys) => self.with(|known| (known.keys, known.fetched_at) = (keys, Some(now))),
                Err(error) => tracing::warn!(error, "could not get the keys of OIDC_ISSUER"),
            }
        }
        self.with(|known| known.get(id))
    }

    fn with<T>(&self, work: impl FnOnce(&mut Known) -> T) -> T {
        work(&mut self.known.lock().unwrap_or_else(PoisonError::into_inner))
    }

    async fn fetch(&self) -> Result<Vec<Key>, String> {
        let url = match &self.jwks_url {
            Some(url) => url.clone(),
            None => self.discover().await?,
        };
        let set = self.get(&url).await?;
        let keys = set.get("keys").and_then(Value::as_array).ok_or("its answer has no list of keys")?;
        // One key that is unknown to us must not spoil the others.
        Ok(keys
            .iter()
            .filter_map(|key| serde_json::from_value(key.clone()).ok())
            .filter_map(usable)
            .collect())
    }

    /// Finds out where the keys are.
    async fn discover(&self) -> Result<String, String> {
        let base = self.issuer.trim_end_matches('/');
        let found = self.get(&format!("{base}/.well-known/openid-configuration")).await?;
        if found["issuer"].as_str() != Some(&self.issuer) {
            return Err("its configuration names another issuer".into());
        }
        found["jwks_uri"]
            .as_str()
            .map(str::to_owned)
            .ok_or_else(|| "its configuration names no jwks_uri".into())
    }

    async fn get(&self, url: &str) -> Result<Value, String> {
        let answer = self.client.get(url).header("accept", "application/json").send().await;
        let mut answer = answer.map_err(|error| error.to_string())?;
        if !answer.status().is_success() {
            return Err(format!("it answered {}", answer.status()));
        }
        let mut body = Vec::new();
        while let Some(part) = answer.chunk().await.map_err(|error| error.to_string())? {
            body.extend_from_slice(&part);
            if body.len() > LARGEST {
                return Err("its answer is too large".into());
            }
        }
        serde_json::from_slice(&body).map_err(|_| "its answer is not JSON".into())
    }
}

impl Known {
    fn get(&self, id: &str) -> Option<Key> {
        self.keys.iter().find(|key| key.id == id).cloned()
    }
}

/// Reads a key that signatures can be checked with.
#[expect(clippy::needless_pass_by_value, reason = "an iterator passes it on")]
fn usable(jwk: Jwk) -> Option<Key> {
    let (algorithm, said) = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => (Algorithm::RS256, KeyAlgorithm::RS256),
        AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => {
            (Algorithm::ES256, KeyAlgorithm::ES256)
        }
        _ => return None,
    };
    let common = &jwk.common;
    let for_signatures = common.public_key_use.as_ref().is_none_or(|usage| *usage == PublicKeyUse::Signature);
    let for_this = common.key_algorithm.is_none_or(|algorithm| algorithm == said);
    let id = common.key_id.clone().filter(|_| for_signatures && for_this)?;
    Some(Key { id, algorithm, key: DecodingKey::from_jwk(&jwk).ok()? })
}

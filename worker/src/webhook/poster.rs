//! How a webhook leaves: one signed POST, as <https://www.standardwebhooks.com> has it.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::redirect::Policy;
use reqwest::{Client, StatusCode};
use shared::config::{Config, Secret};
use shared::hmac::Key;
use shared::ids::NotificationId;
use shared::process::StartError;
use shared::time::Timestamp;
use url::{Host, Url};

use super::address::{Private, PublicOnly, is_private};

/// How long a receiver may take to answer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Posts webhooks.
#[derive(Debug)]
pub(crate) struct Poster {
    client: Client,
    allow_private: bool,
}

/// Why a webhook was not sent.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum PostError {
    /// It may work later.
    Failed(String),
    /// It will never work.
    Refused(String),
}

impl Poster {
    pub(crate) fn new(config: &Config) -> Result<Self, StartError> {
        let allow_private = config.webhook_allow_private;
        // A redirect or a proxy would lead past the check of the address.
        let client =
            Client::builder().redirect(Policy::none()).no_proxy().timeout(TIMEOUT).user_agent("Dogwatch");
        let client = if allow_private { client } else { client.dns_resolver(PublicOnly) };
        Ok(Self { client: client.build()?, allow_private })
    }

    /// Posts a body once, signed where there is a secret. The receiver knows repetitions by the identifier, and old
    /// ones by the time.
    #[tracing::instrument(name = "post webhook", skip_all, fields(otel.kind = "client", notification.id = %id))]
    pub(crate) async fn post(
        &self,
        id: NotificationId,
        url: &str,
        secret: Option<&Secret>,
        body: String,
        now: Timestamp,
    ) -> Result<(), PostError> {
        let url = self.checked(url)?;
        let timestamp = now.timestamp();
        let mut request = self
            .client
            .post(url)
            .header("content-type", "application/json")
            .header("webhook-id", id.to_string())
            .header("webhook-timestamp", timestamp);
        if let Some(secret) = secret {
            let signature = key(secret)?.sign(format!("{id}.{timestamp}.{body}").as_bytes());
            request = request.header("webhook-signature", format!("v1,{}", STANDARD.encode(signature)));
        }
        // The address may hold a secret of the receiver's.
        let answer = request.body(body).send().await.map_err(|error| judged(&error.without_url()))?;
        match answer.status() {
            status if status.is_success() => Ok(()),
            status @ (StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS) => {
                Err(PostError::Failed(format!("the receiver answered {status}")))
            }
            status if status.is_client_error() => {
                Err(PostError::Refused(format!("the receiver answered {status}")))
            }
            status => Err(PostError::Failed(format!("the receiver answered {status}"))),
        }
    }

    /// Reads the address. One that is written as numbers asks no resolver, so it is looked at here.
    fn checked(&self, url: &str) -> Result<Url, PostError> {
        let refused = |why: &str| PostError::Refused(why.into());
        let url = Url::parse(url).map_err(|_| refused("its address is no URL"))?;
        if !["http", "https"].contains(&url.scheme()) {
            return Err(refused("its address must begin with https:// or http://"));
        }
        let is_private = match url.host() {
            Some(Host::Ipv4(ip)) => is_private(ip.into()),
            Some(Host::Ipv6(ip)) => is_private(ip.into()),
            Some(Host::Domain(_)) => false,
            None => return Err(refused("its address names no host")),
        };
        if is_private && !self.allow_private { Err(refused(&Private.to_string())) } else { Ok(url) }
    }
}

/// The bytes of a secret: `whsec_` and base64, or as it stands.
fn key(secret: &Secret) -> Result<Key, PostError> {
    let secret = secret.expose();
    match secret.strip_prefix("whsec_") {
        None => Ok(Key::new(secret.as_bytes())),
        Some(encoded) => {
            let bytes = STANDARD.decode(encoded);
            let bytes =
                bytes.map_err(|_| PostError::Refused("its secret is not base64 after whsec_".into()))?;
            Ok(Key::new(&bytes))
        }
    }
}

fn judged(error: &reqwest::Error) -> PostError {
    let mut texts = vec![error.to_string()];
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        if error.is::<Private>() {
            return PostError::Refused(error.to_string());
        }
        texts.push(error.to_string());
        source = error.source();
    }
    texts.dedup();
    PostError::Failed(texts.join(": "))
}

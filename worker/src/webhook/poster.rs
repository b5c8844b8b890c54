//! How a webhook leaves: one signed POST, as <https://www.standardwebhooks.com> has it.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::redirect::Policy;
use reqwest::{Client, StatusCode};
use shared::addresses::names_private;
use shared::config::{Config, Secret};
use shared::hmac::Key;
use shared::ids::NotificationId;
use shared::process::StartError;
use shared::time::Timestamp;
use tracing::{Instrument, field};
use url::Url;

use super::address::{Private, PublicOnly};

/// How long a receiver may take to answer, to its last byte.
const TIMEOUT: Duration = Duration::from_secs(15);

/// At most as much of an answer is read, so that the connection can be used again.
const READ: usize = 16 * 1024;

/// At most as much of it is kept.
const KEPT: usize = 1024;

/// Posts webhooks.
#[derive(Debug)]
pub(crate) struct Poster {
    client: Client,
    allow_private: bool,
}

/// What a receiver said.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    /// The beginning of its body, without control characters.
    pub(crate) text: String,
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

    /// Posts a notification once, signed where there is a secret, and judges the answer.
    pub(crate) async fn post(
        &self,
        id: NotificationId,
        url: &str,
        secret: Option<&Secret>,
        body: String,
        now: Timestamp,
    ) -> Result<(), PostError> {
        let secrets: Vec<Secret> = secret.cloned().into_iter().collect();
        let answer = self.send(&id.to_string(), url, &secrets, body, now).await?;
        match answer.status {
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

    /// Posts a body once, signed with each secret. The receiver knows repetitions by the identifier, and old ones by the
    /// time. Its span is a client's by OpenTelemetry's semantic conventions for HTTP, but for the whole address, which may
    /// hold a secret.
    pub(crate) async fn send(
        &self,
        id: &str,
        url: &str,
        secrets: &[Secret],
        body: String,
        now: Timestamp,
    ) -> Result<Answer, PostError> {
        let url = self.checked(url)?;
        let span = tracing::info_span!(
            "post webhook",
            otel.name = "POST",
            otel.kind = "client",
            otel.status_code = field::Empty,
            http.request.method = "POST",
            http.response.status_code = field::Empty,
            url.scheme = url.scheme(),
            server.address = url.host_str(),
            server.port = url.port_or_known_default().map(i64::from),
            webhook.message = id,
            error.type = field::Empty,
        );
        let answer = self.post_signed(id, url, secrets, body, now).instrument(span.clone()).await;
        let class = match &answer {
            Ok(answer) => {
                span.record("http.response.status_code", i64::from(answer.status.as_u16()));
                (answer.status.is_client_error() || answer.status.is_server_error())
                    .then_some(answer.status.as_str())
            }
            Err(PostError::Failed(_)) => Some("connection"),
            Err(PostError::Refused(_)) => Some("refused"),
        };
        if let Some(class) = class {
            span.record("error.type", class).record("otel.status_code", "ERROR");
        }
        answer
    }

    async fn post_signed(
        &self,
        id: &str,
        url: Url,
        secrets: &[Secret],
        body: String,
        now: Timestamp,
    ) -> Result<Answer, PostError> {
        let timestamp = now.timestamp();
        let mut request = self
            .client
            .post(url)
            .header("content-type", "application/json")
            .header("webhook-id", id)
            .header("webhook-timestamp", timestamp);
        let signed = format!("{id}.{timestamp}.{body}");
        let sign = |secret| Ok(format!("v1,{}", STANDARD.encode(key(secret)?.sign(signed.as_bytes()))));
        let signatures = secrets.iter().map(sign).collect::<Result<Vec<_>, PostError>>()?;
        if !signatures.is_empty() {
            request = request.header("webhook-signature", signatures.join(" "));
        }
        // The address may hold a secret of the receiver's.
        let answer = request.body(body).send().await.map_err(|error| judged(&error.without_url()))?;
        let status = answer.status();
        Ok(Answer { status, text: beginning(answer).await })
    }

    /// Reads the address. One that is written as numbers asks no resolver, so it is looked at here.
    fn checked(&self, url: &str) -> Result<Url, PostError> {
        let refused = |why: &str| PostError::Refused(why.into());
        let url = Url::parse(url).map_err(|_| refused("its address is no URL"))?;
        if !["http", "https"].contains(&url.scheme()) {
            return Err(refused("its address must begin with https:// or http://"));
        }
        if !url.has_host() {
            return Err(refused("its address names no host"));
        }
        if names_private(&url) && !self.allow_private { Err(refused(&Private.to_string())) } else { Ok(url) }
    }
}

/// Reads the beginning of an answer. One that breaks off is as good: what counts is the status.
async fn beginning(mut answer: reqwest::Response) -> String {
    let mut bytes = Vec::new();
    while bytes.len() < READ
        && let Ok(Some(chunk)) = answer.chunk().await
    {
        bytes.extend_from_slice(&chunk);
    }
    bytes.truncate(KEPT);
    let text = String::from_utf8_lossy(&bytes);
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect::<String>().trim().to_owned()
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

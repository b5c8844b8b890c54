//! How a mail leaves: to an SMTP server, or into a folder.

use std::path::PathBuf;
use std::time::Duration;

use lettre::message::header::{HeaderName, HeaderValue, InReplyTo, References};
use lettre::message::{Mailbox, MultiPart};
use lettre::transport::smtp::PoolConfig;
use lettre::{AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};
use shared::config::Config;
use shared::process::StartError;
use tracing::{Instrument, field};
use url::Url;

use super::Letter;

/// How long one step of an SMTP conversation may take.
const SMTP_TIMEOUT: Duration = Duration::from_secs(20);

/// Sends letters.
#[derive(Debug)]
pub(crate) struct Mailer {
    from: Mailbox,
    outlet: Outlet,
}

#[derive(Debug)]
enum Outlet {
    Smtp(Box<Smtp>),
    Folder(PathBuf),
}

#[derive(Debug)]
struct Smtp {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    host: String,
    port: u16,
}

impl Smtp {
    fn new(address: &str) -> Option<Self> {
        let url = Url::parse(address).ok()?;
        let usual = if url.scheme() == "smtps" { 465 } else { 587 };
        let transport = AsyncSmtpTransport::<Tokio1Executor>::from_url(address).ok()?;
        let pool = PoolConfig::new().max_size(8);
        Some(Self {
            transport: transport.timeout(Some(SMTP_TIMEOUT)).pool_config(pool).build(),
            host: url.host_str()?.to_owned(),
            port: url.port().unwrap_or(usual),
        })
    }
}

/// Why a letter was not sent.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum SendError {
    /// It may work later: the server was away, or answered 4xx.
    Failed(String),
    /// It will never work: the server answered 5xx, or the address is none.
    Refused(String),
}

impl Mailer {
    pub(crate) fn new(config: &Config) -> Result<Self, StartError> {
        let from = config
            .mail_from
            .parse()
            .map_err(|_| "MAIL_FROM must be like `Dogwatch <dogwatch@example.org>`")?;
        let outlet = match &config.smtp_url {
            Some(url) => Outlet::Smtp(Box::new(
                Smtp::new(url.expose())
                    .ok_or("SMTP_URL must be like smtp://user:password@host:587?tls=required")?,
            )),
            None => Outlet::Folder(config.mail_dir.clone()),
        };
        Ok(Self { from, outlet })
    }

    /// Sends a letter, as a span of its own: as a client's, though there are no conventions for SMTP.
    pub(crate) async fn send(&self, letter: &Letter) -> Result<(), SendError> {
        let span = tracing::info_span!(
            "send mail",
            otel.kind = field::Empty,
            otel.status_code = field::Empty,
            network.protocol.name = field::Empty,
            server.address = field::Empty,
            server.port = field::Empty,
            mail.event = letter.event,
            error.type = field::Empty,
        );
        if let Outlet::Smtp(smtp) = &self.outlet {
            span.record("otel.kind", "client").record("network.protocol.name", "smtp");
            span.record("server.address", &*smtp.host).record("server.port", i64::from(smtp.port));
        }
        let sent = self.hand_over(letter).instrument(span.clone()).await;
        if let Err((_, class)) = &sent {
            span.record("error.type", class).record("otel.status_code", "ERROR");
        }
        sent.map_err(|(error, _)| error)
    }

    /// Sends a letter, or says why it did not go, and the class of that in a trace.
    async fn hand_over(&self, letter: &Letter) -> Result<(), (SendError, String)> {
        let unsendable = |error: Box<dyn std::error::Error>| {
            (SendError::Refused(error.to_string()), "unsendable".to_owned())
        };
        let message = self.message(letter).map_err(unsendable)?;
        match &self.outlet {
            Outlet::Smtp(smtp) => {
                smtp.transport.send(message).await.map(drop).map_err(|error| judged(&error))
            }
            Outlet::Folder(folder) => {
                let about = letter.ticket_key.iter().map(|key| format!("{key}-")).collect::<String>();
                let name = format!("{about}{}-{}.eml", letter.event, letter.id);
                put(folder, &name, &message.formatted())
                    .await
                    .map_err(|error| (SendError::Failed(error.to_string()), error.kind().to_string()))
            }
        }
    }

    /// The `Message-ID` that every try at a letter carries.
    pub(crate) fn message_id(&self, letter: &Letter) -> String {
        format!("<{}@{}>", letter.id, self.from.email.domain())
    }

    fn message(&self, letter: &Letter) -> Result<Message, Box<dyn std::error::Error>> {
        let domain = self.from.email.domain();
        let thread = format!("<{}@{domain}>", letter.thread);
        let mut message = Message::builder()
            .message_id(Some(self.message_id(letter)))
            .header(InReplyTo::from(thread.clone()))
            .header(References::from(thread))
            .from(self.from.clone())
            .to(letter.to.parse::<lettre::Address>()?.into())
            .subject(&letter.subject)
            .multipart(MultiPart::alternative_plain_html(letter.text.clone(), letter.html.clone()))?;
        let ticket = letter.ticket_key.as_deref().map(|key| ("X-Dogwatch-Ticket", key));
        for (name, value) in [("X-Dogwatch-Event", letter.event), ("Auto-Submitted", "auto-generated")]
            .into_iter()
            .chain(ticket)
        {
            message
                .headers_mut()
                .insert_raw(HeaderValue::new(HeaderName::new_from_ascii_str(name), value.into()));
        }
        Ok(message)
    }
}

/// What an error means for the letter, and its class: the server's answer, if there was one.
fn judged(error: &lettre::transport::smtp::Error) -> (SendError, String) {
    let text =
        std::error::Error::source(error).map_or_else(|| error.to_string(), |s| format!("{error}: {s}"));
    let class = match error.status() {
        Some(code) => code.to_string(),
        None if error.is_timeout() => "timeout".to_owned(),
        None => "connection".to_owned(),
    };
    let error = if error.is_permanent() { SendError::Refused(text) } else { SendError::Failed(text) };
    (error, class)
}

/// Writes a whole file or none: whoever watches the folder never reads half a mail, and a letter written twice is
/// there once.
async fn put(folder: &std::path::Path, name: &str, content: &[u8]) -> std::io::Result<()> {
    tokio::fs::create_dir_all(folder).await?;
    let part = folder.join(format!(".{name}.part"));
    tokio::fs::write(&part, content).await?;
    tokio::fs::rename(&part, folder.join(name)).await
}

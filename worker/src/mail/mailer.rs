//! How a mail leaves: to an SMTP server, or into a folder.

use std::path::PathBuf;
use std::time::Duration;

use lettre::message::header::{HeaderName, HeaderValue, InReplyTo, References};
use lettre::message::{Mailbox, MultiPart};
use lettre::transport::smtp::PoolConfig;
use lettre::{AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};
use shared::config::Config;
use shared::process::StartError;

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
    Smtp(Box<AsyncSmtpTransport<Tokio1Executor>>),
    Folder(PathBuf),
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
                AsyncSmtpTransport::<Tokio1Executor>::from_url(url.expose())
                    .map_err(|_| "SMTP_URL must be like smtp://user:password@host:587?tls=required")?
                    .timeout(Some(SMTP_TIMEOUT))
                    .pool_config(PoolConfig::new().max_size(8))
                    .build(),
            )),
            None => Outlet::Folder(config.mail_dir.clone()),
        };
        Ok(Self { from, outlet })
    }

    #[tracing::instrument(name = "send mail", skip_all, fields(otel.kind = "client", mail.event = letter.event))]
    pub(crate) async fn send(&self, letter: &Letter) -> Result<(), SendError> {
        let message = self.message(letter).map_err(|error| SendError::Refused(error.to_string()))?;
        match &self.outlet {
            Outlet::Smtp(smtp) => smtp.send(message).await.map(drop).map_err(|error| {
                let text = std::error::Error::source(&error)
                    .map_or_else(|| error.to_string(), |s| format!("{error}: {s}"));
                if error.is_permanent() { SendError::Refused(text) } else { SendError::Failed(text) }
            }),
            Outlet::Folder(folder) => {
                let about = letter.ticket_key.iter().map(|key| format!("{key}-")).collect::<String>();
                let name = format!("{about}{}-{}.eml", letter.event, letter.id);
                put(folder, &name, &message.formatted())
                    .await
                    .map_err(|error| SendError::Failed(error.to_string()))
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

/// Writes a whole file or none: whoever watches the folder never reads half a mail, and a letter written twice is
/// there once.
async fn put(folder: &std::path::Path, name: &str, content: &[u8]) -> std::io::Result<()> {
    tokio::fs::create_dir_all(folder).await?;
    let part = folder.join(format!(".{name}.part"));
    tokio::fs::write(&part, content).await?;
    tokio::fs::rename(&part, folder.join(name)).await
}

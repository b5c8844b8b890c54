//! What a job is: its kind, how urgent it is, how often it is tried and how long to wait in between.

use std::time::Duration;

use chrono::TimeDelta;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::cause::Cause;
use crate::ids::{AttachmentId, DeliveryId, DigestId, ImportId, NotificationId, RecipientId, ReplanId};

super::text_enum! {
    /// Which queue a job waits in; a higher one is never starved by a lower one.
    #[schema(as = JobPriority)]
    Priority {
        /// Somebody is waiting for a breach mail.
        High = "high",
        /// Everything a person will notice.
        Normal = "normal",
        /// Housekeeping.
        Low = "low",
    }
}

super::text_enum! {
    /// How a job ended.
    #[schema(as = JobEnding)]
    Ending {
        /// It did its work.
        Done = "done",
        /// It found that there is nothing to do, and said why.
        Discarded = "discarded",
        /// It will not be tried again; a person should look.
        Dead = "dead",
    }
}

super::text_enum! {
    /// What an attempt failed for.
    #[schema(as = JobErrorClass)]
    ErrorClass {
        /// The database was away or busy.
        Database = "database",
        /// Files could not be read or written.
        Storage = "storage",
        /// The mail server did not take it.
        Mail = "mail",
        /// The receiver of a webhook did not take it.
        Webhook = "webhook",
        /// It took too long.
        Timeout = "timeout",
        /// It panicked.
        Panic = "panic",
        /// Anything else.
        Other = "other",
    }
}

/// Every kind of job there is.
pub const KINDS: [&str; 13] = [
    Notify::KIND,
    SendMail::KIND,
    Digest::KIND,
    SendWebhook::KIND,
    DeliverWebhook::KIND,
    ScanAttachment::KIND,
    ImportTickets::KIND,
    Replan::KIND,
    Audit::KIND,
    Prune::KIND,
    TidyFiles::KIND,
    TidyRedis::KIND,
    Noop::KIND,
];

/// The kind as a label of metrics, which a job of another release must not add to.
#[must_use]
pub fn label(kind: &str) -> &'static str {
    KINDS.into_iter().find(|known| *known == kind).unwrap_or("other")
}

/// A job is told to be dead after this many crashes or lost leases: it may be what kills its workers.
pub const MAX_CRASHES: i64 = 3;

/// A kind of job: its payload and how it is tried.
pub trait Job: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// The name in the ledger; renaming it orphans the jobs already there.
    const KIND: &'static str;
    /// The queue it waits in unless told otherwise.
    const PRIORITY: Priority = Priority::Normal;
    /// How often it is tried before it is dead.
    const MAX_ATTEMPTS: i64 = 20;
    /// How long one attempt may take.
    const TIMEOUT: Duration = Duration::from_secs(30);
}

/// Decides whom a cause concerns, and enqueues one [`SendMail`] for each of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notify {
    /// What happened.
    pub cause: Cause,
}

impl Job for Notify {
    const KIND: &'static str = "notify";
}

/// Mails one recipient about one cause.
///
/// It may mail twice only when it dies between the mail server's acceptance and its own commit; both copies then
/// carry the same `Message-ID`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SendMail {
    /// The message.
    pub notification: NotificationId,
}

impl Job for SendMail {
    const KIND: &'static str = "send_mail";
    const TIMEOUT: Duration = Duration::from_secs(60);
}

/// Mails one recipient everything that was held for them and may be told by now: a digest, where it is more than one.
///
/// What it mails is chosen once, under its `digest`, so that every try mails the same under the same `Message-ID`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Digest {
    /// Names the mail.
    pub digest: DigestId,
    /// Whom to tell.
    pub recipient: RecipientId,
}

impl Job for Digest {
    const KIND: &'static str = "digest";
    const PRIORITY: Priority = Priority::High;
    const TIMEOUT: Duration = Duration::from_secs(120);
}

/// Posts one notification to one address over HTTP, as Standard Webhooks has it.
///
/// It may post twice, as [`SendMail`] may mail twice; both then carry the same `webhook-id`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SendWebhook {
    /// The message.
    pub notification: NotificationId,
}

impl Job for SendWebhook {
    const KIND: &'static str = "send_webhook";
    const TIMEOUT: Duration = Duration::from_secs(60);
}

/// Makes one try to post an event to a webhook.
///
/// It may post twice, as [`SendWebhook`] may. A further try is a job of its own, so that how often it was tried stands in
/// the delivery alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeliverWebhook {
    /// The delivery.
    pub delivery: DeliveryId,
    /// Which of its jobs this is; the others have nothing to do.
    pub turn: i64,
}

impl Job for DeliverWebhook {
    const KIND: &'static str = "deliver_webhook";
    // Receivers that are slow must not hold up mails.
    const PRIORITY: Priority = Priority::Low;
}

/// Deletes ended jobs, expired idempotency keys and the rows of processes long gone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prune {}

impl Job for Prune {
    const KIND: &'static str = "prune";
    const PRIORITY: Priority = Priority::Low;
    const MAX_ATTEMPTS: i64 = 3;
    const TIMEOUT: Duration = Duration::from_secs(120);
}

/// Has a file looked at for malware before anybody may read it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScanAttachment {
    /// The file.
    pub attachment: AttachmentId,
}

impl Job for ScanAttachment {
    const KIND: &'static str = "scan_attachment";
    const TIMEOUT: Duration = Duration::from_secs(300);
}

/// Deletes files that nothing refers to, and what uploads left behind that broke off.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TidyFiles {}

impl Job for TidyFiles {
    const KIND: &'static str = "tidy_files";
    const PRIORITY: Priority = Priority::Low;
    const MAX_ATTEMPTS: i64 = 3;
    const TIMEOUT: Duration = Duration::from_secs(1_800);
}

/// Deletes what the dispatcher keeps in Redis about messages already delivered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TidyRedis {}

impl Job for TidyRedis {
    const KIND: &'static str = "tidy_redis";
    const PRIORITY: Priority = Priority::Low;
    const MAX_ATTEMPTS: i64 = 3;
}

/// Recomputes clocks from their events, repairs those that differ, and reports them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Audit {}

impl Job for Audit {
    const KIND: &'static str = "audit";
    const PRIORITY: Priority = Priority::Low;
    const MAX_ATTEMPTS: i64 = 3;
    const TIMEOUT: Duration = Duration::from_secs(1_800);
}

/// Brings a change of a calendar or a policy to the clocks that run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replan {
    /// The change.
    pub replan: ReplanId,
}

impl Job for Replan {
    const KIND: &'static str = "replan";
    const TIMEOUT: Duration = Duration::from_secs(1_800);
}

/// Imports the tickets of a file, some seconds' worth at a time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportTickets {
    /// The import.
    pub import: ImportId,
}

impl Job for ImportTickets {
    const KIND: &'static str = "import_tickets";
    const TIMEOUT: Duration = Duration::from_secs(120);
}

/// Does nothing, durably: for benchmarks and for checking that jobs flow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Noop {}

impl Job for Noop {
    const KIND: &'static str = "noop";
}

/// Returns how long to wait before the next try: exponential from one second, at most fifteen minutes, with full
/// jitter so that jobs that failed together do not come back together.
///
/// `attempt` counts from 1; `random` is uniform in `[0, 1)`.
/// Source: AWS Architecture Blog, "Exponential Backoff And Jitter" (2015).
#[must_use]
pub fn backoff(attempt: i64, random: f64) -> TimeDelta {
    let ceiling_ms = (1_000_i64 << attempt.clamp(1, 20).saturating_sub(1)).min(15 * 60 * 1_000);
    #[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "at most 900,000")]
    TimeDelta::milliseconds((ceiling_ms as f64 * random) as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backoff_doubles_up_to_its_cap() {
        let seconds: Vec<i64> =
            (1..13).map(|attempt| backoff(attempt, 0.999_999_9).num_seconds() + 1).collect();
        assert_eq!(seconds, [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900]);
        assert_eq!(backoff(7, 0.0), TimeDelta::zero());
    }
}

//! Mails one recipient what was held for them, once it may be told.

use shared::domain::job::{Digest, Ending, ErrorClass};
use shared::ids::DigestId;
use shared::metrics::{MAILS, NOTIFICATIONS_SUPPRESSED};
use shared::store::held::{self, Released};
use shared::store::notifications::{Notification, State};
use shared::store::recipients::Load;
use shared::store::{jobs, recipients, tickets};

use super::applies::still_applies;
use super::reader::Reader;
use super::send_mail::{RECORD_AGAIN, outcome};
use crate::context::{Context, JobError, Outcome};
use crate::mail::{Letter, SendError, Story};
use crate::registry::Run;

/// What a digest is about, as it stands now.
#[derive(Debug)]
pub(super) struct Gathered {
    recipient: Load,
    /// What no longer applies, and why.
    superseded: Vec<Released>,
    /// What the mail tells.
    told: Vec<Notification>,
    /// None when nothing applies any more.
    pub(super) letter: Option<Letter>,
}

impl Run for Digest {
    async fn run(&self, cx: &Context) -> Result<Outcome, JobError> {
        let Some(gathered) = gather(self, cx).await? else {
            return Ok(Outcome::Skip("nothing is held any more".into()));
        };
        let Some(letter) = &gathered.letter else {
            return settle(self, cx, &gathered, State::Suppressed, None).await;
        };
        cx.still_mine().await?;
        let sent = cx.worker.mailer.send(letter).await;
        MAILS.of([letter.event, outcome(&sent)]).increment(1);
        match sent {
            Ok(()) => {
                tracing::info!(digest.id = %self.digest, notifications = gathered.told.len(), "mailed a digest");
                record_sent(self, cx, &gathered, letter).await
            }
            Err(SendError::Failed(why)) if !cx.is_last_attempt() => {
                Err(JobError::retry(ErrorClass::Mail, why))
            }
            Err(SendError::Refused(why) | SendError::Failed(why)) => {
                tracing::error!(digest.id = %self.digest, why, "gave up mailing; see `dogwatch jobs list --dead`");
                cx.count_failure(ErrorClass::Mail);
                settle(self, cx, &gathered, State::Failed, Some(why)).await
            }
        }
    }
}

/// Chooses what the digest is about, unless an earlier try did, and writes its mail; `None` when there is nothing.
pub(super) async fn gather(digest: &Digest, cx: &Context) -> Result<Option<Gathered>, JobError> {
    let mut tx = cx.db().begin().await?;
    let Some(recipient) = recipients::lock(&mut tx, digest.recipient).await? else {
        tx.rollback().await?;
        return Ok(None);
    };
    held::take(&mut tx, digest.digest, &recipient.address, cx.now()).await?;
    let held = held::of(&mut tx, digest.digest).await?;
    let _ = tx.commit().await?;
    if held.is_empty() {
        return Ok(None);
    }
    let reader = Reader::of(cx, &recipient.address).await?;
    let (mut stories, mut superseded): (Vec<Story>, _) = (Vec::new(), Vec::new());
    for notification in held {
        let applies = match tickets::get(cx.db(), notification.ticket_id).await? {
            Some(ticket) => {
                let applies = still_applies(cx, &notification.cause, &ticket, &recipient.address).await?;
                applies.map(|subject| (ticket, subject))
            }
            None => Err("the ticket is gone"),
        };
        match applies {
            Ok((ticket, subject)) => stories.push(reader.story(cx, &notification, ticket, subject).await?),
            Err(why) => {
                let (id, reason) = (notification.id, Some(why.to_owned()));
                superseded.push(Released { id, state: State::Suppressed, reason });
            }
        }
    }
    let public_url = &cx.worker.process.config.public_url;
    let letter = match stories.as_slice() {
        [] => None,
        [story] => Some(Letter::write(story, reader.zone, public_url)),
        stories => Some(Letter::digest(digest.digest, stories, reader.zone, public_url)),
    };
    let told = stories.into_iter().map(|story| story.notification).collect();
    Ok(Some(Gathered { recipient, superseded, told, letter }))
}

/// Puts on record that the mail went out. While the database is away only this is tried again, as long as the
/// attempt may take, since another attempt would mail twice.
async fn record_sent(
    digest: &Digest,
    cx: &Context,
    gathered: &Gathered,
    letter: &Letter,
) -> Result<Outcome, JobError> {
    let reason =
        (gathered.told.len() > 1).then(|| format!("in digest {}", cx.worker.mailer.message_id(letter)));
    loop {
        match settle(digest, cx, gathered, State::Sent, reason.clone()).await {
            Err(JobError::Retry(error)) => {
                tracing::warn!(digest.id = %digest.digest, %error, "mailed, but could not put it on record yet");
                tokio::time::sleep(RECORD_AGAIN).await;
            }
            settled => return settled,
        }
    }
}

/// Puts all of the digest and the job on record as one. What was held for the recipient meanwhile, by somebody to
/// whom this job seemed to be still ahead, gets another job.
pub(super) async fn settle(
    digest: &Digest,
    cx: &Context,
    gathered: &Gathered,
    state: State,
    reason: Option<String>,
) -> Result<Outcome, JobError> {
    let told = gathered.told.iter().map(|n| Released { id: n.id, state, reason: reason.clone() });
    let released: Vec<Released> = gathered.superseded.iter().cloned().chain(told).collect();
    let now = cx.now();
    let mut tx = cx.db().begin().await?;
    recipients::lock(&mut tx, digest.recipient).await?;
    held::settle(&mut tx, digest.digest, &released, now).await?;
    if held::is_due(&mut tx, &gathered.recipient.address, now).await? {
        // Without a unique key: this job, which may have the same one, has not ended yet.
        let another = Digest { digest: DigestId::new(), recipient: digest.recipient };
        jobs::enqueue(&mut tx, vec![jobs::NewJob::of(&another).traced(None)], now).await?;
    }
    let (ending, note) = match state {
        State::Failed => (Ending::Dead, reason),
        State::Suppressed => (Ending::Discarded, Some("none of it applies any more".into())),
        State::Pending | State::Held | State::Sent => (Ending::Done, None),
    };
    let outcome = cx.commit(tx, ending, note).await?;
    let superseded = gathered.superseded.len() as u64;
    NOTIFICATIONS_SUPPRESSED.of(["superseded"]).increment(superseded);
    Ok(outcome)
}

//! Has files looked at for malware, and deletes those that nobody needs any more.

use chrono::TimeDelta;
use shared::blobs;
use shared::domain::attachment::State;
use shared::domain::job::{Ending, ErrorClass, ScanAttachment, TidyFiles};
use shared::metrics::ATTACHMENTS_SCANNED;
use shared::store::attachments::{self, Attachment};
use shared::store::desk;

use crate::context::{Context, JobError, Outcome};
use crate::registry::Run;
use crate::scan::{ScanError, Verdict, scan};

/// How long to wait for a scanner that is away.
const AGAIN: TimeDelta = TimeDelta::seconds(30);

/// How long a file is kept that nothing refers to: longer than any upload of the same content may take.
const KEEP: TimeDelta = TimeDelta::days(1);

/// At most as many files to a look for those that nothing refers to.
const BATCH: i64 = 500;

impl From<blobs::Error> for JobError {
    fn from(error: blobs::Error) -> Self {
        Self::retry(ErrorClass::Storage, error.to_string())
    }
}

impl Run for ScanAttachment {
    async fn run(&self, cx: &Context) -> Result<Outcome, JobError> {
        let waiting = attachments::get(cx.db(), self.attachment).await?;
        let Some(attachment) = waiting.filter(|attachment| attachment.state == State::Pending) else {
            return Ok(Outcome::Skip("nobody waits for it any more".into()));
        };
        let addr = cx.worker.process.config.clamav_addr.as_deref();
        let addr = addr.ok_or_else(|| JobError::retry(ErrorClass::Other, "CLAMAV_ADDR is not set here"))?;
        let content = cx.worker.process.blobs.get(&blobs::key_of(&attachment.sha256), None).await?;
        let content = content.ok_or_else(|| JobError::dead("the file is gone"))?;
        let verdict = match scan(addr, content).await {
            Ok(verdict) => verdict,
            Err(ScanError::Away(error)) => {
                tracing::warn!(%error, "the scanner is away; attachments wait for it");
                count("away");
                return Err(JobError::Snooze(AGAIN));
            }
            Err(ScanError::Refused(why)) => {
                count("refused");
                return Err(JobError::dead(format!(
                    "the scanner refuses the file ({why}): raise its StreamMaxLength, then retry the job"
                )));
            }
            Err(error @ ScanError::File(_)) => {
                return Err(JobError::retry(ErrorClass::Storage, error.to_string()));
            }
        };
        record(cx, &attachment, &verdict).await
    }
}

/// Puts the verdict and the job on record as one.
async fn record(cx: &Context, attachment: &Attachment, verdict: &Verdict) -> Result<Outcome, JobError> {
    let finding = match verdict {
        Verdict::Clean => None,
        Verdict::Found(name) => Some(name.as_str()),
    };
    let mut tx = cx.db().begin().await?;
    let judged = cx.worker.process.desk.judge(&mut tx, attachment.id, finding).await;
    let judged = judged.map_err(|error| match error {
        desk::Error::Store(error) => JobError::from(error),
        other => JobError::dead(other.to_string()),
    })?;
    let Some((ticket, _)) = judged else {
        return cx.commit(tx, Ending::Discarded, Some("nobody waits for it any more".into())).await;
    };
    let outcome = cx.commit(tx, Ending::Done, finding.map(|name| format!("quarantined as {name}"))).await?;
    match finding {
        None => count("clean"),
        Some(signature) => {
            count("quarantined");
            tracing::error!(
                attachment.id = %attachment.id,
                ticket.key = ticket.key(),
                signature,
                "malware was attached to a ticket and is quarantined"
            );
        }
    }
    Ok(outcome)
}

fn count(outcome: &'static str) {
    ATTACHMENTS_SCANNED.of([outcome]).increment(1);
}

impl Run for TidyFiles {
    async fn run(&self, cx: &Context) -> Result<Outcome, JobError> {
        let (files, before) = (&cx.worker.process.blobs, cx.now() - KEEP);
        let mut deleted = 0_u64;
        loop {
            let unused = attachments::unused(cx.db(), before, BATCH).await?;
            let mut forgotten = 0;
            for sha256 in &unused {
                let mut tx = cx.db().begin().await?;
                if attachments::forget(&mut tx, sha256, before).await? {
                    // Under the row's lock. Should the commit fail, the row is found again, and its file gone already.
                    files.delete(&blobs::key_of(sha256)).await?;
                    forgotten += 1;
                }
                let _ = tx.commit().await?;
            }
            deleted += forgotten;
            if forgotten == 0 {
                break;
            }
        }
        let swept = files.sweep(before).await?;
        tracing::info!(deleted, swept, "tidied files");
        Ok(Outcome::Done)
    }
}

//! Whether to tell somebody now, or to wait for the end of a storm or of their quiet hours.

use std::collections::HashMap;

use shared::domain::cause::Cause;
use shared::domain::job::{Digest, SendMail, SendWebhook};
use shared::domain::quiet::QuietHours;
use shared::domain::ticket::Priority;
use shared::ids::{DigestId, RecipientId};
use shared::metrics::NOTIFICATIONS_HELD;
use shared::store::held::{self, Hold};
use shared::store::jobs::NewJob;
use shared::store::notifications::{Channel, Decided};
use shared::store::tickets::Ticket;
use shared::store::{Tx, preferences, recipients};
use shared::time::Timestamp;

use crate::context::{Context, JobError};

/// Holds those notifications that must wait, and prepares the jobs that tell each, now or then.
pub(super) async fn spread(
    cx: &Context,
    tx: &mut Tx,
    cause: &Cause,
    ticket: &Ticket,
    decided: &[Decided],
    now: Timestamp,
) -> Result<Vec<NewJob>, JobError> {
    let mails = decided.iter().filter(|decided| decided.channel == Channel::Email);
    let addresses: Vec<String> = mails.map(|decided| decided.recipient.clone()).collect();
    let quiet = quiet(tx, ticket, &addresses, now).await?;
    let storm = cx.worker.process.config.storm;
    // What waits for the morning anyway is no part of a storm now.
    let told = addresses.into_iter().map(|address| {
        let counts = i64::from(!quiet.contains_key(&address));
        (address, counts)
    });
    let loads = recipients::count(tx, told.collect(), storm.window, now).await?;
    let (mut holds, mut jobs) = (Vec::new(), Vec::new());
    for Decided { id, recipient, channel } in decided {
        let notification = *id;
        let load = loads.iter().find(|load| *channel == Channel::Email && load.address == *recipient);
        let Some(load) = load else {
            jobs.push(NewJob::of(&SendWebhook { notification }).priority(cause.priority()));
            continue;
        };
        let (label, release_at, reason) = match quiet.get(recipient) {
            Some(end) => ("quiet_hours", *end, format!("quiet hours until {}", end.to_rfc3339())),
            None if load.counted > storm.limit => {
                let (limit, seconds) = (storm.limit, storm.window.num_seconds());
                let reason = format!("storm: more than {limit} notifications within {seconds} s");
                ("storm", load.window_ends_at, reason)
            }
            None => {
                jobs.push(NewJob::of(&SendMail { notification }).priority(cause.priority()));
                continue;
            }
        };
        NOTIFICATIONS_HELD.of([label]).increment(1);
        holds.push(Hold { id: notification, release_at, reason });
        jobs.push(digest(load.id, release_at));
    }
    held::hold(tx, &holds).await?;
    Ok(jobs)
}

/// The job that tells a recipient everything held until an instant: one for all who hold something until then.
fn digest(recipient: RecipientId, release_at: Timestamp) -> NewJob {
    let job = NewJob::of(&Digest { digest: DigestId::new(), recipient }).at(release_at);
    job.unique(format!("digest:{recipient}:{}", release_at.timestamp_micros())).traced(None)
}

/// When the quiet hours end of those who have them now; nobody has any where a ticket is critical.
async fn quiet(
    tx: &mut Tx,
    ticket: &Ticket,
    addresses: &[String],
    now: Timestamp,
) -> Result<HashMap<String, Timestamp>, JobError> {
    if ticket.priority == Priority::Critical {
        return Ok(HashMap::new());
    }
    let preferences = preferences::of_addresses(tx, addresses).await?;
    let end = |p: preferences::Preferences| {
        // Checked when it was stored; one that a later release cannot read must not keep a mail back.
        let hours = QuietHours::read(&p.quiet_hours?.0).ok()?;
        Some((p.email, hours.end(now)?))
    };
    Ok(preferences.into_iter().filter_map(end).collect())
}

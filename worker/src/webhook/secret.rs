//! What webhooks are signed with.

use serde::Deserialize;
use shared::config::Secret;
use shared::domain::escalation::Target;
use shared::ids::VersionId;
use shared::store::notifications::Notification;
use shared::store::{self, Db, versions};

/// Where in an escalation policy a webhook is named.
#[derive(Deserialize)]
struct Origin {
    policy: VersionId,
    step: usize,
    target: usize,
}

/// Finds the secret of the webhook that a notification goes to, by the notification's `origin`; `None` when it has
/// none.
pub(crate) async fn of(db: &Db, notification: &Notification) -> store::Result<Option<Secret>> {
    let origin = notification.origin.as_ref().map(|origin| Origin::deserialize(&origin.0));
    let Some(Ok(origin)) = origin else { return Ok(None) };
    let policy = versions::escalation_policies(db, [origin.policy]).await?.get(origin.policy)?;
    let target = policy.steps.get(origin.step).and_then(|step| step.targets.get(origin.target));
    Ok(match target {
        Some(Target::Webhook { secret, .. }) => secret.clone().map(Secret::new),
        _ => None,
    })
}

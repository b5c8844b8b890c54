//! What webhooks are signed with.

use shared::config::Secret;
use shared::store::notifications::Notification;
use shared::store::{self, Db};

/// Finds the secret of the webhook that a notification goes to, by the notification's `origin`; `None` when it has
/// none, or none any more.
///
/// Nothing that can be configured names a webhook yet, so there is none.
pub(crate) async fn of(_: &Db, _: &Notification) -> store::Result<Option<Secret>> {
    Ok(None)
}

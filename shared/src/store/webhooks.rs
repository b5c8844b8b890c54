//! Who is told of events over HTTP. What is told is in [`deliveries`](super::deliveries).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sqlx::FromRow;
use sqlx::types::Json;

use super::db::Tx;
use super::events::Told;
use super::query::{Target, query};
use super::{Error as Failure, events};
use crate::config::Secret;
use crate::domain::webhook::{EVERY, GIVEN_UP_AFTER, ROTATION};
use crate::ids::{DefinitionId, UserId, WebhookId};
use crate::time::Timestamp;

/// Somebody who is told of events over HTTP.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct Webhook {
    /// Identifier.
    pub id: WebhookId,
    /// Name; unique.
    pub name: String,
    /// Where to.
    pub url: String,
    /// The types of events, or `*`.
    pub types: Json<Vec<String>>,
    /// Only events of tickets that are with this team.
    pub team_id: Option<DefinitionId>,
    /// Whether it is told what only staff may know.
    pub internal: bool,
    /// Whether it is told anything.
    pub enabled: bool,
    /// Why it was disabled, where nobody did it.
    pub disabled_reason: Option<String>,
    /// What deliveries are signed with: `whsec_` and base64.
    pub secret: Secret,
    /// What they were signed with before.
    pub old_secret: Option<Secret>,
    /// Until when they are still signed with that, too.
    pub old_secret_until: Option<Timestamp>,
    /// It is told of events after this one.
    pub since_seq: i64,
    /// Since when every delivery has failed.
    pub failing_since: Option<Timestamp>,
    /// 1 at first, one more with every change.
    pub version: i64,
    /// Who made it.
    pub created_by: Option<UserId>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// When it was deleted.
    pub deleted_at: Option<Timestamp>,
}

impl Webhook {
    /// Tells whether it is to be told of an event.
    #[must_use]
    pub fn wants(&self, told: &Told) -> bool {
        let kind = told.event.kind.as_str();
        told.stands()
            && told.event.seq > self.since_seq
            && (self.internal || !told.event.internal)
            && self.types.iter().any(|wanted| wanted == EVERY || wanted == kind)
            && self.team_id.is_none_or(|team| told.team_id == Some(team))
    }

    /// What deliveries are signed with at an instant, the present secret first.
    #[must_use]
    pub fn secrets(&self, now: Timestamp) -> Vec<Secret> {
        let old = self.old_secret.clone().filter(|_| self.old_secret_until.is_some_and(|until| now < until));
        std::iter::once(self.secret.clone()).chain(old).collect()
    }
}

/// What somebody says about a webhook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    /// Name.
    pub name: String,
    /// Where to.
    pub url: String,
    /// The types of events, or `*`.
    pub types: Vec<String>,
    /// Only events of tickets that are with this team.
    pub team: Option<DefinitionId>,
    /// Whether it is told what only staff may know.
    pub internal: bool,
    /// Whether it is told anything.
    pub enabled: bool,
}

/// Why a webhook was not changed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is none with this identifier, or it was deleted.
    #[error("there is no such webhook")]
    NotFound,
    /// The caller has seen an older version.
    #[error("the webhook is at version {0} by now: read it again and repeat the change")]
    Stale(i64),
    /// Another one has the name.
    #[error("there is already a webhook with the name {0}: choose another")]
    NameTaken(String),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] Failure),
}

/// The result of changing a webhook.
pub type Result<T> = std::result::Result<T, Error>;

fn new_secret() -> Secret {
    Secret::new(format!("whsec_{}", STANDARD.encode(rand::random::<[u8; 32]>())))
}

const INSERT: &str = "
    INSERT INTO webhooks (id, name, url, types, team_id, internal, enabled, secret, since_seq, version, created_by,
        created_at, updated_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 1, $10, $11, $11)";

/// Adds a webhook with a new secret; it is told of what happens from now on.
pub async fn create(tx: &mut Tx, draft: Draft, by: Option<UserId>, now: Timestamp) -> Result<Webhook> {
    free_name(tx, &draft.name, None).await?;
    let (id, secret) = (WebhookId::new(), new_secret());
    let insert = query(INSERT).bind(id).bind(draft.name).bind(draft.url).bind(serde_json::json!(draft.types));
    let insert = insert.bind(draft.team).bind(draft.internal).bind(draft.enabled).bind(secret.expose());
    let since = events::head(&mut *tx).await?;
    insert.bind(since).bind(by).bind(now).execute(tx).await?;
    get(tx, id).await?.ok_or(Error::NotFound)
}

/// Refuses a name that a webhook other than `own` has.
async fn free_name(tx: &mut Tx, name: &str, own: Option<WebhookId>) -> Result<()> {
    let taken = query("SELECT id FROM webhooks WHERE name = $1 AND deleted_at IS NULL").bind(name);
    match taken.optional::<(WebhookId,)>(tx).await? {
        Some((other,)) if Some(other) != own => Err(Error::NameTaken(name.into())),
        _ => Ok(()),
    }
}

/// Finds a webhook that was not deleted.
pub async fn get(on: impl Into<Target<'_>>, id: WebhookId) -> super::Result<Option<Webhook>> {
    query("SELECT * FROM webhooks WHERE id = $1 AND deleted_at IS NULL").bind(id).optional(on).await
}

/// Finds a webhook that nobody else can change until the transaction ends, at the version the caller has seen.
pub async fn lock(tx: &mut Tx, id: WebhookId, expected: Option<i64>) -> Result<Webhook> {
    let select = query("SELECT * FROM webhooks WHERE id = $1 AND deleted_at IS NULL {for_update}");
    let found: Webhook = select.bind(id).optional(tx).await?.ok_or(Error::NotFound)?;
    match expected {
        Some(expected) if expected != found.version => Err(Error::Stale(found.version)),
        _ => Ok(found),
    }
}

/// Lists webhooks, newest first, from right before one of them on if it is given.
pub async fn list(
    on: impl Into<Target<'_>>,
    before: Option<WebhookId>,
    limit: i64,
) -> super::Result<Vec<Webhook>> {
    query("SELECT * FROM webhooks WHERE deleted_at IS NULL").page(true, before, limit).all(on).await
}

/// Counts the webhooks.
pub async fn count(on: impl Into<Target<'_>>) -> super::Result<i64> {
    let (count,): (i64,) = query("SELECT COUNT(*) FROM webhooks WHERE deleted_at IS NULL").one(on).await?;
    Ok(count)
}

/// Lists those that are told of events.
pub async fn enabled(on: impl Into<Target<'_>>) -> super::Result<Vec<Webhook>> {
    query("SELECT * FROM webhooks WHERE enabled AND deleted_at IS NULL ORDER BY id").all(on).await
}

const UPDATE: &str = "
    UPDATE webhooks SET name = $2, url = $3, types = $4, team_id = $5, internal = $6, enabled = $7,
        disabled_reason = $8, since_seq = $9, failing_since = $10, version = version + 1, updated_at = $11
    WHERE id = $1";

/// Changes a locked webhook. One that is enabled again is told of what happens from then on.
pub async fn update(tx: &mut Tx, found: &Webhook, draft: Draft, now: Timestamp) -> Result<Webhook> {
    free_name(tx, &draft.name, Some(found.id)).await?;
    let again = draft.enabled && !found.enabled;
    let since = if again { events::head(&mut *tx).await? } else { found.since_seq };
    let reason = found.disabled_reason.clone().filter(|_| !draft.enabled);
    let failing = found.failing_since.filter(|_| !again);
    let update = query(UPDATE).bind(found.id).bind(draft.name).bind(draft.url);
    let update = update.bind(serde_json::json!(draft.types)).bind(draft.team).bind(draft.internal);
    update.bind(draft.enabled).bind(reason).bind(since).bind(failing).bind(now).execute(tx).await?;
    get(tx, found.id).await?.ok_or(Error::NotFound)
}

const ROTATE: &str = "
    UPDATE webhooks SET old_secret = secret, old_secret_until = $3, secret = $2, version = version + 1, updated_at = $4
    WHERE id = $1";

/// Gives a locked webhook a new secret; for a day deliveries are signed with both.
pub async fn rotate(tx: &mut Tx, found: &Webhook, now: Timestamp) -> Result<Webhook> {
    let rotate = query(ROTATE).bind(found.id).bind(new_secret().expose()).bind(now + ROTATION).bind(now);
    rotate.execute(tx).await?;
    get(tx, found.id).await?.ok_or(Error::NotFound)
}

const DELETE: &str = "
    UPDATE webhooks SET enabled = FALSE, deleted_at = $2, updated_at = $2, secret = '', old_secret = NULL,
        old_secret_until = NULL
    WHERE id = $1";

/// Deletes a webhook and its secrets; its deliveries stay on record for a while.
pub async fn delete(tx: &mut Tx, id: WebhookId, now: Timestamp) -> super::Result<()> {
    query(DELETE).bind(id).bind(now).execute(tx).await?;
    Ok(())
}

/// Puts on record that the receiver took something.
pub async fn recovered(tx: &mut Tx, id: WebhookId) -> super::Result<()> {
    let update =
        query("UPDATE webhooks SET failing_since = NULL WHERE id = $1 AND failing_since IS NOT NULL");
    update.bind(id).execute(tx).await?;
    Ok(())
}

const FAILING: &str = "UPDATE webhooks SET failing_since = $2 WHERE id = $1 AND failing_since IS NULL";
const OVER: &str = "SELECT 1 FROM webhooks WHERE id = $1 AND failing_since <= $2";

/// Puts on record that a delivery failed; disables a webhook to which every one has failed for five days. Tells
/// whether it did.
pub async fn failed(tx: &mut Tx, id: WebhookId, now: Timestamp) -> super::Result<bool> {
    query(FAILING).bind(id).bind(now).execute(tx).await?;
    let over: Option<(i32,)> = query(OVER).bind(id).bind(now - GIVEN_UP_AFTER).optional(&mut *tx).await?;
    match over {
        Some(_) => disable(tx, id, "Every delivery has failed for five days.", now).await,
        None => Ok(false),
    }
}

const DISABLE: &str = "
    UPDATE webhooks SET enabled = FALSE, disabled_reason = $2, version = version + 1, updated_at = $3
    WHERE id = $1 AND enabled";

/// Disables a webhook for a reason; `false` when it was not enabled.
pub async fn disable(tx: &mut Tx, id: WebhookId, reason: &str, now: Timestamp) -> super::Result<bool> {
    Ok(query(DISABLE).bind(id).bind(reason).bind(now).execute(tx).await? == 1)
}

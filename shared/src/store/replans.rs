//! Changes of definitions on their way to the clocks that run.

use sqlx::FromRow;

use super::Result;
use super::db::Tx;
use super::query::{Target, query};
use crate::domain::sla::Mode;
use crate::ids::{DefinitionId, ReplanId, TicketId, UserId};
use crate::time::Timestamp;

/// One such change and how far it has come.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct Replan {
    /// Identifier.
    pub id: ReplanId,
    /// The definition, in the version in force when a clock is looked at.
    pub definition_id: DefinitionId,
    /// What happens to consumed time.
    pub mode: Mode,
    /// The last ticket that was looked at.
    pub cursor_id: Option<TicketId>,
    /// Clocks looked at that run under the definition.
    pub examined: i64,
    /// Of these, those whose due time, target or calendar changed.
    pub moved: i64,
    /// Of these, those that the change breached.
    pub breached: i64,
    /// Who asked for it.
    pub actor_id: Option<UserId>,
    /// When.
    pub created_at: Timestamp,
    /// When all clocks had been looked at.
    pub finished_at: Option<Timestamp>,
}

const INSERT: &str = "
    INSERT INTO replans (id, definition_id, mode, examined, moved, breached, actor_id, created_at)
    VALUES ($1, $2, $3, 0, 0, 0, $4, $5)";

/// Puts a change on its way.
pub async fn create(
    tx: &mut Tx,
    definition: DefinitionId,
    mode: Mode,
    actor: Option<UserId>,
    now: Timestamp,
) -> Result<ReplanId> {
    let id = ReplanId::new();
    query(INSERT).bind(id).bind(definition).bind(mode).bind(actor).bind(now).execute(tx).await?;
    Ok(id)
}

/// Finds a change.
pub async fn get(on: impl Into<Target<'_>>, id: ReplanId) -> Result<Option<Replan>> {
    query("SELECT * FROM replans WHERE id = $1").bind(id).optional(on).await
}

/// Finds a change and keeps others from carrying it on until the transaction ends.
pub async fn lock(tx: &mut Tx, id: ReplanId) -> Result<Option<Replan>> {
    query("SELECT * FROM replans WHERE id = $1 {for_update}").bind(id).optional(tx).await
}

const SAVE: &str = "
    UPDATE replans SET cursor_id = $2, examined = $3, moved = $4, breached = $5, finished_at = $6 WHERE id = $1";

/// Stores how far a change has come.
pub async fn save(tx: &mut Tx, replan: &Replan) -> Result<()> {
    let update = query(SAVE).bind(replan.id).bind(replan.cursor_id).bind(replan.examined);
    let update = update.bind(replan.moved).bind(replan.breached).bind(replan.finished_at);
    update.execute(tx).await?;
    Ok(())
}

/// Lists up to `limit` tickets with clocks that have not stopped, behind `after`.
pub async fn tickets_behind(
    on: impl Into<Target<'_>>,
    after: Option<TicketId>,
    limit: i64,
) -> Result<Vec<TicketId>> {
    let mut select = query("SELECT DISTINCT ticket_id FROM sla_clocks WHERE stopped_at IS NULL");
    if let Some(after) = after {
        select = select.push(" AND ticket_id > ").push_bind(after);
    }
    let rows: Vec<(TicketId,)> = select.push(" ORDER BY ticket_id LIMIT ").push_bind(limit).all(on).await?;
    Ok(rows.into_iter().map(|(id,)| id).collect())
}

//! What a change of a calendar or a policy would do to the clocks that run, and having it done.

use axum::response::Response;
use serde::Serialize;
use serde_json::{Value, json};
use shared::domain::access::Area;
use shared::domain::definition::Kind;
use shared::domain::job::Replan as ReplanJob;
use shared::domain::sla::{Metric, Mode};
use shared::ids::{ClockId, DefinitionId, ReplanId, VersionId};
use shared::store::desk::Move;
use shared::store::jobs::{self, NewJob};
use shared::store::replans::{self, Replan};
use shared::store::rulebook;
// The derive of schemas knows times by this name.
use shared::time::Timestamp as DateTime;
use utoipa::ToSchema;

use super::definitions::{body, find, find_locked};
use crate::call::{Body, Call, Name};
use crate::defined::{Defined, judge, stored};
use crate::envelope::Envelope;
use crate::error::ApiError;
use crate::form::Form;
use crate::openapi::answers::Preview;
use crate::openapi::bodies::Apply;
use crate::openapi::definitions::DefinitionEdit;

/// At most as many tickets are looked at for a preview; an answer should not take longer than a person waits.
const TICKETS: usize = 5_000;

/// At most as many clocks are listed; all that were looked at are counted.
const LISTED: usize = 100;

#[derive(Debug, Serialize)]
struct MoveView {
    clock_id: ClockId,
    ticket: String,
    metric: Metric,
    due_before: Option<DateTime>,
    due_after: Option<DateTime>,
    breaches: bool,
    cancels: bool,
}

impl From<&Move> for MoveView {
    fn from(moved: &Move) -> Self {
        Self {
            clock_id: moved.clock,
            ticket: format!("INC-{}", moved.ticket),
            metric: moved.metric,
            due_before: moved.due_before,
            due_after: moved.due_after,
            breaches: moved.breaches,
            cancels: moved.cancels,
        }
    }
}

/// Says which running clocks would move or breach if a definition said what the body says, as in a change of it.
/// Nothing is stored.
#[utoipa::path(
    post, path = "/preview", tag = "definitions",
    request_body = DefinitionEdit,
    responses((status = 200, description = "What would happen.", body = Preview)),
)]
pub(super) async fn preview_change<D: Defined>(
    call: Call,
    Name(name): Name,
    Body(mut form): Body,
) -> Result<Envelope<Value>, ApiError> {
    call.sees(Area::Rules)?;
    let mut tx = call.begin().await?;
    let mut found = find(&call.app.process.db, D::KIND, &name).await?;
    let given = read_mode::<D>(&mut form);
    let definition = D::read(&mut form, Some(stored(found.body.0.clone())?));
    judge(&mut tx, form, &definition).await?;
    found.body.0 = body(&definition)?;
    // What is not stored is no stored version, not even when it says the same.
    found.version_id = VersionId::new();
    let mode = mode(given, &found.body.0);
    let desk = &call.app.process.desk;
    let mut book = (*desk.rulebook(&mut tx).await?).clone();
    rulebook::enter(&mut book, &found)?;
    let preview = desk.preview(&mut tx, &book, found.id, mode, TICKETS).await?;
    tx.rollback().await?;
    let count = |of: fn(&&Move) -> bool| preview.moves.iter().filter(of).count();
    let clocks: Vec<MoveView> = preview.moves.iter().take(LISTED).map(MoveView::from).collect();
    Ok(Envelope::ok(json!({
        "mode": mode,
        "examined": preview.examined,
        "would_move": preview.moves.len(),
        "would_breach": count(|moved| moved.breaches),
        "would_cancel": count(|moved| moved.cancels),
        "complete": preview.complete,
        "clocks": clocks,
    })))
}

/// Has a definition, as it is now, brought to the clocks that run: a job does it in batches.
#[utoipa::path(
    post, path = "/apply", tag = "definitions",
    request_body = Option<Apply>,
    responses((status = 202, description = "The job that does it.", body = ReplanView)),
)]
pub(super) async fn apply_change<D: Defined>(
    call: Call,
    Name(name): Name,
    Body(mut form): Body,
) -> Result<Response, ApiError> {
    call.changes(Area::Rules)?;
    let given: Option<Mode> = form.word("mode").flatten();
    form.finish()?;
    let mut tx = call.begin().await?;
    let found = find_locked(&mut tx, D::KIND, &name).await?;
    let (mode, now) = (mode(given, &found.body.0), call.by().now);
    let id = replans::create(&mut tx, found.id, mode, Some(call.user.id), now).await?;
    let job = NewJob::of(&ReplanJob { replan: id }).unique(format!("replan:{id}"));
    jobs::enqueue(&mut tx, vec![job], now).await?;
    let replan = replans::get(&mut tx, id).await?.ok_or(ApiError::NotFound("re-plan"))?;
    call.commit(tx, Envelope::accepted(ReplanView::from(replan))).await
}

/// How far a change has come.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Replan)]
pub(crate) struct ReplanView {
    id: ReplanId,
    definition_id: DefinitionId,
    mode: Mode,
    state: &'static str,
    examined: i64,
    moved: i64,
    breached: i64,
    created_at: DateTime,
    finished_at: Option<DateTime>,
}

impl From<Replan> for ReplanView {
    fn from(replan: Replan) -> Self {
        let state = match replan {
            Replan { finished_at: Some(_), .. } => "done",
            Replan { cursor_id: Some(_), .. } => "running",
            _ => "waiting",
        };
        let Replan { id, definition_id, mode, examined, moved, breached, created_at, finished_at, .. } =
            replan;
        Self { id, definition_id, mode, state, examined, moved, breached, created_at, finished_at }
    }
}

/// Shows how far a change has come.
#[utoipa::path(
    get, path = "/replans/{id}", tag = "sla-policies",
    responses((status = 200, description = "How far it has come.", body = ReplanView)),
)]
pub(super) async fn show_replan(call: Call, Name(name): Name) -> Result<Envelope<ReplanView>, ApiError> {
    call.sees(Area::Rules)?;
    let id: ReplanId = name.parse().map_err(|_| ApiError::NotFound("re-plan"))?;
    let found = replans::get(&call.app.process.db, id).await?;
    Ok(Envelope::ok(found.ok_or(ApiError::NotFound("re-plan"))?.into()))
}

/// What happens to consumed time: a policy has a field that says so, for a calendar the caller may.
fn read_mode<D: Defined>(form: &mut Form) -> Option<Mode> {
    if D::KIND == Kind::Calendar { form.word("mode").flatten() } else { None }
}

/// The mode that was asked for, else that of the definition, else the usual one.
fn mode(given: Option<Mode>, body: &Value) -> Mode {
    let own = || body.get("mode").and_then(Value::as_str).and_then(|mode| mode.parse().ok());
    given.or_else(own).unwrap_or(Mode::Retroactive)
}

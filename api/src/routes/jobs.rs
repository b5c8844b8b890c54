//! The jobs ledger, for admins.

use axum::response::Response;
use serde::Serialize;
use serde_json::Value;
use shared::domain::access::Area;
use shared::domain::job::Priority;
use shared::ids::{JobId, WorkerId};
use shared::store::jobs;
use shared::store::ledger::{self, Entry, Filter, State};
use shared::telemetry;
// The derive of schemas knows times by this name.
use shared::time::Timestamp as DateTime;
use utoipa::ToSchema;

use crate::call::{Body, Call, Listing, Name};
use crate::cursor;
use crate::envelope::Envelope;
use crate::error::ApiError;
use crate::form::Form;
use crate::openapi::bodies::Nothing;
use crate::openapi::queries;

/// What is shown in place of a secret.
const MASK: &str = "********";

/// A job, whether it has ended or not.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Job)]
pub(super) struct JobView {
    id: JobId,
    #[schema(example = "send_mail")]
    kind: String,
    state: State,
    priority: Priority,
    /// What it is about; secrets are not shown.
    #[schema(value_type = Object)]
    payload: Value,
    /// Not before, as long as it waits.
    run_at: Option<DateTime>,
    /// How often it was tried.
    attempt: i64,
    /// How often it lost its worker.
    crashes: i64,
    last_error: Option<String>,
    worker_id: Option<WorkerId>,
    created_at: DateTime,
    started_at: Option<DateTime>,
    finished_at: Option<DateTime>,
}

impl From<Entry> for JobView {
    fn from(entry: Entry) -> Self {
        let Entry { id, kind, priority, mut payload, state, run_at, attempt, crashes, .. } = entry;
        let Entry { last_error, worker_id, created_at, started_at, finished_at, .. } = entry;
        mask(&mut payload.0);
        let (payload, last_error) = (payload.0, last_error.map(|text| telemetry::masked(&text).into_owned()));
        Self {
            id,
            kind,
            state,
            priority,
            payload,
            run_at,
            attempt,
            crashes,
            last_error,
            worker_id,
            created_at,
            started_at,
            finished_at,
        }
    }
}

/// Takes out of a payload what nobody may read: fields that are called like secrets.
fn mask(payload: &mut Value) {
    const SECRET: [&str; 5] = ["secret", "password", "token", "signature", "authorization"];
    match payload {
        Value::Object(fields) => {
            for (name, value) in fields {
                let name = name.to_lowercase();
                if SECRET.iter().any(|secret| name.contains(secret)) && !value.is_null() {
                    *value = MASK.into();
                } else {
                    mask(value);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(mask),
        _ => {}
    }
}

/// Lists jobs, newest first.
#[utoipa::path(
    get, path = "/jobs", tag = "operations",
    params(queries::Jobs, queries::Page, queries::Count),
    responses((status = 200, description = "A page of jobs.", body = Vec<JobView>)),
)]
pub(super) async fn list_jobs(Listing { call, query }: Listing) -> Result<Envelope<Vec<JobView>>, ApiError> {
    call.sees(Area::Operations)?;
    let (mut filter, count) = read_filter(query)?;
    let limit = filter.limit;
    // One more than asked for tells whether there is a next page.
    filter.limit = limit + 1;
    let db = &call.app.process.db;
    let mut found = ledger::list(db, &filter).await?;
    let mut meta = cursor::cut(&mut found, limit, |last| last.id.to_string());
    if count {
        meta["total"] = ledger::count(db, &filter).await?.into();
    }
    Ok(Envelope::ok(found.into_iter().map(JobView::from).collect()).meta(meta))
}

fn read_filter(mut form: Form) -> Result<(Filter, bool), ApiError> {
    let count: Option<bool> = form.parse("count", "true or false").flatten();
    let filter = Filter {
        state: form.word("state").flatten(),
        kind: form.line("kind", 100).flatten(),
        priority: form.word("priority").flatten(),
        before: form.parse("cursor", "a next_cursor from such a list").flatten(),
        limit: form.number("limit", 1..=100).unwrap_or(20),
    };
    form.finish()?;
    Ok((filter, count.unwrap_or(false)))
}

/// Shows a job.
#[utoipa::path(
    get, path = "/jobs/{id}", tag = "operations",
    responses((status = 200, description = "The job.", body = JobView)),
)]
pub(super) async fn show_job(call: Call, Name(name): Name) -> Result<Envelope<JobView>, ApiError> {
    call.sees(Area::Operations)?;
    let found = ledger::get(&call.app.process.db, job_id(&name)?).await?;
    Ok(Envelope::ok(found.ok_or(ApiError::NotFound("job"))?.into()))
}

/// Enqueues a dead job anew, as a new job.
#[utoipa::path(
    post, path = "/jobs/{id}/retry", tag = "operations",
    request_body = Option<Nothing>,
    responses((status = 201, description = "The new job.", body = JobView)),
)]
pub(super) async fn retry_job(call: Call, Name(name): Name, Body(form): Body) -> Result<Response, ApiError> {
    call.changes(Area::Operations)?;
    form.finish()?;
    let id = job_id(&name)?;
    let mut tx = call.begin().await?;
    let dead = ledger::get(&mut tx, id).await?.ok_or(ApiError::NotFound("job"))?;
    if dead.state != State::Dead {
        let why = format!("Only dead jobs can be retried; this one is {}.", dead.state);
        return Err(ApiError::Conflict("not_dead", why));
    }
    let copy = jobs::retry(&mut tx, id, call.app.process.desk.clock.now()).await?;
    let why = || ApiError::Conflict("waits_already", "A job like this one waits or runs already.".into());
    let made = ledger::get(&mut tx, copy.ok_or_else(why)?).await?.ok_or(ApiError::NotFound("job"))?;
    call.commit(tx, Envelope::created(JobView::from(made))).await
}

fn job_id(name: &str) -> Result<JobId, ApiError> {
    name.parse().map_err(|_| ApiError::NotFound("job"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_called_a_secret_is_not_shown() {
        let mut payload =
            json!({ "id": 5, "Token": "t", "to": [{ "webhook_secret": "s", "password": null }] });
        mask(&mut payload);
        assert_eq!(
            payload,
            json!({ "id": 5, "Token": MASK, "to": [{ "webhook_secret": MASK, "password": null }] })
        );
    }
}

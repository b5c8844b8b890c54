//! Work on all clocks, batch by batch: audits, and changes of definitions.

use chrono::TimeDelta;
use shared::domain::job::{Audit, ErrorClass, Replan};
use shared::metrics::{AUDIT_MISMATCHES, AUDITED_CLOCKS};
use shared::store::desk::{self, Mismatch};
use shared::store::replans;

use crate::context::{Context, JobError, Outcome};
use crate::registry::Run;

/// At most as many clocks to a transaction.
const BATCH: i64 = 500;

/// How far back ended clocks are looked at: as long as somebody may have missed an hourly audit.
const ENDED_SINCE: TimeDelta = TimeDelta::days(2);

impl Run for Audit {
    async fn run(&self, cx: &Context) -> Result<Outcome, JobError> {
        let (mut after, mut audited, mut mismatches) = (None, 0, 0);
        loop {
            let mut tx = cx.db().begin().await?;
            let desk = &cx.worker.process.desk;
            let found = desk.audit(&mut tx, after, cx.now() - ENDED_SINCE, BATCH).await.map_err(failed)?;
            let _ = tx.commit().await?;
            audited += found.audited;
            mismatches += found.mismatches.len();
            AUDITED_CLOCKS.increment(found.audited as u64);
            AUDIT_MISMATCHES.increment(found.mismatches.len() as u64);
            for Mismatch { clock, fields, repaired } in found.mismatches {
                tracing::error!(%clock, fields = fields.join(","), repaired, "a clock was not what its events say");
            }
            match found.last {
                Some(last) => after = Some(last),
                None => break,
            }
        }
        tracing::info!(audited, mismatches, "audited the clocks");
        Ok(Outcome::Done)
    }
}

impl Run for Replan {
    async fn run(&self, cx: &Context) -> Result<Outcome, JobError> {
        loop {
            let mut tx = cx.db().begin().await?;
            let Some(mut replan) = replans::lock(&mut tx, self.replan).await? else {
                tx.rollback().await?;
                return Ok(Outcome::Skip("the re-plan is gone".into()));
            };
            if replan.finished_at.is_none() {
                cx.worker.process.desk.carry_on(&mut tx, &mut replan).await.map_err(failed)?;
            }
            cx.worker.process.queue.push(tx.commit().await?);
            if replan.finished_at.is_some() {
                let (examined, moved, breached) = (replan.examined, replan.moved, replan.breached);
                tracing::info!(replan.id = %replan.id, examined, moved, breached, "re-planned the clocks");
                return Ok(Outcome::Done);
            }
        }
    }
}

fn failed(error: desk::Error) -> JobError {
    match error {
        desk::Error::Store(error) => error.into(),
        other => JobError::retry(ErrorClass::Other, other.to_string()),
    }
}

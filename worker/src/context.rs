//! What a job has at hand while it runs.

use std::sync::Arc;

use chrono::TimeDelta;
use shared::domain::job::{self, Ending, ErrorClass};
use shared::hmac::Key;
use shared::ids::WorkerId;
use shared::links;
use shared::metrics::JOB_FAILURES;
use shared::process::{Process, StartError};
use shared::store::jobs::{self, Leased};
use shared::store::{self, Db, Tx};
use shared::time::Timestamp;
use tokio::sync::OnceCell;

use crate::mail::Mailer;
use crate::webhook::Poster;

/// One boot of a worker: what all its jobs share.
#[derive(Debug)]
pub struct Worker {
    /// Identifies this boot; leases belong to it.
    pub(crate) id: WorkerId,
    pub(crate) process: Process,
    pub(crate) mailer: Mailer,
    pub(crate) poster: Poster,
    /// What acknowledge links are signed with, once it is known.
    link_key: OnceCell<Key>,
}

impl Worker {
    /// Prepares a worker.
    ///
    /// # Errors
    /// When a mail setting cannot be used.
    pub fn new(process: Process) -> Result<Self, StartError> {
        let mailer = Mailer::new(&process.config)?;
        let poster = Poster::new(&process.config)?;
        Ok(Self { id: WorkerId::new(), process, mailer, poster, link_key: OnceCell::new() })
    }
}

/// One attempt at one job.
#[derive(Clone, Debug)]
pub struct Context {
    pub(crate) worker: Arc<Worker>,
    /// The job.
    pub job: Leased,
}

/// How an attempt went well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The work is done; the executor puts it on record.
    Done,
    /// There was nothing to do, for this reason.
    Skip(String),
    /// The job put its own end on record, together with what it wrote.
    Committed(Ending),
}

/// How an attempt failed. `?` on anything transient gives `Retry`.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// Try again later, after a backoff, until the attempts are used up.
    #[error("{0}")]
    Retry(Fault),
    /// Do not try again: a person should look.
    #[error("{0}")]
    Dead(Fault),
    /// Not now; this attempt does not count.
    #[error("put off for {0}")]
    Snooze(TimeDelta),
    /// Another worker has the job by now; nothing was changed.
    #[error("the lease was lost")]
    LeaseLost,
}

/// What an attempt failed for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct Fault {
    /// Its class, for metrics and traces.
    pub class: ErrorClass,
    /// One sentence, for who looks at the job.
    pub text: String,
}

impl JobError {
    /// A failure that may pass.
    #[must_use]
    pub fn retry(class: ErrorClass, text: impl Into<String>) -> Self {
        Self::Retry(Fault { class, text: text.into() })
    }

    /// A failure that will not pass by itself.
    #[must_use]
    pub fn dead(text: impl Into<String>) -> Self {
        Self::Dead(Fault { class: ErrorClass::Other, text: text.into() })
    }

    /// The class of a failure; none when nothing failed.
    pub(crate) const fn class(&self) -> Option<ErrorClass> {
        match self {
            Self::Retry(fault) | Self::Dead(fault) => Some(fault.class),
            Self::Snooze(_) | Self::LeaseLost => None,
        }
    }
}

impl From<store::Error> for JobError {
    fn from(error: store::Error) -> Self {
        Self::retry(ErrorClass::Database, error.to_string())
    }
}

impl Context {
    /// The database.
    #[must_use]
    pub fn db(&self) -> &Db {
        &self.worker.process.db
    }

    /// The time.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.worker.process.desk.clock.now()
    }

    /// The key that acknowledge links are signed with.
    pub(crate) async fn link_key(&self) -> store::Result<&Key> {
        self.worker.link_key.get_or_try_init(|| links::key(self.db(), self.now())).await
    }

    /// Tells whether a failure now would be the last.
    #[must_use]
    pub fn is_last_attempt(&self) -> bool {
        self.job.attempt >= self.job.max_attempts
    }

    /// Makes sure that no other worker has the job: just before something that cannot be undone.
    ///
    /// # Errors
    /// `LeaseLost` when another has it by now.
    pub async fn still_mine(&self) -> Result<(), JobError> {
        let held = jobs::holds(self.db(), self.worker.id, &self.job).await?;
        if held { Ok(()) } else { Err(JobError::LeaseLost) }
    }

    /// Counts that the attempt failed.
    pub(crate) fn count_failure(&self, class: ErrorClass) {
        JOB_FAILURES.of([job::label(&self.job.kind), class.as_str()]).increment(1);
    }

    /// Commits what the job wrote together with its end, and dispatches what it enqueued.
    ///
    /// # Errors
    /// `LeaseLost` when another worker has the job by now; then nothing is changed.
    pub async fn commit(
        &self,
        mut tx: Tx,
        ending: Ending,
        note: Option<String>,
    ) -> Result<Outcome, JobError> {
        let end = jobs::End { job: self.job.clone(), ending, note };
        if jobs::finish(&mut tx, self.worker.id, vec![end], self.now()).await?.is_empty() {
            tx.rollback().await?;
            return Err(JobError::LeaseLost);
        }
        self.worker.process.queue.push(tx.commit().await?);
        Ok(Outcome::Committed(ending))
    }
}

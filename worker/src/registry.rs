//! Which kind of job is run by which code.

use std::collections::HashMap;
use std::time::Duration;

use futures::future::BoxFuture;
use shared::domain::job::Job;

use crate::context::{Context, JobError, Outcome};

/// A job that this worker can run.
pub trait Run: Job {
    /// Makes one attempt. An attempt may be cut off at any await, when it takes too long or the worker stops.
    ///
    /// # Errors
    /// See [`JobError`]: what becomes of the job.
    fn run(&self, cx: &Context) -> impl Future<Output = Result<Outcome, JobError>> + Send;
}

type Attempt = fn(Context) -> BoxFuture<'static, Result<Outcome, JobError>>;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    pub(crate) timeout: Duration,
    pub(crate) attempt: Attempt,
}

/// The kinds of jobs this worker can run.
#[derive(Debug, Default)]
pub struct Registry(HashMap<&'static str, Entry>);

impl Registry {
    /// Adds a kind.
    #[must_use]
    pub fn with<J: Run>(mut self) -> Self {
        let attempt: Attempt = |cx| Box::pin(attempt::<J>(cx));
        self.0.insert(J::KIND, Entry { timeout: J::TIMEOUT, attempt });
        self
    }

    #[cfg(test)]
    pub(crate) fn kinds(&self) -> std::collections::BTreeSet<&'static str> {
        self.0.keys().copied().collect()
    }

    pub(crate) fn get(&self, kind: &str) -> Option<Entry> {
        self.0.get(kind).copied()
    }
}

async fn attempt<J: Run>(cx: Context) -> Result<Outcome, JobError> {
    let job: J = serde_json::from_value(cx.job.payload.0.clone())
        .map_err(|error| JobError::dead(format!("the payload cannot be read: {error}")))?;
    job.run(&cx).await
}

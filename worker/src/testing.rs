//! Attempts at single jobs, without an executor: for tests that stop between two steps of one.

use std::sync::Arc;

use shared::domain::job::Job;
use shared::ids::JobId;
use shared::store::jobs::{self, NewJob};
use shared::testkit::Testbed;

use crate::context::{Context, JobError, Outcome, Worker};
use crate::registry::Run;

/// A worker that runs only what it is told to.
pub(crate) struct Bench {
    pub(crate) t: Testbed,
    pub(crate) worker: Arc<Worker>,
    pub(crate) mails: tempfile::TempDir,
}

impl Bench {
    pub(crate) fn over(t: Testbed, settings: &[(&str, &str)]) -> Self {
        let mails = tempfile::tempdir().expect("a folder");
        let folder = mails.path().display().to_string();
        let settings: Vec<_> = settings.iter().copied().chain([("MAIL_DIR", &*folder)]).collect();
        let worker = Arc::new(Worker::new(t.process(&settings)).expect("a worker"));
        Self { t, worker, mails }
    }

    /// Takes a job that is ready now.
    pub(crate) async fn claim(&self, id: JobId) -> Context {
        let mut tx = self.t.db.begin().await.expect("a transaction");
        let claimed = jobs::claim(&mut tx, self.worker.id, &[id], self.t.now()).await.expect("a claim");
        let _ = tx.commit().await.expect("a commit");
        Context { worker: Arc::clone(&self.worker), job: claimed.into_iter().next().expect("it is ready") }
    }

    /// Enqueues a job and takes it.
    pub(crate) async fn claim_new<J: Job>(&self, job: &J) -> Context {
        let committed = self.t.enqueue(vec![NewJob::of(job)]).await;
        self.claim(committed.0[0].1).await
    }

    /// The jobs of a kind that wait, with their payloads.
    pub(crate) async fn waiting<J: Job>(&self) -> Vec<(jobs::Ready, J)> {
        let waiting = jobs::list(&self.t.db, 10_000).await.expect("a list");
        let waiting = waiting.into_iter().filter(|job| job.kind == J::KIND && job.state == "ready");
        waiting.map(|job| (job.clone(), serde_json::from_value(job.payload.0).expect("a payload"))).collect()
    }

    /// Runs all jobs of a kind that are ready, one after the other.
    pub(crate) async fn run_all<J: Run>(&self) -> Vec<Result<Outcome, JobError>> {
        let mut outcomes = Vec::new();
        for (ready, job) in self.waiting::<J>().await {
            if ready.run_at <= self.t.now() {
                outcomes.push(job.run(&self.claim(ready.id).await).await);
            }
        }
        outcomes
    }

    /// The mails that were sent, by file name.
    pub(crate) fn sent(&self) -> std::collections::BTreeMap<String, String> {
        let files = std::fs::read_dir(self.mails.path()).expect("the folder");
        let files = files.map(|file| file.expect("a file").path());
        let read = |path: &std::path::PathBuf| std::fs::read_to_string(path).expect("a mail");
        let name =
            |path: &std::path::PathBuf| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        // Long lines are broken where the reader does not see it.
        files.map(|path| (name(&path), read(&path).replace("=\r\n", ""))).collect()
    }
}

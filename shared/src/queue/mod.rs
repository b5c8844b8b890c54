//! Dispatch: telling workers which jobs to claim, quickly. The ledger knows them all, so a message that is lost,
//! repeated or reordered costs a moment and nothing else.
//!
//! A message names jobs and carries nothing of them. Where many jobs wait, a message names many, so that the
//! dispatcher's cost stays small next to the ledger's.

mod memory;
mod redis;

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::domain::job::Priority;
use crate::ids::JobId;
use crate::metrics::{DISPATCH_FAILURES, DISPATCH_SKIPPED};
use crate::store::Committed;

/// The message: which jobs a worker may claim.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Dispatch {
    job_ids: Vec<JobId>,
}

/// At most as many messages lie undelivered in a queue: apalis-redis unpacks all of them in one script, which
/// fails for good somewhere between 5,000 and 9,000.
const MAX_BACKLOG: usize = 1_000;

/// At most as many jobs to a message.
const MAX_JOBS: usize = 50;

/// How many messages a worker takes at once. Small, so that one worker does not sit on what another could do.
const FETCH: usize = 8;

/// Where worker processes receive the jobs they are told to claim, by priority.
#[derive(Clone, Debug)]
pub struct Inbox {
    lanes: [mpsc::Sender<JobId>; 3],
}

/// The receiving end of an [`Inbox`]: one channel per priority, high first.
pub type Lanes = [mpsc::Receiver<JobId>; 3];

impl Inbox {
    /// Makes an inbox that holds `capacity` jobs per priority; then deliveries wait.
    #[must_use]
    pub fn new(capacity: usize) -> (Self, Lanes) {
        let (high, normal, low) = (mpsc::channel(capacity), mpsc::channel(capacity), mpsc::channel(capacity));
        (Self { lanes: [high.0, normal.0, low.0] }, [high.1, normal.1, low.1])
    }

    async fn put(&self, priority: Priority, dispatch: Dispatch) {
        for id in dispatch.job_ids {
            // A closed inbox belongs to a worker that is shutting down; the relay sends these jobs again.
            let _ = self.lanes[priority as usize].send(id).await;
        }
    }
}

/// The dispatcher is away; the relay and the workers' own polling go on without it.
#[derive(Debug, thiserror::Error)]
#[error("the dispatcher is not available: {0}")]
pub struct Unavailable(String);

/// A dispatcher. Clones share it.
#[derive(Clone, Debug)]
pub struct Queue {
    backend: Backend,
    hints: mpsc::Sender<(Priority, JobId)>,
}

#[derive(Clone, Debug)]
enum Backend {
    Memory(Arc<memory::Memory>),
    Redis(Arc<redis::Redis>),
}

impl Queue {
    /// Dispatches within this process.
    #[must_use]
    pub fn in_process() -> Self {
        Self::over(Backend::Memory(Arc::new(memory::Memory::new())))
    }

    /// Dispatches through Redis. It need not be up: connections are made and remade in the background.
    ///
    /// # Errors
    /// When the address cannot be read.
    pub fn redis(url: &str) -> Result<Self, Unavailable> {
        Ok(Self::over(Backend::Redis(Arc::new(redis::Redis::new(url)?))))
    }

    fn over(backend: Backend) -> Self {
        let (hints, receiver) = mpsc::channel(20_000);
        let queue = Self { backend, hints };
        tokio::spawn(pass_on(queue.backend.clone(), receiver));
        queue
    }

    /// Passes on what a transaction enqueued. Never waits and never fails: what cannot be passed on is relayed.
    pub fn push(&self, committed: Committed) {
        for hint in committed.0 {
            if self.hints.try_send(hint).is_err() {
                DISPATCH_SKIPPED.increment(1);
            }
        }
    }

    /// Tells how many more jobs a queue takes now.
    ///
    /// # Errors
    /// When the dispatcher is away.
    pub async fn room(&self, priority: Priority) -> Result<usize, Unavailable> {
        self.backend.room(priority).await.map(|messages| messages * MAX_JOBS)
    }

    /// Sends jobs to a queue that has room for them.
    ///
    /// # Errors
    /// When the dispatcher is away; some of the jobs may have been sent.
    pub async fn send(&self, priority: Priority, jobs: &[JobId]) -> Result<(), Unavailable> {
        self.backend.send(priority, jobs).await
    }

    /// Delivers messages to `inbox` until `stop`. Errors of the dispatcher are logged and outlived.
    pub async fn deliver(&self, inbox: Inbox, stop: CancellationToken) {
        match &self.backend {
            Backend::Memory(memory) => memory.deliver(inbox, stop).await,
            Backend::Redis(redis) => redis.deliver(inbox, stop).await,
        }
    }

    /// Deletes what the dispatcher keeps about delivered messages; returns how many it deleted.
    ///
    /// # Errors
    /// When the dispatcher is away.
    pub async fn tidy(&self) -> Result<u64, Unavailable> {
        match &self.backend {
            Backend::Memory(_) => Ok(0),
            Backend::Redis(redis) => redis.tidy().await,
        }
    }

    /// Checks that the dispatcher answers.
    ///
    /// # Errors
    /// When it does not.
    pub async fn ping(&self) -> Result<(), Unavailable> {
        self.backend.room(Priority::High).await.map(drop)
    }
}

impl Backend {
    async fn room(&self, priority: Priority) -> Result<usize, Unavailable> {
        match self {
            Self::Memory(memory) => Ok(memory.room(priority)),
            Self::Redis(redis) => redis.room(priority).await,
        }
    }

    async fn send(&self, priority: Priority, jobs: &[JobId]) -> Result<(), Unavailable> {
        let messages = packed(jobs);
        match self {
            Self::Memory(memory) => memory.send(priority, messages),
            Self::Redis(redis) => redis.send(priority, messages).await,
        }
    }
}

/// Puts jobs into messages: one each while they are few, so that all workers get some, more when they are many.
fn packed(jobs: &[JobId]) -> Vec<Dispatch> {
    let each = (jobs.len() / 64).clamp(1, MAX_JOBS);
    jobs.chunks(each).map(|chunk| Dispatch { job_ids: chunk.to_vec() }).collect()
}

/// Sends what this process enqueued, as much at a time as has gathered while the last lot was sent.
async fn pass_on(backend: Backend, mut hints: mpsc::Receiver<(Priority, JobId)>) {
    let mut gathered = Vec::new();
    while hints.recv_many(&mut gathered, 5_000).await > 0 {
        for priority in Priority::ALL {
            let jobs: Vec<JobId> =
                gathered.iter().filter(|(p, _)| p == priority).map(|(_, id)| *id).collect();
            if jobs.is_empty() {
                continue;
            }
            if let Err(error) = pass_on_one(&backend, *priority, &jobs).await {
                DISPATCH_FAILURES.of([priority.as_str()]).increment(1);
                tracing::warn!(%error, jobs = jobs.len(), "could not dispatch; the relay will");
            }
        }
        gathered.clear();
    }
}

async fn pass_on_one(backend: &Backend, priority: Priority, jobs: &[JobId]) -> Result<(), Unavailable> {
    let room = backend.room(priority).await? * MAX_JOBS;
    let sent = &jobs[..jobs.len().min(room)];
    if sent.len() < jobs.len() {
        DISPATCH_SKIPPED.increment((jobs.len() - sent.len()) as u64);
    }
    backend.send(priority, sent).await
}

/// How long to wait before a dispatcher that failed is tried again.
const AFTER_A_FAILURE: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_jobs_travel_alone_and_many_together() {
        let jobs: Vec<JobId> = (0..10_000).map(|_| JobId::new()).collect();
        assert_eq!(packed(&jobs[..20]).len(), 20);
        assert_eq!(packed(&jobs).len(), 200);
        assert!(packed(&[]).is_empty());
    }
}

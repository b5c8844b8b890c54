//! The executor on real databases: every way a job can end.

use std::time::Duration;

use chrono::TimeDelta;
use dogwatch_worker::context::{Context, JobError, Outcome};
use dogwatch_worker::registry::{Registry, Run};
use serde::{Deserialize, Serialize};
use shared::domain::job::{Ending, ErrorClass, Job, Priority};
use shared::ids::JobId;
use shared::on_both;
use shared::process::Process;
use shared::store::jobs;
use shared::testkit::{Testbed, eventually};

const SOON: Duration = Duration::from_secs(20);

/// Does what its payload says.
#[derive(Serialize, Deserialize)]
enum Act {
    Succeed,
    Skip,
    Fail,
    FailThenSucceed,
    Panic,
    Snooze,
}

impl Job for Act {
    const KIND: &'static str = "act";
    const MAX_ATTEMPTS: i64 = 3;
}

impl Run for Act {
    async fn run(&self, cx: &Context) -> Result<Outcome, JobError> {
        match self {
            Self::Succeed => Ok(Outcome::Done),
            Self::FailThenSucceed if cx.job.attempt > 1 => Ok(Outcome::Done),
            Self::Skip => Ok(Outcome::Skip("nothing to do".into())),
            Self::Fail | Self::FailThenSucceed => Err(JobError::retry(ErrorClass::Other, "no luck")),
            Self::Panic => panic!("out of cheese"),
            Self::Snooze if cx.is_last_attempt() => Err(JobError::dead("a snooze used up an attempt")),
            Self::Snooze => Err(JobError::Snooze(TimeDelta::minutes(1))),
        }
    }
}

/// Never ends by itself.
#[derive(Serialize, Deserialize)]
struct Hang {}

impl Job for Hang {
    const KIND: &'static str = "hang";
    const TIMEOUT: Duration = Duration::from_millis(200);
}

impl Run for Hang {
    async fn run(&self, _: &Context) -> Result<Outcome, JobError> {
        std::future::pending().await
    }
}

/// A worker that runs until the test ends it.
struct Running {
    process: Process,
    task: tokio::task::JoinHandle<()>,
}

impl Running {
    fn start(t: &Testbed, registry: Registry, settings: &[(&str, &str)]) -> Self {
        let process = t.process(settings);
        let running = process.clone();
        let task = tokio::spawn(async move {
            dogwatch_worker::run_with(running, registry).await.expect("a worker");
        });
        Self { process, task }
    }

    async fn stop(self) {
        self.process.stop.cancel();
        self.task.await.expect("an orderly end");
    }

    async fn enqueue(&self, t: &Testbed, new: jobs::NewJob) -> JobId {
        let committed = t.enqueue(vec![new]).await;
        let id = committed.0.first().expect("it runs now").1;
        self.process.queue.push(committed);
        id
    }
}

async fn ended(t: &Testbed, id: JobId) -> jobs::Ended {
    eventually("the job ends", SOON, async || jobs::ended(&t.db, id).await.expect("an answer")).await
}

/// Waits until the job was put back to wait, and lets time pass until it may run again.
async fn put_back(t: &Testbed, id: JobId) -> jobs::Ready {
    let waits = async || {
        let job = jobs::get(&t.db, id).await.expect("an answer")?;
        (job.state == "ready" && job.last_error.is_some()).then_some(job)
    };
    let job = eventually("the job is put back", SOON, waits).await;
    t.advance(TimeDelta::minutes(20));
    job
}

on_both! {
    a_job_ends_as_it_says,
    a_job_that_fails_once_is_tried_again,
    a_job_that_keeps_failing_is_dead_after_its_last_attempt,
    a_panic_costs_an_attempt_and_nothing_else,
    a_job_that_hangs_is_cut_off,
    a_snooze_does_not_cost_an_attempt,
    a_job_nobody_knows_is_dead_at_once,
    a_job_nobody_dispatched_is_taken_all_the_same,
    a_stopping_worker_hands_back_what_does_not_end,
    low_priority_cannot_take_every_slot,
}

async fn a_job_ends_as_it_says(t: Testbed) {
    let worker = Running::start(&t, Registry::default().with::<Act>(), &[]);
    let done = worker.enqueue(&t, jobs::NewJob::of(&Act::Succeed)).await;
    let skipped = worker.enqueue(&t, jobs::NewJob::of(&Act::Skip)).await;
    assert_eq!(ended(&t, done).await.outcome, Ending::Done);
    let skipped = ended(&t, skipped).await;
    assert_eq!((skipped.outcome, skipped.last_error.as_deref()), (Ending::Discarded, Some("nothing to do")));
    worker.stop().await;
}

async fn a_job_that_fails_once_is_tried_again(t: Testbed) {
    let worker = Running::start(&t, Registry::default().with::<Act>(), &[]);
    let id = worker.enqueue(&t, jobs::NewJob::of(&Act::FailThenSucceed)).await;
    let waiting = put_back(&t, id).await;
    assert_eq!((waiting.attempt, waiting.last_error.as_deref()), (1, Some("no luck")));
    let ended = ended(&t, id).await;
    assert_eq!((ended.outcome, ended.attempt), (Ending::Done, 2));
    worker.stop().await;
}

async fn a_job_that_keeps_failing_is_dead_after_its_last_attempt(t: Testbed) {
    let worker = Running::start(&t, Registry::default().with::<Act>(), &[]);
    let id = worker.enqueue(&t, jobs::NewJob::of(&Act::Fail)).await;
    let dead = eventually("the job is dead", SOON, async || {
        t.advance(TimeDelta::minutes(20));
        jobs::ended(&t.db, id).await.expect("an answer")
    });
    let dead = dead.await;
    assert_eq!((dead.outcome, dead.attempt, dead.last_error.as_deref()), (Ending::Dead, 3, Some("no luck")));
    worker.stop().await;
}

async fn a_panic_costs_an_attempt_and_nothing_else(t: Testbed) {
    let worker = Running::start(&t, Registry::default().with::<Act>(), &[]);
    let id = worker.enqueue(&t, jobs::NewJob::of(&Act::Panic)).await;
    let waiting = put_back(&t, id).await;
    assert_eq!(waiting.last_error.as_deref(), Some("it panicked: out of cheese"));
    let other = worker.enqueue(&t, jobs::NewJob::of(&Act::Succeed)).await;
    assert_eq!(ended(&t, other).await.outcome, Ending::Done);
    worker.stop().await;
}

async fn a_job_that_hangs_is_cut_off(t: Testbed) {
    let worker = Running::start(&t, Registry::default().with::<Hang>(), &[]);
    let id = worker.enqueue(&t, jobs::NewJob::of(&Hang {})).await;
    let waiting = put_back(&t, id).await;
    assert!(waiting.last_error.is_some_and(|error| error.starts_with("it took longer than")));
    worker.stop().await;
}

async fn a_snooze_does_not_cost_an_attempt(t: Testbed) {
    let worker = Running::start(&t, Registry::default().with::<Act>(), &[]);
    let id = worker.enqueue(&t, jobs::NewJob::of(&Act::Snooze)).await;
    let mut seen = 0;
    let snoozed = async || {
        let job = jobs::get(&t.db, id).await.expect("an answer")?;
        (job.state == "ready" && job.lease_seq > seen).then_some(job)
    };
    let first = eventually("the job is put off", SOON, snoozed).await;
    assert_eq!((first.attempt, first.run_at), (0, t.now() + TimeDelta::minutes(1)));
    for round in 1..6 {
        seen = round;
        t.advance(TimeDelta::minutes(2));
        let again = async || {
            let job = jobs::get(&t.db, id).await.expect("an answer")?;
            (job.state == "ready" && job.lease_seq > round).then_some(job)
        };
        assert_eq!(eventually("the job is put off again", SOON, again).await.attempt, 0);
    }
    assert_eq!(seen, 5);
    worker.stop().await;
}

async fn a_job_nobody_knows_is_dead_at_once(t: Testbed) {
    let worker = Running::start(&t, Registry::default(), &[]);
    let id = worker.enqueue(&t, jobs::NewJob::of(&Act::Succeed)).await;
    let dead = ended(&t, id).await;
    assert_eq!(dead.outcome, Ending::Dead);
    assert!(dead.last_error.is_some_and(|error| error.contains("does not know jobs of kind act")));
    worker.stop().await;
}

async fn a_job_nobody_dispatched_is_taken_all_the_same(t: Testbed) {
    let worker = Running::start(&t, Registry::default().with::<Act>(), &[]);
    let committed = t.enqueue(vec![jobs::NewJob::of(&Act::Succeed)]).await;
    let (_, id) = committed.0[0];
    t.advance(TimeDelta::seconds(4));
    assert_eq!(ended(&t, id).await.outcome, Ending::Done);
    worker.stop().await;
}

/// Runs until it is aborted.
#[derive(Serialize, Deserialize)]
struct Block {}

impl Job for Block {
    const KIND: &'static str = "block";
    const PRIORITY: Priority = Priority::Low;
    const TIMEOUT: Duration = Duration::from_secs(600);
}

impl Run for Block {
    async fn run(&self, _: &Context) -> Result<Outcome, JobError> {
        std::future::pending().await
    }
}

async fn low_priority_cannot_take_every_slot(t: Testbed) {
    let registry = Registry::default().with::<Act>().with::<Block>();
    let worker = Running::start(&t, registry, &[("WORKER_CONCURRENCY", "4")]);
    let blocks: Vec<_> = (0..8).map(|_| jobs::NewJob::of(&Block {})).collect();
    worker.process.queue.push(t.enqueue(blocks).await);
    let running = async || {
        let depths = jobs::depths(&t.db, t.now()).await.expect("an answer");
        depths.into_iter().find(|d| d.state == "running").filter(|d| d.jobs == 2)
    };
    eventually("two blocks run", SOON, running).await;
    let urgent = worker.enqueue(&t, jobs::NewJob::of(&Act::Succeed).priority(Priority::High)).await;
    assert_eq!(ended(&t, urgent).await.outcome, Ending::Done);
    worker.task.abort();
}

/// Ends only when the worker gives up waiting for it.
#[derive(Serialize, Deserialize)]
struct Linger {}

impl Job for Linger {
    const KIND: &'static str = "linger";
    const TIMEOUT: Duration = Duration::from_secs(600);
}

impl Run for Linger {
    async fn run(&self, _: &Context) -> Result<Outcome, JobError> {
        std::future::pending().await
    }
}

async fn a_stopping_worker_hands_back_what_does_not_end(t: Testbed) {
    let worker = Running::start(&t, Registry::default().with::<Linger>(), &[("SHUTDOWN_GRACE_SECONDS", "1")]);
    let id = worker.enqueue(&t, jobs::NewJob::of(&Linger {})).await;
    let running =
        async || jobs::get(&t.db, id).await.expect("an answer").filter(|job| job.state == "running");
    eventually("the job runs", SOON, running).await;
    worker.stop().await;
    let back = jobs::get(&t.db, id).await.expect("an answer").expect("the job is still there");
    assert_eq!((back.state.as_str(), back.attempt, back.crashes), ("ready", 0, 0));
    assert!(back.worker_id.is_none());
}

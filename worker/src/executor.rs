//! Claims jobs in batches, runs them side by side, and puts their ends on record in batches.
//!
//! Messages only say which jobs to claim. A second way in needs none: once a second the worker takes jobs that
//! nobody dispatched in time, so it goes on while Redis or every scheduler is down.

use std::collections::{HashMap, HashSet};
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::TimeDelta;
use futures::FutureExt;
use shared::domain::job::{self, Ending, ErrorClass, Priority, backoff};
use shared::ids::JobId;
use shared::metrics::{JOB_DURATION, JOB_WAIT, JOBS_FINISHED, JOBS_POLLED, WORKER_SLOTS, WORKER_SLOTS_USED};
use shared::queue::{Inbox, Lanes};
use shared::store::jobs::{self, Again, End, Leased};
use shared::store::{Result as StoreResult, workers};
use shared::telemetry;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

use crate::context::{Context, JobError, Outcome, Worker};
use crate::registry::Registry;

/// How often a worker says that it lives; the rescue gives up on it after five silent beats.
const HEARTBEAT: Duration = Duration::from_secs(2);

/// How often a worker looks for jobs that nobody dispatched.
const POLL: Duration = Duration::from_secs(1);

/// At most as many claims or ends to a transaction.
const BATCH: usize = 256;

struct Executor {
    worker: Arc<Worker>,
    registry: Registry,
    slots: Arc<Semaphore>,
    /// Lower priorities may not take all slots, so that a higher one always finds some soon.
    lanes: [Arc<Semaphore>; 3],
    freed: Arc<Notify>,
    ended: mpsc::Sender<Finished>,
    running: TaskTracker,
    abort: CancellationToken,
    in_flight: Arc<InFlight>,
}

/// The jobs this worker knows that it holds: from the claim until their end is on record.
type InFlight = Mutex<HashSet<JobId>>;

/// A slot, held while a job runs.
struct Slot {
    _any: OwnedSemaphorePermit,
    _lane: OwnedSemaphorePermit,
    freed: Arc<Notify>,
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.freed.notify_one();
    }
}

struct Finished {
    job: Leased,
    result: Result<Outcome, JobError>,
}

/// Runs jobs until the process stops.
pub(crate) async fn run(worker: Arc<Worker>, registry: Registry) {
    let slots = worker.process.config.worker_concurrency;
    let stop = worker.process.stop.clone();
    WORKER_SLOTS.set(u32::try_from(slots).unwrap_or(u32::MAX));
    worker.process.health.expect("heartbeat", HEARTBEAT * 5);
    worker.process.health.expect("claim", POLL * 10);
    let (ended, ends) = mpsc::channel(slots.max(BATCH) * 2);
    let (inbox, lanes) = Inbox::new(slots.max(BATCH));
    let in_flight = Arc::new(InFlight::default());
    let lane = |share: usize| Arc::new(Semaphore::new((slots * share / 8).max(1)));
    let executor = Arc::new(Executor {
        slots: Arc::new(Semaphore::new(slots)),
        lanes: [lane(8), lane(7), lane(4)],
        freed: Arc::new(Notify::new()),
        ended,
        running: TaskTracker::new(),
        abort: CancellationToken::new(),
        in_flight: Arc::clone(&in_flight),
        worker: Arc::clone(&worker),
        registry,
    });

    let (heartbeat_stop, alive) = (CancellationToken::new(), Arc::new(Notify::new()));
    let heartbeat =
        tokio::spawn(keep_beating(Arc::clone(&worker), Arc::clone(&alive), heartbeat_stop.clone()));
    // A worker that has not said that it lives counts as gone, and would be robbed of what it claims.
    stop.run_until_cancelled(alive.notified()).await;
    let queue = worker.process.queue.clone();
    let delivery_stop = stop.clone();
    let delivery = tokio::spawn(async move { queue.deliver(inbox, delivery_stop).await });
    let recorder = tokio::spawn(record_ends(Arc::clone(&worker), in_flight, ends));

    executor.claim_until(lanes, &stop).await;
    executor.drain().await;
    drop(executor);
    let _ = recorder.await;
    delivery.abort();
    hand_back(&worker).await;
    heartbeat_stop.cancel();
    let _ = heartbeat.await;
}

impl Executor {
    async fn claim_until(self: &Arc<Self>, mut lanes: Lanes, stop: &CancellationToken) {
        let mut doubtful = false;
        // Queues in which the last look left overdue jobs behind: they are looked into again as soon as a slot is free.
        let mut behind = [false; 3];
        let mut poll = tokio::time::interval(POLL);
        poll.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while !stop.is_cancelled() {
            // Also while messages keep coming: what nobody dispatched may be more urgent.
            let mut overdue = [poll.tick().now_or_never().is_some(); 3];
            let mut wanted = if overdue[0] { Vec::new() } else { self.wanted(&mut lanes) };
            if wanted.is_empty() && !overdue[0] {
                let [high, normal, low] = &mut lanes;
                let free = self
                    .lanes
                    .each_ref()
                    .map(|lane| lane.available_permits().min(self.slots.available_permits()) > 0);
                let received = tokio::select! {
                    biased;
                    () = stop.cancelled() => continue,
                    Some(id) = high.recv(), if free[0] => Some((Priority::High, id)),
                    Some(id) = normal.recv(), if free[1] => Some((Priority::Normal, id)),
                    Some(id) = low.recv(), if free[2] => Some((Priority::Low, id)),
                    _ = poll.tick() => { overdue = [true; 3]; None },
                    () = std::future::ready(()), if (0..3).any(|i| behind[i] && free[i]) => { overdue = behind; None },
                    () = self.freed.notified(), if free.contains(&false) => continue,
                };
                wanted.extend(received.and_then(|(priority, id)| Some((id, self.free_slot(priority)?))));
            }
            let polls = overdue.contains(&true);
            if doubtful && polls {
                doubtful = self.put_back_unknown().await.is_err();
            }
            let claimed =
                if polls { self.claim_overdue(overdue, &mut behind).await } else { self.claim(wanted).await };
            if let Err(error) = &claimed {
                // The jobs stay in the ledger; they are dispatched or polled for again. But the connection may have
                // broken after the commit: then the ledger says that they are ours, and we do not know them.
                doubtful = true;
                tracing::warn!(%error, "could not claim jobs");
                tokio::time::sleep(Duration::from_millis(250)).await;
            }
            self.worker.process.health.report("claim", claimed);
        }
    }

    /// Takes what was dispatched, high priority first, as far as slots are free.
    fn wanted(&self, lanes: &mut Lanes) -> Vec<(JobId, Slot)> {
        let mut wanted = Vec::new();
        for (lane, priority) in lanes.iter_mut().zip(Priority::ALL) {
            while wanted.len() < BATCH
                && !lane.is_empty()
                && let Some(slot) = self.free_slot(*priority)
                && let Ok(id) = lane.try_recv()
            {
                wanted.push((id, slot));
            }
        }
        wanted
    }

    fn free_slot(&self, priority: Priority) -> Option<Slot> {
        let lane = Arc::clone(&self.lanes[priority as usize]).try_acquire_owned().ok()?;
        let any = Arc::clone(&self.slots).try_acquire_owned().ok()?;
        Some(Slot { _any: any, _lane: lane, freed: Arc::clone(&self.freed) })
    }

    async fn claim(self: &Arc<Self>, wanted: Vec<(JobId, Slot)>) -> StoreResult<()> {
        if wanted.is_empty() {
            return Ok(());
        }
        let process = &self.worker.process;
        let ids: Vec<JobId> = wanted.iter().map(|(id, _)| *id).collect();
        let mut slots: HashMap<JobId, Slot> = wanted.into_iter().collect();
        let mut tx = process.db.begin().await?;
        let claimed = jobs::claim(&mut tx, self.worker.id, &ids, process.desk.clock.now()).await?;
        let _ = tx.commit().await?;
        for job in claimed {
            if let Some(slot) = slots.remove(&job.id) {
                self.start(job, slot);
            }
        }
        Ok(())
    }

    /// Claims one batch from each of these queues, and tells in which of them more may be left. No more than one, so
    /// that what is dispatched to a higher queue meanwhile never waits until a lower one is worked off.
    async fn claim_overdue(self: &Arc<Self>, queues: [bool; 3], behind: &mut [bool; 3]) -> StoreResult<()> {
        let process = &self.worker.process;
        for (index, priority) in Priority::ALL.iter().enumerate().filter(|(index, _)| queues[*index]) {
            let slots: Vec<Slot> = std::iter::from_fn(|| self.free_slot(*priority)).take(BATCH).collect();
            let limit = slots.len();
            behind[index] = true;
            if limit == 0 {
                continue;
            }
            let mut tx = process.db.begin().await?;
            let now = process.desk.clock.now();
            let rows = i64::try_from(limit).unwrap_or(1);
            let claimed = jobs::claim_overdue(&mut tx, self.worker.id, *priority, rows, now).await?;
            let _ = tx.commit().await?;
            behind[index] = claimed.len() == limit;
            JOBS_POLLED.increment(claimed.len() as u64);
            for (job, slot) in claimed.into_iter().zip(slots) {
                self.start(job, slot);
            }
        }
        Ok(())
    }

    /// Gives back jobs that the ledger says are ours although we never learned that their claim was committed.
    async fn put_back_unknown(&self) -> StoreResult<()> {
        let process = &self.worker.process;
        let now = process.desk.clock.now();
        let mut held = jobs::held_by(&process.db, self.worker.id).await?;
        held.retain(|job| !lock(&self.in_flight).contains(&job.id));
        let back =
            |job: &Leased| Again { job: job.id, lease_seq: job.lease_seq, at: now, refund: 1, error: None };
        let mut tx = process.db.begin().await?;
        let jobs = jobs::put_back(&mut tx, self.worker.id, held.iter().map(back).collect()).await?;
        let _ = tx.commit().await?;
        if jobs > 0 {
            tracing::warn!(jobs, "gave back jobs whose claim was committed unnoticed");
        }
        Ok(())
    }

    fn start(self: &Arc<Self>, job: Leased, slot: Slot) {
        lock(&self.in_flight).insert(job.id);
        let executor = Arc::clone(self);
        let counted = WORKER_SLOTS_USED.hold();
        self.running.spawn(async move {
            let attempt = executor.attempt(job);
            let aborted = executor.abort.cancelled();
            // Aborted jobs are handed back with everything else this worker still holds.
            let finished = tokio::select! { finished = attempt => Some(finished), () = aborted => None };
            drop(counted);
            if let Some(finished) = finished {
                let _ = executor.ended.send(finished).await;
            }
            // Only now: a worker that ends jobs faster than they are put on record must not claim more and more.
            drop(slot);
        });
    }

    async fn attempt(&self, job: Leased) -> Finished {
        let waited = (self.worker.process.desk.clock.now() - job.run_at).as_seconds_f64().max(0.0);
        let span = span_of(&job, waited);
        JOB_WAIT.of([job.priority.as_str()]).record(waited);
        let started = std::time::Instant::now();
        let cx = Context { worker: Arc::clone(&self.worker), job: job.clone() };
        let result = self.run(cx.clone()).instrument(span.clone()).await;
        JOB_DURATION.of([job::label(&job.kind)]).record(started.elapsed().as_secs_f64());
        let _entered = span.enter();
        log(&job, &result);
        if let Some(class) = result.as_ref().err().and_then(JobError::class) {
            cx.count_failure(class);
            span.record("error.type", class.as_str());
        }
        if matches!(
            result,
            Err(JobError::Retry(_) | JobError::Dead(_)) | Ok(Outcome::Committed(Ending::Dead))
        ) {
            span.record("otel.status_code", "ERROR");
        }
        Finished { job, result }
    }

    async fn run(&self, cx: Context) -> Result<Outcome, JobError> {
        let Some(entry) = self.registry.get(&cx.job.kind) else {
            return Err(JobError::dead(format!("this worker does not know jobs of kind {}", cx.job.kind)));
        };
        let attempt = tokio::time::timeout(entry.timeout, (entry.attempt)(cx));
        match AssertUnwindSafe(attempt).catch_unwind().await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => {
                let why = format!("it took longer than {} s", entry.timeout.as_secs());
                Err(JobError::retry(ErrorClass::Timeout, why))
            }
            Err(panic) => {
                let why = format!("it panicked: {}", panic_message(&*panic));
                Err(JobError::retry(ErrorClass::Panic, why))
            }
        }
    }

    async fn drain(&self) {
        self.running.close();
        if tokio::time::timeout(self.worker.process.config.shutdown_grace, self.running.wait()).await.is_err()
        {
            tracing::warn!(jobs = self.running.len(), "jobs did not end in time; handing them back");
            self.abort.cancel();
            self.running.wait().await;
        }
    }
}

/// A first attempt right after its cause is part of the cause's trace; anything later has a trace of its own, with
/// a link (OpenTelemetry semantic conventions for messaging).
fn span_of(job: &Leased, waited: f64) -> tracing::Span {
    let span = tracing::info_span!(
        parent: None,
        "job",
        otel.name = format!("process {}", job.kind),
        otel.kind = "consumer",
        otel.status_code = tracing::field::Empty,
        messaging.system = "dogwatch",
        messaging.operation.name = "run",
        messaging.operation.type = "process",
        messaging.destination.name = job.kind,
        messaging.message.id = %job.id,
        job.id = %job.id,
        job.attempt = job.attempt,
        job.priority = job.priority.as_str(),
        job.wait_seconds = waited,
        error.type = tracing::field::Empty,
    );
    let cause = job.traceparent.as_deref().and_then(telemetry::parse_traceparent);
    if let Some(cause) = cause {
        let immediate = job.attempt == 1 && job.run_at - job.created_at < TimeDelta::seconds(1);
        if immediate {
            telemetry::continue_trace(&span, cause);
        } else {
            telemetry::link_trace(&span, cause);
        }
    }
    span
}

fn panic_message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".into())
}

fn log(job: &Leased, result: &Result<Outcome, JobError>) {
    match result {
        Ok(Outcome::Skip(reason)) => {
            tracing::info!(job.id = %job.id, job.kind, reason, "job had nothing to do");
        }
        Ok(_) => tracing::debug!(job.id = %job.id, job.kind, "job done"),
        Err(error) => tracing::warn!(job.id = %job.id, job.kind, job.attempt, %error, "job failed"),
    }
}

/// Puts ends on record, as many to a transaction as have gathered while the last one was committed.
async fn record_ends(worker: Arc<Worker>, in_flight: Arc<InFlight>, mut ends: mpsc::Receiver<Finished>) {
    let mut gathered = Vec::new();
    while ends.recv_many(&mut gathered, BATCH).await > 0 {
        let (mut ended, mut again) = (Vec::new(), Vec::new());
        let ids: Vec<JobId> = gathered.iter().map(|finished| finished.job.id).collect();
        for finished in gathered.drain(..) {
            count(&finished);
            decide(&worker, finished, &mut ended, &mut again);
        }
        let mut pause = Duration::from_millis(100);
        while let Err(error) = record(&worker, &ended, &again).await {
            // The leases fence this off should the jobs have been rescued meanwhile.
            tracing::warn!(%error, "could not put ended jobs on record; trying again");
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(2));
            if worker.process.stop.is_cancelled() && pause >= Duration::from_secs(2) {
                break;
            }
        }
        let mut in_flight = lock(&in_flight);
        for id in ids {
            in_flight.remove(&id);
        }
    }
}

fn lock(in_flight: &InFlight) -> MutexGuard<'_, HashSet<JobId>> {
    in_flight.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn record(worker: &Worker, ended: &[End], again: &[Again]) -> StoreResult<()> {
    if ended.is_empty() && again.is_empty() {
        return Ok(());
    }
    let process = &worker.process;
    let mut tx = process.db.begin().await?;
    jobs::finish(&mut tx, worker.id, ended.to_vec(), process.desk.clock.now()).await?;
    jobs::put_back(&mut tx, worker.id, again.to_vec()).await?;
    let _ = tx.commit().await?;
    Ok(())
}

/// Turns how an attempt went into what becomes of the job.
fn decide(worker: &Worker, finished: Finished, ended: &mut Vec<End>, again: &mut Vec<Again>) {
    let Finished { job, result } = finished;
    let now = worker.process.desk.clock.now();
    let mut end = |job, ending, note| ended.push(End { job, ending, note });
    match result {
        Ok(Outcome::Committed(_)) | Err(JobError::LeaseLost) => {}
        Ok(Outcome::Done) => end(job, Ending::Done, None),
        Ok(Outcome::Skip(reason)) => end(job, Ending::Discarded, Some(reason)),
        Err(JobError::Dead(fault)) => end(job, Ending::Dead, Some(fault.text)),
        Err(JobError::Retry(fault)) if job.attempt >= job.max_attempts => {
            end(job, Ending::Dead, Some(fault.text));
        }
        Err(JobError::Retry(fault)) => {
            let at = now + backoff(job.attempt, rand::random());
            let error = Some(fault.text);
            again.push(Again { job: job.id, lease_seq: job.lease_seq, at, refund: 0, error });
        }
        Err(JobError::Snooze(by)) => {
            again.push(Again { job: job.id, lease_seq: job.lease_seq, at: now + by, refund: 1, error: None });
        }
    }
}

fn count(finished: &Finished) {
    let outcome = match &finished.result {
        Ok(Outcome::Done | Outcome::Committed(Ending::Done)) => "done",
        Ok(Outcome::Skip(_) | Outcome::Committed(Ending::Discarded)) => "discarded",
        Ok(Outcome::Committed(Ending::Dead)) | Err(JobError::Dead(_)) => "dead",
        Err(JobError::Retry(_)) if finished.job.attempt >= finished.job.max_attempts => "dead",
        Err(JobError::Retry(_)) => "retried",
        Err(JobError::Snooze(_)) => "snoozed",
        Err(JobError::LeaseLost) => "lease_lost",
    };
    JOBS_FINISHED.of([job::label(&finished.job.kind), outcome]).increment(1);
}

async fn keep_beating(worker: Arc<Worker>, alive: Arc<Notify>, stop: CancellationToken) {
    let host = std::env::var("HOSTNAME").unwrap_or_else(|_| "localhost".into());
    let mut beat = tokio::time::interval(HEARTBEAT);
    beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    while stop.run_until_cancelled(beat.tick()).await.is_some() {
        let outcome = say_alive(&worker, &host).await;
        match &outcome {
            Ok(()) => alive.notify_one(),
            Err(error) => tracing::warn!(%error, "could not send a heartbeat"),
        }
        worker.process.health.report("heartbeat", outcome);
    }
}

async fn say_alive(worker: &Worker, host: &str) -> StoreResult<()> {
    let process = &worker.process;
    let mut tx = process.db.begin().await?;
    workers::beat(&mut tx, worker.id, process.config.process.name(), host, process.desk.clock.now()).await?;
    let _ = tx.commit().await?;
    Ok(())
}

async fn hand_back(worker: &Worker) {
    let back = async {
        let mut tx = worker.process.db.begin().await?;
        let jobs = jobs::hand_back(&mut tx, worker.id, worker.process.desk.clock.now()).await?;
        workers::remove(&mut tx, worker.id).await?;
        let _ = tx.commit().await?;
        StoreResult::Ok(jobs)
    };
    match back.await {
        Ok(0) => {}
        Ok(jobs) => tracing::info!(jobs, "handed back jobs that did not end"),
        Err(error) => tracing::warn!(%error, "could not hand back jobs; they will be rescued"),
    }
}

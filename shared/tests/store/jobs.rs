//! The ledger.

use std::collections::HashSet;

use serde_json::json;
use shared::domain::job::{Ending, Job, Noop, Priority, Prune, SendMail};
use shared::ids::{JobId, NotificationId, WorkerId};
use shared::on_both;
use shared::store::jobs::{self, Again, End, Leased, NewJob, Rescued};
use shared::store::{schedules, workers};
use shared::testkit::Testbed;
use shared::time::Timestamp;

use crate::{at, begin, commit, hours, micros, seconds, write};

on_both! {
    a_job_reads_as_it_was_enqueued,
    a_tick_enqueues_one_job_at_a_time,
    a_key_admits_one_job_that_waits_or_runs,
    only_what_was_enqueued_for_now_is_dispatched,
    what_is_rolled_back_was_never_enqueued,
    a_job_for_later_is_not_claimed_before,
    a_job_is_claimed_once,
    many_jobs_are_claimed_and_finished_at_once,
    jobs_are_found_by_their_keys_whatever_the_database_believes,
    overdue_jobs_are_claimed_by_queue_and_age,
    a_job_is_relayed_once_an_interval,
    a_dead_letter_is_retried_as_a_new_job,
    only_the_dead_are_retried,
    queues_are_measured,
    jobs_are_listed_in_the_order_they_run,
    endings_are_counted_and_dead_letters_listed,
    history_is_pruned_oldest_first,
}

pub(crate) fn noop() -> NewJob {
    NewJob::of(&Noop {})
}

/// Enqueues jobs and returns all that were taken.
pub(crate) async fn enqueue(t: &Testbed, new: Vec<NewJob>) -> Vec<JobId> {
    write(t, async |tx| jobs::enqueue(tx, new, t.now()).await).await
}

pub(crate) async fn claim(t: &Testbed, worker: WorkerId, ids: &[JobId]) -> Vec<Leased> {
    write(t, async |tx| jobs::claim(tx, worker, ids, t.now()).await).await
}

/// Enqueues one job and claims it.
pub(crate) async fn leased(t: &Testbed, worker: WorkerId, new: NewJob) -> Leased {
    let ids = enqueue(t, vec![new]).await;
    claim(t, worker, &ids).await.pop().expect("it can be claimed")
}

pub(crate) async fn finish(
    t: &Testbed,
    worker: WorkerId,
    jobs: &[&Leased],
    ending: Ending,
    note: Option<&str>,
) -> Vec<JobId> {
    let end = |job: &&Leased| End { job: (*job).clone(), ending, note: note.map(str::to_owned) };
    let ends = jobs.iter().map(end).collect();
    write(t, async |tx| jobs::finish(tx, worker, ends, t.now()).await).await
}

pub(crate) async fn put_back(
    t: &Testbed,
    worker: WorkerId,
    job: &Leased,
    at: Timestamp,
    refund: i64,
    error: Option<&str>,
) -> u64 {
    let again = Again { job: job.id, lease_seq: job.lease_seq, at, refund, error: error.map(str::to_owned) };
    write(t, async |tx| jobs::put_back(tx, worker, vec![again]).await).await
}

pub(crate) async fn get(t: &Testbed, id: JobId) -> Leased {
    jobs::get(&t.db, id).await.unwrap().expect("it has not ended")
}

pub(crate) async fn beat(t: &Testbed, worker: WorkerId) {
    write(t, async |tx| workers::beat(tx, worker, "worker", "host", t.now()).await).await;
}

pub(crate) async fn rescue(t: &Testbed, gone_before: Option<Timestamp>) -> Rescued {
    write(t, async |tx| jobs::rescue(tx, gone_before, t.now()).await).await
}

pub(crate) fn again(again: usize) -> Rescued {
    Rescued { again, dead: Vec::new() }
}

async fn a_job_reads_as_it_was_enqueued(t: Testbed) {
    let mail = SendMail { notification: NotificationId::new() };
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let new = NewJob::of(&mail).priority(Priority::High).unique("once").traced(Some(trace.into()));
    let id = enqueue(&t, vec![new]).await[0];
    let job = get(&t, id).await;
    assert_eq!((&*job.kind, job.priority, &*job.state), (SendMail::KIND, Priority::High, "ready"));
    assert_eq!(serde_json::from_value::<SendMail>(job.payload.0).unwrap(), mail);
    assert_eq!(
        (job.attempt, job.max_attempts, job.crashes, job.lease_seq),
        (0, SendMail::MAX_ATTEMPTS, 0, 0)
    );
    assert_eq!((job.unique_key.as_deref(), job.traceparent.as_deref()), (Some("once"), Some(trace)));
    assert_eq!((job.run_at, job.created_at), (t.now(), t.now()));
    assert_eq!((job.worker_id, job.started_at, job.last_error), (None, None, None));
    assert_eq!(jobs::get(&t.db, JobId::new()).await.unwrap(), None);
}

async fn a_tick_enqueues_one_job_at_a_time(t: Testbed) {
    let schedule = schedules::Schedule::new("prune", "0 0 * * * *", Prune::KIND, t.now());
    let tick = || vec![NewJob::of_schedule(&schedule)];
    let first = enqueue(&t, tick()).await;
    assert_eq!(enqueue(&t, tick()).await, []);
    let job = claim(&t, WorkerId::new(), &first).await.pop().unwrap();
    assert_eq!((&*job.kind, &job.payload.0), (Prune::KIND, &json!({})));
    assert_eq!(enqueue(&t, tick()).await, []);
}

async fn a_key_admits_one_job_that_waits_or_runs(t: Testbed) {
    let worker = WorkerId::new();
    let first =
        enqueue(&t, vec![noop().unique("k"), noop().unique("k"), noop().unique("other"), noop()]).await;
    assert_eq!(first.len(), 3);
    assert_eq!(enqueue(&t, vec![noop().unique("k").at(at(hours(1)))]).await, []);
    let job = claim(&t, worker, &first[..1]).await.pop().unwrap();
    assert_eq!(enqueue(&t, vec![noop().unique("k")]).await, []);
    finish(&t, worker, &[&job], Ending::Done, None).await;
    assert_eq!(enqueue(&t, vec![noop().unique("k")]).await.len(), 1);
}

async fn only_what_was_enqueued_for_now_is_dispatched(t: Testbed) {
    let high = noop().priority(Priority::High);
    let mut tx = begin(&t).await;
    let past = noop().at(at(-seconds(1)));
    let first = jobs::enqueue(&mut tx, vec![high, noop().at(at(seconds(1))), past], t.now()).await.unwrap();
    let second = jobs::enqueue(&mut tx, vec![noop().unique("k")], t.now()).await.unwrap();
    let third =
        jobs::enqueue(&mut tx, vec![noop().unique("k"), noop().at(at(seconds(1)))], t.now()).await.unwrap();
    assert_eq!((first.len(), second.len(), third.len()), (3, 1, 1));
    let dispatched: HashSet<_> = commit(tx).await.0.into_iter().collect();
    let normal = |id| (Priority::Normal, id);
    assert_eq!(dispatched, HashSet::from([(Priority::High, first[0]), normal(first[2]), normal(second[0])]));
    assert_eq!(get(&t, first[2]).await.run_at, t.now(), "nothing runs before it exists");
}

async fn what_is_rolled_back_was_never_enqueued(t: Testbed) {
    let mut tx = begin(&t).await;
    let ids = jobs::enqueue(&mut tx, vec![noop().unique("k")], t.now()).await.unwrap();
    assert!(jobs::get(&mut tx, ids[0]).await.unwrap().is_some());
    tx.rollback().await.unwrap();
    assert_eq!(jobs::get(&t.db, ids[0]).await.unwrap(), None);
    assert_eq!(enqueue(&t, vec![noop().unique("k")]).await.len(), 1);
}

async fn a_job_for_later_is_not_claimed_before(t: Testbed) {
    let worker = WorkerId::new();
    let ids = enqueue(&t, vec![noop().at(at(seconds(5) + micros(1)))]).await;
    t.advance(seconds(5));
    assert_eq!(claim(&t, worker, &ids).await, []);
    let overdue = jobs::claim_overdue;
    assert_eq!(write(&t, async |tx| overdue(tx, worker, Priority::Normal, 10, t.now()).await).await, []);
    assert_eq!(write(&t, async |tx| jobs::relay(tx, Priority::Normal, 10, t.now()).await).await, []);
    t.advance(micros(1));
    assert_eq!(claim(&t, worker, &ids).await.len(), 1);
}

async fn a_job_is_claimed_once(t: Testbed) {
    let (a, b) = (WorkerId::new(), WorkerId::new());
    let mut ids = enqueue(&t, vec![noop(), noop(), noop()]).await;
    t.advance(seconds(1));
    let first = claim(&t, a, &ids[..2]).await;
    assert_eq!(first.iter().map(|job| job.id).collect::<HashSet<_>>(), ids[..2].iter().copied().collect());
    for job in &first {
        assert_eq!((&*job.state, job.attempt, job.lease_seq, job.worker_id), ("running", 1, 1, Some(a)));
        assert_eq!(job.started_at, Some(t.now()));
        assert_eq!(*job, get(&t, job.id).await);
    }
    ids.extend([JobId::new(), ids[2]]);
    let second = claim(&t, b, &ids).await;
    assert_eq!(second.iter().map(|job| job.id).collect::<Vec<_>>(), [ids[2]]);
    assert_eq!(claim(&t, b, &ids).await, []);
    assert_eq!(claim(&t, b, &[]).await, []);
}

async fn many_jobs_are_claimed_and_finished_at_once(t: Testbed) {
    let worker = WorkerId::new();
    let ids = enqueue(&t, (0..1_500).map(|_| noop()).collect()).await;
    assert_eq!(ids.len(), 1_500);
    let mut claimed = claim(&t, worker, &ids).await;
    assert_eq!(claimed.len(), 1_500);
    let rest = claimed.split_off(1_000);
    let ended = finish(&t, worker, &claimed.iter().collect::<Vec<_>>(), Ending::Done, None).await;
    assert_eq!(ended.len(), 1_000);
    let again = rest
        .iter()
        .map(|job| Again { job: job.id, lease_seq: 1, at: t.now(), refund: 0, error: None })
        .collect();
    assert_eq!(write(&t, async |tx| jobs::put_back(tx, worker, again).await).await, 500);
    assert_eq!(jobs::list(&t.db, 10_000).await.unwrap().len(), 500);
}

async fn overdue_jobs_are_claimed_by_queue_and_age(t: Testbed) {
    let worker = WorkerId::new();
    let first = enqueue(&t, vec![noop(), noop().priority(Priority::High)]).await;
    t.advance(seconds(1));
    let second = enqueue(&t, vec![noop()]).await;
    let overdue = async |priority, limit| {
        let claimed =
            write(&t, async |tx| jobs::claim_overdue(tx, worker, priority, limit, t.now()).await).await;
        claimed.into_iter().map(|job| job.id).collect::<Vec<_>>()
    };
    t.advance(jobs::DISPATCH_GRACE);
    assert_eq!(overdue(Priority::Normal, 10).await, first[..1], "the second is still the relay's");
    assert_eq!(overdue(Priority::Low, 10).await, []);
    assert_eq!(overdue(Priority::High, 10).await, first[1..]);
    t.advance(seconds(1));
    let third = enqueue(&t, vec![noop()]).await;
    t.advance(hours(1));
    assert_eq!(overdue(Priority::Normal, 1).await, second, "the oldest goes first");
    assert_eq!(overdue(Priority::Normal, 10).await, third);
    assert_eq!(get(&t, third[0]).await.lease_seq, 1);
}

async fn a_job_is_relayed_once_an_interval(t: Testbed) {
    let relay =
        async |priority, limit| write(&t, async |tx| jobs::relay(tx, priority, limit, t.now()).await).await;
    let ids = enqueue(&t, vec![noop(), noop().at(at(seconds(1))), noop().priority(Priority::Low)]).await;
    t.advance(jobs::DISPATCH_GRACE - micros(1));
    assert_eq!(relay(Priority::Normal, 10).await, [ids[1]], "the other is left to whoever enqueued it");
    t.advance(micros(1));
    assert_eq!(relay(Priority::Normal, 10).await, [ids[0]]);
    assert_eq!(relay(Priority::Normal, 10).await, []);
    t.advance(seconds(10));
    assert_eq!(relay(Priority::Normal, 1).await, [ids[1]], "nobody claimed it, and it has waited longest");
    claim(&t, WorkerId::new(), &ids[..1]).await;
    assert_eq!(relay(Priority::Normal, 10).await, []);
    assert_eq!(relay(Priority::Low, 10).await, [ids[2]]);
}

async fn a_dead_letter_is_retried_as_a_new_job(t: Testbed) {
    let worker = WorkerId::new();
    let mail = SendMail { notification: NotificationId::new() };
    let job = leased(&t, worker, NewJob::of(&mail).priority(Priority::High).unique("k")).await;
    finish(&t, worker, &[&job], Ending::Dead, Some("no such mailbox")).await;
    t.advance(hours(1));
    let mut tx = begin(&t).await;
    let copy = jobs::retry(&mut tx, job.id, t.now()).await.unwrap().unwrap();
    assert_eq!(commit(tx).await.0, [(Priority::High, copy)]);
    assert_ne!(copy, job.id);
    let new = get(&t, copy).await;
    assert_eq!((&*new.kind, new.payload, new.unique_key), (SendMail::KIND, job.payload, job.unique_key));
    assert_eq!(
        (&*new.state, new.attempt, new.max_attempts, new.crashes, new.lease_seq),
        ("ready", 0, 3, 0, 0)
    );
    assert_eq!((new.run_at, new.created_at), (t.now(), t.now()));
    assert_eq!(new.last_error.as_deref(), Some("no such mailbox"));
    let second = write(&t, async |tx| jobs::retry(tx, job.id, t.now()).await).await;
    assert_eq!(second, None, "one like it waits already");
    assert!(jobs::ended(&t.db, job.id).await.unwrap().is_some(), "what happened stays on record");
    assert_eq!(claim(&t, worker, &[copy]).await.len(), 1);
}

async fn only_the_dead_are_retried(t: Testbed) {
    let worker = WorkerId::new();
    let job = leased(&t, worker, noop()).await;
    let retry = async |id| {
        let mut tx = begin(&t).await;
        let copy = jobs::retry(&mut tx, id, t.now()).await.unwrap();
        assert_eq!(commit(tx).await.0, []);
        copy
    };
    assert_eq!(retry(job.id).await, None);
    finish(&t, worker, &[&job], Ending::Done, None).await;
    assert_eq!(retry(job.id).await, None);
    assert_eq!(retry(JobId::new()).await, None);
}

async fn queues_are_measured(t: Testbed) {
    assert_eq!(jobs::depths(&t.db, t.now()).await.unwrap(), []);
    let ids =
        enqueue(&t, vec![noop(), noop().priority(Priority::High), noop().at(at(seconds(1))), noop()]).await;
    claim(&t, WorkerId::new(), &ids[3..]).await;
    t.advance(micros(500_000));
    enqueue(&t, vec![noop()]).await;
    let depth = |priority, state: &str, jobs| jobs::Depth {
        priority,
        state: state.into(),
        jobs,
        oldest: at(seconds(0)),
    };
    let (high, normal) = (Priority::High, Priority::Normal);
    let expected = [depth(high, "ready", 1), depth(normal, "ready", 2), depth(normal, "running", 1)];
    assert_eq!(jobs::depths(&t.db, t.now()).await.unwrap(), expected);
    assert_eq!(jobs::depths(&t.db, at(seconds(1))).await.unwrap()[1].jobs, 3);
}

async fn jobs_are_listed_in_the_order_they_run(t: Testbed) {
    let later = |s| noop().at(at(seconds(s)));
    let ids = enqueue(&t, vec![later(30), later(10), noop(), later(20)]).await;
    claim(&t, WorkerId::new(), &ids[2..3]).await;
    let listed = async |limit| {
        jobs::list(&t.db, limit).await.unwrap().into_iter().map(|job| job.id).collect::<Vec<_>>()
    };
    assert_eq!(listed(10).await, [ids[2], ids[1], ids[3], ids[0]]);
    assert_eq!(listed(2).await, [ids[2], ids[1]]);
}

async fn endings_are_counted_and_dead_letters_listed(t: Testbed) {
    let worker = WorkerId::new();
    let mut dead = Vec::new();
    for ending in [Ending::Dead, Ending::Done, Ending::Dead, Ending::Discarded, Ending::Done] {
        let job = leased(&t, worker, noop()).await;
        finish(&t, worker, &[&job], ending, None).await;
        dead.extend((ending == Ending::Dead).then_some(job.id));
        t.advance(seconds(1));
    }
    let prune = leased(&t, worker, NewJob::of(&Prune {})).await;
    finish(&t, worker, &[&prune], Ending::Done, None).await;
    let count = |kind: &str, outcome: &str, jobs: i64| (kind.to_owned(), outcome.to_owned(), jobs);
    let expected = [
        count("noop", "dead", 2),
        count("noop", "discarded", 1),
        count("noop", "done", 2),
        count("prune", "done", 1),
    ];
    assert_eq!(jobs::endings(&t.db).await.unwrap(), expected);
    let listed = async |limit| {
        jobs::dead(&t.db, limit).await.unwrap().into_iter().map(|job| job.id).collect::<Vec<_>>()
    };
    assert_eq!(listed(10).await, [dead[1], dead[0]]);
    assert_eq!(listed(1).await, [dead[1]]);
}

async fn history_is_pruned_oldest_first(t: Testbed) {
    let worker = WorkerId::new();
    let mut ids = Vec::new();
    for _ in 0..4 {
        let job = leased(&t, worker, noop()).await;
        finish(&t, worker, &[&job], Ending::Done, None).await;
        ids.push(job.id);
        t.advance(seconds(1));
    }
    let prune =
        async |before, limit| write(&t, async |tx| jobs::prune(tx, at(seconds(before)), limit).await).await;
    assert_eq!(prune(3, 1).await, 1);
    assert_eq!(jobs::ended(&t.db, ids[0]).await.unwrap(), None);
    assert_eq!(prune(3, 10).await, 2);
    assert!(jobs::ended(&t.db, ids[3]).await.unwrap().is_some());
}

/// While thousands wait or run of which the planner knows nothing, it would compare each with each.
async fn jobs_are_found_by_their_keys_whatever_the_database_believes(t: Testbed) {
    let worker = WorkerId::new();
    let ids = enqueue(&t, (0..3_000).map(|_| noop()).collect()).await;
    write(&t, async |tx| jobs::analyze(tx).await).await;
    let running = claim(&t, worker, &ids).await;
    assert_eq!(running.len(), 3_000);
    for learns in [false, true] {
        if learns {
            write(&t, async |tx| jobs::analyze(tx).await).await;
        }
        let mut tx = begin(&t).await;
        for plan in jobs::plans(&mut tx, worker, &running[..256], t.now()).await.unwrap() {
            assert!(!plan.contains("Join Filter"), "each with each: {plan}");
            assert!(!plan.contains("jobs_running") && !plan.contains("jobs_ready"), "{plan}");
        }
        tx.rollback().await.unwrap();
    }
}

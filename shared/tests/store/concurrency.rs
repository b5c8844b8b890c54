//! What happens at the same time. SQLite has one writer, so only PostgreSQL has anything to show.

use std::collections::HashSet;
use std::hash::Hash;
use std::time::Duration;

use shared::domain::cause::Cause;
use shared::domain::escalation::StopReason;
use shared::domain::job::{Ending, Noop, Priority as Queue};
use shared::domain::ticket::{Priority, Status};
use shared::ids::{ClaimToken, JobId, WorkerId};
use shared::store::desk::Error;
use shared::store::escalations::Opening;
use shared::store::idempotency::{self, Claim};
use shared::store::jobs::{End, NewJob};
use shared::store::notifications::Recipient;
use shared::store::schedules::Schedule;
use shared::store::{Db, clocks, escalations, jobs, leases, notifications, schedules, tickets};
use shared::testkit::{Testbed, eventually};

use crate::{at, begin, commit, hours, micros, minutes, seconds, write};

macro_rules! on_postgres {
    ($($name:ident),* $(,)?) => {$(
        mod $name {
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn on_postgres() {
                if let Some(testbed) = shared::testkit::Testbed::postgres().await {
                    super::$name(testbed).await;
                }
            }
        }
    )*};
}

on_postgres! {
    two_sweeps_take_different_clocks,
    two_sweeps_take_different_escalations,
    two_workers_take_different_jobs,
    two_relays_send_different_jobs,
    two_rescues_take_different_jobs,
    a_sweep_does_not_wait_for_a_ticket_somebody_works_on,
    a_move_and_a_sweep_of_one_ticket_do_not_deadlock,
    acknowledging_stops_the_escalation_that_a_sweep_is_opening,
    a_sweep_during_an_acknowledgement_opens_no_escalation,
    acknowledging_stops_the_escalation_that_is_taking_a_step,
    the_second_change_of_a_version_is_stale,
    a_worker_that_finishes_during_its_rescue_comes_too_late,
    one_of_two_equal_requests_is_answered,
    one_of_two_leaders_leads,
    one_of_two_leaders_takes_a_tick,
    one_of_two_jobs_with_a_key_is_enqueued,
    one_of_two_decisions_stands,
}

/// Waits until a statement waits for a lock.
async fn somebody_waits(t: &Testbed) {
    let Db::Postgres(pool) = &t.db else { panic!("only PostgreSQL waits for rows") };
    let waiting = async || {
        let ungranted = "SELECT count(*) FROM pg_locks l JOIN pg_stat_activity a USING (pid)
            WHERE NOT l.granted AND a.datname = current_database()";
        let waiting: i64 = sqlx::query_scalar(ungranted).fetch_one(pool).await.expect("an answer");
        (waiting > 0).then_some(())
    };
    eventually("a statement waits for a lock", Duration::from_secs(10), waiting).await;
}

/// Fails instead of waiting for ever.
async fn at_once<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(10), work).await.expect("it waits for a lock")
}

/// Checks that two halves make the whole and share nothing.
fn disjoint<T: Copy + Eq + Hash + std::fmt::Debug>(a: &[T], b: &[T], whole: usize) {
    let together: HashSet<T> = a.iter().chain(b).copied().collect();
    assert_eq!((a.len() + b.len(), together.len()), (whole, whole), "{a:?} and {b:?}");
    assert!(!a.is_empty() && !b.is_empty());
}

fn clock_ids(claimed: &[clocks::Stored]) -> Vec<shared::ids::ClockId> {
    claimed.iter().map(|stored| stored.id).collect()
}

async fn two_sweeps_take_different_clocks(t: Testbed) {
    for _ in 0..10 {
        t.open(Priority::Critical).await;
    }
    t.advance(hours(9));
    let (mut one, mut two, mut three) = (begin(&t).await, begin(&t).await, begin(&t).await);
    let a = at_once(clocks::claim_due(&mut one, t.now(), 7)).await.unwrap();
    let b = at_once(clocks::claim_due(&mut two, t.now(), 100)).await.unwrap();
    disjoint(&clock_ids(&a), &clock_ids(&b), 20);
    assert_eq!(at_once(clocks::claim_due(&mut three, t.now(), 100)).await.unwrap(), []);
    two.rollback().await.unwrap();
    assert_eq!(at_once(clocks::claim_due(&mut three, t.now(), 100)).await.unwrap(), b);
}

async fn two_sweeps_take_different_escalations(t: Testbed) {
    for _ in 0..6 {
        t.open(Priority::Critical).await;
    }
    t.advance(minutes(61));
    assert_eq!(t.sweep().await.breaches.len(), 6);
    t.advance(hours(1));
    let (mut one, mut two) = (begin(&t).await, begin(&t).await);
    let a = at_once(escalations::claim_due(&mut one, t.now(), 2)).await.unwrap();
    let b = at_once(escalations::claim_due(&mut two, t.now(), 100)).await.unwrap();
    let ids = |claimed: &[escalations::Escalation]| claimed.iter().map(|e| e.id).collect::<Vec<_>>();
    disjoint(&ids(&a), &ids(&b), 6);
}

async fn two_workers_take_different_jobs(t: Testbed) {
    let ids: Vec<JobId> = t
        .enqueue((0..20).map(|_| NewJob::of(&Noop {})).collect())
        .await
        .0
        .into_iter()
        .map(|(_, id)| id)
        .collect();
    t.advance(minutes(1));
    let (mut one, mut two, mut three) = (begin(&t).await, begin(&t).await, begin(&t).await);
    let worker = WorkerId::new();
    let claimed = |claimed: Vec<jobs::Leased>| claimed.into_iter().map(|job| job.id).collect::<Vec<_>>();
    let a = claimed(at_once(jobs::claim(&mut one, worker, &ids[..12], t.now())).await.unwrap());
    let b = claimed(at_once(jobs::claim(&mut two, worker, &ids[6..17], t.now())).await.unwrap());
    disjoint(&a, &b, 17);
    let c =
        claimed(at_once(jobs::claim_overdue(&mut three, worker, Queue::Normal, 100, t.now())).await.unwrap());
    assert_eq!(c.iter().collect::<HashSet<_>>(), ids[17..].iter().collect());
    for tx in [one, two, three] {
        let _ = commit(tx).await;
    }
    assert!(jobs::list(&t.db, 100).await.unwrap().iter().all(|job| (job.attempt, job.lease_seq) == (1, 1)));
}

async fn two_relays_send_different_jobs(t: Testbed) {
    let _ = t.enqueue((0..10).map(|_| NewJob::of(&Noop {})).collect()).await;
    t.advance(minutes(1));
    let (mut one, mut two) = (begin(&t).await, begin(&t).await);
    let a = at_once(jobs::relay(&mut one, Queue::Normal, 4, t.now())).await.unwrap();
    let b = at_once(jobs::relay(&mut two, Queue::Normal, 100, t.now())).await.unwrap();
    disjoint(&a, &b, 10);
}

async fn two_rescues_take_different_jobs(t: Testbed) {
    let ids: Vec<JobId> = t
        .enqueue((0..10).map(|_| NewJob::of(&Noop {})).collect())
        .await
        .0
        .into_iter()
        .map(|(_, id)| id)
        .collect();
    write(&t, async |tx| jobs::claim(tx, WorkerId::new(), &ids, t.now()).await).await;
    let (mut one, mut two) = (begin(&t).await, begin(&t).await);
    let a = at_once(jobs::rescue(&mut one, Some(t.now()), t.now())).await.unwrap();
    let b = at_once(jobs::rescue(&mut two, Some(t.now()), t.now())).await.unwrap();
    assert_eq!((a.again, b.again), (10, 0));
    let (_, _) = (commit(one).await, commit(two).await);
    assert!(jobs::list(&t.db, 100).await.unwrap().iter().all(|job| job.crashes == 1));
}

async fn a_sweep_does_not_wait_for_a_ticket_somebody_works_on(t: Testbed) {
    let ticket = t.open(Priority::Critical).await;
    t.advance(hours(9));
    let mut working = begin(&t).await;
    tickets::lock(&mut working, ticket.id).await.unwrap();
    let swept = at_once(t.sweep()).await;
    assert_eq!(swept.breaches.len(), 2);
    drop(working);
    assert_eq!(escalations::of_ticket(&t.db, ticket.id).await.unwrap().len(), 1);
}

async fn a_move_and_a_sweep_of_one_ticket_do_not_deadlock(t: Testbed) {
    let ticket = t.open(Priority::Critical).await;
    t.advance(hours(9));
    let mut sweeping = begin(&t).await;
    let due = clocks::claim_due(&mut sweeping, t.now(), 100).await.unwrap();
    let moving = async {
        write(&t, async |tx| t.desk.move_to(tx, ticket.id, None, &t.staff(), Status::InProgress).await).await
    };
    let opening = async {
        somebody_waits(&t).await;
        let (policy, since, first_step_at) = (None, t.now(), t.now());
        let opening = |stored: &clocks::Stored| Opening {
            ticket: stored.ticket_id,
            clock: stored.id,
            policy,
            since,
            first_step_at,
        };
        escalations::open(&mut sweeping, due.iter().map(opening)).await.unwrap();
        commit(sweeping).await
    };
    let (moved, _) = at_once(async { tokio::join!(moving, opening) }).await;
    assert_eq!(moved.status, Status::InProgress);
}

async fn acknowledging_stops_the_escalation_that_a_sweep_is_opening(t: Testbed) {
    let ticket = t.open(Priority::Critical).await;
    t.advance(hours(9));
    let mut sweeping = begin(&t).await;
    assert_eq!(t.desk.sweep(&mut sweeping, 100).await.unwrap().breaches.len(), 2);
    let acknowledging = write(&t, async |tx| t.desk.acknowledge(tx, ticket.id, None, &t.staff()).await);
    let committing = async {
        somebody_waits(&t).await;
        commit(sweeping).await
    };
    let (acknowledged, _) = at_once(async { tokio::join!(acknowledging, committing) }).await;
    assert!(acknowledged.acknowledged_at.is_some());
    let of_ticket = escalations::of_ticket(&t.db, ticket.id).await.unwrap();
    assert_eq!(of_ticket.iter().map(|e| e.stop_reason).collect::<Vec<_>>(), [Some(StopReason::Acknowledged)]);
}

async fn a_sweep_during_an_acknowledgement_opens_no_escalation(t: Testbed) {
    let ticket = t.open(Priority::Critical).await;
    t.advance(hours(9));
    let mut acknowledging = begin(&t).await;
    t.desk.acknowledge(&mut acknowledging, ticket.id, None, &t.staff()).await.unwrap();
    at_once(t.sweep()).await;
    let _ = commit(acknowledging).await;
    t.sweep().await;
    assert!(t.clocks(&ticket).await.iter().all(|stored| stored.clock.breached_at.is_some()));
    assert_eq!(escalations::of_ticket(&t.db, ticket.id).await.unwrap(), []);
}

async fn acknowledging_stops_the_escalation_that_is_taking_a_step(t: Testbed) {
    let ticket = t.open(Priority::Critical).await;
    t.advance(minutes(61));
    t.sweep().await;
    t.advance(minutes(15));
    let mut stepping = begin(&t).await;
    assert_eq!(t.desk.escalate(&mut stepping, 100).await.unwrap(), 1);
    let acknowledging = write(&t, async |tx| t.desk.acknowledge(tx, ticket.id, None, &t.staff()).await);
    let committing = async {
        somebody_waits(&t).await;
        commit(stepping).await
    };
    let (_, _) = at_once(async { tokio::join!(acknowledging, committing) }).await;
    let escalation = escalations::of_ticket(&t.db, ticket.id).await.unwrap().pop().unwrap();
    assert_eq!((escalation.steps_done, escalation.next_step_at), (1, None));
}

async fn the_second_change_of_a_version_is_stale(t: Testbed) {
    let ticket = t.open(Priority::Critical).await;
    let mut first = begin(&t).await;
    t.desk
        .edit(&mut first, ticket.id, Some(1), &t.staff(), |ticket| ticket.title = "first".into())
        .await
        .unwrap();
    let (mut second, staff) = (begin(&t).await, t.staff());
    let editing =
        t.desk.edit(&mut second, ticket.id, Some(1), &staff, |ticket| ticket.title = "second".into());
    let committing = async {
        somebody_waits(&t).await;
        commit(first).await
    };
    let (edited, _) = at_once(async { tokio::join!(editing, committing) }).await;
    assert!(matches!(edited, Err(Error::Stale { current: 2, .. })), "{edited:?}");
    assert_eq!(tickets::get(&t.db, ticket.id).await.unwrap().unwrap().title, "first");
}

async fn a_worker_that_finishes_during_its_rescue_comes_too_late(t: Testbed) {
    let worker = WorkerId::new();
    let id = t.enqueue(vec![NewJob::of(&Noop {})]).await.0[0].1;
    let job = write(&t, async |tx| jobs::claim(tx, worker, &[id], t.now()).await).await.pop().unwrap();
    let mut rescuing = begin(&t).await;
    assert_eq!(jobs::rescue(&mut rescuing, Some(t.now()), t.now()).await.unwrap().again, 1);
    let end = End { job, ending: Ending::Done, note: None };
    let finishing = write(&t, async |tx| jobs::finish(tx, worker, vec![end], t.now()).await);
    let committing = async {
        somebody_waits(&t).await;
        commit(rescuing).await
    };
    let (finished, _) = at_once(async { tokio::join!(finishing, committing) }).await;
    assert_eq!(finished, []);
    assert_eq!(jobs::ended(&t.db, id).await.unwrap(), None);
    assert_eq!(jobs::get(&t.db, id).await.unwrap().unwrap().state, "ready");
}

async fn one_of_two_equal_requests_is_answered(t: Testbed) {
    let claim = async |tx: &mut _, token| {
        idempotency::claim(tx, t.staff.id, "key", "hash", token, t.now(), at(minutes(1))).await.unwrap()
    };
    let (mut one, mut two) = (begin(&t).await, begin(&t).await);
    assert_eq!(claim(&mut one, ClaimToken::new()).await, Claim::Taken);
    let committing = async {
        somebody_waits(&t).await;
        commit(one).await
    };
    let (second, _) = at_once(async { tokio::join!(claim(&mut two, ClaimToken::new()), committing) }).await;
    assert_eq!(second, Claim::Running);
}

async fn one_of_two_leaders_leads(t: Testbed) {
    let take =
        async |tx: &mut _| leases::take(tx, "cron", WorkerId::new(), t.now(), at(minutes(1))).await.unwrap();
    let (mut one, mut two) = (begin(&t).await, begin(&t).await);
    assert!(take(&mut one).await);
    let committing = async {
        somebody_waits(&t).await;
        commit(one).await
    };
    let (second, _) = at_once(async { tokio::join!(take(&mut two), committing) }).await;
    assert!(!second);
}

async fn one_of_two_leaders_takes_a_tick(t: Testbed) {
    let schedule = Schedule::new("prune", "0 * * * * *", "prune", t.now());
    write(&t, async |tx| schedules::ensure(tx, &schedule).await).await;
    let advance =
        async |tx: &mut _| schedules::advance(tx, &schedule, t.now(), at(minutes(1))).await.unwrap();
    let (mut one, mut two) = (begin(&t).await, begin(&t).await);
    assert!(advance(&mut one).await);
    let committing = async {
        somebody_waits(&t).await;
        commit(one).await
    };
    let (second, _) = at_once(async { tokio::join!(advance(&mut two), committing) }).await;
    assert!(!second);
}

async fn one_of_two_jobs_with_a_key_is_enqueued(t: Testbed) {
    let enqueue =
        async |tx: &mut _| jobs::enqueue(tx, vec![NewJob::of(&Noop {}).unique("k")], t.now()).await.unwrap();
    let (mut one, mut two) = (begin(&t).await, begin(&t).await);
    assert_eq!(enqueue(&mut one).await.len(), 1);
    let committing = async {
        somebody_waits(&t).await;
        commit(one).await
    };
    let (second, _) = at_once(async { tokio::join!(enqueue(&mut two), committing) }).await;
    assert_eq!(second, []);
    assert!(commit(two).await.0.is_empty());
}

async fn one_of_two_decisions_stands(t: Testbed) {
    let cause = Cause::Created { ticket: t.open(Priority::Low).await.id };
    let to = [Recipient::mail("ann@example.org")];
    let decide =
        async |tx: &mut _| notifications::decide(tx, &cause, &to, at(seconds(1) + micros(1))).await.unwrap();
    let (mut one, mut two) = (begin(&t).await, begin(&t).await);
    assert_eq!(decide(&mut one).await.len(), 1);
    let committing = async {
        somebody_waits(&t).await;
        commit(one).await
    };
    let (second, _) = at_once(async { tokio::join!(decide(&mut two), committing) }).await;
    assert_eq!(second, []);
}

//! How leases on jobs end.

use std::collections::HashSet;
use std::slice::from_ref;

use shared::domain::cause::Cause;
use shared::domain::job::{Ending, Job, MAX_CRASHES, Notify, Priority};
use shared::ids::{JobId, TicketId, WorkerId};
use shared::on_both;
use shared::store::jobs::{self, NewJob, Rescued};
use shared::testkit::Testbed;

use crate::jobs::{again, beat, claim, enqueue, finish, get, leased, noop, put_back, rescue};
use crate::{micros, minutes, seconds, write};

on_both! {
    a_finished_job_is_history,
    only_the_holder_of_a_lease_ends_it,
    a_lease_that_was_renewed_is_another_lease,
    a_job_put_back_runs_again,
    what_a_worker_hands_back_costs_no_attempt,
    jobs_of_a_silent_worker_are_rescued,
    a_job_past_its_deadline_is_rescued,
    a_rescued_job_is_beyond_its_old_worker,
    three_crashes_are_the_end,
    many_lost_jobs_are_rescued_in_turns,
}

async fn a_finished_job_is_history(t: Testbed) {
    let worker = WorkerId::new();
    let cause = Cause::Created { ticket: TicketId::new() };
    let new = NewJob::of(&Notify { cause: cause.clone() }).priority(Priority::High).unique("k");
    let job = leased(&t, worker, new).await;
    put_back(&t, worker, &job, t.now(), 0, Some("away")).await;
    let job = claim(&t, worker, &[job.id]).await.pop().unwrap();
    t.advance(seconds(3));
    assert_eq!(finish(&t, worker, &[&job], Ending::Done, None).await, [job.id]);
    assert_eq!(jobs::get(&t.db, job.id).await.unwrap(), None);
    let ended = jobs::ended(&t.db, job.id).await.unwrap().unwrap();
    assert_eq!((&*ended.kind, ended.priority, ended.outcome), (Notify::KIND, Priority::High, Ending::Done));
    assert_eq!(serde_json::from_value::<Notify>(ended.payload.0).unwrap(), Notify { cause });
    assert_eq!((ended.attempt, ended.finished_at), (2, t.now()));
    assert_eq!(ended.last_error.as_deref(), Some("away"));
    let idle = leased(&t, worker, noop()).await;
    finish(&t, worker, &[&idle], Ending::Discarded, Some("superseded")).await;
    let ended = jobs::ended(&t.db, idle.id).await.unwrap().unwrap();
    assert_eq!((ended.outcome, ended.last_error.as_deref()), (Ending::Discarded, Some("superseded")));
    assert_eq!(finish(&t, worker, &[], Ending::Done, None).await, []);
    assert_eq!(jobs::ended(&t.db, JobId::new()).await.unwrap(), None);
}

async fn only_the_holder_of_a_lease_ends_it(t: Testbed) {
    let (a, b) = (WorkerId::new(), WorkerId::new());
    let (mine, other) = (leased(&t, a, noop()).await, leased(&t, b, noop()).await);
    assert!(jobs::holds(&t.db, a, &mine).await.unwrap());
    assert!(!jobs::holds(&t.db, b, &mine).await.unwrap());
    assert_eq!(finish(&t, a, &[&mine, &other], Ending::Done, None).await, [mine.id]);
    assert!(!jobs::holds(&t.db, a, &mine).await.unwrap());
    assert_eq!(finish(&t, a, &[&mine], Ending::Done, None).await, [], "it has ended already");
    assert_eq!(put_back(&t, a, &other, t.now(), 0, None).await, 0);
    assert_eq!(get(&t, other.id).await, other);
    assert_eq!(jobs::ended(&t.db, other.id).await.unwrap(), None);
}

async fn a_lease_that_was_renewed_is_another_lease(t: Testbed) {
    let worker = WorkerId::new();
    let old = leased(&t, worker, noop()).await;
    assert_eq!(put_back(&t, worker, &old, t.now(), 0, None).await, 1);
    let new = claim(&t, worker, &[old.id]).await.pop().unwrap();
    assert_eq!((new.lease_seq, new.attempt), (2, 2));
    assert!(!jobs::holds(&t.db, worker, &old).await.unwrap());
    assert_eq!(put_back(&t, worker, &old, t.now(), 0, None).await, 0);
    assert_eq!(finish(&t, worker, &[&old], Ending::Done, None).await, []);
    assert_eq!(finish(&t, worker, &[&new], Ending::Done, None).await, [new.id]);
}

async fn a_job_put_back_runs_again(t: Testbed) {
    let worker = WorkerId::new();
    let job = leased(&t, worker, noop()).await;
    let later = t.now() + minutes(1);
    assert_eq!(put_back(&t, worker, &job, later, 0, Some("connection refused")).await, 1);
    let failed = get(&t, job.id).await;
    assert_eq!((&*failed.state, failed.attempt, failed.lease_seq, failed.run_at), ("ready", 1, 1, later));
    assert_eq!((failed.worker_id, failed.started_at), (None, None));
    assert_eq!(failed.last_error.as_deref(), Some("connection refused"));
    assert_eq!(claim(&t, worker, &[job.id]).await, []);
    t.advance(minutes(1));
    let job = claim(&t, worker, &[job.id]).await.pop().unwrap();
    assert_eq!(put_back(&t, worker, &job, t.now(), 1, None).await, 1);
    let snoozed = get(&t, job.id).await;
    assert_eq!((snoozed.attempt, snoozed.lease_seq), (1, 2), "a snooze costs no attempt");
    assert_eq!(snoozed.last_error.as_deref(), Some("connection refused"));
}

async fn what_a_worker_hands_back_costs_no_attempt(t: Testbed) {
    let (a, b) = (WorkerId::new(), WorkerId::new());
    let ids = enqueue(&t, vec![noop(), noop(), noop()]).await;
    claim(&t, a, &ids[..2]).await;
    let other = claim(&t, b, &ids[2..]).await.pop().unwrap();
    let held = async |worker| {
        jobs::held_by(&t.db, worker).await.unwrap().into_iter().map(|job| job.id).collect::<HashSet<_>>()
    };
    assert_eq!(held(a).await, HashSet::from([ids[0], ids[1]]));
    assert_eq!(jobs::held_by(&t.db, b).await.unwrap(), from_ref(&other));
    t.advance(seconds(5));
    assert_eq!(write(&t, async |tx| jobs::hand_back(tx, a, t.now()).await).await, 2);
    for id in &ids[..2] {
        let job = get(&t, *id).await;
        assert_eq!((&*job.state, job.attempt, job.lease_seq, job.crashes), ("ready", 0, 1, 0));
        assert_eq!((job.run_at, job.worker_id), (t.now(), None));
    }
    assert_eq!(held(a).await, HashSet::new());
    assert_eq!(get(&t, other.id).await, other);
    let relayed = write(&t, async |tx| jobs::relay(tx, Priority::Normal, 10, t.now()).await).await;
    assert_eq!(relayed.len(), 2, "others need not wait for them");
}

async fn jobs_of_a_silent_worker_are_rescued(t: Testbed) {
    let (silent, lively, unknown) = (WorkerId::new(), WorkerId::new(), WorkerId::new());
    beat(&t, silent).await;
    beat(&t, lively).await;
    let lost = [leased(&t, silent, noop()).await, leased(&t, unknown, noop()).await];
    let kept = leased(&t, lively, noop()).await;
    let waiting = enqueue(&t, vec![noop()]).await[0];
    t.advance(seconds(20));
    beat(&t, lively).await;
    assert_eq!(rescue(&t, Some(t.now() - seconds(10))).await, again(2));
    for job in lost {
        let job = get(&t, job.id).await;
        assert_eq!((&*job.state, job.crashes, job.attempt, job.worker_id), ("ready", 1, 1, None));
        assert_eq!((job.run_at, job.last_error.as_deref()), (t.now(), Some("its worker was lost")));
    }
    assert_eq!(get(&t, kept.id).await, kept);
    assert_eq!(get(&t, waiting).await.crashes, 0);
    assert_eq!(rescue(&t, Some(t.now() - seconds(10))).await, again(0));
}

async fn a_job_past_its_deadline_is_rescued(t: Testbed) {
    let worker = WorkerId::new();
    beat(&t, worker).await;
    let job = leased(&t, worker, noop()).await;
    t.advance(minutes(15) - micros(1));
    assert_eq!(rescue(&t, None).await, again(0), "silence alone does not count");
    t.advance(micros(1));
    beat(&t, worker).await;
    assert_eq!(rescue(&t, None).await, again(1));
    assert_eq!(get(&t, job.id).await.crashes, 1);
}

async fn a_rescued_job_is_beyond_its_old_worker(t: Testbed) {
    let (slow, quick) = (WorkerId::new(), WorkerId::new());
    let old = leased(&t, slow, noop()).await;
    assert_eq!(rescue(&t, Some(t.now())).await, again(1));
    assert_eq!(finish(&t, slow, &[&old], Ending::Done, None).await, [], "nobody holds it now");
    let new = claim(&t, quick, &[old.id]).await.pop().unwrap();
    assert_eq!((new.lease_seq, new.crashes), (2, 1));
    assert!(!jobs::holds(&t.db, slow, &old).await.unwrap());
    assert_eq!(put_back(&t, slow, &old, t.now(), 1, None).await, 0);
    assert_eq!(finish(&t, slow, &[&old], Ending::Dead, None).await, []);
    assert_eq!(write(&t, async |tx| jobs::hand_back(tx, slow, t.now()).await).await, 0);
    assert_eq!(get(&t, old.id).await, new);
    assert_eq!(finish(&t, quick, &[&new], Ending::Done, None).await, [new.id]);
}

async fn three_crashes_are_the_end(t: Testbed) {
    let worker = WorkerId::new();
    let id = enqueue(&t, vec![noop().unique("k")]).await[0];
    for crash in 1..=MAX_CRASHES {
        assert_eq!(claim(&t, worker, &[id]).await.len(), 1);
        let rescued = rescue(&t, Some(t.now())).await;
        let dead = usize::from(crash == MAX_CRASHES);
        assert_eq!((rescued.again, rescued.dead.len()), (1 - dead, dead));
    }
    assert_eq!(jobs::get(&t.db, id).await.unwrap(), None);
    let ended = jobs::ended(&t.db, id).await.unwrap().unwrap();
    assert_eq!((ended.outcome, ended.attempt), (Ending::Dead, 3));
    assert_eq!(ended.last_error.as_deref(), Some("it lost its worker 3 times"));
}

async fn many_lost_jobs_are_rescued_in_turns(t: Testbed) {
    let ids = enqueue(&t, (0..700).map(|_| noop()).collect()).await;
    claim(&t, WorkerId::new(), &ids).await;
    let mut rescued = 0;
    while let Rescued { again: 1.., .. } = rescue(&t, Some(t.now())).await {
        rescued += 1;
        assert!(rescued < 10);
    }
    assert!(
        jobs::list(&t.db, 1_000).await.unwrap().iter().all(|job| job.state == "ready" && job.crashes == 1)
    );
}

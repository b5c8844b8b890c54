//! Heartbeats.

use shared::domain::job::Noop;
use shared::ids::WorkerId;
use shared::on_both;
use shared::store::{jobs, workers};
use shared::testkit::Testbed;

use crate::{at, seconds, write};

on_both! {
    a_process_is_listed_with_its_last_beat,
    a_process_that_stopped_is_removed,
    a_process_that_holds_a_job_is_not_forgotten,
}

async fn beat(t: &Testbed, id: WorkerId, s: i64) {
    write(t, async |tx| workers::beat(tx, id, "worker", "host-1", at(seconds(s))).await).await;
}

async fn ids(t: &Testbed) -> Vec<WorkerId> {
    workers::list(&t.db).await.unwrap().into_iter().map(|worker| worker.id).collect()
}

async fn a_process_is_listed_with_its_last_beat(t: Testbed) {
    let (a, b) = (WorkerId::new(), WorkerId::new());
    beat(&t, a, 0).await;
    beat(&t, b, 1).await;
    assert_eq!(ids(&t).await, [b, a]);
    beat(&t, a, 2).await;
    let listed = workers::list(&t.db).await.unwrap();
    let (process, host) = ("worker".into(), "host-1".into());
    assert_eq!(
        listed[0],
        workers::Worker { id: a, process, host, started_at: at(seconds(0)), seen_at: at(seconds(2)) }
    );
    assert_eq!(listed[1].id, b);
}

async fn a_process_that_stopped_is_removed(t: Testbed) {
    let (a, b) = (WorkerId::new(), WorkerId::new());
    beat(&t, a, 0).await;
    beat(&t, b, 0).await;
    write(&t, async |tx| workers::remove(tx, a).await).await;
    write(&t, async |tx| workers::remove(tx, a).await).await;
    assert_eq!(ids(&t).await, [b]);
}

async fn a_process_that_holds_a_job_is_not_forgotten(t: Testbed) {
    let (idle, busy, fresh) = (WorkerId::new(), WorkerId::new(), WorkerId::new());
    for (worker, s) in [(idle, 0), (busy, 0), (fresh, 10)] {
        beat(&t, worker, s).await;
    }
    let queued = t.enqueue(vec![jobs::NewJob::of(&Noop {})]).await.0;
    write(&t, async |tx| jobs::claim(tx, busy, &[queued[0].1], t.now()).await).await;
    assert_eq!(write(&t, async |tx| workers::forget(tx, at(seconds(10))).await).await, 1);
    assert_eq!(ids(&t).await, [fresh, busy]);
    write(&t, async |tx| jobs::hand_back(tx, busy, t.now()).await).await;
    assert_eq!(write(&t, async |tx| workers::forget(tx, at(seconds(10))).await).await, 1);
    assert_eq!(ids(&t).await, [fresh]);
}

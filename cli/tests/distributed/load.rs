//! Very many jobs at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use chrono::TimeDelta;
use redis::aio::MultiplexedConnection;
use shared::domain::job::{Job, Noop, Priority};
use shared::queue::Queue;
use shared::store::jobs::{self, NewJob};
use shared::testkit::eventually;

use crate::services::backlog;
use crate::system::{ERIK, EVERYBODY, IN_TIME, RITA, System};

const JOBS: usize = 20_000;

/// A thousand messages fill a queue; senders that look at the same moment may each add what they hold.
const BACKLOG: usize = 1_500;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_thousand_jobs_drain_and_a_breach_overtakes_them() {
    let Some(mut system) = System::prepare().await else { return };
    system.start(0, 2).await;
    let queue = Queue::redis(&system.redis.url()).expect("an address");
    let ticket = system.open("critical").await;
    for _ in 0..JOBS / 100 {
        let mut tx = system.db.begin().await.unwrap();
        let some = (0..100).map(|_| NewJob::of(&Noop {})).collect();
        jobs::enqueue(&mut tx, some, shared::time::wall()).await.unwrap();
        queue.push(tx.commit().await.unwrap());
    }
    let most = Arc::new(AtomicUsize::new(0));
    let watching =
        tokio::spawn(watch(system.redis.connect().await.expect("Redis answers"), Arc::clone(&most)));
    let full = async || (most.load(Ordering::Relaxed) >= 900).then_some(());
    eventually("the queue fills up", IN_TIME, full).await;
    system.start_another("worker").await;
    system.start_another("worker").await;
    let began = shared::time::wall();
    let drained =
        eventually("all jobs have ended", Duration::from_secs(90), async || done(&system).await).await;
    watching.abort();
    assert_eq!(drained, i64::try_from(JOBS).unwrap());
    let most = most.load(Ordering::Relaxed);
    assert!(most <= BACKLOG, "{most} messages lay in Redis");

    let breach = system.breach(&ticket).await;
    let mails = system.mailed(&ticket, "sla.breached", 3, IN_TIME).await;
    let took = mails.iter().map(|mail| mail.at - breach.detected_at.max(began)).max().unwrap();
    // Not the way of a job that nobody dispatched, which takes three seconds to be noticed.
    assert!(took < TimeDelta::seconds(3), "{took}");
    system.reckon(&ticket, &[("ticket.created", &[ERIK, RITA]), ("sla.breached", &EVERYBODY)]).await;
}

/// Returns how many jobs have ended once all have.
async fn done(system: &System) -> Option<i64> {
    let endings = jobs::endings(&system.db).await.ok()?;
    let (_, _, count) =
        endings.into_iter().find(|(kind, outcome, _)| kind == Noop::KIND && outcome == "done")?;
    (count >= i64::try_from(JOBS).ok()?).then_some(count)
}

async fn watch(mut redis: MultiplexedConnection, most: Arc<AtomicUsize>) {
    let mut looks = tokio::time::interval(Duration::from_millis(20));
    loop {
        looks.tick().await;
        for priority in Priority::ALL {
            most.fetch_max(backlog(&mut redis, priority.as_str()).await, Ordering::Relaxed);
        }
    }
}

//! Periodic jobs.

use std::slice::from_ref;

use shared::domain::job::{Job, Prune};
use shared::on_both;
use shared::store::schedules::{self, Schedule};
use shared::testkit::Testbed;
use sqlx::types::Json;

use crate::{at, minutes, seconds, write};

on_both! {
    a_schedule_is_due_from_its_tick_on,
    ensuring_a_schedule_keeps_a_tick_that_is_due,
    another_rhythm_moves_the_tick,
    a_tick_is_taken_once,
}

fn schedule(name: &str, minute: i64) -> Schedule {
    let payload = serde_json::json!({"keep": [1, null, {"ü": true}]});
    Schedule {
        zone: "Europe/Berlin".into(),
        payload: Json(payload),
        ..Schedule::new(name, "0 * * * * *", Prune::KIND, at(minutes(minute)))
    }
}

async fn ensure(t: &Testbed, schedule: &Schedule) {
    write(t, async |tx| schedules::ensure(tx, schedule).await).await;
}

async fn due(t: &Testbed, minute: i64) -> Vec<Schedule> {
    schedules::due(&t.db, at(minutes(minute))).await.unwrap()
}

async fn a_schedule_is_due_from_its_tick_on(t: Testbed) {
    let (late, early) = (schedule("late", 2), schedule("early", 1));
    ensure(&t, &late).await;
    ensure(&t, &early).await;
    assert_eq!(schedules::due(&t.db, at(seconds(59))).await.unwrap(), []);
    assert_eq!(due(&t, 1).await, from_ref(&early));
    assert_eq!(due(&t, 2).await, [early, late]);
}

async fn ensuring_a_schedule_keeps_a_tick_that_is_due(t: Testbed) {
    ensure(&t, &schedule("prune", 1)).await;
    let mut other = schedule("prune", 60);
    (other.kind, other.payload) = ("other".into(), Json(serde_json::json!({})));
    ensure(&t, &other).await;
    other.next_run_at = at(minutes(1));
    assert_eq!(due(&t, 1).await, [other]);
}

async fn another_rhythm_moves_the_tick(t: Testbed) {
    ensure(&t, &schedule("prune", 1)).await;
    let hourly = Schedule { cron: "0 0 * * * *".into(), ..schedule("prune", 60) };
    ensure(&t, &hourly).await;
    assert_eq!(due(&t, 59).await, []);
    assert_eq!(due(&t, 60).await, from_ref(&hourly));
    let elsewhere = Schedule { zone: "Asia/Tokyo".into(), next_run_at: at(minutes(30)), ..hourly };
    ensure(&t, &elsewhere).await;
    assert_eq!(due(&t, 30).await, [elsewhere]);
}

async fn a_tick_is_taken_once(t: Testbed) {
    let read = schedule("prune", 1);
    ensure(&t, &read).await;
    let (now, next) = (at(minutes(5)), at(minutes(6)));
    assert!(write(&t, async |tx| schedules::advance(tx, &read, now, next).await).await);
    assert!(!write(&t, async |tx| schedules::advance(tx, &read, now, next).await).await);
    assert_eq!(due(&t, 5).await, []);
    let moved = Schedule { next_run_at: next, last_run_at: Some(now), ..read };
    assert_eq!(due(&t, 6).await, from_ref(&moved));
    ensure(&t, &schedule("prune", 90)).await;
    assert_eq!(due(&t, 6).await, [moved], "when it last ran stays on record");
}

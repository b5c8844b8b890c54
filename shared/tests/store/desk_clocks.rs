//! What the service desk does to clocks.

use std::collections::BTreeSet;

use shared::domain::cause::Cause;
use shared::domain::job::{Notify, Priority as Queue};
use shared::domain::sla::{Event, Hold, Metric, State};
use shared::domain::ticket::{Priority, Status};
use shared::on_both;
use shared::store::desk::{Error, Swept};
use shared::store::{clocks, jobs, tickets};
use shared::testkit::Testbed;

use crate::desk::{
    CREATED, breached, due, escalations, log, move_to, pair, pause, prioritize, resume, stops, told, warned,
};
use crate::{at, hours, micros, minutes, refused, write};

on_both! {
    a_higher_priority_breaches_at_the_change,
    a_lower_priority_waives_a_breach,
    a_lower_priority_gives_more_time,
    reopening_goes_on_with_the_remainder,
    a_priority_changed_while_resolved_counts_after_reopening,
    waiting_for_information_pauses_the_clocks,
    two_reasons_to_pause_are_a_union,
    a_clock_held_by_the_status_is_not_resumed_by_hand,
    a_clock_that_has_ended_is_left_alone,
    pausing_a_paused_clock_changes_nothing,
    a_reply_after_the_breach_is_still_a_breach,
    a_reply_in_the_last_instant_is_in_time,
    a_sweep_after_an_outage_records_everything_at_its_instant,
    looking_often_records_the_same_as_looking_once,
    a_sweep_takes_no_more_than_its_limit,
}

async fn a_higher_priority_breaches_at_the_change(t: Testbed) {
    let ticket = t.open(Priority::Low).await;
    t.advance(hours(2));
    prioritize(&t, &ticket, Priority::Critical).await;
    let [response, resolution] = pair(&t, &ticket).await;
    assert_eq!((response.clock.breached_at, response.clock.detected_at), (Some(t.now()), Some(t.now())));
    let events = [
        (0, "started"),
        (120, "retargeted"),
        (120, "warned"),
        (120, "warned"),
        (120, "warned"),
        (120, "breached"),
    ];
    assert_eq!(log(&t, response.id).await, events);
    assert_eq!((resolution.clock.state(), due(&resolution)), (State::Active, Some(hours(4))));
    assert_eq!(log(&t, resolution.id).await, [(0, "started"), (120, "retargeted"), (120, "warned")]);
    assert_eq!(told(&t).await, [breached(1), warned(4), CREATED]);
    let escalation = &escalations(&t, &ticket).await[0];
    assert_eq!((escalation.clock_id, escalation.next_step_at), (response.id, Some(t.now() + minutes(15))));
    let history = tickets::history(&t.db, ticket.id).await.unwrap();
    let change = (&*history[1].field, history[1].old_value.as_deref(), history[1].new_value.as_deref());
    assert_eq!((change, history.len()), (("priority", Some("low"), Some("critical")), 2));
    t.advance(hours(10));
    assert_eq!(
        t.sweep().await.breaches,
        [(Metric::Resolution, hours(8))],
        "the other breaches in its time, this one no more"
    );
}

async fn a_lower_priority_waives_a_breach(t: Testbed) {
    let ticket = t.open(Priority::Critical).await;
    t.advance(hours(2));
    prioritize(&t, &ticket, Priority::Low).await;
    let [response, resolution] = pair(&t, &ticket).await;
    assert_eq!((response.clock.breached_at, response.clock.waived_at), (Some(at(hours(1))), Some(t.now())));
    assert_eq!(response.clock.state(), State::Breached);
    assert_eq!((resolution.clock.state(), due(&resolution)), (State::Active, Some(hours(120))));
    let last = log(&t, response.id).await.split_off(4);
    assert_eq!(last, [(60, "breached"), (120, "retargeted"), (120, "waived")]);
}

async fn a_lower_priority_gives_more_time(t: Testbed) {
    let ticket = t.open(Priority::Critical).await;
    t.advance(minutes(10));
    prioritize(&t, &ticket, Priority::Low).await;
    t.advance(hours(23));
    assert_eq!(t.sweep().await.breaches, []);
    t.advance(hours(1));
    assert_eq!(t.sweep().await.breaches, [(Metric::FirstResponse, minutes(10))]);
}

async fn reopening_goes_on_with_the_remainder(t: Testbed) {
    let ticket = t.open(Priority::Critical).await;
    t.advance(hours(3));
    let ticket = move_to(&t, &ticket, Status::Resolved).await;
    t.advance(hours(50));
    let reopened = move_to(&t, &ticket, Status::Reopened).await;
    assert_eq!(reopened.resolved_at, None);
    let [response, resolution] = pair(&t, &ticket).await;
    assert_eq!(due(&resolution), Some(hours(54)));
    assert_eq!(response.clock.breached_at, Some(at(hours(1))), "the response was due long before");
    assert_eq!(response.clock.stopped_at, Some(at(hours(3))));
    t.advance(hours(1));
    let ticket = move_to(&t, &ticket, Status::Resolved).await;
    assert_eq!(pair(&t, &ticket).await[1].clock.state(), State::Met);
    let resolved = jobs::list(&t.db, 100).await.unwrap().into_iter().filter_map(|job| {
        match serde_json::from_value::<Notify>(job.payload.0).expect("an announcement").cause {
            Cause::Resolved { version, .. } => Some(version),
            _ => None,
        }
    });
    assert_eq!(resolved.collect::<BTreeSet<_>>(), [2, 4].into());
}

async fn a_priority_changed_while_resolved_counts_after_reopening(t: Testbed) {
    let ticket = t.open(Priority::Low).await;
    t.advance(hours(5));
    move_to(&t, &ticket, Status::Resolved).await;
    prioritize(&t, &ticket, Priority::Critical).await;
    assert_eq!(pair(&t, &ticket).await[1].clock.state(), State::Met, "a finished clock is left alone");
    t.advance(hours(5));
    move_to(&t, &ticket, Status::Reopened).await;
    let [response, resolution] = pair(&t, &ticket).await;
    assert_eq!((resolution.clock.target, resolution.clock.breached_at), (hours(4), Some(t.now())));
    assert_eq!(response.clock.state(), State::Cancelled);
    assert_eq!(stops(&t, &ticket).await, [None]);
}

async fn waiting_for_information_pauses_the_clocks(t: Testbed) {
    let ticket = t.open(Priority::Critical).await;
    t.advance(minutes(10));
    move_to(&t, &ticket, Status::PendingInfo).await;
    for stored in pair(&t, &ticket).await {
        assert_eq!((stored.clock.state(), due(&stored)), (State::Paused, None));
    }
    t.advance(hours(9));
    assert_eq!(t.sweep().await, Swept::default());
    move_to(&t, &ticket, Status::Open).await;
    let [response, resolution] = pair(&t, &ticket).await;
    assert_eq!((due(&response), due(&resolution)), (Some(hours(10)), Some(hours(13))));
    assert_eq!(log(&t, response.id).await, [(0, "started"), (10, "paused"), (550, "resumed")]);
}

async fn two_reasons_to_pause_are_a_union(t: Testbed) {
    let ticket = t.open(Priority::Critical).await;
    let [response, resolution] = pair(&t, &ticket).await;
    t.advance(minutes(10));
    assert_eq!(pause(&t, resolution.id).await.clock.state(), State::Paused);
    t.advance(minutes(10));
    move_to(&t, &ticket, Status::PendingInfo).await;
    t.advance(minutes(10));
    move_to(&t, &ticket, Status::Open).await;
    let [now_running, still_held] = pair(&t, &ticket).await;
    assert_eq!(due(&now_running), Some(minutes(70)));
    assert_eq!((still_held.clock.state(), due(&still_held)), (State::Paused, None));
    t.advance(minutes(10));
    let resumed = resume(&t, resolution.id).await;
    assert_eq!(due(&resumed), Some(minutes(30 + 240)));
    assert_eq!(pair(&t, &ticket).await[1], resumed);
    let events = [(0, "started"), (10, "paused"), (20, "paused"), (30, "resumed"), (40, "resumed")];
    assert_eq!(log(&t, resolution.id).await, events);
    assert_eq!(log(&t, response.id).await, [(0, "started"), (20, "paused"), (30, "resumed")]);
}

async fn a_clock_held_by_the_status_is_not_resumed_by_hand(t: Testbed) {
    let ticket = t.open(Priority::Critical).await;
    let [response, resolution] = pair(&t, &ticket).await;
    pause(&t, resolution.id).await;
    move_to(&t, &ticket, Status::PendingInfo).await;
    for id in [response.id, resolution.id] {
        let error = refused(&t, async |tx| t.desk.resume(tx, id, &t.staff()).await).await;
        assert!(matches!(error, Error::HeldByStatus(Status::PendingInfo)), "{error:?}");
    }
    let [response, resolution] =
        pair(&t, &ticket).await.map(|s| (s.clock.held_manually, s.clock.held_by_status));
    assert_eq!((response, resolution), ((false, true), (true, true)));
}

async fn a_clock_that_has_ended_is_left_alone(t: Testbed) {
    let ticket = t.open(Priority::Critical).await;
    t.advance(hours(2));
    move_to(&t, &ticket, Status::Resolved).await;
    let before = pair(&t, &ticket).await;
    for (id, state) in [(before[0].id, "breached"), (before[1].id, "met")] {
        let error = refused(&t, async |tx| t.desk.pause(tx, id, &t.staff(), "vendor".into()).await).await;
        assert!(matches!(error, Error::Ended(found) if found == state), "{error:?}");
        let error = refused(&t, async |tx| t.desk.resume(tx, id, &t.staff()).await).await;
        assert!(matches!(error, Error::Ended(found) if found == state), "{error:?}");
    }
    assert_eq!(pair(&t, &ticket).await, before);
}

async fn pausing_a_paused_clock_changes_nothing(t: Testbed) {
    let ticket = t.open(Priority::Critical).await;
    let id = pair(&t, &ticket).await[1].id;
    t.advance(minutes(10));
    assert_eq!(resume(&t, id).await.clock.seq, 1, "nor does resuming a running one");
    let first = pause(&t, id).await;
    t.advance(minutes(10));
    assert_eq!(pause(&t, id).await, first);
    let paused = clocks::events(&t.db, id).await.unwrap().pop().unwrap().event;
    let expected = Event::Paused { hold: Hold::Manual, reason: Some("vendor".into()) };
    assert_eq!(paused, expected);
}

async fn a_reply_after_the_breach_is_still_a_breach(t: Testbed) {
    let ticket = t.open(Priority::Critical).await;
    t.advance(minutes(61));
    move_to(&t, &ticket, Status::InProgress).await;
    let [response, _] = pair(&t, &ticket).await;
    assert_eq!(
        (response.clock.breached_at, response.clock.detected_at),
        (Some(at(hours(1))), Some(at(minutes(61))))
    );
    assert_eq!(log(&t, response.id).await[3..], [(54, "warned"), (60, "breached"), (61, "stopped")]);
    assert_eq!(t.sweep().await, Swept::default());
    assert_eq!(told(&t).await, [breached(1), warned(3), CREATED]);
    assert_eq!(escalations(&t, &ticket).await, [], "nobody has to be called any more");
}

async fn a_reply_in_the_last_instant_is_in_time(t: Testbed) {
    let (in_time, late) = (t.open(Priority::Critical).await, t.open(Priority::Critical).await);
    t.advance(hours(1));
    move_to(&t, &in_time, Status::InProgress).await;
    t.advance(micros(1));
    move_to(&t, &late, Status::InProgress).await;
    assert_eq!(pair(&t, &in_time).await[0].clock.state(), State::Met);
    assert_eq!(pair(&t, &late).await[0].clock.state(), State::Breached);
}

async fn a_sweep_after_an_outage_records_everything_at_its_instant(t: Testbed) {
    let ticket = t.open(Priority::Critical).await;
    t.advance(hours(10));
    let swept = t.sweep().await;
    assert_eq!((swept.clocks, swept.warnings, swept.steps), (2, 6, 0));
    let mut breaches = swept.breaches;
    breaches.sort_by_key(|(metric, _)| *metric);
    assert_eq!(breaches, [(Metric::FirstResponse, hours(9)), (Metric::Resolution, hours(6))]);
    let [response, resolution] = pair(&t, &ticket).await;
    let events = [(0, "started"), (30, "warned"), (45, "warned"), (54, "warned"), (60, "breached")];
    assert_eq!(log(&t, response.id).await, events);
    let events = [(0, "started"), (120, "warned"), (180, "warned"), (216, "warned"), (240, "breached")];
    assert_eq!(log(&t, resolution.id).await, events);
    assert_eq!((response.clock.breached_at, response.clock.detected_at), (Some(at(hours(1))), Some(t.now())));
    assert_eq!(told(&t).await, [breached(2), warned(6), CREATED]);
    let open = escalations(&t, &ticket).await;
    assert_eq!(
        (open.len(), open[0].opened_at, open[0].next_step_at),
        (1, at(hours(1)), Some(at(minutes(75)))),
        "the steps count from the first breach, however late it was seen"
    );
    t.advance(hours(10));
    assert_eq!(t.sweep().await, Swept::default());
}

async fn looking_often_records_the_same_as_looking_once(t: Testbed) {
    let ticket = t.open(Priority::Critical).await;
    let mut swept = Swept::default();
    for minute in 1..=300 {
        t.advance(minutes(1));
        let round = t.sweep().await;
        swept.warnings += round.warnings;
        assert!(round.breaches.iter().all(|(_, late)| *late == minutes(1)), "{minute}: {round:?}");
        swept.breaches.extend(round.breaches);
    }
    assert_eq!((swept.warnings, swept.breaches.len()), (6, 2));
    let [response, resolution] = pair(&t, &ticket).await;
    let events = [(0, "started"), (30, "warned"), (45, "warned"), (54, "warned"), (60, "breached")];
    assert_eq!(log(&t, response.id).await, events);
    let events = [(0, "started"), (120, "warned"), (180, "warned"), (216, "warned"), (240, "breached")];
    assert_eq!(log(&t, resolution.id).await, events);
    assert_eq!(told(&t).await, [breached(2), warned(6), CREATED]);
    assert_eq!(escalations(&t, &ticket).await.len(), 1);
}

async fn a_sweep_takes_no_more_than_its_limit(t: Testbed) {
    let drafts = (0..60).map(|_| t.draft(Priority::Critical)).collect();
    write(&t, async |tx| t.desk.open(tx, drafts).await).await;
    t.advance(minutes(61));
    let mut found = Vec::new();
    loop {
        let swept = write(&t, async |tx| t.desk.sweep(tx, 25).await).await;
        if swept == Swept::default() {
            break;
        }
        found.push(swept.breaches.len());
    }
    assert_eq!(found, [25, 25, 10]);
    assert_eq!(told(&t).await, [breached(60), warned(180), (Queue::Normal, "ticket.created", 60)]);
}

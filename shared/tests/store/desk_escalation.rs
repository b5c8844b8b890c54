//! Whom the service desk has called, and when it stops.

use shared::domain::escalation::StopReason;
use shared::domain::job::Priority as Queue;
use shared::domain::ticket::{Priority, Status};
use shared::on_both;
use shared::store::tickets;
use shared::testkit::Testbed;

use crate::desk::{
    acknowledge, breached, escalate, escalations, get, move_to, pair, pause, resume, stops, told,
};
use crate::{at, hours, micros, minutes, write};

on_both! {
    an_escalation_steps_until_somebody_acknowledges,
    steps_missed_in_an_outage_are_not_made_up_for,
    acknowledging_twice_changes_nothing,
    an_acknowledged_ticket_is_not_escalated_by_a_later_breach,
    resolving_stops_the_escalation_and_reopening_starts_another,
    waiting_for_information_stops_the_escalation_until_it_is_over,
    pausing_the_breached_clock_stops_the_escalation_until_it_is_resumed,
    a_breach_found_while_waiting_is_escalated_after_it,
}

async fn an_escalation_steps_until_somebody_acknowledges(t: Testbed) {
    let ticket = t.open(Priority::Critical).await;
    t.advance(minutes(61));
    t.sweep().await;
    // However late the breach was seen, its steps count from its instant.
    for (done, offset) in (0..).zip([15, 45, 105, 225, 465, 705]) {
        let escalation = &escalations(&t, &ticket).await[0];
        let step_at = at(minutes(60 + offset));
        assert_eq!((escalation.steps_done, escalation.next_step_at), (done, Some(step_at)));
        t.advance(step_at - t.now() - micros(1));
        assert_eq!(escalate(&t).await, 0);
        t.advance(micros(1));
        assert_eq!(escalate(&t).await, 1);
        assert_eq!(told(&t).await[0], (Queue::High, "escalation.step", usize::try_from(done).unwrap() + 1));
    }
    let acknowledged = acknowledge(&t, &ticket).await;
    assert_eq!(
        (acknowledged.acknowledged_at, acknowledged.acknowledged_by),
        (Some(t.now()), Some(t.staff.id))
    );
    assert_eq!(stops(&t, &ticket).await, [Some(StopReason::Acknowledged)]);
    t.advance(hours(100));
    assert_eq!(escalate(&t).await, 0);
    let [response, _] = pair(&t, &ticket).await;
    assert!(response.clock.is_open(), "acknowledging is no response");
    let history = tickets::history(&t.db, ticket.id).await.unwrap();
    assert_eq!(&*history.last().unwrap().field, "acknowledged_by");
}

async fn steps_missed_in_an_outage_are_not_made_up_for(t: Testbed) {
    let ticket = t.open(Priority::Critical).await;
    t.advance(minutes(61));
    t.sweep().await;
    t.advance(hours(100));
    assert_eq!(escalate(&t).await, 1);
    assert_eq!(escalate(&t).await, 0);
    let escalation = &escalations(&t, &ticket).await[0];
    // 101 h less the hour of the target: the fourth step fell after 225 minutes, the others every 240 minutes.
    let (done, next) = (28, minutes(60 + 225 + 25 * 240));
    assert_eq!((escalation.steps_done, escalation.next_step_at), (done, Some(at(next))));
    assert_eq!(told(&t).await[0], (Queue::High, "escalation.step", 1), "only the last is announced");
}

async fn acknowledging_twice_changes_nothing(t: Testbed) {
    let ticket = t.open(Priority::Critical).await;
    let first = acknowledge(&t, &ticket).await;
    t.advance(minutes(1));
    let second = write(&t, async |tx| t.desk.acknowledge(tx, ticket.id, Some(2), &t.staff()).await).await;
    assert_eq!((second.version, &second), (2, &first));
    assert_eq!(get(&t, &ticket).await, first);
}

async fn an_acknowledged_ticket_is_not_escalated_by_a_later_breach(t: Testbed) {
    let ticket = t.open(Priority::Critical).await;
    acknowledge(&t, &ticket).await;
    t.advance(hours(9));
    assert_eq!(t.sweep().await.breaches.len(), 2);
    assert_eq!(escalations(&t, &ticket).await, []);
}

async fn resolving_stops_the_escalation_and_reopening_starts_another(t: Testbed) {
    let ticket = t.open(Priority::Critical).await;
    t.advance(hours(5));
    t.sweep().await;
    acknowledge(&t, &ticket).await;
    move_to(&t, &ticket, Status::Resolved).await;
    assert_eq!(stops(&t, &ticket).await, [Some(StopReason::Acknowledged)]);
    t.advance(hours(1));
    let reopened = move_to(&t, &ticket, Status::Reopened).await;
    assert_eq!((reopened.acknowledged_at, reopened.acknowledged_by), (None, None));
    let [_, resolution] = pair(&t, &ticket).await;
    let second = escalations(&t, &ticket).await.pop().unwrap();
    assert_eq!((second.clock_id, second.next_step_at), (resolution.id, Some(t.now() + minutes(15))));
    move_to(&t, &ticket, Status::Resolved).await;
    assert_eq!(stops(&t, &ticket).await, [Some(StopReason::Acknowledged), Some(StopReason::Resolved)]);
}

async fn waiting_for_information_stops_the_escalation_until_it_is_over(t: Testbed) {
    let ticket = t.open(Priority::Critical).await;
    t.advance(minutes(61));
    t.sweep().await;
    move_to(&t, &ticket, Status::PendingInfo).await;
    assert_eq!(stops(&t, &ticket).await, [Some(StopReason::Paused)]);
    t.advance(hours(9));
    assert_eq!(escalate(&t).await, 0);
    move_to(&t, &ticket, Status::Open).await;
    assert_eq!(stops(&t, &ticket).await, [Some(StopReason::Paused), None]);
    let second = escalations(&t, &ticket).await.pop().unwrap();
    assert_eq!(second.next_step_at, Some(t.now() + minutes(15)));
}

async fn pausing_the_breached_clock_stops_the_escalation_until_it_is_resumed(t: Testbed) {
    let ticket = t.open(Priority::Critical).await;
    t.advance(minutes(61));
    t.sweep().await;
    let [response, resolution] = pair(&t, &ticket).await;
    pause(&t, resolution.id).await;
    assert_eq!(stops(&t, &ticket).await, [None], "the breached clock still runs");
    pause(&t, response.id).await;
    assert_eq!(stops(&t, &ticket).await, [Some(StopReason::Paused)]);
    resume(&t, resolution.id).await;
    assert_eq!(stops(&t, &ticket).await, [Some(StopReason::Paused)], "this one is within its target");
    resume(&t, response.id).await;
    assert_eq!(stops(&t, &ticket).await, [Some(StopReason::Paused), None]);
    pause(&t, response.id).await;
    let paused = Some(StopReason::Paused);
    assert_eq!(stops(&t, &ticket).await, [paused, paused], "what runs on is within its target");
}

async fn a_breach_found_while_waiting_is_escalated_after_it(t: Testbed) {
    let ticket = t.open(Priority::Critical).await;
    t.advance(minutes(61));
    move_to(&t, &ticket, Status::PendingInfo).await;
    let [response, _] = pair(&t, &ticket).await;
    assert_eq!(response.clock.breached_at, Some(at(hours(1))));
    assert_eq!(escalations(&t, &ticket).await, []);
    t.advance(hours(1));
    move_to(&t, &ticket, Status::Open).await;
    assert_eq!(stops(&t, &ticket).await, [None]);
    assert_eq!(told(&t).await[0], breached(1));
}

//! Escalations.

use shared::domain::escalation::StopReason;
use shared::domain::ticket::Priority;
use shared::ids::{ClockId, EscalationId};
use shared::on_both;
use shared::store::escalations::{self, Escalation, Opening};
use shared::store::tickets::Ticket;
use shared::testkit::Testbed;

use crate::{at, minutes, seconds, write};

on_both! {
    a_ticket_has_one_open_escalation,
    an_acknowledged_ticket_is_not_escalated,
    the_earliest_due_are_claimed_first,
    steps_taken_are_stored,
    a_stopped_escalation_is_over_and_another_may_follow,
}

async fn first_clock(t: &Testbed, ticket: &Ticket) -> ClockId {
    t.clocks(ticket).await[0].id
}

async fn open(t: &Testbed, tickets: &[&Ticket], first_step: i64) {
    for ticket in tickets {
        let clock = first_clock(t, ticket).await;
        let first_step_at = at(minutes(first_step));
        let opening = Opening { ticket: ticket.id, clock, policy: None, since: t.now(), first_step_at };
        write(t, async |tx| escalations::open(tx, [opening, opening]).await).await;
    }
}

async fn of(t: &Testbed, ticket: &Ticket) -> Vec<Escalation> {
    escalations::of_ticket(&t.db, ticket.id).await.unwrap()
}

async fn claim(t: &Testbed, minute: i64, limit: i64) -> Vec<Escalation> {
    write(t, async |tx| escalations::claim_due(tx, at(minutes(minute)), limit).await).await
}

async fn a_ticket_has_one_open_escalation(t: Testbed) {
    let ticket = t.open(Priority::High).await;
    open(&t, &[&ticket], 15).await;
    open(&t, &[&ticket], 20).await;
    write(&t, async |tx| escalations::open(tx, []).await).await;
    let opened = of(&t, &ticket).await;
    assert_eq!(opened.len(), 1);
    let expected = Escalation {
        id: opened[0].id,
        ticket_id: ticket.id,
        clock_id: first_clock(&t, &ticket).await,
        policy_version_id: None,
        opened_at: t.now(),
        steps_done: 0,
        next_step_at: Some(at(minutes(15))),
        stopped_at: None,
        stop_reason: None,
    };
    assert_eq!(opened[0], expected);
    assert_eq!(escalations::get(&t.db, opened[0].id).await.unwrap(), Some(expected));
    assert_eq!(escalations::get(&t.db, EscalationId::new()).await.unwrap(), None);
}

async fn an_acknowledged_ticket_is_not_escalated(t: Testbed) {
    let (taken_on, other) = (t.open(Priority::High).await, t.open(Priority::High).await);
    write(&t, async |tx| t.desk.acknowledge(tx, taken_on.id, None, &t.staff()).await).await;
    open(&t, &[&taken_on, &other], 15).await;
    assert_eq!(of(&t, &taken_on).await, []);
    assert_eq!(of(&t, &other).await.len(), 1);
}

async fn the_earliest_due_are_claimed_first(t: Testbed) {
    let mut ids = Vec::new();
    for minute in [30, 10, 20] {
        let ticket = t.open(Priority::High).await;
        open(&t, &[&ticket], minute).await;
        ids.push(of(&t, &ticket).await[0].id);
    }
    let claimed =
        async |minute, limit| claim(&t, minute, limit).await.into_iter().map(|e| e.id).collect::<Vec<_>>();
    assert_eq!(claimed(9, 10).await, []);
    assert_eq!(claimed(10, 10).await, [ids[1]]);
    assert_eq!(claimed(60, 2).await, [ids[1], ids[2]]);
    assert_eq!(claimed(60, 10).await, [ids[1], ids[2], ids[0]]);
}

async fn steps_taken_are_stored(t: Testbed) {
    let (a, b) = (t.open(Priority::High).await, t.open(Priority::High).await);
    open(&t, &[&a, &b], 15).await;
    let mut due = claim(&t, 15, 10).await;
    for (escalation, step) in due.iter_mut().zip(1..) {
        (escalation.steps_done, escalation.next_step_at) = (step, Some(at(minutes(15 + step))));
    }
    write(&t, async |tx| escalations::advance(tx, &due).await).await;
    write(&t, async |tx| escalations::advance(tx, &[]).await).await;
    assert_eq!(claim(&t, 15, 10).await, []);
    assert_eq!(claim(&t, 17, 10).await, due);
}

async fn a_stopped_escalation_is_over_and_another_may_follow(t: Testbed) {
    let ticket = t.open(Priority::High).await;
    for (s, reason) in (1..).zip(StopReason::ALL) {
        open(&t, &[&ticket], 15).await;
        let stop = async |at| write(&t, async |tx| escalations::stop(tx, ticket.id, *reason, at).await).await;
        let opened = of(&t, &ticket).await.pop().unwrap().opened_at;
        assert_eq!(stop(at(seconds(s))).await, Some(opened));
        assert_eq!(stop(at(seconds(s + 1))).await, None);
        let stopped = of(&t, &ticket).await.pop().unwrap();
        assert_eq!((stopped.stopped_at, stopped.stop_reason), (Some(at(seconds(s))), Some(*reason)));
        assert_eq!(claim(&t, 60, 10).await, []);
    }
    assert!(of(&t, &ticket).await.is_sorted_by_key(|e| e.stopped_at));
    assert_eq!(of(&t, &ticket).await.len(), StopReason::ALL.len());
}

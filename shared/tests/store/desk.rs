//! The service desk.

use chrono::TimeDelta;
use shared::domain::cause::Cause;
use shared::domain::escalation::StopReason;
use shared::domain::job::{Notify, Priority as Queue};
use shared::domain::sla::{Clock, Hold, Metric, State};
use shared::domain::ticket::{Category, Priority, Status};
use shared::ids::{ClockId, TicketId};
use shared::on_both;
use shared::store::clocks::Stored;
use shared::store::desk::{Error, Swept};
use shared::store::escalations::Escalation;
use shared::store::tickets::{self, Ticket};
use shared::store::{clocks, escalations, jobs};
use shared::testkit::Testbed;

use crate::{at, begin, commit, hours, micros, minutes, refused, write};

on_both! {
    opening_a_ticket_starts_its_clocks_and_announces_it,
    many_tickets_are_opened_at_once,
    an_edit_is_recorded_field_by_field,
    an_edit_that_changes_nothing_is_no_change,
    a_higher_priority_breaches_at_the_change,
    a_lower_priority_waives_a_breach,
    a_lower_priority_gives_more_time,
    only_the_allowed_moves_are_made,
    a_closed_ticket_is_reopened_within_a_week,
    the_first_move_by_staff_is_the_response,
    resolving_ends_the_clocks_and_is_announced,
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
    an_escalation_steps_until_somebody_acknowledges,
    steps_missed_in_an_outage_are_not_made_up_for,
    acknowledging_twice_changes_nothing,
    an_acknowledged_ticket_is_not_escalated_by_a_later_breach,
    resolving_stops_the_escalation_and_reopening_starts_another,
    waiting_for_information_stops_the_escalation_until_it_is_over,
    pausing_the_breached_clock_stops_the_escalation_until_it_is_resumed,
    a_breach_found_while_waiting_is_escalated_after_it,
    a_stale_version_changes_nothing,
    what_is_not_there_is_not_found,
    what_is_rolled_back_did_not_happen,
}

async fn move_to(t: &Testbed, ticket: &Ticket, to: Status) -> Ticket {
    write(t, async |tx| t.desk.move_to(tx, ticket.id, None, &t.staff(), to).await).await
}

async fn prioritize(t: &Testbed, ticket: &Ticket, priority: Priority) -> Ticket {
    write(t, async |tx| {
        t.desk.edit(tx, ticket.id, None, &t.staff(), |ticket| ticket.priority = priority).await
    })
    .await
}

async fn acknowledge(t: &Testbed, ticket: &Ticket) -> Ticket {
    write(t, async |tx| t.desk.acknowledge(tx, ticket.id, None, &t.staff()).await).await
}

async fn pause(t: &Testbed, id: ClockId) -> Stored {
    write(t, async |tx| t.desk.pause(tx, id, &t.staff(), "vendor".into()).await).await
}

async fn resume(t: &Testbed, id: ClockId) -> Stored {
    write(t, async |tx| t.desk.resume(tx, id, &t.staff()).await).await
}

async fn escalate(t: &Testbed) -> usize {
    write(t, async |tx| t.desk.escalate(tx, 100).await).await
}

async fn get(t: &Testbed, ticket: &Ticket) -> Ticket {
    tickets::get(&t.db, ticket.id).await.unwrap().expect("the ticket exists")
}

/// The first-response and the resolution clock.
async fn pair(t: &Testbed, ticket: &Ticket) -> [Stored; 2] {
    let pair: [Stored; 2] = t.clocks(ticket).await.try_into().expect("two clocks");
    assert_eq!(pair.each_ref().map(|stored| stored.metric), [Metric::FirstResponse, Metric::Resolution]);
    pair
}

fn due(stored: &Stored) -> Option<TimeDelta> {
    stored.clock.due_at(&stored.calendar()).map(|due| due - at(minutes(0)))
}

/// What happened to a clock: minutes since the start, and what; checks that the clock is the fold of it.
async fn log(t: &Testbed, id: ClockId) -> Vec<(i64, &'static str)> {
    let events = clocks::events(&t.db, id).await.unwrap();
    let stored = clocks::get(&t.db, id).await.unwrap().unwrap();
    assert_eq!(Clock::replay(&events, &stored.calendar()), Some(stored.clock));
    events.iter().map(|r| ((r.at - at(minutes(0))).num_minutes(), r.event.kind())).collect()
}

/// Who is to be told what, by queue: counts of causes.
async fn told(t: &Testbed) -> Vec<(Queue, &'static str, usize)> {
    let mut told: Vec<(Queue, &'static str, usize)> = Vec::new();
    for job in jobs::list(&t.db, 1_000).await.unwrap() {
        let Notify { cause } = serde_json::from_value(job.payload.0).expect("only announcements");
        assert_eq!(job.priority, cause.priority());
        match told.iter_mut().find(|(_, event, _)| *event == cause.event()) {
            Some((_, _, count)) => *count += 1,
            None => told.push((job.priority, cause.event(), 1)),
        }
    }
    told.sort_by_key(|(_, event, _)| *event);
    told
}

const CREATED: (Queue, &str, usize) = (Queue::Normal, "ticket.created", 1);

const fn breached(count: usize) -> (Queue, &'static str, usize) {
    (Queue::High, "sla.breached", count)
}

const fn warned(count: usize) -> (Queue, &'static str, usize) {
    (Queue::High, "sla.warning", count)
}

async fn escalations(t: &Testbed, ticket: &Ticket) -> Vec<Escalation> {
    escalations::of_ticket(&t.db, ticket.id).await.unwrap()
}

/// Why each of a ticket's escalations was stopped; `None` for one that is open.
async fn stops(t: &Testbed, ticket: &Ticket) -> Vec<Option<StopReason>> {
    escalations(t, ticket).await.into_iter().map(|e| e.stop_reason).collect()
}

async fn opening_a_ticket_starts_its_clocks_and_announces_it(t: Testbed) {
    let trace = Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned());
    let mut draft = t.draft(Priority::Critical);
    (draft.labels, draft.traceparent) = (vec!["red".into(), "blue".into()], trace.clone());
    let mut tx = begin(&t).await;
    let ticket = t.desk.open(&mut tx, vec![draft]).await.unwrap().pop().unwrap();
    let dispatched = commit(tx).await.0;
    assert_eq!(get(&t, &ticket).await, ticket);
    assert_eq!((ticket.status, ticket.version, ticket.reporter_id), (Status::New, 1, t.customer.id));
    assert_eq!(tickets::labels(&t.db, ticket.id).await.unwrap(), ["blue", "red"]);
    let [response, resolution] = pair(&t, &ticket).await;
    assert_eq!((due(&response), due(&resolution)), (Some(hours(1)), Some(hours(4))));
    assert_eq!(log(&t, response.id).await, [(0, "started")]);
    let history = tickets::history(&t.db, ticket.id).await.unwrap();
    assert_eq!(
        (&*history[0].field, history[0].new_value.as_deref(), history.len()),
        ("status", Some("new"), 1)
    );
    assert_eq!((history[0].actor_id, history[0].version, history[0].at), (Some(t.customer.id), 1, t.now()));
    let job = jobs::list(&t.db, 10).await.unwrap().pop().unwrap();
    assert_eq!((dispatched, job.traceparent), (vec![(Queue::Normal, job.id)], trace));
    assert_eq!(told(&t).await, [CREATED]);
}

async fn many_tickets_are_opened_at_once(t: Testbed) {
    let drafts = (0..100).map(|i| t.draft(Priority::ALL[i % 4])).collect();
    let opened = write(&t, async |tx| t.desk.open(tx, drafts).await).await;
    for ticket in &opened {
        let [response, resolution] = pair(&t, ticket).await;
        let target = |metric| t.desk.rules.sla.target(ticket.priority, metric);
        assert_eq!(due(&response), target(Metric::FirstResponse));
        assert_eq!(due(&resolution), target(Metric::Resolution));
        assert_eq!(tickets::history(&t.db, ticket.id).await.unwrap().len(), 1);
    }
    assert_eq!(told(&t).await, [(Queue::Normal, "ticket.created", 100)]);
    assert!(write(&t, async |tx| t.desk.open(tx, vec![]).await).await.is_empty());
}

async fn an_edit_is_recorded_field_by_field(t: Testbed) {
    let ticket = t.open(Priority::Low).await;
    t.advance(minutes(1));
    let mut actor = t.staff();
    actor.ip = Some("2001:db8::1".into());
    let edit = |ticket: &mut Ticket| {
        ticket.title = "All is well".into();
        ticket.category = Category::Question;
        ticket.environment = Some("production".into());
        ticket.contact_email = Some("ann@example.org".into());
        ticket.assignee_id = None;
    };
    let edited = write(&t, async |tx| t.desk.edit(tx, ticket.id, Some(1), &actor, edit).await).await;
    assert_eq!((edited.version, edited.updated_at), (2, t.now()));
    assert_eq!(get(&t, &ticket).await, edited);
    let history = tickets::history(&t.db, ticket.id).await.unwrap();
    let changes: Vec<_> =
        history[1..].iter().map(|c| (&*c.field, c.old_value.as_deref(), c.new_value.as_deref())).collect();
    let staff = t.staff.id.to_string();
    let expected = [
        ("title", Some("The database is on fire"), Some("All is well")),
        ("category", Some("incident"), Some("question")),
        ("environment", None, Some("production")),
        ("contact", None, Some(" <ann@example.org>")),
        ("assignee_id", Some(&*staff), None),
    ];
    assert_eq!(changes, expected);
    assert!(history[1..].iter().all(|c| (c.version, c.at, c.actor_id) == (2, t.now(), Some(t.staff.id))));
    assert!(history[1..].iter().all(|c| c.ip == actor.ip));
}

async fn an_edit_that_changes_nothing_is_no_change(t: Testbed) {
    let ticket = t.open(Priority::Low).await;
    t.advance(minutes(1));
    assert_eq!(prioritize(&t, &ticket, Priority::Low).await, ticket);
    assert_eq!(get(&t, &ticket).await, ticket);
    assert_eq!(tickets::history(&t.db, ticket.id).await.unwrap().len(), 1);
    let [response, _] = pair(&t, &ticket).await;
    assert_eq!(log(&t, response.id).await, [(0, "started")]);
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

fn way_to(status: Status) -> &'static [Status] {
    match status {
        Status::New => &[],
        Status::Open => &[Status::Open],
        Status::InProgress => &[Status::InProgress],
        Status::PendingInfo => &[Status::PendingInfo],
        Status::Escalated => &[Status::Escalated],
        Status::Resolved => &[Status::Resolved],
        Status::Closed => &[Status::Resolved, Status::Closed],
        Status::Reopened => &[Status::Resolved, Status::Reopened],
    }
}

async fn only_the_allowed_moves_are_made(t: Testbed) {
    for from in Status::ALL {
        for to in Status::ALL {
            let mut ticket = t.open(Priority::Low).await;
            for step in way_to(*from) {
                ticket = move_to(&t, &ticket, *step).await;
            }
            let mut tx = begin(&t).await;
            let moved = t.desk.move_to(&mut tx, ticket.id, Some(ticket.version), &t.staff(), *to).await;
            let _ = commit(tx).await;
            let after = get(&t, &ticket).await;
            if from.next().contains(to) {
                assert_eq!(moved.unwrap(), after);
                assert_eq!((after.status, after.version), (*to, ticket.version + 1));
                let history = tickets::history(&t.db, ticket.id).await.unwrap();
                let last = history.last().map(|c| (c.old_value.as_deref(), c.new_value.as_deref()));
                assert_eq!(last, Some((Some(from.as_str()), Some(to.as_str()))));
            } else {
                let error = moved.unwrap_err();
                assert!(
                    matches!(&error, Error::Transition { from: a, to: b } if (a, b) == (from, to)),
                    "{error:?}"
                );
                assert!(from.next().iter().all(|next| error.to_string().contains(next.as_str())), "{error}");
                assert_eq!(after, ticket);
            }
        }
    }
}

async fn a_closed_ticket_is_reopened_within_a_week(t: Testbed) {
    let (early, late) = (t.open(Priority::Low).await, t.open(Priority::Low).await);
    for ticket in [&early, &late] {
        move_to(&t, ticket, Status::Resolved).await;
        assert_eq!(move_to(&t, ticket, Status::Closed).await.closed_at, Some(t.now()));
    }
    t.advance(TimeDelta::days(7));
    let reopened = move_to(&t, &early, Status::Reopened).await;
    assert_eq!((reopened.status, reopened.resolved_at, reopened.closed_at), (Status::Reopened, None, None));
    t.advance(micros(1));
    let reopen = async |tx: &mut _| t.desk.move_to(tx, late.id, None, &t.staff(), Status::Reopened).await;
    assert!(matches!(refused(&t, reopen).await, Error::ReopenWindow));
    assert_eq!(get(&t, &late).await.status, Status::Closed);
}

async fn the_first_move_by_staff_is_the_response(t: Testbed) {
    let ticket = t.open(Priority::Critical).await;
    t.advance(minutes(10));
    let by_customer =
        async |tx: &mut _| t.desk.move_to(tx, ticket.id, None, &t.customer(), Status::InProgress).await;
    assert_eq!(write(&t, by_customer).await.responded_at, None);
    assert_eq!(pair(&t, &ticket).await[0].clock.state(), State::Active);
    move_to(&t, &ticket, Status::Open).await;
    t.advance(minutes(10));
    assert_eq!(move_to(&t, &ticket, Status::InProgress).await.responded_at, Some(at(minutes(20))));
    t.advance(minutes(10));
    move_to(&t, &ticket, Status::Open).await;
    assert_eq!(move_to(&t, &ticket, Status::InProgress).await.responded_at, Some(at(minutes(20))));
    let [response, resolution] = pair(&t, &ticket).await;
    assert_eq!((response.clock.state(), response.clock.stopped_at), (State::Met, Some(at(minutes(20)))));
    assert_eq!((resolution.clock.state(), due(&resolution)), (State::Active, Some(hours(4))));
}

async fn resolving_ends_the_clocks_and_is_announced(t: Testbed) {
    let ticket = t.open(Priority::Critical).await;
    t.advance(minutes(10));
    let resolved = move_to(&t, &ticket, Status::Resolved).await;
    assert_eq!(resolved.resolved_at, Some(t.now()));
    let [response, resolution] = pair(&t, &ticket).await;
    assert_eq!((response.clock.state(), resolution.clock.state()), (State::Cancelled, State::Met));
    assert_eq!(told(&t).await, [CREATED, (Queue::Normal, "ticket.resolved", 1)]);
    t.advance(hours(100));
    assert_eq!(t.sweep().await, Swept::default());
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
    assert_eq!(resolved.collect::<std::collections::BTreeSet<_>>(), [2, 4].into());
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
        assert!(matches!(error, Error::HeldByStatus), "{error:?}");
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
    let expected = shared::domain::sla::Event::Paused { hold: Hold::Manual, reason: Some("vendor".into()) };
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
        (1, t.now(), Some(t.now() + minutes(15)))
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

async fn an_escalation_steps_until_somebody_acknowledges(t: Testbed) {
    let ticket = t.open(Priority::Critical).await;
    t.advance(minutes(61));
    t.sweep().await;
    for (done, wait) in (0..).zip([15, 30, 60, 120, 240, 240]) {
        let escalation = &escalations(&t, &ticket).await[0];
        assert_eq!((escalation.steps_done, escalation.next_step_at), (done, Some(t.now() + minutes(wait))));
        t.advance(minutes(wait) - micros(1));
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
    assert_eq!((escalation.steps_done, escalation.next_step_at), (1, Some(t.now() + minutes(30))));
}

async fn acknowledging_twice_changes_nothing(t: Testbed) {
    let ticket = t.open(Priority::Critical).await;
    let first = acknowledge(&t, &ticket).await;
    t.advance(minutes(1));
    let second = write(&t, async |tx| t.desk.acknowledge(tx, ticket.id, Some(2), &t.customer()).await).await;
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

async fn a_stale_version_changes_nothing(t: Testbed) {
    let ticket = t.open(Priority::Critical).await;
    let current = move_to(&t, &ticket, Status::Open).await;
    let [one, _] = pair(&t, &ticket).await;
    let jobs = told(&t).await;
    t.advance(hours(9));
    let staff = t.staff();
    let edit =
        async |tx: &mut _| t.desk.edit(tx, ticket.id, Some(1), &staff, |t| t.priority = Priority::Low).await;
    let resolve = async |tx: &mut _| t.desk.move_to(tx, ticket.id, Some(1), &staff, Status::Resolved).await;
    let acknowledge = async |tx: &mut _| t.desk.acknowledge(tx, ticket.id, Some(3), &staff).await;
    for error in [refused(&t, edit).await, refused(&t, resolve).await, refused(&t, acknowledge).await] {
        assert!(matches!(error, Error::Stale { current: 2 }), "{error:?}");
    }
    assert_eq!(get(&t, &ticket).await, current);
    assert_eq!(pair(&t, &ticket).await[0], one);
    assert_eq!(told(&t).await, jobs);
}

async fn what_is_not_there_is_not_found(t: Testbed) {
    let (ticket, clock, staff) = (TicketId::new(), ClockId::new(), t.staff());
    let errors = [
        refused(&t, async |tx| t.desk.edit(tx, ticket, None, &staff, |_| ()).await).await,
        refused(&t, async |tx| t.desk.move_to(tx, ticket, None, &staff, Status::Open).await).await,
        refused(&t, async |tx| t.desk.acknowledge(tx, ticket, None, &staff).await).await,
    ];
    assert!(errors.iter().all(|error| matches!(error, Error::NotFound("ticket"))), "{errors:?}");
    let errors = [
        refused(&t, async |tx| t.desk.pause(tx, clock, &staff, "x".into()).await).await,
        refused(&t, async |tx| t.desk.resume(tx, clock, &staff).await).await,
    ];
    assert!(errors.iter().all(|error| matches!(error, Error::NotFound("sla clock"))), "{errors:?}");
}

async fn what_is_rolled_back_did_not_happen(t: Testbed) {
    let ticket = t.open(Priority::Critical).await;
    t.advance(hours(2));
    let before = (get(&t, &ticket).await, pair(&t, &ticket).await, told(&t).await);
    let mut tx = begin(&t).await;
    let swept = t.desk.sweep(&mut tx, 100).await.unwrap();
    t.desk
        .edit(&mut tx, ticket.id, None, &t.staff(), |ticket| ticket.priority = Priority::Low)
        .await
        .unwrap();
    t.desk.move_to(&mut tx, ticket.id, None, &t.staff(), Status::Resolved).await.unwrap();
    t.desk.open(&mut tx, vec![t.draft(Priority::Low)]).await.unwrap();
    tx.rollback().await.unwrap();
    assert_eq!((get(&t, &ticket).await, pair(&t, &ticket).await, told(&t).await), before);
    assert_eq!(escalations(&t, &ticket).await, []);
    assert_eq!(tickets::history(&t.db, ticket.id).await.unwrap().len(), 1);
    assert_eq!(log(&t, before.1[0].id).await.len(), 1);
    assert_eq!(t.sweep().await, swept, "the next sweep finds it all again");
    assert_eq!(told(&t).await, [breached(1), warned(3), CREATED]);
}

//! The service desk.

use chrono::TimeDelta;
use shared::domain::escalation::StopReason;
use shared::domain::job::{Notify, Priority as Queue};
use shared::domain::sla::{Clock, Metric, State};
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
    only_the_allowed_moves_are_made,
    a_closed_ticket_is_reopened_within_a_week,
    the_first_move_by_staff_is_the_response,
    resolving_ends_the_clocks_and_is_announced,
    a_stale_version_changes_nothing,
    what_is_not_there_is_not_found,
    what_is_rolled_back_did_not_happen,
}

pub(crate) async fn move_to(t: &Testbed, ticket: &Ticket, to: Status) -> Ticket {
    write(t, async |tx| t.desk.move_to(tx, ticket.id, None, &t.staff(), to).await).await
}

pub(crate) async fn prioritize(t: &Testbed, ticket: &Ticket, priority: Priority) -> Ticket {
    write(t, async |tx| {
        t.desk.edit(tx, ticket.id, None, &t.staff(), |ticket| ticket.priority = priority).await
    })
    .await
}

pub(crate) async fn acknowledge(t: &Testbed, ticket: &Ticket) -> Ticket {
    write(t, async |tx| t.desk.acknowledge(tx, ticket.id, None, &t.staff()).await).await
}

pub(crate) async fn pause(t: &Testbed, id: ClockId) -> Stored {
    write(t, async |tx| t.desk.pause(tx, id, &t.staff(), "vendor".into()).await).await
}

pub(crate) async fn resume(t: &Testbed, id: ClockId) -> Stored {
    write(t, async |tx| t.desk.resume(tx, id, &t.staff()).await).await
}

pub(crate) async fn escalate(t: &Testbed) -> usize {
    write(t, async |tx| t.desk.escalate(tx, 100).await).await
}

pub(crate) async fn get(t: &Testbed, ticket: &Ticket) -> Ticket {
    tickets::get(&t.db, ticket.id).await.unwrap().expect("the ticket exists")
}

/// The first-response and the resolution clock.
pub(crate) async fn pair(t: &Testbed, ticket: &Ticket) -> [Stored; 2] {
    let pair: [Stored; 2] = t.clocks(ticket).await.try_into().expect("two clocks");
    assert_eq!(pair.each_ref().map(|stored| stored.metric), [Metric::FirstResponse, Metric::Resolution]);
    pair
}

pub(crate) fn due(stored: &Stored) -> Option<TimeDelta> {
    stored.clock.due_at().map(|due| due - at(minutes(0)))
}

/// What happened to a clock: minutes since the start, and what; checks that the clock is the fold of it.
pub(crate) async fn log(t: &Testbed, id: ClockId) -> Vec<(i64, &'static str)> {
    let events = clocks::events(&t.db, id).await.unwrap();
    let stored = clocks::get(&t.db, id).await.unwrap().unwrap();
    assert_eq!(Clock::replay(&events, |_| None), Some(stored.clock));
    events.iter().map(|r| ((r.at - at(minutes(0))).num_minutes(), r.event.kind())).collect()
}

/// Who is to be told what, by queue: counts of causes.
pub(crate) async fn told(t: &Testbed) -> Vec<(Queue, &'static str, usize)> {
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

pub(crate) const CREATED: (Queue, &str, usize) = (Queue::Normal, "ticket.created", 1);

pub(crate) const fn breached(count: usize) -> (Queue, &'static str, usize) {
    (Queue::High, "sla.breached", count)
}

pub(crate) const fn warned(count: usize) -> (Queue, &'static str, usize) {
    (Queue::High, "sla.warning", count)
}

pub(crate) async fn escalations(t: &Testbed, ticket: &Ticket) -> Vec<Escalation> {
    escalations::of_ticket(&t.db, ticket.id).await.unwrap()
}

/// Why each of a ticket's escalations was stopped; `None` for one that is open.
pub(crate) async fn stops(t: &Testbed, ticket: &Ticket) -> Vec<Option<StopReason>> {
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
    assert_eq!((history[0].actor_id, history[0].version, history[0].at), (Some(t.staff.id), 1, t.now()));
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
    assert!(matches!(refused(&t, reopen).await, Error::ReopenWindow(_)));
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
        assert!(matches!(error, Error::Stale { current: 2, .. }), "{error:?}");
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

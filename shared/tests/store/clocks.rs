//! SLA clocks and their events.

use chrono::TimeDelta;
use shared::domain::sla::{Calendar, Clock, Command, Event, Fraction, Hold, Metric, Mode, Plan, State};
use shared::domain::ticket::Priority;
use shared::ids::{ClockId, TicketId};
use shared::on_both;
use shared::store::clocks::{self, Change, Stored};
use shared::testkit::Testbed;
use shared::time::Timestamp;

use crate::{at, hours, micros, minutes, seconds, write};

on_both! {
    a_clock_reads_as_it_was_stored,
    a_clock_is_the_fold_of_its_stored_events,
    a_change_without_events_stores_nothing,
    many_clocks_are_stored_at_once,
    clocks_of_a_ticket_are_listed_oldest_first,
    due_clocks_are_claimed_earliest_first,
    a_clock_is_due_only_after_its_instant,
    a_paused_clock_is_not_due,
    open_clocks_are_counted_by_metric_priority_and_state,
    detection_is_measured_from_the_instant_of_the_breach,
}

fn plan(target: TimeDelta, warn_at: &[u32]) -> Plan {
    let warn_at = warn_at.iter().map(|ppm| Fraction(*ppm)).collect();
    Plan { target, warn_at, calendar: Calendar::AlwaysOpen }
}

fn started(ticket: TicketId, target: TimeDelta, warn_at: &[u32], at: Timestamp) -> Change {
    let (clock, event) = Clock::start(plan(target, warn_at), at);
    let stored = Stored { id: ClockId::new(), ticket_id: ticket, metric: Metric::NextResponse, clock };
    Change { stored, events: vec![event], actor: None }
}

fn take(change: &mut Change, command: impl Into<Command>, at: Timestamp) {
    change.events.extend(change.stored.clock.take(command, at));
}

fn paused(hold: Hold) -> Event {
    Event::Paused { hold, reason: Some("we wait for „them“".into()) }
}

/// Every kind of event, at odd microseconds.
fn eventful(ticket: TicketId) -> Change {
    let instant = |s| at(seconds(s) + micros(s * 1_001));
    let mut change = started(ticket, seconds(100), &[333_333, 500_000], instant(0));
    take(&mut change, paused(Hold::Manual), instant(40));
    take(&mut change, paused(Hold::Status), instant(50));
    take(&mut change, Event::Resumed { hold: Hold::Manual }, instant(60));
    take(&mut change, Event::Resumed { hold: Hold::Status }, instant(70));
    take(
        &mut change,
        Command::Retarget(plan(micros(77_777_777), &[333_333, 500_000]), Mode::CarryFraction),
        instant(80),
    );
    take(&mut change, Event::Stopped, instant(300));
    take(&mut change, Event::Reopened, instant(400));
    take(
        &mut change,
        Command::Retarget(plan(micros(9_000_000_000), &[333_333, 500_000]), Mode::Retroactive),
        instant(401),
    );
    take(
        &mut change,
        Command::Retarget(plan(micros(9_000_000_000), &[333_333, 500_000]), Mode::Restart),
        instant(402),
    );
    take(&mut change, Event::Cancelled, instant(500));
    change
}

async fn insert(t: &Testbed, changes: &[Change]) {
    write(t, async |tx| clocks::insert(tx, changes).await).await;
}

async fn a_clock_reads_as_it_was_stored(t: Testbed) {
    let ticket = t.open(Priority::High).await;
    let whole = eventful(ticket.id);
    let mut change = started(ticket.id, seconds(100), &[333_333, 500_000], at(seconds(0)));
    change.stored.id = whole.stored.id;
    change.actor = Some(t.staff.id);
    insert(&t, std::slice::from_ref(&change)).await;
    assert_eq!(clocks::get(&t.db, change.stored.id).await.unwrap(), Some(change.stored));
    let rest = Change { events: whole.events[1..].to_vec(), ..whole.clone() };
    write(&t, async |tx| clocks::save(tx, &[rest]).await).await;
    let read = clocks::get(&t.db, whole.stored.id).await.unwrap();
    assert_eq!(read.as_ref(), Some(&whole.stored));
    assert_eq!(read.map(|stored| stored.clock.state()), Some(State::Breached));
    assert_eq!(clocks::get(&t.db, ClockId::new()).await.unwrap(), None);
}

async fn a_clock_is_the_fold_of_its_stored_events(t: Testbed) {
    let ticket = t.open(Priority::High).await;
    let change = eventful(ticket.id);
    let kinds: std::collections::HashSet<_> = change.events.iter().map(|r| r.event.kind()).collect();
    assert_eq!(kinds.len(), 10, "every kind of event is among them");
    insert(&t, std::slice::from_ref(&change)).await;
    let events = clocks::events(&t.db, change.stored.id).await.unwrap();
    assert_eq!(events, change.events);
    let stored = clocks::get(&t.db, change.stored.id).await.unwrap().unwrap();
    assert_eq!(Clock::replay(&events, |_| None), Some(stored.clock));
    assert_eq!(clocks::events(&t.db, ClockId::new()).await.unwrap(), []);
}

async fn a_change_without_events_stores_nothing(t: Testbed) {
    let ticket = t.open(Priority::High).await;
    let before = t.clocks(&ticket).await;
    let mut stored = before[0].clone();
    stored.clock.warned = 3;
    write(&t, async |tx| clocks::save(tx, &[Change { stored, events: vec![], actor: None }]).await).await;
    write(&t, async |tx| clocks::save(tx, &[]).await).await;
    assert_eq!(t.clocks(&ticket).await, before);
}

async fn many_clocks_are_stored_at_once(t: Testbed) {
    let ticket = t.open(Priority::High).await;
    let mut changes: Vec<_> = (0..300).map(|i| started(ticket.id, seconds(i + 1), &[], t.now())).collect();
    insert(&t, &changes).await;
    for (i, change) in (0..).zip(&mut changes) {
        change.events.clear();
        take(change, paused(if i % 2 == 0 { Hold::Manual } else { Hold::Status }), at(micros(i)));
    }
    write(&t, async |tx| clocks::save(tx, &changes).await).await;
    for change in changes {
        assert_eq!(clocks::get(&t.db, change.stored.id).await.unwrap(), Some(change.stored));
    }
}

async fn clocks_of_a_ticket_are_listed_oldest_first(t: Testbed) {
    let (ticket, other) = (t.open(Priority::High).await, t.open(Priority::High).await);
    let later = started(ticket.id, hours(1), &[], at(seconds(1)));
    insert(&t, std::slice::from_ref(&later)).await;
    let metrics = |listed: &[Stored]| listed.iter().map(|s| s.metric).collect::<Vec<_>>();
    let listed = clocks::of_ticket(&t.db, ticket.id).await.unwrap();
    assert_eq!(metrics(&listed), [Metric::FirstResponse, Metric::Resolution, Metric::NextResponse]);
    assert_eq!(listed[2], later.stored);
    let locked = write(&t, async |tx| clocks::lock_of_ticket(tx, ticket.id).await).await;
    assert_eq!(locked, listed);
    assert_eq!(
        metrics(&clocks::of_ticket(&t.db, other.id).await.unwrap()),
        [Metric::FirstResponse, Metric::Resolution]
    );
    assert_eq!(clocks::of_ticket(&t.db, TicketId::new()).await.unwrap(), []);
}

/// The stretch of a second in which text order is easily not the order of time.
const ODD: [i64; 8] = [0, 1, 10, 123_456, 499_999, 500_000, 500_001, 999_999];

async fn due_clocks_are_claimed_earliest_first(t: Testbed) {
    let ticket = t.open(Priority::Low).await;
    let starts = ODD.iter().rev().map(|us| at(micros(*us)));
    let changes: Vec<_> = starts.map(|at| started(ticket.id, minutes(1), &[], at)).collect();
    insert(&t, &changes).await;
    let claimed = async |now: Timestamp, limit| {
        let claimed = write(&t, async |tx| clocks::claim_due(tx, now, limit).await).await;
        claimed.iter().map(|s| s.clock.started_at - at(micros(0))).collect::<Vec<_>>()
    };
    assert_eq!(claimed(at(hours(1)), 100).await, ODD.map(micros));
    assert_eq!(claimed(at(hours(1)), 3).await, ODD.map(micros)[..3]);
    for (i, us) in ODD.iter().enumerate() {
        let now = at(minutes(1) + micros(*us));
        assert_eq!(claimed(now, 100).await.len(), i, "at {now}");
        assert_eq!(
            claimed(now + micros(1), 100).await.len(),
            ODD.iter().filter(|other| *other <= us).count()
        );
    }
}

async fn a_clock_is_due_only_after_its_instant(t: Testbed) {
    let ticket = t.open(Priority::Low).await;
    let change = started(ticket.id, minutes(2), &[500_000], t.now());
    insert(&t, std::slice::from_ref(&change)).await;
    let due = async |now| write(&t, async |tx| clocks::claim_due(tx, now, 10).await).await;
    assert_eq!(due(at(minutes(1))).await, []);
    let mut stored = due(at(minutes(1) + micros(1))).await.pop().unwrap();
    let events = stored.clock.fire(at(minutes(1) + micros(1)));
    write(&t, async |tx| clocks::save(tx, &[Change { stored, events, actor: None }]).await).await;
    assert_eq!(due(at(minutes(2))).await, [], "the warning is on record");
    assert_eq!(due(at(minutes(2) + micros(1))).await.len(), 1);
}

async fn a_paused_clock_is_not_due(t: Testbed) {
    let ticket = t.open(Priority::Low).await;
    let mut change = started(ticket.id, minutes(2), &[], t.now());
    take(&mut change, paused(Hold::Manual), at(minutes(1)));
    insert(&t, std::slice::from_ref(&change)).await;
    let due = async |now| write(&t, async |tx| clocks::claim_due(tx, now, 10).await).await;
    assert_eq!(due(at(hours(9))).await, []);
    change.events.clear();
    take(&mut change, Event::Resumed { hold: Hold::Manual }, at(hours(9)));
    write(&t, async |tx| clocks::save(tx, &[change]).await).await;
    assert_eq!(due(at(hours(9) + minutes(1))).await, []);
    assert_eq!(due(at(hours(9) + minutes(1) + micros(1))).await.len(), 1);
}

async fn open_clocks_are_counted_by_metric_priority_and_state(t: Testbed) {
    let ticket = t.open(Priority::Low).await;
    let mut held = started(ticket.id, minutes(1), &[], t.now());
    take(&mut held, paused(Hold::Manual), t.now());
    let mut late = started(ticket.id, minutes(1), &[], t.now());
    late.events.extend(late.stored.clock.fire(at(minutes(2))));
    let mut met = started(ticket.id, minutes(1), &[], t.now());
    take(&mut met, Event::Stopped, t.now());
    let mut risky = started(ticket.id, minutes(4), &[500_000], t.now());
    risky.events.extend(risky.stored.clock.fire(at(minutes(3))));
    insert(&t, &[held, late, met, risky]).await;
    let urgent = t.open(Priority::Critical).await;
    let mut counted = clocks::open(&t.db).await.unwrap();
    counted.sort();
    let count = |metric, priority, state, warned| clocks::Open { metric, priority, state, clocks: 1, warned };
    let mut expected = vec![
        count(Metric::NextResponse, ticket.priority, State::Active, 1),
        count(Metric::NextResponse, ticket.priority, State::Paused, 0),
        count(Metric::NextResponse, ticket.priority, State::Breached, 0),
    ];
    for metric in [Metric::FirstResponse, Metric::Resolution] {
        expected.extend([&urgent, &ticket].map(|ticket| count(metric, ticket.priority, State::Active, 0)));
    }
    expected.sort();
    assert_eq!(counted, expected);
}

async fn detection_is_measured_from_the_instant_of_the_breach(t: Testbed) {
    let ticket = t.open(Priority::Low).await;
    let changes: Vec<_> = (1..4).map(|i| started(ticket.id, minutes(1), &[], at(seconds(i)))).collect();
    let fired = changes.into_iter().zip([1, 500_000, 0]).map(|(mut change, lag)| {
        let seen = change.stored.clock.started_at + minutes(1) + micros(lag);
        change.events.extend(change.stored.clock.fire(seen));
        change
    });
    insert(&t, &fired.collect::<Vec<_>>()).await;
    let lags = async |since| {
        let mut lags = clocks::detection_lags(&t.db, since).await.unwrap();
        lags.sort();
        lags
    };
    assert_eq!(lags(at(seconds(0))).await, [micros(1), micros(500_000)]);
    assert_eq!(lags(at(seconds(2))).await, [micros(500_000)]);
}

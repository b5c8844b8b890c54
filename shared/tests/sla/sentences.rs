//! What examples in the shape of `simulate` cannot say.

use chrono::TimeDelta;
use shared::domain::sla::calendar::Definition;
use shared::domain::sla::{Calendar, Clock, Command, Event, Fraction, Hold, Mode, Plan, State};

use crate::history::{at, log, us};

const MANUAL: Hold = Hold::Manual;
const STATUS: Hold = Hold::Status;

fn plan(target: i64, warn_at: &[u32]) -> Plan {
    let warn_at = warn_at.iter().map(|percent| Fraction::percent(*percent)).collect();
    Plan { target: TimeDelta::seconds(target), warn_at, calendar: Calendar::AlwaysOpen }
}

fn start(target: i64) -> Clock {
    Clock::start(plan(target, &[50, 75, 90]), at(0)).0
}

fn retarget(target: i64, mode: Mode) -> Command {
    Command::Retarget(plan(target, &[50, 75, 90]), mode)
}

fn paused(hold: Hold) -> Event {
    Event::Paused { hold, reason: None }
}

fn take(clock: &mut Clock, command: impl Into<Command>, s: i64) -> Vec<(i64, String)> {
    log(&clock.take(command, at(s)))
}

fn fire(clock: &mut Clock, s: i64) -> Vec<(i64, String)> {
    log(&clock.fire(at(s)))
}

fn entry(s: i64, what: &str) -> (i64, String) {
    (s * 1_000_000, what.into())
}

#[test]
fn two_holds_keep_a_clock_until_both_let_go() {
    let mut clock = start(100);
    take(&mut clock, paused(MANUAL), 10);
    take(&mut clock, paused(STATUS), 20);
    take(&mut clock, Event::Resumed { hold: MANUAL }, 30);
    assert_eq!((clock.state(), clock.due_at()), (State::Paused, None));
    take(&mut clock, Event::Resumed { hold: STATUS }, 40);
    assert_eq!((clock.state(), clock.due_at()), (State::Active, Some(at(130))));
}

#[test]
fn pausing_a_paused_clock_records_nothing() {
    let mut clock = start(100);
    take(&mut clock, paused(MANUAL), 10);
    let before = clock.clone();
    assert_eq!(take(&mut clock, paused(MANUAL), 20), []);
    assert_eq!(take(&mut clock, Event::Resumed { hold: STATUS }, 20), []);
    assert_eq!(clock, before);
}

#[test]
fn after_an_outage_warnings_and_breach_are_recorded_at_their_instants() {
    let mut clock = start(100);
    let fired = clock.fire(at(5_000));
    let expected = [
        entry(50, "warned 500000"),
        entry(75, "warned 750000"),
        entry(90, "warned 900000"),
        entry(100, "breached"),
    ];
    assert_eq!(log(&fired), expected);
    assert_eq!((clock.breached_at, clock.detected_at), (Some(at(100)), Some(at(5_000))));
    assert_eq!(fire(&mut clock, 6_000), []);
}

#[test]
fn an_outage_over_a_pause_moves_no_warning_into_it() {
    let mut clock = start(100);
    let before = take(&mut clock, paused(MANUAL), 60);
    assert_eq!(before, [entry(50, "warned 500000"), entry(60, "paused manual")]);
    take(&mut clock, Event::Resumed { hold: MANUAL }, 160);
    let after = [entry(175, "warned 750000"), entry(190, "warned 900000"), entry(200, "breached")];
    assert_eq!(fire(&mut clock, 5_000), after);
}

#[test]
fn a_reply_after_the_breach_is_a_breach_although_nobody_looked() {
    let mut clock = start(100);
    let recorded = take(&mut clock, Event::Stopped, 101);
    assert_eq!(recorded[3..], [entry(100, "breached"), entry(101, "stopped")]);
    assert_eq!(clock.state(), State::Breached);
}

#[test]
fn a_reply_as_the_target_runs_out_is_in_time() {
    let mut clock = start(100);
    take(&mut clock, Event::Stopped, 100);
    assert_eq!((clock.state(), clock.breached_at), (State::Met, None));
    assert_eq!(fire(&mut clock, 5_000), []);
    assert_eq!(clock.next_fire_at(), None);
}

#[test]
fn reopening_goes_on_with_the_remainder() {
    let mut clock = start(100);
    take(&mut clock, Event::Stopped, 60);
    assert_eq!(clock.due_at(), None);
    take(&mut clock, Event::Reopened, 1_000);
    assert_eq!(clock.state(), State::Active);
    assert_eq!(clock.due_at(), Some(at(1_040)));
    assert_eq!(clock.elapsed(at(1_010)), TimeDelta::seconds(70));
}

#[test]
fn reopening_what_was_met_to_the_second_breaches_at_once() {
    let mut clock = start(100);
    take(&mut clock, Event::Stopped, 100);
    take(&mut clock, Event::Reopened, 200);
    assert_eq!(clock.due_at(), Some(at(100)));
    assert_eq!(fire(&mut clock, 200), []);
    assert_eq!(fire(&mut clock, 201), [entry(200, "breached")]);
}

#[test]
fn reopening_a_breached_clock_breaches_it_no_second_time() {
    let mut clock = start(100);
    take(&mut clock, Event::Stopped, 150);
    take(&mut clock, Event::Reopened, 200);
    assert_eq!((clock.state(), clock.next_fire_at()), (State::Breached, None));
    assert_eq!(fire(&mut clock, 5_000), []);
    assert_eq!(clock.elapsed(at(210)), TimeDelta::seconds(160));
}

#[test]
fn what_was_cancelled_is_not_reopened() {
    let mut clock = start(100);
    take(&mut clock, Event::Cancelled, 10);
    assert_eq!(take(&mut clock, Event::Reopened, 20), []);
    assert_eq!(clock.state(), State::Cancelled);
}

#[test]
fn a_stopped_clock_is_neither_paused_nor_retargeted() {
    let mut clock = start(100);
    take(&mut clock, Event::Stopped, 10);
    assert_eq!(take(&mut clock, paused(MANUAL), 20), []);
    let shorter = retarget(1, Mode::Retroactive);
    assert_eq!(take(&mut clock, shorter, 20), []);
    assert_eq!(clock.state(), State::Met);
}

#[test]
fn a_shorter_target_breaches_at_the_change_with_the_warnings_it_passed() {
    let mut clock = start(100);
    let recorded = take(&mut clock, retarget(20, Mode::Retroactive), 40);
    let warned = ["warned 500000", "warned 750000", "warned 900000"].map(|what| entry(40, what));
    assert_eq!(recorded[0], entry(40, "retargeted 20 retroactive"));
    assert_eq!(recorded[1..4], warned);
    assert_eq!(recorded[4], entry(40, "breached"));
    assert_eq!(clock.due_at(), Some(at(20)));
}

#[test]
fn a_longer_target_waives_a_breach_once_and_deletes_nothing() {
    let mut clock = start(100);
    let longer = |s: i64| retarget(s, Mode::Retroactive);
    let recorded = take(&mut clock, longer(300), 150);
    assert_eq!(recorded.last(), Some(&entry(150, "waived")));
    assert_eq!(
        (clock.state(), clock.breached_at, clock.waived_at),
        (State::Breached, Some(at(100)), Some(at(150)))
    );
    assert_eq!(take(&mut clock, longer(400), 160), [entry(160, "retargeted 400 retroactive")]);
}

#[test]
fn a_carried_share_is_rounded_in_the_customers_favour() {
    let mut clock = Clock::start(plan(3, &[]), at(0)).0;
    take(&mut clock, retarget(100, Mode::CarryFraction), 1);
    assert_eq!(clock.elapsed(at(1)), TimeDelta::microseconds(33_333_333));
    assert_eq!(clock.due_at().map(us), Some(1_000_000 + 66_666_667));
}

#[test]
fn a_carried_share_that_is_too_much_later_was_so_since_it_was_carried() {
    let mut clock = start(100);
    take(&mut clock, retarget(1000, Mode::CarryFraction), 50);
    take(&mut clock, paused(MANUAL), 50);
    let recorded = take(&mut clock, retarget(200, Mode::Retroactive), 70);
    assert_eq!(recorded.last(), Some(&entry(70, "breached")));
    assert_eq!(clock.due_at(), Some(at(50)));
}

#[test]
fn restarting_towards_the_same_target_starts_again() {
    let mut clock = start(100);
    take(&mut clock, retarget(100, Mode::Restart), 60);
    assert_eq!(clock.due_at(), Some(at(160)));
    let recorded = fire(&mut clock, 120);
    assert_eq!(recorded, [entry(110, "warned 500000")]);
}

#[test]
fn no_warning_follows_the_breach() {
    let mut clock = Clock::start(plan(100, &[120]), at(0)).0;
    assert_eq!(fire(&mut clock, 5_000), [entry(100, "breached")]);
}

#[test]
fn a_process_whose_clock_is_behind_records_nothing_before_the_last_event() {
    let mut clock = start(100);
    take(&mut clock, paused(MANUAL), 60);
    assert_eq!(fire(&mut clock, 55), []);
    assert_eq!(take(&mut clock, Event::Resumed { hold: MANUAL }, 58), [entry(60, "resumed manual")]);
}

#[test]
fn only_a_start_begins_a_history() {
    let (_, started) = Clock::start(plan(1, &[]), at(0));
    let mut stopped = started.clone();
    stopped.event = Event::Stopped;
    assert_eq!(Clock::replay(&[], |_| None), None);
    assert_eq!(Clock::replay(&[stopped, started], |_| None), None);
}

#[test]
fn a_history_by_an_unknown_calendar_is_not_guessed() {
    let version = "01890a5d-ac96-774b-bcce-b302099a8057".parse().expect("a version");
    let hours = Definition { tz: "UTC".into(), ..Definition::default() };
    let hours = hours.read(Some(version)).expect("nothing is wrong with it");
    let mut clock = start(100);
    let by_hours = Plan { calendar: hours.clone(), ..plan(100, &[50, 75, 90]) };
    let (_, started) = Clock::start(by_hours.clone(), at(0));
    assert_eq!(Clock::replay(std::slice::from_ref(&started), |_| None), None);
    assert!(Clock::replay(&[started], |_| Some(hours.clone())).is_some());
    let mut recorded = vec![Clock::start(plan(100, &[50, 75, 90]), at(0)).1];
    recorded.extend(clock.take(Command::Retarget(by_hours, Mode::Retroactive), at(10)));
    assert_eq!((recorded.len(), Clock::replay(&recorded, |_| None)), (2, None));
    assert_eq!(Clock::replay(&recorded, |_| Some(hours.clone())), Some(clock));
}

#[test]
fn events_are_stored_in_a_form_that_later_programs_read() {
    let json = |event: &Event| serde_json::to_string(event).expect("events are JSON");
    let stored = [
        r#"{"kind":"started","target_us":1,"warn_at":[500000]}"#,
        r#"{"kind":"paused","hold":"manual","reason":"lunch"}"#,
        r#"{"kind":"paused","hold":"status"}"#,
        r#"{"kind":"resumed","hold":"status"}"#,
        r#"{"kind":"retargeted","target_us":1,"mode":"carry_fraction"}"#,
        r#"{"kind":"started","target_us":1,"warn_at":[],"calendar":"01890a5d-ac96-774b-bcce-b302099a8057"}"#,
        r#"{"kind":"retargeted","target_us":1,"mode":"restart","warn_at":[1],"calendar":"01890a5d-ac96-774b-bcce-b302099a8057"}"#,
        r#"{"kind":"stopped"}"#,
        r#"{"kind":"cancelled"}"#,
        r#"{"kind":"reopened"}"#,
        r#"{"kind":"warned","fraction":500000}"#,
        r#"{"kind":"breached","detected_at":"2027-01-15T08:00:00Z"}"#,
        r#"{"kind":"waived"}"#,
    ];
    for text in stored {
        let event: Event = serde_json::from_str(text).expect(text);
        assert_eq!(json(&event), text);
        assert!(text.contains(event.kind()));
    }
}

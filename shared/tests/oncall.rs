//! On-call schedules against their rules, read minute by minute off the wall clock.

#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking, and clippy does not see that these are tests"
)]

use chrono::{Datelike, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, TimeZone};
use chrono_tz::Tz;
use proptest::prelude::*;
use shared::domain::oncall::{Because, Definition, Layer, Override, Rota, Turn};
use shared::ids::{OverrideId, UserId};
use shared::time::Timestamp;

/// Zones, and dates on which their clocks change: by an hour, half an hour, two, at midnight, and by a whole day.
const CHANGES: &[(&str, &str)] = &[
    ("UTC", "2026-01-01"),
    ("Europe/Berlin", "2026-03-29"),
    ("Europe/Berlin", "2026-10-25"),
    ("America/New_York", "2026-03-08"),
    ("America/New_York", "2026-11-01"),
    ("America/St_Johns", "2007-11-04"),
    ("America/Sao_Paulo", "2018-11-04"),
    ("America/Havana", "2026-11-01"),
    ("Africa/Casablanca", "2026-02-15"),
    ("Antarctica/Troll", "2026-03-29"),
    ("Asia/Kathmandu", "2026-06-01"),
    ("Asia/Tehran", "2022-03-22"),
    ("Australia/Lord_Howe", "2026-04-05"),
    ("Australia/Lord_Howe", "2026-10-04"),
    ("Pacific/Apia", "2011-12-30"),
];

fn date(text: &str) -> NaiveDate {
    text.parse().unwrap()
}

fn minutes(n: i64) -> TimeDelta {
    TimeDelta::minutes(n)
}

/// A person for each small number.
fn person(n: u8) -> UserId {
    UserId(format!("00000000-0000-0000-0000-0000000000{n:02x}").parse().unwrap())
}

fn time_of_day(text: &str) -> NaiveTime {
    NaiveTime::parse_from_str(text, "%H:%M").unwrap()
}

/// Who is on call, straight from the rules; `firsts` are the first hand-offs of the layers.
fn by_the_rules(schedule: &Definition, firsts: &[Timestamp], zone: Tz, at: Timestamp) -> Option<UserId> {
    let exception = schedule.overrides.iter().rev().find(|o| o.from <= at && at < o.to);
    let mut layers = schedule.layers.iter().zip(firsts).rev();
    exception.map(|o| o.user).or_else(|| layers.find_map(|(layer, first)| holder(layer, *first, zone, at)))
}

fn holder(layer: &Layer, first: Timestamp, zone: Tz, at: Timestamp) -> Option<UserId> {
    let local = at.with_timezone(&zone).naive_local();
    let day =
        ["mon", "tue", "wed", "thu", "fri", "sat", "sun"][local.weekday().num_days_from_monday() as usize];
    if let Some(hours) = &layer.hours {
        let within = |window: &String| {
            let (start, end) = window.split_once('-').unwrap();
            time_of_day(start) <= local.time() && (end == "24:00" || local.time() < time_of_day(end))
        };
        if !hours.get(day).is_some_and(|windows| windows.iter().any(within)) {
            return None;
        }
    }
    let turn = match layer.turn {
        Turn::Hours(hours) => (at >= first).then(|| (at - first).num_minutes() / 60 / hours),
        Turn::Daily => turn_by_dates(handoff(layer), local, 1),
        Turn::Weekly => turn_by_dates(handoff(layer), local, 7),
        Turn::Days(days) => turn_by_dates(handoff(layer), local, days),
    };
    turn.map(|turn| layer.users[usize::try_from(turn).unwrap() % layer.users.len()])
}

/// The first hand-off, as the wall clock shows it.
fn handoff(layer: &Layer) -> NaiveDateTime {
    layer.start.and_time(time_of_day(&layer.handoff))
}

/// Counts hand-offs on the wall clock's calendar, one after the other.
fn turn_by_dates(first: NaiveDateTime, local: NaiveDateTime, days: i64) -> Option<i64> {
    (0..).take_while(|turn| first + TimeDelta::days(turn * days) <= local).last()
}

/// Walks to the first minute at which the wall clock shows a time or has passed it.
fn first_instant(zone: Tz, wall: NaiveDateTime) -> Timestamp {
    let mut at = wall.and_utc() - TimeDelta::hours(40);
    while zone.from_utc_datetime(&at.naive_utc()).naive_local() < wall {
        at += minutes(1);
    }
    at
}

fn times() -> impl Strategy<Value = String> {
    let around = prop::sample::select(vec!["00:00", "01:00", "02:00", "02:30", "03:00", "23:30"]);
    prop_oneof![
        around.prop_map(String::from),
        (0..24, 0..60).prop_map(|(hour, minute)| format!("{hour:02}:{minute:02}"))
    ]
}

fn turns() -> impl Strategy<Value = Turn> {
    prop_oneof![
        Just(Turn::Daily),
        Just(Turn::Weekly),
        (1..5_i64).prop_map(Turn::Days),
        (1..60_i64).prop_map(Turn::Hours)
    ]
}

/// The same windows on some weekdays.
fn hours() -> impl Strategy<Value = std::collections::BTreeMap<String, Vec<String>>> {
    let windows = prop::sample::select(vec![
        vec!["00:00-24:00"],
        vec!["01:30-02:30"],
        vec!["00:00-02:15", "02:45-24:00"],
        vec!["09:00-12:00", "13:00-17:00"],
    ]);
    let days = prop::sample::subsequence(vec!["mon", "tue", "wed", "thu", "fri", "sat", "sun"], 0..=7);
    (days, windows).prop_map(|(days, windows)| {
        let own = |windows: &[&str]| windows.iter().map(ToString::to_string).collect::<Vec<_>>();
        days.into_iter().map(|day| (day.into(), own(&windows))).collect()
    })
}

/// A schedule whose first hand-offs lie some days around a date, and where to look at it from.
fn schedules() -> impl Strategy<Value = (Tz, Definition, Timestamp)> {
    prop::sample::select(CHANGES).prop_flat_map(|(tz, changes)| {
        let zone: Tz = tz.parse().unwrap();
        let middle = date(changes).and_time(NaiveTime::MIN).and_utc();
        let layer =
            (-9..2_i64, times(), turns(), prop::collection::vec(0..4_u8, 1..4), prop::option::of(hours()));
        let layer = layer.prop_map(move |(days, handoff, turn, users, hours)| Layer {
            name: String::new(),
            users: users.into_iter().map(person).collect(),
            start: date(changes) + TimeDelta::days(days),
            handoff,
            turn,
            hours,
        });
        let exception = (-2_000..2_000_i64, 1..2_000_i64, 4..7_u8).prop_map(move |(from, length, user)| {
            let from = middle + minutes(from);
            Override { id: OverrideId::new(), user: person(user), from, to: from + minutes(length) }
        });
        let (layers, overrides) =
            (prop::collection::vec(layer, 1..4), prop::collection::vec(exception, 0..3));
        (layers, overrides, -2_000..-500_i64).prop_map(move |(mut layers, overrides, from)| {
            for (i, layer) in layers.iter_mut().enumerate() {
                layer.name = i.to_string();
            }
            (zone, Definition { tz: tz.into(), layers, overrides }, middle + minutes(from))
        })
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]

    #[test]
    fn whoever_the_rules_name_is_on_call((zone, schedule, from) in schedules()) {
        let rota = Rota::new(&schedule).unwrap();
        let to = from + TimeDelta::hours(60);
        let firsts: Vec<_> = schedule.layers.iter().map(|layer| first_instant(zone, handoff(layer))).collect();
        let mut shifts = rota.shifts(from, to).into_iter().peekable();
        prop_assert_eq!(shifts.peek().unwrap().from, from);
        let (mut at, mut shift) = (from, shifts.next().unwrap());
        while at < to {
            if at == shift.to {
                let next = shifts.next().unwrap();
                prop_assert!(next.from == at && next.user != shift.user, "{:?} {:?}", shift, next);
                shift = next;
            }
            let expected = by_the_rules(&schedule, &firsts, zone, at);
            prop_assert_eq!(rota.on_call(at), expected, "at {}", at);
            prop_assert_eq!(shift.user, expected, "at {}", at);
            at += minutes(1);
        }
        prop_assert_eq!((shift.to, shifts.next()), (to, None));
    }
}

fn schedule(turn: Turn, users: &[u8]) -> Definition {
    let layer = Layer {
        name: "first".into(),
        users: users.iter().copied().map(person).collect(),
        start: date("2026-01-05"),
        handoff: "09:00".into(),
        turn,
        hours: None,
    };
    Definition { tz: "Europe/Berlin".into(), layers: vec![layer], overrides: Vec::new() }
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

#[test]
fn a_week_is_handed_over_at_nine_by_the_wall_clock() {
    let rota = Rota::new(&schedule(Turn::Weekly, &[1, 2])).unwrap();
    assert_eq!(rota.on_call(at("2026-01-05T07:59:59.999999Z")), None);
    assert_eq!(rota.on_call(at("2026-01-05T08:00:00Z")), Some(person(1)));
    let shifts = rota.shifts(at("2026-03-20T00:00:00Z"), at("2026-04-04T00:00:00Z"));
    let found: Vec<_> = shifts.iter().map(|shift| (shift.from, shift.user)).collect();
    let (one, two) = (Some(person(1)), Some(person(2)));
    let expected = [
        (at("2026-03-20T00:00:00Z"), one),
        (at("2026-03-23T08:00:00Z"), two),
        (at("2026-03-30T07:00:00Z"), one),
    ];
    assert_eq!(found, expected);
    assert_eq!(shifts[2].to, at("2026-04-04T00:00:00Z"));
}

#[test]
fn the_last_layer_with_somebody_counts_and_the_latest_override_beats_it() {
    let mut schedule = schedule(Turn::Daily, &[1]);
    let mut nights = schedule.layers[0].clone();
    nights.name = "office".into();
    nights.users = vec![person(2)];
    nights.hours = Some([("tue".into(), vec!["09:00-17:00".into()])].into());
    schedule.layers.push(nights);
    let (from, to) = (at("2026-01-06T10:00:00Z"), at("2026-01-06T18:00:00Z"));
    for user in [3, 4] {
        schedule.overrides.push(Override { id: OverrideId::new(), user: person(user), from, to });
    }
    schedule.overrides[1].to = at("2026-01-06T11:00:00Z");
    let rota = Rota::new(&schedule).unwrap();
    let who = |text| rota.who(at(text)).map(|who| (who.user, who.because));
    assert_eq!(who("2026-01-06T07:59:59Z"), Some((person(1), Because::Layer("first"))));
    assert_eq!(who("2026-01-06T08:00:00Z"), Some((person(2), Because::Layer("office"))));
    let [third, fourth] = [0, 1].map(|i| Because::Override(schedule.overrides[i].id));
    assert_eq!(who("2026-01-06T10:00:00Z"), Some((person(4), fourth)));
    assert_eq!(who("2026-01-06T11:00:00Z"), Some((person(3), third)));
    assert_eq!(who("2026-01-06T18:00:00Z"), Some((person(1), Because::Layer("first"))));
}

#[test]
fn hours_are_counted_as_they_pass() {
    let mut schedule = schedule(Turn::Hours(12), &[1, 2]);
    schedule.layers[0].start = date("2026-03-28");
    schedule.layers[0].handoff = "21:00".into();
    let rota = Rota::new(&schedule).unwrap();
    let shifts = rota.shifts(at("2026-03-28T20:00:00Z"), at("2026-03-29T20:00:00Z"));
    let found: Vec<_> = shifts.iter().map(|shift| shift.from).collect();
    assert_eq!(found, [at("2026-03-28T20:00:00Z"), at("2026-03-29T08:00:00Z")]);
}

#[test]
fn a_hand_off_that_the_clock_skips_comes_when_it_does() {
    let mut schedule = schedule(Turn::Hours(1), &[1, 2]);
    schedule.layers[0].start = date("2026-03-29");
    schedule.layers[0].handoff = "02:30".into();
    let rota = Rota::new(&schedule).unwrap();
    assert_eq!(rota.on_call(at("2026-03-29T00:59:59Z")), None);
    assert_eq!(rota.on_call(at("2026-03-29T01:00:00Z")), Some(person(1)));
    assert_eq!(rota.on_call(at("2026-03-29T02:00:00Z")), Some(person(2)));
}

#[test]
fn gaps_are_when_nobody_is_on_call() {
    let mut schedule = schedule(Turn::Weekly, &[1]);
    let hours = ["mon", "tue", "wed", "thu", "fri"].map(|day| (day.into(), vec!["00:00-24:00".into()]));
    schedule.layers[0].hours = Some(hours.into());
    let rota = Rota::new(&schedule).unwrap();
    let gaps = rota.gaps(at("2026-01-01T00:00:00Z"), at("2026-01-13T00:00:00Z"));
    let expected =
        [("2026-01-01T00:00:00Z", "2026-01-05T08:00:00Z"), ("2026-01-09T23:00:00Z", "2026-01-11T23:00:00Z")];
    assert_eq!(gaps, expected.map(|(from, to)| (at(from), at(to))));
    let none = at("2026-01-05T08:00:00Z");
    assert_eq!((rota.gaps(none, none), rota.shifts(none, none)), (Vec::new(), Vec::new()));
}

#[test]
fn a_schedule_that_is_wrong_has_no_rota() {
    let mut wrong = schedule(Turn::Hours(i64::MAX), &[]);
    wrong.tz = "Europe/Bielefeld".into();
    let fields: Vec<_> = Rota::new(&wrong).unwrap_err().into_iter().map(|problem| problem.field).collect();
    assert_eq!(fields, ["tz", "layers[0].users", "layers[0].turn"]);
}

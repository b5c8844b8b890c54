//! What an outage of a day and a half leaves: the breaches that the rules say, at their instants, and one digest for
//! each person instead of a flood; and what a step that was overtaken leaves: nothing but a reason.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, NaiveTime, TimeDelta};
use chrono_tz::Tz;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use shared::domain::cause::Cause;
use shared::domain::definition::Kind;
use shared::domain::job::{Digest, Notify, SendMail};
use shared::domain::sla::Metric;
use shared::domain::ticket::{Category, Priority, Status};
use shared::ids::ClockId;
use shared::on_both;
use shared::store::desk::Draft;
use shared::store::notifications::{self, Filter, Notification, State};
use shared::store::tickets::Ticket;
use shared::store::{Db, clocks, tickets};
use shared::testkit::Testbed;

use crate::testing::Bench;

on_both! {
    after_an_outage_the_breaches_are_those_that_the_rules_say,
    a_step_that_was_overtaken_sends_nothing_and_says_why,
}

const TICKETS: usize = 1_000;

/// When a clock counts: windows of minutes since local midnight, by weekday from Monday, and by date.
struct Hours {
    zone: Tz,
    week: [Vec<(i64, i64)>; 7],
    dates: BTreeMap<String, Vec<(i64, i64)>>,
}

impl Hours {
    /// Whether the minute that begins at `at` is open, as rule 1 says.
    fn is_open(&self, at: DateTime<chrono::Utc>) -> bool {
        use chrono::{Datelike, Timelike};
        let local = at.with_timezone(&self.zone);
        let time = i64::from(local.hour() * 60 + local.minute());
        let week = &self.week[local.weekday().num_days_from_monday() as usize];
        let windows = self.dates.get(&local.date_naive().to_string()).unwrap_or(week);
        windows.iter().any(|(start, end)| (*start..*end).contains(&time))
    }

    fn body(&self) -> Value {
        let time = |minute: i64| match u32::try_from(minute * 60).ok() {
            Some(86_400) => "24:00".into(),
            second => second
                .and_then(|second| NaiveTime::from_num_seconds_from_midnight_opt(second, 0))
                .expect("a time of day")
                .format("%H:%M")
                .to_string(),
        };
        let texts = |windows: &Vec<(i64, i64)>| -> Vec<String> {
            windows.iter().map(|(start, end)| format!("{}-{}", time(*start), time(*end))).collect()
        };
        let days = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
        let weekly: BTreeMap<_, _> = days.into_iter().zip(self.week.iter().map(texts)).collect();
        let overrides: BTreeMap<_, _> = self.dates.iter().map(|(date, own)| (date, texts(own))).collect();
        json!({ "tz": self.zone.name(), "weekly": weekly, "overrides": overrides })
    }
}

/// The hours of each category; the first is around the clock.
fn all_hours() -> [Hours; 3] {
    let days = |open: usize, windows: &[(i64, i64)]| -> [Vec<(i64, i64)>; 7] {
        std::array::from_fn(|day| if day < open { windows.to_vec() } else { Vec::new() })
    };
    let always = days(7, &[(0, 1_440)]);
    let office = days(5, &[(540, 1_020)]);
    let split = days(6, &[(0, 90), (480, 720), (810, 1_440)]);
    let half_day = [("2027-01-15".to_owned(), vec![(600, 660)]), ("2027-01-16".to_owned(), vec![(720, 900)])];
    [
        Hours { zone: Tz::UTC, week: always, dates: BTreeMap::new() },
        Hours { zone: Tz::Europe__Berlin, week: office, dates: BTreeMap::new() },
        Hours { zone: Tz::America__New_York, week: split, dates: half_day.into() },
    ]
}

/// One clock as somebody with a notebook would keep it, in minutes since the start of the test.
struct Noted {
    clock: ClockId,
    hours: usize,
    target: i64,
    start: i64,
    /// From when until when somebody held it.
    holds: Vec<(i64, Option<i64>)>,
    stop: Option<i64>,
}

impl Noted {
    fn held(&self, minute: i64) -> bool {
        self.holds.iter().any(|(from, to)| *from <= minute && to.is_none_or(|to| minute < to))
    }

    /// The minute whose beginning the target is exceeded after, by counting minutes until `end`.
    fn breach(&self, hours: &[Hours], end: i64) -> Option<i64> {
        let mut counted = 0;
        for minute in self.start..self.stop.unwrap_or(end).min(end) {
            let at = shared::testkit::start() + TimeDelta::minutes(minute);
            if self.held(minute) || !hours[self.hours].is_open(at) {
                continue;
            }
            if counted == self.target {
                return Some(minute);
            }
            counted += 1;
        }
        None
    }
}

const CATEGORIES: [Category; 3] = [Category::Incident, Category::Question, Category::ServiceRequest];

/// Minutes until the first response and the resolution, by category and priority.
fn targets(category: usize, priority: Priority) -> (i64, i64) {
    let p = priority as i64;
    let c = i64::try_from(category).expect("few");
    (30 + 45 * p + 20 * c, 120 + 300 * p + 60 * c)
}

async fn define(t: &Testbed, hours: &[Hours]) {
    for (i, (category, hours)) in CATEGORIES.iter().zip(hours).enumerate() {
        let calendar = t.define(Kind::Calendar, category.as_str(), hours.body()).await;
        let promised = |p: &Priority| {
            let (response, resolution) = targets(i, *p);
            let promised =
                json!({ "first_response": format!("{response}m"), "resolution": format!("{resolution}m") });
            (p.as_str(), promised)
        };
        let targets: BTreeMap<_, _> = Priority::ALL.iter().map(promised).collect();
        let matches = json!({ "category": [category] });
        let body = json!({ "match": matches, "calendar_id": calendar.id, "targets": targets });
        t.define(Kind::SlaPolicy, category.as_str(), body).await;
    }
}

struct Story<'a> {
    t: &'a Testbed,
    random: StdRng,
    open: Vec<Ticket>,
    noted: HashMap<ClockId, Noted>,
}

impl Story<'_> {
    fn minute(&self) -> i64 {
        (self.t.now() - shared::testkit::start()).num_minutes()
    }

    async fn open(&mut self, count: usize) {
        let drafts = (0..count).map(|_| {
            let category = CATEGORIES[self.random.random_range(0..3)];
            let priority = Priority::ALL[self.random.random_range(0..4)];
            Draft { category, ..self.t.draft(priority) }
        });
        let drafts = drafts.collect();
        let mut tx = self.t.db.begin().await.unwrap();
        let opened = self.t.desk.open(&mut tx, drafts).await.unwrap();
        let _ = tx.commit().await.unwrap();
        let start = self.minute();
        for ticket in &opened {
            let hours = CATEGORIES.iter().position(|category| *category == ticket.category).unwrap();
            let (response, resolution) = targets(hours, ticket.priority);
            for stored in self.t.clocks(ticket).await {
                let target = if stored.metric == Metric::Resolution { resolution } else { response };
                let (holds, stop, clock) = (Vec::new(), None, stored.id);
                self.noted.insert(clock, Noted { clock, hours, target, start, holds, stop });
            }
        }
        self.open.extend(opened);
    }

    /// Lets something happen to a ticket.
    async fn act(&mut self) {
        let place = self.random.random_range(0..self.open.len());
        let ticket = tickets::get(&self.t.db, self.open[place].id).await.unwrap().unwrap();
        let [response, resolution]: [_; 2] = self.t.clocks(&ticket).await.try_into().unwrap();
        let (now, staff) = (self.minute(), self.t.staff());
        let mut tx = self.t.db.begin().await.unwrap();
        let desk = &self.t.desk;
        let to = match (self.random.random_range(0..6), ticket.status) {
            (0, _) if resolution.clock.held_manually => {
                desk.resume(&mut tx, resolution.id, &staff).await.map(drop).unwrap_or_default();
                if !resolution.clock.held_by_status {
                    self.noted.get_mut(&resolution.id).unwrap().holds.last_mut().unwrap().1 = Some(now);
                    let _ = tx.commit().await.unwrap();
                }
                return;
            }
            (0, status) if status != Status::PendingInfo => {
                desk.pause(&mut tx, resolution.id, &staff, "vendor".into()).await.unwrap();
                self.noted.get_mut(&resolution.id).unwrap().holds.push((now, None));
                let _ = tx.commit().await.unwrap();
                return;
            }
            (1 | 2, Status::PendingInfo) => Status::Open,
            (1, _) if !resolution.clock.held_manually => Status::PendingInfo,
            (3, Status::New | Status::Open) => Status::InProgress,
            (4, _) if self.random.random_bool(0.3) => Status::Resolved,
            _ => return,
        };
        desk.move_to(&mut tx, ticket.id, None, &staff, to).await.unwrap();
        let _ = tx.commit().await.unwrap();
        for stored in [&response, &resolution] {
            let noted = self.noted.get_mut(&stored.id).unwrap();
            if to == Status::PendingInfo {
                noted.holds.push((now, None));
            } else if ticket.status == Status::PendingInfo
                && let Some((_, end)) = noted.holds.last_mut()
            {
                *end = end.or(Some(now));
            }
            let done = to == Status::Resolved
                || (to == Status::InProgress && stored.metric == Metric::FirstResponse);
            if done {
                noted.stop = noted.stop.or(Some(now));
            }
        }
        if to == Status::Resolved {
            self.open.swap_remove(place);
        }
    }
}

async fn after_an_outage_the_breaches_are_those_that_the_rules_say(t: Testbed) {
    let bench = Bench::over(t, &[("STORM_LIMIT", "5"), ("STORM_WINDOW_SECONDS", "60")]);
    let t = &bench.t;
    let hours = all_hours();
    define(t, &hours).await;
    let random = StdRng::seed_from_u64(20_270_115);
    let mut story = Story { t, random, open: Vec::new(), noted: HashMap::new() };
    for round in 0..20 {
        story.open(TICKETS / 20).await;
        for _ in 0..60 {
            story.act().await;
        }
        t.advance(TimeDelta::minutes(1 + story.random.random_range(0..40)));
        if round % 7 == 3 {
            t.sweep().await;
        }
    }
    t.advance(TimeDelta::hours(36));
    // The sweep sees what is past, not what falls due in its very microsecond.
    t.advance(TimeDelta::microseconds(1));
    while t.sweep().await.clocks > 0 {}
    let end = story.minute() + 1;
    let expected: BTreeMap<ClockId, _> = story
        .noted
        .values()
        .filter_map(|noted| {
            let minute = noted.breach(&hours, end)?;
            Some((noted.clock, shared::testkit::start() + TimeDelta::minutes(minute)))
        })
        .collect();
    let mut found = BTreeMap::new();
    for id in story.noted.keys() {
        let stored = clocks::get(&t.db, *id).await.unwrap().unwrap();
        found.extend(stored.clock.breached_at.map(|at| (*id, at)));
        // Whatever fired, fired in the order of its instants.
        assert!(clocks::events(&t.db, *id).await.unwrap().is_sorted_by_key(|recorded| recorded.at));
    }
    assert!(expected.len() > TICKETS / 2, "{} breaches", expected.len());
    assert_eq!(found, expected);
    // Mails are the same on either engine; one of them is enough for as many.
    if matches!(t.db, Db::Sqlite { .. }) {
        nobody_is_flooded(&bench, expected.len()).await;
    }
}

async fn nobody_is_flooded(bench: &Bench, breaches: usize) {
    let mut tx = bench.t.db.begin().await.unwrap();
    assert!(bench.t.desk.escalate(&mut tx, 10_000).await.unwrap() > 0);
    let _ = tx.commit().await.unwrap();
    bench.run_all::<Notify>().await;
    bench.run_all::<SendMail>().await;
    bench.t.advance(TimeDelta::seconds(60));
    bench.run_all::<Digest>().await;
    let mails = bench.sent();
    let digests = mails.keys().filter(|name| name.starts_with("digest-")).count();
    assert_eq!(digests, 2, "one for the assignee of all tickets, one for their reporter");
    assert!(mails.len() <= 2 + 2 * 5, "{} mails", mails.len());
    let filter = |state, event: &str| Filter {
        state: Some(state),
        event: Some(event.into()),
        recipient: Some(bench.t.staff.email.clone()),
        limit: 100_000,
        ..Filter::default()
    };
    let told = notifications::list(&bench.t.db, &filter(State::Sent, "sla.breached")).await.unwrap();
    assert_eq!(told.len(), breaches, "every breach was told, most of them in the digest");
    for state in [State::Held, State::Pending] {
        let left = Filter { state: Some(state), limit: 10, ..Filter::default() };
        assert_eq!(notifications::list(&bench.t.db, &left).await.unwrap(), []);
    }
    let suppressed = Filter { state: Some(State::Suppressed), limit: 100_000, ..Filter::default() };
    let suppressed = notifications::list(&bench.t.db, &suppressed).await.unwrap();
    assert!(!suppressed.is_empty() && suppressed.iter().all(|told| told.reason.is_some()));
}

async fn a_step_that_was_overtaken_sends_nothing_and_says_why(t: Testbed) {
    let bench = Bench::over(t, &[("STORM_LIMIT", "1000")]);
    let t = &bench.t;
    let targets = json!({ "high": { "resolution": "1h" } });
    let steps = json!([
        { "when": { "fraction": 0.5 }, "targets": [{ "type": "assignee" }] },
        { "when": { "after": "0s" }, "targets": [{ "type": "assignee" }] },
    ]);
    let calls = t.define(Kind::EscalationPolicy, "Calls", json!({ "steps": steps })).await;
    t.define(
        Kind::SlaPolicy,
        "All",
        json!({ "targets": targets, "escalation_policy_id": calls.id, "warn_at": [] }),
    )
    .await;
    let cases = [
        ("acknowledge", "somebody acknowledged the ticket", "somebody acknowledged the ticket"),
        ("pause", "the clock is paused", "the clock is paused"),
        ("resolve", "the clock was stopped", "the ticket was resolved"),
    ];
    for (what, early, late) in cases {
        for (minutes, reason) in [(31, early), (61, late)] {
            // Between the step and the decision whom to tell, and between that and the sending.
            for decided in [false, true] {
                let ticket = t.open(Priority::High).await;
                bench.run_all::<Notify>().await;
                bench.run_all::<SendMail>().await;
                t.advance(TimeDelta::minutes(minutes));
                t.sweep().await;
                let mut tx = t.db.begin().await.unwrap();
                t.desk.escalate(&mut tx, 100).await.unwrap();
                let _ = tx.commit().await.unwrap();
                if decided {
                    bench.run_all::<Notify>().await;
                }
                overtake(t, &ticket, what).await;
                bench.run_all::<Notify>().await;
                bench.run_all::<SendMail>().await;
                let told = notifications::of_ticket(&t.db, ticket.id).await.unwrap();
                let step: Vec<_> = told.iter().filter(|n| n.cause.event() == "escalation.step").collect();
                let is_early =
                    |n: &&&Notification| matches!(n.cause.0, Cause::EarlyStep { .. }) == (minutes == 31);
                let due = step.iter().find(is_early).expect("it was decided on");
                assert_eq!((due.state, due.reason.as_deref()), (State::Suppressed, Some(reason)), "{what}");
                assert!(step.iter().all(|n| n.state == State::Suppressed), "{what}: {step:?}");
            }
        }
    }
}

async fn overtake(t: &Testbed, ticket: &Ticket, what: &str) {
    let mut tx = t.db.begin().await.unwrap();
    let clock = t.clocks(ticket).await[0].id;
    match what {
        "acknowledge" => drop(t.desk.acknowledge(&mut tx, ticket.id, None, &t.staff()).await.unwrap()),
        "pause" => drop(t.desk.pause(&mut tx, clock, &t.staff(), "vendor".into()).await.unwrap()),
        _ => drop(t.desk.move_to(&mut tx, ticket.id, None, &t.staff(), Status::Resolved).await.unwrap()),
    }
    let _ = tx.commit().await.unwrap();
}

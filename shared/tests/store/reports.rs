//! Reports, against a slow computation of the same over all tickets.

use std::collections::{BTreeMap, HashMap};

use chrono::TimeDelta;
use serde_json::json;
use shared::domain::definition::Kind;
use shared::domain::role::Role;
use shared::domain::sla::State;
use shared::domain::ticket::Status;
use shared::ids::UserId;
use shared::on_both;
use shared::store::clocks::{self, Stored};
use shared::store::desk::{Actor, Draft};
use shared::store::reports::{self, Assignee, Compliance, Grouping, Latency, Window};
use shared::store::tickets::{self, Filter, Ticket};
use shared::store::users;
use shared::testkit::{Testbed, user};

use crate::{hours, minutes, write};

on_both! {
    reports_count_what_happened,
    reports_over_nothing_are_empty,
}

/// Numbers that look random and are the same in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: i64) -> i64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        i64::try_from(self.0 >> 33).unwrap() % sides
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[usize::try_from(self.roll(from.len().try_into().unwrap())).unwrap()]
    }
}

type Found = Vec<(Ticket, Vec<Stored>)>;

/// Some days at a service desk, and everything that is left of them.
async fn live(t: &Testbed) -> Found {
    let mut dice = Dice(1);
    let people =
        ["ada@example.org", "bo@example.org", "cy@example.org"].map(|email| user(email, Role::Admin));
    for person in &people {
        write(t, async |tx| users::add(tx, person).await).await;
    }
    let team = t.define(Kind::Team, "Web", json!({ "members": [] })).await.id;
    // Nothing is promised for the resolution of low ones; high ones count by office hours.
    let week = json!({ "mon": ["09:00-17:00"], "fri": ["09:00-17:00"], "sat": ["10:00-12:00"] });
    let office =
        t.define(Kind::Calendar, "Office", json!({ "tz": "Europe/Berlin", "weekly": week })).await.id;
    let targets =
        json!({ "high": { "first_response": "10m", "resolution": "3h" }, "low": { "first_response": "2h" } });
    let matches = json!({ "priority": ["high", "low"] });
    let policy = json!({ "targets": targets, "calendar_id": office, "match": matches });
    t.define(Kind::SlaPolicy, "Office hours", policy).await;
    let boss = Actor::from(shared::domain::access::Caller::alone(people[0].id, Role::Admin));
    let mut opened: Vec<Ticket> = Vec::new();
    for _ in 0..150 {
        t.advance(TimeDelta::milliseconds(dice.roll(3_600_000)));
        t.sweep().await;
        let old = dice.roll(3) > 0 && !opened.is_empty();
        if old {
            let ticket = opened[usize::try_from(dice.roll(opened.len().try_into().unwrap())).unwrap()].id;
            let now = tickets::get(&t.db, ticket).await.unwrap().unwrap();
            let to = dice.pick(now.status.next());
            let deletes = dice.roll(20) == 0;
            if deletes && now.deleted_at.is_none() {
                write(t, async |tx| t.desk.delete(tx, ticket, None, &boss).await).await;
            } else if now.deleted_at.is_none() {
                write(t, async |tx| t.desk.move_to(tx, ticket, None, &boss, to).await).await;
            }
            continue;
        }
        let draft = Draft {
            assignee_id: (dice.roll(5) > 0).then(|| dice.pick(&people.each_ref()).id),
            team_id: (dice.roll(2) == 0).then_some(team),
            actor: boss.clone(),
            ..t.draft(dice.pick(shared::domain::ticket::Priority::ALL))
        };
        opened.extend(write(t, async |tx| t.desk.open(tx, vec![draft]).await).await);
    }
    let filter = Filter { limit: 1_000, ..Filter::default() };
    let mut found = Vec::new();
    for (ticket, _) in tickets::list(&t.db, &filter).await.unwrap() {
        let clocks = clocks::of_ticket(&t.db, ticket.id).await.unwrap();
        found.push((ticket, clocks));
    }
    found
}

fn windows(t: &Testbed) -> Vec<Window> {
    let (start, now) = (shared::testkit::start(), t.now());
    let within = |from: TimeDelta, to: TimeDelta| Window { from: start + from, to: start + to };
    vec![
        Window { from: start, to: now + hours(1) },
        within(hours(10), hours(40)),
        within(hours(30), hours(31)),
        within(minutes(0), minutes(1)),
    ]
}

fn nearest_rank(sorted: &[i64], percent: usize) -> Option<i64> {
    sorted.get(((sorted.len() * percent).div_ceil(100)).max(1) - 1).copied()
}

fn mean(values: &[i64]) -> Option<i64> {
    let count = i64::try_from(values.len()).unwrap();
    (count > 0).then(|| values.iter().sum::<i64>() / count)
}

async fn name(t: &Testbed, id: UserId) -> String {
    users::get(&t.db, id).await.unwrap().unwrap().name
}

async fn reports_count_what_happened(t: Testbed) {
    let found = live(&t).await;
    let mut seen = [0; 4];
    for window in windows(&t) {
        let within =
            |at: Option<shared::time::Timestamp>| at.is_some_and(|at| at >= window.from && at < window.to);
        let mut of: HashMap<UserId, Vec<&(Ticket, Vec<Stored>)>> = HashMap::new();
        for one in &found {
            of.entry(one.0.assignee_id.unwrap_or(one.0.reporter_id)).or_default().push(one);
        }
        of.remove(&t.customer.id);
        let (mut top, mut latency) = (Vec::new(), Vec::new());
        for (user_id, all) in of {
            let name = name(&t, user_id).await;
            let count = |which: &dyn Fn(&Ticket, &[Stored]) -> bool| {
                i64::try_from(all.iter().filter(|(ticket, clocks)| which(ticket, clocks)).count()).unwrap()
            };
            let resolved = count(&|ticket, _| within(ticket.resolved_at));
            let open = count(&|ticket, _| !ticket.status.is_done() && ticket.created_at < window.to);
            let breached = count(&|_, clocks| clocks.iter().any(|stored| within(stored.clock.breached_at)));
            if resolved + open + breached > 0 {
                top.push(Assignee { user_id, name: name.clone(), resolved, open, breached });
            }
            let mut walls: Vec<i64> = Vec::new();
            let mut elapsed: Vec<i64> = Vec::new();
            for (ticket, clocks) in all.iter().filter(|(ticket, _)| within(ticket.resolved_at)) {
                walls.push((ticket.resolved_at.unwrap() - ticket.created_at).num_milliseconds());
                let clock =
                    clocks.iter().find(|stored| stored.metric == shared::domain::sla::Metric::Resolution);
                elapsed
                    .extend(clock.map(|s| s.clock.elapsed(s.clock.stopped_at.unwrap()).num_milliseconds()));
            }
            walls.sort_unstable();
            elapsed.sort_unstable();
            let Some(wall_mean_ms) = mean(&walls) else { continue };
            latency.push(Latency {
                user_id,
                name,
                resolved,
                wall_mean_ms,
                wall_p50_ms: nearest_rank(&walls, 50).unwrap(),
                wall_p90_ms: nearest_rank(&walls, 90).unwrap(),
                clocked: elapsed.len().try_into().unwrap(),
                clock_mean_ms: mean(&elapsed),
                clock_p50_ms: nearest_rank(&elapsed, 50),
                clock_p90_ms: nearest_rank(&elapsed, 90),
            });
        }
        top.sort_by_key(|a| (-a.resolved, a.user_id));
        latency.sort_by_key(|a| (-a.resolved, a.user_id));
        assert_eq!(reports::top_assignees(&t.db, window, 100).await.unwrap(), top);
        assert_eq!(reports::latency(&t.db, window, 100).await.unwrap(), latency);
        top.truncate(2);
        assert_eq!(reports::top_assignees(&t.db, window, 2).await.unwrap(), top);
        compliance_agrees(&t, &found, window).await;
        seen[0] += latency.iter().filter(|l| l.clocked < l.resolved).count();
        seen[1] += latency.iter().filter(|l| l.clock_p90_ms.is_some_and(|p| p < l.wall_p90_ms)).count();
        seen[2] += breaches_agree(&t, &found, window).await;
        seen[3] += found.iter().filter(|(t, _)| t.status == Status::PendingInfo).count();
    }
    assert!(seen.iter().all(|count| *count > 0), "the days were uneventful: {seen:?}");
}

async fn compliance_agrees(t: &Testbed, found: &Found, window: Window) {
    for bits in 0..16_u8 {
        let by =
            Grouping { priority: bits & 1 > 0, team: bits & 2 > 0, day: bits & 4 > 0, metric: bits & 8 > 0 };
        let mut expected: BTreeMap<_, [i64; 3]> = BTreeMap::new();
        for (ticket, clocks) in found {
            for Stored { metric, clock, .. } in clocks {
                let place = match clock.state() {
                    State::Met => 0,
                    State::Breached => 1,
                    State::Active | State::Paused => 2,
                    State::Cancelled => continue,
                };
                if clock.started_at < window.from || clock.started_at >= window.to {
                    continue;
                }
                let key = (
                    by.day.then(|| clock.started_at.format("%Y-%m-%d").to_string()),
                    by.priority.then(|| ticket.priority.as_str()),
                    ticket.team_id.filter(|_| by.team),
                    by.metric.then(|| metric.as_str()),
                );
                expected.entry(key).or_default()[place] += 1;
            }
        }
        let counted = reports::compliance(&t.db, window, by, 1_000).await.unwrap();
        let counted: BTreeMap<_, _> = counted
            .into_iter()
            .map(|Compliance { priority, team_id, day, metric, met, breached, open }| {
                let key = (
                    day,
                    priority.map(shared::domain::ticket::Priority::as_str),
                    team_id,
                    metric.map(shared::domain::sla::Metric::as_str),
                );
                (key, [met, breached, open])
            })
            .collect();
        assert_eq!(counted, expected, "{by:?}");
    }
}

/// Walks the breaches page by page; returns how many there are.
async fn breaches_agree(t: &Testbed, found: &Found, window: Window) -> usize {
    let mut expected = Vec::new();
    for (ticket, clocks) in found {
        for stored in clocks {
            let at = stored.clock.breached_at.filter(|at| *at >= window.from && *at < window.to);
            expected.extend(at.map(|at| (at, stored.id, ticket.number, stored.metric)));
        }
    }
    expected.sort_unstable_by_key(|(at, id, ..)| std::cmp::Reverse((*at, *id)));
    let (mut walked, mut after) = (Vec::new(), None);
    loop {
        let page = reports::breaches(&t.db, window, after, 3).await.unwrap();
        let Some(last) = page.last() else { break };
        after = Some((last.breached_at, last.clock_id));
        walked.extend(page.into_iter().map(|b| (b.breached_at, b.clock_id, b.number, b.metric)));
    }
    assert_eq!(walked, expected);
    walked.len()
}

async fn reports_over_nothing_are_empty(t: Testbed) {
    let window = Window { from: t.now() - hours(1), to: t.now() };
    assert_eq!(reports::top_assignees(&t.db, window, 10).await.unwrap(), []);
    assert_eq!(reports::latency(&t.db, window, 10).await.unwrap(), []);
    assert_eq!(reports::compliance(&t.db, window, Grouping::default(), 10).await.unwrap(), []);
    assert_eq!(reports::breaches(&t.db, window, None, 10).await.unwrap(), []);
}
